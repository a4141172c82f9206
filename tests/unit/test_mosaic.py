"""Siemens mosaics as columns per tile: made ones, whose voxels say where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mosaics import OBLIQUE, SAGITTAL, Volume, csa2, mosaic, number, places, scanned, tiles
from series import Elements, open_image, series, straight
from series import places as held

from imagedata_xr.dicom.framing.csa import csa_diffusion
from imagedata_xr.dicom.framing.mosaic import is_mosaic, tile_columns
from imagedata_xr.dicom.framing.slice_times import measuring_order
from imagedata_xr.errors import FormatError, ImagedataWarning, NotFoundError, SourceError

HEAD = "SIEMENS MR HEADER"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("orientation", [OBLIQUE, SAGITTAL])
@pytest.mark.parametrize(
    ("n", "shape", "side"),
    [(7, (4, 6), 3), (8, (4, 4), 3), (9, (4, 6), 3), (1, (5, 4), 1), (2, (3, 5), 2), (35, (6, 4), 6)],
)
def test_every_voxel_is_at_its_place(
    tmp_path: Path, n: int, shape: tuple[int, int], side: int, orientation: tuple[float, ...], sign: int
) -> None:
    volume = Volume(n, shape, orientation=orientation, sign=sign)
    columns = tile_columns(scanned(tmp_path, mosaic(volume, n=n)), 0)
    assert (len(columns), columns.grid, columns.shape) == (n, (side, side), shape)
    found = tiles(columns, volume.picture())
    where = places(columns, volume.spacing[1:])
    assert found.tolist() == [[[number(p) for p in row] for row in tile] for tile in where]


def test_tiles_come_in_their_order_in_the_picture(tmp_path: Path) -> None:
    columns = tile_columns(scanned(tmp_path, mosaic(Volume(n=5))), 0)
    assert columns.offset.tolist() == [[0, 0], [0, 6], [0, 12], [4, 0], [4, 6]]


def test_the_image_type_is_that_of_a_slice(tmp_path: Path) -> None:
    assert tile_columns(scanned(tmp_path, mosaic(Volume())), 0).image_type == ("ORIGINAL", "PRIMARY", "M", "ND")


def test_which_files_are_mosaics(tmp_path: Path) -> None:
    plain = mosaic(Volume())
    plain.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "DEMOSAICIZED"]
    assert is_mosaic(scanned(tmp_path, mosaic(Volume()), plain)).tolist() == [True, False]


def test_each_mosaic_of_a_scan_is_its_own(tmp_path: Path) -> None:
    scan = scanned(tmp_path, mosaic(Volume(n=7)), mosaic(Volume(n=5, first=(1.0, 2.0, 3.0))))
    assert [len(tile_columns(scan, k)) for k in range(2)] == [7, 5]
    np.testing.assert_allclose(tile_columns(scan, 1).position[0], [1, 2, 3], atol=1e-7)


# --- what is missing or contradicts -------------------------------------------------------------------------------
def test_the_number_may_stand_in_either_place(tmp_path: Path) -> None:
    only_group_19 = mosaic(Volume(), csa={"NumberOfImagesInMosaic": []}, n=7)
    only_csa = mosaic(Volume())
    scan = scanned(tmp_path, only_group_19, only_csa)
    assert [len(tile_columns(scan, k)) for k in range(2)] == [7, 7]


def test_without_a_number_it_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="unknown number of slices"):
        tile_columns(scanned(tmp_path, mosaic(Volume(), csa={"NumberOfImagesInMosaic": []})), 0)


def test_two_numbers_contradict(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="7 slices by one element and of 8 by another"):
        tile_columns(scanned(tmp_path, mosaic(Volume(n=7), n=8)), 0)


def test_without_a_normal_the_order_is_not_guessed(tmp_path: Path) -> None:
    ds = mosaic(Volume(), n=7)
    del ds[0x00291010]
    with pytest.raises(FormatError, match=r"SliceNormalVector.*mirrored"):
        tile_columns(scanned(tmp_path, ds), 0)


def test_a_single_slice_needs_no_normal(tmp_path: Path) -> None:
    ds = mosaic(Volume(n=1), n=1)
    del ds[0x00291010], ds.SpacingBetweenSlices
    columns = tile_columns(scanned(tmp_path, ds), 0)
    np.testing.assert_allclose(columns.position, [Volume().first], atol=1e-9)


@pytest.mark.parametrize("vector", [("0.6", "-0.8", "0.1"), ("0", "0", "0"), ("1.0", "0.0", "0.0")])
def test_a_normal_that_is_none_contradicts(tmp_path: Path, vector: tuple[str, ...]) -> None:
    with pytest.raises(FormatError, match="not perpendicular"):
        tile_columns(scanned(tmp_path, mosaic(Volume(), csa={"SliceNormalVector": vector})), 0)


def test_the_thickness_does_not_stand_in_for_the_spacing(tmp_path: Path) -> None:
    ds = mosaic(Volume())
    del ds.SpacingBetweenSlices
    ds.SliceThickness = 5
    with pytest.raises(FormatError, match="SpacingBetweenSlices"):
        tile_columns(scanned(tmp_path, ds), 0)


def test_the_spacing_may_stand_in_the_csa_header(tmp_path: Path) -> None:
    ds = mosaic(Volume(), csa={"SpacingBetweenSlices": ["5.0"]})
    del ds.SpacingBetweenSlices
    columns = tile_columns(scanned(tmp_path, ds), 0)
    np.testing.assert_allclose(np.linalg.norm(np.diff(columns.position, axis=0), axis=1), 5)


def test_a_picture_that_can_not_be_divided(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="17 slices, which need a grid of 5 x 5 tiles, but 12 x 18"):
        tile_columns(scanned(tmp_path, mosaic(Volume(n=7), csa={"NumberOfImagesInMosaic": ["17"]})), 0)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_slices_without_a_place_are_refused(tmp_path: Path, keyword: str) -> None:
    ds = mosaic(Volume())
    del ds[keyword]
    with pytest.raises(FormatError, match=keyword):
        tile_columns(scanned(tmp_path, ds), 0)


def test_a_damaged_csa_header_names_its_file(tmp_path: Path) -> None:
    ds = mosaic(Volume())
    ds[0x00291010].value = ds[0x00291010].value[:300]
    with pytest.raises(SourceError, match=r"0\.dcm: A CSA header"):
        tile_columns(scanned(tmp_path, ds), 0)


# --- slice times ----------------------------------------------------------------------------------------------------
def test_slice_times_of_group_19(tmp_path: Path) -> None:
    ds = mosaic(Volume(n=3), csa={"MosaicRefAcqTimes": ["1", "2", "3"]}, n=3)
    ds.private_block(0x19, HEAD).add_new(0x29, "FD", [0.0, 82.5, 40.0])
    assert tile_columns(scanned(tmp_path, ds), 0).slice_time.tolist() == [0, 82.5, 40]


def test_slice_times_of_the_csa_header(tmp_path: Path) -> None:
    ds = mosaic(Volume(n=3), csa={"MosaicRefAcqTimes": ["0.0", "82.50000001", "40"]})
    assert tile_columns(scanned(tmp_path, ds), 0).slice_time.tolist() == [0, 82.50000001, 40]


@pytest.mark.parametrize("times", [["0", "40"], ["0", "40", "80", "120"], ["0", "x", "80"]])
def test_slice_times_that_are_not_one_each_are_unknown(tmp_path: Path, times: list[str]) -> None:
    ds = mosaic(Volume(n=3), csa={"MosaicRefAcqTimes": times})
    assert np.isnan(tile_columns(scanned(tmp_path, ds), 0).slice_time).all()


@pytest.mark.parametrize(
    ("mode", "n", "order"),
    [(1, 4, [0, 1, 2, 3]), (2, 4, [3, 2, 1, 0]), (4, 5, [0, 2, 4, 1, 3]), (4, 4, [1, 3, 0, 2]), (8, 4, None)],
)
def test_measuring_order(mode: int, n: int, order: list[int] | None) -> None:
    assert measuring_order(mode, n) == order


@pytest.mark.parametrize(
    ("mode", "first", "times"),
    [
        ("0x1", "0", [0, 100, 200, 300]),
        ("0x2", "0", [300, 200, 100, 0]),
        ("4", "0", [200, 0, 300, 100]),
        ("4", "3", [100, 300, 0, 200]),
        ("0x1", "2", None),
        ("0x8", "0", None),
    ],
)
def test_slice_times_by_the_protocol(tmp_path: Path, mode: str, first: str, times: list[float] | None) -> None:
    ds = mosaic(Volume(n=4), csa={"ProtocolSliceNumber": [first]})
    ds.RepetitionTime, ds.MRAcquisitionType = "410", "2D"
    text = f"### ASCCONV BEGIN ###\nsSliceArray.lSize = 4\nsSliceArray.ucMode\t = \t{mode}\nlDelayTimeInTR = 10000\n"
    ds.private_block(0x29, "SIEMENS CSA HEADER").add_new(0x20, "OB", csa2({"MrProtocol": [text]}))
    found = tile_columns(scanned(tmp_path, ds), 0).slice_time
    assert np.isnan(found).all() if times is None else found.tolist() == times


def test_newer_mosaics_without_times_are_not_timed_by_the_protocol(tmp_path: Path) -> None:
    ds = mosaic(Volume(n=4), csa={"ProtocolSliceNumber": ["0"], "MosaicRefAcqTimes": []})
    ds.RepetitionTime = "400"
    text = "sSliceArray.lSize = 4\nsSliceArray.ucMode = 1\n"
    ds.private_block(0x29, "SIEMENS CSA HEADER").add_new(0x20, "OB", csa2({"MrProtocol": [text]}))
    assert np.isnan(tile_columns(scanned(tmp_path, ds), 0).slice_time).all()


# --- diffusion -----------------------------------------------------------------------------------------------------
def test_diffusion_of_the_csa_header(tmp_path: Path) -> None:
    weighted = {"B_value": ["1000"], "DiffusionGradientDirection": ["0.6", "-0.8", "0.0"]}
    scan = scanned(
        tmp_path,
        mosaic(Volume(), csa={"B_value": ["0"], "DiffusionDirectionality": ["NONE"]}),
        mosaic(Volume(), csa={**weighted, "DiffusionDirectionality": ["DIRECTIONAL"]}),
        mosaic(Volume(), csa={"B_value": ["1000"], "DiffusionDirectionality": ["ISOTROPIC"]}),
        mosaic(Volume(), csa={"B_value": []}),
    )
    found = csa_diffusion(scan).finish()
    np.testing.assert_array_equal(found.b_value, [0, 1000, 1000, np.nan])
    np.testing.assert_array_equal(found.vector, [[0, 0, 0], [0.6, -0.8, 0], [0, 0, 0], [np.nan] * 3])
    np.testing.assert_array_equal(found.directionality, [0, 1, 3, np.nan])


def test_impossible_directions_are_none(tmp_path: Path) -> None:
    csa = {"B_value": ["0"], "DiffusionGradientDirection": ["-1000", "-1000", "-1000"]}
    assert np.isnan(csa_diffusion(scanned(tmp_path, mosaic(Volume(), csa=csa))).vector).all()


def test_slices_that_kept_the_word_of_their_mosaic_are_slices(tmp_path: Path) -> None:
    kept: Elements = {"Manufacturer": "SIEMENS", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}
    slices = series(
        tmp_path / "slices", 3, 4, lambda v, k: {**kept, "SpacingBetweenSlices": 3, "AcquisitionNumber": v + 1}
    )
    with pytest.warns(ImagedataWarning, match="12 images are called mosaics, .* they are read as slices"):
        da = open_image(slices)
    assert held(da) == straight(3, 4)
    np.testing.assert_allclose(da.imd.affine[:3, 3], [-10, 5, 0])


@pytest.mark.parametrize("kind", [["DERIVED", "SECONDARY"], None])
def test_what_counts_tiles_is_a_mosaic_whatever_it_is_called(kind: list[str] | None, tmp_path: Path) -> None:
    for folder, image_type in ((tmp_path / "named", None), (tmp_path / "not", kind)):
        folder.mkdir()
        for v in range(2):
            ds = mosaic(Volume(n=7), n=7)
            ds.SOPInstanceUID, ds.InstanceNumber = f"1.2.3.{v}", v + 1
            ds.AcquisitionDate, ds.AcquisitionTime = "20240102", f"1015{2 * v:02d}"
            if folder.name == "not":
                ds.ImageType = image_type
            ds.save_as(folder / f"{v}.dcm", enforce_file_format=True)
    named = open_image(tmp_path / "named")
    with pytest.warns(ImagedataWarning, match="2 images are not called mosaics"):
        other = open_image(tmp_path / "not")
    np.testing.assert_array_equal(other.values, named.values)
    np.testing.assert_allclose(other.imd.affine, named.imd.affine)


def test_slices_that_kept_the_count_of_their_mosaic_are_slices(tmp_path: Path) -> None:
    kept: Elements = {"Manufacturer": "SIEMENS", (HEAD, 0x19, 0x0A): 4}  # 2 x 2 tiles would fit
    vary: Elements = {**kept, "SpacingBetweenSlices": 3, "Columns": 10, "Rows": 2}
    assert held(open_image(series(tmp_path, 1, 4, lambda v, k: vary))) == straight(1, 4)


@pytest.mark.parametrize("moved", [0.0, 0.4])
def test_whole_mosaics_that_nothing_counts_are_none(moved: float, tmp_path: Path) -> None:
    for v in range(4):
        ds = mosaic(Volume(first=(-40.0 + moved * v, 25.0, 60.0)))
        del ds[0x29, 0x10], ds[0x29, 0x1010]
        ds.SOPInstanceUID, ds.InstanceNumber = f"1.2.3.{v}", v + 1
        ds.save_as(tmp_path / f"{v}.dcm", enforce_file_format=True)
    with (
        pytest.warns(ImagedataWarning, match="a mosaic of an unknown number of slices"),
        pytest.raises(NotFoundError),
    ):
        open_image(tmp_path)


def timed_mosaics(folder: Path, times: list[list[float]]) -> Path:
    folder.mkdir(exist_ok=True)
    for v, slices in enumerate(times):
        ds = mosaic(Volume(), n=7)
        ds.private_block(0x19, HEAD).add_new(0x29, "FD", slices)
        ds.SOPInstanceUID, ds.InstanceNumber, ds.AcquisitionNumber = f"1.2.3.{v}", v + 1, v + 1
        ds.AcquisitionDate, ds.AcquisitionTime, ds.RepetitionTime = "20240102", f"1015{2 * v:02d}", 2000
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") + v).astype("<u2").tobytes()
        ds.save_as(folder / f"{v}.dcm", enforce_file_format=True)
    return folder


USUAL = [0.0, 500.0, 1000.0, 1500.0, 0.0, 500.0, 1000.0]
SINGLE_BAND = [0.0, 5625.0, 1000.0, 4000.0, 0.0, 2500.0, 3000.0]


@pytest.mark.parametrize("volumes", [2, 4])
def test_the_tiles_of_a_mosaic_stay_together_whatever_their_slice_times_say(volumes: int, tmp_path: Path) -> None:
    folder = timed_mosaics(tmp_path / "m", [SINGLE_BAND, *[USUAL] * (volumes - 1)])
    with pytest.warns(
        ImagedataWarning, match="said to be measured over 5.625 s, longer than the repetition time of 2 s"
    ):
        da = open_image(folder)
    pixels = da.values
    for v in range(1, volumes):
        np.testing.assert_array_equal(pixels[v], pixels[0] + v)
    assert da.tag.values.tolist() == [2.0 * v for v in range(volumes)]
    np.testing.assert_allclose(da.slice_time.values, [np.array(USUAL) / 1000] * volumes)


def test_slice_times_of_the_first_mosaic_that_are_possible_stay(tmp_path: Path) -> None:
    other = USUAL[::-1]
    da = open_image(timed_mosaics(tmp_path / "m", [other, USUAL, USUAL]))
    np.testing.assert_allclose(da.slice_time.values, np.array([other, USUAL, USUAL]) / 1000)
    assert (da.values[2] - da.values[0] == 2).all()

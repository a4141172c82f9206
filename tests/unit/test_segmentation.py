"""Segmentations: values, segments, sparse frames, places; judged by highdicom and SimpleITK."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from phantoms import make, opened
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence as Items
from pydicom.uid import RLELossless
from segmented import SHAPE, ball, describe, images, masks, save, segmentation, series

from imagedata_xr.errors import (
    FormatError,
    GridError,
    ImagedataWarning,
    LabelError,
    NotFoundError,
    SortError,
    SourceError,
)


@pytest.fixture(autouse=True)
def _highdicom(require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The series that is segmented."""
    return make(tmp_path / "ct", series())


MASKS = masks(series())


def in_slices(first: int, last: int) -> NDArray[np.uint8]:
    return MASKS[:, first : last + 1]


# --- values -----------------------------------------------------------------------------------------------------------


def test_segments_are_masks_with_zeros_where_no_frame_is(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS)
    assert ds.NumberOfFrames == 3 + 3 + 1  # each segment only where it is
    a = opened(save(ds, tmp_path / "seg.dcm"))
    assert a.dims == ("segment", "slice", "row", "col")
    assert a.dtype == np.uint8
    assert a.segment.values.tolist() == [1, 2, 3]
    assert a.label.values.tolist() == ["segment 1", "segment 2", "segment 3"]
    np.testing.assert_array_equal(a.values, in_slices(1, 4))
    assert (a.instance != 0).sum() == 7


def test_values_are_those_of_highdicom(files: list[Path], tmp_path: Path) -> None:
    import highdicom as hd

    path = save(segmentation(files, MASKS), tmp_path / "seg.dcm")
    a = opened(path)
    volume = hd.seg.segread(path).get_volume()  # its slices may count the other way
    turn = slice(None, None, -1 if np.linalg.inv(volume.affine)[0] @ a.imd.affine[:, 0] < 0 else 1)
    np.testing.assert_array_equal(np.moveaxis(volume.array, -1, 0)[:, turn], a.values)
    np.testing.assert_allclose(volume.affine, a.isel(slice=turn).imd.affine, atol=1e-6)


def test_voxels_lie_where_the_mask_was_made(files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    inside = a.sel(segment=2)
    place = a.imd.patient_coords().to_array().transpose("slice", "row", "col", "variable").values
    distance = np.linalg.norm(place[1:] - ball(series()), axis=-1)
    np.testing.assert_array_equal(inside.isel(slice=slice(1, 4)), distance < 5)


@pytest.mark.parametrize(("rle", "top"), [(False, 255), (True, 200)])
def test_fractions_are_parts_of_the_maximum(rle: bool, top: int, files: list[Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"transfer_syntax_uid": RLELossless} if rle else {}
    ds = segmentation(
        files, MASKS * 0.25, "FRACTIONAL", fractional_type="PROBABILITY", max_fractional_value=top, **options
    )
    path = save(ds, tmp_path / "seg.dcm")
    a = opened(path)
    assert a.dtype == np.float32
    want = np.rint(0.25 * top) / top
    np.testing.assert_allclose(a, in_slices(1, 4) * want, atol=1e-7)
    stored = opened(path, mask_and_scale=False)
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, in_slices(1, 4) * np.rint(0.25 * top))
    assert a.attrs["SegmentationFractionalType"] == "PROBABILITY"


def test_full_fraction_is_exactly_one(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS * 1.0, "FRACTIONAL", fractional_type="OCCUPANCY", max_fractional_value=49)
    a = opened(save(ds, tmp_path / "seg.dcm"))
    assert np.unique(a).tolist() == [0.0, 1.0]


def test_fractions_without_a_maximum_are_refused(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS * 0.5, "FRACTIONAL", fractional_type="OCCUPANCY")
    del ds.MaximumFractionalValue
    path = save(ds, tmp_path / "seg.dcm")
    with pytest.raises(FormatError, match="MaximumFractionalValue"):
        opened(path)
    assert opened(path, mask_and_scale=False).dtype == np.uint8


def label_map() -> NDArray[np.uint8]:
    """Numbers 1, 2, 3; later ones over earlier ones."""
    out = np.zeros(SHAPE, dtype=np.uint8)
    for number in (1, 2, 3):
        out[MASKS[number - 1] > 0] = number
    return out


@pytest.mark.parametrize("rle", [False, True])
def test_label_maps_are_masks_of_each_segment(rle: bool, files: list[Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"transfer_syntax_uid": RLELossless} if rle else {}
    path = save(segmentation(files, label_map(), "LABELMAP", **options), tmp_path / "seg.dcm")
    a = opened(path)
    assert a.segment.values.tolist() == [1, 2, 3]  # highdicom describes the background, which is no segment
    assert a.dtype == np.uint8
    np.testing.assert_array_equal(a, np.stack([label_map()[1:5] == n for n in (1, 2, 3)]))
    np.testing.assert_array_equal(a.isel(segment=1, slice=2, row=3), label_map()[3, 3] == 2)
    stored = opened(path, mask_and_scale=False)
    assert stored.dims == ("tag", "slice", "row", "col")
    np.testing.assert_array_equal(stored.values[0], label_map()[1:5])


def test_values_that_no_segment_describes_are_refused(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, label_map(), "LABELMAP")
    pixels = np.frombuffer(ds.PixelData, np.uint8).copy()
    pixels[10] = 9
    ds.PixelData = pixels.tobytes()
    path = save(ds, tmp_path / "seg.dcm")
    with pytest.raises(SourceError, match="frame 1 has the value 9, which no segment describes"):
        opened(path).load()
    assert opened(path, mask_and_scale=False).values.max() == 9


def test_a_frame_of_a_label_map_is_decoded_once(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagedata_xr.dicom.pixels import stored_frames

    ds = segmentation(files, label_map(), "LABELMAP", transfer_syntax_uid=RLELossless)
    a = opened(save(ds, tmp_path / "seg.dcm"))
    met: list[int] = []
    real = stored_frames.StoredFrames.read

    def seen(self: Any, number: int) -> Any:
        met.append(number)
        return real(self, number)

    monkeypatch.setattr(stored_frames.StoredFrames, "read", seen)
    a.load()
    assert sorted(met) == [1, 2, 3, 4]


def test_single_bits_are_read_frame_by_frame(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagedata_xr.dicom.pixels import stored_frames

    ds = segmentation(files, MASKS)
    path = save(ds, tmp_path / "seg.dcm")
    frames = pydicom.dcmread(path).pixel_array  # an independent reading of the bits
    (number,) = (k for k, frame in enumerate(frames) if np.array_equal(frame, MASKS[1, 3]))
    assert number * 63 % 8
    met: list[tuple[int, int]] = []
    real = stored_frames.StoredFrames._bytes

    def seen(self: Any, start: int, stop: int) -> bytes:
        met.append((start, stop))
        return real(self, start, stop)

    monkeypatch.setattr(stored_frames.StoredFrames, "_bytes", seen)
    part = opened(path).isel(segment=1, slice=2, row=slice(2, 5)).values
    np.testing.assert_array_equal(part, MASKS[1, 3, 2:5])
    assert len(met) == 1
    assert met[0][1] - met[0][0] <= 9  # the bytes of 63 bits, and no others


def test_bits_that_begin_anew_with_each_frame_are_not_guessed(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, np.ones_like(MASKS))
    ds.PixelData = b"".join(pack_bits(f, pad=False) for f in ds.pixel_array)
    path = save(ds, tmp_path / "seg.dcm")
    with pytest.warns(ImagedataWarning, match="each of its frames begins on a byte"), pytest.raises(NotFoundError):
        opened(path)


# --- frames and segments ----------------------------------------------------------------------------------------------


def test_frames_may_be_stored_in_any_order(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS)
    turn = [6, 2, 4, 0, 5, 1, 3]
    pixels = ds.pixel_array
    ds.PerFrameFunctionalGroupsSequence = Items([ds.PerFrameFunctionalGroupsSequence[k] for k in turn])
    ds.PixelData = pack_bits(pixels[turn])
    np.testing.assert_array_equal(opened(save(ds, tmp_path / "seg.dcm")), in_slices(1, 4))


def test_numbers_need_not_begin_with_one(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS)
    for item, number in zip(ds.SegmentSequence, (5, 2, 70), strict=True):
        item.SegmentNumber = number
    for group in ds.PerFrameFunctionalGroupsSequence:
        item = group.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = {1: 5, 2: 2, 3: 70}[item.ReferencedSegmentNumber]
    a = opened(save(ds, tmp_path / "seg.dcm"))
    assert a.segment.values.tolist() == [2, 5, 70]
    assert a.label.values.tolist() == ["segment 2", "segment 1", "segment 3"]
    np.testing.assert_array_equal(a.sel(segment=[5, 2, 70]), in_slices(1, 4))


def test_a_segment_without_frames_is_empty(files: list[Path], tmp_path: Path) -> None:
    pixels = MASKS.copy()
    pixels[1] = 0
    a = opened(save(segmentation(files, pixels), tmp_path / "seg.dcm"))
    assert a.segment.values.tolist() == [1, 2, 3]
    assert not a.sel(segment=2).any()
    np.testing.assert_array_equal(a.sel(segment=3), pixels[2, 1:5])


def test_two_frames_of_one_segment_at_one_position_are_refused(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS)
    for group in ds.PerFrameFunctionalGroupsSequence:
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    with pytest.raises(SortError, match="two frames of segment 1 at one position"):
        opened(save(ds, tmp_path / "seg.dcm"))


def test_a_single_frame_is_a_single_slice(files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS[2:], numbers=(1,)), tmp_path / "seg.dcm"))
    assert a.shape == (1, 1, *SHAPE[1:])
    np.testing.assert_array_equal(a[0, 0], MASKS[2, 4])
    assert a.imd.spacing[0] == pytest.approx(3)


def test_slices_between_are_zeros_where_the_spacing_is_said(files: list[Path], tmp_path: Path) -> None:
    pixels = np.zeros_like(MASKS[:1])
    pixels[0, [0, 3, 5]] = 1
    ds = segmentation(files, pixels, numbers=(1,))
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 3
    a = opened(save(ds, tmp_path / "said.dcm"))
    np.testing.assert_array_equal(a[0], pixels[0])
    np.testing.assert_allclose(a.imd.affine, opened(tmp_path / "ct").imd.affine, atol=1e-6)
    del ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    b = opened(save(ds, tmp_path / "unsaid.dcm"))
    assert b.sizes["slice"] == 3
    np.testing.assert_allclose(np.diff(b.slice), [9, 6], atol=1e-6)


def test_tiles_are_refused_by_name(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS)
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = 70, 90
    with pytest.warns(ImagedataWarning, match="tiled"), pytest.raises(NotFoundError):
        opened(save(ds, tmp_path / "seg.dcm"))


# --- the table --------------------------------------------------------------------------------------------------------


def test_what_is_known_of_segments_is_a_table(files: list[Path], tmp_path: Path) -> None:
    import highdicom as hd

    described = [
        describe(
            n, f"organ {n}", tracking_id=f"T{n}", tracking_uid=f"1.2.3.{n}", display_color=hd.color.CIELabColor(*lab)
        )
        for n, lab in ((1, (50.0, 20.0, -30.0)), (2, (100.0, 0.0, 0.0)), (3, (0.0, 127.0, -128.0)))
    ]
    a = opened(save(segmentation(files, MASKS, descriptions=described), tmp_path / "seg.dcm"))
    table = a.sel(segment=[3, 1]).imd.segments
    assert table.segment.values.tolist() == [3, 1]
    assert table.label.values.tolist() == ["organ 3", "organ 1"]
    assert table.type.values.tolist() == ["Liver", "Liver"]
    assert table.type_code.values.tolist() == ["SCT:10200004", "SCT:10200004"]
    assert table.category.values.tolist() == ["Organ", "Organ"]
    assert table.algorithm_type.values.tolist() == ["AUTOMATIC"] * 2
    assert table.algorithm_name.values.tolist() == ["thresholds"] * 2
    assert table.tracking_uid.values.tolist() == ["1.2.3.3", "1.2.3.1"]
    np.testing.assert_allclose(table.color, [[0, 127, -128], [50, 20, -30]], atol=0.01)
    assert a.sel(segment=2).imd.segments.tracking_id.values.tolist() == ["T2"]


def test_many_segments_are_described_whole(files: list[Path], tmp_path: Path) -> None:
    numbers = range(1, 41)  # their description is longer than what the scan keeps
    pixels = np.repeat(MASKS[:1], len(numbers), axis=0)
    a = opened(save(segmentation(files, pixels, numbers=numbers), tmp_path / "seg.dcm"))
    assert a.label.values.tolist() == [f"segment {n}" for n in numbers]
    assert a.imd.segments.label.values.tolist() == [f"segment {n}" for n in numbers]


def test_other_images_have_no_segments(files: list[Path]) -> None:
    with pytest.raises(LabelError, match="no segments that are described"):
        _ = opened(files[0]).imd.segments


# --- labels that are texts --------------------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[xr.DataArray], Any]] = {
    "coarsen row": lambda a: a.coarsen(row=2, boundary="trim").mean(),
    "coarsen slice": lambda a: a.coarsen(slice=2).max(),
    "interp row": lambda a: a.astype(float).interp(row=a.row[:2] + 0.1),
    "interp all": lambda a: a.astype(float).interp(slice=a.slice[:2] + 0.1, row=a.row[:2] + 0.1, col=a.col[:1]),
    "rolling": lambda a: a.rolling(row=3).mean(),
    "pad": lambda a: a.pad(row=2),
    "where": lambda a: a.where(a > 0),
    "xr.where": lambda a: xr.where(a > 0, 1, 0),
    "concat": lambda a: xr.concat([a.isel(segment=[0]), a.isel(segment=[2, 1])], "segment"),
    "stack": lambda a: a.stack(voxel=("slice", "row", "col")),
    "groupby": lambda a: a.groupby("segment").sum(),
    "arithmetic": lambda a: a + a,
    "pickle": lambda a: pickle.loads(pickle.dumps(a)),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_text_label_survives(name: str, lazy: bool, files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"), chunks={} if lazy else None)
    out = OPERATIONS[name](a).compute()
    assert sorted(out.label.values.tolist()) == ["segment 1", "segment 2", "segment 3"]
    assert out.label.dims == ("segment",)


def test_only_what_joins_segments_trips_over_the_text(files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    with pytest.raises(TypeError):
        a.coarsen(segment=3).mean()
    assert a.drop_vars("label").coarsen(segment=3).max().sizes["segment"] == 1
    assert "label" not in a.astype(float).interp(segment=[1.5]).coords
    assert "label" not in a.max("segment").coords


def test_segments_are_selected_by_label(files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    by_label = a.swap_dims(segment="label").sel(label="segment 2")
    np.testing.assert_array_equal(by_label, a.sel(segment=2))


@pytest.mark.parametrize("form", ["zarr", "nc"])
def test_saved_and_opened_again(
    form: str, files: list[Path], tmp_path: Path, require_module: Callable[[str], Any]
) -> None:
    require_module("zarr" if form == "zarr" else "h5netcdf")
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    a.imd.write(tmp_path / f"a.{form}")
    b = opened(tmp_path / f"a.{form}")
    xr.testing.assert_identical(a.drop_vars("source"), b.drop_vars("source"))
    assert (a & b).dims == a.dims
    assert b.imd.segments.equals(a.imd.segments)


def test_other_segments_are_not_aligned(files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    with pytest.raises(GridError, match="segment"):
        a.sel(segment=[1, 2]) + a.sel(segment=[2, 3])


# --- beside the image -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_in_a_tree_it_lies_on_the_slices_of_its_image(kind: str, files: list[Path], tmp_path: Path) -> None:
    pixels = MASKS if kind == "BINARY" else label_map()
    save(segmentation(files, pixels, kind), tmp_path / "ct" / "seg.dcm")
    ct, seg = images(tmp_path / "ct")
    want = MASKS if kind == "BINARY" else np.stack([label_map() == n for n in (1, 2, 3)])
    np.testing.assert_array_equal(seg, want)
    assert int(seg.geometry) == int(ct.geometry)
    assert seg.slice.values.tolist() == ct.slice.values.tolist()
    inside = ct.where(seg.sel(segment=2) > 0)
    assert inside.shape == ct.shape
    np.testing.assert_array_equal(np.isfinite(inside[0]), want[1])
    np.testing.assert_array_equal(inside.values[0][want[1] > 0], ct.values[0][want[1] > 0])
    one = xr.open_dataarray(tmp_path / "ct", engine="imagedata", series=77)
    np.testing.assert_array_equal(one, want)


@pytest.mark.parametrize("keyword", ["geometry", "template"])
@pytest.mark.parametrize("lazy", [False, True])
def test_alone_it_is_put_on_the_slices_of_an_image(keyword: str, lazy: bool, files: list[Path], tmp_path: Path) -> None:
    path = save(segmentation(files, MASKS), tmp_path / "seg.dcm")
    ct = opened(tmp_path / "ct")
    assert opened(path).sizes["slice"] == 4
    for other in (ct, str(tmp_path / "ct")):
        seg = opened(path, chunks={} if lazy else None, **{keyword: other})
        np.testing.assert_array_equal(seg, MASKS)
        assert ct.where(seg.sel(segment=1) > 0).count() == MASKS[0].sum()
        assert seg.attrs["Modality"] == "SEG"
        np.testing.assert_array_equal(
            seg.isel(segment=1, slice=[5, 3, 0], row=slice(1, 6, 2)), MASKS[1, [5, 3, 0], 1:6:2]
        )
    turned = ct.isel(slice=slice(None, None, -1))
    np.testing.assert_array_equal(opened(path).imd.fill_like(turned), MASKS[:, ::-1])


def test_it_is_never_moved(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS)
    moved = 0.5 * series().step() / 3
    for group in ds.PerFrameFunctionalGroupsSequence:
        item = pydicom.Dataset()
        old = group.PlanePositionSequence[0].ImagePositionPatient
        item.ImagePositionPatient = [f"{p + m:.10g}" for p, m in zip(old, moved, strict=True)]
        group.PlanePositionSequence = Items([item])
    path = save(ds, tmp_path / "ct" / "seg.dcm")
    ct, seg = images(tmp_path / "ct")
    assert seg.sizes["slice"] == 4  # half a millimetre off: its own slices
    with pytest.raises(GridError):
        ct.where(seg.sel(segment=1) > 0)
    with pytest.raises(GridError, match=r"slice \d lies 0.5 mm from the nearest"):
        opened(path, geometry=opened(files[0].parent / "00_0*.dcm"))


def test_another_frame_of_reference_is_another_place(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS)
    ds.FrameOfReferenceUID = "1.2.3.4"
    path = save(ds, tmp_path / "ct" / "seg.dcm")
    _, seg = images(tmp_path / "ct")
    assert seg.sizes["slice"] == 4
    with pytest.raises(GridError, match="frames of reference differ"):
        opened(path, geometry=opened(tmp_path / "ct" / "00_0*.dcm"))


def test_without_a_frame_of_reference_positions_and_references_tell(files: list[Path], tmp_path: Path) -> None:
    ds = segmentation(files, MASKS)
    del ds.FrameOfReferenceUID
    save(ds, tmp_path / "ct" / "seg.dcm")
    ct, seg = images(tmp_path / "ct")
    np.testing.assert_array_equal(seg, MASKS)
    assert seg.imd.frame_of_reference == ct.imd.frame_of_reference


def test_a_tilted_gantry_is_no_hindrance(tmp_path: Path) -> None:
    tilted = series(orientation=phantoms.AXIAL, travel=(0.0, 0.8, 3.0))
    files = make(tmp_path / "ct", tilted)
    pixels = np.zeros((1, *SHAPE), dtype=np.uint8)
    pixels[0, 2] = MASKS[0, 2]  # a single slice does not know of the tilt
    save(segmentation(files, pixels, numbers=(1,)), tmp_path / "ct" / "seg.dcm")
    ct, seg = images(tmp_path / "ct")
    np.testing.assert_array_equal(seg, pixels)
    assert ct.where(seg.sel(segment=1) > 0).count() == pixels.sum()


def without_positions(ds: pydicom.Dataset) -> pydicom.Dataset:
    """Frames that only say which image they were made from."""
    for group in ds.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        del ds.SharedFunctionalGroupsSequence[0][name]
    return ds


def test_frames_that_only_say_their_source_lie_where_it_lies(files: list[Path], tmp_path: Path) -> None:
    ds = without_positions(segmentation(files, MASKS))
    path = save(ds, tmp_path / "ct" / "seg.dcm")
    ct, seg = images(tmp_path / "ct")
    np.testing.assert_array_equal(seg, MASKS)
    assert ct.where(seg.sel(segment=3) > 0).count() == MASKS[2].sum()
    frames, alone = ds.PerFrameFunctionalGroupsSequence, opened(path)
    assert "geometry" not in alone.coords
    assert alone.sizes == {"segment": 3, "slice": 4, "row": 7, "col": 9}
    # without positions, in the order that they are stored
    stored = [g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for g in frames]
    slices = [int(uid.rsplit(".", 1)[1]) - 1 for uid in dict.fromkeys(stored)]
    np.testing.assert_array_equal(alone, MASKS[:, slices])


def test_frames_that_say_nothing_of_their_place_are_refused(files: list[Path], tmp_path: Path) -> None:
    ds = without_positions(segmentation(files, MASKS))
    for group in ds.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    with pytest.raises(SortError, match="which slice each one is can't be told"):
        opened(save(ds, tmp_path / "seg.dcm"))


def test_a_single_plane_without_a_place_is_read_without_one(files: list[Path], tmp_path: Path) -> None:
    ds = without_positions(segmentation(files, MASKS[2:], numbers=(1,)))
    del ds.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    a = opened(save(ds, tmp_path / "seg.dcm"))
    assert "geometry" not in a.coords
    np.testing.assert_array_equal(a[0, 0], MASKS[2, 4])


def test_simpleitk_agrees_on_values_and_places(tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    sitk = require_module("SimpleITK")
    even = series(shape=(1, 3, 8, 16))  # it reads the last bits of others wrong
    pixels = np.stack([np.arange(128).reshape(8, 16) % (k + 3) == 0 for k in range(3)])[None].astype(np.uint8)
    path = save(segmentation(make(tmp_path / "even", even), pixels, numbers=(1,)), tmp_path / "seg.dcm")
    a = opened(path)
    np.testing.assert_array_equal(a, pixels)
    image = sitk.ReadImage(str(path))
    for index in np.ndindex(3, 8, 16):
        point = (a.imd.affine @ [*index, 1])[:3]
        there = image.TransformPhysicalPointToIndex(point.tolist())
        assert image.TransformIndexToPhysicalPoint(there) == pytest.approx(point, abs=1e-3)
        assert (image[there] > 0) == bool(a.values[(0, *index)])


# --- written ----------------------------------------------------------------------------------------------------------
KINDS = {
    "BINARY": lambda: MASKS,
    "FRACTIONAL": lambda: MASKS * 0.25,
    "LABELMAP": label_map,
}


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_unchanged_it_is_written_as_it_was(kind: str, filled: bool, files: list[Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"fractional_type": "OCCUPANCY"} if kind == "FRACTIONAL" else {}
    path = save(segmentation(files, KINDS[kind](), kind, **options), tmp_path / "seg.dcm")
    a = opened(path, **({"geometry": opened(tmp_path / "ct")} if filled else {}))
    done = a.imd.write(tmp_path / "same", keep_uid=True)
    assert pydicom.dcmread(done.paths[0]) == pydicom.dcmread(path)
    done = a.imd.write(tmp_path / "copy", series_number=9)
    copy, source = pydicom.dcmread(done.paths[0]), pydicom.dcmread(path)
    assert copy.SOPInstanceUID != source.SOPInstanceUID
    assert copy.SeriesNumber == 9
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        copy[keyword] = source[keyword]
    assert copy == source


CHANGES: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "values": lambda a: a.where(a.row > a.row[2], 0).astype(a.dtype),
    "zeros": lambda a: xr.ones_like(a),
    "a part": lambda a: a.isel(segment=[0, 1]),
    "one segment": lambda a: a.sel(segment=1),
    "a crop": lambda a: a.isel(row=slice(1, None)),
    "numbers": lambda a: a.assign_coords(segment=("segment", [2, 1, 3], a.segment.attrs)),
    "a place": lambda a: a.assign_coords(row=a.row + 1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("ignore:segments of a segmentation are numbered")
def test_a_changed_one_is_written_anew(change: str, files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    new = CHANGES[change](a)
    with pytest.raises(FormatError, match=r"keep_uid=True, but the segmentation is not what its source says"):
        new.imd.write(tmp_path / "out", keep_uid=True)
    assert not (tmp_path / "out").exists()
    done = new.imd.write(tmp_path / "out")
    source, copy = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(done.paths[0])
    assert copy.SOPInstanceUID != source.SOPInstanceUID
    back = opened(tmp_path / "out").imd.fill_like(new.isel(segment=0, drop=True) if "segment" in new.dims else new)
    want = new.transpose("segment", ...).sortby("segment") if "segment" in new.dims else new.expand_dims("segment")
    np.testing.assert_array_equal(back.values, want.values.reshape(back.shape))
    np.testing.assert_allclose(back.imd.affine, new.imd.affine, atol=1e-6)
    assert back.label.values.tolist() == want.label.values.ravel().tolist()
    places = {
        str(one.ReferencedSOPInstanceUID)
        for frame in copy.PerFrameFunctionalGroupsSequence
        for one in frame.DerivationImageSequence[0].SourceImageSequence
    }
    assert places <= {str(pydicom.dcmread(f).SOPInstanceUID) for f in files}  # still those of the images
    assert copy.ReferencedSeriesSequence[0].SeriesInstanceUID == source.ReferencedSeriesSequence[0].SeriesInstanceUID

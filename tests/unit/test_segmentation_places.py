"""Segmentations lie on the slices of their image, and are written as they were or anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make, opened
from pydicom.sequence import Sequence as Items
from segmented import MASKS, SHAPE, images, label_map, save, segmentation, series

from imagedata_xr.errors import (
    FormatError,
    GridError,
    SortError,
)


@pytest.fixture(autouse=True)
def _highdicom(require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The series that is segmented."""
    return make(tmp_path / "ct", series())


# --- beside the image ------------------------------------------------------------------------------------------------


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


KINDS = {
    "BINARY": lambda: MASKS,
    "FRACTIONAL": lambda: MASKS * 0.25,
    "LABELMAP": label_map,
}


# --- written ---------------------------------------------------------------------------------------------------------


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

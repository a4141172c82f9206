"""Segmentations: values, segments, sparse frames; judged by highdicom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from phantoms import make, opened
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence as Items
from pydicom.uid import RLELossless
from segmented import MASKS, SHAPE, ball, label_map, save, segmentation, series

from imagedata_xr.errors import (
    FormatError,
    ImagedataWarning,
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


def in_slices(first: int, last: int) -> NDArray[np.uint8]:
    return MASKS[:, first : last + 1]


# --- values ----------------------------------------------------------------------------------------------------------


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


# --- frames and segments ---------------------------------------------------------------------------------------------


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

"""Kinds of images beyond grey slices: segmentations, palettes, tiles, video, dose, cine, and very many frames."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from multiframe import COLS, ROWS, Frame, instance, save, stored, when
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import UID, ExplicitVRLittleEndian

from imagedata_xr.errors import FormatError, ImagedataWarning, NotFoundError, SourceError

SEGMENTATION = UID("1.2.840.10008.5.1.4.1.1.66.4")
CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")


def opened(folder: Path, **options: Any) -> xr.DataArray:
    return xr.open_dataarray(folder, engine="imagedata", **options)


# --- segmentations ----------------------------------------------------------------------------------------------------


def mask(k: int) -> NDArray[np.uint8]:
    """Voxels of a segment in slice k."""
    return np.asarray(stored(Frame(k)) % 3 == k % 2, dtype=np.uint8)


def segmentation(segments: list[int], slices: int = 3, number: int = 1) -> Dataset:
    frames = [
        Frame(k, groups={"SegmentIdentificationSequence": {"ReferencedSegmentNumber": s}})
        for s in segments
        for k in range(slices)
    ]
    ds = instance(frames, number=number, SOPClassUID=SEGMENTATION, Modality="SEG", SegmentationType="BINARY")
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = 0
    ds.PixelData = pack_bits(np.stack([mask(f.k) for f in frames]))
    ds["PixelData"].VR = "OB"
    for item in ds.PerFrameFunctionalGroupsSequence:
        del item.PixelValueTransformationSequence
    return ds


def test_one_segment_is_a_mask_of_whole_numbers(tmp_path: Path) -> None:
    save(segmentation([1]), tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.shape == (1, 3, ROWS, COLS)
    assert a.dtype == np.uint8
    np.testing.assert_array_equal(a.values[0], np.stack([mask(k) for k in range(3)]))
    assert a.dims == ("segment", "slice", "row", "col")
    assert "geometry" in a.coords


def test_two_segmentations_of_a_series_are_two_images(tmp_path: Path) -> None:
    for number in (1, 2):
        save(segmentation([1], number=number), tmp_path / f"{number}.dcm")
    tree = xr.open_datatree(tmp_path, engine="imagedata")
    images = [n.to_dataset()["image"] for n in tree.subtree if "image" in n.data_vars]
    assert [i.shape for i in images] == [(1, 3, ROWS, COLS)] * 2


# --- colour, tiles, video ---------------------------------------------------------------------------------------------


def capture(pixels: NDArray[np.uint8], photometric: str, frames: int = 1) -> Dataset:
    """A secondary capture; colour has its samples in the last axis."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = CAPTURE, UID("1.2.826.0.1.3680043.8.498.60")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.61"), UID("1.2.826.0.1.3680043.8.498.62")
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "OT", 1, 1
    ds.SamplesPerPixel = 3 if photometric == "RGB" else 1
    if photometric == "RGB":
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.Rows, ds.Columns = pixels.shape[1:3]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB"
    return ds


def palette(bits: int) -> NDArray[np.uint16]:
    """Red, green and blue of 256 indices, shape (3, 256)."""
    ramp = np.arange(256)
    return np.stack([ramp, 255 - ramp, ramp // 2]).astype(np.uint16) * (257 if bits == 16 else 1)


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_becomes_its_colours(bits: int, tmp_path: Path) -> None:
    index = np.arange(48, dtype=np.uint8).reshape(1, 6, 8) * 5
    ds = capture(index, "PALETTE COLOR")
    for name, values in zip(("Red", "Green", "Blue"), palette(bits), strict=True):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(ds, f"{name}PaletteColorLookupTableData", values.astype("u1" if bits == 8 else "<u2").tobytes())
    save(ds, tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.dims[-1] == "rgb"
    assert a.dtype == np.uint8
    np.testing.assert_array_equal(a.values[0, 0], np.moveaxis(palette(8)[:, index[0]], 0, -1))
    assert a.attrs["PhotometricInterpretation"] == "RGB"
    assert not [k for k in a.attrs if "Palette" in k]


def test_palette_without_colours_is_refused(tmp_path: Path) -> None:
    save(capture(np.zeros((1, 4, 4), dtype=np.uint8), "PALETTE COLOR"), tmp_path / "a.dcm")
    with pytest.raises(FormatError, match="images of PALETTE COLOR have no Red Palette Color Lookup Table"):
        opened(tmp_path)


def test_frames_of_a_capture_follow_each_other(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (3, 4, 6, 3), dtype=np.uint8)
    save(capture(pixels, "RGB", frames=3), tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.dims == ("tag", "slice", "row", "col", "rgb")
    np.testing.assert_array_equal(a.values[:, 0], pixels)
    assert "geometry" not in a.coords


def test_frames_of_a_cine_have_their_times(tmp_path: Path) -> None:
    ds = capture(np.zeros((4, 4, 6), dtype=np.uint8), "MONOCHROME2", frames=4)
    ds.Modality, ds.SOPClassUID = "US", UID("1.2.840.10008.5.1.4.1.1.3.1")
    ds.FrameTime, ds.FrameIncrementPointer = "40", 0x00181063
    save(ds, tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.tag.attrs["order"] == "time"
    np.testing.assert_allclose(a.tag, [0, 0.04, 0.08, 0.12], atol=1e-9)


@pytest.mark.parametrize("what", ["slide", "tiled"])
def test_tiles_are_never_taken_for_volumes(what: str, tmp_path: Path) -> None:
    ds = instance([Frame(k) for k in range(4)])
    if what == "slide":
        ds.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
    else:
        ds.DimensionOrganizationType = "TILED_FULL"
    save(ds, tmp_path / "a.dcm")
    with (
        pytest.warns(ImagedataWarning, match="whole-slide microscopy or tiled"),
        pytest.raises(NotFoundError, match=r"no image that can be read: 1 whole-slide .* such as wsidicom"),
    ):
        opened(tmp_path)


@pytest.mark.parametrize("tiled", [None, "TILED_FULL"])
def test_a_slide_of_one_tile_is_a_picture(tiled: str | None, tmp_path: Path) -> None:
    """Labels and overviews of slides, and the smallest level of a pyramid, are one frame."""
    pixels = np.random.default_rng(1).integers(0, 255, (1, 4, 6, 3), dtype=np.uint8)
    ds = capture(pixels, "RGB")
    ds.SOPClassUID, ds.Modality = UID("1.2.840.10008.5.1.4.1.1.77.1.6"), "SM"
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = 4, 6
    if tiled:
        ds.DimensionOrganizationType = tiled
    save(ds, tmp_path / "a.dcm")
    a = opened(tmp_path)
    np.testing.assert_array_equal(a.values, pixels[None])
    assert "geometry" not in a.coords


def test_a_tree_of_nothing_that_can_be_read_says_why(tmp_path: Path) -> None:
    ds = capture(np.zeros((2, 4, 4, 3), dtype=np.uint8), "RGB", frames=2)
    ds.SamplesPerPixel, ds.Columns = 2, 6
    save(ds, tmp_path / "a.dcm")
    with (
        pytest.warns(ImagedataWarning, match="left out"),
        pytest.raises(NotFoundError, match="could be opened: images of 2 samples per pixel"),
    ):
        xr.open_datatree(tmp_path, engine="imagedata")


def test_video_is_refused_by_the_name_of_its_coding(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate

    ds = capture(np.zeros((2, 4, 4, 3), dtype=np.uint8), "RGB", frames=2)
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.102")
    ds.PixelData = encapsulate([b"\0\0\0\x18ftypmp42"])
    ds["PixelData"].is_undefined_length = True
    save(ds, tmp_path / "a.dcm")
    with pytest.raises(FormatError, match=r"their pixels are MPEG-4 H.264 video \(transfer syntax .*4.102\)"):
        opened(tmp_path)


# --- dose, size -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "said"), [("GY", "Gy"), ("RELATIVE", None)])
def test_dose_is_in_gray_only_where_it_says_so(units: str, said: str | None, tmp_path: Path) -> None:
    ds = capture(np.arange(32, dtype=np.uint8).reshape(2, 4, 4), "MONOCHROME2", frames=2)
    ds.SOPClassUID, ds.Modality = UID("1.2.840.10008.5.1.4.1.1.481.2"), "RTDOSE"
    ds.DoseUnits, ds.DoseGridScaling, ds.GridFrameOffsetVector = units, "0.25", [0, 3]
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = [1, 2, 3], [1, 0, 0, 0, 1, 0], [2, 2]
    ds.FrameOfReferenceUID = UID("1.2.826.0.1.3680043.8.498.63")
    save(ds, tmp_path / "a.dcm")
    a = opened(tmp_path)
    np.testing.assert_array_equal(a.values[0], np.arange(32).reshape(2, 4, 4) * 0.25)
    assert a.attrs.get("units") == said
    assert a.slice.values.tolist() == [3, 6]


def test_dose_without_its_scaling_is_refused(tmp_path: Path) -> None:
    """Stored integers would be taken for gray."""
    ds = capture(np.arange(32, dtype=np.uint8).reshape(2, 4, 4), "MONOCHROME2", frames=2)
    ds.SOPClassUID, ds.Modality = UID("1.2.840.10008.5.1.4.1.1.481.2"), "RTDOSE"
    ds.DoseUnits, ds.GridFrameOffsetVector = "GY", [0, 3]
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = [1, 2, 3], [1, 0, 0, 0, 1, 0], [2, 2]
    save(ds, tmp_path / "a.dcm")
    with pytest.raises(FormatError, match="no DoseGridScaling"):
        opened(tmp_path)
    a = opened(tmp_path, mask_and_scale=False)
    np.testing.assert_array_equal(a.values[0], np.arange(32).reshape(2, 4, 4))
    assert "units" not in a.attrs


@pytest.mark.parametrize("increments", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_a_beam_that_moves_has_no_single_angle(increments: list[int], tmp_path: Path) -> None:
    ds = capture(np.zeros((4, 4, 6), dtype=np.uint8), "MONOCHROME2", frames=4)
    ds.Modality, ds.SOPClassUID = "XA", UID("1.2.840.10008.5.1.4.1.1.12.1")
    ds.FrameTime, ds.FrameIncrementPointer = "40", 0x00181063
    ds.PositionerPrimaryAngle, ds.PositionerPrimaryAngleIncrement = "10", increments
    ds.PositionerSecondaryAngle, ds.PositionerSecondaryAngleIncrement = "5", [0, 0, 0, 0]
    save(ds, tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert ("positioner_primary_angle" in a.coords) == (not any(increments))
    assert a.positioner_secondary_angle == 5
    assert a.attrs["PositionerPrimaryAngleIncrement"] == increments


def test_pixel_data_shorter_than_the_frames_are_named(tmp_path: Path) -> None:
    save(instance([Frame(k) for k in range(3)]), tmp_path / "good.dcm")
    ds = instance([Frame(k) for k in range(3)], number=2)
    ds.Rows = 40  # what lies behind the pixel data in the file must not be taken for pixels
    ds.DataSetTrailingPadding = bytes(10000)
    ds.SeriesInstanceUID += ".1"
    save(ds, tmp_path / "bad.dcm")
    with pytest.warns(ImagedataWarning, match=r"bad.dcm has 120 bytes of .* its 3 frames of 40 x 5 need 1200"):
        assert opened(tmp_path).shape == (1, 3, ROWS, COLS)
    with pytest.raises(SourceError, match="has 120 bytes of pixel data"):
        opened(tmp_path, errors="raise")


def test_one_frame_of_many_is_loaded_without_the_others(tmp_path: Path) -> None:
    frames = [Frame(k, v, groups=when(2.0 * v)) for v in range(25) for k in range(20)]
    ds = instance(frames)
    ds.Rows = ds.Columns = 128
    ds.PixelData = bytes(500 * 128 * 128 * 2)
    save(ds, tmp_path / "a.dcm")
    a = opened(tmp_path)
    a.isel(tag=0, slice=0).load()
    tracemalloc.start()
    opened(tmp_path).isel(tag=3, slice=4).load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # the pixels are 16 MB, as floats 33 MB

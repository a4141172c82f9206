"""Mosaics, grids and multi-frame instances through the engine: every voxel where it says that it lies."""

from __future__ import annotations

import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import mosaics
import numpy as np
import pytest
import xarray as xr
from multiframe import COLS, ROWS, SPACING, Frame, diffusion, instance, place, save, stored, values, when
from pydicom.dataset import Dataset

from imagedata_xr.dicom.pixels import native_planes
from imagedata_xr.errors import FormatError, ImagedataWarning, NotFoundError, SortError
from imagedata_xr.stores.url import read_into


def shuffled(frames: list[Frame], seed: int = 1) -> list[Frame]:
    random.Random(seed).shuffle(frames)
    return frames


def opened(folder: Path, **options: Any) -> xr.DataArray:
    return xr.open_dataarray(folder, engine="imagedata", **options)


def assert_in_place(a: xr.DataArray, expected: Any = values, **frame: Any) -> None:
    """Every voxel of the one volume of an image has the value of the place that its labels give."""
    affine = a.imd.affine
    volume = np.asarray(a).reshape(a.sizes["slice"], ROWS, COLS)
    for k in range(a.sizes["slice"]):
        i, j = np.mgrid[:ROWS, :COLS]
        index = np.stack([np.full((ROWS, COLS), k), i, j, np.ones((ROWS, COLS))], axis=-1)
        lps = (index @ affine.T)[..., :3]
        source = next(s for s in range(a.sizes["slice"]) if np.abs(place(s) - lps).max() < 1e-3)
        np.testing.assert_allclose(volume[k], expected(Frame(source, **frame)), rtol=1e-6)


# --- multi-frame instances --------------------------------------------------------------------------------------------


def test_frames_in_any_order_lie_where_they_say(tmp_path: Path) -> None:
    save(instance(shuffled([Frame(k) for k in range(6)])), tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.shape == (1, 6, ROWS, COLS)
    assert_in_place(a)


def test_volumes_spread_over_files_are_one_image(tmp_path: Path) -> None:
    for v in range(3):
        frames = shuffled([Frame(k, v, groups=when(2.5 * v)) for k in range(4)], v)
        save(instance(frames, number=3 - v), tmp_path / f"{v}.dcm")
    a = opened(tmp_path)
    assert a.shape == (3, 4, ROWS, COLS)
    assert a.tag.values.tolist() == [0, 2.5, 5]
    assert a.tag.attrs["order"] == "time"
    for v in range(3):
        assert_in_place(a.isel(tag=[v]), v=v)


def test_each_frame_has_its_own_rescale(tmp_path: Path) -> None:
    frames = [Frame(k, slope=0.5 + k, intercept=-100.0 * k) for k in range(4)]
    save(instance(shuffled(frames)), tmp_path / "a.dcm")
    a = opened(tmp_path)
    for k, corner in enumerate((a.imd.affine @ [[0, 1, 2, 3], [0] * 4, [0] * 4, [1] * 4])[:3].T):
        frame = next(f for f in frames if np.abs(place(f.k)[0, 0] - corner).max() < 1e-3)
        np.testing.assert_allclose(a.values[0, k], values(frame), rtol=1e-6)
    assert not {"RescaleSlope", "RescaleIntercept"} & set(a.attrs)


def test_echoes_are_volumes(tmp_path: Path) -> None:
    echo = [{"MREchoSequence": {"EffectiveEchoTime": t}} for t in (4.9, 7.4)]
    save(instance(shuffled([Frame(k, v, groups=echo[v]) for v in range(2) for k in range(3)])), tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.tag.attrs["order"] == "te"
    assert a.tag.values.tolist() == [4.9, 7.4]
    for v in range(2):
        assert_in_place(a.isel(tag=[v]), v=v)


def test_magnitude_and_phase_are_images_apart(tmp_path: Path) -> None:
    kinds = [
        {"MRImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "M", "NONE"], "ComplexImageComponent": word}}
        for word in ("MAGNITUDE", "PHASE")
    ]
    save(instance(shuffled([Frame(k, v, groups=kinds[v]) for v in range(2) for k in range(3)])), tmp_path / "a.dcm")
    tree = xr.open_datatree(tmp_path, engine="imagedata")
    images = [n.to_dataset()["image"] for n in tree.subtree if "image" in n.data_vars]
    assert sorted(i.attrs["ComplexImageComponent"] for i in images) == ["MAGNITUDE", "PHASE"]
    for image in images:
        assert_in_place(image, v=["MAGNITUDE", "PHASE"].index(image.attrs["ComplexImageComponent"]))


def test_diffusion_of_frames(tmp_path: Path) -> None:
    weighting = [(0.0, None), (1000.0, (0.6, 0.0, 0.8)), (1000.0, (0.0, 1.0, 0.0))]
    frames = [Frame(k, v, groups=diffusion(*weighting[v])) for v in range(3) for k in range(3)]
    save(instance(frames), tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.tag.attrs["order"] == "dti"
    assert a.b_value.values.tolist() == [0, 1000, 1000]
    np.testing.assert_allclose(np.asarray(a.imd.bvecs), [[0.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.0, 1.0, 0.0]], atol=1e-9)
    for v in range(3):
        assert_in_place(a.isel(tag=[v]), v=v)


def test_temporal_positions_with_their_clock(tmp_path: Path) -> None:
    frames = [Frame(k, v, groups=when(0.8 * v + 0.1 * k)) for v in range(3) for k in range(4)]
    save(instance(shuffled(frames)), tmp_path / "a.dcm")
    a = opened(tmp_path)
    np.testing.assert_allclose(a.tag, [0, 0.8, 1.6], atol=1e-6)
    np.testing.assert_allclose(a.slice_time.values[0], 0.1 * np.arange(4), atol=1e-5)


def test_time_offsets_of_temporal_positions_are_a_clock(tmp_path: Path) -> None:
    frames = []
    for v in range(3):
        group = {"TemporalPositionSequence": {"TemporalPositionTimeOffset": 12.5 * v}}
        frames += [Frame(k, v, groups=group) for k in range(2)]
    save(instance(shuffled(frames)), tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert (a.tag.attrs["order"], a.tag.attrs["source"]) == ("time", "TemporalPositionTimeOffset")
    assert a.tag.values.tolist() == [0, 12.5, 25]
    for v in range(3):
        assert_in_place(a.isel(tag=[v]), v=v)


@pytest.mark.parametrize("how", ["standard", "Philips"])
def test_label_and_control_of_one_clock_are_a_grid(how: str, tmp_path: Path) -> None:
    frames = []
    for v in range(6):
        word = ("CONTROL", "LABEL")[v // 3]
        asl = {"MRArterialSpinLabelingSequence": {"ASLContext": word}} if how == "standard" else {}
        groups = when(20.0 * (v % 3)) | asl
        frames += [Frame(k, v, groups=groups, private=word if how == "Philips" else "") for k in range(3)]
    save(instance(shuffled(frames), Manufacturer="Philips"), tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.dims[:2] == ("time", "asl_context")
    assert a.time.values.tolist() == [0, 20, 40]
    assert a.asl_context.values.tolist() == [0, 1]
    for t in range(3):
        for c in range(2):
            assert_in_place(a.isel(time=[t], asl_context=[c]), v=3 * c + t)
    with pytest.raises(SortError, match="order='time,ASLContext' makes a grid"):
        opened(tmp_path, order="time")


def test_label_and_control_with_clocks_of_their_own_are_one_time_course(tmp_path: Path) -> None:
    frames = []
    for v in range(4):
        groups = when(4.8 * v) | {"MRArterialSpinLabelingSequence": {"ASLContext": ("LABEL", "CONTROL")[v % 2]}}
        frames += [Frame(k, v, groups=groups) for k in range(3)]
    save(instance(frames), tmp_path / "a.dcm")
    a = opened(tmp_path)
    assert a.dims[0] == "tag"
    assert a.tag.attrs["order"] == "time"
    assert a.asl_context.values.tolist() == [1, 0, 1, 0]


def test_bits_above_those_stored_are_dropped(tmp_path: Path) -> None:
    save(instance([Frame(k) for k in range(3)], noise=0xF000), tmp_path / "a.dcm")
    assert_in_place(opened(tmp_path))


def test_no_functional_groups_among_the_attrs(tmp_path: Path) -> None:
    save(instance([Frame(k) for k in range(3)]), tmp_path / "a.dcm")
    attrs = opened(tmp_path).attrs
    assert attrs["Manufacturer"] == "ACME"
    words = ("FunctionalGroups", "Dimension", "StackID", "PixelSpacing", "ImagePosition", "ImageOrientation")
    assert not [k for k in attrs if any(w in k for w in words)]


def test_pickled_image_has_its_pixels(tmp_path: Path) -> None:
    save(instance([Frame(k) for k in range(3)]), tmp_path / "a.dcm", rle=True)
    a = opened(tmp_path, chunks={})
    a.values  # noqa: B018 - what was read of a file must not travel along
    again = pickle.loads(pickle.dumps(a))
    np.testing.assert_array_equal(again.values, a.values)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(offset, length) of what is read of pixel data."""
    out: list[tuple[int, int]] = []

    def counted(files: Any, starts: list[int], buffers: list[memoryview]) -> None:
        out.extend((start, len(buffer)) for start, buffer in zip(starts, buffers, strict=True))
        read_into(files, starts, buffers)

    monkeypatch.setattr(native_planes, "read_into", counted)
    return out


def test_crop_of_a_frame_reads_its_rows_only(tmp_path: Path, asked: list[tuple[int, int]]) -> None:
    path = save(instance([Frame(k) for k in range(5)]), tmp_path / "a.dcm")
    got = opened(tmp_path).isel(tag=0, slice=3, row=slice(1, 3), col=2).values
    np.testing.assert_array_equal(got, stored(Frame(3))[1:3, 2])
    pixel_data = path.stat().st_size - 5 * ROWS * COLS * 2
    assert asked == [(pixel_data + (3 * ROWS + 1) * COLS * 2, 2 * COLS * 2)]


# --- mosaics ----------------------------------------------------------------------------------------------------------


def mosaic(folder: Path, volume: mosaics.Volume, **elements: Any) -> Dataset:
    ds = mosaics.mosaic(volume)
    ds.StudyInstanceUID, ds.SeriesNumber, ds.InstanceNumber = "1.2.826.0.1.3680043.8.498.6", 4, 1
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.save_as(folder / f"{ds.SOPInstanceUID}.dcm", enforce_file_format=True)
    return ds


@pytest.mark.parametrize("sign", [1, -1])
def test_tiles_of_a_mosaic_lie_where_they_say(sign: int, tmp_path: Path) -> None:
    volume = mosaics.Volume(sign=sign)
    mosaic(tmp_path, volume)
    a = opened(tmp_path)
    assert a.shape == (1, volume.n, *volume.shape)
    affine = a.imd.affine
    for index in np.ndindex(*a.shape[1:]):
        assert a.values[(0, *index)] == mosaics.number(affine[:3] @ [*index, 1])
    assert "MOSAIC" not in a.attrs["ImageType"]


def test_crop_of_a_mosaic_reads_the_rows_of_its_tile_only(tmp_path: Path, asked: list[tuple[int, int]]) -> None:
    volume = mosaics.Volume()
    ds = mosaic(tmp_path, volume)
    whole = opened(tmp_path).load()
    asked.clear()
    got = opened(tmp_path).isel(tag=0, slice=[4], row=slice(1, 3)).values
    np.testing.assert_array_equal(got, whole.isel(tag=0, slice=[4], row=slice(1, 3)))
    assert sum(n for _, n in asked) == 2 * ds.Columns * 2


def test_mosaic_of_unknown_direction_is_left_out_with_a_warning(tmp_path: Path) -> None:
    mosaic(tmp_path, mosaics.Volume())
    bad = mosaics.mosaic(mosaics.Volume(), csa={"SliceNormalVector": []})
    bad.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.78"
    bad.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.79"
    bad.file_meta.MediaStorageSOPClassUID, bad.file_meta.MediaStorageSOPInstanceUID = (
        bad.SOPClassUID,
        bad.SOPInstanceUID,
    )
    bad.save_as(tmp_path / "bad.dcm", enforce_file_format=True)
    with pytest.warns(ImagedataWarning, match=r"bad.dcm is left out: .* without SliceNormalVector"):
        assert opened(tmp_path).sizes["slice"] == 7
    with pytest.raises(FormatError, match="without SliceNormalVector"):
        opened(tmp_path, errors="raise")


def test_mosaics_as_frames_are_refused(tmp_path: Path) -> None:
    ds = mosaic(tmp_path, mosaics.Volume())
    mosaic(tmp_path, mosaics.Volume(), NumberOfFrames=2, PixelData=2 * ds.PixelData)
    with pytest.warns(ImagedataWarning, match="each a mosaic of slices"), pytest.raises(NotFoundError):
        opened(tmp_path)


# --- NIfTI ------------------------------------------------------------------------------------------------------------


def course(folder: Path, late: list[list[float]]) -> xr.DataArray:
    frames = [Frame(k, v, groups=when(2.0 * v + s)) for v, row in enumerate(late) for k, s in enumerate(row)]
    save(instance(frames), folder / "a.dcm")
    return opened(folder)


def sidecar(a: xr.DataArray, folder: Path) -> dict[str, Any]:
    import json

    a.imd.write(folder / "out.nii.gz")
    content: dict[str, Any] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return content


def test_slice_times_within_ticks_of_the_clock_are_one(tmp_path: Path) -> None:
    a = course(tmp_path / "in", [[0, 0.07, 0.14], [0, 0.0725, 0.1425], [0, 0.0725, 0.1425]])
    assert sidecar(a, tmp_path)["SliceTiming"] == pytest.approx([0, 0.0725, 0.1425], abs=1e-5)


def test_slice_times_are_those_after_a_first_volume_of_its_own(tmp_path: Path) -> None:
    a = course(tmp_path / "in", [[0, 0.5, 1.0], [0, 0.25, 0], [0, 0.25, 0]])
    with pytest.warns(ImagedataWarning, match="first volume were measured at other times"):
        said = sidecar(a, tmp_path)
    assert said["SliceTiming"] == pytest.approx([0, 0.25, 0], abs=1e-5)


def test_slice_times_that_differ_are_not_said(tmp_path: Path) -> None:
    a = course(tmp_path / "in", [[0, 0.5, 1.0], [0, 0.25, 0], [0, 0.5, 1.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "SliceTiming" not in sidecar(a, tmp_path)


def test_spacing_is_that_of_the_made_instances(tmp_path: Path) -> None:
    save(instance([Frame(k) for k in range(3)]), tmp_path / "a.dcm")
    np.testing.assert_allclose(list(opened(tmp_path).imd.spacing), SPACING, rtol=1e-6)

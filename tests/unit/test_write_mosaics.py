"""Mosaics and grids that are written: whole while they are unchanged, else as slices."""

from __future__ import annotations

from pathlib import Path

import mosaics
import multiframe
import numpy as np
import pydicom
import pytest
import xarray as xr

import imagedata_xr


@pytest.fixture(params=["mosaic", "grid"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Folder of three volumes of seven tiles, by an interval of 2 s."""
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(3):
        volume = mosaics.Volume()
        if request.param == "mosaic":
            ds = mosaics.mosaic(volume, {"MosaicRefAcqTimes": [f"{250.0 * t:.2f}" for t in range(volume.n)]})
        else:
            ds = mosaics.grid(volume, seconds=[10.5 + 2 * k + 0.25 * t for t in range(volume.n)])
        ds.SOPInstanceUID = f"1.2.826.0.1.3680043.10.511.8.{k + 1}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.10.511.1", "1.2.826.0.1.3680043.10.511.2"
        ds.InstanceNumber, ds.AcquisitionNumber = k + 1, k + 1
        ds.AcquisitionDate, ds.AcquisitionTime = "20240305", f"0800{10.5 + 2 * k:05.2f}"
        multiframe.save(ds, folder / f"{k}.dcm")
    return folder


def opened(folder: Path) -> xr.DataArray:
    return xr.open_dataarray(folder, engine="imagedata")


def files(folder: Path) -> list[pydicom.Dataset]:
    found = [pydicom.dcmread(p) for p in folder.rglob("*") if p.is_file()]
    return sorted(found, key=lambda ds: int(ds.InstanceNumber))


def test_unchanged_ones_stay_whole(source: Path, tmp_path: Path) -> None:
    before = opened(source)
    assert before.shape == (3, 7, 4, 6)
    before.imd.write(tmp_path / "out", series_number=9)
    old, new = files(source), files(tmp_path / "out")
    assert len(new) == 3
    for a, b in zip(old, new, strict=True):
        assert a.PixelData == b.PixelData
        assert (a.SOPInstanceUID, b.SeriesNumber) != (b.SOPInstanceUID, a.get("SeriesNumber"))
        private = [e for e in a if e.tag.is_private]
        assert private
        assert all(b[e.tag] == e for e in private)
    xr.testing.assert_equal(
        opened(tmp_path / "out").drop_vars(["instance", "source"], errors="ignore").variable, before.variable
    )


def test_they_keep_their_uids_on_request(source: Path, tmp_path: Path) -> None:
    opened(source).imd.write(tmp_path / "out", keep_uid=True)
    assert [ds.SOPInstanceUID for ds in files(tmp_path / "out")] == [ds.SOPInstanceUID for ds in files(source)]


@pytest.mark.parametrize("change", ["value", "slice", "time", "delay"])
def test_changed_ones_are_slices(source: Path, tmp_path: Path, change: str) -> None:
    image = opened(source).load()
    if change == "value":
        image[1, 2, 0, 0] += 1
    elif change == "slice":
        image = image.isel(slice=slice(1, None))
    elif change == "time":
        image = image.assign_coords(tag=("tag", image["tag"].values * 1.5, image["tag"].attrs))
    else:
        image = image.assign_coords(slice_time=image["slice_time"] + 0.1)
    image.imd.write(tmp_path / "out")
    new = files(tmp_path / "out")
    assert len(new) == image.sizes["tag"] * image.sizes["slice"]
    assert all(ds.ImageType[0] == "DERIVED" and (ds.Rows, ds.Columns) == (4, 6) for ds in new)
    with pytest.raises(imagedata_xr.errors.FormatError, match="keep_uid=True"):
        image.imd.write(tmp_path / "other", keep_uid=True)


def test_a_part_that_is_whole_volumes_stays_whole(source: Path, tmp_path: Path) -> None:
    opened(source).isel(tag=slice(1, None)).imd.write(tmp_path / "out", keep_uid=True)
    np.testing.assert_array_equal(opened(tmp_path / "out").values, opened(source).values[1:])


def test_one_whose_first_slice_times_are_impossible_stays_whole(tmp_path: Path) -> None:
    """Reading takes the slice times of the first volume from the others, which changes none of the instances."""
    (tmp_path / "in").mkdir()
    usual = [0.0, 500.0, 1000.0, 1500.0, 0.0, 500.0, 1000.0]
    for k, times in enumerate(([0.0, 5625.0, 1000.0, 4000.0, 0.0, 2500.0, 3000.0], usual, usual)):
        ds = mosaics.mosaic(mosaics.Volume(), {"MosaicRefAcqTimes": [f"{t:.2f}" for t in times]})
        ds.SOPInstanceUID = f"1.2.826.0.1.3680043.10.511.9.{k + 1}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.10.511.1", "1.2.826.0.1.3680043.10.511.2"
        ds.InstanceNumber, ds.AcquisitionNumber, ds.RepetitionTime = k + 1, k + 1, 2000
        ds.AcquisitionDate, ds.AcquisitionTime = "20240305", f"0800{10.5 + 2 * k:05.2f}"
        multiframe.save(ds, tmp_path / "in" / f"{k}.dcm")
    with pytest.warns(imagedata_xr.errors.ImagedataWarning, match="first volume"):
        image = opened(tmp_path / "in")
    np.testing.assert_allclose(image.slice_time.values[0], np.array(usual) / 1000)
    image.imd.write(tmp_path / "out", keep_uid=True)
    assert len(files(tmp_path / "out")) == 3
    moved = image.assign_coords(slice_time=image.slice_time + 0.1)
    moved.imd.write(tmp_path / "moved")
    assert len(files(tmp_path / "moved")) == 21

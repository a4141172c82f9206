"""A folder that holds instances of several kinds: each series is what it is alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import multiframe
import numpy as np
import phantoms
import pytest
import xarray as xr
from mosaics import Volume, mosaic
from pydicom.uid import UID

from imagedata_xr.dicom.framing.planes import planes_of
from imagedata_xr.dicom.pixels.array import array_of
from imagedata_xr.dicom.scanning.scan import scan
from imagedata_xr.errors import FormatError
from imagedata_xr.formats.seam import ReadOptions
from imagedata_xr.stores.url import find

FRAMES = [multiframe.Frame(k) for k in range(4)]


def images(folder: Path) -> dict[str, xr.DataArray]:
    tree = xr.open_datatree(folder, engine="imagedata")
    found = [node.to_dataset()["image"] for node in tree.subtree if "image" in node.data_vars]
    return {da.attrs["SeriesInstanceUID"]: da for da in found}


@pytest.fixture
def cohort(tmp_path: Path) -> dict[str, Path]:
    """One folder for each kind."""
    kinds = {name: tmp_path / name for name in ("mosaic", "frames", "classic")}
    ds = mosaic(Volume())
    ds.AcquisitionNumber = 2
    multiframe.save(ds, kinds["mosaic"] / "mosaic.dcm")
    multiframe.save(multiframe.instance(FRAMES), kinds["frames"] / "frames.dcm")
    kinds["classic"].mkdir()
    phantoms.make(kinds["classic"], phantoms.ct())
    return kinds


def test_each_series_of_mixed_kinds_is_what_it_is_alone(cohort: dict[str, Path], tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    for name, folder in cohort.items():
        shutil.copytree(folder, mixed / name)
    together = images(mixed)
    alone = {uid: da for folder in cohort.values() for uid, da in images(folder).items()}
    assert together.keys() == alone.keys()
    assert len(alone) == 3
    for uid, da in alone.items():
        xr.testing.assert_equal(together[uid].drop_vars("source"), da.drop_vars("source"))
        assert together[uid].attrs == da.attrs


def test_frames_beside_mosaics_are_not_all_the_first(cohort: dict[str, Path], tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    for name in ("mosaic", "frames"):
        shutil.copytree(cohort[name], mixed / name)
    da = images(mixed)["1.2.826.0.1.3680043.8.498.92"]
    planes = {plane.tobytes() for plane in np.asarray(da.values).reshape(-1, *da.shape[-2:])}
    assert planes == {multiframe.values(frame).astype(da.dtype).tobytes() for frame in FRAMES}


def test_tiles_and_frames_in_one_stack_are_refused(tmp_path: Path) -> None:
    multiframe.save(mosaic(Volume()), tmp_path / "mosaic.dcm")
    ds = multiframe.instance(FRAMES)
    ds.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.7")
    multiframe.save(ds, tmp_path / "frames.dcm")
    frames = planes_of(scan(find(str(tmp_path))))
    with pytest.raises(FormatError, match="mosaics and multi-frame"):
        array_of(frames, np.arange(len(frames))[None], ReadOptions())

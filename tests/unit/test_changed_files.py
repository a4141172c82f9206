"""Files that change after they were opened: reading them raises, and opening them again gives other names to dask."""

from __future__ import annotations

import copy
import gzip
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.uid import RLELossless
from series import image, open_image, pixels, save, series

import imagedata_xr  # noqa: F401
from imagedata_xr.errors import SourceError


def nifti(path: Path, value: float = 1.0) -> Path:
    nib.save(nib.Nifti1Image(np.full((4, 4, 3), value, np.float32), np.eye(4)), path)  # type: ignore[no-untyped-call]
    return path


def metaio(path: Path, value: float = 1.0) -> Path:
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.full((3, 4, 4), value, np.float32)), str(path))
    return path


def packed(path: Path, value: float = 1.0) -> Path:
    """DICOM within gzip."""
    plain = save(image(int(value), 0), path.with_suffix(".plain"))
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return path


def dicom(path: Path, value: float = 1.0) -> Path:
    return save(image(int(value), 0, {"SOPInstanceUID": "1.2.3.4.9"}), path)


KINDS = {"a.dcm": dicom, "a.nii": nifti, "a.nii.gz": nifti, "a.mha": metaio, "a.gz": packed}


def later(path: Path) -> None:
    """Make sure that the time of change is another one, however coarse the clock of the disk."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 2_000_000))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("chunks", [None, {}])
def test_reading_what_changed_raises(name: str, chunks: Any, tmp_path: Path) -> None:
    path = KINDS[name](tmp_path / name)
    array = open_image(path, chunks=chunks)
    sent = pickle.dumps(array)
    assert array.copy().values.size
    KINDS[name](path, 2.0)
    later(path)
    array = pickle.loads(sent)  # as a worker gets it, with nothing read before
    with pytest.raises(SourceError, match="has changed since it was opened: open the source again"):
        array.compute(scheduler="synchronous")
    assert open_image(path).values.size  # opened again it is read


def test_compressed_frames_that_changed(tmp_path: Path) -> None:
    ds = pydicom.dcmread(dicom(tmp_path / "a.dcm"))
    ds.compress(RLELossless)
    ds.save_as(path := tmp_path / "a.dcm")
    array = open_image(path)
    later(path)
    with pytest.raises(SourceError, match="has changed"):
        array.load()


def test_headers_that_changed(tmp_path: Path) -> None:
    array = open_image(series(tmp_path))
    assert array.imd.header.first.PatientID == "id-1"
    later(tmp_path / "0000.dcm")
    with pytest.raises(SourceError, match="has changed"):
        _ = array.imd.header.first


@pytest.mark.parametrize("name", KINDS)
def test_names_of_tasks_follow_the_files(name: str, tmp_path: Path) -> None:
    """The address, the folder and its time of change stay the same: only the file is another one."""
    path = KINDS[name](tmp_path / name)
    folder_time = tmp_path.stat().st_mtime_ns

    def opened() -> xr.DataArray:
        return open_image(tmp_path, chunks={})

    def later_chunked() -> xr.DataArray:
        return open_image(tmp_path).chunk()

    before, before_chunked = opened(), later_chunked()
    assert opened().data.name == before.data.name  # what is the same is computed once
    assert later_chunked().data.name == before_chunked.data.name
    KINDS[name](path, 2.0)
    later(path)
    os.utime(tmp_path, ns=(folder_time, folder_time))
    assert opened().data.name != before.data.name
    assert later_chunked().data.name != before_chunked.data.name


def test_trees_too(tmp_path: Path) -> None:
    series(tmp_path / "sub")

    def names() -> list[str]:
        tree = xr.open_datatree(tmp_path, engine="imagedata", chunks={})
        return [node["image"].data.name for node in tree.subtree if "image" in node.data_vars]

    before = names()
    assert names() == before
    later(tmp_path / "sub" / "0001.dcm")
    assert names() != before


def test_old_and_new_values_do_not_mix(tmp_path: Path) -> None:
    """One graph holds both: each has its own values."""
    path = dicom(tmp_path / "a.dcm")
    old = open_image(tmp_path, chunks={}).persist()
    dicom(path, 3.0)
    later(path)
    new = open_image(tmp_path, chunks={})
    difference = (new - old).values
    assert np.array_equal(difference[0, 0], pixels(3, 0).astype(float) - pixels(1, 0))


def test_a_copy_elsewhere_is_another_file(tmp_path: Path) -> None:
    """The state is that of the file that was opened: other files are no concern of it."""
    array = open_image(series(tmp_path / "a"), chunks={})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert array.values.size
    assert np.array_equal(open_image(tmp_path / "b", chunks={}), array)


def test_the_variable_is_one_of_xarray(tmp_path: Path) -> None:
    array = open_image(series(tmp_path))
    for other in (array.isel(tag=0), array + 1, array.copy(), array.transpose(), array.chunk(), array.load()):
        assert isinstance(other.variable, xr.Variable)
    chunked = open_image(tmp_path, chunks={"slice": 1})
    assert type(chunked.variable) is xr.Variable
    assert chunked.chunks == ((1,), (1, 1, 1), (4,), (5,))
    assert chunked.equals(array)


def test_a_variable_of_files_is_a_variable(tmp_path: Path) -> None:
    """The class that names dask's arrays stays out of the way: of copies, pickles, selections, operations, chunks."""
    array = open_image(save(image(3, 0), tmp_path / "a.dcm"))
    values = array.copy().values
    variable = array.variable
    copies = [copy.copy(variable), copy.deepcopy(variable), pickle.loads(pickle.dumps(variable)), variable.copy()]
    for same in [*copies, variable.isel(row=slice(None)), variable.transpose(..., "row", "col"), variable.chunk(row=1)]:
        assert isinstance(same, xr.Variable)
        np.testing.assert_array_equal(same.values, values)
    assert type(variable + 1) is type(variable.mean("row")) is type(variable.chunk({})) is xr.Variable
    assert type(variable.chunk({}, "name")) is type(variable.astype("f8")) is xr.Variable
    line = variable.isel({d: 0 for d in variable.dims if d != "row"})
    assert isinstance(line.to_index_variable(), xr.IndexVariable)
    xr.testing.assert_identical(array, open_image(tmp_path / "a.dcm", chunks={}))
    tree = xr.DataTree.from_dict({"/a": array.to_dataset(name="image")})
    xr.testing.assert_identical(pickle.loads(pickle.dumps(tree)).a.image.load(), array.load())

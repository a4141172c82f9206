"""Values that are hard to hold, in every format; and writes that fail on the way."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from nifti_phantoms import series

import imagedata_xr  # noqa: F401  # registers .imd
from imagedata_xr.errors import FormatError, ImagedataError
from imagedata_xr.formats import outgoing
from imagedata_xr.formats.nrrd import Nrrd
from imagedata_xr.formats.seam import WriteOptions

EXTENSIONS = [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgh", ".mgz", ".mat", ".zarr", ".nc", ".tif"]
NEEDS = {".zarr": "zarr", ".nc": "h5netcdf", ".tif": "tifffile"}

HARD: dict[str, tuple[Any, ...]] = {
    "nothing but zeros": (0.0,),
    "a constant": (7.25,),
    "not finite": (np.nan, np.inf, -np.inf, 1.5),
    "tiny": (1e-38, 3e-38, -2e-38, 1e-45),
    "huge": (3e38, -3e38, 1.0),
    "integers at the edges": (-32768.0, 32767.0, 0.0),
    "beyond the stored type": (-40000.0, 70000.0, 3.0),
    "nearly integers": (1.0, 2.0, 2.0000002),
    "beyond exact integers": (16777217.0, 33554434.0),
    "minus zero": (-0.0, 1.0),
}


@pytest.fixture(params=EXTENSIONS)
def extension(request: pytest.FixtureRequest, require_module: Any) -> str:
    """Every format that is written."""
    if request.param in NEEDS:
        require_module(NEEDS[request.param])
    return str(request.param)


def filled(values: tuple[Any, ...], dtype: str, stored: str | None) -> xr.DataArray:
    """Image with these values, over and over."""
    image = series(dtype=dtype, stored=stored)
    with np.errstate(over="ignore"):
        return image.copy(data=np.resize(np.array(values, dtype=dtype), image.shape))


@pytest.mark.parametrize("stored", ["int16", None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", HARD)
def test_hard_values_are_kept(kind: str, dtype: str, stored: str | None, extension: str, tmp_path: Path) -> None:
    image = filled(HARD[kind], dtype, stored)
    path = tmp_path / f"a{extension}"
    with np.errstate(over="ignore"):
        rounded = not np.array_equal(image.values.astype("f4"), image.values, equal_nan=True)
    if extension.startswith(".mg") and rounded and not (stored and kind == "beyond exact integers"):
        with pytest.raises(FormatError, match="float32"):  # MGH has no float64
            image.imd.write(str(path))
        assert not list(tmp_path.iterdir())
        return
    image.imd.write(str(path))
    back = xr.open_dataarray(str(path), engine="imagedata").values
    np.testing.assert_array_equal(back, image.values)


# --- writes that fail ---------------------------------------------------------------------------------------------


class _Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        self._room -= memoryview(data).nbytes
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgh", ".mgz"])
@pytest.mark.parametrize("old", [False, True])
def test_a_full_disk(extension: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = series(shape=(20, 30, 40))
    path = tmp_path / f"a{extension}"
    if old:
        (image + 1).imd.write(str(path))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    kept = Path.open

    def full(self: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        file = kept(self, mode, *more, **named)
        return _Full(file, 1500) if mode == "wb" else file

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ImagedataError, match="No space left"):
        image.imd.write(str(path), overwrite=True)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["a.mat", "7.3.mat", "a.nc", "a.zarr", "a.nrrd"])
def test_a_disk_that_is_really_full(name: str, tmp_path: Path, require_module: Any) -> None:
    require_module(NEEDS.get(Path(name).suffix, "h5py"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    how = {"version": "7.3"} if name == "7.3.mat" else {}
    try:
        image = series(shape=(20, 100, 100), stored=None).astype("float64")
        noise = image.copy(data=np.random.default_rng(0).random(image.shape))
        with pytest.raises(ImagedataError, match="No space left"):
            noise.imd.write(str(tmp_path / name), format_options=how)
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_the_type_is_found_anew_where_a_later_volume_does_not_fit(tmp_path: Path) -> None:
    image = series(stored="int16")
    data = image.values.copy()
    data[3] = 0.5
    begun: list[str] = []

    def begin(dtype: np.dtype[Any]) -> bytes:
        begun.append(str(dtype))
        return b""

    out = outgoing.outgoing(image.copy(data=data), Nrrd.holds)
    sink = outgoing.raw_sink(tmp_path / "x", begin)
    assert outgoing.write_voxels(out, sink, WriteOptions()) == np.float32
    assert begun == ["int16", "float32"]
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x", "<f4"), data.ravel())

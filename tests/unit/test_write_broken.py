"""A write of DICOM that fails midway leaves no file under a final name that is not whole, whatever the target."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from phantoms import make, opened

import imagedata_xr
from imagedata_xr.errors import ImagedataError

TARGETS = ["out", "old", "empty", "one.dcm", "old.dcm", "new.zip", "old.zip?series", "out/im_%05d.dcm"]
HOW: dict[str, dict[str, Any]] = {
    "images": {},
    "one instance": {"format_options": {"multiframe": True}},
    "a mask": {"kind": "segmentation"},
    "a map": {"kind": "parametric_map"},
}


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(1, 4, 6, 8)))
    return opened(tmp_path / "in")


@pytest.fixture
def before(tmp_path: Path, image: xr.DataArray) -> dict[str, bytes | None]:
    """What is there: a folder of images, an empty one, a file, an archive."""
    image.imd.write(tmp_path / "old", format="dicom")
    (tmp_path / "empty").mkdir()
    image.isel(tag=0, slice=0).imd.write(tmp_path / "old.dcm", format="dicom")
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        archive.writestr("series/IM_00001.dcm", (tmp_path / "old.dcm").read_bytes())
        archive.writestr("note.txt", "mine")
    return state(tmp_path)


def state(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def failing(image: xr.DataArray, at: int) -> xr.DataArray:
    """The image with 0 and 1 for values, in chunks of a slice, of which one can't be computed."""

    def compute(block: NDArray[Any], block_info: Any = None) -> NDArray[Any]:
        if block_info and block_info[0]["chunk-location"][1] == at:
            raise ValueError("the third slice can't be computed")
        return block

    mask = (image.values > image.values.mean()).astype("f4")
    data = dask.array.from_array(mask, chunks=(1, 1, -1, -1))  # type: ignore[no-untyped-call]
    return image.copy(data=data.map_blocks(compute, dtype="f4", meta=np.empty((0,) * 4, "f4")))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("how", HOW)
def test_a_chunk_that_can_not_be_computed(
    target: str, how: str, image: xr.DataArray, before: dict[str, bytes | None], tmp_path: Path, require_module: Any
) -> None:
    if how != "images":
        require_module("highdicom")
    broken = failing(image, at=2)
    if target.endswith(".dcm") and "%" not in target and how == "images":
        broken = failing(image, at=0).isel(tag=0, slice=slice(0, 1))
    with pytest.raises(ValueError, match="third slice"):
        broken.imd.write(str(tmp_path / target), format="dicom", overwrite=True, **HOW[how])
    assert state(tmp_path) == before


@pytest.mark.parametrize("target", ["out", "old", "empty", "old.dcm", "new.zip", "old.zip?series"])
def test_a_disk_that_is_full(target: str, image: xr.DataArray, tmp_path: Path) -> None:
    """On a file system of 64 kB, of which the images need more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        small = image.isel(tag=0, slice=slice(0, 1))
        if target.startswith("old"):
            small.imd.write(str(disk / target), format="dicom")
        if target == "empty":
            (disk / "empty").mkdir()
        was = state(disk)
        noise = np.random.default_rng(0).random((1, 1 if target.endswith(".dcm") else 6, 200, 200))
        large: xr.DataArray = imagedata_xr.from_array(noise, spacing=(3, 1, 1))
        with pytest.raises((ImagedataError, OSError), match="No space left"):
            large.imd.write(str(disk / target), format="dicom", overwrite=True)
        assert state(disk) == was
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


_SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from phantoms import opened
image = opened({source!r})
def slow(done, total):
    if done == {at}:
        print("now", flush=True)
        time.sleep(60)
image.imd.write({target!r}, format="dicom", overwrite=True, progress=slow)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
@pytest.mark.parametrize("target", ["out", "old", "empty", "new.zip", "old.zip?series"])
def test_a_process_that_is_killed(
    target: str, image: xr.DataArray, before: dict[str, bytes | None], tmp_path: Path
) -> None:
    script = _SLOW.format(
        tests=str(Path(__file__).parent.parent), source=str(tmp_path / "in"), target=str(tmp_path / target), at=2
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"now"
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    after = state(tmp_path)
    assert {name: after.get(name) for name in before} == before
    # whatever is left has a name that no one takes for an image
    assert all(any(part.startswith(".") for part in Path(name).parts) for name in set(after) - set(before))
    done = image.imd.write(str(tmp_path / target), format="dicom", overwrite=True)
    assert len(done.paths) == 4


def test_a_folder_that_can_not_take_its_name_keeps_the_old_images(
    image: xr.DataArray, before: dict[str, bytes | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step fails: the new folder can't be renamed."""
    kept = Path.rename

    def rename(self: Path, target: Any) -> Path:
        if self.name.endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        return kept(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises((ImagedataError, OSError), match="Input/output error"):
        image.imd.write(tmp_path / "old", format="dicom", overwrite=True)
    monkeypatch.undo()
    assert state(tmp_path) == before
    assert len(list((tmp_path / "old").iterdir())) == 4
    assert pydicom.dcmread(next((tmp_path / "old").iterdir())).Rows == 6

"""Memory while a lazy image of many times the bound is written, and while one is loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MB = 10**6
VOLUMES, VOLUME = 60, 2 * 1024 * 1024 * 2  # 250 MB

PROGRAM = """
import sys
import dask
import dask.array as da
import numpy as np
import imagedata_xr

form, options, target, ending, volumes = sys.argv[1], eval(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5])
dask.config.set(num_workers=4)

def block(block_info=None):
    place = block_info[None]["array-location"]
    shape = [b - a for a, b in place]
    out = np.full(shape, place[0][0], "i2")  # with no memory but its own
    out += np.arange(shape[-1], dtype="i2")
    return out

def image(n):
    chunks = ((1,) * n, (2,), (1024,), (1024,))
    data = da.map_blocks(block, chunks=chunks, dtype="i2", meta=np.empty((0, 0, 0, 0), "i2"))
    return imagedata_xr.from_array(data, spacing=(2, 1, 1), order="time", tags=np.arange(n) * 2.0)

def use(image, name):
    if form == "load":
        assert image.imd.load() is image and isinstance(image.data, np.ndarray)
        assert image[-1, 0, 0, 0] == len(image) - 1 and image[0, 0, 0, 3] == 3
    else:
        image.imd.write(target + name, form, **options)

def highest():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

use(image(2), "/first" + ending)
before = highest()
use(image(volumes), "/image" + ending)
print(highest() - before)
"""


def grown(form: str, target: Path, ending: str = "", options: str = "{}") -> int:
    """Bytes that the highest use of memory grows by, in a process of its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of memory is read from /proc, which is not there")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, form, options, str(target), ending, str(VOLUMES)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "ending", "options", "needs"),
    [
        ("nifti", ".nii", "{}", ()),
        ("nifti", ".nii.gz", "{}", ()),
        ("metaio", ".mha", "{}", ()),
        ("nrrd", ".nrrd", "{}", ()),
        ("mgh", ".mgh", "{}", ()),
        ("tiff", ".tif", "{}", ("tifffile",)),
        ("tiff", ".tif", "{'format_options': {'compress': 1}}", ("tifffile",)),
        ("png", ".png", "{'format_options': {'window': 'minmax'}}", ("PIL",)),
        ("zarr", ".zarr", "{}", ("zarr",)),
        ("netcdf", ".nc", "{}", ("h5netcdf",)),
        ("mat", ".mat", "{'format_options': {'version': '5'}}", ()),
        ("mat", ".mat", "{'format_options': {'version': '7'}}", ()),
        ("mat", ".mat", "{'format_options': {'version': '7.3'}}", ("h5py",)),
        ("dicom", ".d", "{}", ()),
    ],
)
def test_writing_takes_a_part_of_the_image(
    form: str,
    ending: str,
    options: str,
    needs: tuple[str, ...],
    tmp_path: Path,
    require_module: Callable[[str], object],
) -> None:
    for name in needs:
        require_module(name)
    more = grown(form, tmp_path, ending, options)
    assert more < 120 * MB, f"{more / MB:.0f} MB for an image of {VOLUMES * VOLUME / MB:.0f} MB"


def test_loading_takes_the_image_once(tmp_path: Path) -> None:
    more, size = grown("load", tmp_path), VOLUMES * VOLUME
    assert 0.9 * size < more < 1.3 * size, f"{more / size:.2f} times the image"

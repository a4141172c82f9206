"""Memory while opening: a small share of the headers that are read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from series import image, save

FILES = 2000
PER_FILE = 10_000

PROGRAM = """
import sys
import xarray as xr

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

a = xr.open_dataarray(sys.argv[1] + "/0000", engine="imagedata")
before = resident()
a = xr.open_dataarray(sys.argv[1], engine="imagedata")
print("shape", a.shape[:2], "grown", resident() - before)
"""


def with_long_header(v: int, k: int) -> Dataset:
    """An image with as much in its header as scanners write: sequences, texts, and private elements that differ."""
    ds = image(v, k, {"AcquisitionTime": f"10{v // 60:02d}{v % 60:02d}.{k:06d}", "SliceLocation": 3 * k})
    block = ds.private_block(0x0051, "MADE", create=True)
    for e in range(120):
        block.add_new(e, "LO", f"value {e} of a private element")
    for e in range(120, 150):
        block.add_new(e, "DS", f"{v + k / 7 + e:.8g}")
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.ReferencedImageSequence = [item] * 3
    ds.ImageComments = "text of the operator " * 60
    ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.123456789012345"
    return ds


@pytest.mark.slow
def test_memory_per_file(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of memory is read from /proc, which is not there")
    slices = 40
    for n in range(FILES):
        path = save(with_long_header(n // slices, n % slices), tmp_path / f"{n:04d}")
    assert path.stat().st_size >= 9000
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"shape \((\d+), (\d+)\) grown (\d+)", done.stdout)
    assert found is not None, done.stdout
    assert (int(found[1]), int(found[2])) == (FILES // slices, slices)
    assert int(found[3]) / FILES <= PER_FILE, f"{int(found[3]) / FILES:.0f} bytes per file"

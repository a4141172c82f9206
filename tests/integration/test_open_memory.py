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


def template(path: Path) -> bytes:
    """A file with as much in its header as scanners write, and marks of fixed width where files differ."""
    ds = image(0, 0, {"AcquisitionTime": "101112.131415", "InstanceNumber": 55555, "SOPInstanceUID": "1.2.3.4.66666"})
    ds.ImagePositionPatient = [-10, 5, 7777.7]
    block = ds.private_block(0x0051, "MADE", create=True)
    for e in range(150):
        block.add_new(e, "LO", f"value {e} of a private element" if e < 120 else "88888888")
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, "1.2.3.4.99"
    ds.ReferencedImageSequence = [item] * 3
    ds.ImageComments = "text of the operator " * 150
    return save(ds, path).read_bytes()


def filled(data: bytes, v: int, k: int) -> bytes:
    """The file of volume v, slice k."""
    n = 10000 + 100 * v + k
    for mark, text in (("101112.131415", f"10{v // 60:02d}{v % 60:02d}.{k:06d}"), ("55555", f"{n}"), ("66666", f"{n}"),
                       ("7777.7", f"{1000 + 3 * k}.5"), ("88888888", f"{n}{n % 997:03d}")):  # fmt: skip
        assert mark.encode() in data
        data = data.replace(mark.encode(), text.encode())
    return data


@pytest.mark.slow
def test_memory_per_file(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of memory is read from /proc, which is not there")
    slices = 40
    data = template(tmp_path / "0000")
    assert len(data) >= 9000
    for n in range(FILES):
        (tmp_path / f"{n:04d}").write_bytes(filled(data, n // slices, n % slices))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"shape \((\d+), (\d+)\) grown (\d+)", done.stdout)
    assert found is not None, done.stdout
    assert (int(found[1]), int(found[2])) == (FILES // slices, slices)
    assert int(found[3]) / FILES <= PER_FILE, f"{int(found[3]) / FILES:.0f} bytes per file"

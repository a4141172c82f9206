"""Time of the header scan per file, as a ratio to pydicom's on the same files in the same run.

Reads the Philips diffusion case of the shared data where that is there (680 files of 439 elements), else files it makes.
A folder given as argument is read instead.
"""

from __future__ import annotations

import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

from imagedata_xr.dicom.scan import scan
from imagedata_xr.stores.url import File, find

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CASE = "phi_cl_dwi_vanderbilt"
REPETITIONS = 5
FOR_PYDICOM = 100
"""pydicom reads this many of the files, to keep the run short."""


def provide(folder: Path) -> str:
    """Put files to read into a folder, and say which they are."""
    shared = Path(os.environ.get("IMD_SHARED", CHECKOUT.parent / "shared"))
    packed = shared / "data" / "cases" / f"{CASE}.tar.xz"
    if packed.is_file():
        with tarfile.open(packed) as archive:
            archive.extractall(folder, (m for m in archive if "/dicom/" in m.name), filter="data")
        return CASE
    ds = pydicom.dcmread(str(get_testdata_file("MR_small.dcm")))
    for k in range(500):
        ds.InstanceNumber, ds.SOPInstanceUID = k, f"1.2.3.{k}"
        ds.save_as(folder / f"{k:03}")
    return "made files"


def per_file(run: Callable[[], object], count: int) -> float:
    """Median time of a run per file, us."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / count * 1e6


def compare(files: list[File], name: str) -> None:
    """Time both readers and print the ratio."""
    some = files[:: max(1, len(files) // FOR_PYDICOM)]
    ours = per_file(lambda: scan(files), len(files))
    theirs = per_file(lambda: [pydicom.dcmread(f.path, stop_before_pixels=True) for f in some], len(some))
    print(
        f"{name}, {len(files)} files: scan {ours:.0f} us per file, pydicom {theirs:.0f} us, {theirs / ours:.1f} times"
    )


def main() -> None:
    """Run the benchmark."""
    if len(sys.argv) > 1:
        compare(find(sys.argv[1]), sys.argv[1])
        return
    with tempfile.TemporaryDirectory() as folder:
        name = provide(Path(folder))
        compare(find(folder), name)


if __name__ == "__main__":
    main()

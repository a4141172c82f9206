"""Time of opening a folder lazily, and of opening and loading it, as ratios to pydicom's on the same files.

Reads files that it makes, or a folder given as argument. pydicom only reads headers (stop_before_pixels): sorting and
labelling are in our time alone.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pydicom
import xarray as xr
from pydicom.data import get_testdata_file

from imagedata_xr.stores.url import find

REPETITIONS = 5
FOR_PYDICOM = 100
"""pydicom reads this many of the files, to keep the run short."""


def provide(folder: Path) -> None:
    """Make 12 volumes of 40 slices with some 250 elements each."""
    ds = pydicom.dcmread(str(get_testdata_file("MR_small.dcm")))
    block = ds.private_block(0x0051, "BENCHMARK", create=True)
    for k in range(150):
        block.add_new(k, "LO", f"value {k}")
    for v in range(12):
        for k in range(40):
            ds.InstanceNumber, ds.SOPInstanceUID = 40 * v + k + 1, f"1.2.3.{v + 1}.{k + 1}"
            ds.ImagePositionPatient, ds.AcquisitionTime = [0, 0, 2 * k], f"1000{v:02d}.{k:03d}"
            ds.save_as(folder / f"{v:02}{k:02}")


def best(run: Callable[[], object]) -> float:
    """Best time of a run, s."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(folder: str) -> None:
    """Time both and print the ratios."""
    files = find(folder)
    some = files[:: max(1, len(files) // FOR_PYDICOM)]
    opened = best(lambda: xr.open_dataarray(folder, engine="imagedata"))
    loaded = best(lambda: xr.open_dataarray(folder, engine="imagedata").load())
    theirs = best(lambda: [pydicom.dcmread(f.path, stop_before_pixels=True) for f in some]) / len(some) * len(files)
    print(
        f"{len(files)} files: open {opened * 1e3:.0f} ms, open and load {loaded * 1e3:.0f} ms, pydicom's headers "
        f"{theirs * 1e3:.0f} ms; pydicom takes {theirs / opened:.1f} and {theirs / loaded:.1f} times as long"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(sys.argv) > 1:
        compare(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as made:
            provide(Path(made))
            compare(made)

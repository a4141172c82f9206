"""Opening many small files: time and memory for each file, beside those of 2000 files.

Arguments: numbers of files (10000 without; 100000 take some minutes, and 1.5 GB of disk).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import environment, goal, number, series, table

FEW = 2000
RUNS = 3
OPEN = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
import xarray as xr
import imagedata_xr

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

imagedata_xr.set_options(cache="off")
folder = sys.argv[1]
xr.open_dataarray(os.path.join(folder, min(os.listdir(folder))), engine="imagedata").load()
before, start = peak(), time.perf_counter()
image = xr.open_dataarray(folder, engine="imagedata")
print(time.perf_counter() - start, peak() - before)
"""


def opened(folder: Path, times: int = RUNS) -> tuple[float, float]:
    """Seconds that opening takes, and bytes by which the peak of memory of a process grows; medians."""
    runs = []
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", OPEN, str(folder)], capture_output=True, text=True, check=True)
        runs.append([float(word) for word in done.stdout.split()])
    seconds, grown = zip(*runs, strict=True)
    return statistics.median(seconds), statistics.median(grown)


def main(words: list[str]) -> None:
    """Open series of each size in processes of their own."""
    print(environment())
    if not Path("/proc/self/status").exists():
        print("\nThe peak of memory is read from /proc, which is not there.")
        return
    rows, first = [], (0.0, 0.0)
    for count in (FEW, *(int(word) for word in words or ("10000",))):
        with tempfile.TemporaryDirectory() as made:
            folder = series(Path(made) / "made", count, 32)
            opened(folder, times=1)  # the files are in memory then
            seconds, grown = opened(folder)
        each = (seconds / count * 1e6, grown / count / 1e3)
        first = each if count == FEW else first
        times, more = each[0] / first[0], each[1] / first[1]
        cells = (number(seconds * 1e3), number(each[0]), f"{times:.2f}", number(each[1]), f"{more:.2f}")
        rows.append((f"{count}", *cells))
        goal(f"{count} files opened: memory for each file, kB", each[1], at_most=10)
        if count != FEW:
            goal(f"{count} files opened: time for each file, times that of {FEW}", times, at_most=1.5)
            goal(f"{count} files opened: memory for each file, times that of {FEW}", more, at_most=1.5)
    table(
        "Open many files of 32 x 32", ("files", "ms", "us per file", "ratio", "kB per file, at the peak", "ratio"), rows
    )


if __name__ == "__main__":
    main(sys.argv[1:])

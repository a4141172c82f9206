"""Import time, and the peak of memory: what only a process of its own can show."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import contenders as by
from harness import compare, environment, goal, number, series, table

MEMORY = """
import os, sys, warnings
warnings.simplefilter("ignore")
import xarray as xr

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

folder, options = sys.argv[1], eval(sys.argv[2])
one = xr.open_dataarray(os.path.join(folder, min(os.listdir(folder))), engine="imagedata", **options).load()
before = peak()
image = xr.open_dataarray(folder, engine="imagedata", **options)
opened = peak()
EVALUATE
print(opened - before, peak() - before, image.nbytes)
"""


def grown(folder: Path, options: str, evaluate: str) -> tuple[int, int, int]:
    """Bytes that a process grows by opening and by what follows, above one that has read one file; and the image's."""
    program = MEMORY.replace("EVALUATE", evaluate)
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), options], capture_output=True, text=True, check=True
    )
    opened, all_of_it, size = (int(word) for word in done.stdout.split())
    return opened, all_of_it, size


def memory(folder: Path) -> None:
    """Print the peaks for one series."""
    rows = []
    for name, options, evaluate in (
        ("load", "{}", "image.load()"),
        ("load, stored numbers", "{'mask_and_scale': False}", "image.load()"),
        ("load, chunked by dask", "{'chunks': {}}", "image.load()"),
        ("imd.load, chunked by dask", "{'chunks': {}}", "image.imd.load()"),
        ("mean over the volumes, dask", "{'chunks': {}}", "image.mean(image.dims[0]).compute()"),
    ):
        opened, peak, size = grown(folder, options, evaluate)
        if name == "load" and size > 200e6:
            goal("opened and loaded: peak of memory, times the image", peak / size, at_most=1.3)
        rows.append((name, number(size / 1e6), number(opened / 1e6), number(peak / 1e6), f"{peak / size:.2f}"))
    count = len(by.paths(folder))
    table(f"Peak of memory, {count} files", ("", "image, MB", "open, MB", "peak, MB", "peak / image"), rows)


def main(words: list[str]) -> None:
    """Run both; the argument is the number of files."""
    print(environment())
    taken = compare(
        "Import",
        {
            "import xarray": lambda: by.command(sys.executable, "-c", "import xarray"),
            "import imagedata_xr": lambda: by.command(sys.executable, "-c", "import imagedata_xr"),
            "import pydicom": lambda: by.command(sys.executable, "-c", "import pydicom"),
        },
    )
    goal("import, times that of xarray", taken["import imagedata_xr"] / taken["import xarray"], at_most=1.15)
    if not Path("/proc/self/status").exists():
        print("\nThe peak of memory is read from /proc, which is not there.")
        return
    with tempfile.TemporaryDirectory() as made:
        memory(series(Path(made) / "made", int(words[0]) if words else 4000))


if __name__ == "__main__":
    main(sys.argv[1:])

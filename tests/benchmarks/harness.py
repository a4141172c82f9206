"""What the benchmarks share: contenders that take turns, tables of ratios, versions, and folders of made files."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

REPETITIONS = int(os.environ.get("BENCH_REPETITIONS", "5"))
SLOW = 2.0
"""Seconds: what takes longer is run once."""
GOAL = "<!-- goal:"
"""Begins the lines from which `report.py` makes its first table."""
SLICES = 20
Contenders = Mapping[str, Callable[[], object]]


def alternate(contenders: Contenders, slow: float = SLOW) -> dict[str, list[float] | str]:
    """Seconds of each run of each contender, which take turns; what a contender refuses, by the name of its error.

    A run before, which does not count, imports what a contender needs and brings the files into memory. Of contenders
    that take longer than `slow`, s, it is the only one.
    """
    times: dict[str, list[float] | str] = {}
    for name, run in contenders.items():
        try:
            start = time.perf_counter()
            run()
            taken_once = time.perf_counter() - start
            times[name] = [taken_once] if taken_once > slow else []
        except Exception as error:  # noqa: BLE001 - a contender may refuse for any reason of its own
            times[name] = f"refused ({type(error).__name__})"
    for _ in range(REPETITIONS):
        for name, run in contenders.items():
            taken = times[name]
            if isinstance(taken, list) and taken[:1] < [slow]:
                start = time.perf_counter()
                run()
                taken.append(time.perf_counter() - start)
    return times


def compare(title: str, contenders: Contenders, slow: float = SLOW) -> dict[str, float]:
    """Let contenders take turns, and print a table: median, lowest and highest, and the ratio to the first one.

    Returns
    -------
    dict
        The median of each, s; NaN of one that refused.
    """
    times = alternate(contenders, slow)
    first = next(iter(times.values()))
    assert isinstance(first, list), f"the first contender was {first}"
    ours = statistics.median(first)
    rows = []
    for name, taken in times.items():
        if isinstance(taken, str):
            rows.append((name, taken, "", ""))
            continue
        middle = statistics.median(taken)
        rows.append((name, number(middle * 1e3), span(taken), f"{middle / ours:.2f}"))
    table(title, ("", "ms", "from - to", "ratio"), rows)
    return {name: float("nan") if isinstance(taken, str) else statistics.median(taken) for name, taken in times.items()}


def goal(what: str, measured: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
    """Print what was aimed at and what was measured; nothing where a contender was missing."""
    if np.isnan(measured):
        return
    met = (at_least is None or measured >= at_least) and (at_most is None or measured <= at_most)
    aim = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    print(f"{GOAL} | {what} | {aim} | {number(measured)} | {'yes' if met else 'no'} | -->", flush=True)


def table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a markdown table."""
    print(f"\n### {title}\n\n| " + " | ".join(head) + " |\n|---|" + "--:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(max(value, 1e-9)))))}f}"


def span(seconds: list[float]) -> str:
    """Lowest and highest, in ms."""
    if len(seconds) == 1:
        return "one run"
    return f"{number(min(seconds) * 1e3)} - {number(max(seconds) * 1e3)}"


def environment() -> str:
    """Machine and versions, as a line of markdown."""
    names = (
        "imagedata-xr",
        "xarray",
        "numpy",
        "dask",
        "pydicom",
        "SimpleITK",
        "highdicom",
        "dicom2nifti",
        "imagecodecs",
    )
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    if shutil.which("dcm2niix"):
        said = subprocess.run(["dcm2niix", "--version"], capture_output=True, text=True).stdout.split()
        found.append(f"dcm2niix {said[-1]}" if said else "dcm2niix")
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"{', '.join(found)}. Medians of {REPETITIONS} runs, in turns, files in the system's cache; what takes "
        f"longer than {SLOW:g} s is run once."
    )


def series(folder: Path, files: int, size: int = 128) -> Path:
    """Make a dynamic series of MR images with some 250 elements each, 20 slices in each volume, 12 of 16 bits."""
    folder.mkdir(parents=True)
    ds = pydicom.dcmread(str(get_testdata_file("MR_small.dcm")))
    del ds[0xFFFC, 0xFFFC]  # padding after the pixels, which are to come last
    block = ds.private_block(0x0051, "BENCHMARK", create=True)
    for k in range(150):
        block.add_new(k, "LO", f"value {k}")
    ds.Rows = ds.Columns = size
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 0, 12, 11
    ds.RescaleSlope, ds.RescaleIntercept, ds.SliceThickness = "1.25", "-3", "2"
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue = 0, 4095
    ds.AcquisitionTime, ds.InstanceNumber, ds.SOPInstanceUID = "101112.131415", 5555555, "1.2.3.4.6666666"
    ds.ImagePositionPatient = [-10, 5, 7777.75]
    ds.PixelData = bytes(2 * size * size)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(folder / "template")
    template = (folder / "template").read_bytes()
    (folder / "template").unlink()
    header, random = template[: -2 * size * size], np.random.default_rng(1)
    for n in range(files):
        v, k = divmod(n, SLICES)
        one = header.replace(b"101112.131415", f"{10 + v // 3600:02d}{v // 60 % 60:02d}{v % 60:02d}.{k:06d}".encode())
        one = one.replace(b"5555555", b"%7d" % (n + 1)).replace(b"6666666", b"%7d" % (1000000 + n))
        one = one.replace(b"7777.75", b"%7.2f" % (2 * k))
        (folder / f"{n:06d}.dcm").write_bytes(one + random.integers(0, 4096, (size, size), dtype="<u2").tobytes())
    return folder

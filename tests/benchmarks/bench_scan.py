"""Time of the header scan per file, as a ratio to pydicom's on the same files in the same run.

Reads files that it makes, or a folder given as argument. A scanner's files have more elements than the made ones.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

from imagedata_xr.dicom.scanning.scan import scan
from imagedata_xr.stores.url import File, find

REPETITIONS = 5
FOR_PYDICOM = 100
"""pydicom reads this many of the files, to keep the run short."""


def provide(folder: Path) -> None:
    """Make 500 files with some 300 elements, most of them private, and two sequences."""
    ds = pydicom.dcmread(str(get_testdata_file("MR_small.dcm")))
    block = ds.private_block(0x0051, "BENCHMARK", create=True)
    for k in range(200):
        block.add_new(k, "LO", f"value {k}")
    for word in ("ReferencedStudySequence", "ProcedureCodeSequence"):
        item = pydicom.Dataset()
        item.CodeValue, item.CodeMeaning = "1", "one"
        setattr(ds, word, [item] * 2)
        ds[word].is_undefined_length = True
    for k in range(500):
        ds.InstanceNumber, ds.SOPInstanceUID = k, f"1.2.3.{k}"
        ds.save_as(folder / f"{k:03}")


def per_file(run: Callable[[], object], count: int) -> float:
    """Best time of a run per file, us."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) / count * 1e6


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
        provide(Path(folder))
        compare(find(folder), "made files")


if __name__ == "__main__":
    main()

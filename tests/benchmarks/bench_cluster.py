"""A cohort of 20 series: two worker processes of a cluster, two threads, and one series after the other."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from harness import compare, environment, goal, series

import imagedata_xr  # noqa: F401

SERIES = 20


def cohort(folder: Path, files: int) -> Path:
    """Make series of one study that differ in their UIDs."""
    first = series(folder / "000", files)
    uid = str(pydicom.dcmread(first / "000000.dcm", stop_before_pixels=True).SeriesInstanceUID).encode()
    for k in range(1, SERIES):
        place = folder / f"{k:03d}"
        place.mkdir()
        for file in sorted(first.iterdir()):
            data = file.read_bytes().replace(b"1.2.3.4.1", b"1.2.%03d.1" % (100 + k))
            (place / file.name).write_bytes(data.replace(uid, uid[:-3] + b"%03d" % (100 + k)))
    return folder


def spread(image: xr.DataArray) -> float:
    """A number of an image that takes a while."""
    return float(np.median(image.values, axis=0).std())


def main(words: list[str]) -> None:
    """Run it; the argument is the number of files of each series, and with it the images are computed with as well."""
    from distributed import Client, LocalCluster

    files = int(words[0]) if words else 400
    print(environment())
    with (
        tempfile.TemporaryDirectory() as made,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        source, out = cohort(Path(made) / "cohort", files), Path(made) / "out"
        tree = xr.open_datatree(source, engine="imagedata", chunks={})
        with Client(cluster, set_as_default=False) as client:

            def convert(extension: str, workers: Any) -> None:
                written = tree.imd.write(out / extension, extension, workers=workers, overwrite=True)
                assert len(written) == SERIES, len(written)

            def compute(workers: Any) -> None:
                tree.imd.map(spread, workers=workers)

            runs: dict[str, Callable[[Any], None]] = {
                "to NIfTI": partial(convert, ".nii"),
                "to packed NIfTI": partial(convert, ".nii.gz"),
            }
            for title, run in (runs | ({"median over time, of each": compute} if words else {})).items():
                taken = compare(
                    f"{SERIES} series of {files} files, {title}",
                    {
                        "two worker processes": partial(run, client),
                        "two threads": partial(run, 2),
                        "one series after the other": partial(run, None),
                    },
                    slow=20,
                )
                if run is not compute:
                    times = taken["one series after the other"] / taken["two worker processes"]
                    goal(f"{SERIES} series {title} by two processes, times faster than by one", times, at_least=1.6)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Open, load, parts, mean over time, convert, write: made series of many files, and real ones that are given.

Arguments: numbers of files to make (2000 without), and folders with a series. `IMD_WORK`, where set, adds a classic and
an enhanced real series.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path

import contenders as by
import numpy as np
import pydicom
from harness import compare, environment, goal, series

import imagedata_xr
from imagedata_xr.dicom.scanning import lately

CLASSIC, ENHANCED = "phi_cl_dwi_vanderbilt", "can_enh_4000"


def main(words: list[str]) -> None:
    """Run all comparisons on each series."""
    warnings.simplefilter("ignore")
    print(environment())
    imagedata_xr.set_options(cache="off")
    with tempfile.TemporaryDirectory() as made:
        for count in [int(w) for w in words if w.isdigit()] or ([2000] if not words else []):
            everything(f"{count} files of 128 x 128", series(Path(made) / str(count), count))
    work = Path(os.environ.get("IMD_WORK", ""))
    real = [work / name / "dicom" for name in (CLASSIC, ENHANCED)] if "IMD_WORK" in os.environ and not words else []
    for folder in [*(p for p in real if p.is_dir()), *(Path(w) for w in words if not w.isdigit())]:
        everything(f"{folder.parent.name}, {len(by.paths(folder))} files", folder)


def everything(what: str, folder: Path) -> None:
    """All comparisons on one series."""
    print(f"\n## {what}")
    enhanced = len(by.paths(folder)) == 1
    reading(what, folder, enhanced)
    again(what, folder)
    pixels(what, folder)
    parts(what, folder, enhanced)
    writing(folder)


def reading(what: str, folder: Path, enhanced: bool) -> None:
    """Opening, and opening with all pixels."""
    first = compare(
        "Open",
        {
            "imagedata_xr": lambda: by.opened(folder),
            "all bytes read": lambda: by.read_all(folder),
            "pydicom, 10 elements": lambda: by.pydicom_tags(folder),
            "dcm2niix -b o (sidecar only)": lambda: by.dcm2niix(folder, "-b", "o"),
            "dcm2niix -z n (whole conversion)": lambda: by.dcm2niix(folder, "-z", "n"),
        },
    )
    both = compare(
        "Open and load",
        {
            "imagedata_xr": lambda: by.opened(folder).load(),
            "all bytes read": lambda: by.read_all(folder),
            "dcm2niix -z n (whole conversion)": lambda: by.dcm2niix(folder, "-z", "n"),
            "pydicom, pixel_array": lambda: by.pydicom_full(folder),
            "SimpleITK": lambda: by.simpleitk(folder),
            "highdicom": lambda: by.highdicom_volume(folder),
            "imagedata": lambda: by.imagedata(folder),
        },
    )
    ours, loaded = first["imagedata_xr"], both["imagedata_xr"]
    if enhanced:
        others = [both[name] for name in ("highdicom", "imagedata") if both[name] > 0]
        goal(
            f"{what}: opened and loaded, times faster than highdicom or imagedata",
            min(others, default=np.nan) / loaded,
            at_least=5,
        )
        return
    wanted = 4 if "128 x 128" in what else 8
    goal(f"{what}: opened, times faster than pydicom reads 10 elements", first["pydicom, 10 elements"] / ours,
         at_least=wanted)  # fmt: skip
    conversion = "dcm2niix -z n (whole conversion)"
    goal(f"{what}: opened, part of the time of dcm2niix's conversion", ours / first[conversion], at_most=1)
    goal(f"{what}: opened and loaded, the same", loaded / both[conversion], at_most=1.5)
    goal(f"{what}: opened and loaded, times faster than imagedata", both["imagedata"] / loaded, at_least=15)


def again(what: str, folder: Path) -> None:
    """Opening with the cache, which keeps what was scanned of files that have not changed within two seconds."""
    with tempfile.TemporaryDirectory() as cache:

        def again_here() -> object:
            with imagedata_xr.set_options(cache="on", cache_folder=cache):
                return by.opened(folder)

        def again_elsewhere() -> object:
            lately.clear()  # as a process that has not opened it yet
            return again_here()

        again_here()
        here, elsewhere = "with the cache, in the process that opened it", "with the cache, in another process"
        all_three = {"without the cache": lambda: by.opened(folder), here: again_here, elsewhere: again_elsewhere}
        taken = compare("Open again", all_three)
    for who, words in (here, "in the same process"), (elsewhere, "in another process"):
        times = taken["without the cache"] / taken[who]
        goal(f"{what}: opened again with the cache {words}, times faster", times, at_least=4)


def pixels(what: str, folder: Path) -> None:
    """Reading the pixels of what is open."""
    stored, scaled = by.opened(folder, mask_and_scale=False), by.opened(folder)
    taken = compare(
        "Load what is open",
        {
            "floor: bytes by place into one array": by.floor(stored),
            "stored numbers": lambda: stored.copy(deep=False).values,
            "float32, rescaled": lambda: scaled.copy(deep=False).values,
        },
    )
    floor, plain, rescaled = taken.values()
    goal(f"{what}: loaded as stored, times the floor", plain / floor, at_most=2)
    goal(f"{what}: loaded as float32, times the floor", rescaled / floor, at_most=4)


def parts(what: str, folder: Path, enhanced: bool) -> None:
    """Parts of what is open, and a mean over the volumes."""
    image, chunked = by.opened(folder), by.opened(folder, chunks={})
    first, middle = str(image.dims[0]), image.sizes["slice"] // 2
    one = by.paths(folder)[0]
    slices = compare(
        "One slice of what is open",
        {
            "imagedata_xr": lambda: image.isel({first: 0, "slice": middle}).values,
            "pydicom, one file": lambda: pydicom.dcmread(one).pixel_array,
        },
    )
    times = slices["imagedata_xr"] / slices["pydicom, one file"]
    goal(f"{what}: one slice, times pydicom's reading of one file", times, at_most=5)
    compare(
        "A tenth of the rows of all slices of what is open",
        {
            "imagedata_xr": lambda: image.isel(row=slice(0, image.sizes["row"] // 10)).values,
            "imagedata_xr, all rows": lambda: image.copy(deep=False).values,
        },
    )
    means = compare(
        "Mean over the volumes of what is open",
        {
            "dask, threads": lambda: chunked.mean(first).compute(scheduler="threads"),
            "loaded, then numpy": lambda: np.mean(image.copy(deep=False).values, axis=0),
            "loaded, then xarray": lambda: image.copy(deep=False).load().mean(first),
        },
    )
    if not enhanced:
        goal(f"{what}: mean over the volumes by dask, times loading and numpy's mean",
             means["dask, threads"] / means["loaded, then numpy"], at_most=2)  # fmt: skip


def writing(folder: Path) -> None:
    """To NIfTI and to DICOM, from opening to the last byte; and the commands."""
    with tempfile.TemporaryDirectory() as out:
        compare(
            "Convert to NIfTI",
            {
                "imagedata_xr": lambda: by.opened(folder).imd.write(f"{out}/a.nii", overwrite=True),
                "imd convert": lambda: by.command("imd", "convert", "--overwrite", f"{out}/b.nii", str(folder)),
                "dcm2niix -z n": lambda: by.dcm2niix(folder, "-z", "n"),
                "dicom2nifti": lambda: by.dicom2nifti(folder),
            },
        )
        loaded = by.opened(folder).load()
        compare(
            "Write DICOM",
            {
                "imagedata_xr": lambda: loaded.imd.write(f"{out}/dicom", overwrite=True),
                "pydicom, read and written": lambda: by.pydicom_write(folder),
            },
        )
        compare(
            "Commands",
            {
                "imd info": lambda: by.command("imd", "info", str(folder)),
                "imd --help": lambda: by.command("imd", "--help"),
                "python -c 'import xarray'": lambda: by.command(sys.executable, "-c", "import xarray"),
            },
        )


if __name__ == "__main__":
    main(sys.argv[1:])

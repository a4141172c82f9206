"""Open, load, parts, mean over time, convert, write: made series of many files, and real ones that are given.

Arguments: numbers of files to make (500 and 2000 without; 10000 and 100000 take their time), and folders with a series.
`IMD_SHARED` and `IMD_WORK`, where set, add a classic and an enhanced real series.
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
from harness import compare, environment, series

REAL = ("phi_cl_dwi_vanderbilt", "can_enh_4000")


def main(words: list[str]) -> None:
    """Run all comparisons on each series."""
    warnings.simplefilter("ignore")
    print(environment())
    with tempfile.TemporaryDirectory() as made:
        for count in [int(w) for w in words if w.isdigit()] or ([500, 2000] if not words else []):
            everything(f"{count} files of 128 x 128", series(Path(made) / str(count), count))
    work = Path(os.environ.get("IMD_WORK", ""))
    real = [work / name / "dicom" for name in REAL] if "IMD_WORK" in os.environ and not words else []
    for folder in [*(p for p in real if p.is_dir()), *(Path(w) for w in words if not w.isdigit())]:
        everything(f"{folder.parent.name}, {len(by.paths(folder))} files", folder)


def everything(what: str, folder: Path) -> None:
    """All comparisons on one series."""
    print(f"\n## {what}")
    reading(folder)
    pixels(folder)
    parts(folder)
    writing(folder)


def reading(folder: Path) -> None:
    """Opening, and opening with all pixels."""
    compare(
        "Open",
        {
            "imagedata_xr": lambda: by.opened(folder),
            "all bytes read": lambda: by.read_all(folder),
            "pydicom, 10 elements": lambda: by.pydicom_tags(folder),
            "pydicom, headers": lambda: by.pydicom_headers(folder),
            "dcm2niix -b o (sidecar only)": lambda: by.dcm2niix(folder, "-b", "o"),
        },
    )
    compare(
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


def pixels(folder: Path) -> None:
    """Reading the pixels of what is open."""
    stored, scaled = by.opened(folder, mask_and_scale=False), by.opened(folder)
    compare(
        "Load what is open",
        {
            "floor: bytes by place into one array": by.floor(stored),
            "stored numbers": lambda: stored.copy(deep=False).values,
            "float32, rescaled": lambda: scaled.copy(deep=False).values,
        },
    )


def parts(folder: Path) -> None:
    """Parts of what is open, and a mean over the volumes."""
    image, chunked = by.opened(folder), by.opened(folder, chunks={})
    first, middle = str(image.dims[0]), image.sizes["slice"] // 2
    one = by.paths(folder)[0]
    compare(
        "One slice of what is open",
        {
            "imagedata_xr": lambda: image.isel({first: 0, "slice": middle}).values,
            "pydicom, one file": lambda: pydicom.dcmread(one).pixel_array,
        },
    )
    compare(
        "A tenth of the rows of all slices of what is open",
        {
            "imagedata_xr": lambda: image.isel(row=slice(0, image.sizes["row"] // 10)).values,
            "imagedata_xr, all rows": lambda: image.copy(deep=False).values,
            "pydicom": lambda: by.pydicom_full(folder),
        },
    )
    compare(
        "Mean over the volumes of what is open",
        {
            "dask, threads": lambda: chunked.mean(first).compute(scheduler="threads"),
            "loaded, then numpy": lambda: np.mean(image.copy(deep=False).values, axis=0),
            "loaded, then xarray": lambda: image.copy(deep=False).load().mean(first),
        },
    )


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

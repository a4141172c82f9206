"""How others do what the benchmarks compare: one function each, of a folder of DICOM files."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import xarray as xr

WANTED = ["SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns",
          "AcquisitionTime", "InstanceNumber", "RescaleSlope", "RescaleIntercept"]  # fmt: skip
TAGS: Any = list(WANTED)
OTHER_PYTHON = os.environ.get("BENCH_IMAGEDATA_PYTHON", "")
"""A Python that has imagedata installed, which need not be this one."""


def opened(folder: Path, **options: Any) -> xr.DataArray:
    """Ours, lazily."""
    return xr.open_dataarray(folder, engine="imagedata", **options)


def lazy_array(image: xr.DataArray) -> Any:
    """What reads the pixels, below xarray's own layers."""
    data: Any = image.variable._data
    while not hasattr(data, "read"):
        data = data.array
    return data


def floor(image: xr.DataArray) -> Callable[[], object]:
    """Read the pixels' bytes by their place into one array, in a plain loop; the places are known before."""
    array = lazy_array(image)
    size = array.formats[0].frame_bytes
    places = [
        (array.files[i].path, int(array.offset[i]) + (n - 1) * size)
        for i, n in zip(array.file.ravel().tolist(), array.number.ravel().tolist(), strict=True)
    ]

    def run() -> object:
        out = np.empty((len(places), size), dtype="u1")
        for plane, (path, offset) in zip(out, places, strict=True):
            with open(path, "rb", buffering=0) as stream:
                stream.seek(offset)
                stream.readinto(plane.data)
        return out

    return run


def read_all(folder: Path) -> object:
    """Read all bytes of all files into one buffer."""
    buffer = bytearray(2**24)
    for path in paths(folder):
        with open(path, "rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
    return None


def paths(folder: Path) -> list[Path]:
    """All files."""
    return sorted(p for p in folder.rglob("*") if p.is_file())


def pydicom_tags(folder: Path) -> object:
    """The headers' elements that sorting needs."""
    headers = (pydicom.dcmread(p, specific_tags=TAGS, stop_before_pixels=True) for p in paths(folder))
    return [[getattr(ds, w, None) for w in WANTED] for ds in headers]


def pydicom_full(folder: Path) -> object:
    """Whole files, and pixels as one array; neither sorted nor rescaled."""
    return np.concatenate([np.atleast_3d(pydicom.dcmread(p).pixel_array) for p in paths(folder)])


def pydicom_write(folder: Path) -> object:
    """Read each file and write it again, as it is."""
    with tempfile.TemporaryDirectory() as out:
        for k, p in enumerate(paths(folder)):
            pydicom.dcmread(p).save_as(Path(out) / f"{k}.dcm")
    return None


def simpleitk(folder: Path) -> object:
    """The series as SimpleITK reads it: all volumes in one stack."""
    import SimpleITK

    return SimpleITK.ReadImage([str(p) for p in paths(folder)])


def highdicom_volume(folder: Path) -> object:
    """One file of many frames, or slices of one volume."""
    import highdicom

    files = paths(folder)
    if len(files) == 1:
        return highdicom.imread(files[0]).get_frames()
    return highdicom.get_volume_from_series([pydicom.dcmread(p) for p in files])


def dcm2niix(folder: Path, *options: str) -> object:
    """Whole conversion, a program of its own."""
    program = shutil.which("dcm2niix")
    if program is None:
        raise FileNotFoundError("dcm2niix")
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([program, *options, "-o", out, str(folder)], check=True, capture_output=True)
        if not any(Path(out).iterdir()):
            raise ValueError("nothing was written")
    return None


def dicom2nifti(folder: Path) -> object:
    """Whole conversion, in Python."""
    from dicom2nifti import convert_directory

    with tempfile.TemporaryDirectory() as out:
        convert_directory(str(folder), out, compression=False)
        if not any(Path(out).iterdir()):
            raise ValueError("nothing was written")
    return None


class Imagedata:
    """imagedata's reading, in a process of another Python that goes on between the runs; imports are left out."""

    PROGRAM = """
import sys
from imagedata import Series
for line in sys.stdin:
    try:
        Series(line.strip(), "time")
    except Exception:
        Series(line.strip(), "none", accept_duplicate_tag=True)
    print("done", flush=True)
"""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, folder: Path) -> object:
        """Read a folder, pixels and all."""
        if not OTHER_PYTHON:
            raise FileNotFoundError("BENCH_IMAGEDATA_PYTHON is not set")
        if self.process is None:
            self.process = subprocess.Popen(
                [OTHER_PYTHON, "-W", "ignore", "-c", self.PROGRAM], text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(folder, file=self.process.stdin, flush=True)
        if self.process.stdout.readline().strip() != "done":
            self.process = None
            raise ValueError("imagedata can't read it")
        return None


imagedata = Imagedata()


def command(*words: str) -> object:
    """Run a command of this environment, its output thrown away."""
    program = shutil.which(words[0])
    if program is None:
        raise FileNotFoundError(words[0])
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # modules are compiled once
    return subprocess.run([program, *words[1:]], check=True, capture_output=True, env=kept)

"""Small DICOM series for the tests of reading: each image's pixels say which volume and slice it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

MR = "1.2.840.10008.5.1.4.1.1.4"
ROWS, COLS = 4, 5
Elements = Mapping[Any, Any]

PRIVATE_VR = {
    ("SIEMENS MR HEADER", 0x0019, 0x0A): "US",
    ("SIEMENS MR HEADER", 0x0019, 0x0C): "IS",
    ("SIEMENS MR HEADER", 0x0019, 0x0D): "CS",
    ("SIEMENS MR HEADER", 0x0019, 0x0E): "FD",
    ("SIEMENS CSA HEADER", 0x0029, 0x10): "OB",
    ("SIEMENS MR SDI 02", 0x0021, 0x1C): "IS",
    ("SIEMENS MR SDI 02", 0x0021, 0x53): "FD",
    ("GEMS_PARM_01", 0x0043, 0x2C): "SS",
    ("GEMS_PARM_01", 0x0043, 0x83): "DS",
    ("GEMS_PARM_01", 0x0043, 0x2F): "SS",
    ("GEMS_PARM_01", 0x0043, 0x30): "SS",
    ("GEMS_PARM_01", 0x0043, 0x39): "IS",
    ("GEMS_ACQU_01", 0x0019, 0xBB): "DS",
    ("GEMS_ACQU_01", 0x0019, 0xBC): "DS",
    ("GEMS_ACQU_01", 0x0019, 0xBD): "DS",
    ("GEMS_ACQU_01", 0x0019, 0x9C): "LO",
    ("GEMS_ACQU_01", 0x0019, 0x9E): "LO",
    ("GEMS_ACQU_01", 0x0019, 0xA2): "SL",
    ("GEMS_ACQU_01", 0x0019, 0xA9): "DS",
    ("GEMS_ACQU_01", 0x0019, 0xB3): "DS",
    ("GEMS_ACQU_01", 0x0019, 0xB6): "DS",
    ("GEMS_ACQU_01", 0x0019, 0xE0): "DS",
    ("GEMS_RELA_01", 0x0021, 0x5A): "SL",
    ("GEMS_RELA_01", 0x0021, 0x5E): "DS",
    ("GEMS_SERS_01", 0x0025, 0x1B): "OB",
    ("GEMS_PARM_01", 0x0043, 0x7C): "FL",
    ("GEMS_PARM_01", 0x0043, 0xB6): "LO",
    ("Philips Imaging DD 001", 0x2001, 0x03): "FL",
    ("Philips Imaging DD 001", 0x2001, 0x04): "CS",
    ("Philips MR Imaging DD 001", 0x2005, 0xB0): "FL",
    ("Philips MR Imaging DD 001", 0x2005, 0xB1): "FL",
    ("Philips MR Imaging DD 001", 0x2005, 0xB2): "FL",
    ("Philips MR Imaging DD 001", 0x2005, 0x11): "CS",
    ("Philips MR Imaging DD 005", 0x2005, 0x12): "IS",
    ("Philips MR Imaging DD 005", 0x2005, 0x13): "IS",
    ("Philips MR Imaging DD 005", 0x2005, 0x29): "CS",
    ("Philips MR Imaging DD 006", 0x2005, 0x96): "IS",
    ("Philips Imaging DD 001", 0x2001, 0x08): "IS",
    ("Image Private Header", 0x0065, 0x50): "DS",
}


def mark(v: int, k: int) -> int:
    """Pixel value of volume v, slice k, before the position within the plane is added."""
    return 1000 * v + 100 * k


def pixels(v: int, k: int, dtype: str = "<u2") -> NDArray[Any]:
    """Stored values of an image, shape (ROWS, COLS)."""
    return (mark(v, k) + np.arange(ROWS * COLS).reshape(ROWS, COLS)).astype(dtype)


def put(ds: Dataset, elements: Elements) -> Dataset:
    """Set elements by keyword, or by (creator, group, element) for private ones; None removes one."""
    for key, value in elements.items():
        if isinstance(key, tuple):
            creator, group, element = key
            ds.private_block(group, creator, create=True).add_new(element, PRIVATE_VR[key], value)
        elif value is None:
            ds.pop(key, None)
        else:
            setattr(ds, key, value)
    return ds


def image(v: int, k: int, elements: Elements | None = None) -> Dataset:
    """One axial MR image at z = 3 k mm, numbered volume by volume, of 12 bits in 16."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = UID(MR), UID(f"1.2.3.4.{v + 1}.{k + 1}")
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Doe^Jane", "id-1", "19800101"
    ds.StudyDate, ds.StudyTime, ds.Modality, ds.Manufacturer = "20240102", "101500", "MR", "ACME"
    ds.SeriesNumber, ds.SeriesDescription, ds.ImageType = 7, "made", ["ORIGINAL", "PRIMARY", "M"]
    ds.InstanceNumber = 100 * v + k + 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-10.0, 5.0, 3.0 * k], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [2.0, 1.5], 2.5
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLS, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = pixels(v, k).tobytes()
    ds["PixelData"].VR = "OW"
    return put(ds, elements or {})


def save(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)
    return path


def series(
    folder: Path,
    volumes: int = 1,
    slices: int = 3,
    vary: Callable[[int, int], Elements] | None = None,
    names: Iterable[str] | None = None,
) -> Path:
    """Write a series and return its folder.

    Parameters
    ----------
    folder : Path
    volumes, slices : int
    vary : callable, optional
        Elements of volume v, slice k, over those that are made.
    names : iterable of str, optional
        Names of the files, volume by volume.
    """
    files = iter(names) if names is not None else (f"{n:04d}.dcm" for n in range(volumes * slices))
    for v in range(volumes):
        for k in range(slices):
            save(image(v, k, vary(v, k) if vary else None), folder / next(files))
    return folder


def open_image(source: Any, **options: Any) -> xr.DataArray:
    """Open the one image of a source."""
    return xr.open_dataarray(source, engine="imagedata", **options)


def places(da: xr.DataArray) -> list[list[tuple[int, int]]]:
    """Volume and slice that each place of a (tag, slice) grid really holds."""
    first = da.values[..., 0, 0]
    return [[(int(x) // 1000, int(x) % 1000 // 100) for x in row] for row in first.reshape(-1, first.shape[-1])]


def straight(volumes: int, slices: int) -> list[list[tuple[int, int]]]:
    """What `places` gives for a series in its own order."""
    return [[(v, k) for k in range(slices)] for v in range(volumes)]


def at(seconds: float) -> str:
    """TM value so many seconds after ten o'clock."""
    total = 36000 + seconds
    return f"{int(total // 3600):02d}{int(total % 3600 // 60):02d}{total % 60:09.6f}"


def timed(v: int, k: int) -> Elements:
    """Each volume takes 2 s, each slice 0.5 s."""
    return {"AcquisitionTime": at(2 * v + 0.5 * k), "AcquisitionDate": "20240102"}

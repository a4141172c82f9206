"""Instances of nuclear medicine, whose pixels tell their frame, row and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from multiframe import save
from numpy.typing import NDArray
from phantoms import opened
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

ROWS, COLS, SPACING = 6, 8, (4.0, 5.0)
AXIAL, OBLIQUE = (1.0, 0, 0, 0, 1, 0), (0.8, 0.6, 0, 0, 0, -1)
CORNER = np.array([10.0, 20, 30])


def item(**elements: Any) -> Dataset:
    out = Dataset()
    for keyword, value in elements.items():
        setattr(out, keyword, value)
    return out


def detector(orientation: tuple[float, ...] = AXIAL, **elements: Any) -> Dataset:
    return item(ImagePositionPatient=CORNER.tolist(), ImageOrientationPatient=list(orientation), **elements)


def nuclear(kind: str, vectors: dict[str, list[int]], pixels: NDArray[Any] | None = None, **elements: Any) -> Dataset:
    """An NM instance with one frame for each number of its vectors, whose values tell frame, row and column."""
    count = len(next(iter(vectors.values())))
    if pixels is None:
        pixels = 100 * np.arange(count)[:, None, None] + np.arange(ROWS * COLS).reshape(ROWS, COLS)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.20"), UID("1.2.826.0.1.3680043.8.498.70")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.71"), UID("1.2.826.0.1.3680043.8.498.72")
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.PatientID = "NM", 1, 1, "P-9"
    ds.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    ds.AcquisitionDate, ds.AcquisitionTime, ds.PixelSpacing = "20240305", "100000", list(SPACING)
    ds.FrameIncrementPointer = [tag_for_keyword(word) for word in vectors]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.NumberOfFrames = 1, "MONOCHROME2", count
    ds.Rows, ds.Columns = pixels.shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in {**vectors, **elements}.items():
        setattr(ds, keyword, value)
    return ds


def image(ds: Dataset, folder: Path, **options: Any) -> xr.DataArray:
    save(ds, folder / "a.dcm")
    return opened(folder, **options)


def first(a: xr.DataArray) -> list[int]:
    """Number of the frame at each volume and slice."""
    return [int(v) // 100 for v in a.isel(row=0, col=0).values.ravel()]

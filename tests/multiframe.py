"""Enhanced multi-frame MR instances as scanners write them, whose voxels hold a number made of their own place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, RLELossless

ROWS, COLS = 4, 5
ORIENTATION = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
SPACING = (3.0, 2.0, 1.5)
"""Between slices, rows and columns, mm."""
FIRST = np.array([-20.0, 12.0, 40.0])


@dataclass
class Frame:
    """One frame.

    Attributes
    ----------
    k : int
        Number of its slice.
    v : int
        Number of its volume: it is added to the values.
    slope, intercept : float
        Modality rescale of its own.
    groups : dict
        More functional groups: keyword of the sequence -> elements of its item.
    private : str
        Label type (2005,1429) of Philips; empty for none.
    """

    k: int
    v: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    private: str = ""


def place(k: int) -> NDArray[np.float64]:
    """Position of each voxel of a slice, LPS, mm, shape (ROWS, COLS, 3)."""
    r, c = np.array(ORIENTATION[:3]), np.array(ORIENTATION[3:])
    i, j = np.mgrid[:ROWS, :COLS][..., None]
    return np.asarray(FIRST + k * SPACING[0] * np.cross(r, c) + i * SPACING[1] * c + j * SPACING[2] * r)


def stored(frame: Frame) -> NDArray[np.uint16]:
    """Stored values of a frame: below 4096, another for each place and volume."""
    x, y, z = np.moveaxis(place(frame.k), -1, 0)
    return np.asarray(np.rint(1500 + 7 * x + 11 * y + 13 * z) + 200 * frame.v, dtype=np.uint16)


def values(frame: Frame) -> NDArray[np.float64]:
    """Values of a frame."""
    return stored(frame).astype(np.float64) * frame.slope + frame.intercept


def item(elements: dict[str, Any]) -> Dataset:
    """An item of a sequence; mappings become sequences of one item."""
    out = Dataset()
    for keyword, value in elements.items():
        setattr(out, keyword, Items([item(value)]) if isinstance(value, dict) else value)
    return out


def group(frame: Frame) -> Dataset:
    """Functional groups of a frame."""
    where = place(frame.k)[0, 0].tolist()
    transformation = {"RescaleSlope": frame.slope, "RescaleIntercept": frame.intercept, "RescaleType": "US"}
    out = item(
        {
            "PlanePositionSequence": {"ImagePositionPatient": [f"{x:.10g}" for x in where]},
            "PixelValueTransformationSequence": transformation,
            **frame.groups,
        }
    )
    if frame.private:
        inner = Dataset()
        inner.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x29, "CS", frame.private)
        out.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", Items([inner]))
    return out


def instance(frames: Sequence[Frame], number: int = 1, noise: int = 0, **elements: Any) -> Dataset:
    """An instance of frames in the order given; `noise` is set above the 12 bits stored."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = EnhancedMRImageStorage, UID(f"1.2.826.0.1.3680043.8.498.90.{number}")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.91"), UID("1.2.826.0.1.3680043.8.498.92")
    ds.FrameOfReferenceUID = UID("1.2.826.0.1.3680043.8.498.93")
    ds.Modality, ds.Manufacturer, ds.ImageType = "MR", "ACME", ["ORIGINAL", "PRIMARY", "M", "NONE"]
    ds.SeriesNumber, ds.InstanceNumber, ds.PatientID, ds.PatientName = 3, number, "P-7", "Doe^Jane"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.NumberOfFrames = ROWS, COLS, len(frames)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    shared = {
        "PlaneOrientationSequence": {"ImageOrientationPatient": list(ORIENTATION)},
        "PixelMeasuresSequence": {
            "PixelSpacing": list(SPACING[1:]),
            "SliceThickness": SPACING[0],
            "SpacingBetweenSlices": SPACING[0],
        },
    }
    ds.SharedFunctionalGroupsSequence = Items([item(shared)])
    ds.PerFrameFunctionalGroupsSequence = Items([group(f) for f in frames])
    ds.PixelData = b"".join((stored(f) | np.uint16(noise)).tobytes() for f in frames)
    ds["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def save(ds: Dataset, path: Path, rle: bool = False) -> Path:
    """Write a file."""
    if rle:
        ds.compress(RLELossless, generate_instance_uid=False)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def when(seconds: float) -> dict[str, dict[str, Any]]:
    """Group that says when a frame was measured."""
    moment = datetime(2024, 1, 2, 10, 15) + timedelta(seconds=seconds)
    return {"FrameContentSequence": {"FrameAcquisitionDateTime": moment.strftime("%Y%m%d%H%M%S.%f")}}


def diffusion(b: float, vector: Sequence[float] | None) -> dict[str, dict[str, Any]]:
    """Group that says how a frame is weighted by diffusion."""
    said: dict[str, Any] = {"DiffusionBValue": b, "DiffusionDirectionality": "DIRECTIONAL" if vector else "NONE"}
    if vector:
        said["DiffusionGradientDirectionSequence"] = {"DiffusionGradientOrientation": list(vector)}
    return {"MRDiffusionSequence": said}

"""Small DICOM series for the tests of the command and of bad input, of a patient whose name is easy to find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

NAME = "Qvistgaard^Hortensia"
IDENTIFIERS = ("qvistgaard", "hortensia", "zx81", "4477", "19111213", "acc9182")
"""What must not stand in any output, in lower case."""
STUDY = generate_uid(entropy_srcs=["study"])
FRAME = generate_uid(entropy_srcs=["frame"])


def instance(series: int, k: int, z: float, volume: int = 0) -> Dataset:
    """An axial MR image at height z (mm) of a volume measured every 2 s; its description names the patient."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, generate_uid(entropy_srcs=[f"{series} {k}"])
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, generate_uid(entropy_srcs=[f"series {series}"])
    ds.FrameOfReferenceUID = FRAME
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = NAME, "ZX81-4477", "19111213", "F"
    ds.OtherPatientIDs = "zx81 4477"
    ds.AccessionNumber, ds.StudyID, ds.StudyDate, ds.StudyTime = "ACC9182", "1", "20200102", "101500"
    ds.ReferringPhysicianName = ""
    ds.Modality, ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "MR", "", series, k + 1
    ds.SeriesDescription = f"t1 hortensia {series}"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "GR", "NONE", "", "2D"
    ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength, ds.SliceThickness = 4.5, 20, 1, 4
    ds.AcquisitionDate, ds.AcquisitionTime = "20200102", f"1015{2 * volume:02d}"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-3, -4, z], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.Rows, ds.Columns = [2, 2], 4, 3
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = (np.arange(12, dtype="<u2") + 100 * k).tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write a data set as a DICOM file."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def series(
    folder: Path,
    number: int = 4,
    heights: Sequence[float] = (0, 4, 8),
    volumes: int = 1,
    change: Callable[[Dataset, int], None] | None = None,
) -> Path:
    """Write a series and return its folder; `change` may alter each data set, given its number from 0."""
    for k in range(len(heights) * volumes):
        ds = instance(number, k, heights[k % len(heights)], k // len(heights))
        if change is not None:
            change(ds, k)
        save(ds, folder / f"{number}-{k:03d}")
    return folder


def without_pixels(path: Path, number: int = 9) -> Path:
    """Write an object without pixels, such as a presentation state."""
    ds = instance(number, 0, 0)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        del ds[keyword]
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.11.1", "PR"
    return save(ds, path)


def two_series(folder: Path) -> Path:
    """Two series with pixels and one without."""
    series(series(folder, 4), 5, volumes=2)
    without_pixels(folder / "state")
    return folder

"""A small cohort of made patients, for the examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

VOLUMES, SLICES, ROWS, COLUMNS = 4, 3, 48, 40


def make_cohort(folder: Path, patients: int = 4) -> Path:
    """Write one dynamic series of each patient, as a scanner would; what is there already is left alone."""
    for patient in range(1, patients + 1):
        place = folder / f"{patient:02d}"
        if not place.exists():
            _make_series(place, patient)
    return folder


def _make_series(place: Path, patient: int) -> None:
    place.mkdir(parents=True)
    uids = [generate_uid() for _ in range(3)]
    for volume, number in np.ndindex(VOLUMES, SLICES):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uids
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = f"Demo^{patient}", f"DEMO-{patient}", "20000101"
        ds.Modality, ds.Manufacturer, ds.SeriesDescription = "MR", "Demo", "dynamic"
        ds.SeriesNumber, ds.InstanceNumber = 7, volume * SLICES + number + 1
        ds.StudyDate = ds.AcquisitionDate = "20260102"
        ds.StudyTime, ds.AcquisitionTime = "101500", f"1016{12 * volume:02d}"
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-40.0, -50.0, 5.0 * number]
        ds.PixelSpacing, ds.SliceThickness = [2.0, 2.0], 5.0
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        values = 100 * patient + 10 * volume + np.add.outer(np.arange(ROWS), np.arange(COLUMNS))
        ds.PixelData = values.astype("<u2").tobytes()
        ds.save_as(place / f"{ds.InstanceNumber:03d}.dcm", enforce_file_format=True)

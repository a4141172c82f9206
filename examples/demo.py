"""A dynamic series from scanner to result: make it, open it lazily, subtract, write, read back, compare, draw.

Everything it leaves is in ``demo-output`` (or the folder named as argument).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

import imagedata_xr  # noqa: F401  the accessor .imd

mpl.use("Agg")
import matplotlib.pyplot as plt

SLICES, TIMES, ROWS, COLUMNS = 3, 5, 64, 48
SPACING = (5.0, 1.8, 2.2)  # mm from slice to slice, from row to row, from column to column
INTERVAL = 12  # s from volume to volume


def directions() -> NDArray[np.float64]:
    """Unit vectors in patient axes (LPS) of slice, row and column index: an axial slab, turned about two axes."""
    a, b = np.deg2rad([20.0, 15.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turned: NDArray[np.float64] = about_z @ about_x
    return turned[:, ::-1]  # z, y, x: slice, row, column


def phantom() -> NDArray[np.uint16]:
    """Smooth tissue with a spot that takes up contrast agent; shape (time, slice, row, column)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (SLICES, ROWS, COLUMNS)), indexing="ij")
    tissue = 400 / (1 + np.exp(12 * (np.hypot(x / 0.8, y / 0.9) - 1)))
    spot = np.exp(-(((x - 0.3) / 0.2) ** 2 + ((y + 0.2) / 0.2) ** 2 + (z / 1.5) ** 2))
    uptake = np.array([0.0, 0.3, 1.0, 0.8, 0.6])
    values: NDArray[np.uint16] = np.round(tissue + 300 * uptake[:, None, None, None] * spot).astype(np.uint16)
    return values


def write_image(folder: Path, values: NDArray[np.uint16], volume: int, slice_: int) -> None:
    """Write one image of the series as the scanner would."""
    d = directions()
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.Modality, ds.Manufacturer, ds.SeriesDescription = "MR", "Demo", "dynamic"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Demo^Phantom", "DEMO-1", "20000101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = UIDS
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.SeriesTime = "101500"
    ds.AcquisitionTime = ds.ContentTime = f"1016{volume * INTERVAL:02d}"
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ""
    ds.StudyID, ds.BodyPartExamined = "1", "BRAIN"
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 7, volume + 1, volume * SLICES + slice_ + 1
    ds.TemporalPositionIdentifier, ds.NumberOfTemporalPositions = volume + 1, TIMES
    ds.PatientPosition, ds.MRAcquisitionType = "HFS", "2D"
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "GR", "NONE", ""
    ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength, ds.FlipAngle = 2.1, 5.0, 1, 15
    ds.ImageOrientationPatient = [float(v) for v in np.round([*d[:, 2], *d[:, 1]], 12)]
    ds.ImagePositionPatient = [float(v) for v in np.round(d @ [slice_ * SPACING[0], -60.0, -50.0], 10)]
    ds.PixelSpacing, ds.SliceThickness = list(SPACING[1:]), SPACING[0]
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = values.astype("<u2").tobytes()
    ds.save_as(folder / f"{ds.InstanceNumber:03d}.dcm", enforce_file_format=True)


UIDS = tuple(generate_uid() for _ in range(3))


def make_series(folder: Path) -> None:
    """Write the whole series, one file per image."""
    folder.mkdir(parents=True)
    values = phantom()
    for volume, slice_ in np.ndindex(TIMES, SLICES):
        write_image(folder, values[volume, slice_], volume, slice_)


def check(name: str, back: xr.DataArray, image: xr.DataArray, step: float) -> None:
    """Compare what was read back with what was written, and say it; stop with an error where they differ.

    `step` is the size of one stored number, in the units of the image; 0 where the file holds numbers with a point.
    """
    np.testing.assert_allclose(back.values, image.values, rtol=1e-6, atol=step)
    np.testing.assert_allclose(back.imd.affine, image.imd.affine, rtol=0, atol=1e-4)
    for dim in ("tag", "slice", "row", "col"):
        np.testing.assert_allclose(back[dim].values, image[dim].values, rtol=0, atol=1e-4)
    largest = float(np.abs(back.values - image.values).max())
    print(
        f"{name}: read back, the values agree (largest difference {largest:g}); the times on `tag`, the labels in mm "
        "and the affine agree within 0.0001."
    )


def draw(image: xr.DataArray, baseline: xr.DataArray, difference: xr.DataArray, path: Path) -> None:
    """Draw baseline, peak and difference of the middle slice, with patient millimetres on both axes."""
    peak = int(image.mean(("slice", "row", "col")).values.argmax())
    panels = {
        "baseline": baseline,
        f"peak, {float(image.tag[peak] - image.tag[0]):g} s later": image.isel(tag=peak),
        "difference": difference.isel(tag=peak),
    }
    figure, axes = plt.subplots(1, 3, figsize=(13, 5), layout="constrained")
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        middle = panel.isel(slice=SLICES // 2, drop=True)
        top = float(image.max()) if title != "difference" else None
        middle.plot.imshow(ax=axis, yincrease=False, cmap="gray", vmin=0, vmax=top, add_labels=False)
        axis.set(title=title, xlabel="col (mm)", ylabel="row (mm)", aspect="equal")
    figure.savefig(path, dpi=100)


def main(output: Path) -> None:
    """Run the demo and leave its files in `output`."""
    for old in ("scanner", "difference"):
        shutil.rmtree(output / old, ignore_errors=True)
    make_series(output / "scanner")

    image = xr.open_dataarray(output / "scanner", engine="imagedata", order="time", chunks={})
    print(image, "\n")
    baseline = image.isel(tag=0, drop=True)
    difference = image - baseline

    dicom, nifti = output / "difference", output / "difference.nii.gz"
    written = difference.imd.write(dicom, series_number=1007, series_description="difference")
    print(f"DICOM: {written.count} images, {written.bytes} bytes, written to {dicom}.")
    written = difference.imd.write(nifti, overwrite=True)
    print(f"NIfTI: {written.count} files, {written.bytes} bytes: {', '.join(written.paths)}.\n")

    step = float(difference.max() - difference.min()) / (2**16 - 1)
    back = xr.open_dataarray(dicom, engine="imagedata", order="time", chunks={})
    check("DICOM", back, difference, step)
    if int(back.patient) != int(image.patient) or int(back.study) != int(image.study):
        raise SystemExit("the DICOM series written does not belong to the patient and study that were read")
    print("DICOM: it belongs to the same patient and study.")
    check("NIfTI", xr.open_dataarray(nifti, engine="imagedata", order="time", chunks={}), difference, 0)

    draw(image, baseline, difference, output / "difference.png")
    print(f"Picture: {output / 'difference.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))

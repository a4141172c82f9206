"""A patient of mathematics, as scanners would have sent it: small MR, CT and PET series made with pydicom.

The value of a voxel is a smooth function of its place in the patient and of the volume, so that a moved voxel shows.
Headers are of no vendor's model, but have private elements and pass `dciodvfy` without errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

MR, CT, PET = (f"1.2.840.10008.5.1.4.1.1.{k}" for k in ("4", "2", "128"))
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.9848077530122081, 0.0, -0.17364817766693033, 0.0593911746138847, 0.9396926207859084, 0.3368240888334652)


@dataclass(frozen=True)
class Who:
    """A patient and a study."""

    name: str = "Müller^Zoé"
    id: str = "P-1"
    birth: str = "19700102"
    study: str = "1.2.826.0.1.3680043.8.498.1"
    date: str = "20240305"


ANNA = Who()
BERT = Who("Bertsen^Bert", "P-2", "19500607", "1.2.826.0.1.3680043.8.498.2", "20240306")
ANNA_LATER = Who(study="1.2.826.0.1.3680043.8.498.3", date="20240401")
NOBODY = Who("", "", "", "1.2.826.0.1.3680043.8.498.4")


@dataclass
class Series:
    """What a series is made of.

    Attributes
    ----------
    kind : str
        SOP class.
    shape : tuple of int
        (volumes, slices, rows, cols).
    spacing : tuple of float
        Between slices, rows and columns, mm.
    travel : tuple of float, optional
        Step from slice to slice, LPS mm, where it is not along the normal (gantry tilt).
    volumes : sequence of dict
        Elements of each volume by keyword.
    elements : dict
        Elements of all images, over those that are made.
    """

    kind: str = MR
    shape: tuple[int, int, int, int] = (1, 4, 6, 8)
    spacing: tuple[float, float, float] = (3.0, 1.5, 1.25)
    origin: tuple[float, float, float] = (-20.25, 11.5, 42.125)
    orientation: tuple[float, ...] = AXIAL
    travel: tuple[float, float, float] | None = None
    slope: float | Sequence[float] = 1.0
    intercept: float = 0.0
    signed: bool = False
    bits: int = 12
    who: Who = ANNA
    number: int = 5
    uid: str = "1.2.826.0.1.3680043.8.498.50"
    seconds: float = 2.5
    volumes: Sequence[dict[str, Any]] = ()
    elements: dict[str, Any] = field(default_factory=dict)

    def step(self) -> NDArray[np.float64]:
        """Step from slice to slice, LPS mm."""
        if self.travel is not None:
            return np.array(self.travel)
        return np.asarray(np.cross(self.orientation[:3], self.orientation[3:]) * self.spacing[0])

    def positions(self, k: int) -> NDArray[np.float64]:
        """Place of each voxel of slice k, shape (rows, cols, 3), LPS mm."""
        across, down = (
            np.array(self.orientation[:3]) * self.spacing[2],
            np.array(self.orientation[3:]) * self.spacing[1],
        )
        rows, cols = np.mgrid[: self.shape[2], : self.shape[3]][..., None]
        return np.asarray(np.array(self.origin) + k * self.step() + rows * down + cols * across)

    def stored(self, v: int, k: int) -> NDArray[np.int64]:
        """Stored integers of a slice."""
        p = self.positions(k)
        top = 2 ** (self.bits - int(self.signed)) - 1
        wave = 0.5 + 0.2 * np.sin(p[..., 0] / 7) + 0.15 * np.cos(p[..., 1] / 5) + 0.1 * np.sin(p[..., 2] / 9) + 0.01 * v
        return np.asarray(np.rint(wave * top), dtype=np.int64)


def make(folder: Path, series: Series) -> list[Path]:
    """Write the files of a series; return their paths, volume by volume."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for v in range(series.shape[0]):
        for k in range(series.shape[1]):
            ds = instance(series, v, k)
            out.append(folder / f"{v:02d}_{k:02d}.dcm")
            ds.save_as(out[-1], enforce_file_format=True)
    return out


def instance(series: Series, v: int, k: int) -> Dataset:
    """One image."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _identify(ds, series, v, k)
    _place(ds, series, k)
    {MR: _mr, CT: _ct, PET: _pet}[series.kind](ds, series, v, k)
    _pixels(ds, series, v, k)
    _private(ds)
    for keyword, value in {**series.elements, **(dict(series.volumes[v]) if series.volumes else {})}.items():
        setattr(ds, keyword, value)
    return ds


def _text(number: float) -> str:
    return str(format_number_as_ds(float(number)))


def _identify(ds: Dataset, series: Series, v: int, k: int) -> None:
    who, count = series.who, v * series.shape[1] + k + 1
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = series.kind, f"{series.uid}.{count}"
    start = datetime.strptime(who.date, "%Y%m%d") + timedelta(hours=10)
    ds.StudyDate = ds.SeriesDate = who.date
    ds.StudyTime, ds.SeriesTime = "095500", "100000"
    when = start + timedelta(seconds=v * series.seconds)
    ds.AcquisitionDate = ds.ContentDate = when.strftime("%Y%m%d")
    ds.AcquisitionTime = ds.ContentTime = when.strftime("%H%M%S.%f")
    ds.AccessionNumber, ds.Manufacturer, ds.ReferringPhysicianName = "A-7", "Mathematics", "Doe^Jane"
    ds.StudyDescription, ds.SeriesDescription = "Phantom", "waves"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = who.name, who.id, who.birth, "O"
    ds.PatientWeight = "70"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = who.study, series.uid
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "S1", series.number, count
    ds.BodyPartExamined, ds.PatientPosition, ds.PositionReferenceIndicator = "BRAIN", "HFS", ""
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "R1", "SPS1"
    ds.RequestAttributesSequence = [request]


def _place(ds: Dataset, series: Series, k: int) -> None:
    ds.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.60"
    ds.ImagePositionPatient = [_text(x) for x in np.array(series.origin) + k * series.step()]
    ds.ImageOrientationPatient = [_text(x) for x in series.orientation]
    ds.PixelSpacing = [_text(series.spacing[1]), _text(series.spacing[2])]
    ds.SliceThickness, ds.SliceLocation = "2.5", _text(k * series.spacing[0])


def _mr(ds: Dataset, series: Series, v: int, k: int) -> None:
    ds.Modality, ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "MR", "GR", "SP", ""
    ds.MRAcquisitionType, ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = "2D", "2500", "4.5", "30"
    ds.EchoTrainLength, ds.MagneticFieldStrength, ds.SpacingBetweenSlices = "1", "3", _text(series.spacing[0])
    ds.WindowCenter, ds.WindowWidth = "600", "1600"
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue = 0, 4095


def _ct(ds: Dataset, series: Series, v: int, k: int) -> None:
    ds.Modality, ds.KVP, ds.AcquisitionNumber = "CT", "120", "1"
    ds.WindowCenter, ds.WindowWidth, ds.RescaleType = "40", "400", "HU"
    ds.ConvolutionKernel, ds.GantryDetectorTilt = "B30f", "0"


def _pet(ds: Dataset, series: Series, v: int, k: int) -> None:
    volumes, slices = series.shape[:2]
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.Modality, ds.Units, ds.CountsSource, ds.DecayCorrection = "PT", "BQML", "EMISSION", "START"
    ds.SeriesType = ["DYNAMIC", "IMAGE"] if volumes > 1 else ["STATIC", "IMAGE"]
    ds.NumberOfSlices, ds.ImageIndex = slices, v * slices + k + 1
    if volumes > 1:
        ds.NumberOfTimeSlices = volumes
    ds.CorrectedImage, ds.CollimatorType = ["DECY", "ATTN"], "NONE"
    ds.ActualFrameDuration, ds.FrameReferenceTime = (
        str(int(1000 * series.seconds)),
        _text(1000 * series.seconds * (v + 0.5)),
    )
    ds.DecayFactor = _text(1 + 0.01 * v)
    ds.RadiopharmaceuticalInformationSequence = []
    ds.PatientOrientationCodeSequence, ds.PatientGantryRelationshipCodeSequence = [], []
    del ds.PatientPosition  # the sequence says it


def _pixels(ds: Dataset, series: Series, v: int, k: int) -> None:
    slope = series.slope if isinstance(series.slope, (int, float)) else series.slope[v]
    if series.kind != MR or slope != 1 or series.intercept:
        ds.RescaleSlope, ds.RescaleIntercept = _text(slope), _text(series.intercept)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = series.shape[2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (
        16,
        series.bits,
        series.bits - 1,
        int(series.signed),
    )
    ds.PixelData = series.stored(v, k).astype("<i2" if series.signed else "<u2").tobytes()
    ds["PixelData"].VR = "OW"


def _private(ds: Dataset) -> None:
    block = ds.private_block(0x0019, "MATHEMATICS", create=True)
    block.add_new(0x01, "LO", "a private note")


def mr(**changes: Any) -> Series:
    """An MR series; 12 bits, no rescale."""
    return Series(**changes)


def ct(**changes: Any) -> Series:
    """A CT series; 12 bits, Hounsfield units by an intercept of -1024."""
    return Series(**{"kind": CT, "intercept": -1024.0, **changes})


def pet(**changes: Any) -> Series:
    """A dynamic PET series; 16 bits, a slope of its own for each volume."""
    shape = changes.pop("shape", (3, 4, 6, 8))
    slopes = [0.5 + 0.25 * v for v in range(shape[0])]
    return Series(**{"kind": PET, "shape": shape, "slope": slopes, "bits": 16, "signed": True, **changes})


def diffusion(b_values: Sequence[float], directions: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Elements of diffusion volumes, for `Series.volumes`."""
    out: list[dict[str, Any]] = []
    for b, direction in zip(b_values, directions, strict=True):
        kind = "NONE" if b == 0 else "DIRECTIONAL"
        volume: dict[str, Any] = {"DiffusionBValue": float(b), "DiffusionDirectionality": kind}
        if b:
            volume["DiffusionGradientOrientation"] = [float(x) for x in direction]
        out.append(volume)
    return out


def opened(source: Path | str, **options: Any) -> xr.DataArray:
    """Image of a folder with one series."""
    return xr.open_dataarray(str(source), engine="imagedata", **options)

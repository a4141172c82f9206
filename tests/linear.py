"""Images whose values tell where and when they are: a linear function of patient position and volume label.

After any operation that keeps the meaning of values, labels and affine can be judged against the voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from imagedata_xr.model.geometry import direction_of
from imagedata_xr.model.identity import instance_digest, patient_digest, study_digest
from imagedata_xr.model.image import Axis, Volumes, build
from imagedata_xr.model.indexes import AxisIndex, Space
from imagedata_xr.model.tag_index import TagIndex

WEIGHTS = np.array([1.0, 0.37, -0.73])  # per mm of x, y, z: no two axes look alike
PER_TAG = 10.0
SPACING = (4.0, 2.0, 1.5)
FIRST = (-8.0, 30.0, -21.0)
FRAME = "1.2.3.4"
EPOCH = "2026-01-02T10:00:00"
PATIENT = {
    "PatientID": "T-1",
    "PatientName": "Test^Person",
    "PatientBirthDate": "20000101",
    "StudyInstanceUID": "1.2.9",
}


def oblique(degrees: float = 20.0, tilt: float = 0.0) -> NDArray[np.float64]:
    """Direction of an axial slab turned about two axes; `tilt` (degrees) shears the slices along the rows."""
    a, b = np.deg2rad([degrees, 0.7 * degrees])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    z, y, x = (about_z @ about_x)[:, ::-1].T
    t = np.deg2rad(tilt)
    return direction_of([*x, *y], np.cos(t) * z + np.sin(t) * y)


def values_of(direction: ArrayLike, labels: Sequence[ArrayLike], tags: ArrayLike) -> NDArray[np.float64]:
    """Values at (tag, slice, row, col) labels."""
    w = WEIGHTS @ np.asarray(direction)
    s, r, c = (np.asarray(a, dtype=np.float64) for a in labels)
    place = w[0] * s[:, None, None] + w[1] * r[:, None] + w[2] * c
    return np.asarray(place + PER_TAG * np.asarray(tags, dtype=np.float64)[:, None, None, None])


def image(
    shape: tuple[int, int, int, int] = (4, 3, 6, 8),
    *,
    order: str = "time",
    tags: ArrayLike | None = None,
    epoch: str = EPOCH,
    spacing: Sequence[float] = SPACING,
    first: Sequence[float] = FIRST,
    direction: ArrayLike | None = None,
    frame: str = FRAME,
    place: bool = True,
    attrs: dict[str, Any] | None = None,
    coords: dict[str, tuple[Sequence[str], Any]] | None = None,
) -> xr.DataArray:
    """Labelled image in memory, of one patient, with an instance digest per plane."""
    d = oblique() if direction is None else np.asarray(direction)
    t = (12.0 * np.arange(shape[0])) if tags is None else np.asarray(tags, dtype=np.float64)
    labels = [f + s * np.arange(n) for f, s, n in zip(first, spacing, shape[1:], strict=True)]
    volume: dict[str, Any] = {"order": order, "units": "s" if order == "time" else "1"}
    if order == "time":
        step = float(np.median(np.diff(t))) if len(t) > 1 else 0.0
        volume |= {"source": "AcquisitionTime", "epoch": epoch, "interval": step}
    digests = [[instance_digest(f"1.2.{k}.{s}") for s in range(shape[1])] for k in range(shape[0])]
    elements = {**PATIENT, "Modality": "MR"} if attrs is None else attrs
    plain: dict[str, tuple[Sequence[str], Any]] = {
        "instance": (("tag", "slice"), np.array(digests, dtype=np.int64)),
        "patient": ((), np.int64(patient_digest(elements))),
        "study": ((), np.int64(study_digest(elements))),
    }
    if order == "time":
        plain["time"] = (("tag",), t)
    axes = {n: Axis(v, float(s)) for n, v, s in zip(("slice", "row", "col"), labels, spacing, strict=True)}
    return build(
        values_of(d, labels, t),
        volumes=[Volumes(t, volume)],
        axes=axes,
        space=Space(d, frame) if place else None,
        coords={**plain, **(coords or {})},
        attrs=elements,
    )["image"]


def assert_true(da: xr.DataArray, atol: float = 1e-6, tag: bool = True) -> None:
    """Assert that affine and volume labels of an image agree with its values."""
    da = da.transpose(..., *[d for d in ("slice", "row", "col") if d in da.dims])
    sizes = [da.sizes.get(n, 1) for n in ("slice", "row", "col")]
    index = np.stack(np.meshgrid(*(np.arange(n) for n in sizes), indexing="ij"), axis=-1)
    affine = da.imd.affine
    place = (index @ affine[:3, :3].T + affine[:3, 3]) @ WEIGHTS
    tags = np.atleast_1d(da["tag"].values) if tag else np.zeros(1)
    expected = place + PER_TAG * tags[:, None, None, None]
    np.testing.assert_allclose(np.reshape(da.values, expected.shape), expected, rtol=0, atol=atol)


def has_indexes(da: xr.DataArray) -> bool:
    """Whether every dim has the index of this library."""
    kinds = dict.fromkeys(("slice", "row", "col"), AxisIndex)
    return all(isinstance(da.xindexes.get(d), kinds.get(str(d), TagIndex)) for d in da.dims)


def write_series(
    folder: Path,
    stored: NDArray[Any],
    *,
    bits: int = 16,
    direction: ArrayLike | None = None,
    first: Sequence[float] = FIRST,
    spacing: Sequence[float] = SPACING,
    slope: float = 1.0,
    intercept: float = 0.0,
    interval: float = 12.0,
    start: str = "10:00:00",
    **elements: Any,
) -> Path:
    """Write stored integers (tag, slice, row, col) as a classic dynamic MR series; give the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    d = oblique() if direction is None else np.asarray(direction)
    series, clock = generate_uid(), np.datetime64(f"2026-01-02T{start}", "us")
    for k, s in np.ndindex(*stored.shape[:2]):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.Modality, ds.Manufacturer, ds.ImageType = "MR", "Made", ["ORIGINAL", "PRIMARY", "M"]
        for name, value in {**PATIENT, "FrameOfReferenceUID": FRAME, **elements}.items():
            setattr(ds, name, value)
        ds.SeriesInstanceUID, ds.SeriesNumber = series, 1
        ds.InstanceNumber, ds.AcquisitionNumber = k * stored.shape[1] + s + 1, k + 1
        moment = str(clock + np.timedelta64(round(k * interval * 1e6), "us"))
        ds.StudyDate = ds.AcquisitionDate = moment[:10].replace("-", "")
        ds.AcquisitionTime = moment[11:].replace(":", "")
        ds.ImageOrientationPatient = [float(v) for v in np.round([*d[:, 2], *d[:, 1]], 12)]
        position = d @ (np.asarray(first) + np.array([s * spacing[0], 0, 0]))
        ds.ImagePositionPatient = [float(v) for v in np.round(position, 10)]
        ds.PixelSpacing, ds.SliceThickness = list(spacing[1:]), spacing[0]
        ds.Rows, ds.Columns = stored.shape[2:]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = 8 if bits <= 8 else 16
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(stored.dtype.kind == "i")
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = f"{slope:g}", f"{intercept:g}", "US"
        pixels = (stored[k, s].astype(np.int64) & (2**bits - 1)).astype(f"<u{ds.BitsAllocated // 8}").tobytes()
        ds.PixelData = pixels + b"\0" * (len(pixels) % 2)
        ds.save_as(folder / f"{ds.InstanceNumber:04d}.dcm", enforce_file_format=True)
    return folder

"""What each xarray operation does to an image: every row of the page "xarray, one by one" is run here.

The voxels of the image tell where and when they are: each is a linear function of patient position and time, stored
as DICOM. So after an operation, labels and affine can be judged against the values. ``--write`` puts the table into
docs/operations.md; without it, the table is printed.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from operations_list import OPERATIONS, PER_MM, PER_SECOND, Operation
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from imagedata_xr import ImagedataError

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
BEGIN, END = "<!-- made by examples/operations.py: begin -->", "<!-- made by examples/operations.py: end -->"
SHAPE, SPACING, FIRST = (4, 3, 6, 8), np.array([4.0, 2.0, 1.5]), np.array([-8.0, 30.0, -21.0])
INTERVAL, SLOPE = 12, 0.01
LABELS = ("tag", "slice", "row", "col")


@dataclass(frozen=True)
class Outcome:
    """What an operation did.

    Attributes
    ----------
    verdict : str
        ``right``: the affine agrees with the voxels; ``refuses``: the operation raises; ``affine raises``: the position
        is lost, and the affine says so; ``WRONG``: neither, so that one has to know.
    lost : tuple of str
        Coords that the result lacks.
    indexes : str
        Whether every dim of the result has the index that guards alignment: ``kept``, ``lost``, ``-`` for no result.
    error : str
        Type of the error, where there is one.
    patient : str
        Whose digest the result has: ``a``, ``c``, or nothing.
    """

    verdict: str
    lost: tuple[str, ...]
    indexes: str
    error: str = ""
    patient: str = ""


def directions() -> NDArray[np.float64]:
    """Columns slice, row, col of an oblique slab (LPS)."""
    a, b = np.deg2rad([20.0, 15.0])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turned: NDArray[np.float64] = (about_z @ about_x)[:, ::-1]
    return turned


def make_series(folder: Path) -> None:
    """Write the series: every stored number is the value of its place and time, in steps of `SLOPE`."""
    d, series, frame, study = directions(), generate_uid(), generate_uid(), generate_uid()
    for volume, k in np.ndindex(SHAPE[0], SHAPE[1]):
        position = d @ (FIRST + np.array([k * SPACING[0], 0, 0]))
        down, along = np.meshgrid(np.arange(SHAPE[2]), np.arange(SHAPE[3]), indexing="ij")
        where = position + down[..., None] * SPACING[1] * d[:, 1] + along[..., None] * SPACING[2] * d[:, 2]
        values = where @ np.array(PER_MM) + PER_SECOND * INTERVAL * volume
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.Modality, ds.PatientID, ds.PatientName = "MR", "DEMO-1", "Demo^Phantom"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 1, volume + 1, volume * SHAPE[1] + k + 1
        ds.AcquisitionDate, ds.AcquisitionTime = "20260102", f"1016{volume * INTERVAL:02d}"
        ds.ImageOrientationPatient = [float(v) for v in np.round([*d[:, 2], *d[:, 1]], 12)]
        ds.ImagePositionPatient = [float(v) for v in np.round(position, 10)]
        ds.PixelSpacing, ds.SliceThickness = [float(s) for s in SPACING[1:]], float(SPACING[0])
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = SHAPE[2], SHAPE[3], 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = SLOPE, 0, "US"
        ds.PixelData = np.round(values / SLOPE).astype("<i2").tobytes()
        ds.save_as(folder / f"{ds.InstanceNumber:03d}.dcm", enforce_file_format=True)


def affine_is_true(result: xr.DataArray, at: float | None) -> bool:
    """Whether affine and times agree with the values; `at` is the time of a result without `tag`."""
    affine = result.imd.affine
    sizes = [result.sizes.get(n, 1) for n in LABELS[1:]]
    index = np.stack(np.meshgrid(*(np.arange(n) for n in sizes), indexing="ij"), axis=-1)
    place = (index @ affine[:3, :3].T + affine[:3, 3]) @ np.array(PER_MM)
    times = np.atleast_1d(result["tag"].values) if "tag" in result.coords else np.array([at or 0.0])
    expected = place + PER_SECOND * times[:, None, None, None]
    values = result.transpose(*[n for n in LABELS if n in result.dims]).values.reshape(expected.shape)
    return bool((np.isnan(values) | (np.abs(values - expected) < 3 * SLOPE)).all())


def try_operation(operation: Operation, image: xr.DataArray) -> Outcome:
    """Run an operation on an image and on a second one like it, and judge the result."""
    other = image.assign_coords(patient=image.patient + 1).assign_attrs(PatientID="DEMO-2")
    names = {"a": image, "b": image.copy(), "c": other, "np": np, "xr": xr}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = run(operation.code, names)
        except (ValueError, TypeError, KeyError) as error:
            return Outcome("refuses", (), "-", type(error).__name__)
        lost = tuple(n for n in (*LABELS, "time", "instance", "patient", "geometry") if n not in result.coords)
        guarded = all(type(result.xindexes.get(d)).__name__ in ("AxisIndex", "TagIndex") for d in result.dims)
        indexes = "kept" if guarded else "lost"
        try:
            true = affine_is_true(operation.undo(result), operation.at)
        except ImagedataError as error:
            return Outcome("affine raises", lost, indexes, type(error).__name__)
    whose = {int(image.patient): "a", int(other.patient): "c"}
    patient = whose[int(result.patient)] if "patient" in result.coords and result.patient.ndim == 0 else ""
    return Outcome("right" if true else "WRONG", lost, indexes, patient=patient)


def run(code: str, names: dict[str, object]) -> xr.DataArray:
    """Run a line of code; its value, or `a` where it is a statement, is the result."""
    try:
        compiled = compile(code, "<operation>", "eval")
    except SyntaxError:
        exec(code, names)
        result = names["a"]
    else:
        result = eval(compiled, names)
    assert isinstance(result, xr.DataArray)
    return result


def outcomes() -> list[tuple[Operation, Outcome]]:
    """Every operation with its outcome, on an image fresh from its files."""
    with tempfile.TemporaryDirectory() as folder:
        make_series(Path(folder))
        image = xr.open_dataarray(folder, engine="imagedata", order="time").load()
    return [(operation, try_operation(operation, image.copy(deep=True))) for operation in OPERATIONS]


def table(rows: list[tuple[Operation, Outcome]]) -> str:
    """Markdown table for each group of operations."""
    words = {"right": "right", "refuses": "raises `{}`", "affine raises": "`affine` raises", "WRONG": "**not true**"}
    out: list[str] = []
    for group in dict.fromkeys(operation.group for operation, _ in rows):
        out += [
            f"### {group}",
            "",
            "| code | labels and affine | dropped | indexes | to know |",
            "|---|---|---|---|---|",
        ]
        for operation, outcome in rows:
            if operation.group == group:
                code = operation.code.replace("|", "\\|")
                verdict = words[outcome.verdict].format(outcome.error)
                lost = ", ".join(f"`{n}`" for n in outcome.lost) or "-"
                out.append(f"| `{code}` | {verdict} | {lost} | {outcome.indexes} | {operation.advice or '-'} |")
        out.append("")
    return "\n".join(out)


def page(text: str, rows: list[tuple[Operation, Outcome]]) -> str:
    """Page with its table made anew."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table(rows)}\n{END}{after}"


if __name__ == "__main__":
    found = outcomes()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    else:
        print(table(found))

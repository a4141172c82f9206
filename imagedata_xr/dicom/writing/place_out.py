"""Where the images of a series lie, from the labels: position, orientation and spacing (PS3.3 C.7.6.2, C.10.7.1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...errors import GeometryError
from ...model.geometry import positions_of, rounding
from ...model.image import axis_of, space_of
from ...model.turned import OF_AXES, turned
from .fields import drop, numbers, put

POSITION_TOLERANCE = 1e-3  # mm
ORIENTATION_TOLERANCE = 1e-5
SPACING_TOLERANCE = 1e-5  # mm
_IN_PLANE = ("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelSpacing")
_BY_PIXEL = ("SequenceOfUltrasoundRegions", "PixelAspectRatio")  # speak of pixels by number, or of their shape


@dataclass(frozen=True)
class Place:
    """Labels of the axes of a canonical image.

    Attributes
    ----------
    rows, cols : int
    positions : ndarray, shape (slices, 3), or None
        Of the first pixel of each slice, LPS mm; None without a place in the patient.
    orientation : ndarray, shape (6,), or None
    spacing : ndarray, shape (2,)
        Between rows, between columns: mm, or in units of the source's pixels without a place.
    slice_step : float or None
        None where uneven or unknown.
    frame_of_reference : str
        Empty where unknown.
    origin : tuple of float
        First labels of row and col.
    """

    rows: int
    cols: int
    positions: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    spacing: NDArray[np.float64]
    slice_step: float | None
    frame_of_reference: str
    origin: tuple[float, float]

    def put(self, ds: pydicom.Dataset, k: int, frame_of_reference: str) -> None:
        """Set the geometry of slice `k` in a derived header."""
        drop(ds, ["SliceLocation", "SpacingBetweenSlices"])
        ds.Rows, ds.Columns = self.rows, self.cols
        if self.positions is None or self.orientation is None:
            self._put_pixels(ds)
            return
        self._turn(ds)
        put(ds, "ImagePositionPatient", self.positions[k])
        put(ds, "ImageOrientationPatient", self.orientation)
        drop(ds, (*_IN_PLANE[:2], *_BY_PIXEL))
        put(ds, "PixelSpacing", self.spacing)
        put(ds, "FrameOfReferenceUID", frame_of_reference)
        if self.slice_step is not None:
            put(ds, "SpacingBetweenSlices", self.slice_step)
            if ds.get("SliceThickness") in (None, ""):
                put(ds, "SliceThickness", self.slice_step)

    def _turn(self, ds: pydicom.Dataset) -> None:
        """Put right what the source's header says of rows and columns that run elsewhere."""
        own = numbers(ds, "ImageOrientationPatient", 6)
        if own is None or self.orientation is None:
            return
        for keyword, value in turned({k: ds.get(k) for k in OF_AXES}, own, self.orientation).items():
            if value is None:
                drop(ds, [keyword])
            else:
                put(ds, keyword, value)

    def _as_read(self, header: pydicom.Dataset, k: int) -> NDArray[np.float64]:
        """Position of slice `k`, beside its line as far as that of the header is, if no more than rounding does.

        Only the first slice is always where its header says: those after it were read as on a straight line. So it is
        the first that tells whether all were moved.
        """
        assert self.positions is not None
        assert self.orientation is not None
        position: NDArray[np.float64] = self.positions[k]
        own = numbers(header, "ImagePositionPatient", 3)
        if k == 0 or own is None:
            return position
        across = np.reshape(self.orientation, (2, 3))
        beside = (own - position) @ across.T @ across
        small = np.linalg.norm(beside) <= rounding(float(self.spacing.min()))
        return np.asarray(position + beside if small else position)

    def _put_pixels(self, ds: pydicom.Dataset) -> None:
        drop(ds, ["ImagePositionPatient", "ImageOrientationPatient"])
        if not np.array_equal(self.spacing, (1, 1)):
            for keyword in _IN_PLANE:
                if (pixel := numbers(ds, keyword, 2)) is not None:
                    put(ds, keyword, pixel * self.spacing)
        if self.origin != (0.0, 0.0) or not np.array_equal(self.spacing, (1, 1)):
            drop(ds, _BY_PIXEL)

    def differs(self, header: pydicom.Dataset, k: int) -> str | None:
        """Say how slice `k` lies elsewhere than a header says; None if it does not."""
        if (header.get("Rows"), header.get("Columns")) != (self.rows, self.cols):
            return f"it has {self.rows} x {self.cols} pixels, its source {header.get('Rows')} x {header.get('Columns')}"
        if self.positions is None or self.orientation is None:
            whole = self.origin == (0.0, 0.0) and np.array_equal(self.spacing, (1, 1))
            return None if whole else "its labels are not those of all pixels of its source"
        for keyword, value, tolerance in (
            ("ImagePositionPatient", self._as_read(header, k), POSITION_TOLERANCE),
            ("ImageOrientationPatient", self.orientation, ORIENTATION_TOLERANCE),
            ("PixelSpacing", self.spacing, SPACING_TOLERANCE),
        ):
            own = numbers(header, keyword, len(value))
            if own is None:
                return f"its source has no {keyword}"
            if keyword == "ImageOrientationPatient":  # rounded ones are no unit vectors
                length = np.linalg.norm(np.reshape(own, (2, 3)), axis=1)
                own = own / np.repeat(np.where(length > 0, length, 1), 3)
            if (off := float(np.abs(own - value).max())) > tolerance:
                return f"its {keyword} differs from its source by {off:g}"
        if str(header.get("FrameOfReferenceUID", "") or "") != self.frame_of_reference:
            return "its frame of reference is another than that of its source"
        return None


def place_of(image: xr.DataArray) -> Place:
    """Place of a canonical image.

    Raises
    ------
    GeometryError
        Where rows or columns are uneven or of unknown spacing.
    """
    space = space_of(image)
    slices, slice_step = axis_of(image, "slice")
    rows, row_step = axis_of(image, "row")
    cols, col_step = axis_of(image, "col")
    steps: list[float] = []
    for name, values, step in (("row", rows, row_step), ("col", cols, col_step)):
        if step is None and space is not None:
            raise GeometryError(_no_spacing(name, values))
        steps.append(1.0 if step is None else abs(step))
    common: dict[str, Any] = {
        "rows": rows.size,
        "cols": cols.size,
        "spacing": np.array(steps),
        "slice_step": None if slice_step is None or space is None else abs(slice_step),
        "origin": (float(rows[0]), float(cols[0])),
    }
    if space is None:
        return Place(positions=None, orientation=None, frame_of_reference="", **common)
    labels = np.stack([slices, np.full(slices.size, rows[0]), np.full(slices.size, cols[0])], axis=1)
    d = space.direction
    return Place(
        positions=positions_of(d, labels),
        orientation=np.concatenate([d[:, 2], d[:, 1]]) + 0.0,
        frame_of_reference=space.frame_of_reference,
        **common,
    )


def _no_spacing(name: str, values: NDArray[np.float64]) -> str:
    if values.size == 1:
        return (
            f"the spacing of the single {name!r} is unknown: "
            f'assign_coords({name}=("{name}", [label], {{"spacing": mm}})) says it'
        )
    steps = np.diff(values)
    return (
        f"{name!r} is not evenly spaced (steps from {steps.min():g} to {steps.max():g} mm), which a DICOM image can't "
        f"be: interp({name}=...) makes it even"
    )

"""Where the planes of an image lie, and which of another image's they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .geometry import labels_of, positions_of
from .image import axis_of, space_of
from .indexes import POSITION_TOLERANCE
from .space import DIRECTION_TOLERANCE, Space


@dataclass(frozen=True)
class Lattice:
    """Labels of the planes, rows and columns of an image.

    Attributes
    ----------
    slices, rows, cols : ndarray, shape (n,)
        mm along the axes; indices where `space` is None.
    space : Space or None
        None without a place in the patient.
    """

    slices: NDArray[np.float64]
    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    space: Space | None

    @classmethod
    def of(cls, image: xr.DataArray) -> Lattice:
        """Lattice of a repaired image; raises `GeometryError` where an axis is lost."""
        slices, rows, cols = (axis_of(image, name)[0] for name in ("slice", "row", "col"))
        return cls(slices, rows, cols, space_of(image))

    @property
    def near(self) -> float:
        """How far planes may lie apart and be the same, mm: 0.01, or a tenth of smaller pixels."""
        steps = [abs(v[1] - v[0]) for v in (self.rows, self.cols) if len(v) > 1]
        return float(min([POSITION_TOLERANCE, *(0.1 * s for s in steps if s > 0)]))

    def places_on(self, other: Lattice) -> NDArray[np.intp] | str:
        """Tell which slices of another lattice these are.

        Compared are the positions of the first pixels in the patient, since the labels of a single slice, and those of
        slices sheared by a tilted gantry, are along other directions.

        Returns
        -------
        ndarray, shape (slices,), or str
            Why these are none of the other's.
        """
        if self.rows.size != other.rows.size or self.cols.size != other.cols.size:
            sizes = f"{self.rows.size} x {self.cols.size} pixels and {other.rows.size} x {other.cols.size}"
            return f"the planes have {sizes}"
        if self.space is None or other.space is None:
            if self.space is not None or other.space is not None:
                return "one image has a place in the patient, the other has none"
            return np.arange(self.slices.size) if self.slices.size == other.slices.size else "nothing says which slices"
        if self.space.other_frame(other.space):
            return "the frames of reference differ (other session or scanner coordinates)"
        if (off := float(np.abs(self.space.direction - other.space.direction)[:, 1:].max())) > DIRECTION_TOLERANCE:
            return f"the orientation differs, its direction cosines by up to {off:.3g}"
        return self._among(other, self.space, other.space)

    def _among(self, other: Lattice, mine: Space, theirs: Space) -> NDArray[np.intp] | str:
        corner = np.column_stack(
            [self.slices, np.full(self.slices.size, self.rows[0]), np.full(self.slices.size, self.cols[0])]
        )
        labels = labels_of(theirs.direction, positions_of(mine.direction, corner))
        near = min(self.near, other.near)
        for axis, (own, wanted) in enumerate(((self.rows, other.rows), (self.cols, other.cols)), 1):
            off = np.abs(labels[:, axis : axis + 1] + (own - own[0])[[0, -1]] - wanted[[0, -1]]).max()
            if off > near:
                return f"the {('rows', 'columns')[axis - 1]} lie up to {off:g} mm apart (tolerance {near:g})"
        distance = np.abs(labels[:, :1] - other.slices)
        which: NDArray[np.intp] = distance.argmin(axis=1)
        off = distance.min(axis=1)
        if (off > near).any():
            k = int(off.argmax())
            return f"slice {k} lies {off[k]:g} mm from the nearest of the other's (tolerance {near:g})"
        if len(set(which.tolist())) < len(which):
            return "several slices lie on one of the other's"
        return which

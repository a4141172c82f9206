"""How the axes of an image lie in the patient."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..errors import LabelError
from .geometry import check_direction
from .identity import digest
from .variables import variable_of

DIRECTION_TOLERANCE = 1e-4  # components of unit vectors
_COARSE = 3  # decimals of the direction in the digest: xarray compares that, the index judges finely


class Space:
    """How the image axes lie in the patient.

    Parameters
    ----------
    direction : array_like, shape (3, 3) or (9,)
        Unit vectors (columns slice, row, col) in LPS.
    frame_of_reference : str
        Frame of Reference UID; empty where unknown.
    """

    __slots__ = ("direction", "frame_of_reference")

    def __init__(self, direction: Any, frame_of_reference: str = "") -> None:
        self.direction = check_direction(direction)
        self.frame_of_reference = str(frame_of_reference or "")

    def conflict(self, other: Space) -> str | None:
        """Say how another space differs, or None if it is the same within the tolerance."""
        if self.other_frame(other):
            return "the frames of reference differ (other session or scanner coordinates)"
        off = float(np.abs(self.direction - other.direction).max())
        if off > DIRECTION_TOLERANCE:
            cosines = np.clip((self.direction * other.direction).sum(axis=0), -1, 1)
            angle = float(np.degrees(np.arccos(cosines)).max())
            return f"the orientation differs by up to {angle:.3g} degrees"
        return None

    def other_frame(self, other: Space) -> bool:
        """Whether another space has another frame of reference; an unknown one is no other."""
        mine, theirs = self.frame_of_reference, other.frame_of_reference
        return bool(mine and theirs and mine != theirs)

    def to_variable(self) -> xr.Variable:
        """Scalar variable ``geometry``: a coarse digest, with direction and frame of reference in its attrs."""
        coarse = np.round(self.direction, _COARSE) + 0.0  # no -0.0
        value = digest("geometry", self.frame_of_reference, *(f"{x:.{_COARSE}f}" for x in coarse.ravel()))
        attrs = {"direction": self.direction.ravel().tolist(), "frame_of_reference": self.frame_of_reference}
        return variable_of((), np.int64(value), attrs)

    @classmethod
    def from_variable(cls, variable: xr.Variable) -> Space:
        """Space of a ``geometry`` variable."""
        return cls(_direction_attr(variable), variable.attrs.get("frame_of_reference", ""))

    def is_of(self, variable: xr.Variable) -> bool:
        """Whether a ``geometry`` variable says exactly this; a quick test before anything is built."""
        return self.frame_of_reference == str(variable.attrs.get("frame_of_reference", "") or "") and np.array_equal(
            self.direction.ravel(), np.ravel(_direction_attr(variable))
        )


def _direction_attr(variable: xr.Variable) -> Any:
    if "direction" not in variable.attrs:
        raise LabelError(
            "the coord 'geometry' has lost its attribute 'direction' (drop_attrs?): imd.assign_grid(other) gives the "
            "image its place again"
        )
    return variable.attrs["direction"]

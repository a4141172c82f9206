"""From the affine of a file to labels: spatial axes, space, and whether the rows are read backwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..model import geometry
from ..model.image import Axis
from ..model.indexes import Space


def check_affine(affine: NDArray[np.float64] | None, shape: Sequence[int]) -> None:
    """Raise `GeometryError` where an affine can't be that of an image; the lengths of its axes may be wrong still."""
    axes_of(affine, [min(n, 2) for n in shape[:3]])


def axes_of(affine: NDArray[np.float64] | None, shape: Sequence[int]) -> tuple[dict[str, Axis], Space | None, bool]:
    """Labels of slice, row and col; the space; and whether the rows are to be read backwards.

    Parameters
    ----------
    affine : ndarray, shape (4, 4), or None
        From index (slice, row, col) of the file to LPS mm; None where the file has no geometry. A left-handed one has
        its rows turned.
    shape : sequence of int
        Columns, rows, slices, and further axes that do not matter.

    Raises
    ------
    GeometryError
        If the affine is singular.
    """
    cols, rows, slices = shape[:3]
    counts = (slices, rows, cols)
    if affine is None:
        return (
            {n: Axis(np.arange(c, dtype=float), 1.0) for n, c in zip(geometry.AXES, counts, strict=True)},
            None,
            False,
        )
    flip = geometry.is_left_handed(affine)
    if flip:
        affine = affine.copy()
        affine[:3, 3] += (rows - 1) * affine[:3, 1]
        affine[:3, 1] *= -1
    direction, first, step = geometry.split_affine(affine)
    axes = {
        name: Axis(start + by * np.arange(count), float(by))
        for name, start, by, count in zip(geometry.AXES, first, step, counts, strict=True)
    }
    return axes, Space(direction, ""), flip

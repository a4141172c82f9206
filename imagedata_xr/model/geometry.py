"""Geometry as pure functions on arrays: directions, labels, affines, LPS and RAS.

Everywhere, ``direction`` is a (3, 3) float64 matrix D whose columns are unit vectors in DICOM's patient axes (LPS:
x to the left, y to the back, z to the head) along the image axes slice, row index and column index, in this order.
A *label* is a coordinate along an image axis in mm, absolute: ``position = D @ (slice, row, col)``, so that
``labels = inv(D) @ position`` (DICOM PS3.3 C.7.6.2.1.1 gives positions from Image Position and Orientation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError

AXES = ("slice", "row", "col")
"""The spatial dims, in storage order."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_SNAP = 5e-5  # mm: a slice direction this near to the normal, over the whole stack, is the normal


def normal(orientation: ArrayLike) -> NDArray[np.float64]:
    """Unit normal of the image plane.

    Parameters
    ----------
    orientation : array_like, shape (..., 6)
        Image Orientation (Patient): direction along a row, then direction down a column.

    Returns
    -------
    ndarray, shape (..., 3)
        ``cross(row direction, column direction)``, LPS.

    Raises
    ------
    GeometryError
        If the two directions are parallel or zero.
    """
    iop = np.asarray(orientation, dtype=np.float64)
    n = np.cross(iop[..., :3], iop[..., 3:])
    length = np.linalg.norm(n, axis=-1, keepdims=True)
    if not (length > 0.5).all():
        raise GeometryError(
            f"ImageOrientationPatient {iop.tolist()} is singular: its two directions are zero or nearly parallel"
        )
    return np.asarray(n / length)


def direction_of(orientation: ArrayLike, travel: ArrayLike | None = None) -> NDArray[np.float64]:
    """Direction matrix of a stack of images.

    Parameters
    ----------
    orientation : array_like, shape (6,)
        Image Orientation (Patient).
    travel : array_like, shape (3,), optional
        Position of the last slice minus that of the first, sorted along the normal. Without it (a single slice) the
        slice direction is the normal.

    Returns
    -------
    ndarray, shape (3, 3)
        Columns slice, row index, column index. The slice direction is not the normal where the gantry is tilted.
    """
    iop = np.asarray(orientation, dtype=np.float64)
    n = normal(iop)
    along = n
    if travel is not None:
        t = np.asarray(travel, dtype=np.float64)
        length = float(np.linalg.norm(t))
        if length > 0 and np.linalg.norm(t - (t @ n) * n) > _SNAP:
            along = t / length
    rows = iop[3:] / np.linalg.norm(iop[3:])
    cols = iop[:3] / np.linalg.norm(iop[:3])
    return check_direction(np.stack([along, rows, cols], axis=1))


def check_direction(direction: ArrayLike) -> NDArray[np.float64]:
    """Return a direction as a (3, 3) array, or raise if it can't be one.

    Raises
    ------
    GeometryError
        If it is not finite, its columns are no unit vectors, it is singular or left-handed.
    """
    d = np.asarray(direction, dtype=np.float64)
    if d.size != 9:
        raise GeometryError(f"a direction has 9 numbers (3 x 3, columns slice, row, col), not {d.size}")
    d = d.reshape(3, 3)
    lengths = np.linalg.norm(d, axis=0)
    if not np.isfinite(d).all() or np.abs(lengths - 1).max() > 1e-3:
        raise GeometryError(f"the columns of a direction are unit vectors; these have lengths {lengths.tolist()}")
    d = np.asarray(d / lengths)
    volume = float(np.cross(d[:, 2], d[:, 1]) @ d[:, 0])
    if volume < 0.1:
        kind = "left-handed" if volume < -0.1 else "singular"
        raise GeometryError(f"the direction {d.tolist()} is {kind}: cross(col, row) . slice = {volume:.3g}")
    return d


def labels_of(direction: ArrayLike, positions: ArrayLike) -> NDArray[np.float64]:
    """Labels (slice, row, col) in mm of patient positions: ``inv(D) @ position``.

    Parameters
    ----------
    direction : array_like, shape (3, 3)
    positions : array_like, shape (..., 3)
        LPS mm.

    Returns
    -------
    ndarray, shape (..., 3)
    """
    inverse = np.linalg.inv(np.asarray(direction, dtype=np.float64))
    return np.asarray(np.asarray(positions, dtype=np.float64) @ inverse.T)


def positions_of(direction: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Patient positions (LPS mm) of labels (slice, row, col): ``D @ label``, for shape (..., 3)."""
    return np.asarray(np.asarray(labels, dtype=np.float64) @ np.asarray(direction, dtype=np.float64).T)


def affine_of(direction: ArrayLike, first: ArrayLike, step: ArrayLike) -> NDArray[np.float64]:
    """Affine from index (slice, row, col) to LPS mm.

    Parameters
    ----------
    direction : array_like, shape (3, 3)
    first : array_like, shape (3,)
        Labels of voxel (0, 0, 0), mm.
    step : array_like, shape (3,)
        Label step per index, mm; negative on a flipped axis.

    Returns
    -------
    ndarray, shape (4, 4)
    """
    d = np.asarray(direction, dtype=np.float64)
    out = np.eye(4)
    out[:3, :3] = d * np.asarray(step, dtype=np.float64)
    out[:3, 3] = d @ np.asarray(first, dtype=np.float64)
    return out


def even_step(values: ArrayLike, tolerance: float) -> float | None:
    """Step of evenly spaced values, ``(last - first) / (n - 1)``; None if a value lies further off than `tolerance`."""
    v = np.asarray(values, dtype=np.float64)
    if v.size < 2 or not np.isfinite(v).all():
        return None
    step = float((v[-1] - v[0]) / (v.size - 1))
    if step == 0 or np.abs(v - (v[0] + step * np.arange(v.size))).max() > tolerance:
        return None
    return step


def rounding(pixel: float) -> float:
    """How far positions may lie beside a straight line and be those of one, for a pixel size, both in mm.

    Rounded to a tenth of a millimetre, each coordinate is off by 0.05 mm at most, all three together by 0.09 mm. It is
    never more than a small part of a pixel.
    """
    return min(0.1, 0.15 * pixel)


def evenness(step: float) -> float:
    """How far labels in mm may lie from even ones and be taken for such, mm.

    That is 0.01 mm for the noise of decimal strings, or a tenth of smaller steps. But positions that were rounded to a
    tenth of a millimetre, as older scanners and reformatting do, lie further off: so it is 2 % of larger steps, and
    never more than 0.1 mm.
    """
    size = abs(step)
    return min(0.1, max(0.02 * size, min(0.01, 0.1 * size)))


def to_ras(affine: ArrayLike) -> NDArray[np.float64]:
    """Affine from index (col, row, slice) to RAS mm (NIfTI) of an affine from (slice, row, col) to LPS mm."""
    a = np.asarray(affine, dtype=np.float64)
    return np.asarray(LPS_TO_RAS @ a[:, [2, 1, 0, 3]])


def from_ras(affine: ArrayLike) -> NDArray[np.float64]:
    """Affine from index (slice, row, col) to LPS mm of an affine from (col, row, slice) to RAS mm (NIfTI)."""
    return np.asarray(LPS_TO_RAS @ np.asarray(affine, dtype=np.float64)[:, [2, 1, 0, 3]])


def split_affine(affine: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Direction, first labels and steps of an affine from (slice, row, col) to LPS mm.

    Returns
    -------
    direction : ndarray, shape (3, 3)
    first : ndarray, shape (3,)
        Labels of voxel (0, 0, 0).
    step : ndarray, shape (3,)
        All positive.

    Raises
    ------
    GeometryError
        If the affine is singular or left-handed (flip the rows first, see `is_left_handed`).
    """
    a = np.asarray(affine, dtype=np.float64)
    step = np.linalg.norm(a[:3, :3], axis=0)
    if not np.isfinite(a).all() or (step < 1e-9).any():
        raise GeometryError(f"the affine {a.tolist()} is singular: an axis has no length")
    d = check_direction(a[:3, :3] / step)
    return d, labels_of(d, a[:3, 3]), step


def is_left_handed(affine: ArrayLike) -> bool:
    """Whether an affine from (slice, row, col) to LPS mm needs a flipped axis to be one of this data model."""
    a = np.asarray(affine, dtype=np.float64)[:3, :3]
    return float(np.cross(a[:, 2], a[:, 1]) @ a[:, 0]) < 0

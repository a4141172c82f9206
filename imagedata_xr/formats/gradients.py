"""Diffusion directions along image axes (FSL's bvecs) and in the patient.

FSL's components belong to the axes of the file: ``b = Rot^T (R g)`` with g in LPS, R the flip to RAS, and Rot the unit
directions of columns, rows and slices in RAS; x changes sign where the affine's determinant is positive.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _frame(affine_ras: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Orthonormal image axes in RAS (columns), and the sign of each bvec component."""
    m = np.asarray(affine_ras, dtype=np.float64)[:3, :3]
    u = m / np.linalg.norm(m, axis=0)
    third = np.cross(u[:, 0], u[:, 1])  # of a tilted stack too, the third component is along the normal
    third *= np.sign(third @ u[:, 2]) / np.linalg.norm(third)
    return np.stack([u[:, 0], u[:, 1], third], axis=1), np.array([-1.0 if np.linalg.det(m) > 0 else 1.0, 1.0, 1.0])


def to_bvecs(vectors: ArrayLike, affine_ras: ArrayLike) -> NDArray[np.float64]:
    """FSL's components of directions.

    Parameters
    ----------
    vectors : array_like, shape (n, 3)
        Unit vectors in LPS; zeros where there is no direction.
    affine_ras : array_like, shape (4, 4)
        Of the file: index (col, row, slice) to RAS mm.

    Returns
    -------
    ndarray, shape (n, 3)
    """
    frame, sign = _frame(affine_ras)
    ras = np.nan_to_num(np.asarray(vectors, dtype=np.float64)) * np.array([-1.0, -1.0, 1.0])
    return np.asarray((ras @ frame) * sign)


def from_bvecs(bvecs: ArrayLike, affine_ras: ArrayLike) -> NDArray[np.float64]:
    """Directions in LPS of FSL's components, both of shape (n, 3): the inverse of `to_bvecs`; made unit vectors."""
    frame, sign = _frame(affine_ras)
    ras = np.linalg.solve(frame.T, (np.asarray(bvecs, dtype=np.float64) * sign).T).T
    out = ras * np.array([-1.0, -1.0, 1.0])
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.where(length > 1e-6, out / np.where(length > 1e-6, length, 1), 0.0)

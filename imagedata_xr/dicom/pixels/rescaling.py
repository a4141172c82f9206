"""Stored numbers to values: slope and intercept, in one pass over what lies in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 15_000
"""Numbers of an intermediate result in float64: less than what the system's allocator maps anew for each array."""
_EXACT = 2**24
"""Whole numbers up to here have no rounding in float32."""


def rescale(
    stored: NDArray[Any], slope: NDArray[np.float64], intercept: NDArray[np.float64], out: NDArray[Any]
) -> None:
    """Put ``slope * stored + intercept`` of planes into their place (PS3.3 C.11.1.1.2): float64, rounded once.

    Parameters
    ----------
    stored, out : ndarray, shape (n, rows, cols)
        They may be the same.
    slope, intercept : ndarray, shape (n,)
        Of each plane.
    """
    if (slope == 1).all() and (intercept == 0).all():
        if not np.may_share_memory(stored, out):  # what was read straight into its place is there
            out[...] = stored
        return
    kind = np.float32 if out.dtype == np.float32 and _exact(stored.dtype, slope, intercept) else np.float64
    by, plus = (_alike(v.astype(kind), stored.ndim) for v in (slope, intercept))
    step = max(1, _BLOCK // max(1, stored[:, 0].size))
    for row in range(0, stored.shape[1], step):
        rows = (slice(None), slice(row, row + step))
        if kind is np.float32:
            np.multiply(stored[rows], by, out=out[rows])
            np.add(out[rows], plus, out=out[rows])
        else:
            np.add(stored[rows] * by, plus, out=out[rows], casting="unsafe")


def _exact(stored: np.dtype[Any], slope: NDArray[np.float64], intercept: NDArray[np.float64]) -> bool:
    """Whether float32 holds every intermediate result: whole numbers that are small."""
    if stored.kind not in "iu" or (slope != np.round(slope)).any() or (intercept != np.round(intercept)).any():
        return False
    largest = 2.0 ** (8 * stored.itemsize) * np.abs(slope) + np.abs(intercept)
    return bool(largest.max() <= _EXACT)


def _alike(values: NDArray[Any], ndim: int) -> Any:
    """One number where all planes have the same, which is quicker; else one for each plane."""
    return values[0] if (values == values[0]).all() else values.reshape(-1, *(1,) * (ndim - 1))

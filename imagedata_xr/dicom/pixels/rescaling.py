"""Stored numbers to values: slope and intercept, in one pass over what lies in the cache."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 2**15
"""Numbers of an intermediate result in float64: what stays in a core's cache."""
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
    for planes, rows in _blocks(stored):
        into = out[planes, rows]
        work = into if out.dtype == kind else scratch.of(into.shape)
        np.multiply(stored[planes, rows], _of(by, planes), out=work)
        np.add(work, _of(plus, planes), out=work)
        if work is not into:
            into[...] = work


class _Scratch(threading.local):
    """Memory of one thread that is used again and again.

    What is asked for anew, a block at a time, may come from the system each time (always so in the workers of
    distributed, whose allocator is told to give everything back): its pages cost more than what is computed in them,
    and threads wait for each other there.
    """

    def __init__(self) -> None:
        self._numbers = np.empty(_BLOCK)

    def of(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Memory of a shape; what was in it before is overwritten."""
        size = math.prod(shape)
        if size > self._numbers.size:
            return np.empty(shape)  # one row is longer than a block
        return self._numbers[:size].reshape(shape)


scratch = _Scratch()


def _blocks(stored: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Planes and rows that are taken at once: some whole planes, or some rows of one."""
    count, rows = stored.shape[:2]
    row = math.prod(stored.shape[2:])
    planes = max(1, _BLOCK // max(1, rows * row))
    step = rows if planes > 1 else max(1, _BLOCK // max(1, row))
    for k in range(0, count, planes):
        for first in range(0, rows, step):
            yield slice(k, k + planes), slice(first, first + step)


def _exact(stored: np.dtype[Any], slope: NDArray[np.float64], intercept: NDArray[np.float64]) -> bool:
    """Whether float32 holds every intermediate result: whole numbers that are small."""
    if stored.kind not in "iu" or (slope != np.round(slope)).any() or (intercept != np.round(intercept)).any():
        return False
    largest = 2.0 ** (8 * stored.itemsize) * np.abs(slope) + np.abs(intercept)
    return bool(largest.max() <= _EXACT)


def _alike(values: NDArray[Any], ndim: int) -> Any:
    """One number where all planes have the same, which is quicker; else one for each plane."""
    return values[0] if (values == values[0]).all() else values.reshape(-1, *(1,) * (ndim - 1))


def _of(values: Any, planes: slice) -> Any:
    return values[planes] if np.ndim(values) else values

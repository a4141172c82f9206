"""What a key asks of a grid of frames: which planes, and which rows and columns of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...model.lazy import axis_indices

if TYPE_CHECKING:
    from .pixels import FrameArray


@dataclass(frozen=True)
class Wanted:
    """A part of some planes, the same of each.

    Attributes
    ----------
    places : tuple of ndarray, shape (n,)
        Where in the grid each plane is, by axis.
    file, number : ndarray, shape (n,)
        File (-1 for none) and frame number of each plane.
    corner : ndarray, shape (n, 2), optional
        Row and column of the stored matrix where each plane begins, for tiles.
    first, last : int
        Rows that lie between those wanted: what is read of a plane.
    cols : int
        Columns of a whole plane.
    part : tuple
        Of these rows, of the columns and colours: a slice or indices each.
    shape : tuple of int
        (n, rows, cols[, colours]) that are wanted.
    whole : bool
        Whether all of what is read is wanted, as it lies there.
    """

    places: tuple[NDArray[np.intp], ...]
    file: NDArray[np.intp]
    number: NDArray[np.intp]
    corner: NDArray[np.intp] | None
    first: int
    last: int
    cols: int
    part: tuple[Any, ...]
    shape: tuple[int, ...]
    whole: bool

    def cut(self, band: NDArray[Any], k: int) -> NDArray[Any]:
        """Columns of plane k of stored rows that it shares with other tiles."""
        if self.corner is None:
            return band
        left = int(self.corner[k, 1])
        return band[:, left : left + self.cols]

    def cut_frame(self, frame: NDArray[Any], k: int) -> NDArray[Any]:
        """Rows first..last and the columns of plane k of a whole stored frame."""
        top = self.first + (0 if self.corner is None else int(self.corner[k, 0]))
        return self.cut(frame[top : top + self.last - self.first], k)

    def take(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Part of planes of shape (m, last - first, cols[, colours])."""
        if self.whole:
            return planes
        if all(isinstance(p, slice) for p in self.part):
            return planes[(slice(None), *self.part)]
        picks = (axis_indices(p, n) for p, n in zip(self.part, planes.shape[1:], strict=True))
        return planes[np.ix_(np.arange(len(planes)), *picks)]


def wanted(array: FrameArray, picks: list[NDArray[np.intp]]) -> Wanted:
    """Return what indices along each axis of a grid of frames ask of it."""
    grid = array.file.ndim
    outer = np.ix_(*picks[:grid])
    rows, *inner = picks[grid:]
    first, last = (int(rows.min()), int(rows.max()) + 1) if rows.size else (0, 0)
    size = (last - first, *array.plane_shape[1:])
    part = tuple(_plainly(p) for p in (rows - first, *inner))
    return Wanted(
        tuple(ix.ravel() for ix in np.broadcast_arrays(*outer)),
        array.file[outer].ravel(),
        array.number[outer].ravel(),
        None if array.corner is None else array.corner[outer].reshape(-1, 2),
        first,
        last,
        array.plane_shape[1],
        part,
        (int(np.prod([p.size for p in picks[:grid]])), *(p.size for p in picks[grid:])),
        all(p == slice(0, n, 1) for p, n in zip(part, size, strict=True) if isinstance(p, slice))
        and all(isinstance(p, slice) for p in part),
    )


def _plainly(indices: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Give equally spaced ascending indices as a slice, which needs no copy."""
    if not indices.size:
        return slice(0, 0, 1)
    step = int(indices[1] - indices[0]) if indices.size > 1 else 1
    if step < 1 or (np.diff(indices) != step).any():
        return indices
    return slice(int(indices[0]), int(indices[-1]) + 1, step)

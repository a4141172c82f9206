"""Parts of an array that are computed at once: whole chunks, several while they are small."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import xarray as xr

BLOCK_BYTES = 32 * 2**20


def blocks(variable: xr.Variable, leading: int) -> Iterator[tuple[slice, ...]]:
    """Keys of the parts of an array over its leading dims, whole along the others.

    No chunk of a dask array lies in two parts, so that none is computed twice; a part holds several chunks, which dask
    computes in parallel, while they are together no larger than `BLOCK_BYTES`.

    Parameters
    ----------
    variable : xarray.Variable
    leading : int
        Number of dims to cut along.
    """
    inner = int(np.prod(variable.shape[leading:])) * variable.dtype.itemsize
    chunks = variable.chunks
    ranges: list[list[slice]] = []
    for axis in reversed(range(leading)):
        size = variable.shape[axis]
        sizes = (1,) * size if chunks is None else chunks[axis]
        # only what is whole along the later dims may be joined along this one
        joined = _joined(sizes, max(1, BLOCK_BYTES // max(inner, 1)) if all(len(r) == 1 for r in ranges) else 1)
        ranges.insert(0, joined)
        inner *= size
    yield from product(*ranges)


def _joined(sizes: tuple[int, ...], most: int) -> list[slice]:
    """Consecutive chunks as slices of at most `most` entries, but at least one chunk."""
    out: list[slice] = []
    start = stop = 0
    for size in sizes:
        if stop > start and stop + size - start > most:
            out.append(slice(start, stop))
            start = stop
        stop += size
    return [*out, slice(start, stop)]

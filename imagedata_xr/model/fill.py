"""A segmentation on the slices of the image that it belongs to, with zeros where it has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import GridError
from .assign import assign_grid
from .geometry import AXES
from .image import repair
from .lattice import Lattice
from .lazy import axis_indices, on_demand


def fill_like(image: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Put a segmentation on the grid of another image: planes of zeros where it has no slice.

    Parameters
    ----------
    image, other : xarray.DataArray
        Repaired. Rows and columns lie where the other's do; the slices are some of the other's, in any order.

    Returns
    -------
    xarray.DataArray
        With the other's labels of slice, row and col, and its geometry; not yet read where `image` is not.

    Raises
    ------
    GridError
        A slice is none of the other's, or the grids differ: `interp_like` resamples.
    """
    which = Lattice.of(image).places_on(Lattice.of(other))
    if isinstance(which, str):
        raise GridError(
            f"the image does not lie on the grid of the other: {which}. imd.interp_like(other, 'nearest') resamples"
        )
    if "slice" not in image.dims:
        image = repair(image.expand_dims("slice"))
    count = other.sizes.get("slice", 1)
    if np.array_equal(which, np.arange(count)):
        return assign_grid(image, other)
    source = np.full(count, -1, dtype=np.intp)
    source[which] = np.arange(len(which))
    kept = {n: c.variable for n, c in image.coords.items() if n not in (*AXES, "geometry")}
    spread = {n: _spread(v, source) if "slice" in v.dims else v for n, v in kept.items()}
    filled = _spread(image.variable, source)
    bare = xr.DataArray(filled, coords=xr.Coordinates(spread, indexes={}), name=image.name)
    return assign_grid(bare, other)


def _spread(variable: xr.Variable, source: NDArray[np.intp]) -> xr.Variable:
    """Variable on more slices: that of `source`, or zero (NaN for coords of floats) where that is -1."""
    encoding = dict(variable.encoding)
    if "preferred_chunks" in encoding:
        encoding["preferred_chunks"] = {**encoding["preferred_chunks"], "slice": len(source)}
    if variable.chunks is not None:
        taken = variable.isel(slice=np.maximum(source, 0))
        there = xr.Variable(("slice",), source >= 0).set_dims(dict(taken.sizes)).transpose(*taken.dims)
        out = taken.where(there, np.zeros((), dtype=variable.dtype))
    else:
        out = xr.Variable(variable.dims, on_demand(Spread(variable, variable.dims.index("slice"), source)))
    return xr.Variable(out.dims, out._data, variable.attrs, encoding)


@dataclass
class Spread:
    """A `LazyArray` of a variable on more places along one axis, zero where it has none.

    Attributes
    ----------
    variable : xarray.Variable
    axis : int
    source : ndarray of int
        Place in the variable, -1 for none.
    """

    variable: xr.Variable
    axis: int
    source: NDArray[np.intp]
    shape: tuple[int, ...] = field(init=False)
    dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        sizes = list(self.variable.shape)
        sizes[self.axis] = len(self.source)
        self.shape, self.dtype = tuple(sizes), self.variable.dtype

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read a part; see `imagedata_xr.model.lazy.LazyArray`."""
        picks = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        from_ = self.source[picks[self.axis]]
        out = np.zeros(tuple(p.size for p in picks), dtype=self.dtype)
        there = np.flatnonzero(from_ >= 0)
        if there.size and out.size:
            part = dict(zip(self.variable.dims, picks, strict=True))
            part[self.variable.dims[self.axis]] = from_[there]
            at = (slice(None),) * self.axis + (there,)
            out[at] = self.variable.isel(part).values
        drop = tuple(0 if isinstance(k, (int, np.integer)) else slice(None) for k in key)
        return out[drop]

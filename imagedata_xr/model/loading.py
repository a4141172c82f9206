"""Values of a chunked array in memory, put in place chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def load(image: xr.DataArray, **kwargs: Any) -> xr.DataArray:
    """Load an image in place; see ``.imd.load``."""
    variable = image.variable
    if variable.chunks is not None:
        variable.data = values_of(variable, **kwargs)
    return image.load(**kwargs)


def values_of(variable: xr.Variable, **kwargs: Any) -> Any:
    """Values of a variable, which stays as it is.

    dask computes all chunks, and then puts them together in a second array. Here each goes to its place as soon as it
    is there, and is dropped.

    Parameters
    ----------
    variable : xarray.Variable
    **kwargs
        For dask.

    Returns
    -------
    ndarray
        Of another kind, where the chunks are no arrays of numpy.
    """
    if variable.chunks is None:
        return variable.values
    data = variable.data
    if data.npartitions == 1 or not _stored_here(data, kwargs.get("scheduler")):
        return data.compute(**kwargs)
    import dask.array

    out: NDArray[Any] = np.empty(data.shape, data.dtype)
    dask.array.store(data, out, lock=False, **kwargs)
    return out


def _stored_here(data: Any, scheduler: Any) -> bool:
    """Whether chunks are arrays of numpy of known shape, and their tasks see the memory of this process."""
    import dask.local
    import dask.threaded
    from dask.base import get_scheduler

    if type(data._meta) is not np.ndarray or data.dtype.hasobject or np.isnan(data.shape).any():
        return False
    get = get_scheduler(scheduler=scheduler, collections=[data])  # type: ignore[no-untyped-call]
    return get in (dask.threaded.get, dask.local.get_sync)

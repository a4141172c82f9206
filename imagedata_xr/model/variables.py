"""Variables of plain numpy arrays, made without what xarray imports to make them of anything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr


def variable_of(dims: Iterable[str], values: Any, attrs: Mapping[str, Any] | None = None) -> xr.Variable:
    """Variable of an array or a number; the same that ``xr.Variable`` makes.

    xarray asks of every array whether it is a masked one of dask's, and imports ``dask.array`` for it, which takes half
    a second: a quarter of the time of ``imd info``. Plain arrays of numbers and texts need not be asked.
    """
    plain = values if isinstance(values, np.ndarray | np.generic) else np.asarray(values)
    if type(plain) is np.ndarray or isinstance(plain, np.generic):
        array = np.asarray(plain)
        if array.dtype.kind in "biufcMUT":  # others are converted by xarray
            return xr.Variable(tuple(dims), array, attrs, fastpath=True)
    return xr.Variable(tuple(dims), values, attrs)

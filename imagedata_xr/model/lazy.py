"""Arrays that are read on demand, as xarray's own lazy indexing wants them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing


class LazyArray(Protocol):
    """The contract of a format's lazy array: a shape, a dtype, and `read`.

    ``read(key)`` takes one int, slice (positive step) or 1-D int array per axis, combined as an outer product; an int
    drops its axis. It reads what the key names and no more, keeps no file open, and may be called from several
    threads at once. The object can be pickled.

    It may have ``files``, those that it reads, and ``token``, a digest of their states.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Return the part of the array that the key names."""
        ...


class OnDemand(BackendArray):
    """A `LazyArray` behind xarray's indexing adapters."""

    def __init__(self, array: LazyArray) -> None:
        self.array = array
        self.shape = tuple(array.shape)
        self.dtype = array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read a part; called by xarray."""
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self.array.read)


class OnDisk(xr.Variable):
    """A variable whose values are in files: its dask array is named after their state as well.

    xarray names it after the address and the options. Files that changed would have the name that they had before, and
    a cluster that still holds the old values, or a graph that holds both, would take one for the other.
    """

    __slots__ = ()

    def chunk(  # type: ignore[override]  # the options of later ones are handed on as they come
        self,
        chunks: Any = {},  # noqa: B006
        name: Any = None,
        lock: Any = None,
        inline_array: Any = None,
        chunked_array_type: Any = None,
        from_array_kwargs: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Chunk as xarray does, under a name of its own."""
        token, settings = _token(self._data), dict(from_array_kwargs or {})
        if token and isinstance(settings.get("name"), str):
            settings["name"] += f"-{token}"
        out = super().chunk(chunks, name, lock, inline_array, chunked_array_type, settings, **kwargs)
        return xr.Variable(out.dims, out._data, out._attrs, out._encoding, fastpath=True)


class InMemory(xr.Variable):
    """A variable whose values are in memory when it is opened, and stay there as they are.

    xarray wraps what an engine gives as if it were in files: it would show the values as ``...``, and with ``chunks=``
    make dask arrays of labels, by which xarray neither selects (``a[a.b_value > 500]``) nor groups.
    """

    __slots__ = ()

    @property
    def data(self) -> Any:
        """The array."""
        return xr.Variable.data.fget(self)  # type: ignore[attr-defined]  # the property that this one stands in for

    @data.setter
    def data(self, data: Any) -> None:
        if not isinstance(data, indexing.CopyOnWriteArray | indexing.MemoryCachedArray):  # the wrappers of opening
            xr.Variable.data.fset(self, data)  # type: ignore[attr-defined]


def kept_in_memory(ds: xr.Dataset) -> xr.Dataset:
    """Have xarray leave alone, when it opens `ds`, what is in memory already; each opening gets arrays of its own."""
    small = {
        name: InMemory(v.dims, v._data.copy(), v._attrs, v._encoding, fastpath=True)
        for name, v in ds.variables.items()
        if isinstance(v._data, np.ndarray) and name not in ds.xindexes
    }
    return ds._replace({**ds._variables, **small})  # as xarray does when it opens: assign would make plain variables


def _token(data: Any) -> str:
    """Digest of the state of the files behind xarray's wrappers; empty where it is not known."""
    found = _behind(data)
    return "" if found is None else str(getattr(found, "token", ""))


def _behind(data: Any) -> LazyArray | None:
    """The array behind xarray's wrappers; None for values in memory."""
    while data is not None and not isinstance(data, OnDemand):
        data = getattr(data, "array", None)
    return None if data is None else data.array


def lazy_arrays(variable: xr.Variable) -> list[LazyArray]:
    """Arrays in files that the values of a variable are read or computed from; none for values in memory."""
    if variable.chunks is None:
        found = _behind(variable._data)
        return [] if found is None else [found]
    tasks = variable.data.__dask_graph__().values()
    sources = {id(value): value for task in tasks if (value := _behind(getattr(task, "value", task))) is not None}
    return list(sources.values())


def on_demand(array: Any) -> Any:
    """Wrap a `LazyArray` for a `xarray.Variable`; return arrays in memory as they are."""
    if isinstance(array, np.ndarray) or not hasattr(array, "read"):
        return array
    return indexing.LazilyIndexedArray(OnDemand(array))


def axis_indices(key: Any, size: int) -> NDArray[np.intp]:
    """Positions on an axis that one part of a key names, as a 1-D array."""
    if isinstance(key, slice):
        return np.arange(size)[key]
    return np.atleast_1d(np.asarray(key, dtype=np.intp)) % size

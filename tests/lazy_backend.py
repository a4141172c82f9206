"""A small engine with a lazy array that writes down what it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from recording import RecordingIndex
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

SHAPE = (2, 3, 4)
READ: list[tuple[Any, ...]] = []


class Array(BackendArray):
    """``arange`` that is read by outer keys."""

    shape = SHAPE
    dtype = np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self.read)

    def read(self, key: tuple[Any, ...]) -> NDArray[np.float64]:
        READ.append(key)
        data = np.arange(float(np.prod(SHAPE))).reshape(SHAPE)
        for axis in reversed(range(len(key))):
            data = data[(slice(None),) * axis + (key[axis],)]
        return data


class Engine(BackendEntrypoint):
    """One variable on (tag, slice, row), chunked by (1, 1, 4), with an index on ``row``; a tree of two."""

    supports_groups = True
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "order")

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None, order: str = "auto") -> xr.Dataset:
        encoding = {"preferred_chunks": {"tag": 1, "slice": 1, "row": 4}, "stored_dtype": "int16"}
        image = xr.Variable(("tag", "slice", "row"), indexing.LazilyIndexedArray(Array()), {"order": order}, encoding)
        ds = xr.Dataset({"image": image}, coords={"row": [0.0, 1.0, 2.0, 3.0], "tag": [0.0, 1.0]})
        return ds.drop_indexes("row").set_xindex("row", RecordingIndex, note="kept")

    def open_groups_as_dict(
        self, filename_or_obj: Any, *, drop_variables: Any = None, order: str = "auto"
    ) -> dict[str, xr.Dataset]:
        one = self.open_dataset(filename_or_obj, order=order)
        return {"/": xr.Dataset(), "/p": xr.Dataset(attrs={"PatientID": "x"}), "/p/s1": one, "/p/s2": one.isel(tag=[0])}

    def open_datatree(self, filename_or_obj: Any, **kwargs: Any) -> xr.DataTree:
        return xr.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, **kwargs))

"""An index that writes down what xarray asks of it: the mechanism of our own indexes, without their rules."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from xarray.indexes import PandasIndex

CALLS: list[str] = []


class RecordingIndex(PandasIndex):
    """Equals another within 0.1; remembers a note, and what was called."""

    def __init__(
        self, array: Any, dim: Hashable, coord_dtype: Any = None, *, fastpath: bool = False, note: str = ""
    ) -> None:
        super().__init__(array, dim, coord_dtype, fastpath=fastpath)
        self.note = note

    def _replace(self, index: pd.Index, dim: Hashable | None = None, coord_dtype: Any = None) -> Self:
        CALLS.append("_replace")
        return type(self)(
            index, self.dim if dim is None else dim, coord_dtype or self.coord_dtype, fastpath=True, note=self.note
        )

    @classmethod
    def from_variables(cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]) -> Self:
        CALLS.append("from_variables")
        new = super().from_variables(variables, options={})
        new.note = options.get("note", "")  # type: ignore[attr-defined]
        return new  # type: ignore[return-value]

    def create_variables(self, variables: Mapping[Any, xr.Variable] | None = None) -> Any:
        out = super().create_variables(variables)
        for variable in out.values():
            variable.attrs = {**variable.attrs, "size": len(self.index)}
        return out

    def equals(self, other: Any, *, exclude: frozenset[Hashable] | None = None) -> bool:
        CALLS.append("equals")
        same = type(other) is type(self) and len(self.index) == len(other.index)
        return same and bool((np.abs(self.index.to_numpy() - other.index.to_numpy()) < 0.1).all())

    def join(self, other: Any, how: str = "inner") -> Self:
        CALLS.append(f"join {how}")
        raise xr.AlignmentError("told by the index")

    def reindex_like(self, other: Any, method: Any = None, tolerance: Any = None) -> dict[Hashable, Any]:
        CALLS.append("reindex_like")
        if not self.equals(other):
            raise xr.AlignmentError("told by reindex_like")
        return {self.dim: np.arange(len(self.index))}


def recorded(values: list[float], note: str = "", **coords: Any) -> xr.DataArray:
    """Array along ``row`` with that index."""
    da = xr.DataArray(np.arange(len(values), dtype=np.float64), dims="row", coords={"row": values, **coords}, name="v")
    out: xr.DataArray = da.drop_indexes("row").set_xindex("row", RecordingIndex, note=note)
    CALLS.clear()
    return out


def note_of(da: Any) -> str | None:
    """Note of the index of ``row``, or None where it is another kind of index."""
    index = da.xindexes.get("row")
    return index.note if isinstance(index, RecordingIndex) else None

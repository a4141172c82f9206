"""Indexes that make alignment a safety net: they compare with a tolerance, and say what differs instead of joining.

Images align if their labels are the same within the tolerance, in the same order or another (a flipped axis);
anything else raises `GridError`. xarray calls these indexes in arithmetic, `where`, `merge`, `concat` and the like.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from xarray.indexes import Index, PandasIndex

from ..errors import GridError
from .space import Space as Space

POSITION_TOLERANCE = 1e-2  # mm
_NOISE = 1e-6  # of a bound: labels are never rounded, and 31.999999999 is meant to lie within 32..40


class LabelIndex(PandasIndex):
    """An index on float labels that equals another within a tolerance, and explains where it does not."""

    tolerance: float = 1e-6

    def __init__(self, array: Any, dim: Hashable, coord_dtype: Any = None, *, fastpath: bool = False) -> None:
        super().__init__(array, dim, coord_dtype, fastpath=fastpath)

    # --- what subclasses say -----------------------------------------------------------------------------------
    def _keys(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What entries are compared by, shape (n, k), and the tolerance of each column, shape (k,)."""
        return self.index.to_numpy(dtype=np.float64)[:, None], np.array([self.tolerance])

    def _context(self, other: Any) -> str | None:
        """Say what else differs, beside the labels."""
        return None

    def _cure(self, other: Any) -> str:
        """Say what can be done where another index differs."""
        return ""

    def _shifts(self, other: Any) -> list[float]:
        """What may be added to the other's labels before they are compared."""
        return [0.0]

    # --- comparing ---------------------------------------------------------------------------------------------
    def _agrees(self, other: LabelIndex, shift: float) -> bool:
        """Whether all entries agree one by one."""
        (mine, tol), (theirs, tol2) = self._keys(), other._keys()
        return mine.shape == theirs.shape and _close(mine, theirs, shift, np.maximum(tol, tol2))

    def _permutation(self, other: LabelIndex) -> NDArray[np.intp] | None:
        """Indexer into self that yields other's order; None if the entries differ."""
        shifts = self._shifts(other)
        if any(self._agrees(other, shift) for shift in shifts):
            return np.arange(len(self.index))
        (mine, tol), (theirs, tol2) = self._keys(), other._keys()
        if mine.shape != theirs.shape or not (self.index.is_unique and other.index.is_unique):
            return None
        a, b = np.argsort(mine[:, 0], kind="stable"), np.argsort(theirs[:, 0], kind="stable")
        limit = np.maximum(tol, tol2)
        if not any(_close(mine[a], theirs[b], shift, limit) for shift in shifts):
            return None
        out = np.empty(len(a), dtype=np.intp)
        out[b] = a
        return out

    def difference(self, other: Any) -> str | None:
        """Say how another index differs from this one; None where they can be aligned."""
        if type(other) is not type(self):
            return f"{self.dim!r} has labels of another kind"
        if why := self._context(other):
            return why
        if self._permutation(other) is not None:
            return None
        (mine, tol), (theirs, tol2) = self._keys(), other._keys()
        if len(mine) != len(theirs):
            return f"{self.dim!r} has {len(mine)} and {len(theirs)} entries"
        return self._values_differ(mine, theirs, np.maximum(tol, tol2) if len(tol) == len(tol2) else tol)

    def _values_differ(self, mine: NDArray[np.float64], theirs: NDArray[np.float64], tol: NDArray[np.float64]) -> str:
        off = np.nanmax(np.abs(mine[:, 0] - theirs[:, 0]), initial=0.0)
        if (np.isnan(mine) != np.isnan(theirs)).any():
            return f"the labels of {self.dim!r} are absent (NaN, as pad leaves them) at different places"
        return f"the labels of {self.dim!r} differ by up to {off:g} (tolerance {tol[0]:g})"

    def _refuse(self, why: str, other: Any) -> GridError:
        return GridError(f"the images are not on the same grid: {why}. {self._cure(other)}")

    # --- what xarray calls -------------------------------------------------------------------------------------
    def equals(self, other: Index, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Whether labels and context agree within the tolerance, in the same order."""
        if other is self:
            return True
        if type(other) is not type(self) or other.dim != self.dim or self._context(other) is not None:
            return False
        return any(self._agrees(other, shift) for shift in self._shifts(other))

    def join(self, other: Any, how: str = "inner") -> Self:
        """Return self if the other is a reordering; xarray asks only where they are not equal."""
        if why := self.difference(other):
            raise self._refuse(why, other)
        return self

    def reindex_like(self, other: Any, method: Any = None, tolerance: Any = None) -> dict[Hashable, Any]:
        """Positions in self of the other's labels (a reordering at most)."""
        if why := self.difference(other):
            raise self._refuse(why, other)
        return {self.dim: self._permutation(other)}

    def sel(self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None) -> Any:
        """Select by label: the nearest within the tolerance; a slice may have its bounds in either order."""
        ((name, label),) = labels.items()
        if isinstance(label, slice):
            if method is None and not self.index.hasnans:
                label = _bounds(label, self.index.is_monotonic_decreasing and len(self.index) > 1)
            return super().sel({name: label}, method, tolerance)
        if method is None and tolerance is None and self.index.is_unique and np.asarray(label).dtype.kind in "iuf":
            method, tolerance = "nearest", self._keys()[1][0]
        try:
            return super().sel({name: label}, method, tolerance)
        except KeyError:
            near = "" if tolerance is None or not np.isfinite(tolerance) else f" within {tolerance:g}"
            raise KeyError(
                f"no {name!r} label{near} of {np.asarray(label).tolist()}: the labels reach from "
                f"{self.index.min():g} to {self.index.max():g}; method='nearest' takes the nearest"
            ) from None

    def _repr_inline_(self, max_width: int) -> str:
        return type(self).__name__


def _close(mine: NDArray[np.float64], theirs: NDArray[np.float64], shift: float, limit: NDArray[np.float64]) -> bool:
    off = np.abs(mine - theirs)
    off[:, 0] = np.abs(mine[:, 0] - theirs[:, 0] - shift)
    return bool(((off <= limit) | (np.isnan(mine) & np.isnan(theirs))).all())


def _bounds(label: slice, descending: bool) -> slice:
    # pandas wants the bounds in the direction of the axis; whoever asks for 2..6 or 6..2 means the same labels
    start, stop = label.start, label.stop
    if not all(isinstance(x, (int, float, np.number)) or x is None for x in (start, stop)):
        return label  # pandas says what is wrong with it
    if start is not None and stop is not None:
        start, stop = min(start, stop), max(start, stop)
    low, high = (None if start is None else start - _NOISE), (None if stop is None else stop + _NOISE)
    return slice(high, low, label.step) if descending else slice(low, high, label.step)


SPACING_ATTRS = ("spacing", "first", "count")


def spacing_attrs(spacing: float, first: float, count: int) -> dict[str, Any]:
    """Attrs of an axis: its step, and of which labels; that tells a true step from one left by coarsen or interp."""
    return {"spacing": spacing, "first": first, "count": count}


class AxisIndex(LabelIndex):
    """Index of ``slice``, ``row`` or ``col``: labels in mm within a `Space`, or plain numbers without one."""

    tolerance = POSITION_TOLERANCE

    def __init__(
        self,
        array: Any,
        dim: Hashable,
        coord_dtype: Any = None,
        *,
        fastpath: bool = False,
        space: Space | None = None,
        spacing: float | None = None,
    ) -> None:
        super().__init__(array, dim, coord_dtype, fastpath=fastpath)
        self.space = space
        n = len(self.index)
        # a single label has no step of its own: it remembers the one that it had among others
        self.spacing = float(abs(self.index[-1] - self.index[0]) / (n - 1)) if n > 1 else spacing

    def _replace(self, index: pd.Index, dim: Hashable | None = None, coord_dtype: Any = None) -> Self:
        return type(self)(
            index,
            self.dim if dim is None else dim,
            coord_dtype or self.coord_dtype,
            fastpath=True,
            space=self.space,
            spacing=self.spacing,
        )

    @classmethod
    def from_variables(cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]) -> Self:
        """Build from a coord; options: ``space``."""
        new = super().from_variables(variables, options={})
        (variable,) = variables.values()
        new.space = options.get("space")  # type: ignore[attr-defined]
        if new.spacing is None and "spacing" in variable.attrs:  # type: ignore[attr-defined]
            new.spacing = float(variable.attrs["spacing"])  # type: ignore[attr-defined]
        return new  # type: ignore[return-value]

    def create_variables(self, variables: Mapping[Any, xr.Variable] | None = None) -> Any:
        """Coord variables, with units and a spacing that is true after every isel."""
        out = super().create_variables(variables)
        for v in out.values():
            attrs = {k: x for k, x in v.attrs.items() if k not in ("units", *SPACING_ATTRS)}
            attrs["units"] = "1" if self.space is None else "mm"
            if self.spacing is not None and len(self.index):
                attrs |= spacing_attrs(self.spacing, float(self.index[0]), len(self.index))
            v.attrs = attrs
        return out

    def isel(self, indexers: Mapping[Any, Any]) -> Any:
        """Index of a part; a stride that leaves one label multiplies its spacing."""
        new, key = super().isel(indexers), indexers[self.dim]
        if (
            isinstance(new, AxisIndex)
            and new is not self
            and len(new.index) == 1
            and isinstance(key, slice)
            and self.spacing
        ):
            new.spacing = self.spacing * abs(key.step or 1)
        return new

    def _context(self, other: Any) -> str | None:
        if (self.space is None) != (other.space is None):
            return "one image has a place in the patient, the other has none"
        return self.space.conflict(other.space) if self.space is not None else None

    def _cure(self, other: Any) -> str:
        mine, theirs = self.space, getattr(other, "space", None)
        if mine is None or theirs is None or mine.other_frame(theirs):
            why = "they share a frame of reference" if mine and theirs else "they lie in one place"
            return f"Register them first; imd.assign_grid(other) says that {why} and a grid"
        if len(self.index) != len(other.index):
            return "imd.interp_like(other) resamples one onto the other; or select the same part of both"
        return (
            "imd.interp_like(other) resamples one onto the other; imd.assign_grid(other) says that the grids are the "
            "same"
        )

    @classmethod
    def concat(cls, indexes: Sequence[Self], dim: Hashable, positions: Iterable[Iterable[int]] | None = None) -> Self:
        """Join along the axis; raises `GridError` where the spaces differ."""
        new = super().concat(indexes, dim, positions)
        first, *others = (i for i in indexes if isinstance(i, cls))  # a plain one has nothing to compare
        for other in others:
            if why := first._context(other):
                raise first._refuse(f"cannot concatenate along {dim!r}: {why}", other)
        new.space = first.space
        return new

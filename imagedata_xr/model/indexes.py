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

from ..errors import GridError, LabelError
from .geometry import check_direction
from .identity import digest

POSITION_TOLERANCE = 1e-2  # mm
DIRECTION_TOLERANCE = 1e-4  # components of unit vectors
_COARSE = 3  # decimals of the direction in the digest: xarray compares that, the index judges finely


class Space:
    """How the image axes lie in the patient.

    Parameters
    ----------
    direction : array_like, shape (3, 3) or (9,)
        Unit vectors (columns slice, row, col) in LPS.
    frame_of_reference : str
        Frame of Reference UID; empty where unknown.
    """

    __slots__ = ("direction", "frame_of_reference")

    def __init__(self, direction: Any, frame_of_reference: str = "") -> None:
        self.direction = check_direction(direction)
        self.frame_of_reference = str(frame_of_reference or "")

    def conflict(self, other: Space) -> str | None:
        """Say how another space differs, or None if it is the same within the tolerance."""
        if self.frame_of_reference and other.frame_of_reference and self.frame_of_reference != other.frame_of_reference:
            return "the frames of reference differ (other session or scanner coordinates)"
        off = float(np.abs(self.direction - other.direction).max())
        if off > DIRECTION_TOLERANCE:
            cosines = np.clip((self.direction * other.direction).sum(axis=0), -1, 1)
            angle = float(np.degrees(np.arccos(cosines)).max())
            return f"the orientation differs by up to {angle:.3g} degrees"
        return None

    def to_variable(self) -> xr.Variable:
        """Scalar variable ``geometry``: the value is a coarse digest, the attrs hold direction and frame of reference."""
        coarse = np.round(self.direction, _COARSE) + 0.0  # no -0.0
        value = digest("geometry", self.frame_of_reference, *(f"{x:.{_COARSE}f}" for x in coarse.ravel()))
        attrs = {"direction": self.direction.ravel().tolist(), "frame_of_reference": self.frame_of_reference}
        return xr.Variable((), np.int64(value), attrs)

    @classmethod
    def from_variable(cls, variable: xr.Variable) -> Space:
        """Space of a ``geometry`` variable."""
        try:
            return cls(
                np.asarray(variable.attrs["direction"], dtype=np.float64), variable.attrs.get("frame_of_reference", "")
            )
        except KeyError:
            raise LabelError("the coord 'geometry' has lost its attribute 'direction' (drop_attrs?)") from None


class LabelIndex(PandasIndex):
    """An index on float labels that equals another within a tolerance, and explains where it does not."""

    tolerance: float = 1e-6
    cure = ""

    def __init__(self, array: Any, dim: Hashable, coord_dtype: Any = None, *, fastpath: bool = False) -> None:
        super().__init__(array, dim, coord_dtype, fastpath=fastpath)

    # --- what subclasses say -----------------------------------------------------------------------------------
    def _keys(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What entries are compared by, shape (n, k), and the tolerance of each column, shape (k,)."""
        return self.index.to_numpy(dtype=np.float64)[:, None], np.array([self.tolerance])

    def _context(self, other: Any) -> str | None:
        """Say what else differs, beside the labels."""
        return None

    def _shifts(self, other: Any) -> list[float]:
        """What may be added to the other's labels before they are compared."""
        return [0.0]

    # --- comparing ---------------------------------------------------------------------------------------------
    def _agrees(self, other: LabelIndex, shift: float) -> bool:
        """Whether all entries agree one by one."""
        (mine, tol), (theirs, tol2) = self._keys(), other._keys()
        if mine.shape != theirs.shape:
            return False
        off = np.abs(mine - theirs)
        off[:, 0] = np.abs(mine[:, 0] - theirs[:, 0] - shift)
        return bool((off <= np.maximum(tol, tol2)).all())

    def _permutation(self, other: LabelIndex) -> NDArray[np.intp] | None:
        """Indexer into self that yields other's order; None if the entries differ."""
        if any(self._agrees(other, shift) for shift in self._shifts(other)):
            return np.arange(len(self.index))
        (mine, tol), (theirs, tol2) = self._keys(), other._keys()
        if mine.shape != theirs.shape:
            return None
        limit = np.maximum(tol, tol2)
        if not (self.index.is_unique and other.index.is_unique):
            return None
        a, b = np.argsort(mine[:, 0], kind="stable"), np.argsort(theirs[:, 0], kind="stable")
        if not (np.abs(mine[a] - theirs[b]) <= limit).all():
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
        (mine, tol), (theirs, _) = self._keys(), other._keys()
        if len(mine) != len(theirs):
            return f"{self.dim!r} has {len(mine)} and {len(theirs)} entries"
        return self._values_differ(mine, theirs, tol)

    def _values_differ(self, mine: NDArray[np.float64], theirs: NDArray[np.float64], tol: NDArray[np.float64]) -> str:
        off = float(np.abs(mine[:, 0] - theirs[:, 0]).max())
        return f"the labels of {self.dim!r} differ by up to {off:g} (tolerance {tol[0]:g})"

    def _refuse(self, why: str) -> GridError:
        return GridError(f"the images are not on the same grid: {why}. {self.cure}")

    # --- what xarray calls -------------------------------------------------------------------------------------
    def equals(self, other: Index, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Whether labels and context agree within the tolerance, in the same order."""
        if type(other) is not type(self) or other.dim != self.dim or self._context(other) is not None:  # type: ignore[attr-defined]
            return False
        return any(self._agrees(other, shift) for shift in self._shifts(other))  # type: ignore[arg-type]

    def join(self, other: Any, how: str = "inner") -> Self:
        """Return self if the other is a reordering; xarray asks only where they are not equal."""
        if why := self.difference(other):
            raise self._refuse(why)
        return self

    def reindex_like(self, other: Any, method: Any = None, tolerance: Any = None) -> dict[Hashable, Any]:
        """Positions in self of the other's labels (a reordering at most)."""
        if why := self.difference(other):
            raise self._refuse(why)
        return {self.dim: self._permutation(other)}

    def sel(self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None) -> Any:
        """Select by label: the nearest within the tolerance; a slice may have its bounds in either order."""
        ((name, label),) = labels.items()
        if isinstance(label, slice):
            if method is None and self.index.is_monotonic_decreasing and len(self.index) > 1:
                label = _descending(label)
            return super().sel({name: label}, method, tolerance)
        if method is None and tolerance is None and self.index.is_unique and np.asarray(label).dtype.kind in "iuf":
            method, tolerance = "nearest", self._keys()[1][0]
        try:
            return super().sel({name: label}, method, tolerance)
        except KeyError:
            have = self.index.to_numpy()
            raise KeyError(
                f"no {name!r} label within {tolerance} of {np.asarray(label).tolist()}: the labels reach from "
                f"{have.min():g} to {have.max():g}; method='nearest' takes the nearest"
            ) from None

    def _repr_inline_(self, max_width: int) -> str:
        return type(self).__name__


def _descending(label: slice) -> slice:
    # on a flipped axis pandas wants the larger bound first; whoever asks for 2..6 means the same labels
    start, stop = label.start, label.stop
    if start is None and stop is None:
        return label
    if start is not None and stop is not None:
        return slice(max(start, stop), min(start, stop), label.step)
    return slice(stop, start, label.step)


class AxisIndex(LabelIndex):
    """Index of ``slice``, ``row`` or ``col``: labels in mm within a `Space`, or plain numbers without one."""

    tolerance = POSITION_TOLERANCE
    cure = "interp_like(other) resamples one onto the other; imd.assign_grid(other) says that the grids are the same"

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
            attrs = {k: x for k, x in v.attrs.items() if k not in ("units", "spacing", "count")}
            attrs["units"] = "1" if self.space is None else "mm"
            attrs["count"] = len(self.index)  # tells a spacing that is still true from one left by coarsen or interp
            if self.spacing is not None:
                attrs["spacing"] = self.spacing
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

    @classmethod
    def concat(cls, indexes: Sequence[Self], dim: Hashable, positions: Iterable[Iterable[int]] | None = None) -> Self:
        """Join along the axis; raises `GridError` where the spaces differ."""
        new = super().concat(indexes, dim, positions)
        first = indexes[0]
        for other in indexes[1:]:
            if why := first._context(other):
                raise first._refuse(f"cannot concatenate along {dim!r}: {why}")
        new.space = first.space
        return new


class TagIndex(LabelIndex):
    """Index of the volumes: the order's value, and for diffusion also b-value and direction.

    Parameters
    ----------
    keys : ndarray, shape (n, k), optional
        Further values that make out a volume, compared with ``key_tolerance``.
    tolerance : float, optional
        Of the labels, in their units.
    epoch : float, optional
        Time zero of labels that are times, s. Times agree if they do since their own epochs (two runs of one
        protocol), by the clock (a part of a series and its file read back), or since the first volume where an epoch
        is unknown.
    """

    cure = "imd.assign_tags(other) takes the other's volume labels on purpose"

    def __init__(
        self,
        array: Any,
        dim: Hashable,
        coord_dtype: Any = None,
        *,
        fastpath: bool = False,
        order: str = "none",
        keys: NDArray[np.float64] | None = None,
        key_names: tuple[str, ...] = (),
        key_tolerance: tuple[float, ...] = (),
        tolerance: float = 1e-6,
        epoch: float | None = None,
    ) -> None:
        super().__init__(array, dim, coord_dtype, fastpath=fastpath)
        self.order, self.keys, self.tolerance = order, keys, tolerance
        self.key_names, self.key_tolerance, self.epoch = key_names, key_tolerance, epoch

    def _with(
        self, index: pd.Index, keys: NDArray[np.float64] | None, dim: Hashable | None = None, dtype: Any = None
    ) -> Self:
        return type(self)(
            index,
            self.dim if dim is None else dim,
            dtype or self.coord_dtype,
            fastpath=True,
            order=self.order,
            keys=keys,
            key_names=self.key_names,
            key_tolerance=self.key_tolerance,
            tolerance=self.tolerance,
            epoch=self.epoch,
        )

    def _replace(self, index: pd.Index, dim: Hashable | None = None, coord_dtype: Any = None) -> Self:
        keys = self.keys if self.keys is not None and len(self.keys) == len(index) else None
        return self._with(index, keys, dim, coord_dtype)

    @classmethod
    def from_variables(cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]) -> Self:
        """Build from a coord; options: those of the constructor."""
        new = super().from_variables(variables, options={})
        for name, value in options.items():
            setattr(new, name, value)
        return new  # type: ignore[return-value]

    def _keys(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        labels, tol = super()._keys()
        if self.keys is None:
            return labels, tol
        if self.order in ("dti", "bvector"):
            tol = np.array([np.inf])  # a volume number; b-value and direction make out the volume
        return np.hstack([labels, self.keys]), np.concatenate([tol, self.key_tolerance])

    def isel(self, indexers: Mapping[Any, Any]) -> Any:
        """Index of a part, with its further keys."""
        new, key = super().isel(indexers), indexers[self.dim]
        if not isinstance(new, TagIndex) or new is self or self.keys is None:
            return new
        return self._with(new.index, self.keys[key.data if isinstance(key, xr.Variable) else key])

    def roll(self, shifts: Mapping[Any, int]) -> Any:
        """Index with its entries rolled, with their further keys."""
        new = super().roll(shifts)
        keys = None if self.keys is None else np.roll(self.keys, shifts[self.dim], axis=0)
        return self._with(new.index, keys)

    def _shifts(self, other: TagIndex) -> list[float]:  # type: ignore[override]
        if self.order != "time" or not (len(self.index) and len(self.index) == len(other.index)):
            return [0.0]
        if self.epoch is None or other.epoch is None:
            return [0.0, float(np.min(self.index.to_numpy()) - np.min(other.index.to_numpy()))]
        return [0.0, other.epoch - self.epoch]

    def _context(self, other: Any) -> str | None:
        if len(self.index) == len(other.index) == 1 and "none" in (self.order, other.order):
            return None  # one volume of which nothing is known
        if self.order != other.order:
            return f"the volumes are ordered by {self.order!r} in one image and by {other.order!r} in the other"
        return None

    def _values_differ(self, mine: NDArray[np.float64], theirs: NDArray[np.float64], tol: NDArray[np.float64]) -> str:
        if mine.shape != theirs.shape:
            return "one image knows the b-value and direction of its volumes, the other does not"
        names = (f"labels ({self.order})", *self.key_names)
        off = np.abs(mine - theirs).max(axis=0)
        worst = [f"{n} by up to {o:g} (tolerance {t:g})" for n, o, t in zip(names, off, tol, strict=True) if not o <= t]
        return f"the volumes along {self.dim!r} differ: " + ", ".join(worst)

    @classmethod
    def concat(cls, indexes: Sequence[Self], dim: Hashable, positions: Iterable[Iterable[int]] | None = None) -> Self:
        """Join along the volumes."""
        new = super().concat(indexes, dim, positions)
        first = indexes[0]
        for other in indexes[1:]:
            if other.order != first.order:
                raise first._refuse(f"cannot concatenate along {dim!r}: {first._context(other)}")
        keys = None
        if all(i.keys is not None for i in indexes):
            keys = np.concatenate([i.keys for i in indexes if i.keys is not None])
            if positions is not None:
                keys = keys[np.argsort(np.concatenate([np.asarray(p) for p in positions]))]
        return first._with(new.index, keys, dim, new.coord_dtype)

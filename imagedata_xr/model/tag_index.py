"""The index of the volumes: it compares the whole key of an order, and times by epoch or clock."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from ..errors import GridError
from .indexes import LabelIndex


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
    attrs : mapping, optional
        Attrs of the coord, for `repair` to give back where xarray drops them (``xr.where(mask, 0, image)``).
    """

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
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(array, dim, coord_dtype, fastpath=fastpath)
        self.order, self.keys, self.tolerance = order, keys, tolerance
        self.key_names, self.key_tolerance, self.epoch = key_names, key_tolerance, epoch
        self.attrs = dict(attrs or {})

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
            attrs=self.attrs,
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

    def create_variables(self, variables: Mapping[Any, xr.Variable] | None = None) -> Any:
        """Coord variable, with an interval that is true after every isel."""
        out = super().create_variables(variables)
        steps = np.abs(np.diff(self.index.to_numpy(dtype=np.float64)))
        for v in out.values():
            if steps.size and "interval" in v.attrs:
                v.attrs = {**v.attrs, "interval": float(np.median(steps))}
        return out

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

    def _shifts(self, other: TagIndex) -> list[float]:
        if self.order != "time" or not (len(self.index) and len(self.index) == len(other.index)):
            return [0.0]
        if self.epoch is None or other.epoch is None:
            return [0.0, float(np.min(self.index.to_numpy()) - np.min(other.index.to_numpy()))]
        return [0.0, other.epoch - self.epoch]

    def _unknown(self, other: Any) -> bool:
        """Whether each image has one volume, and of one of them nothing is known."""
        return len(self.index) == len(other.index) == 1 and "none" in (self.order, other.order)

    def _agrees(self, other: Any, shift: float) -> bool:
        return self._unknown(other) or super()._agrees(other, shift)

    def _context(self, other: Any) -> str | None:
        if self._unknown(other):
            return None
        if self.order != other.order:
            return _orders_differ(self, other)
        return None

    def _cure(self, other: Any) -> str:
        if len(self.index) != len(other.index):
            return (
                "Select the same volumes of both; a single one for each of the other's is isel("
                f"{self.dim}=k, drop=True), a mean over {self.dim!r} or the like"
            )
        return "imd.assign_tags(other) takes the other's volume labels on purpose"

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
        first, *others = (i for i in indexes if isinstance(i, cls))  # a plain one has only labels
        for other in others:
            if other.order != first.order:
                why = f"cannot concatenate along {dim!r}: {_orders_differ(first, other)}"
                raise first._refuse(why, other)
            if first.epoch is not None and other.epoch is not None and abs(first.epoch - other.epoch) > 1e-3:
                raise GridError(
                    f"cannot concatenate along {dim!r}: one image counts its times from {other.epoch - first.epoch:g} "
                    f"s after the other. Put both on one epoch, b.assign_coords({dim}=(b.{dim} + shift).assign_attrs("
                    f"a.{dim}.attrs), time=b.time + shift)"
                )
        keys = None
        parts = [i.keys for i in indexes if isinstance(i, cls) and i.keys is not None]
        if len(parts) == len(indexes):
            keys = np.concatenate(parts)
            if positions is not None:
                keys = keys[np.argsort(np.concatenate([np.asarray(p) for p in positions]))]
        return first._with(new.index, keys, dim, new.coord_dtype)


def _orders_differ(one: TagIndex, other: TagIndex) -> str:
    return f"the volumes are ordered by {one.order!r} in one image and by {other.order!r} in the other"

"""Volumes of a file whose fourth axis has no name: from an order and the labels that are known to dims and coords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SortError
from ..model.image import Volumes
from ..model.orders import ORDERS, VECTOR, Order, parse_order

Labels = Mapping[str, NDArray[np.float64]]


@dataclass
class Arrangement:
    """How the volumes of a file become dims.

    Attributes
    ----------
    volumes : list of Volumes
        Dims and their labels.
    numbers : ndarray of int
        Number in the file of each volume, with the shape of the dims.
    coords : dict
        Name -> (dims, values) of the labels that are no dims; no dims where all volumes have the same value.
    """

    volumes: list[Volumes]
    numbers: NDArray[np.intp]
    coords: dict[str, tuple[list[str], Any]] = field(default_factory=dict)


def is_keyword(word: str) -> bool:
    """Whether a word is a DICOM keyword."""
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(word) is not None


def requested(order: str | Mapping[str, Any]) -> list[Order] | None:
    """Orders that a user asks for; None for "auto".

    Raises
    ------
    LabelError
        For a word that is no order.
    SortError
        For an order that is computed from a DICOM header.
    """
    orders = parse_order(order, is_keyword)
    if own := [o.name for o in orders or [] if o.read is not None]:
        raise SortError(f"the order {own[0]!r} is computed from a DICOM header, which this file does not have")
    return orders


def arrange(
    shape: Sequence[int],
    orders: Sequence[Order],
    labels: Labels,
    sources: Mapping[str, str],
    name: str,
    duplicates: str | None = None,
) -> Arrangement:
    """Arrange the volumes of a file.

    Parameters
    ----------
    shape : sequence of int
        Lengths of the file's axes after the spatial ones, the fastest first. Two axes need two orders; one axis with
        two orders is a flattened grid.
    orders : sequence of Order
    labels : mapping
        Coord -> values, one per volume in the file's order (fastest axis first).
    sources : mapping
        Coord -> where its values come from, for ``tag.attrs["source"]``.
    name : str
        Of the file, for messages.
    duplicates : {"keep", "raise"}, optional
        What is done about volumes of equal value; by default what the order says.

    Raises
    ------
    SortError
        If an order's values are unknown, repeated, or make no full grid.
    """
    numbers = np.arange(int(np.prod(shape, dtype=int)), dtype=np.intp)
    if len(orders) == 1 and len(shape) <= 1:
        numbers, volumes = _line(orders[0], numbers, labels, sources, name, duplicates)
    else:
        numbers, volumes = _grid(shape, orders, numbers, labels, sources, name)
    dims = [v.dim for v in volumes]
    coords: dict[str, tuple[list[str], Any]] = {}
    for label, values in labels.items():
        if label not in dims:
            coords[label] = ([], values[0]) if _constant(label, values) else (dims, values[numbers])
    return Arrangement(volumes, numbers, coords)


def _constant(label: str, values: NDArray[np.float64]) -> bool:
    # what makes out a volume stays on the volumes, even if there is one only
    return label not in ("time", "b_value", *VECTOR) and bool((values == values[0]).all())


def _values(order: Order, labels: Labels, name: str) -> NDArray[np.float64]:
    coord = order.label.coord
    if coord not in labels:
        there = ", ".join(labels) or "nothing"
        raise SortError(
            f"{name} does not say the {order.label.meaning} of its volumes, which order={order.name!r} needs. What it "
            f"says of them: {there}. order='none' numbers the volumes"
        )
    return labels[coord]


def _attrs(order: Order, values: NDArray[np.float64], sources: Mapping[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {"order": order.name, "units": order.label.units if order.scalar else "1"}
    out["source"] = sources.get(order.label.coord if order.scalar else "b_value" if order.by == "diffusion" else "", "")
    if order.by == "rank":
        steps = np.diff(np.unique(values))
        out |= {"epoch": "", "interval": float(np.median(steps)) if steps.size else 0.0}
    return out


def _line(
    order: Order,
    numbers: NDArray[np.intp],
    labels: Labels,
    sources: Mapping[str, str],
    name: str,
    duplicates: str | None,
) -> tuple[NDArray[np.intp], list[Volumes]]:
    """One dim ``tag``: the file's order, or sorted by the order's value."""
    if not order.scalar:
        if order.by == "diffusion":
            _values(ORDERS["b"], labels, name)
        if order.name == "bvector":
            # by b-value, then as they lie in the file, which is how they were acquired
            numbers = np.argsort(labels["b_value"], kind="stable").astype(np.intp)
        values = np.arange(numbers.size, dtype=np.float64)
        return numbers, [Volumes(values, _attrs(order, values, sources))]
    values = _values(order, labels, name)
    if not np.isfinite(values).all():
        raise SortError(f"{name} gives a {order.label.meaning} that is no number; order='none' numbers the volumes")
    numbers = np.argsort(values, kind="stable").astype(np.intp)
    values = values[numbers]
    # volumes may follow each other faster than the tolerance within which clocks agree
    same = np.flatnonzero(np.diff(values) <= (0 if order.by == "rank" else order.label.tolerance))
    if same.size and (duplicates or order.duplicates) == "raise":
        raise SortError(
            f"{name} has several volumes with the {order.label.meaning} {values[same[0]]:g} {order.label.units}: "
            "name a second order, or duplicates='keep', or order='none'"
        )
    return numbers, [Volumes(values, _attrs(order, values, sources))]


def _repeats(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Number each volume among those of equal values, as they follow each other, shape (n,)."""
    group = np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(group, kind="stable")
    out = np.empty(len(group))
    out[order] = np.arange(len(group)) - np.searchsorted(group[order], group[order], side="left")
    return out


def _grid(
    shape: Sequence[int],
    orders: Sequence[Order],
    numbers: NDArray[np.intp],
    labels: Labels,
    sources: Mapping[str, str],
    name: str,
) -> tuple[NDArray[np.intp], list[Volumes]]:
    """One dim per order, from as many axes of the file, or from one axis that is a flattened grid."""
    if len(shape) > 1:
        if len(shape) != len(orders):
            raise SortError(
                f"{name} has {len(shape)} axes of volumes, of lengths {list(shape)}, and the orders named are "
                f"{', '.join(o.name for o in orders)}: name one for each, in the order of the file, such as "
                "order='time,te'; 'none' numbers an axis"
            )
        table = numbers.reshape(tuple(shape), order="F")
        marks = [_along(k, o, table, labels, name) for k, o in enumerate(orders)]
    else:
        loose = [o.name for o in orders if not o.scalar]
        if loose and loose != ["none"]:
            raise SortError(f"the volumes of {name} can't be arranged by {loose[0]!r} together with other orders")
        known = {o.name: _values(o, labels, name) for o in orders if o.scalar}
        columns = [known[o.name] if o.scalar else _repeats(list(known.values())) for o in orders]
        uniques = [np.unique(c, return_inverse=True) for c in columns]
        marks = [u for u, _ in uniques]
        table = np.full([u.size for u in marks], -1, dtype=np.intp)
        table[tuple(inverse for _, inverse in uniques)] = numbers
        if table.size != numbers.size or (table < 0).any():
            lengths = " x ".join(str(u.size) for u in marks)
            raise SortError(
                f"{name} has {numbers.size} volumes, which are no full grid of {lengths} values of "
                f"{', '.join(o.name for o in orders)}; order='none' numbers the volumes"
            )
    dims = [o.dim if o.scalar or k == 0 else f"{o.dim}{k + 1}" for k, o in enumerate(orders)]
    return table, [Volumes(m, _attrs(o, m, sources), d) for o, m, d in zip(orders, marks, dims, strict=True)]


def _along(axis: int, order: Order, table: NDArray[np.intp], labels: Labels, name: str) -> NDArray[np.float64]:
    """Values along one axis of the file's volumes; those of the other axes must not matter."""
    if not order.scalar:
        return np.arange(table.shape[axis], dtype=np.float64)
    values = np.moveaxis(_values(order, labels, name)[table], axis, 0).reshape(table.shape[axis], -1)
    if np.abs(values - values[:, :1]).max() > order.label.tolerance:
        raise SortError(f"the {order.label.meaning} varies along other axes of {name} than number {axis + 4}")
    return np.asarray(values[:, 0])

"""Frames of a stack onto a grid of volumes and slices."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import ImagedataWarning, LabelError, SortError
from ..model.geometry import normal
from ..model.orders import ORDERS, Order
from .clock import Clock, tells_apart
from .keys import Keys
from .stacks import POSITION_TOLERANCE, Stack, cluster


@dataclass
class Grid:
    """Where each frame of a stack belongs.

    Attributes
    ----------
    index : ndarray, int
        Row of the frame at (volumes..., slice); -1 where there is none.
    orders : list of Order
        One per volume dim.
    values : list of ndarray
        Value of each volume along its dim (volume numbers for orders without a scalar value).
    clock : Clock or None
        The clock that tells the volumes apart.
    """

    index: NDArray[np.intp]
    orders: list[Order]
    values: list[NDArray[np.float64]]
    clock: Clock | None = None


def sort(
    stack: Stack,
    orders: list[Order] | None,
    auto_order: Sequence[str] | None = None,
    missing: str = "raise",
    duplicates: str | None = None,
) -> Grid:
    """Arrange the frames of a stack.

    Parameters
    ----------
    stack : Stack
    orders : list of Order or None
        None: find out (``order="auto"``).
    auto_order : sequence of str, optional
        Names of the orders that may be found out; by default time, b and directions, te, ti, fa.
    missing : {"raise", "drop", "fill"}
    duplicates : {"raise", "keep"}, optional
        By default that of the order.

    Returns
    -------
    Grid

    Raises
    ------
    SortError
        Where positions have unequal counts, an order has no values or does not tell images apart.
    """
    _check_words(missing, duplicates)
    frames = stack.frames
    slot = slice_numbers(stack)
    keys = Keys(frames, slot)
    if orders is None:
        orders = keys.find_orders(auto_order)
    elif len(orders) > 1 and len({o.dim for o in orders}) < len(orders):
        raise LabelError(f"the orders {[o.name for o in orders]} would give one dim twice")
    if len(orders) > 1 and any(o.by == "instance" for o in orders):
        raise LabelError("order 'none' numbers all volumes and can't be one of several orders")
    for order in orders:
        keys.require(order)
    if len(orders) == 1:
        grid = _one_order(keys, orders[0], missing, duplicates or orders[0].duplicates)
    else:
        grid = _several_orders(keys, orders, missing, duplicates or "raise")
    keys.refuse_mixing(orders, grid.index)
    return grid


def _check_words(missing: str, duplicates: str | None) -> None:
    if missing not in ("raise", "drop", "fill"):
        raise LabelError(f"missing={missing!r}: it is 'raise', 'drop' or 'fill'")
    if duplicates not in (None, "raise", "keep"):
        raise LabelError(f"duplicates={duplicates!r}: it is 'raise' or 'keep'")


def slice_numbers(stack: Stack) -> NDArray[np.intp]:
    """Number of the slice of each frame, ascending along the normal; 0 for all where positions are unknown."""
    frames = stack.frames
    if not stack.place:
        return np.zeros(len(frames), dtype=np.intp)
    return cluster(frames.position @ normal(frames.orientation[0]), POSITION_TOLERANCE)


# --- one order ----------------------------------------------------------------------------------------------------


def _one_order(keys: Keys, order: Order, missing: str, duplicates: str) -> Grid:
    if order.by in ("instance", "rank"):
        volume, values = _by_rank(keys, order, missing, duplicates)
    else:
        group, values = keys.groups(order)
        volume, values = _by_group(keys, order, group, values, duplicates)
    index = _table(keys.slot, [volume], [int(volume.max()) + 1], keys.slices)
    index, kept = _complete(index, keys, [order], missing)
    return Grid(index, [order], [values[kept]], keys.clock)


def _by_rank(keys: Keys, order: Order, missing: str, duplicates: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Volume of each frame: the k-th at its position, by clock and instance number."""
    seconds = keys.seconds(order)
    if order.by == "rank" and duplicates == "raise" and not tells_apart(seconds, keys.slot):
        raise SortError(
            f"order {order.name!r}: several images at one position have the same {keys.source(order)}; "
            "duplicates='keep' numbers them by InstanceNumber, order='none' numbers all so"
        )
    counts = np.bincount(keys.slot)
    if counts.min() == counts.max():
        volume = _rank(keys.slot, seconds, keys.instance_number)
    else:
        volume = _by_identifier(keys, seconds, counts, missing)
    if order.by == "instance":
        return volume, np.arange(int(volume.max()) + 1, dtype=np.float64)
    values = np.full(int(volume.max()) + 1, np.inf)
    np.minimum.at(values, volume, seconds)
    return volume, values * (1e3 if order.name == "triggertime" else 1.0)


def _rank(slot: NDArray[np.intp], *by: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rank of each entry within its slot, by the keys in turn."""
    order = np.lexsort((*reversed(by), slot))
    first = np.searchsorted(slot[order], slot[order], side="left")
    out = np.empty(len(slot), dtype=np.intp)
    out[order] = np.arange(len(slot)) - first
    return out


def _by_identifier(
    keys: Keys, seconds: NDArray[np.float64], counts: NDArray[np.intp], missing: str
) -> NDArray[np.intp]:
    """Volumes of a series with holes, by an element that numbers them."""
    if missing == "raise":
        raise SortError(
            f"the positions have between {counts.min()} and {counts.max()} images ({_short(counts)}): images are "
            "missing or doubled. missing='drop' leaves incomplete volumes out, missing='fill' fills them with NaN"
        )
    candidates = (
        keys.frames.numbers("TemporalPositionIdentifier"),
        keys.frames.numbers("AcquisitionNumber"),
        cluster(seconds, 1e-3).astype(np.float64),
    )
    for identifier in candidates:
        values, volume = np.unique(identifier, return_inverse=True)
        if np.isnan(values).any() or len(values) != counts.max():
            continue
        if len(np.unique(keys.slot * len(values) + volume)) == len(volume):
            return volume.astype(np.intp)
    raise SortError(
        f"the positions have between {counts.min()} and {counts.max()} images, and no element "
        "(TemporalPositionIdentifier, AcquisitionNumber, equal times) says to which volume each belongs"
    )


def _by_group(
    keys: Keys, order: Order, group: NDArray[np.intp], values: NDArray[np.float64], duplicates: str
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Volume of each frame by groups of equal value; repeated ones follow each other as they were acquired."""
    seconds = keys.seconds(ORDERS["none"])
    repeat = _rank(group * keys.slices + keys.slot, seconds, keys.instance_number)
    if repeat.max() > 0 and duplicates == "raise":
        k = int(np.flatnonzero(repeat == 1)[0])
        raise SortError(
            f"order {order.name!r} does not tell all images apart: {int((repeat > 0).sum())} have the position and "
            f"value of another, e.g. {order.name} = {values[group[k]]:g}. duplicates='keep' keeps them as volumes of "
            "equal value; or add an order, such as order='time," + order.name + "'"
        )
    pair = group * (int(repeat.max()) + 1) + repeat
    pairs, volume = np.unique(pair, return_inverse=True)
    of_group = pairs // (int(repeat.max()) + 1)
    if order.by == "diffusion":
        volume, of_group = _as_acquired(keys, order, volume, of_group, seconds)
        return volume, np.arange(len(of_group), dtype=np.float64)
    return volume.astype(np.intp), values[of_group]


def _as_acquired(
    keys: Keys, order: Order, volume: NDArray[np.intp], of_group: NDArray[np.intp], seconds: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Renumber diffusion volumes as they were acquired (``dti``), or by b-value first (``bvector``)."""
    n = len(of_group)
    start, number, b = np.full(n, np.inf), np.full(n, np.inf), np.zeros(n)
    np.minimum.at(start, volume, seconds)
    np.minimum.at(number, volume, keys.instance_number)
    b[volume] = np.nan_to_num(keys.frames.diffusion.b_value)
    by = (number, start, b) if order.name == "bvector" else (number, start)
    sequence = np.lexsort(by)
    new = np.empty(n, dtype=np.intp)
    new[sequence] = np.arange(n)
    return new[volume], of_group[sequence]


# --- several orders -----------------------------------------------------------------------------------------------


def _several_orders(keys: Keys, orders: list[Order], missing: str, duplicates: str) -> Grid:
    """Arrange by several orders: values first, then clocks by rank among images of equal values."""
    if duplicates == "keep":
        raise LabelError("duplicates='keep' needs a single order: a grid of several has one image per place")
    numbers: list[NDArray[np.intp]] = [np.zeros(0, dtype=np.intp)] * len(orders)
    values: list[NDArray[np.float64]] = [np.zeros(0)] * len(orders)
    ranked = [k for k, o in enumerate(orders) if o.by in ("rank", "instance")]
    slot = keys.slot
    for k, order in enumerate(orders):
        if k not in ranked[:1]:
            numbers[k], values[k] = keys.groups(order)
            slot = slot * len(values[k]) + numbers[k]
    if ranked:
        k = ranked[0]
        seconds = keys.seconds(orders[k])
        numbers[k] = _rank(slot, seconds, keys.instance_number)
        start = np.full(int(numbers[k].max()) + 1, np.inf)
        np.minimum.at(start, numbers[k], seconds)
        values[k] = start * (1e3 if orders[k].name == "triggertime" else 1.0)
    index = _table(keys.slot, numbers, [len(v) for v in values], keys.slices)
    index, kept = _complete(index, keys, orders, missing)
    return Grid(index, orders, [values[0][kept], *values[1:]], keys.clock)


def _table(slot: NDArray[np.intp], numbers: list[NDArray[np.intp]], sizes: list[int], slices: int) -> NDArray[np.intp]:
    """Grid of frame rows, -1 where empty; raises where two frames claim one place."""
    index = np.full((*sizes, slices), -1, dtype=np.intp)
    flat = np.ravel_multi_index((*numbers, slot), index.shape)
    places, counts = np.unique(flat, return_counts=True)
    if (counts > 1).any():
        at = np.unravel_index(places[counts > 1][0], index.shape)
        raise SortError(
            f"{int(counts.max())} images claim one place (volume {tuple(int(a) for a in at[:-1])}, slice {int(at[-1])}): "
            "these orders do not tell all images apart. Add an order, or split='KEYWORD' where an element differs"
        )
    index.ravel()[flat] = np.arange(len(slot))
    return index


def _complete(
    index: NDArray[np.intp], keys: Keys, orders: list[Order], missing: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Grid without holes, or with holes that were asked for; and the kept entries of the first dim."""
    full = np.arange(index.shape[0])
    holes = index < 0
    if not holes.any():
        return index, full
    where = ", ".join(o.name for o in orders)
    if missing == "raise":
        raise SortError(
            f"order {where!r}: {int(holes.sum())} of {index.size} places of the grid {index.shape} (volumes, slices) "
            "have no image. missing='drop' leaves incomplete volumes out, missing='fill' fills them with NaN"
        )
    if missing == "fill":
        warnings.warn(f"{int(holes.sum())} missing images are filled with NaN", ImagedataWarning, stacklevel=2)
        return index, full
    kept = np.flatnonzero(~holes.reshape(index.shape[0], -1).any(axis=1))
    if not len(kept):
        raise SortError(f"order {where!r}: missing='drop' leaves nothing, every volume is incomplete")
    warnings.warn(f"{index.shape[0] - len(kept)} incomplete volumes are left out", ImagedataWarning, stacklevel=2)
    return index[kept], kept


def _short(counts: NDArray[np.intp]) -> str:
    """Counts of images per position, as runs."""
    edges = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    runs = [f"{b - a} positions with {counts[a]}" for a, b in pairwise(edges)]
    return ", ".join(runs[:3]) + (", ..." if len(runs) > 3 else "")

"""Frames of a stack onto a grid of volumes and slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import LabelError, SortError, warn
from ...model.geometry import normal
from ...model.orders import Order
from ..framing.frames import Frames
from .auto import find_orders
from .clock import Clock, starts
from .keys import Keys, order_factor
from .naming import warn_of_mixing
from .rank import by_group, by_rank, rank
from .sequence import warn_of_sequence
from .stacks import ORIENTATION_TOLERANCE, Stack, cluster, position_tolerance


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
        ``drop`` leaves out the incomplete entries of the first order.
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
        orders = find_orders(keys, auto_order)
    elif len(orders) > 1 and len({o.dim for o in orders}) < len(orders):
        raise LabelError(f"the orders {[o.name for o in orders]} would give one dim twice")
    if any(o.by == "instance" for o in orders) and any(o.by == "rank" for o in orders):
        raise LabelError("order 'none' numbers all volumes of equal values, and can't stand beside a clock")
    for order in orders:
        keys.require(order)
    if len(orders) == 1:
        grid = _one_order(keys, orders[0], missing, duplicates or orders[0].duplicates)
    else:
        grid = _several_orders(keys, orders, missing, duplicates or "raise")
    keys.refuse_mixing(orders, grid.index)
    _warn_of_slices(keys, orders)
    warn_of_mixing(keys, orders, grid.index)
    warn_of_sequence(keys, orders, grid.index)
    return grid


def _warn_of_slices(keys: Keys, orders: list[Order]) -> None:
    """Say that the images of a volume have values of their own."""
    for order in keys.of_slices:
        if order.label.keyword and order.label not in [o.label for o in orders]:
            warn(
                f"{order.label.keyword} is another in each slice, so that no volume has one: it is no label of the "
                f"volumes, which are ordered by {','.join(o.name for o in orders)!r}. Its values are those of the "
                f"headers (imd.header_table()); split='ImagePositionPatient' makes an image of each slice"
            )


def _check_words(missing: str, duplicates: str | None) -> None:
    if missing not in ("raise", "drop", "fill"):
        raise LabelError(f"missing={missing!r}: it is 'raise', 'drop' or 'fill'")
    if duplicates not in (None, "raise", "keep"):
        raise LabelError(f"duplicates={duplicates!r}: it is 'raise' or 'keep'")


def slice_numbers(stack: Stack) -> NDArray[np.intp]:
    """Number of the slice of each frame, ascending along the normal; 0 for all where positions are unknown.

    Slices of 3-D ultrasound have positions in their volume, which lies nowhere in the patient. Others without a place
    may still be numbered: by Slice Vector (PS3.3 C.8.4.8), or by their position in a stack (C.7.6.16.2.2).
    """
    frames = stack.frames
    if not stack.place:
        numbered = _numbered_slices(frames)
        if numbered is not None:
            return numbered
        position, orientation = frames.numbers("ImagePositionVolume", 3), frames.numbers("ImageOrientationVolume", 6)
        parallel = not np.isnan(position).any() and np.ptp(orientation, axis=0).max() <= ORIENTATION_TOLERANCE
        if not parallel or np.linalg.norm(np.cross(orientation[0, :3], orientation[0, 3:])) < 0.5:
            return np.zeros(len(frames), dtype=np.intp)
        return cluster(position @ normal(orientation[0]), position_tolerance(frames))
    return cluster(frames.position @ normal(frames.orientation[0]), position_tolerance(frames))


def _numbered_slices(frames: Frames) -> NDArray[np.intp] | None:
    """Slices of frames without a place by what numbers them; frames of a stack that differ in time are none."""
    slices = frames.numbers("SliceVector")
    if np.isnan(slices).any():
        slices = frames.numbers("InStackPositionNumber")
        timed = any(np.ptp(clock.seconds) > 0 for clock in frames.clocks)
        if np.isnan(slices).any() or timed or len(set(frames.text("StackID"))) > 1:
            return None
    return cluster(slices, 0.5)


# --- one order ----------------------------------------------------------------------------------------------------


def _one_order(keys: Keys, order: Order, missing: str, duplicates: str) -> Grid:
    if order.by in ("instance", "rank"):
        volume = by_rank(keys, order, missing, duplicates)
        values = np.arange(int(volume.max()) + 1, dtype=np.float64)
    else:
        volume, values = by_group(keys, order, duplicates)
    index = _table(keys.slot, [volume], [len(values)], keys.slices)
    if order.by == "rank":
        values = starts(keys.seconds(order), index) * order_factor(order)
    index, kept = _complete(index, keys, [order], missing)
    return Grid(index, [order], [values[kept]], keys.clock)


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
        numbers[k], values[k] = _ranks(keys, orders[k], slot)
    index = _table(keys.slot, numbers, [len(v) for v in values], keys.slices)
    index, kept = _complete(index, keys, orders, missing)
    return Grid(index, orders, [values[0][kept], *values[1:]], keys.clock)


def _ranks(keys: Keys, order: Order, slot: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Number each frame among those of equal place and values, by a clock or as acquired, and the value of each."""
    if order.by == "instance":
        numbers = rank(slot, *keys.acquired)
        return numbers, np.arange(int(numbers.max()) + 1, dtype=np.float64)
    seconds = keys.seconds(order)
    numbers = rank(slot, seconds, keys.instance_number)
    start = np.full(int(numbers.max()) + 1, np.inf)
    np.minimum.at(start, numbers, seconds)
    return numbers, start * order_factor(order)


def _table(slot: NDArray[np.intp], numbers: list[NDArray[np.intp]], sizes: list[int], slices: int) -> NDArray[np.intp]:
    """Grid of frame rows, -1 where empty; raises where two frames claim one place."""
    index = np.full((*sizes, slices), -1, dtype=np.intp)
    flat = np.ravel_multi_index((*numbers, slot), index.shape)
    places, counts = np.unique(flat, return_counts=True)
    if (counts > 1).any():
        at = np.unravel_index(places[counts > 1][0], index.shape)
        raise SortError(
            f"{int(counts.max())} images claim one place (volume {tuple(map(int, at[:-1]))}, slice {int(at[-1])}): "
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
        warn(f"{int(holes.sum())} missing images are filled with NaN")
        return index, full
    kept = np.flatnonzero(~holes.reshape(index.shape[0], -1).any(axis=1))
    if not len(kept):
        raise SortError(f"order {where!r}: missing='drop' leaves nothing, every volume is incomplete")
    warn(f"{index.shape[0] - len(kept)} incomplete volumes are left out")
    return index[kept], kept

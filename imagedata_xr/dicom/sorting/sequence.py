"""The sequence of volumes where the elements that tell it contradict each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import warn
from ...model.orders import Order
from ..framing.vendor_words import volume_numbers
from .keys import NUMBERED, REPETITIONS, Keys


def warn_of_sequence(keys: Keys, orders: Sequence[Order], index: NDArray[np.intp]) -> None:
    """Say that instance numbers do not tell volumes, or another sequence of them than their times or numbers.

    The instance number comes first, since it is what people and other programs go by; what a manufacturer's own
    elements say comes before it, and needs no warning.

    Parameters
    ----------
    keys : Keys
    orders : sequence of Order
    index : ndarray, shape (volumes..., slice)
        Frame in each place; -1 for none.
    """
    if len(orders) != 1 or len(index) < 2 or (index < 0).any():
        return
    counted = orders[0].name == "time" and keys.source(orders[0]) == REPETITIONS
    if orders[0].name not in ("none", "dti", "bvector", "b") and not counted:
        return
    if not keys.numbered:
        return
    own = volume_numbers(keys.frames)
    for rows in [index] if counted or orders[0].by == "instance" else _repeats(keys, orders[0], index):
        if any(np.ptp(number[rows]) > 0 for number in own):
            continue
        # frames of one instance have its number, and what sorts them beside it is their own
        if not _follows_numbers(np.floor(keys.instance_number[rows])):
            same = "" if len(rows) == len(index) else " of equal weighting"
            warn(
                f"{len(rows)} volumes{same} follow InstanceNumber alone, but its numbers run neither volume by volume "
                "nor slice by slice: were they changed, volumes hold images of several moments. Read the original, or "
                "split='KEYWORD' where an element differs"
            )
            return
    if orders[0].name in ("bvector", "b") or any(np.ptp(number) > 0 for number in own):
        return
    said = [(name, keys.frames.numbers(name)) for name in NUMBERED]
    said += [(clock.source, clock.seconds) for clock in keys.frames.clocks if clock.absolute]
    for name, values in said:
        found = values[index]
        if not np.isnan(found).any() and _other_sequence(found):
            by = name if name in NUMBERED else "time"
            cure = "the labels of each volume stay its own" if orders[0].name == "dti" else f"order={by!r} sorts by it"
            warn(
                f"the {len(index)} volumes follow InstanceNumber, but {name} says that they were acquired in another "
                f"sequence: {cure}"
            )
            return


def _repeats(keys: Keys, order: Order, index: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Rows of the volumes that have equal values, for each value that several have."""
    group = keys.groups(order)[0][index[:, 0]]
    parts = [index[group == g] for g in np.unique(group)]
    return [rows for rows in parts if len(rows) > 1]


def _follows_numbers(number: NDArray[np.float64]) -> bool:
    """Whether the numbers of images, shape (volumes, slice), run volume by volume or slice by slice.

    Either way no two volumes, or no two slices, have numbers in the same range. Numbers that begin anew in each of
    them, or are equal, say nothing against it.
    """
    for table in (number, number.T):
        low, high = table.min(axis=1), table.max(axis=1)
        order = np.argsort(low, kind="stable")
        if bool((high[order][:-1] <= low[order][1:]).all()) or _same_in_each(table):
            return True
    return False


def _same_in_each(table: NDArray[np.float64]) -> bool:
    """Whether each row has the same numbers, in whatever sequence."""
    rows = np.sort(table, axis=1)
    return bool((rows == rows[0]).all())


def _other_sequence(values: NDArray[np.float64]) -> bool:
    """Whether values part the volumes, shape (volumes, slice), cleanly, and another one comes first."""
    low, high = values.min(axis=1), values.max(axis=1)
    order = np.argsort(low, kind="stable")
    apart = bool((high[order][:-1] < low[order][1:]).all())
    return apart and not bool((order == np.arange(len(order))).all())

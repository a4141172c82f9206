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
    """Say that volumes in the sequence of their instance numbers were acquired in another by their times or numbers.

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
    if orders[0].name not in ("none", "dti") and not counted:
        return
    if not keys.numbered or any(np.ptp(n) > 0 for n in volume_numbers(keys.frames)):
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


def _other_sequence(values: NDArray[np.float64]) -> bool:
    """Whether values part the volumes, shape (volumes, slice), cleanly, and another one comes first."""
    low, high = values.min(axis=1), values.max(axis=1)
    order = np.argsort(low, kind="stable")
    apart = bool((high[order][:-1] < low[order][1:]).all())
    return apart and not bool((order == np.arange(len(order))).all())

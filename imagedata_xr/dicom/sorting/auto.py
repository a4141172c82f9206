"""Finding out what the volumes of a stack are ordered by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...model.orders import ORDERS, Order, label_for, parse_order
from .clock import tells_apart
from .keys import NUMBERED, Keys
from .naming import named_order


def find_orders(keys: Keys, allowed: Sequence[str] | None = None) -> list[Order]:
    """Orders by which the images vary: diffusion, else all that vary independently, else the one that does.

    A phase, tube voltage or temporal position that names the volumes comes before times that mix them.

    Parameters
    ----------
    keys : Keys
    allowed : sequence of str, optional
        Names that may be found; all by default.

    Returns
    -------
    list of Order
        ``none`` (the instance number) where nothing fits.

    Raises
    ------
    LabelError
        An allowed name is no order.
    """
    may = _allowed(allowed)
    if not keys.several:
        return [ORDERS["none"]]
    found = [o for o in keys.varying() if o.name in may]
    diffusion = _diffusion(keys, may)
    if diffusion is not None:
        both = [*found, diffusion]
        return both if found and _fills(keys, both) else [diffusion]
    if found and _fills(keys, found):
        return found
    alone = next((o for o in found if _fills(keys, [o])), None)
    if alone is not None:
        return [alone]
    if allowed is None and keys.companions and keys.clock is not None:
        # label and control, or two detectors, that share a clock are no volumes of one time course
        found += [] if tells_apart(keys.moments(keys.clock), keys.slot) else keys.companions
    orders = _timed(keys, found, may) or (_numbered(keys, found) if allowed is None else []) or [ORDERS["none"]]
    named = named_order(keys, orders[0]) if len(orders) == 1 and allowed is None else None
    return orders if named is None else [named]


def _allowed(names: Sequence[str] | None) -> set[str]:
    if names is None:
        return set(ORDERS)
    words = names.split(",") if isinstance(names, str) else list(names)
    parse_order(",".join(words), lambda word: False)  # names the unknown ones
    return {word.strip().lower() for word in words}


def _diffusion(keys: Keys, may: set[str]) -> Order | None:
    best = keys.diffusion_order
    if best is None:
        return None
    names = ("dti", "bvector", "b") if best.name == "dti" else ("b", "dti", "bvector")
    return next((ORDERS[name] for name in names if name in may), None)


def _timed(keys: Keys, found: list[Order], may: set[str]) -> list[Order]:
    """Time, alone or in a grid with what else varies; time and trigger time count as one."""
    clock = keys.clock
    name = "triggertime" if clock is not None and clock.source == "TriggerTime" and "time" not in may else "time"
    if clock is None or name not in may:
        return []
    if _fills(keys, found, clock=True):
        return [ORDERS[name], *found]
    return [ORDERS[name]] if tells_apart(keys.moments(clock), keys.slot) else []


def _numbered(keys: Keys, found: list[Order]) -> list[Order]:
    """A grid of what varies with the number of the repetition, where nothing times them."""
    if not found or not _fills(keys, found, clock=True):
        return []
    for keyword in NUMBERED:
        label = label_for(keyword)
        counted = Order(keyword, label.coord, label)
        if not np.isnan(keys.values(counted)).any() and _fills(keys, [counted, *found]):
            return [counted, *found]
    if not keys.numbered:
        return []
    place = keys.slot
    for order in found:
        group, values = keys.groups(order)
        place = place * len(values) + group
    return [ORDERS["none"], *found] if tells_apart(keys.instance_number, place) else []


def _fills(keys: Keys, orders: list[Order], clock: bool = False) -> bool:
    """Whether the orders, and a clock as one more, make a full grid with one image in each place."""
    place, size = keys.slot, keys.slices
    for order in orders:
        group, values = keys.groups(order)
        place, size = place * len(values) + group, size * len(values)
    counts = np.bincount(place, minlength=size)
    return bool(counts.min() == counts.max() and (counts[0] > 0 if clock else counts[0] == 1))

"""Elements that name the volume of an image: where they do, no volume may hold images of two names.

A gated CT is measured table position by table position, each through a whole cycle that begins anywhere in it. So the
k-th image in time at one position is of another phase than the k-th at the next, and only the phase tells the volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import warn
from ...model.orders import Order, label_for
from .keys import Keys
from .rank import rank

PHASES = ("NominalPercentageOfCardiacPhase", "NominalPercentageOfRespiratoryPhase", "KVP")
"""Quantities that are the order of a series, where they name its volumes."""

_COUNTED = ("TemporalPositionIdentifier",)
_UNTIMED = ("TemporalPositionIndex", "AcquisitionNumber")
"""What counts volumes where no clock tells them apart and the instance numbers mix what it counts."""
_TEXTS = ("SeriesDescription", "ImageComments", "ConvolutionKernel")
_SAID = ("AcquisitionNumber", *_TEXTS)


def partition(keys: Keys, keyword: str) -> NDArray[np.intp] | None:
    """Group of each frame by the value of an element; None unless each position has one image of each group."""
    if not keys.frames.varies(keyword):
        return None
    if keyword in _TEXTS:
        texts = keys.frames.text(keyword)
        known = all(texts)
        names, group = np.unique(texts, return_inverse=True)
    else:
        numbers = keys.frames.numbers(keyword)
        known = not np.isnan(numbers).any()
        names, group = np.unique(numbers, return_inverse=True)
    n = len(names)
    if n < 2 or not known or n * keys.slices != len(group):
        return None
    counts = np.bincount(keys.slot * n + group, minlength=n * keys.slices)
    return group.astype(np.intp) if bool((counts == 1).all()) else None


def named_order(keys: Keys, order: Order) -> Order | None:
    """Order by an element that names the volumes, in place of one by time or number that does not keep to it.

    Parameters
    ----------
    keys : Keys
    order : Order
        ``time``, ``triggertime`` or ``none``.

    Returns
    -------
    Order or None
        None where the order given is the better one: nothing names the volumes, or they are the same and have times.
    """
    for keyword in (*PHASES, *_COUNTED, *(_UNTIMED if order.by == "instance" else ())):
        group = partition(keys, keyword)
        if group is None:
            continue
        untimed = order.by == "instance" and keyword in PHASES
        by = (keys.seconds(order), keys.instance_number) if order.by == "rank" else keys.acquired
        if untimed or _mixed(rank(keys.slot, *by), group, keys.slices):
            label = label_for(keyword)
            return Order(keyword, label.coord, label)
    return None


def _mixed(volume: NDArray[np.intp], group: NDArray[np.intp], slices: int) -> bool:
    by_volume = group[np.argsort(volume, kind="stable")].reshape(-1, slices)
    return bool((by_volume != by_volume[:, :1]).any())


def warn_of_mixing(keys: Keys, orders: Sequence[Order], index: NDArray[np.intp]) -> None:
    """Say where volumes hold images that an element names as those of several."""
    rows = index.reshape(-1, index.shape[-1])
    if min(rows.shape) < 2 or (rows < 0).any():
        return
    for keyword in (*PHASES, *_COUNTED, *_SAID):
        group = partition(keys, keyword)
        if group is not None and (group[rows] != group[rows][:, :1]).any():
            cure = f"split={keyword!r} makes images of them" if keyword in _SAID else f"order={keyword!r} keeps to it"
            names = ",".join(o.name for o in orders)
            warn(f"order {names!r} puts images of different {keyword} into one volume, which it names: {cure}")
            return

"""Volumes along one order: the k-th image at each position, or groups of equal value."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...errors import SortError, warn
from ...model.orders import Order
from .clock import tells_apart
from .keys import Keys
from .stacks import cluster


def rank(slot: NDArray[np.intp], *by: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rank of each entry within its slot, by the keys in turn."""
    order = np.lexsort((*reversed(by), slot))
    first = np.searchsorted(slot[order], slot[order], side="left")
    out = np.empty(len(slot), dtype=np.intp)
    out[order] = np.arange(len(slot)) - first
    return out


# --- by rank --------------------------------------------------------------------------------------------------------


def by_rank(keys: Keys, order: Order, missing: str, duplicates: str) -> NDArray[np.intp]:
    """Volume of each frame: the k-th at its position, by clock, or by instance number.

    Raises
    ------
    SortError
        Where the clock does not tell the images of a position apart, or images are missing and nothing says which.
    """
    seconds = keys.seconds(order)
    if order.by == "rank" and duplicates == "raise" and not tells_apart(seconds, keys.slot):
        labelling = [keys.labelling] if keys.labelling is not None else []
        others = [o.name for o in (*keys.varying(), *labelling) if o.name != order.name]
        grid = f"order={','.join([order.name, *others])!r} makes a grid of them, " if others else ""
        raise SortError(
            f"order {order.name!r}: several images at one position have the same {keys.source(order)}; {grid}"
            "duplicates='keep' numbers them by InstanceNumber, order='none' numbers all so"
        )
    by = (seconds, keys.instance_number) if order.by == "rank" else keys.acquired
    counts = np.bincount(keys.slot)
    holes = counts.min() != counts.max() or _more_positions_than_images(keys, counts)
    if holes:
        return _in_sequence(_by_identifier(keys, seconds, counts, missing), *by)
    _warn_of_ties(keys.slot, *by)
    volume = rank(keys.slot, *by)
    if order.by == "rank" and keys.clock is not None and keys.clock.absolute:
        _warn_of_shifts(keys, volume, seconds)
    return volume


def _warn_of_ties(slot: NDArray[np.intp], *by: NDArray[np.float64]) -> None:
    order = np.lexsort((*by, slot))
    ties = np.diff(slot[order]) == 0
    for key in by:
        ties &= key[order][1:] == key[order][:-1]
    if ties.any():
        warn(
            f"{int(ties.sum())} images have the position, time and InstanceNumber of another: the sequence of their "
            "volumes is that of their SOPInstanceUID, which may mean nothing"
        )


def _warn_of_shifts(keys: Keys, volume: NDArray[np.intp], seconds: NDArray[np.float64]) -> None:
    """Say so where a slice keeps another delay in some volumes: images may be missing, as many at each position."""
    n = int(volume.max()) + 1
    table = np.empty((n, keys.slices))
    table[volume, keys.slot] = seconds
    start = table.min(axis=1)
    delay = table - start[:, None]
    off = np.abs(delay - np.median(delay, axis=0)).max(axis=1)
    if n > 2 and off.max() > 0.4 * np.median(np.diff(start)):
        warn(
            f"the slices of volume {int(off.argmax())} were measured up to {off.max():.3g} s earlier or later than "
            "those of other volumes: are images missing, as many at each position? Volumes may hold images of several "
            "moments"
        )


def _more_positions_than_images(keys: Keys, counts: NDArray[np.intp]) -> bool:
    """Whether equal counts hide holes: the images name more volumes than any position has images."""
    named = keys.frames.numbers("TemporalPositionIdentifier")
    if np.isnan(named).any() or not tells_apart(named, keys.slot):
        return False
    return len(np.unique(named)) > int(counts.max())


def _by_identifier(
    keys: Keys, seconds: NDArray[np.float64], counts: NDArray[np.intp], missing: str
) -> NDArray[np.intp]:
    """Volumes of a series with holes, by an element that numbers them."""
    if missing == "raise":
        acquisitions = np.unique(keys.frames.numbers("AcquisitionNumber"))
        some = ". acquisition= selects images by AcquisitionNumber" if 1 < len(acquisitions) <= counts.max() else ""
        raise SortError(
            f"the positions have between {counts.min()} and {counts.max()} images ({_short(counts)}): images are "
            "missing, doubled, or of overlapping acquisitions. missing='drop' leaves incomplete volumes out, "
            f"missing='fill' fills them with NaN{some}"
        )
    candidates = (
        keys.frames.numbers("TemporalPositionIdentifier"),
        keys.frames.numbers("AcquisitionNumber"),
        cluster(seconds, 1e-3).astype(np.float64),
    )
    for identifier in candidates:
        values, volume = np.unique(identifier, return_inverse=True)
        if np.isnan(values).any() or len(values) < counts.max():
            continue
        if tells_apart(identifier, keys.slot) and _mostly_full(volume, keys.slices):
            return volume.astype(np.intp)
    aborted = _aborted(keys)
    if aborted is not None:
        return aborted
    raise SortError(
        f"the positions have between {counts.min()} and {counts.max()} images, and no element "
        "(TemporalPositionIdentifier, AcquisitionNumber, equal times) says to which volume each belongs. An order of "
        "your own can say it: a DICOM keyword, or a mapping {name: callable of a pydicom.Dataset}"
    )


def _aborted(keys: Keys) -> NDArray[np.intp] | None:
    """Volumes of a series whose last one was not finished; None where that is not certain.

    All images from Instance Number 1 on are there, and pass through the positions in the same sequence again and again:
    so none but the last ones are missing.
    """
    number = keys.frames.numbers("InstanceNumber")
    order = np.argsort(number, kind="stable")
    if not np.array_equal(number[order], np.arange(1, len(number) + 1)):
        return None
    passed, n = keys.slot[order], keys.slices
    if len(np.unique(passed[:n])) < n or not np.array_equal(passed, np.resize(passed[:n], len(passed))):
        return None
    out = np.empty(len(order), dtype=np.intp)
    out[order] = np.arange(len(order)) // n
    return out


def _mostly_full(volume: NDArray[np.intp], slices: int) -> bool:
    """Whether an identifier can be one of volumes: a volume has typically more than half of its slices."""
    return bool(np.median(np.bincount(volume)) > slices / 2)


def _in_sequence(volume: NDArray[np.intp], *by: NDArray[np.float64]) -> NDArray[np.intp]:
    """Renumber volumes by the least key of their images."""
    new = np.empty(int(volume.max()) + 1, dtype=np.intp)
    new[np.lexsort(tuple(reversed(_least(volume, *by))))] = np.arange(len(new))
    return new[volume]


def _least(volume: NDArray[np.intp], *by: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Least value of each key in each volume."""
    out = []
    for key in by:
        low = np.full(int(volume.max()) + 1, np.inf)
        np.minimum.at(low, volume, key)
        out.append(low)
    return out


def _short(counts: NDArray[np.intp]) -> str:
    """Counts of images per position, as runs."""
    edges = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    runs = [f"{b - a} positions with {counts[a]}" for a, b in pairwise(edges)]
    return ", ".join(runs[:3]) + (", ..." if len(runs) > 3 else "")


# --- by value -------------------------------------------------------------------------------------------------------


def by_group(keys: Keys, order: Order, duplicates: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Volume of each frame by groups of equal value, and the values; repeated ones follow as they were acquired.

    Raises
    ------
    SortError
        With ``duplicates="raise"``: several images have one position and value.
    """
    group, values = keys.groups(order)
    place = group * keys.slices + keys.slot
    repeat = rank(place, *keys.acquired)
    if repeat.max() > 0 and duplicates == "raise":
        k = int(np.flatnonzero(repeat == 1)[0])
        example = "" if order.by == "diffusion" else f", e.g. {order.name} = {values[group[k]]:g}"
        raise SortError(
            f"order {order.name!r} does not tell all images apart: {int((repeat > 0).sum())} have the position and "
            f"value of another{example}. duplicates='keep' keeps them as volumes of equal value; or add an order, "
            f"such as order='time,{order.name}'"
        )
    _warn_of_ties(place, *keys.acquired)
    several = int(repeat.max()) + 1
    pairs, volume = np.unique(group * several + repeat, return_inverse=True)
    if order.by != "diffusion":
        return volume.astype(np.intp), values[pairs // several]
    b = np.nan_to_num(keys.frames.diffusion.b_value)
    # dti: as acquired; bvector: by b-value first
    if _is_bvector(order):
        volume = _in_sequence(volume, b, *keys.acquired)
    else:
        _warn_of_unknown_sequence(volume, *keys.acquired)
        volume = _in_sequence(volume, *keys.acquired)
    return volume, np.arange(len(pairs), dtype=np.float64)


def _warn_of_unknown_sequence(volume: NDArray[np.intp], *by: NDArray[np.float64]) -> None:
    """Say that no key tells which of some volumes was acquired first."""
    least = np.stack(_least(volume, *by), axis=1)
    unknown = len(least) - len(np.unique(least, axis=0))
    if unknown:
        warn(
            f"{len(least)} volumes differ by their diffusion weighting, but neither number nor time tells in which "
            "sequence they were acquired: the labels of each are its own, their sequence means nothing"
        )


def _is_bvector(order: Order) -> bool:
    return order.name == "bvector" or order.dim == "b_vector"

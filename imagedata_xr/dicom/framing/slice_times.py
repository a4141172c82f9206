"""Slice times of Siemens mosaics that do not say them: from the protocol, which older scanners (to VB15) follow.

The protocol stands in the CSA series header (0029,xx20) as text, between two lines with ``ASCCONV``. Its slices are
measured one after the other at equal intervals of a repetition time, less the delay at its end: ascending, descending,
or interleaved, where an even number of slices begins with the second.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ..scanning.scan import Scan
from .csa import floats, series_csa

ASCENDING, DESCENDING, INTERLEAVED = 1, 2, 4
"""Values of ``sSliceArray.ucMode``."""


def measuring_order(mode: int, n: int) -> list[int] | None:
    """List the slices in the order in which they are measured; None for a mode that is not known."""
    if mode == ASCENDING:
        return list(range(n))
    if mode == DESCENDING:
        return list(range(n))[::-1]
    if mode == INTERLEAVED:
        first = 1 - n % 2
        return [*range(first, n, 2), *range(1 - first, n, 2)]
    return None


def protocol_times(one: Scan, csa: dict[str, list[str]], n: int) -> NDArray[np.float64]:
    """Compute the slice times of a mosaic from its protocol.

    Parameters
    ----------
    one
        The mosaic alone.
    csa
        Its CSA image header.
    n
        Number of tiles.

    Returns
    -------
    ndarray, shape (n,)
        ms since the first slice, in the order of the tiles; NaN where the protocol is missing, is of a 3-D sequence or
        of another number of slices, or does not tell the order.

    Raises
    ------
    SourceError
        The CSA series header is damaged.
    """
    if (one.strings("MRAcquisitionType")[0] or ("",))[0] == "3D":
        return np.full(n, np.nan)
    series = series_csa(one, 0)
    text = (series.get("MrPhoenixProtocol") or series.get("MrProtocol") or [""])[0]
    return times_of_protocol(text, csa, n, float(one.numbers("RepetitionTime")[0]))


def times_of_protocol(text: str, csa: dict[str, list[str]], n: int, repetition_time: float) -> NDArray[np.float64]:
    """Compute the slice times of a mosaic of a 2-D sequence.

    Parameters
    ----------
    text
        The protocol.
    csa
        CSA image header of the mosaic.
    n
        Number of tiles.
    repetition_time
        ms.

    Returns
    -------
    ndarray, shape (n,)
        As of `protocol_times`.
    """
    unknown = np.full(n, np.nan)
    order = measuring_order(_number(text, "sSliceArray.ucMode", 0), n)
    delay = _number(text, "lDelayTimeInTR", 0) * 1e-3  # us
    span = repetition_time - delay
    number = floats(csa, "ProtocolSliceNumber", 1)
    if order is None or number is None or _number(text, "sSliceArray.lSize", 0) != n or not span > 0:
        return unknown
    times = np.empty(n)
    times[order] = np.arange(n) * (span / n)
    if number[0] == 0:
        return times
    return times[::-1].copy() if number[0] == n - 1 else unknown  # the first tile is the protocol's last slice


def _number(text: str, name: str, default: int) -> int:
    """Give the whole number of a line ``name = value`` of a protocol, decimal or hexadecimal."""
    found = re.search(rf"^\s*{re.escape(name)}\s*=\s*(0[xX][0-9a-fA-F]+|\d+)\s*$", text, re.MULTILINE)
    return int(found[1], 0) if found else default

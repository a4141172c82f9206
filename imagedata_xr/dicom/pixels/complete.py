"""Whether a compressed frame was decoded to its end: what decoders pass over, and fill with zeros, in damaged frames.

No compression has a checksum. But a lossless JPEG says how many bits its values need, and JPEG 2000 leaves no long runs
of zeros, nor does lossy JPEG with most code tables; so what is cut off or was never written, as by an interrupted copy,
is found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError

_SLACK = 32
"""Bits after the last value that are no sign of damage: padding to a byte, and stray bytes that some writers add."""
_LOSSLESS = 0xC3
_SOF_SEQUENTIAL = (0xC0, 0xC1)
_END_OF_BLOCK = 0
_STUFFED = b"\xff\x00"
_MOST_ZEROS = 64
"""Zero bytes in a row that no code block of JPEG 2000 holds, and no block of a lossy JPEG."""


def check_complete(family: str, data: bytes, values: NDArray[Any]) -> None:
    """Refuse a frame whose values are not all from its own bytes.

    Parameters
    ----------
    family : str
        Of the codec, as in `syntaxes.Codec`.
    data : bytes
        The compressed frame.
    values : ndarray, shape (rows, cols[, samples])
        As they were decoded.

    Raises
    ------
    SourceError
        It is damaged: something is missing from it, or its values do not come from all of it.
    """
    if family == "jpeg":
        _check_jpeg(data, values)
        _check_jpeg_zeros(data)
    elif family == "jpeg2000":
        _check_jpeg2000(data)


# --- lossless JPEG --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scan:
    """One scan of a lossless JPEG: code lengths by category of difference, predictor, precision, coded bits."""

    lengths: NDArray[np.int64]
    predictor: int
    precision: int
    bits: int


def _check_jpeg(data: bytes, values: NDArray[Any]) -> None:
    """Compare the bits that the values need, by the code of the scan, with those that it has.

    A single component is looked at, without restarts and point transform, as nearly all files have it.
    """
    scan = _scan(data)
    if scan is None or values.ndim != 2:
        return
    category = _categories(values, scan)
    counts = np.bincount(category.ravel(), minlength=17)
    if (scan.lengths[counts[:17] > 0] == 0).any():
        raise SourceError("it is damaged: its values can't have been written with its own code table")
    extra = np.arange(17)
    extra[16] = 0  # ISO/IEC 10918-1 section H.1.2.2
    need = int((counts * (scan.lengths + extra)).sum())
    if not 0 <= scan.bits - need < _SLACK:
        raise SourceError(f"it is damaged: its values need {need} bits by its own code, but {scan.bits} are there")


def _categories(values: NDArray[Any], scan: _Scan) -> NDArray[np.uint8]:
    """Bits of the difference of each value from what is predicted (ISO/IEC 10918-1 sections H.1.2.1, H.1.2.2).

    Differences are modulo 2^16, as 16-bit numbers wrap around.
    """
    x = values.astype(np.uint16)
    out = np.empty_like(x)
    out[0, 0] = (int(x[0, 0]) - (1 << (scan.precision - 1))) & 0xFFFF
    np.subtract(x[0, 1:], x[0, :-1], out=out[0, 1:])
    np.subtract(x[1:, 0], x[:-1, 0], out=out[1:, 0])
    np.subtract(x[1:, 1:], _predicted(x, scan.predictor), out=out[1:, 1:])
    return _categories_of_differences()[out]


def _predicted(x: NDArray[np.uint16], predictor: int) -> NDArray[np.uint16]:
    """What is predicted of the values beyond the first row and column, from those left, above, and left above."""
    left, above, corner = x[1:, :-1], x[:-1, 1:], x[:-1, :-1]
    if predictor <= 3:
        return (left, above, corner)[predictor - 1]
    a, b, c = (part.astype(np.int32) for part in (left, above, corner))
    guess = {4: a + b - c, 5: a + ((b - c) >> 1), 6: b + ((a - c) >> 1), 7: (a + b) >> 1}[predictor]
    return guess.astype(np.uint16)


@cache
def _categories_of_differences() -> NDArray[np.uint8]:
    """Category of each difference modulo 2^16: 16 for 2^15, which has no sign."""
    difference = np.arange(0x10000)
    size = np.where(difference > 0x8000, 0x10000 - difference, difference)
    return np.asarray(np.frexp(size.astype(np.float64))[1], dtype=np.uint8)


def _scan(data: bytes) -> _Scan | None:
    """Read the markers of a lossless JPEG; None for another one, and for what is not looked at."""
    at, precision = data.find(b"\xff\xd8", 0, 64) + 2, 0
    tables: dict[int, NDArray[np.int64]] = {}
    while at >= 2 and at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == _LOSSLESS:
            precision = segment[0] if len(segment) >= 6 and segment[5] == 1 else 0
        elif marker == 0xC4:
            tables |= _tables(segment)
        elif marker == 0xDD and any(segment):
            return None
        elif marker == 0xDA:
            return _coded(data, at, segment, precision, tables)
    return None


def _tables(segment: bytes) -> dict[int, NDArray[np.int64]]:
    """Length of the code of each category, by the number of the table (section B.2.4.2)."""
    out: dict[int, NDArray[np.int64]] = {}
    at = 0
    while at + 17 <= len(segment):
        counts, values = segment[at + 1 : at + 17], segment[at + 17 : at + 17 + sum(segment[at + 1 : at + 17])]
        lengths = np.zeros(17, dtype=np.int64)
        for value, bits in zip(values, np.repeat(np.arange(1, 17), list(counts)), strict=False):
            if value <= 16:
                lengths[value] = bits
        out[segment[at]] = lengths
        at += 17 + len(values)
    return out


def _coded(
    data: bytes, start: int, segment: bytes, precision: int, tables: dict[int, NDArray[np.int64]]
) -> _Scan | None:
    """Describe the only scan, from its header (section B.2.3) and the bytes up to the next marker."""
    if not precision or len(segment) < 6 or segment[0] != 1 or not 1 <= segment[3] <= 7 or segment[5] & 15:
        return None
    lengths = tables.get(segment[2] >> 4)
    end = re.compile(rb"\xff[^\x00\xff]").search(data, start)
    if lengths is None or end is None:
        return None
    code = data[start : end.start()].rstrip(b"\xff")  # fill bytes before a marker
    if data[end.start() + 1] != 0xD9:
        raise SourceError(f"it is damaged: a marker FF{data[end.start() + 1]:02X} stands within its values")
    return _Scan(lengths, segment[3], precision, 8 * (len(code) - code.count(_STUFFED)))


# --- lossy JPEG -----------------------------------------------------------------------------------------------------


def _check_jpeg_zeros(data: bytes) -> None:
    """Find zeros in a row that were never written.

    A code of zeros is the shortest one of its table. Where that is not the end of a block, so many of them would be
    blocks whose coefficients are all -1. Baseline and extended sequential JPEG alone: in others, zeros may mean much.
    """
    found = data.find(bytes(_MOST_ZEROS))
    if found < 0:
        return
    at, sequential = data.find(b"\xff\xd8", 0, 64) + 2, False
    first: dict[int, int] = {}
    while at >= 2 and at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker in _SOF_SEQUENTIAL:
            sequential = True
        elif marker == 0xC4:
            first |= _shortest(segment)
        elif marker == 0xDA and segment:
            selectors = segment[2 : 1 + 2 * segment[0] : 2]
            found = data.find(bytes(_MOST_ZEROS), at, max(data.rfind(b"\xff\xd9"), at))
            if (
                sequential
                and found >= 0
                and any(first.get(0x10 | s & 15, _END_OF_BLOCK) != _END_OF_BLOCK for s in selectors)
            ):
                raise SourceError(
                    f"it is damaged: {_MOST_ZEROS} bytes or more from byte {found} of {len(data)} on are zero"
                )
            return


def _shortest(segment: bytes) -> dict[int, int]:
    """Symbol of the shortest code, which is all zeros, by class and number of the table (section B.2.4.2)."""
    out: dict[int, int] = {}
    at = 0
    while at + 17 < len(segment):
        out[segment[at]] = segment[at + 17]
        at += 17 + sum(segment[at + 1 : at + 17])
    return out


# --- JPEG 2000 ------------------------------------------------------------------------------------------------------


def _check_jpeg2000(data: bytes) -> None:
    """Find what was never written, as zeros, and parts of tiles that do not follow each other to the end."""
    _check_zeros(data)
    at = data.find(b"\xff\x90", max(data.find(b"\xff\x52"), 0))
    while 0 <= at < len(data) and data[at : at + 2] == b"\xff\x90":  # ISO/IEC 15444-1 section A.4.2
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        if length == 0:  # of the last one, up to the end of the image
            return
        at += length
    if at >= 0 and data[at : at + 2] != b"\xff\xd9":
        raise SourceError(f"it is damaged: its tiles end at byte {at} of {len(data)}, where the image does not end")


def _check_zeros(data: bytes) -> None:
    """Find zeros in a row, more than the packets of a tile that may be empty (section B.10.3)."""
    start = data.find(b"\xff\x52")
    if start < 0 or start + 14 > len(data):
        return
    layers, levels = int.from_bytes(data[start + 6 : start + 8], "big"), data[start + 9]
    if data[start + 4] & 1 or data[start + 12] & 1:
        return  # precincts of their own make more packets than can be told here, and bits without a code may be zeros
    samples = int.from_bytes(data[data.find(b"\xff\x51") + 38 :][:2], "big")
    most = _MOST_ZEROS + layers * (levels + 1) * max(samples, 1)
    tile = data.find(b"\xff\x93", start)
    found = data.find(bytes(most), max(tile, start))
    if found >= 0:
        raise SourceError(f"it is damaged: {most} bytes or more from byte {found} of {len(data)} on are zero")

"""Tables in a header that values are looked up in: the Modality LUT, the VOI LUT, and palettes of colours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import dictionary_description

from ...errors import FormatError

_LARGEST = 65536
_DEPTHS = range(8, 17)
"""Bits of an entry (PS3.3 C.11.1.1.1, C.11.2.1.1). A Modality LUT should have 8 or 16, and early ones have others."""
_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True)
class ModalityLut:
    """Modality LUT (PS3.3 C.11.1.1): the values of stored integers from `first` on; those outside get the nearest."""

    first: int
    values: NDArray[np.float64]

    def apply(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Values of stored integers."""
        return self.values[_place(stored, self.first, len(self.values))]


@dataclass(frozen=True)
class Palette:
    """Colours of stored integers from `first` on, shape (n, 3), uint8; those outside get the nearest."""

    first: int
    colours: NDArray[np.uint8]

    def apply(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        """Colours of stored integers, in a last axis of size 3."""
        return self.colours[_place(stored, self.first, len(self.colours))]


def _place(stored: NDArray[Any], first: int, count: int) -> NDArray[np.int64]:
    return np.clip(stored.astype(np.int64) - first, 0, count - 1)


def modality_lut(ds: pydicom.Dataset) -> ModalityLut:
    """Modality LUT of an instance.

    Raises
    ------
    FormatError
        It is incomplete.
    """
    first, _, values = _lookup(ds, "ModalityLUTSequence", _DEPTHS, "; mask_and_scale=False gives the stored values")
    return ModalityLut(first, values)


def _lookup(
    ds: pydicom.Dataset, keyword: str, depths: Collection[int], advice: str = ""
) -> tuple[int, int, NDArray[np.float64]]:
    """First value that is mapped, bits of an entry, and entries of the first item of a sequence of tables."""
    name = f"{dictionary_description(keyword).removesuffix(' Sequence')} of some images"
    try:
        item = ds[keyword][0]
        count, first, bits = _descriptor(item.LUTDescriptor, ds)
        values = _entries(item.LUTData, count, _big_endian(ds)).astype(np.float64)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise FormatError(f"the {name} has no descriptor or no data{advice}") from None
    if len(values) < count or bits not in depths:
        raise FormatError(f"the {name} announces {count} values of {bits} bits and has {len(values)}{advice}")
    return first, bits, values[:count]


@dataclass(frozen=True)
class VoiLut:
    """VOI LUT (PS3.3 C.11.2.1.1): brightness, from 0 to 1, of whole values from `first` on; as `ModalityLut`."""

    first: int
    values: NDArray[np.float64]

    def of(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Brightness of values; NaN stays so."""
        known = ~np.isnan(values)
        place = _place(np.rint(np.where(known, values, 0)), self.first, len(self.values))
        return np.where(known, self.values[place], np.nan)


def voi_lut(ds: pydicom.Dataset) -> VoiLut:
    """Return the first VOI LUT of an instance.

    Raises
    ------
    FormatError
        It is incomplete.
    """
    first, bits, values = _lookup(ds, "VOILUTSequence", _DEPTHS)
    if float(ds.get("RescaleIntercept") or 0) < 0 and first >= _LARGEST // 2:
        first -= _LARGEST  # values after the rescale have a sign
    return VoiLut(first, np.clip(values / (2**bits - 1), 0, 1))


def palette(ds: pydicom.Dataset) -> Palette:
    """Palette of an instance (PS3.3 sections C.7.6.3.1.5 and .6), of 16 bits the upper eight.

    Raises
    ------
    FormatError
        It is missing or incomplete.
    """
    tables, firsts = [], set()
    for colour in _COLOURS:
        try:
            count, first, bits = _descriptor(ds[f"{colour}PaletteColorLookupTableDescriptor"].value, ds)
            tables.append(_table(ds, colour, count, bits))
            firsts.add(first)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise FormatError(
                f"images of PALETTE COLOR have no {colour} Palette Color Lookup Table that can be read"
            ) from None
    if len(firsts) > 1 or len({len(table) for table in tables}) > 1:
        raise FormatError("the red, green and blue tables of the palette of some images differ in size or beginning")
    colours = np.stack(tables, axis=-1)
    if colours.dtype.itemsize > 1 and colours.max(initial=0) > 255:  # else eight bits stand in words of sixteen
        colours = colours >> 8
    return Palette(firsts.pop(), colours.astype(np.uint8))


def _table(ds: pydicom.Dataset, colour: str, count: int, bits: int) -> NDArray[Any]:
    keyword = f"{colour}PaletteColorLookupTableData"
    if keyword in ds and ds[keyword].value:
        values = _entries(ds[keyword].value, count, _big_endian(ds))
    else:
        data = ds[f"Segmented{keyword}"].value
        values = _expanded(np.frombuffer(data, _word(bits, _big_endian(ds))), count).astype("u2" if bits > 8 else "u1")
    if len(values) < count or bits not in (8, 16):
        raise FormatError(
            f"the {colour} Palette Color Lookup Table announces {count} values of {bits} bits and has {len(values)}"
        )
    return values[:count]


def _descriptor(value: Any, ds: pydicom.Dataset) -> tuple[int, int, int]:
    """Count, first value and bits of a table; a count of 0 stands for 2^16 (PS3.3 C.11.1.1.1)."""
    count, first, bits = (int(v) for v in value)
    if ds.get("PixelRepresentation", 0) == 1:
        first -= _LARGEST if first >= _LARGEST // 2 else 0
    else:
        first += _LARGEST if first < 0 else 0
    return count % _LARGEST or _LARGEST, first, bits


def _big_endian(ds: pydicom.Dataset) -> bool:
    return ds.original_encoding[1] is False


def _word(bits: int, big: bool) -> str:
    return "u1" if bits <= 8 else ">u2" if big else "<u2"


def _entries(data: Any, count: int, big: bool) -> NDArray[Any]:
    """Entries of a table: bytes where there are too few for words of 16 bits."""
    if isinstance(data, bytes):
        words = len(data) >= 2 * count
        if not words and big:  # pairs of bytes, written as words
            return np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").view("u1")
        data = np.frombuffer(data[: len(data) // 2 * 2] if words else data, _word(16 if words else 8, big))
    return np.atleast_1d(np.asarray(data)).astype(np.uint16 if np.asarray(data).dtype.itemsize > 1 else np.uint8)


def _expanded(words: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Values of a segmented table (PS3.3 section C.7.9.2): runs of values, straight lines, and repetitions."""
    data = [int(word) for word in words]
    out: list[int] = []
    starts: list[int] = []  # where segments begin, which repetitions refer to
    at = 0
    while at + 1 < len(data) and len(out) < count:
        starts.append(at)
        if data[at] != 2:
            at = _segment(data, at, out)
            continue
        bytewise = words.dtype.itemsize == 1
        size = 4 if bytewise else 2
        place = sum(part << (8 if bytewise else 16) * k for k, part in enumerate(data[at + 2 : at + 2 + size]))
        first = place // words.dtype.itemsize if place // words.dtype.itemsize in starts else place
        if first not in starts:
            raise ValueError("a segment repeats what is none")
        for _ in range(data[at + 1]):
            first = _segment(data, first, out)
        at += 2 + size
    return np.array(out, dtype=np.int64)


def _segment(data: list[int], at: int, out: list[int]) -> int:
    """Append the values of a discrete or linear segment; return where the next begins."""
    kind, length = data[at], data[at + 1]
    if kind == 0:
        out.extend(data[at + 2 : at + 2 + length])
        return at + 2 + length
    if kind != 1 or not out:
        raise ValueError(f"segment of kind {kind}")
    out.extend(int(v) for v in np.around(np.linspace(out[-1], data[at + 2], length + 1)[1:]))
    return at + 3

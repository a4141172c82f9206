"""Real-world value mappings: what stored values mean, in which units (PS3.3 C.7.6.16.2.11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...errors import FormatError, LabelError
from ..writing.fields import numbers

SEQUENCE = "RealWorldValueMappingSequence"


@dataclass(frozen=True)
class Piece:
    """One item of a mapping: a range of stored values, mapped by a line or by a table.

    Attributes
    ----------
    first, last : float
        Stored values that are mapped, both included.
    slope, intercept : float
        ``value = slope * stored + intercept``; NaN where a table is used.
    table : ndarray, optional
        The value of each stored integer from `first` to `last`.
    """

    first: float
    last: float
    slope: float = np.nan
    intercept: float = np.nan
    table: NDArray[np.float64] | None = None

    def apply(self, stored: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Map the stored values of this range into `out`."""
        mine = (stored >= self.first) & (stored <= self.last)
        if self.table is None:
            out[mine] = self.slope * stored[mine] + self.intercept
        else:
            out[mine] = self.table[np.rint(stored[mine] - self.first).astype(np.intp)]

    @property
    def step(self) -> float:
        """Smallest distance of two values."""
        if self.table is None:
            return abs(self.slope)
        steps = np.abs(np.diff(np.unique(self.table)))
        return float(steps.min(initial=np.inf)) if len(steps) else 1.0

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value."""
        if self.table is not None:
            return float(self.table.min()), float(self.table.max())
        a, b = (self.slope * x + self.intercept for x in (self.first, self.last))
        return min(a, b), max(a, b)


@dataclass(frozen=True)
class ValueMap:
    """What the stored values of one image mean.

    Attributes
    ----------
    label, explanation, units : str
        LUT Label, LUT Explanation and the code of Measurement Units (UCUM; another scheme stands before it).
    pieces : tuple of Piece
        Their ranges do not overlap.
    """

    label: str
    units: str
    explanation: str = ""
    pieces: tuple[Piece, ...] = field(default=(), compare=False)

    def apply(self, stored: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of stored ones; NaN outside of the mapped ranges, where stored values have no real value attached."""
        out = np.full(stored.shape, np.nan)
        for piece in self.pieces:
            piece.apply(stored, out)
        return out

    def __str__(self) -> str:
        why = f" ({self.explanation})" if self.explanation else ""
        return f"label={self.label!r}, units={self.units!r}{why}"


def maps_of(header: pydicom.Dataset) -> list[ValueMap]:
    """Mappings that an image has; items of one label and units whose ranges do not overlap are one mapping.

    Parameters
    ----------
    header : pydicom.Dataset
        Of one image; of a frame with its functional groups lifted.

    Raises
    ------
    FormatError
        An item lacks its range, or line and table.
    """
    found: dict[ValueMap, list[list[Piece]]] = {}
    for item in header.get(SEQUENCE) or []:
        key = ValueMap(_text(item, "LUTLabel"), _units(item), _text(item, "LUTExplanation"))
        piece = _piece(item, header)
        groups = found.setdefault(key, [])
        free = next((g for g in groups if all(p.last < piece.first or piece.last < p.first for p in g)), None)
        if free is None:
            groups.append([piece])
        else:
            free.append(piece)
    return [ValueMap(m.label, m.units, m.explanation, tuple(g)) for m, groups in found.items() for g in groups]


def choose(maps: Sequence[Sequence[ValueMap]], label: str | None, units: str | None) -> list[ValueMap]:
    """Choose one mapping of each image: the same for all.

    Parameters
    ----------
    maps : sequence of sequence of ValueMap
        Those of each image.
    label, units : str, optional
        Of the one wanted.

    Raises
    ------
    LabelError
        None or several match, or some images lack it; with what there is.
    """
    kinds = {(m.label, m.units): m for some in maps for m in some}
    listed = "\n".join(f"  {m}" for m in kinds.values())
    wanted = [k for k in kinds if (label is None or k[0] == label) and (units is None or k[1] == units)]
    if not kinds:
        raise LabelError(
            "the images have no RealWorldValueMappingSequence, so that what their values mean in the real world is not "
            "said; kind='suv' computes standardized uptake values of PET, kind='precise' the precise values of Philips"
        )
    if len(wanted) != 1:
        what = "several mappings fit" if wanted else f"no mapping has label={label!r}, units={units!r}"
        raise LabelError(f"{what}: choose one by label= or units=. There are:\n{listed}")
    chosen: list[ValueMap] = []
    for some in maps:
        mine = [m for m in some if (m.label, m.units) == wanted[0]]
        if len(mine) > 1:
            raise LabelError(f"several mappings of overlapping ranges have label={wanted[0][0]!r}:\n{listed}")
        chosen += mine
    if len(chosen) < len(maps):
        raise LabelError(
            f"{len(maps) - len(chosen)} of {len(maps)} images do not have the mapping label={wanted[0][0]!r}, "
            f"units={wanted[0][1]!r}: select those that have it first. There are:\n{listed}"
        )
    return chosen


def _text(item: pydicom.Dataset, keyword: str) -> str:
    return str(item.get(keyword) or "").strip()


def _units(item: pydicom.Dataset) -> str:
    codes = item.get("MeasurementUnitsCodeSequence") or []
    if not codes:
        return ""
    code = codes[0]
    value = next((t for k in ("CodeValue", "LongCodeValue", "URNCodeValue") if (t := _text(code, k))), "")
    scheme = _text(code, "CodingSchemeDesignator")
    return value if scheme in ("", "UCUM") else f"{scheme}:{value}"


def _piece(item: pydicom.Dataset, header: pydicom.Dataset) -> Piece:
    first = _end(item, header, "DoubleFloatRealWorldValueFirstValueMapped", "RealWorldValueFirstValueMapped")
    last = _end(item, header, "DoubleFloatRealWorldValueLastValueMapped", "RealWorldValueLastValueMapped")
    if first > last:
        raise FormatError(
            f"a real-world value mapping maps stored values from {first:g} to {last:g}, which is no range"
        )
    slope, intercept = numbers(item, "RealWorldValueSlope", 1), numbers(item, "RealWorldValueIntercept", 1)
    if slope is not None and intercept is not None:
        return Piece(first, last, float(slope[0]), float(intercept[0]))
    table = np.atleast_1d(np.asarray(item.get("RealWorldValueLUTData", ()), dtype=np.float64))
    if len(table) != last - first + 1:
        raise FormatError(
            f"a real-world value mapping has no slope and intercept, and its table has {len(table)} values for the "
            f"stored values from {first:g} to {last:g}"
        )
    return Piece(first, last, table=table)


def _end(item: pydicom.Dataset, header: pydicom.Dataset, double: str, single: str) -> float:
    value = numbers(item, double, 1)
    if value is not None:
        return float(value[0])
    value = numbers(item, single, 1)
    if value is None:
        raise FormatError(f"a real-world value mapping has no {single}: which stored values it maps is not said")
    bits = int(header.get("BitsAllocated") or 16)
    signed = header.get("PixelRepresentation", 0) == 1
    # the value of an image with signed pixels may stand as an unsigned one
    return float(value[0] - 2**bits if signed and value[0] >= 2 ** (bits - 1) else value[0])

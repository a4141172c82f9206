"""Values as stored integers: exactly where they can be, else in 16 bits with the smallest step that spans them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...errors import FormatError
from .fields import decimal, numbers

_CODES = 65535  # steps between the lowest and the highest 16-bit code
_NO_RANGE = 1e-290
"""Values that differ by less are stored as one: no decimal string says the steps between them."""
_HALVINGS = 8  # whole multiples of 1/256 are stored exactly where they fit: means of 2, 4, ... images are such


@dataclass(frozen=True)
class Coding:
    """How stored integers become values: ``value = stored * slope + intercept`` (PS3.3 C.11.1.1.2).

    Attributes
    ----------
    slope, intercept : str
        As they are written.
    bits_allocated, bits_stored : int
    signed : bool
    padding : int, optional
        Stored value that stands for NaN.
    """

    slope: str = "1"
    intercept: str = "0"
    bits_allocated: int = 16
    bits_stored: int = 16
    signed: bool = False
    padding: int | None = None

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest stored integer."""
        if self.signed:
            return -(2 ** (self.bits_stored - 1)), 2 ** (self.bits_stored - 1) - 1
        return 0, 2**self.bits_stored - 1

    @property
    def identity(self) -> bool:
        """Whether stored integers are the values."""
        return float(self.slope) == 1 and float(self.intercept) == 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Little endian type of the stored integers."""
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


@dataclass(frozen=True)
class Coded:
    """Stored integers of one image.

    Attributes
    ----------
    stored : ndarray, shape (rows, cols), int
    coding : Coding
    exact : bool
        Whether the values come back as they were.
    """

    stored: NDArray[Any]
    coding: Coding
    exact: bool


def has_floats(header: pydicom.Dataset) -> bool:
    """Whether the pixel data of a source are floats: they alone have neither of these elements (PS3.3 C.7.6.24)."""
    whole = "BitsStored" in header or "PixelRepresentation" in header
    return not whole and header.get("BitsAllocated") in (32, 64)


def coding_of(header: pydicom.Dataset) -> Coding | None:
    """Coding of a source image; None where values do not become stored integers by a line (a LUT, floats, 1 bit)."""
    if "ModalityLUTSequence" in header or header.get("BitsAllocated") not in (8, 16, 32) or has_floats(header):
        return None
    if (dose := numbers(header, "DoseGridScaling", 1)) is not None and "RescaleSlope" not in header:
        # what RT Dose has in place of a rescale (PS3.3 C.8.8.3.4.3)
        return None if dose[0] == 0 else _stored_as(header, str(header.DoseGridScaling).strip(), "0")
    slope, intercept = numbers(header, "RescaleSlope", 1), numbers(header, "RescaleIntercept", 1)
    if (slope is None) != (intercept is None) or (slope is not None and slope[0] == 0):
        return None
    return _stored_as(
        header,
        "1" if slope is None else str(header.RescaleSlope).strip(),
        "0" if intercept is None else str(header.RescaleIntercept).strip(),
    )


def _stored_as(header: pydicom.Dataset, slope: str, intercept: str) -> Coding:
    padding = numbers(header, "PixelPaddingValue", 1)
    limit = header.get("PixelPaddingRangeLimit")
    several = padding is not None and limit is not None and limit != header.PixelPaddingValue
    return Coding(
        slope,
        intercept,
        int(header.BitsAllocated),
        int(header.get("BitsStored") or header.BitsAllocated),
        bool(header.get("PixelRepresentation", 0)),
        None if padding is None or several else int(padding[0]),
    )


def invert(values: NDArray[Any], coding: Coding) -> NDArray[np.int64] | None:
    """Stored integers that give these values by a coding, or None where there are none.

    Parameters
    ----------
    values : ndarray
        NaN becomes the coding's padding.
    coding : Coding

    Returns
    -------
    ndarray of int64 or None
        None also where the type of the values can't tell neighbouring stored integers apart.
    """
    slope, intercept = float(coding.slope), float(coding.intercept)
    numbers_ = np.asarray(values, dtype=np.float64)
    missing = np.isnan(numbers_)
    if np.isinf(numbers_).any() or (missing.any() and coding.padding is None):
        return None
    numbers_ = np.where(missing, 0 if coding.padding is None else coding.padding * slope + intercept, numbers_)
    stored = np.rint((numbers_ - intercept) / slope)
    if np.abs(stored).max(initial=0) > 2**53:
        return None
    # floats are rounded once by the reader, so that they lie within half a unit of their last place
    eps = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    slack = eps * np.maximum(np.abs(numbers_), 1e-300) + 4 * np.finfo(np.float64).eps * (
        abs(intercept) + np.abs(numbers_)
    )
    if slack.max(initial=0) > abs(slope) / 4 or (np.abs(stored * slope + intercept - numbers_) > slack).any():
        return None
    out: NDArray[np.int64] = stored.astype(np.int64)
    if coding.padding is not None and missing.any() and (out[~missing] == coding.padding).any():
        return None
    return out


def encode(values: NDArray[Any], own: Coding | None, *, pet: bool = False, bytes_allowed: bool = False) -> Coded:
    """Stored integers for one image of a derived series.

    Parameters
    ----------
    values : ndarray, shape (rows, cols)
        Real or boolean; NaN gets a code of its own, named as padding.
    own : Coding, optional
        Of the source image: used where it gives these values exactly.
    pet : bool
        Intercept 0 and 16 bits (PS3.3 C.8.9.4).
    bytes_allowed : bool
        Whether 8 bits may be stored (MR, CT and PET demand 16).

    Raises
    ------
    FormatError
        For complex or infinite values.
    """
    values = _checked(values)
    if own is not None and (coded := _by_own(values, own, pet)) is not None:
        return coded
    if bytes_allowed and values.dtype == np.uint8:
        return Coded(values, Coding(bits_allocated=8, bits_stored=8), True)
    return _whole(values, pet) or _scaled(values, pet)


def encode_alike(values: NDArray[Any], *, pet: bool = False) -> Coded:
    """Stored integers by a coding of which only slope and intercept are the image's own: for frames of one instance.

    One code stands for NaN in all of them, whether it is used or not. Those of PET are signed.
    """
    values = _checked(values)
    if not pet and (coded := _whole(values, False, reserved=True)) is not None:
        return coded
    return _scaled(values, pet, reserved=True)


def as_bytes(coded: Coded) -> Coded:
    """The same values in 8 bits, where they fit; else as they are."""
    stored, coding = coded.stored, coded.coding
    if not coding.identity or coding.padding is not None or stored.min(initial=0) < 0 or stored.max(initial=0) > 255:
        return coded
    return Coded(stored.astype(np.uint8), Coding(bits_allocated=8, bits_stored=8), coded.exact)


def _checked(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind not in "iuf":
        advice = (
            "write abs(image) and xr.ufuncs.angle(image) as two series" if values.dtype.kind == "c" else "astype first"
        )
        raise FormatError(f"values of type {values.dtype} are none of a DICOM image: {advice}")
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise FormatError(
            "the image holds infinite values, which DICOM can't store (a division by zero?): "
            "image.where(np.isfinite(image)) makes them NaN, which can be stored"
        )
    return values


def _by_own(values: NDArray[Any], own: Coding, pet: bool) -> Coded | None:
    if pet and float(own.intercept) != 0:
        return None
    stored = invert(values, own)
    if stored is None:
        return None
    low, high = (int(stored.min()), int(stored.max())) if stored.size else (0, 0)
    padding = own.padding if np.isnan(values).any() else None
    wide = replace(own, bits_allocated=16, padding=padding)
    options = [replace(wide, bits_stored=16, signed=own.signed), replace(wide, bits_stored=16, signed=not own.signed)]
    if own.bits_stored <= 16 and not pet:
        options.insert(0, wide)
    for coding in options:
        if coding.limits[0] <= low and high <= coding.limits[1]:
            return Coded(stored.astype(coding.dtype), coding, True)
    return None


def _whole(values: NDArray[Any], pet: bool, reserved: bool = False) -> Coded | None:
    """Whole numbers, or whole multiples of a power of 1/2, that fit 16 bits; `reserved` keeps code 0 for NaN."""
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    known = values[~missing]
    step = 1.0
    if known.dtype.kind == "f":
        known = known.astype(np.float64)
        if np.abs(known).max(initial=0) > 2**40 or (known * 2**_HALVINGS % 1).any():
            return None
        step = next(2.0**-k for k in range(_HALVINGS + 1) if not (known * 2**k % 1).any())
        known = np.rint(known / step)
    low, high = (int(known.min()), int(known.max())) if known.size else (0, 0)
    offset = _offset(low, high, bool(missing.any()), 0 if pet else None)
    if reserved:
        offset = (False, low - 1) if high - low < _CODES else None
    if offset is None:
        return None
    signed, shift = offset
    padding = None
    if reserved:
        padding = 0
    elif missing.any():
        top, bottom = (32767, -32768) if signed else (_CODES, 0)
        padding = bottom if low - shift > bottom else top
    stored = np.full(values.shape, 0 if padding is None else padding, dtype=np.int64)
    stored[~missing] = known.astype(np.int64) - shift
    coding = Coding(decimal(step), decimal(shift * step), signed=signed, padding=padding)
    return Coded(stored.astype(coding.dtype), coding, True)


def _offset(low: int, high: int, missing: bool, only: int | None) -> tuple[bool, int] | None:
    """Whether to store signed, and what to subtract, so that whole numbers (and a code for NaN) fit 16 bits."""
    room = _CODES - int(missing)
    if high - low > room:
        return None
    if low >= 0 and high <= room:
        return False, 0
    if low >= -32768 + int(missing) and high <= 32767:
        return True, 0
    return (False, low - int(missing)) if only is None else None


def _scaled(values: NDArray[Any], pet: bool, reserved: bool = False) -> Coded:
    """16-bit codes from the lowest to the highest value: no value is off by more than half a step."""
    numbers_ = np.asarray(values, dtype=np.float64)
    missing = np.isnan(numbers_)
    known = numbers_[~missing]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    gap = int(reserved or missing.any())
    coding = _pet_steps(low, high, gap, signed=low < 0 or reserved) if pet else _steps(low, high, gap)
    if reserved and coding.padding == 2:  # one value only: code 1, and 0 for NaN
        coding = Coding(decimal(abs(low)), decimal(low - abs(low)), padding=0)
    codes = np.rint((known - float(coding.intercept)) / float(coding.slope))
    stored = np.full(values.shape, coding.padding or 0, dtype=np.int64)
    stored[~missing] = codes.astype(np.int64)
    return Coded(stored.astype(coding.dtype), coding, False)


def _pet_steps(low: float, high: float, missing: int, signed: bool) -> Coding:
    """Steps from zero, since PET has no intercept (PS3.3 C.8.9.4)."""
    span, steps = (max(-low, high), 32767) if signed else (high, _CODES - missing)
    padding = (-32768 if signed else _CODES) if missing else None
    return Coding(_slope(span, steps), "0", signed=signed, padding=padding)


def _steps(low: float, high: float, missing: int) -> Coding:
    """Steps from the lowest value; with NaN, code 0 is the padding and code 1 the lowest value."""
    if high - low < _NO_RANGE:
        high = low
    first = low - missing * (high / (_CODES - missing) - low / (_CODES - missing))
    if not np.isfinite(high - first):
        raise FormatError(f"values from {low:g} to {high:g} span more than a 64-bit float: they can't be scaled")
    intercept = _at_most(low if high == low else first)
    if high == low:
        # one value only: code 0 where the intercept is it, else code 1 with a slope that makes up for the digits
        rest = low - float(intercept)
        return Coding(decimal(rest) if rest > _NO_RANGE else "1", intercept, padding=2 if missing else None)
    return Coding(_slope(high - float(intercept), _CODES), intercept, padding=0 if missing else None)


def _slope(span: float, steps: int) -> str:
    """Step as a decimal string, not below `span` / `steps`."""
    return decimal(span / steps * (1 + 2e-10)) if span / steps > 1e-300 else "1"


def _at_most(value: float) -> str:
    """Highest decimal string that is not above a value, nearly."""
    text = decimal(value)
    for digits in range(15, 7, -1):  # a decimal string has 9 to 15 of them
        if float(text) <= value:
            break
        text = decimal(value - abs(value) * 10.0**-digits)
    return text


def may_lose(values: NDArray[Any], coded: Coded) -> bool:
    """Whether integers were rounded, which their owner may not expect (labels, counts)."""
    return not coded.exact and values.dtype.kind in "iu"

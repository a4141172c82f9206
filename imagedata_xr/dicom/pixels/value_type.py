"""Which type holds all values of an image exactly enough to find the stored integers again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...errors import FormatError


@dataclass(frozen=True)
class ValueRange:
    """What values an image may have, from how it is stored.

    Attributes
    ----------
    low, high : float
    step : float
        Smallest distance of two values.
    whole : bool
        Whether all values are whole numbers.
    nan : bool
        Whether some become NaN.
    floating : int
        Bits of stored floats; 0 for integers.
    """

    low: float
    high: float
    step: float
    whole: bool
    nan: bool = False
    floating: int = 0

    @property
    def largest(self) -> float:
        """Largest magnitude, also of a difference of two values."""
        return max(abs(self.low), abs(self.high), self.high - self.low)


def natural_type(values: ValueRange) -> np.dtype[Any]:
    """float32 where it holds every step exactly enough to be inverted, else float64."""
    if values.floating:
        return np.dtype(np.float64 if values.floating > 32 else np.float32)
    if values.whole and values.largest <= 2**24:
        return np.dtype(np.float32)
    # float32 rounds to one part in 2^24: 2^22 steps keep the error below a quarter of a step
    fine = values.largest <= 2**22 * values.step
    inside = values.largest < 1e37 and values.step > 1e-30
    return np.dtype(np.float32 if fine and inside else np.float64)


def value_type(values: ValueRange, stored: np.dtype[Any] | None, asked: DTypeLike | None) -> np.dtype[Any]:
    """Type of an image: the one asked for if it holds all values, else the natural one.

    Parameters
    ----------
    values : ValueRange
    stored : dtype or None
        The natural type of stored values; None for rescaled ones.
    asked : dtype, optional

    Raises
    ------
    FormatError
        The type asked for does not hold every value exactly.
    """
    natural = stored if stored is not None else natural_type(values)
    if asked is None:
        return natural
    want: np.dtype[Any] = np.dtype(asked)
    if want.kind == "f" and natural.kind == "f" and want.itemsize >= natural.itemsize:
        return want
    if values.whole and want.kind == "f" and values.largest <= 2.0 ** (np.finfo(want).nmant + 1):
        return want
    if values.whole and not values.nan and want.kind in "iu":
        info = np.iinfo(want)
        if info.min <= values.low and values.high <= info.max:
            return want
    raise FormatError(
        f"dtype={want} does not hold every value exactly: {_why(values)}; {natural} does, and astype({str(want)!r}) "
        "converts what fits"
    )


def _why(values: ValueRange) -> str:
    if values.floating:
        return "the stored values are floats"
    if not values.whole:
        return "the values have fractions"
    masked = " and NaN for the padding" if values.nan else ""
    return f"the values may reach from {values.low:g} to {values.high:g}{masked}"

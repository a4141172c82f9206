"""The number type in which a file holds an image, found while its volumes pass by."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import FormatError

_INTEGERS = tuple(np.dtype(t) for t in (np.uint8, np.int16, np.uint16, np.int32))


def first_type(image: xr.DataArray, wide: bool = False) -> np.dtype[Any]:
    """Type that is tried first; with `wide` the format has integers of 64 bits."""
    dtype: np.dtype[Any] = np.dtype(image.dtype)
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "c" or (dtype.kind in "iu" and (wide or dtype.itemsize < 8)):
        return np.dtype(dtype.newbyteorder("="))
    if dtype.kind in "iu":
        return np.dtype(np.int32)
    stored: np.dtype[Any] = np.dtype(image.encoding.get("stored_dtype", dtype))
    if stored.kind in "iu" and stored.itemsize < 8:
        return np.dtype(stored.newbyteorder("="))
    return float_type(dtype)


def float_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Float type of values: float64 where they have more than 4 bytes."""
    return np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)


class Fit:
    """Finds the type that holds all volumes, from those seen so far."""

    def __init__(self, image: xr.DataArray, wide: bool = False) -> None:
        self.source = image.dtype.newbyteorder("=")
        self.dtype = first_type(image, wide)
        self.low = self.high = 0.0
        self.integral = True

    def take(self, volume: NDArray[Any]) -> bool:
        """Whether a volume fits the type; if not, `dtype` is the next to try, which fits all seen so far."""
        if self.dtype.kind in "fc" and self.source.kind not in "iu":
            return True
        if self.source.kind == "b" or (self.source == self.dtype):
            return True
        low, high = volume.min(), volume.max()
        # NaN makes the comparison false; infinity is no integer
        integral = bool(np.isfinite(low) and np.isfinite(high)) and bool((np.rint(volume) == volume).all())
        self.integral &= integral
        if integral:
            self.low, self.high = min(self.low, int(low)), max(self.high, int(high))
        if self.integral and self._holds(self.dtype):
            return True
        self.dtype = self._next()
        return False

    def _holds(self, dtype: np.dtype[Any]) -> bool:
        if dtype.kind == "f":
            return max(-self.low, self.high) <= 2**53
        info = np.iinfo(dtype)
        return bool(info.min <= self.low and self.high <= info.max)

    def _next(self) -> np.dtype[Any]:
        if self.source.kind not in "iu":
            wider = [t for t in _INTEGERS if self._holds(t)] if self.integral else []
            return wider[0] if wider else float_type(self.source)
        if not self._holds(np.dtype(np.float64)):
            raise FormatError(
                f"the integers reach from {self.low} to {self.high}: NIfTI programs read neither int64 nor, exactly, "
                "float64 of them. Convert them with .astype(float)"
            )
        return np.dtype(np.float64)

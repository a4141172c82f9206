"""The number type in which a file holds an image, found while its volumes pass by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import FormatError

_BLOCK = 2**15
"""Numbers that are looked at together: memory for more would come from the system each time, which is dear."""


@dataclass(frozen=True)
class Holds:
    """What the files of a format can hold.

    Attributes
    ----------
    name : str
        Of the format, for messages.
    types : tuple of str
        Number types (numpy's words) in which voxels may be stored. Integers before the first float are tried for
        values of other types, in this order; those after it only keep values of their own type.
    colour : bool
        Whether three values of uint8 per voxel are a colour.
    """

    name: str
    types: tuple[str, ...]
    colour: bool = True

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        """Types as those of numpy."""
        return tuple(np.dtype(t) for t in self.types)

    @property
    def kinds(self) -> str:
        """Kinds of numbers that can be stored in one of the types: bool and integers in any."""
        have = {t.kind for t in self.dtypes}
        return "biu" + ("f" if have & set("fc") else "") + ("c" if "c" in have else "")


def float_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Float type of values: float64 where they have more than 4 bytes."""
    return np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)


class Fit:
    """Finds the type that holds all volumes, from those seen so far.

    The first one tried is that of the values, or for floats that of the integers that the image was stored as. Then
    come the integers that hold the values, the smallest first, and the floats that do.

    Attributes
    ----------
    dtype : numpy.dtype
        The type that is tried.
    """

    def __init__(self, image: xr.DataArray, holds: Holds) -> None:
        self.holds, self.source = holds, np.dtype(image.dtype).newbyteorder("=")
        self.low = self.high = 0
        self.integral, self.single, self.seen = True, True, False
        stored = np.dtype(image.encoding.get("stored_dtype", self.source)).newbyteorder("=")
        self.stored = stored if self.source.kind == "f" and stored.kind in "iu" and stored.itemsize < 8 else None
        self.dtype = self.first()

    def first(self) -> np.dtype[Any]:
        """Type that is tried first."""
        have = self.holds.dtypes
        if self.source.kind == "f":
            return self._fitting(self.stored) if self.stored is not None else self._float()
        if self.source.kind == "b":
            return self.source if self.source in have else self._fitting(np.dtype(np.uint8))
        if self.source.kind in "iu" and self.source.itemsize == 8 and self.source not in have:
            return self._fitting(np.dtype(np.int32))  # most are small
        return self._fitting(self.source)

    def take(self, volume: NDArray[Any]) -> bool:
        """Whether a volume fits the type; if not, `dtype` is the next to try, which fits all seen so far.

        Raises
        ------
        FormatError
            If none does.
        """
        if self.source in (self.dtype, np.dtype(bool)) or (self.dtype.kind == self.source.kind and self._wider()):
            return True
        self._look(volume)
        if self._holds(self.dtype):
            return True
        self.dtype = self._next()
        return False

    def _wider(self) -> bool:
        """Whether the type is a float or complex one that has all digits of the values."""
        return self.dtype.kind in "fc" and self.dtype.itemsize >= self.source.itemsize

    def _look(self, volume: NDArray[Any]) -> None:
        whole = self.integral and (self.source.kind in "iu" or (self.source.kind == "f" and self._all_whole(volume)))
        if whole:
            self.low, self.high = min(self.low, int(volume.min())), max(self.high, int(volume.max()))
        self.integral = whole
        small = np.dtype(np.float32 if self.source.kind == "f" else np.complex64)
        if self.source.kind in "fc" and self.single and self.source.itemsize > small.itemsize:
            with np.errstate(over="ignore"):
                self.single = all(
                    np.array_equal(block.astype(small), block, equal_nan=True) for block in _blocks(volume)
                )

    @staticmethod
    def _all_whole(volume: NDArray[Any]) -> bool:
        if not (np.isfinite(volume.min()) and np.isfinite(volume.max())):  # infinity is no integer
            return False
        rounded, equal = np.empty(_BLOCK, volume.dtype), np.empty(_BLOCK, np.bool_)
        for block in _blocks(volume):
            near, same = (kept[: block.size].reshape(block.shape) for kept in (rounded, equal))
            if not np.equal(np.rint(block, out=near), block, out=same).all():
                return False
        return True

    def _holds(self, dtype: np.dtype[Any]) -> bool:
        """Whether a type holds all values seen so far exactly."""
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            return self.integral and info.min <= self.low and self.high <= info.max
        half = dtype.itemsize // (2 if dtype.kind == "c" else 1)
        if self.source.kind in "iu":
            return max(-self.low, self.high) <= 2 ** (24 if half == 4 else 53)
        if dtype.kind != "c" and self.source.kind == "c":
            return False
        return self.single or half >= self.source.itemsize // (2 if self.source.kind == "c" else 1)

    def _next(self) -> np.dtype[Any]:
        integers = list(takewhile(lambda t: t.kind in "iu", self.holds.dtypes))
        # floats that were never integers on disk stay floats
        tried = integers if self.source.kind in "iu" or self.stored is not None else []
        floats = [] if self.source.kind in "iu" else [self._float()]
        if self.source.kind in "iu":
            floats = [t for t in self.holds.dtypes if t.kind == "f"]
        for dtype in (*tried, *floats):
            if self._holds(dtype) and dtype != self.dtype:
                return dtype
        raise FormatError(self._reason())

    def _float(self) -> np.dtype[Any]:
        wanted = float_type(self.source)
        return wanted if wanted in self.holds.dtypes else np.dtype(np.float32)

    def _fitting(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type, or the smallest one of the format that holds all of its values; else one to start from."""
        have = self.holds.dtypes
        if dtype in have:
            return dtype
        wider = [t for t in have if np.can_cast(dtype, t, "safe")]
        if wider:
            return min(wider, key=lambda t: (t.itemsize, t.kind in "fc"))
        same = [t for t in have if t.kind == dtype.kind or (t.kind in "iu" and dtype.kind in "iu")]
        return max(same or have, key=lambda t: t.itemsize)

    def _reason(self) -> str:
        name = self.holds.name
        if self.source.kind in "iu":
            return (
                f"the integers ({self.source}) reach from {self.low} to {self.high}: {name} programs read no integers "
                "of that size, and its floats do not hold them exactly. Convert them with .astype(float)"
            )
        return (
            f"{name} holds no values of type {self.source}, and those of the image are not exact in "
            f"{', '.join(map(str, self.holds.dtypes))}: .astype('float32') rounds them"
        )


def _blocks(volume: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Parts of an array, each of `_BLOCK` numbers at most."""
    if volume.size <= _BLOCK:
        yield volume
        return
    size = volume.size // volume.shape[0]
    step = max(1, _BLOCK // max(1, size))
    for k in range(0, volume.shape[0], step):
        if size > _BLOCK:
            yield from _blocks(volume[k])
        else:
            yield volume[k : k + step]

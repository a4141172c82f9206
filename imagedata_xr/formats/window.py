"""Which grey a value gets in a picture: values as they are, or a range of them that is spread over 8 or 16 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import FormatError
from .fit import Fit, Holds

Volumes = Callable[[], Iterable[NDArray[Any]]]


class Window:
    """How values become greys."""

    @staticmethod
    def asked(image: xr.DataArray, how: Mapping[str, Any], depths: tuple[int, ...], exact: Holds) -> Window:
        """Window of ``format_options``.

        ``window`` is ``(center, width)``, ``"minmax"``, or ``"none"`` for values as they are. Without it: as they are
        where they are bool or were read from 8 bits; else `WindowCenter` and
        `WindowWidth` of the attrs; else all values from the lowest to the highest.

        Raises
        ------
        FormatError
            For options that can't be.
        """
        bits, given = how.get("bits"), how.get("window")
        if bits is not None and bits not in depths:
            raise FormatError(f"format_options bits={bits!r}: one of {', '.join(map(str, depths))}")
        if isinstance(given, str) and given == "none":
            if bits is not None:
                raise FormatError("bits says over how many bits a window is spread: with window='none' nothing is")
            return Exact(exact)
        if given is None:
            had = image.encoding.get("stored_dtype", str(image.dtype))
            small = had in ("bool", "uint8") and bits in (None, 8)
            found = _of_attrs(image.attrs)
            if found is None and bits is None and image.dtype == bool:
                return Exact(exact)
            whole = found is None and small and image.dtype.kind in "biuf"
            why = "all values" if found is None else "the window of the attrs"
            return Range(bits or 8, found, why, keep=Exact(exact) if whole else None)
        if isinstance(given, str) and given == "minmax":
            return Range(bits or 8)
        try:
            center, width = (float(v) for v in given)
        except (TypeError, ValueError) as error:
            raise FormatError(
                f"format_options window={given!r}: (center, width), 'minmax', or 'none' for values as they are"
            ) from error
        if not (np.isfinite([center, width]).all() and width > 0):
            raise FormatError(f"format_options window={given!r}: the width must be above 0")
        return Range(bits or 8, (center - width / 2, center + width / 2), "the window asked for")

    def settled(self, volumes: Volumes, fit: Fit) -> Window:
        """Return the window after a look at all values, where it needs one."""
        raise NotImplementedError

    def of(self, page: NDArray[Any]) -> NDArray[Any]:
        """Greys of the values of a page."""
        raise NotImplementedError

    def said(self) -> list[str]:
        """What is to be said of values that are not kept."""
        return []


@dataclass
class Exact(Window):
    """Values as they are, in the smallest type that was used for them and holds all."""

    holds: Holds
    dtype: np.dtype[Any] | None = None

    def settled(self, volumes: Volumes, fit: Fit) -> Window:
        """Find the type; raise `FormatError` where none of the format holds all values."""
        if fit.source == np.dtype(bool):
            return Exact(self.holds, np.dtype(bool))
        if fit.source.kind == "f" and not any(t.kind == "f" for t in self.holds.dtypes):
            return Exact(self.holds, _whole_numbers(volumes, self.holds))
        for volume in volumes():
            while not fit.take(volume):
                pass
        return Exact(self.holds, fit.dtype)

    def of(self, page: NDArray[Any]) -> NDArray[Any]:
        """Values of the page."""
        return page.astype(self.dtype)


def _whole_numbers(volumes: Volumes, holds: Holds) -> np.dtype[Any]:
    low, high, whole = np.inf, -np.inf, True
    for volume in volumes():
        low, high = min(low, float(volume.min())), max(high, float(volume.max()))
        whole &= bool((np.rint(volume) == volume).all())
    for dtype in holds.dtypes:
        if whole and low >= np.iinfo(dtype).min and high <= np.iinfo(dtype).max:
            return dtype
    what = "whole numbers" if whole else "numbers that are not whole"
    raise FormatError(
        f"the values are {what} from {low:g} to {high:g}, which {holds.name} can't keep as they are: NIfTI and NRRD "
        "can, or format_options window=(center, width) shows a range of them"
    )


@dataclass
class Range(Window):
    """A range of values that is spread over all greys, by PS3.3 C.11.2.1.3.2 (LINEAR_EXACT)."""

    bits: int
    limits: tuple[float, float] | None = None
    why: str = "all values"
    keep: Exact | None = None
    seen: list[int] = field(default_factory=lambda: [0, 0, 0])  # values clipped, not finite, in all

    def settled(self, volumes: Volumes, fit: Fit) -> Window:
        """Find the lowest and the highest value where they are needed; values that fit are kept where that is asked."""
        if self.keep is not None:
            try:
                return self.keep.settled(volumes, fit)
            except FormatError:
                pass  # no longer those that were read: they are shown as others are
        if self.limits is not None:
            return self
        low, high = np.inf, -np.inf
        for volume in volumes():
            finite = volume[np.isfinite(volume)] if volume.dtype.kind == "f" else volume
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        return Range(self.bits, (low, high) if low <= high else (0.0, 1.0), self.why)

    def of(self, page: NDArray[Any]) -> NDArray[Any]:
        """Greys, rounded; what is no number is black."""
        low, high = self.limits or (0.0, 1.0)
        top, values = (1 << self.bits) - 1, page.astype(np.float64)
        lost = ~np.isfinite(values)
        self.seen[0] += int(((values < low) | (values > high)).sum())
        self.seen[1] += int(lost.sum())
        self.seen[2] += values.size
        spread = (values - low) * (top / (high - low)) if high > low else np.zeros_like(values)
        spread = np.nan_to_num(spread, nan=0.0, posinf=top, neginf=0.0)
        return np.rint(np.clip(spread, 0, top)).astype(np.uint8 if self.bits == 8 else np.uint16)

    def said(self) -> list[str]:
        """Which values are shown as which greys, and how many are not."""
        low, high = self.limits or (0.0, 1.0)
        clipped, lost, count = self.seen
        text = f"the values from {low:g} to {high:g} ({self.why}) are shown as 0 to {(1 << self.bits) - 1}"
        out = [text + (f", {100 * clipped / count:.2g} % are clipped" if clipped else "")]
        return out + ([f"{lost} values are no finite numbers"] if lost else [])


def _of_attrs(attrs: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Limits of the first window of the attrs, PS3.3 C.11.2.1.2."""
    try:
        center = float(np.ravel(attrs["WindowCenter"]).astype(float)[0])
        width = float(np.ravel(attrs["WindowWidth"]).astype(float)[0])
    except (KeyError, ValueError, TypeError, IndexError):
        return None
    if not (np.isfinite([center, width]).all() and width > 0):
        return None
    if str(attrs.get("VOILUTFunction", "LINEAR")).strip().upper() == "LINEAR" and width > 1:
        return center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    return center - width / 2, center + width / 2

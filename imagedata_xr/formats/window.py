"""Which grey a value gets in a picture: values as they are, or a range of them that is spread over 8 or 16 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..dicom.headers.voi import Voi, brightness, is_inverted
from ..errors import FormatError
from .fit import Fit, Holds

Volumes = Callable[[], Iterable[NDArray[Any]]]

UNIT = Voi(0.5, 1.0, "LINEAR_EXACT")
"""Window of what is brightness already."""


class Window:
    """How values become greys.

    Attributes
    ----------
    image : DataArray, optional
        What the window is of, in place of the image: brightness by its headers.
    otherwise : Window, optional
        What is taken where values turn out not to be those that the headers speak of.
    """

    image: xr.DataArray | None = None
    otherwise: Window | None = None

    @staticmethod
    def asked(image: xr.DataArray, how: Mapping[str, Any], depths: tuple[int, ...], exact: Holds) -> Window:
        """Window of ``format_options``.

        ``window`` is ``(center, width)``, ``"minmax"``, or ``"none"`` for values as they are. Without it: the window of
        the attrs; that of the DICOM headers where values are those that were read; values as they are where they are
        bool or were read from 8 bits; else all values from the lowest to the highest. MONOCHROME1 is inverted, unless
        values are as they are.

        Raises
        ------
        FormatError
            For options that can't be.
        """
        bits, given = how.get("bits"), how.get("window")
        if bits is not None and bits not in depths:
            raise FormatError(f"format_options bits={bits!r}: one of {', '.join(map(str, depths))}")
        inverted = is_inverted(image) and image.dtype != bool
        if isinstance(given, str) and given == "none":
            if bits is not None:
                raise FormatError("bits says over how many bits a window is spread: with window='none' nothing is")
            return Exact(exact, inverted=inverted)
        if given is None:
            return _by_default(image, bits, exact, inverted)
        if isinstance(given, str) and given == "minmax":
            return Range(bits or 8, inverted=inverted)
        try:
            center, width = (float(v) for v in given)
        except (TypeError, ValueError) as error:
            raise FormatError(
                f"format_options window={given!r}: (center, width), 'minmax', or 'none' for values as they are"
            ) from error
        if not (np.isfinite([center, width]).all() and width > 0):
            raise FormatError(f"format_options window={given!r}: the width must be above 0")
        voi = Voi(center, width, "LINEAR_EXACT")
        return Range(bits or 8, voi, "the window asked for", inverted)

    def settled(self, volumes: Volumes, fit: Fit) -> Window:
        """Return the window after a look at all values, where it needs one."""
        raise NotImplementedError

    def of(self, page: NDArray[Any]) -> NDArray[Any]:
        """Greys of the values of a page."""
        raise NotImplementedError

    def said(self) -> list[str]:
        """What is to be said of values that are not kept."""
        return []


def _by_default(image: xr.DataArray, bits: int | None, exact: Holds, inverted: bool) -> Window:
    """Window where none is asked for."""
    if (found := Voi.of_elements(image.attrs)) is not None:
        return Range(bits or 8, found, "the window of the attrs", inverted)
    had = image.encoding.get("stored_dtype", str(image.dtype))
    small = had in ("bool", "uint8") and bits in (None, 8) and image.dtype.kind in "biuf"
    if image.dtype == bool and bits is None:
        return Exact(exact)
    if small and inverted:
        plain = Range(8, Voi(127.5, 255, "LINEAR_EXACT"), "all values of 8 bits", inverted)
    else:
        plain = Range(bits or 8, inverted=inverted, keep=Exact(exact) if small else None)
    if image.dtype == bool or "rgb" in image.dims or (shown := brightness(image)) is None:
        return plain
    return Headed(bits or 8, UNIT, shown.said, inverted, image=shown.image, otherwise=plain)


@dataclass
class Exact(Window):
    """Values as they are, in the smallest type that was used for them and holds all."""

    holds: Holds
    dtype: np.dtype[Any] | None = None
    inverted: bool = False

    def settled(self, volumes: Volumes, fit: Fit) -> Window:
        """Find the type; raise `FormatError` where none of the format holds all values."""
        if fit.source == np.dtype(bool):
            return replace(self, dtype=np.dtype(bool))
        if fit.source.kind == "f" and not any(t.kind == "f" for t in self.holds.dtypes):
            return replace(self, dtype=_whole_numbers(volumes, self.holds))
        for volume in volumes():
            while not fit.take(volume):
                pass
        return replace(self, dtype=fit.dtype)

    def of(self, page: NDArray[Any]) -> NDArray[Any]:
        """Values of the page."""
        return page.astype(self.dtype)

    def said(self) -> list[str]:
        """Values are kept; that they are to be shown otherwise is said."""
        return ["MONOCHROME1 is not inverted: low values are to be shown white"] if self.inverted else []


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
    """A range of values that is spread over all greys."""

    bits: int
    voi: Voi | None = None
    why: str = "all values"
    inverted: bool = False
    keep: Exact | None = None
    seen: list[int] = field(default_factory=lambda: [0, 0, 0])  # values clipped, not finite, in all

    def settled(self, volumes: Volumes, fit: Fit) -> Window:
        """Find the lowest and the highest value where they are needed; values that fit are kept where that is asked."""
        if self.keep is not None:
            try:
                return self.keep.settled(volumes, fit)
            except FormatError:
                pass  # no longer those that were read: they are shown as others are
        if self.voi is not None:
            return self
        low, high = np.inf, -np.inf
        for volume in volumes():
            finite = volume[np.isfinite(volume)] if volume.dtype.kind == "f" else volume
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        width = high - low if high > low else 1.0
        center = low + width / 2 if low <= high else 0.5
        return replace(self, voi=Voi(center, width, "LINEAR_EXACT"))

    def of(self, page: NDArray[Any]) -> NDArray[Any]:
        """Greys, rounded; what is no number is black."""
        top, values = (1 << self.bits) - 1, page.astype(np.float64)
        lost = np.isnan(values)
        spread = (self.voi or UNIT).of(values)
        self.seen[0] += int(((spread < 0) | (spread > 1)).sum())
        self.seen[1] += int((~np.isfinite(values)).sum())
        self.seen[2] += values.size
        spread = np.clip(np.nan_to_num(spread, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
        if self.inverted:
            spread = np.where(lost, 0.0, 1 - spread)
        return np.rint(spread * top).astype(np.uint8 if self.bits == 8 else np.uint16)

    def said(self) -> list[str]:
        """Which values are shown as which greys, and how many are not."""
        clipped, lost, count = self.seen
        greys = (0, (1 << self.bits) - 1)[:: -1 if self.inverted else 1]
        text = f"{self._values()} are shown as {greys[0]} to {greys[1]}{' (MONOCHROME1)' if self.inverted else ''}"
        out = [text + (f", {100 * clipped / count:.2g} % are clipped" if clipped else "")]
        return out + ([f"{lost} values are no finite numbers"] if lost else [])

    def _values(self) -> str:
        voi = self.voi or UNIT
        curve = " by a sigmoid" if voi.function == "SIGMOID" else ""
        return f"the values from {voi.ends[0]:g} to {voi.ends[1]:g}{curve} ({self.why})"


@dataclass
class Headed(Range):
    """Brightness by the headers, where values are those that were read."""

    image: xr.DataArray | None = None
    otherwise: Window | None = None

    def _values(self) -> str:
        return self.why

"""How headers say that values are to be shown: window, function and table of values of interest (PS3.3 C.11.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...errors import FormatError, ImagedataError
from ..pixels.luts import VoiLut, voi_lut
from .as_read import Change, mapped, planes_of_image

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class Voi:
    """A window: which values are shown from black (0) to white (1).

    Attributes
    ----------
    center, width : float
        In units of the values.
    function : {"LINEAR", "LINEAR_EXACT", "SIGMOID"}
    """

    center: float
    width: float
    function: str = "LINEAR"

    @classmethod
    def of_elements(cls, elements: Mapping[Any, Any]) -> Voi | None:
        """Return the first window of elements by keyword; None where there is none, or none that can be."""
        try:
            center, width = (float(np.ravel(elements[k]).astype(float)[0]) for k in ("WindowCenter", "WindowWidth"))
        except (KeyError, ValueError, TypeError, IndexError):
            return None
        function = str(elements.get("VOILUTFunction") or "LINEAR").strip().upper()
        least = 1.0 if function == "LINEAR" else np.nextafter(0, 1)
        if function not in FUNCTIONS or not np.isfinite([center, width]).all() or width < least:
            return None
        return cls(center, width, function)

    @property
    def ends(self) -> tuple[float, float]:
        """Values that are shown black and white."""
        half, middle = self.width / 2, self.center
        if self.function == "LINEAR":
            half, middle = (self.width - 1) / 2, self.center - 0.5
        return middle - half, middle + half

    def of(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Brightness of values by PS3.3 C.11.2.1.2.1 and C.11.2.1.3; outside of the window below 0 or above 1."""
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return np.asarray(1 / (1 + np.exp(-4 * (values - self.center) / self.width)))
        low, high = self.ends
        if high == low:
            return np.where(np.isnan(values), np.nan, np.where(values > low, 1.0, 0.0))
        return np.asarray((values - low) / (high - low))


@dataclass(frozen=True)
class Brightness:
    """Values as their headers say that they are to be shown.

    Attributes
    ----------
    image : DataArray
        From black (0) to white (1); what is below or above is clipped.
    said : str
        By which window, for messages.
    """

    image: xr.DataArray
    said: str


def brightness(image: xr.DataArray) -> Brightness | None:
    """Brightness of an image by the window of the header of each plane, where they have one.

    Each plane has its own window, and where none, its VOI LUT; MONOCHROME1 is not looked at. The values are compared
    with those of the source as they are computed.

    Returns
    -------
    Brightness or None
        None where the image has no headers of its own, or not all of them say a window, or its values in memory are not
        those that were read.

    Raises
    ------
    ChangedError
        Where a lazy result is computed, if the values are not those that were read: no window holds for them.
    """
    if "instance" not in image.coords:
        return None
    try:
        planes = planes_of_image(image)
        windows = [_of_header(header) for header in planes.headers]
        found = [w for w in windows if w is not None]
        if len(found) < len(windows):
            return None
        changes: list[Change] = [partial(_shown, w) for w in found]
        shown = mapped(image, planes, changes, np.dtype(np.float64), check=True)
    except ImagedataError:
        return None  # computed or moved since, or its source is gone
    return Brightness(shown, _said(found))


def _shown(window: Voi | VoiLut, values: NDArray[np.float64], stored: NDArray[np.float64]) -> NDArray[np.float64]:
    return window.of(values)


def is_inverted(image: xr.DataArray) -> bool:
    """Whether low values are to be shown white (PS3.3 C.7.6.3.1.2)."""
    return str(image.attrs.get("PhotometricInterpretation", "")).strip().upper() == "MONOCHROME1"


def _of_header(header: pydicom.Dataset) -> Voi | VoiLut | None:
    window = Voi.of_elements({k: header.get(k) for k in ("WindowCenter", "WindowWidth", "VOILUTFunction")})
    if window is not None or not header.get("VOILUTSequence"):
        return window
    try:
        return voi_lut(header)
    except FormatError:
        return None


def _said(found: list[Voi | VoiLut]) -> str:
    windows = {w for w in found if isinstance(w, Voi)}
    if not windows:
        return "the values by the VOI LUT of the headers"
    if len(windows) == 1 and not any(isinstance(w, VoiLut) for w in found):
        (only,) = windows
        low, high = only.ends
        curve = " by a sigmoid" if only.function == "SIGMOID" else ""
        return f"the values from {low:g} to {high:g}{curve} (the window of the headers)"
    ends = [w.ends for w in windows]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    return f"the values by {len(windows)} windows of the headers, each slice by its own ({low:g} to {high:g})"

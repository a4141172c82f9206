"""What a TIFF file says of its pages together: axes, spacing, interval, and what this library wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError, warn
from .carried import Known
from .pages import Stack, believable

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

SAMPLES = 1 << 16
"""A plane is numbered by its page times this, plus its sample."""

TAG = 65312
"""Tag (of those free for use) of the first page, with the labels and the place that TIFF has no word for, as JSON."""

_MM = {
    "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "centimeter": 10.0, "m": 1000.0, "meter": 1000.0,
    "inch": 25.4, "in": 25.4, "nm": 1e-6, "nanometer": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "\\u00b5m": 1e-3,
    "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3,
}  # fmt: skip
_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "min": 60.0, "h": 3600.0}

Spacing = tuple[float, float] | None


class _Said(NamedTuple):
    """Spacing of slices (mm), rows and columns, and the interval (s), as far as they are said."""

    step: float | None = None
    spacing: Spacing = None
    interval: float | None = None


class Calibration(NamedTuple):
    """How ImageJ makes values of numbers: by which function, and its coefficients; 0 is a straight line."""

    function: int
    coefficients: tuple[float, ...]

    def signs(self, stored: np.dtype[Any]) -> bool:
        """Whether it is ImageJ's way to keep signed 16-bit integers, which TIFF has for it in unsigned ones only."""
        return (self.function, self.coefficients) == (0, (-32768.0, 1.0)) and stored.newbyteorder("=") == np.uint16

    @property
    def said(self) -> str:
        """The words of ImageJ, for messages."""
        return ", ".join([f"cf={self.function}", *(f"c{k}={c:g}" for k, c in enumerate(self.coefficients))])


def calibration_of(tif: TiffFile) -> Calibration | None:
    """Calibration of a file of ImageJ; None where numbers are the values."""
    meta = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    if "cf" not in meta:
        return None
    try:
        found = Calibration(int(meta["cf"]), tuple(float(meta[f"c{k}"]) for k in range(5) if f"c{k}" in meta))
    except (TypeError, ValueError):
        return Calibration(-1, ())
    return None if found.function == 0 and found.coefficients in ((), (0.0, 1.0)) else found


def planes_of(
    tif: TiffFile, series: TiffPageSeries, samples: int, attrs: Mapping[str, Any], name: str
) -> tuple[NDArray[np.intp], Stack, Spacing]:
    """Planes of a series: volume after volume, slice after slice.

    Parameters
    ----------
    tif : TiffFile
    series : TiffPageSeries
    samples : int
        Values per pixel that are planes of their own.
    attrs : mapping
        Of the image.
    name : str
        Of the file.

    Returns
    -------
    ndarray of int
        Their numbers, by page and sample.
    Stack
    tuple of float, optional
        Distance of rows and columns, mm.

    Raises
    ------
    SourceError
        If pages are missing.
    """
    lead = _axes(series)
    count = int(np.prod([n for _, n in lead], dtype=int))
    at = _page_numbers(series, count, name)
    planes = at.reshape([n for _, n in lead] or [1])[..., None] * SAMPLES + np.arange(samples)
    letters = [a for a, _ in lead] or ["I"]
    # pages without a name are slices, where no others are
    z = letters.index("Z") if "Z" in letters else next((k for k, a in enumerate(letters) if a in "IQ"), None)
    rest = [k for k in range(planes.ndim) if k != z]
    if z is None:
        planes, z, rest = planes[..., None], planes.ndim, list(range(planes.ndim))
    slices = planes.shape[z]
    volumes = tuple(planes.shape[k] for k in reversed(rest))
    numbers = planes.transpose(*rest, z).ravel()
    said = _said(tif)
    timed = [a for a, n in lead if n > 1 and a != "Z"] == ["T"] and samples == 1
    stack = Stack(slices, volumes, said.step, _known(said, volumes, timed), attrs=dict(attrs))
    ours = _ours(tif, series, (slices, *series.keyframe.shape[:2]), volumes, name)
    if ours is not None:
        affine = ours.pop("affine", None)
        matrix = None if affine is None else np.array(affine, dtype=np.float64).reshape(4, 4)
        stack = Stack(slices, volumes, said.step, affine=matrix, content=ours, attrs=dict(attrs))
    return numbers, stack, said.spacing


def _axes(series: TiffPageSeries) -> list[tuple[str, int]]:
    """Axes of the pages of a series, the slowest first."""
    page = series.keyframe.axes
    axes = series.axes[:-1] if series.axes.endswith("S") and not page.endswith("S") else series.axes
    if axes.endswith(page):
        return list(zip(axes[: len(axes) - len(page)], series.shape, strict=False))
    return [("I", len(series.pages))]


def _page_numbers(series: TiffPageSeries, count: int, name: str) -> NDArray[np.intp]:
    """Number of each page in its file."""
    pages = list(series.pages)
    if len(pages) == 1 < count and pages[0] is not None and pages[0].index == 0 and pages[0].is_contiguous:
        return np.arange(count)  # all lie together behind the first one, the only one that has a header
    here = [p.index for p in pages if p is not None]
    if len(here) != count:
        raise SourceError(
            f"{name} announces {count} pages and holds {len(here)}: it is damaged, or one of several files of OME, "
            "which are not put together here"
        )
    return np.array(here, dtype=np.intp)


def _known(said: _Said, volumes: tuple[int, ...], timed: bool) -> Known:
    count = int(np.prod(volumes, dtype=int))
    if not timed or not said.interval or count < 2:
        return Known()
    return Known({"time": np.round(said.interval * np.arange(count), 9)}, {"time": "interval of frames"}, "time")


def _said(tif: TiffFile) -> _Said:
    """Spacing and interval by OME, ImageJ, or the resolution of the first page."""
    if tif.is_ome:
        return _of_ome(tif)
    page = tif.pages.first
    if tif.is_imagej:
        meta = tif.imagej_metadata or {}
        unit = _MM.get(str(meta.get("unit", "")).strip().lower(), 0.0)
        across, down = (float(v) for v in page.get_resolution(1))
        spacing = believable(unit / down, unit / across) if unit and across > 0 and down > 0 else None
        step = _positive(meta.get("spacing"), unit)
        interval = _positive(meta.get("finterval"), _SECONDS.get(str(meta.get("tunit", "s")).strip(), 0.0))
        return _Said(step, spacing or _by_resolution(page), interval)
    return _Said(None, _by_resolution(page))


def _by_resolution(page: Any) -> Spacing:
    if int(page.resolutionunit) not in (2, 3):  # inch, centimetre
        return None
    down, across = (25.4 if int(page.resolutionunit) == 2 else 10.0 for _ in range(2))
    x, y = (float(v) for v in page.get_resolution())
    return believable(down / y, across / x) if x > 0 and y > 0 else None


def _of_ome(tif: TiffFile) -> _Said:
    """Physical sizes of the first image of OME, whose default unit is the micrometre."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(tif.ome_metadata or "")
    except ElementTree.ParseError:
        return _Said()
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return _Said()

    def size(axis: str) -> float | None:
        unit = _MM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").strip().lower(), 0.0)
        return _positive(pixels.get(f"PhysicalSize{axis}"), unit)

    x, y = size("X"), size("Y")
    interval = _positive(pixels.get("TimeIncrement"), _SECONDS.get(pixels.get("TimeIncrementUnit", "s").strip(), 0.0))
    return _Said(size("Z"), believable(y, x) if x and y else None, interval)


def _positive(value: Any, unit: float) -> float | None:
    try:
        number = float(value) * unit
    except (TypeError, ValueError):
        return None
    return float(f"{number:.9g}") if 0 < number < 1e9 else None


def _ours(
    tif: TiffFile, series: TiffPageSeries, size: tuple[int, ...], volumes: tuple[int, ...], name: str
) -> dict[str, Any] | None:
    """Read what this library wrote of the labels and the place, while the size is that of then."""
    text = tif.pages.first.tags.valueof(TAG)
    if text is None or len(tif.series) > 1:
        return None
    try:
        content = json.loads(text)
        then, count = list(content.pop("size")), int(content.pop("volumes"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None  # the tag is free for use, by others too
    if then != list(size) or count != int(np.prod(volumes, dtype=int)):
        has = f"{int(np.prod(volumes, dtype=int))} volumes of {list(size)} slices, rows and columns"
        warn(
            f"{name} has {has}, and labels of {count} volumes of {then}: it was cut since it was written, so that its "
            "labels and its place are left out"
        )
        return None
    return dict(content)

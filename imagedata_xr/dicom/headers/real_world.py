"""Real-world values of an image: mapped by its headers, uptake values of PET, precise values of Philips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...errors import LabelError
from ..pixels.value_type import ValueRange, natural_type
from .as_read import Change, Planes, mapped, planes_of_image
from .private import private, raw_private
from .rescale import Rescale
from .suv import ENHANCED, KINDS, suv_factors
from .value_maps import ValueMap, choose, maps_of

MARK = "real_world"
"""Attr of an image that was mapped: a second time would be wrong."""

_MR1, _MR5 = "Philips MR Imaging DD 001", "Philips MR Imaging DD 005"


def real_world(
    image: xr.DataArray,
    kind: str = "mapping",
    label: str | None = None,
    units: str | None = None,
    decay_start: str | None = None,
    check: bool = True,
) -> xr.DataArray:
    """Give the values of an image in units of the real world, by the header of each of its planes.

    Parameters
    ----------
    image : DataArray
        Repaired, with the values that were read: a part of an image is right as well.
    kind : {"mapping", "suv", "suvlbm", "suvbsa", "precise"}
        ``"mapping"``: Real World Value Mapping of each image (PS3.3 C.7.6.16.2.11), which maps stored values, whatever
        their rescale. ``"suv"``: uptake value of PET by body weight; ``"suvlbm"`` by lean body mass (Janmahasatian),
        ``"suvbsa"`` by body surface area (Du Bois). ``"precise"``: of Philips MR, ``(stored * RescaleSlope +
        RescaleIntercept) / (RescaleSlope * ScaleSlope)`` with Scale Slope (2005,100E), which may be compared between
        series (Chenevert et al., Transl Oncol 2014;7:65-71).
    label, units : str, optional
        LUT Label and code of the units of the mapping that is wanted, where there are several.
    decay_start : str, optional
        ISO date and time that the decay of a PET series is corrected to, where its elements contradict each other.
    check : bool
        Compare the values with those of the source: at once, or as they are computed. False trusts that nobody changed
        them.

    Returns
    -------
    DataArray
        A new image, with the units in ``attrs["units"]``; NaN where a mapping does not reach. Lazy where the image is.

    Raises
    ------
    LabelError
        An unknown kind; no mapping, or several that fit; something that an uptake value rests on is missing or
        doubtful; an image that was mapped already.
    SourceError
        The source is gone, or the values are not those of the source: where they are computed lazily, then.
    """
    known = ("mapping", *KINDS, "precise")
    if kind not in known:
        raise LabelError(f"kind={kind!r}: it is one of {', '.join(map(repr, known))}")
    if MARK in image.attrs:
        raise LabelError(f"the values are real-world ones already ({image.attrs[MARK]}, in {image.attrs.get('units')})")
    if (label is not None or units is not None) and kind != "mapping":
        raise LabelError(f"label= and units= choose a mapping: leave them out with kind={kind!r}")
    planes = planes_of_image(image)
    if kind == "mapping":
        return _by_mapping(image, planes, label, units, check)
    if kind == "precise":
        return _finish(_by_factors(image, planes, _precise(planes), check), "precise", None)
    return _uptake(image, planes, kind, decay_start, check)


def _finish(image: xr.DataArray, said: str, units: str | None) -> xr.DataArray:
    image.attrs = {k: v for k, v in image.attrs.items() if k != "units"} | {MARK: said}
    if units:
        image.attrs["units"] = units
    image.encoding = {k: v for k, v in image.encoding.items() if k == "preferred_chunks"}
    return image


# --- mappings ---------------------------------------------------------------------------------------------------------


def _by_mapping(image: xr.DataArray, planes: Planes, label: str | None, units: str | None, check: bool) -> xr.DataArray:
    chosen = choose([maps_of(h) for h in planes.headers], label, units)
    out = mapped(image, planes, [_through(m) for m in chosen], _type_of(chosen), check)
    return _finish(out, chosen[0].label or chosen[0].units, chosen[0].units)


def _through(one: ValueMap, factor: float = 1.0) -> Change:
    def change(values: NDArray[np.float64], stored: NDArray[np.float64]) -> NDArray[np.float64]:
        return one.apply(stored) * factor

    return change


def _type_of(maps: Sequence[ValueMap]) -> np.dtype[Any]:
    """float32 where it tells all values of the mappings apart."""
    ends = np.array([p.ends for m in maps for p in m.pieces])
    step = min(p.step for m in maps for p in m.pieces)
    return natural_type(ValueRange(float(ends.min()), float(ends.max()), max(step, 1e-30), False))


# --- factors ----------------------------------------------------------------------------------------------------------


def _by_factors(image: xr.DataArray, planes: Planes, factors: Sequence[float], check: bool) -> xr.DataArray:
    # values keep the precision that they have: a factor changes none of it
    dtype = np.result_type(image.dtype, np.float32)
    return mapped(image, planes, [_times(f) for f in factors], dtype, check)


def _times(factor: float) -> Change:
    def change(values: NDArray[np.float64], stored: NDArray[np.float64]) -> NDArray[np.float64]:
        return values * factor

    return change


def _precise(planes: Planes) -> list[float]:
    """Factor of each image from its rescaled to Philips' precise values: 1 / (RescaleSlope * ScaleSlope)."""
    slopes = [_scale_slope(h) for h in planes.headers]
    lacking = sum(s is None for s in slopes)
    if lacking:
        raise LabelError(
            f"{lacking} of {len(slopes)} images have no Scale Slope (2005,xx0E) of {_MR1!r} above zero, which makes "
            "precise values: are they MR of Philips, with their private elements?"
        )
    return [1.0 / (Rescale.of(h).slope * s) for h, s in zip(planes.headers, slopes, strict=True) if s is not None]


def _scale_slope(header: pydicom.Dataset) -> float | None:
    own = raw_private(header, _MR5, 0x2005, 0x0F)
    # a frame has it in its group; classic images have such a sequence as well, without it
    places = [*(own[:1] if isinstance(own, pydicom.Sequence) else []), header]
    found = (private(place, _MR1, 0x2005, 0x0E) for place in places)
    return next((v for v in found if v is not None and np.isfinite(v) and v > 0), None)


# --- uptake values ----------------------------------------------------------------------------------------------------


def _uptake(image: xr.DataArray, planes: Planes, kind: str, start: str | None, check: bool) -> xr.DataArray:
    factors = suv_factors(planes.headers, planes.of_source(), kind, start)
    if any(str(h.get("SOPClassUID", "")) == ENHANCED for h in planes.headers):
        # an enhanced image says its Bq/ml by a mapping, and nothing else of its units
        maps = choose([maps_of(h) for h in planes.headers], None, "Bq/ml")
        changes = [_through(m, f) for m, f in zip(maps, factors, strict=True)]
        out = mapped(image, planes, changes, _type_of(maps), check)
    else:
        out = _by_factors(image, planes, factors, check)
    from ...model.assign import assign_dicom

    uptake = KINDS[kind]
    out = assign_dicom(out, {"Units": uptake.stored, "SUVType": uptake.types[0]}, lambda word: True)
    return _finish(out, kind, uptake.units)

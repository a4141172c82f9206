"""What a NIfTI file and its sidecars say of each volume, and the order that follows from it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ImagedataWarning, LabelError, SortError
from ..model.orders import ORDERS, VECTOR, Order
from .gradients import from_bvecs
from .nifti_header import Header
from .seam import ReadOptions
from .sidecar import KEYS, Sidecars, number_list
from .volumes import Arrangement, arrange, requested

ORDER_KEY = "VolumeOrder"
"""Key of the JSON by which this library says what the volumes are ordered by; not of BIDS."""

_LISTS = {"te": "echo_time", "fa": "flip_angle", "ti": "inversion_time"}


def arrangement(header: Header, cars: Sidecars, options: ReadOptions, name: str) -> Arrangement:
    """Arrange the volumes by the order asked for, or by what the file says.

    Raises
    ------
    SortError
        If the file does not give the values of the order, or sidecars do not fit the image.
    FormatError
        If a fifth axis has no name.
    """
    shape = [n for n in header.shape[3:] if n > 1] or [1]
    count = int(np.prod(shape))
    orders = requested(options.order)
    if len(shape) > 1 and (orders is None or len(orders) == 1):
        kind = "components of a vector" if header.vector else "a meaning that the file does not say"
        raise FormatError(
            f"{name} has {len(shape)} axes beside the spatial ones, of lengths {shape}, the last one with {kind}: "
            "order='time,te' names them (order='none,none' numbers them)"
        )
    labels, sources = _json_labels(cars.json, count)
    _diffusion(header, cars, count, labels, sources, name, orders)
    times = _times(header, cars.json, shape, explicit=bool(orders) and any(o.name == "time" for o in orders or []))
    if orders is None:
        orders = _auto(cars, labels, times, count)
    if times is not None and (any(o.name == "time" for o in orders) or times[2]):
        labels["time"], sources["time"], _ = times
    _repetition_time(cars.json, count, orders, labels, sources)
    return arrange(shape, orders, labels, sources, name, options.duplicates)


def slice_timing(content: Mapping[str, Any], slices: int) -> NDArray[np.float64] | None:
    """BIDS' SliceTiming, s, one per slice; None if absent."""
    value = content.get("SliceTiming")
    return number_list(content, "SliceTiming", slices) if isinstance(value, list) else None


def _json_labels(content: Mapping[str, Any], count: int) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Labels that are a number or a list in the JSON."""
    labels: dict[str, NDArray[np.float64]] = {}
    sources: dict[str, str] = {}
    for coord, (key, factor) in KEYS.items():
        values = number_list(content, key, count)
        if values is None and isinstance(content.get(key), int | float) and not isinstance(content[key], bool):
            values = np.full(count, float(content[key]))
        if values is not None:
            # 2.8 and not 2.8000000000000003: the decimals in the file are exact, those of the factor are not
            labels[coord] = np.array([float(f"{v / factor:.12g}") for v in values])
            sources[coord] = f"{key} (sidecar)"
    for key in ("FrameDuration", "FrameAcquisitionDuration"):
        values = number_list(content, key, count)
        if values is not None:
            labels["frame_duration"], sources["frame_duration"] = values, f"{key} (sidecar)"
    return labels, sources


def _diffusion(
    header: Header,
    cars: Sidecars,
    count: int,
    labels: dict[str, NDArray[np.float64]],
    sources: dict[str, str],
    name: str,
    orders: list[Order] | None,
) -> None:
    """Add b-values and directions in LPS."""
    for what, values in (("b-values", cars.bval), ("directions", cars.bvec)):
        if values is not None and len(values) != count:
            text = f"{name} has {count} volumes, and the sidecar beside it {len(values)} {what}"
            if orders is None or any(o.by == "diffusion" or o.name == "b" for o in orders):
                raise SortError(f"{text}: they do not belong together. order='none' or 'time' leaves them out")
            warnings.warn(f"{text}: they are left out", ImagedataWarning, stacklevel=3)
            return
    if cars.bval is None:
        return
    labels["b_value"], sources["b_value"] = cars.bval, ".bval (sidecar)"
    if cars.bvec is None:
        return
    if header.affine is None:
        warnings.warn(
            f"{name} has no geometry, so that its diffusion directions, which are along image axes, are left out",
            ImagedataWarning,
            stacklevel=3,
        )
        return
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ header.affine[:, [2, 1, 0, 3]]
    for axis, values in zip(VECTOR, from_bvecs(cars.bvec, ras).T, strict=True):
        labels[axis], sources[axis] = values, ".bvec (sidecar)"


def _times(
    header: Header, content: Mapping[str, Any], shape: list[int], explicit: bool
) -> tuple[NDArray[np.float64], str, bool] | None:
    """Start of each volume, s; where it comes from; and whether it is a list (each volume's own)."""
    count = int(np.prod(shape))
    for key in ("VolumeTiming", "FrameTimesStart"):
        values = number_list(content, key, count)
        if values is not None:
            return values, f"{key} (sidecar)", True
    said = content.get("RepetitionTime")
    said = float(said) if isinstance(said, int | float) and not isinstance(said, bool) and said > 0 else 0.0
    step, source = 0.0, ""
    if header.interval > 0 and (header.timed or explicit):
        step, source = header.interval, "pixdim[4]"
        if not header.timed:
            text = "the units of the fourth axis are not said: they are taken as seconds"
            warnings.warn(text, ImagedataWarning, stacklevel=3)
    if said and (not step or abs(said - step) <= 0.01 * step):
        step, source = said, "RepetitionTime (sidecar)"
    elif said and count > 1 and content.get("MRAcquisitionType") != "3D":
        # in 3D sequences RepetitionTime is often that between excitations
        warnings.warn(
            f"the header says that volumes follow each other in {step:g} s, the JSON sidecar in {said:g} s: the header's "
            "is taken for the time of the volumes",
            ImagedataWarning,
            stacklevel=3,
        )
    if not step:
        return (np.array([header.start]), "toffset", False) if count == 1 and header.timed else None
    volume = np.arange(count) % shape[0]
    return header.start + step * volume, source, False


def _auto(
    cars: Sidecars,
    labels: Mapping[str, NDArray[np.float64]],
    times: tuple[NDArray[np.float64], str, bool] | None,
    count: int,
) -> list[Order]:
    """Order that the file speaks for."""
    said = cars.json.get(ORDER_KEY)
    if isinstance(said, str):
        try:
            orders = requested(said)
        except (LabelError, SortError) as error:
            orders = None
            warnings.warn(f"{ORDER_KEY} in the JSON sidecar is left out: {error}", ImagedataWarning, stacklevel=4)
        known = {*labels, *(("time",) if times is not None else ())}
        if orders and all(not o.scalar or o.label.coord in known for o in orders):
            return orders
    if "b_value" in labels:
        return [ORDERS["dti"]]
    if count == 1:
        return [ORDERS["none"]]
    if times is not None and times[2]:
        return [ORDERS["time"]]
    for order, coord in _LISTS.items():
        if coord in labels and np.unique(labels[coord]).size == count:
            return [ORDERS[order]]
    return [ORDERS["time" if times is not None else "none"]]


def _repetition_time(
    content: Mapping[str, Any],
    count: int,
    orders: list[Order],
    labels: dict[str, NDArray[np.float64]],
    sources: dict[str, str],
) -> None:
    """Add repetition_time from RepetitionTime, where that is not the interval of the volumes."""
    said = content.get("RepetitionTime")
    if "repetition_time" in labels or not isinstance(said, int | float) or isinstance(said, bool):
        return
    if sources.get("time") != "RepetitionTime (sidecar)" or not any(o.name == "time" for o in orders) or count == 1:
        labels["repetition_time"] = np.full(count, float(f"{said * 1e3:.12g}"))
        sources["repetition_time"] = "RepetitionTime (sidecar)"

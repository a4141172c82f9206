"""What a NIfTI file and its sidecars say of each volume, and the order that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, LabelError, SortError, warn
from ..model.orders import ORDERS, VECTOR, Order
from .carried import NEVER
from .gradients import from_bvecs
from .nifti_header import Header
from .seam import ReadOptions
from .sidecar import KEYS, Key, Sidecars, number, number_list
from .volumes import Arrangement, arrange, requested

ORDER_KEY = "VolumeOrder"
"""Key of the JSON by which this library says what the volumes are ordered by; not of BIDS."""
START_KEY = "VolumeStart"
"""Key of the JSON for the time of each volume where some share one, which BIDS' VolumeTiming may not say."""

LABELS_KEY = "VolumeLabels"
"""Key of the JSON for labels that BIDS has no word for: a list with a number per volume, or a list of one per slice."""

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
    said = _said_order(cars.json) if orders is None else None
    labels, sources = _json_labels(cars.json, count, orders or said or [])
    others = _other_labels(cars.json, count, header.shape[2])
    labels |= {k: v for k, v in others.items() if v.ndim == 1 and k not in labels}
    _diffusion(header, cars, count, labels, sources, name, orders)
    asked = any(o.name == "time" for o in orders or [])
    times = _times(header, cars.json, shape, asked)
    if orders is None:
        orders = _auto(said, labels, times, count)
    if times is not None and (times.own or any(o.name == "time" for o in orders)):
        labels["time"], sources["time"] = times.values, times.source
        if times.doubt:
            warn(f"{name}: {times.doubt}")
    _repetition_time(cars.json, count, labels, sources)
    how = arrange(shape, orders, labels, sources, name, options.duplicates)
    dims = [v.dim for v in how.volumes]
    for name_, values in others.items():
        if values.ndim == 2:
            same = name_ != "slice_time" and np.array_equal(values, values[:1].repeat(count, axis=0), equal_nan=True)
            how.coords[name_] = (["slice"], values[0]) if same else ([*dims, "slice"], values[how.numbers])
    return how


def _said_order(content: Mapping[str, Any]) -> list[Order] | None:
    """Orders that the JSON names, as this library writes them."""
    if not isinstance(content.get(ORDER_KEY), str):
        return None
    try:
        return requested(content[ORDER_KEY])
    except (LabelError, SortError) as error:
        text = f"{ORDER_KEY} in the JSON sidecar is left out: {error}"
        warn(text)
        return None


def _other_labels(content: Mapping[str, Any], count: int, slices: int) -> dict[str, NDArray[np.float64]]:
    """Labels under a key of our own, of the shape (volumes,) or (volumes, slices); what does not fit is left out."""
    out: dict[str, NDArray[np.float64]] = {}
    said = content.get(LABELS_KEY)
    for name, values in said.items() if isinstance(said, Mapping) else ():
        try:
            array = np.array(values, dtype=np.float64)  # null becomes NaN
        except (TypeError, ValueError):
            array = np.empty(0)
        if str(name).isidentifier() and name not in NEVER and array.shape in ((count,), (count, slices)):
            out[name] = array
        else:
            warn(f"the label {name!r} in the JSON sidecar does not fit {count} volumes of {slices} slices: left out")
    return out


def slice_timing(content: Mapping[str, Any], slices: int) -> NDArray[np.float64] | None:
    """BIDS' SliceTiming, s, one per slice; None if absent."""
    value = content.get("SliceTiming")
    return number_list(content, "SliceTiming", slices) if isinstance(value, list) else None


def _json_labels(
    content: Mapping[str, Any], count: int, orders: list[Order]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Labels that are a number or a list in the JSON."""
    labels: dict[str, NDArray[np.float64]] = {}
    sources: dict[str, str] = {}
    keys = dict(KEYS)
    for o in orders:  # an order by any element: under its keyword, in its own units
        if o.label.keyword and o.label.coord not in (*keys, "time", "b_value"):
            keys[o.label.coord] = Key(o.label.keyword, 1 / o.label.factor)
    for coord, (key, factor) in keys.items():
        values = number_list(content, key, count)
        if values is None and (one := number(content, key)) is not None:
            values = np.full(count, one)
        if values is not None:
            # 2.8 and not 2.8000000000000003: the decimals in the file are exact, those of the factor are not
            labels[coord] = np.array([float(f"{v / factor:.12g}") for v in values])
            sources[coord] = f"{key} (sidecar)"
    for key in ("FrameDuration", "FrameAcquisitionDuration"):
        values = number_list(content, key, count)
        if values is None and (one := number(content, key)) is not None:
            values = np.full(count, one)
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
            warn(f"{text}: they are left out")
            return
    if cars.bval is None:
        return
    labels["b_value"], sources["b_value"] = cars.bval, ".bval (sidecar)"
    if cars.bvec is None:
        return
    if header.affine is None:
        warn(f"{name} has no geometry, so that its diffusion directions, which are along image axes, are left out")
        return
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ header.affine[:, [2, 1, 0, 3]]
    for axis, values in zip(VECTOR, from_bvecs(cars.bvec, ras).T, strict=True):
        labels[axis], sources[axis] = values, ".bvec (sidecar)"


class _Times(NamedTuple):
    """Starts of the volumes, s; where they come from; whether each is said by itself; and what is doubtful."""

    values: NDArray[np.float64]
    source: str
    own: bool = False
    doubt: str = ""


def _times(header: Header, content: Mapping[str, Any], shape: list[int], asked: bool) -> _Times | None:
    count = int(np.prod(shape))
    for key in (START_KEY, "VolumeTiming", "FrameTimesStart"):
        values = number_list(content, key, count)
        if values is not None:
            return _Times(values, f"{key} (sidecar)", own=True)
    said = max(number(content, "RepetitionTime") or 0.0, 0.0)
    step, source, doubt = 0.0, "", ""
    if header.interval > 0 and (header.timed or asked):
        step, source = header.interval, "pixdim[4]"
    if said and (not step or abs(said - step) <= 0.01 * step):
        step, source = said, "RepetitionTime (sidecar)"  # has more digits
    elif step and not header.timed:
        doubt = f"the units of the fourth axis are not said: the interval of {step:g} is taken as seconds"
    elif said and content.get("MRAcquisitionType") != "3D":
        # in 3D sequences RepetitionTime is that between excitations
        doubt = f"volumes follow each other in {step:g} s by the header, which is taken, and in {said:g} s by the JSON"
    if count == 1:
        known = header.timed or (asked and step > 0)
        return _Times(np.array([header.start]), "toffset") if known else None
    if not step:
        return None
    volume = np.arange(count) % shape[0]
    return _Times(np.round(header.start + step * volume, 9), source, doubt=doubt)


def _auto(
    said: list[Order] | None, labels: Mapping[str, NDArray[np.float64]], times: _Times | None, count: int
) -> list[Order]:
    """Order that the file speaks for."""
    known = {*labels, *(("time",) if times is not None else ())}
    if said and all(_has_values(o, known) for o in said):
        return said
    if "b_value" in labels:
        return [ORDERS["dti"]]
    if count == 1:
        return [ORDERS["none"]]
    if times is not None and times.own and np.unique(times.values).size == count:
        return [ORDERS["time"]]
    for order, coord in _LISTS.items():
        if coord in labels and np.unique(labels[coord]).size == count:
            return [ORDERS[order]]
    return [ORDERS["time" if times is not None and not times.own else "none"]]


def _has_values(order: Order, known: set[str]) -> bool:
    if order.by == "diffusion":
        return "b_value" in known
    return not order.scalar or order.label.coord in known


def _repetition_time(
    content: Mapping[str, Any], count: int, labels: dict[str, NDArray[np.float64]], sources: dict[str, str]
) -> None:
    """Add repetition_time from RepetitionTime, where that is not the interval of the volumes."""
    said = number(content, "RepetitionTime")
    interval = sources.get("time") in ("RepetitionTime (sidecar)", f"{START_KEY} (sidecar)") and count > 1
    if said is not None and "repetition_time" not in labels and not interval:
        labels["repetition_time"] = np.full(count, float(f"{said * 1e3:.12g}"))
        sources["repetition_time"] = "RepetitionTime (sidecar)"

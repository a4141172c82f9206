"""What the sidecars of a NIfTI file say of an image: times, echo times, b-values and the like."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import warn
from ..model.geometry import even_step
from ..model.image import per_volume, space_of, volume_dims
from ..model.orders import ORDERS, VECTOR, label_for
from .gradients import to_bvecs
from .nifti_labels import ORDER_KEY, START_KEY
from .seam import WriteOptions
from .sidecar import KEYS, bval_text, bvec_text, header_json, json_text, tidy, tidy_list
from .volumes import is_keyword

_TICKS = 6e-3
"""s: slice times of two volumes may differ by two ticks of 2.5 ms."""


def order_names(image: xr.DataArray) -> list[str]:
    """Orders of the volume dims."""
    dims = [image.coords[d].attrs if d in image.coords else {} for d in volume_dims(image)]
    return [str(attrs.get("order", "none")) for attrs in dims]


def volume_values(image: xr.DataArray, name: str) -> NDArray[np.float64] | None:
    """Values of a label, one per volume in C order: those of its coord, else of the dim that is ordered by it."""
    values = per_volume(image, name)
    if values is None:
        for dim, order in zip(volume_dims(image), order_names(image), strict=True):
            how = ORDERS.get(order)
            label = how.label if how is not None else label_for(order)
            if label.coord == name and (how is None or how.scalar) and dim in image.coords:
                values = per_volume(image, dim)
    if values is None:
        return None
    flat = np.asarray(values, dtype=np.float64).ravel()
    if np.isfinite(flat).all():
        return flat
    text = f"{name} is not known of every volume: it is left out of the NIfTI sidecars, which can't say so"
    warn(text)
    return None


def interval(image: xr.DataArray) -> tuple[float, float]:
    """Interval of the volumes in s, 0 where there is none or it is uneven; and the time of the first one."""
    names = order_names(image)
    if (step := label_control_interval(image)) is not None:
        return step, 0.0
    if names != ["time"]:
        tr = volume_values(image, "repetition_time")
        known = tr is not None and "none" not in names and "time" not in names and tr.size > 1
        return (float(tr[0]) * 1e-3 if known and tr is not None and np.ptp(tr) == 0 else 0.0), 0.0
    times = _times(image)
    return (_even(times) or 0.0, float(times[0])) if times is not None else (0.0, 0.0)


def label_control_interval(image: xr.DataArray) -> float | None:
    """Interval between successive volumes of spin labelling whose label and control share the times of a clock, s.

    They are measured one after the other all the same. Philips spreads the times of as many temporal positions evenly
    from the first to the last volume; or each time is that of a pair. The interval is taken that fits the duration of
    the whole acquisition a whole number of times, and is a whole number of repetition times; None where not exactly
    one does.
    """
    times = _times(image) if "ASLContext" in order_names(image) else None
    tr, duration = volume_values(image, "repetition_time"), image.attrs.get("AcquisitionDuration")
    if times is None or tr is None or np.ptp(tr) or tr[0] <= 0 or not isinstance(duration, float | int):
        return None
    moments = np.unique(times)
    step = _even(moments)
    if step is None or moments.size == times.size:
        return None
    found = []
    for each in (np.ptp(times) / (times.size - 1), step * moments.size / times.size):
        whole, shots = duration / each, each / (tr[0] * 1e-3)
        if whole >= times.size - 1e-3 and max(abs(whole - round(whole)), abs(shots - round(shots))) < 1e-3:
            found.append(float(each))
    return found[0] if len(found) == 1 else None


def _times(image: xr.DataArray) -> NDArray[np.float64] | None:
    """Return the times of the volumes, s, or None."""
    names = order_names(image)
    if "time" not in names:
        return volume_values(image, "time")
    return np.asarray(per_volume(image, volume_dims(image)[names.index("time")]), dtype=np.float64).ravel()


def _even(times: NDArray[np.float64]) -> float | None:
    """Interval of evenly spaced times: no time is further off than 1 % of it or, for short ones, 1 ms."""
    if times.size < 2 or times[-1] <= times[0]:
        return None
    return even_step(times, max(0.01 * float(np.ptp(times)) / (times.size - 1), 1e-3))


def sidecars(image: xr.DataArray, affine_ras: NDArray[np.float64] | None, options: WriteOptions) -> dict[str, str]:
    """Texts of the sidecars, by extension.

    Parameters
    ----------
    image : DataArray
        Canonical.
    affine_ras : ndarray, shape (4, 4), or None
        Of the file.
    options : WriteOptions
        With ``identifiers`` the patient's elements are written as well.
    """
    attrs = dict(image.attrs)
    if options.units is not None:
        attrs["units"] = options.units
    if options.series_description is not None:
        attrs["SeriesDescription"] = options.series_description
    content = header_json(attrs, options.identifiers)
    content |= _timing(image, pet=attrs.get("Modality") == "PT")
    for coord, (key, factor) in KEYS.items():
        if (values := volume_values(image, coord)) is not None:
            content[key] = _one_or_list(values * factor)
    content |= _slice_timing(image)
    content |= _orders(image)
    out = {".json": json_text(content)}
    b = volume_values(image, "b_value")
    if b is not None:
        out[".bval"] = bval_text(b)
        vectors = [volume_values(image, n) for n in VECTOR]
        if affine_ras is not None and all(v is not None for v in vectors):
            out[".bvec"] = bvec_text(to_bvecs(np.stack([v for v in vectors if v is not None], axis=1), affine_ras))
        elif any(v is not None for v in vectors) and space_of(image) is None:
            warn(
                "the diffusion directions are not written: they are along image axes in NIfTI, and the image has no "
                "place in the patient"
            )
    return out


def _orders(image: xr.DataArray) -> dict[str, Any]:
    """What the volumes are ordered by, and the values of orders that have no key of their own."""
    out: dict[str, Any] = {}
    names = order_names(image)
    for name in names:
        if name not in ORDERS and label_for(name).coord not in KEYS:
            label = label_for(name)
            values = volume_values(image, label.coord)
            if values is not None:
                out[label.keyword] = tidy_list(values / label.factor)
    if names != ["none"] and all(n in ORDERS or is_keyword(n) for n in names):
        out[ORDER_KEY] = ",".join(names)
    return out


def _one_or_list(values: NDArray[np.float64]) -> Any:
    return tidy(values[0]) if (values == values[0]).all() else tidy_list(values)


def _timing(image: xr.DataArray, pet: bool) -> dict[str, Any]:
    """Keys of the volumes' times: one of RepetitionTime, VolumeTiming, and for PET FrameTimesStart.

    Where volumes share a time, as the echoes of a time course do, RepetitionTime is the interval between times, and a
    key of our own says the time of each volume.
    """
    out: dict[str, Any] = {}
    times, durations = _times(image), volume_values(image, "frame_duration")
    ordered = "time" in order_names(image)
    if durations is not None:
        out["FrameDuration" if pet else "FrameAcquisitionDuration"] = tidy_list(durations)
    if pet:
        if times is not None:
            out["FrameTimesStart"] = tidy_list(times)
        return out
    tr = volume_values(image, "repetition_time")
    step = _even(times) if times is not None else None
    if times is not None and times.size > 1 and (ordered or step is not None or tr is None):
        if step is not None:
            out["RepetitionTime"] = tidy(step, 7)
        elif (step := _even(np.unique(times))) is not None and np.unique(times).size < times.size:
            # several echoes of each moment: BIDS' VolumeTiming may not repeat a time
            each = label_control_interval(image)
            out["RepetitionTime"] = tidy(step if each is None else each, 7)
            out[START_KEY] = tidy_list(times)
        elif ordered or np.ptp(times) > 0:
            out["VolumeTiming"] = tidy_list(times)
    elif tr is not None and (tr == tr[0]).all():
        out["RepetitionTime"] = tidy(tr[0] * 1e-3)
    return out


def _slice_timing(image: xr.DataArray) -> dict[str, Any]:
    """SliceTiming in the order of the file's slices, if it is the same in all volumes, but perhaps the first.

    Scanners round each slice to ticks of their clock, so volumes may differ by `_TICKS`, and their median is taken.
    A first volume that was measured in another way (the reference of a multi-band sequence) is named in a warning.
    """
    if "slice_time" not in image.coords:
        return {}
    coord = image.coords["slice_time"].variable
    if "slice" not in coord.dims or not set(coord.dims) <= {*volume_dims(image), "slice"}:
        return {}
    values = np.asarray(coord.transpose(..., "slice").values, dtype=np.float64).reshape(-1, image.sizes["slice"])
    if not np.isfinite(values).all():
        return {}
    odd = len(values) > 1 and np.abs(values[0] - np.median(values[1:], axis=0)).max() > _TICKS
    if odd:
        values = values[1:]
    if np.ptp(values, axis=0).max() > _TICKS:
        return {}
    if odd:
        warn("the slices of the first volume were measured at other times than SliceTiming says, that of the others")
    times = np.median(values, axis=0)
    return {"SliceTiming": tidy_list(times - min(times.min(), 0.0))}

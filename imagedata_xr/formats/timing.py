"""When the volumes of an image were measured, as a format with one interval can say it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import warn
from ..model.geometry import even_step
from ..model.image import per_volume, volume_dims
from ..model.orders import ORDERS, label_for


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
    text = f"{name} is not known of every volume: it is left out, since the format can't say so"
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
    times = times_of(image)
    return (even_interval(times) or 0.0, float(times[0])) if times is not None else (0.0, 0.0)


def label_control_interval(image: xr.DataArray) -> float | None:
    """Interval between successive volumes of spin labelling whose label and control share the times of a clock, s.

    They are measured one after the other all the same. Philips spreads the times of as many temporal positions evenly
    from the first to the last volume; or each time is that of a pair. The interval is taken that fits the duration of
    the whole acquisition a whole number of times, and is a whole number of repetition times; None where not exactly
    one does.
    """
    times = times_of(image) if "ASLContext" in order_names(image) else None
    tr, duration = volume_values(image, "repetition_time"), image.attrs.get("AcquisitionDuration")
    if times is None or tr is None or np.ptp(tr) or tr[0] <= 0 or not isinstance(duration, float | int):
        return None
    moments = np.unique(times)
    step = even_interval(moments)
    if step is None or moments.size == times.size:
        return None
    found = []
    for each in (np.ptp(times) / (times.size - 1), step * moments.size / times.size):
        whole, shots = duration / each, each / (tr[0] * 1e-3)
        if whole >= times.size - 1e-3 and max(abs(whole - round(whole)), abs(shots - round(shots))) < 1e-3:
            found.append(float(each))
    return found[0] if len(found) == 1 else None


def times_of(image: xr.DataArray) -> NDArray[np.float64] | None:
    """Return the times of the volumes, s, or None."""
    names = order_names(image)
    if "time" not in names:
        return volume_values(image, "time")
    return np.asarray(per_volume(image, volume_dims(image)[names.index("time")]), dtype=np.float64).ravel()


def even_interval(times: NDArray[np.float64]) -> float | None:
    """Interval of evenly spaced times: no time is further off than 1 % of it or, for short ones, 1 ms."""
    if times.size < 2 or times[-1] <= times[0]:
        return None
    return even_step(times, max(0.01 * float(np.ptp(times)) / (times.size - 1), 1e-3))

"""What the sidecars of a NIfTI file say of an image: times, echo times, b-values and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import warn
from ..model.image import space_of, volume_dims
from ..model.orders import ORDERS, VECTOR, label_for
from .carried import plain_numbers, portable
from .gradients import to_bvecs
from .nifti_labels import LABELS_KEY, ORDER_KEY, START_KEY
from .phase_encoding import of_file
from .seam import WriteOptions
from .sidecar import KEYS, bval_text, bvec_text, header_json, json_text, tidy, tidy_list
from .timing import even_interval, label_control_interval, order_names, times_of, volume_values
from .volumes import is_keyword

_SUCCESSIVE = {"none", "dti", "b", "bvector"}
"""Orders of volumes that are measured one after the other, and lie at equal intervals then."""
_POSITIVE = ("echo_time", "inversion_time")
"""Labels for which BIDS allows no 0, by which headers say that there is none."""
_LISTS = ("DecayCorrectionFactor",)
"""Keys of lists, whatever their length."""
_TICKS = 6e-3
"""s: slice times of two volumes may differ by two ticks of 2.5 ms."""


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
    zero = {name for name in _POSITIVE if name in image.coords and bool((image.coords[name] == 0).all())}
    for coord, (key, factor) in KEYS.items():
        if coord not in zero and (values := volume_values(image, coord)) is not None:
            content[key] = tidy_list(values) if key in _LISTS else _one_or_list(values * factor)
    content |= _slice_timing(image)
    content |= _orders(image)
    if affine_ras is not None:
        content |= _phase_encoding(image, affine_ras, content)
    b = volume_values(image, "b_value")
    content |= _labels(image, content, zero, options)
    out = {".json": json_text(content)}
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


def _labels(image: xr.DataArray, content: Mapping[str, Any], unsaid: set[str], options: WriteOptions) -> dict[str, Any]:
    """Labels for which neither BIDS nor FSL has a word, under a key of our own: numbers per volume or slice."""
    said = {*KEYS, "b_value", *VECTOR, *(label_for(n).coord for n in order_names(image))} - unsaid
    if {"FrameDuration", "FrameAcquisitionDuration"} & content.keys():
        said.add("frame_duration")
    if {START_KEY, "VolumeTiming", "FrameTimesStart"} & content.keys():
        said.add("time")
    out: dict[str, Any] = {}
    for name, coord in portable(image, options).items():
        dims = [*volume_dims(image), *(["slice"] if "slice" in coord.dims else [])]
        if (name in said and "slice" not in dims) or (name == "slice_time" and "SliceTiming" in content):
            continue
        values = coord.variable.set_dims({d: image.sizes[d] for d in dims}).transpose(*dims).values
        numbers = plain_numbers(values.ravel())
        count = image.sizes["slice"] if "slice" in dims else 1
        rows = [numbers[k : k + count] for k in range(0, len(numbers), count)]
        out[name] = rows if "slice" in dims else numbers
    return {LABELS_KEY: out} if out else {}


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
    # none is said only where what lies beside the image would be taken for its order
    loose = names == ["none"] and (image.sizes[volume_dims(image)[0]] < 2 or "b_value" not in image.coords)
    if not loose and all(n in ORDERS or is_keyword(n) for n in names):
        out[ORDER_KEY] = ",".join(names)
    return out


def _phase_encoding(image: xr.DataArray, affine_ras: NDArray[np.float64], content: dict[str, Any]) -> dict[str, Any]:
    """Phase encoding on the axes and the grid of the file; with its polarity no key for the axis alone is needed."""
    found = of_file(image.attrs, affine_ras, [image.sizes[d] for d in ("col", "row", "slice")])
    if "PhaseEncodingDirection" in found:
        content.pop("PhaseEncodingAxis", None)
    return {k: v if isinstance(v, str) else tidy(v, 6) for k, v in found.items()}


def _one_or_list(values: NDArray[np.float64]) -> Any:
    return tidy(values[0]) if (values == values[0]).all() else tidy_list(values)


def _timing(image: xr.DataArray, pet: bool) -> dict[str, Any]:
    """Keys of the volumes' times: one of RepetitionTime, VolumeTiming, and for PET FrameTimesStart.

    Where volumes share a time, as the echoes of a time course do, RepetitionTime is the interval between times, and a
    key of our own says the time of each volume.
    """
    out: dict[str, Any] = {}
    times, durations = times_of(image), volume_values(image, "frame_duration")
    ordered = "time" in order_names(image)
    if pet:
        if durations is not None:
            out["FrameDuration"] = tidy_list(durations)
        if times is not None:
            out["FrameTimesStart"] = tidy_list(times)
        return out
    tr = volume_values(image, "repetition_time")
    step = even_interval(times) if times is not None else None
    excited = (
        tr is not None and (tr == tr[0]).all() and not ordered and _one_after_excitation(image, step, tr[0] * 1e-3)
    )
    if times is not None and times.size > 1 and not excited and (ordered or step is not None or tr is None):
        if step is not None:
            out["RepetitionTime"] = tidy(step, 7)
        elif (step := even_interval(np.unique(times))) is not None and np.unique(times).size < times.size:
            # several echoes of each moment: BIDS' VolumeTiming may not repeat a time
            each = label_control_interval(image)
            out["RepetitionTime"] = tidy(step if each is None else each, 7)
            out[START_KEY] = tidy_list(times)
        elif ordered or np.ptp(times) > 0:
            out["VolumeTiming"] = tidy_list(times)
            if durations is not None and (durations == durations[0]).all():
                out["FrameAcquisitionDuration"] = tidy(durations[0])  # never beside RepetitionTime
    elif tr is not None and (tr == tr[0]).all():
        out["RepetitionTime"] = tidy(tr[0] * 1e-3)
    return out


def _one_after_excitation(image: xr.DataArray, step: float | None, tr: float) -> bool:
    """Whether RepetitionTime of an image that is not ordered by time is the time between excitations.

    Echoes, flip angles and the like are no time course, whatever lies between the times at which they began; and of
    diffusion volumes that follow each other in it, it has less noise than the clock.
    """
    successive = set(order_names(image)) <= _SUCCESSIVE
    return not successive or (step is not None and abs(step - tr) <= 0.01 * tr)


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

"""What the labels say of each image, as elements: time, b-value and direction, echo time and the like."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...errors import FormatError, warn
from ...model.geometry import even_step
from ...model.image import volume_dims
from ...model.orders import ASL_CONTEXT, DIRECTIONALITY, ORDERS, VECTOR, label_for
from ..headers.editing import texts_by_image, texts_of
from ..headers.header import Headers
from .fields import drop, element_of, numbers, put, put_moment
from .source_labels import diffusion_of, unknown_b_values

_OWN_RULE = ("time", "acquisition_time", "slice_time", "instance", "tag", "diffusion_directionality", *VECTOR)
_IDENTITY = ("patient", "study", "source", "geometry", "slice", "row", "col")
_EPOCH = datetime(1970, 1, 1)
_CLOCKS = ("AcquisitionDateTime", "AcquisitionTime")
_BY_NUMBER = "InstanceNumber x RepetitionTime"  # a clock that no single header says: it counts the volumes of a series


@dataclass
class Labels:
    """Elements of each image, flat in C order of volumes and slices.

    Attributes
    ----------
    shape : tuple of int
        (volumes, slices).
    numbers : dict
        Keyword -> ndarray of shape (volumes, slices); NaN where unknown.
    moments : ndarray of datetime64[us], shape (volumes, slices), or None
        When each image was measured.
    source : str
        Element that the times come from; empty where unknown.
    seconds : ndarray, shape (volumes, slices), or None
        Label of the dim of time.
    vector : ndarray, shape (volumes, 3), or None
    directionality : ndarray, shape (volumes,), or None
        Index into `DIRECTIONALITY`, or NaN.
    context : ndarray, shape (volumes, slices), or None
        Index into `ASL_CONTEXT`; of averages none.
    turn : ndarray of int, shape (volumes, slices), or None
        Number of each volume along the dim of time, from 1; None without such a dim.
    texts : dict
        Keyword -> ndarray of texts, shape (volumes, slices), that were assigned; None where it is not known any more.
    """

    shape: tuple[int, int]
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    moments: NDArray[np.datetime64] | None = None
    source: str = ""
    seconds: NDArray[np.float64] | None = None
    vector: NDArray[np.float64] | None = None
    directionality: NDArray[np.float64] | None = None
    context: NDArray[np.float64] | None = None
    turn: NDArray[np.intp] | None = None
    texts: dict[str, NDArray[Any]] = field(default_factory=dict)

    def moment(self, v: int, k: int) -> datetime | None:
        """When an image was measured; None where unknown."""
        if self.moments is None or np.isnat(self.moments[v, k]):
            return None
        return _EPOCH + timedelta(microseconds=int(self.moments[v, k].astype(np.int64)))

    def put(self, ds: pydicom.Dataset, v: int, k: int) -> None:
        """Set the labels of one image in a derived header."""
        for keyword, values in self.numbers.items():
            if np.isnan(values[v, k]):
                drop(ds, [keyword])
            else:
                put(ds, keyword, values[v, k])
        if (when := self.moment(v, k)) is not None:
            put_moment(ds, when, "AcquisitionDate", "AcquisitionTime")
            drop(ds, ["AcquisitionDateTime"])
        drop(ds, ["TemporalPositionIdentifier", "NumberOfTemporalPositions"])
        if self.turn is not None and (count := int(self.turn.max())) > 1:
            put(ds, "TemporalPositionIdentifier", int(self.turn[v, k]))
            put(ds, "NumberOfTemporalPositions", count)
        for keyword, texts in self.texts.items():
            drop(ds, [keyword])
            if texts[v, k] is not None:
                put(ds, keyword, texts[v, k])
        if self.context is not None:
            drop(ds, ["ASLContext"])
            if (code := float(self.context[v, k])) in range(len(ASL_CONTEXT)):
                put(ds, "ASLContext", ASL_CONTEXT[int(code)])
        if "DiffusionBValue" in self.numbers:
            drop(ds, ["DiffusionDirectionality", "DiffusionGradientOrientation", "DiffusionGradientDirectionSequence"])
            self._put_direction(ds, v)

    def _put_direction(self, ds: pydicom.Dataset, v: int) -> None:
        if self.directionality is not None and not np.isnan(self.directionality[v]):
            put(ds, "DiffusionDirectionality", DIRECTIONALITY[int(self.directionality[v])])
        if self.vector is not None and np.abs(self.vector[v]).max() > 0:
            put(ds, "DiffusionGradientOrientation", self.vector[v])

    def differs(self, header: pydicom.Dataset, v: int, k: int, delay: float = 0.0) -> str | None:
        """Say which label is another than in a header; None where none is, as far as its elements tell.

        `delay` are the seconds from the time of the header to that of the image, which is a tile.
        """
        if (why := self._diffusion_differs(header, v, k)) is not None:
            return why
        for keyword, values in self.numbers.items():
            own, value = numbers(header, keyword, 1), values[v, k]
            if own is not None and not abs(own[0] - value) <= 1e-6 * abs(value) + 1e-4:
                return f"its {keyword} is {value:g}, in its source {own[0]:g}"
        return self._time_differs(header, v, k, delay)

    def _diffusion_differs(self, header: pydicom.Dataset, v: int, k: int) -> str | None:
        values = self.numbers.get("DiffusionBValue")
        if values is None:
            return None
        # an image without weighting need not say so: with some vendors only the others of its series do
        b_value, direction = diffusion_of(header) or (0.0, np.zeros(3))
        if not abs(b_value - values[v, k]) <= 1:
            return f"its b-value is {values[v, k]:g}, in its source {b_value:g}"
        if self.vector is not None and np.abs(direction - self.vector[v]).max() > 1e-2:
            return "its diffusion direction is another than in its source"
        return None

    def _time_differs(self, header: pydicom.Dataset, v: int, k: int, delay: float) -> str | None:
        if self.source == _BY_NUMBER and self.turn is not None and self.seconds is not None:
            step = numbers(header, "RepetitionTime", 1)
            counted = None if step is None else (self.turn[v, k] - 1) * step[0] * 1e-3
            if counted is None or not abs(counted - self.seconds[v, k]) <= 1e-3:
                return "its time is another than that of its place in the series, which is all that its source says"
        when = self.moment(v, k)
        if when is None or self.source not in _CLOCKS:
            return None
        text = str(header.get("AcquisitionDateTime") or "")
        own = (
            _seconds(text[8:])
            if self.source == "AcquisitionDateTime"
            else _seconds(str(header.get("AcquisitionTime") or ""))
        )
        mine = when.hour * 3600 + when.minute * 60 + when.second + when.microsecond * 1e-6 - delay
        if own is not None and min(abs(own - mine), 86400 - abs(own - mine)) > 1e-3:
            return "its acquisition time is another than in its source"
        return None


def _seconds(text: str) -> float | None:
    digits = text.strip().replace(":", "").split("+")[0].split("-")[0]
    whole, _, fraction = digits.partition(".")
    if not whole.isdigit() or len(whole) not in (2, 4, 6):
        return None
    whole = whole.ljust(6, "0")
    return int(whole[:2]) * 3600 + int(whole[2:4]) * 60 + int(whole[4:]) + float(f"0.{fraction or 0}")


def labels_of(image: xr.DataArray) -> Labels:
    """Labels of a canonical image, as elements.

    Raises
    ------
    FormatError
        Where a b-value or direction can't be one of a measured volume.
    """
    dims = [*volume_dims(image), "slice"]
    sizes = [image.sizes[d] for d in dims]
    shape = (int(np.prod(sizes[:-1])), sizes[-1])

    def spread(name: str) -> Any:
        coord = image.coords.get(name)
        if coord is None or not set(coord.dims) <= set(dims):
            return None
        return coord.variable.set_dims(dict(zip(dims, sizes, strict=True))).transpose(*dims).values.reshape(shape)

    out = Labels(shape)
    for name in map(str, image.coords):
        element = None if name in (*_OWN_RULE, *_IDENTITY) else element_of(name)
        values = None if element is None else spread(name)
        if element is not None and values is not None and values.dtype.kind in "iuf":
            out.numbers[element[0]] = values.astype(np.float64) / element[1]
    for keyword, (variable, known) in texts_of(image).items():
        if set(variable.dims) <= set(dims):
            out.texts[keyword] = texts_by_image(variable, known, dict(zip(dims, sizes, strict=True)))
            if (out.texts[keyword] == None).any():  # noqa: E711 - element by element
                warn(
                    f"some texts that were assigned as {keyword} are lost (images of several sources were joined, or "
                    "averaged): they are left out. imd.assign_dicom says them again"
                )
    if (context := spread("asl_context")) is not None:
        out.context = context.astype(np.float64)
    _add_dim_labels(image, out, spread)
    _add_times(image, out, spread)
    _add_diffusion(out, spread)
    return out


def _add_dim_labels(image: xr.DataArray, out: Labels, spread: Any) -> None:
    """Take the values of the dim coord ``tag`` for its order's element, where no coord of its own says it."""
    sizes = {d: image.sizes[d] for d in (*volume_dims(image), "slice")}
    for dim in volume_dims(image):
        order = str(image.coords[dim].attrs.get("order", "none"))
        if order in ("time", "triggertime"):
            number = xr.Variable((dim,), np.arange(1, image.sizes[dim] + 1))
            out.turn = number.set_dims(sizes).transpose(*sizes).values.reshape(out.shape)
        known = ORDERS.get(order)
        keyword = (
            known.label.keyword if known else label_for(order).keyword if element_of(label_for(order).coord) else ""
        )
        if known is not None and not known.scalar:
            continue
        if keyword and keyword not in out.numbers and element_of(label_for(keyword).coord):
            out.numbers[keyword] = spread(dim).astype(np.float64) / label_for(keyword).factor


def _add_times(image: xr.DataArray, out: Labels, spread: Any) -> None:
    """Absolute times: the dim label since its epoch, else the coord ``acquisition_time``; and each slice's delay."""
    late = spread("slice_time")
    late = np.zeros(out.shape) if late is None else np.nan_to_num(late.astype(np.float64))
    delay = np.round(late * 1e6).astype("timedelta64[us]")
    dim = next((d for d in (*volume_dims(image), "tag", "time") if _is_time(image, d)), None)
    if dim is not None:
        attrs = image.coords[dim].attrs
        out.source = str(attrs.get("source", ""))
        out.seconds = seconds = spread(dim).astype(np.float64)
        if epoch := str(attrs.get("epoch", "") or ""):
            offset = np.round(seconds * 1e6).astype("timedelta64[us]")
            out.moments = np.datetime64(epoch, "us") + offset + delay
            return
        if not np.isnan(seconds).any() and len(seconds) > 1 and "TriggerTime" not in out.numbers:
            _add_relative_times(out, seconds, late)
    start = spread("acquisition_time")
    if start is not None and start.dtype.kind == "M":
        out.moments = start.astype("datetime64[us]") + delay


def _add_relative_times(out: Labels, seconds: NDArray[np.float64], late: NDArray[np.float64]) -> None:
    """Say times on a clock without a date by the step from volume to volume, else as times since a trigger (ms)."""
    step = even_step(seconds[:, 0], 1e-6)
    if step is not None and step > 0:
        out.numbers["TemporalResolution"] = np.full(out.shape, round(step * 1e3, 3))
    else:
        out.numbers["TriggerTime"] = np.round((seconds + late) * 1e3, 3)


def _is_time(image: xr.DataArray, dim: str) -> bool:
    return dim in image.coords and image.coords[dim].attrs.get("order") == "time"


def _add_diffusion(out: Labels, spread: Any) -> None:
    """b-values are in the numbers already; add directions, and refuse averages of what can't be averaged."""
    parts = [spread(name) for name in VECTOR]
    codes = spread("diffusion_directionality")
    if codes is not None:
        out.directionality = codes[:, 0].astype(np.float64)
        mixed = out.directionality % 1 != 0
        if (mixed & ~np.isnan(out.directionality)).any():
            raise _averaged("diffusion_directionality", float(out.directionality[mixed][0]))
    if all(p is not None for p in parts):
        vector = np.stack([p[:, 0].astype(np.float64) for p in parts], axis=1)
        length = np.linalg.norm(vector, axis=1)
        wrong = (np.abs(length - 1) > 1e-2) & (length > 1e-3)
        if wrong.any():
            raise _averaged("b_vector (its length)", float(length[wrong][0]))
        out.vector = np.where((length > 1e-3)[:, None], vector / np.maximum(length, 1e-3)[:, None], 0.0)
        out.vector += 0.0  # no -0.0


def _averaged(name: str, value: float) -> FormatError:
    return FormatError(
        f"{name} is {value:g}, which no measured volume has: volumes of different b-value or direction were averaged "
        "(coarsen, interp). Select volumes of one b-value first; or say the true value with assign_coords and "
        "drop_vars 'instance'; or drop_vars the diffusion labels"
    )


def check_b_values(out: Labels, averaged: NDArray[np.bool_], headers: Headers) -> None:
    """Refuse b-values that no source volume has, where volumes were averaged.

    Parameters
    ----------
    out : Labels
    averaged : ndarray of bool, shape (volumes, slices)
        Images whose label ``instance`` was averaged, and so their other labels.
    headers : Headers
        Of the source.
    """
    values = out.numbers.get("DiffusionBValue")
    if values is None or not averaged.any():
        return
    if unknown := unknown_b_values(set(values[averaged].tolist()), headers):
        raise _averaged("b_value", min(unknown))

"""Labels that a plain format has no word for, as JSON that travels in the file: order, per-volume values, header.

Nothing in it says who the patient is or when the images were made, unless identifiers are asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import SourceError, warn
from ..model.image import Volumes, volume_dims
from ..model.orders import LABELS, ORDERS, snake
from .seam import ReadOptions, WriteOptions
from .sidecar import IDENTIFIERS, header_attrs, header_json, own_json
from .volumes import Arrangement, arrange, requested

LAYOUT = 1
NEVER = {"patient", "study", "instance", "source", "acquisition_time", "geometry", "tag", "slice", "row", "col"}
_ATTRS = ("order", "units", "source", "interval")
_TELLING = re.compile(r"(^|_)(date|datetime|uid|id|patient|study|accession|birth)(_|$)")
_NUMBERS = {"DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "UV", "SV"}


@cache
def _telling_names() -> frozenset[str]:
    """Coord names of elements that are a text, a date, a clock or a UID: their numbers tell of the patient."""
    from pydicom._dicom_dict import DicomDictionary

    named = {snake(entry[4]) for entry in DicomDictionary.values() if entry[4] and entry[0] not in _NUMBERS}
    return frozenset((named | {snake(k) for k in IDENTIFIERS}) - set(LABELS))


def tells(name: str) -> bool:
    """Whether a label of this name may say who the patient is, or when the images were made."""
    return name in NEVER or bool(_TELLING.search(name)) or name in _telling_names()


# --- writing ------------------------------------------------------------------------------------------------------


def carry(image: xr.DataArray, options: WriteOptions, **marks: Any) -> dict[str, Any]:
    """What travels of a canonical image; labels that can't are named in a warning.

    Parameters
    ----------
    image : DataArray
        Canonical.
    options : WriteOptions
    **marks
        Further words of the format.
    """
    dims = volume_dims(image)
    attrs = dict(image.attrs)
    if options.units is not None:
        attrs["units"] = options.units
    if options.series_description is not None:
        attrs["SeriesDescription"] = options.series_description
    out: dict[str, Any] = {"layout": LAYOUT, "dims": [_dim(image, d, options) for d in dims]}
    labels = {
        key: {"dims": [str(d) for d in coord.dims], "values": plain_numbers(np.asarray(coord.values).ravel())}
        for key, coord in portable(image, options).items()
    }
    header = header_json(attrs, options.identifiers) | own_json(attrs)
    return out | {"labels": labels, "header": header} | marks


def portable(image: xr.DataArray, options: WriteOptions) -> dict[str, xr.DataArray]:
    """Labels that are numbers per volume or slice, by name; others are named in a warning.

    Those that tell of the patient are left out.
    """
    dims = volume_dims(image)
    found: dict[str, xr.DataArray] = {}
    lost = []
    for name, coord in image.coords.items():
        key = str(name)
        if key in dims or key in NEVER or (tells(key) and not options.identifiers):
            continue
        if coord.dtype.kind not in "biuf" or not set(coord.dims) <= {*dims, "slice"}:
            lost.append(key)
        else:
            found[key] = coord
    if lost:
        warn(f"the labels {', '.join(lost)} are not written: they are no numbers per volume or slice")
    return found


def compact(content: Mapping[str, Any]) -> str:
    """JSON in ASCII and without any blank, so that it can be split and stripped."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace(" ", "\\u0020")


def _dim(image: xr.DataArray, dim: str, options: WriteOptions) -> dict[str, Any]:
    coord = image.coords[dim] if dim in image.coords else xr.DataArray(np.arange(image.sizes[dim]), dims=dim)
    attrs = {k: coord.attrs[k] for k in _ATTRS if k in coord.attrs}
    values = np.asarray(coord.values, dtype=np.float64)
    order = str(attrs.get("order", "none"))
    telling = order not in ORDERS and (tells(dim) or tells(snake(order)))
    if options.identifiers:
        attrs["epoch"] = str(coord.attrs.get("epoch", ""))
    elif (telling and dim != "tag") or (order not in ORDERS and tells(snake(order))):
        warn(f"the values of the order {order!r} may tell of the patient: the volumes are numbered instead")
        values, attrs = np.arange(values.size, dtype=np.float64), {"order": "none", "units": "1"}
        dim = "tag" if len(volume_dims(image)) == 1 else f"volume{volume_dims(image).index(dim) + 1}"
    return {"name": str(dim), "values": plain_numbers(values), "attrs": {k: _item(v) for k, v in attrs.items()}}


def plain_numbers(values: NDArray[Any]) -> list[Any]:
    """Numbers of an array of one axis as those of JSON, which has null in place of NaN."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return [float(v) if np.isfinite(v) else None for v in values]
    return list(values.tolist())


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


# --- reading ------------------------------------------------------------------------------------------------------


class Known(NamedTuple):
    """What else a format knows of its volumes: values per label, and where they come from."""

    labels: dict[str, NDArray[np.float64]] = {}  # noqa: RUF012  # never changed
    sources: dict[str, str] = {}  # noqa: RUF012
    order: str = "none"


class Carried:
    """What travelled in a file, checked.

    Raises
    ------
    SourceError
        If it is no object as this library writes it.
    """

    def __init__(self, content: Mapping[str, Any], name: str) -> None:
        self.content, self.name = dict(content), name
        try:
            self.dims = [Volumes(_array(d["values"]), dict(d["attrs"]), str(d["name"])) for d in content["dims"]]
            self.labels = {str(k): (list(v["dims"]), _array(v["values"])) for k, v in content["labels"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(f"{name} has damaged labels: {type(error).__name__} {error}") from error

    @property
    def attrs(self) -> dict[str, Any]:
        """Attrs of the image."""
        header = self.content.get("header")
        return header_attrs(header) if isinstance(header, Mapping) else {}

    def arrangement(self, count: int, slices: int, options: ReadOptions) -> Arrangement | None:
        """Volumes as they were; in the order asked for; None where the labels are not those of this many volumes."""
        sizes = {v.dim: len(np.atleast_1d(v.values)) for v in self.dims} | {"slice": slices}
        numbers = np.arange(count, dtype=np.intp)
        counts = [sizes[v.dim] for v in self.dims]
        if int(np.prod(counts)) != count:
            warn(f"{self.name} has {count} volumes, and labels of {counts}: its labels are left out")
            return None
        numbers = numbers.reshape(counts)
        fits = {}
        for key, (dims, values) in self.labels.items():
            if set(dims) <= set(sizes) and int(np.prod([sizes[d] for d in dims])) == values.size:
                fits[key] = (dims, values.reshape([sizes[d] for d in dims]))
            else:
                warn(f"{self.name}: the label {key} does not fit {slices} slices and {count} volumes: it is left out")
        orders = requested(options.order)
        if orders is None:
            return Arrangement(self.dims, numbers, dict(fits))
        return self._sorted(count, fits, options)

    def _sorted(
        self, count: int, fits: Mapping[str, tuple[list[str], NDArray[Any]]], options: ReadOptions
    ) -> Arrangement:
        dims = [v.dim for v in self.dims]
        every = xr.DataArray(np.zeros([len(np.atleast_1d(v.values)) for v in self.dims]), dims=dims)
        flat: dict[str, NDArray[np.float64]] = {}
        for key, (on, values) in fits.items():
            if set(on) <= set(dims):
                both = xr.DataArray(values, dims=on).broadcast_like(every).transpose(*dims)
                flat[key] = np.asarray(both.values, dtype=np.float64).ravel()
        sources = {}
        for v in self.dims:
            how = ORDERS.get(str(v.attrs.get("order")))
            if how is None or how.scalar:
                coord = how.label.coord if how is not None else snake(str(v.attrs.get("order")))
                along = xr.DataArray(np.asarray(v.values), dims=[v.dim])
                flat[coord] = along.broadcast_like(every).transpose(*dims).values.ravel()
                sources[coord] = str(v.attrs.get("source", ""))
        orders = requested(options.order) or []
        how_ = arrange([count], orders, flat, sources, self.name, options.duplicates)
        new = [v.dim for v in how_.volumes]
        for key, (on, values) in fits.items():
            if on == ["slice"]:
                how_.coords[key] = (on, values)
            elif "slice" in on:
                both = xr.DataArray(values, dims=on).broadcast_like(every).transpose(*dims, "slice")
                how_.coords[key] = ([*new, "slice"], both.values.reshape(count, -1)[how_.numbers])
        return how_


def _array(values: Sequence[Any]) -> NDArray[Any]:
    out = np.asarray([np.nan if v is None else v for v in values])
    if out.dtype.kind not in "biuf" and out.size:
        raise ValueError("values that are no numbers")
    return out


def arranged(
    carried: Carried | None, shape: Sequence[int], slices: int, known: Known, options: ReadOptions, name: str
) -> Arrangement:
    """Arrange the volumes of a file by what travelled in it, else by what the format says, in the order asked for.

    Parameters
    ----------
    carried : Carried, optional
    shape : sequence of int
        Lengths of the axes of volumes, the fastest first.
    slices : int
    known : Known
    options : ReadOptions
    name : str
        Of the file, for messages.

    Raises
    ------
    SortError
        If the volumes can't be arranged as asked.
    """
    lengths = [n for n in shape if n > 1] or [1]
    how = carried.arrangement(int(np.prod(lengths)), slices, options) if carried is not None else None
    if how is not None:
        return how
    orders = requested(options.order)
    if orders is None:
        orders = [ORDERS[known.order if len(lengths) == 1 else "none"]] * len(lengths)
    return arrange(lengths, orders, known.labels, known.sources, name, options.duplicates)

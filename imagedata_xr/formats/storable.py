"""An image in the form that zarr and netCDF hold without loss, and back.

Both keep the image as plain xarray has it, so that any program can open it. What they can't hold is marked, variable by
variable, by attributes of ours, and comes back when the image is opened by this library:

- ``json_attrs``: JSON list of the attributes whose text is JSON (lists of one or of mixed values, empty lists, bool,
  numbers that are not finite, ... as far as the format has no such thing);
- ``reserved_attrs``: JSON object of the attributes whose names mean something else to xarray, such as ``scale_factor``;
- ``numpy_dtype``: type of a coord that is stored as another one (dates, durations, text of fixed length).

The root has ``imagedata_xr``, the version of this library, and ``layout``, the version of this form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import xarray as xr

from ..errors import FormatError
from ..model.image import NAME, repair

MARK = "imagedata_xr"
LAYOUT = 1
HEADERS = "headers"  # group of the header table

_JSON, _RESERVED, _DTYPE = "json_attrs", "reserved_attrs", "numpy_dtype"
_NAMES_OF_XARRAY = {
    "_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "calendar", "coordinates", "grid_mapping",
    "bounds", "_Unsigned", "_Encoding", "_ARRAY_DIMENSIONS", "_NCProperties", "_Netcdf4Dimid", "_Netcdf4Coordinates",
    "_nc3_strict", "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", _JSON, _RESERVED, _DTYPE,
}  # fmt: skip
_TIME_UNITS = {
    "ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours",
    "D": "days",
}  # fmt: skip
_ENCODING = ("stored_dtype", "bits_stored")


# --- to store ---------------------------------------------------------------------------------------------------------


def storable(image: xr.DataArray, any_json: bool) -> xr.Dataset:
    """Dataset of an image that zarr or netCDF can hold.

    Parameters
    ----------
    image : DataArray
        Repaired; its data stay lazy.
    any_json : bool
        Whether attributes may be anything that JSON knows (zarr), or str, numbers and flat lists of one kind (netCDF).

    Raises
    ------
    FormatError
        For values, coords or attributes that can't be held.
    """
    variables = {str(n): _storable_coord(str(n), c.variable, any_json) for n, c in image.coords.items()}
    if NAME in variables:
        raise FormatError(f"the image has a coord {NAME!r}, which is the name of its own variable: rename it")
    variable = image.variable.copy(deep=False)
    variable.attrs, variable.encoding = _storable_attrs(NAME, image.attrs, any_json), {}
    ds = xr.Dataset({NAME: variable}, coords=xr.Coordinates(variables, indexes={}))
    ds.attrs = {MARK: _version(), "layout": LAYOUT}
    ds.attrs |= {k: _plain(k, image.encoding[k]) for k in _ENCODING if k in image.encoding}
    return ds


def _version() -> str:
    from .. import __version__

    return __version__


def _storable_coord(name: str, variable: xr.Variable, any_json: bool) -> xr.Variable:
    values, dtype = variable.values, variable.dtype
    extra: dict[str, Any] = {}
    if dtype.kind in "mM":
        unit = np.datetime_data(dtype)[0]
        if unit not in _TIME_UNITS:
            raise FormatError(f"the coord {name!r} is of type {dtype}, which can't be stored: convert it to us")
        extra = {"units": _TIME_UNITS[unit], _DTYPE: dtype.str}
        if dtype.kind == "M":
            extra |= {"units": f"{_TIME_UNITS[unit]} since 1970-01-01", "calendar": "proleptic_gregorian"}
        if np.isnat(values).any():
            extra["_FillValue"] = np.int64(np.iinfo(np.int64).min)
        values = values.astype(np.int64)
    elif dtype.kind == "U":
        extra = {_DTYPE: dtype.str}
    elif dtype.kind == "O":
        if not all(isinstance(v, str) for v in np.ravel(values)):
            raise FormatError(f"the coord {name!r} holds Python objects that are no text: drop_vars({name!r})")
        extra = {_DTYPE: "O"}
    elif dtype.kind not in "biufcT" or (not any_json and (dtype.kind == "c" or dtype == np.float16)):
        raise FormatError(f"the coord {name!r} is of type {dtype}, which can't be stored: convert or drop it")
    attrs = _storable_attrs(name, variable.attrs, any_json, extra)
    return xr.Variable(variable.dims, as_objects(values), attrs | extra)


def as_objects(values: Any) -> Any:
    """Texts as Python objects, the one form that every xarray stores with variable length; other values as they are."""
    return values.astype(object) if values.dtype.kind in "UT" else values


def _storable_attrs(owner: str, attrs: Mapping[Any, Any], any_json: bool, taken: Container[str] = ()) -> dict[str, Any]:
    out: dict[str, Any] = {}
    as_json, reserved = [], {}
    for key, value in attrs.items():
        name, value = str(key), _plain(f"{owner}.{key}", value)
        if name in _NAMES_OF_XARRAY or name in taken or "/" in name:
            reserved[name] = value
        elif _fits(value, any_json):
            out[name] = value
        else:
            as_json.append(name)
            out[name] = json.dumps(value)
    if as_json:
        out[_JSON] = json.dumps(as_json)
    if reserved:
        out[_RESERVED] = json.dumps(reserved)
    return out


def _plain(name: str, value: Any) -> Any:
    """Return an attribute in types that JSON knows."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(name, v) for v in value]
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value):
        return {k: _plain(name, v) for k, v in value.items()}
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):  # subclasses, such as those of pydicom, become what they are
        if isinstance(value, kind):
            return kind(value)
    raise FormatError(
        f"the attribute {name!r} is of type {type(value).__name__}, which can't be stored: attributes are texts, "
        "numbers and lists of these"
    )


def _fits(value: Any, any_json: bool) -> bool:
    """Whether a format gives an attribute back as it is."""
    if any_json:
        return _finite(value)
    if isinstance(value, list):
        kinds = {type(v) for v in value}
        return len(value) > 1 and len(kinds) == 1 and kinds <= {str, int, float} and all(_fits(v, False) for v in value)
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, int) and not isinstance(value, bool):
        return -(2**63) <= value < 2**63
    return isinstance(value, float)


def _finite(value: Any) -> bool:
    """Whether all numbers can stand in strict JSON."""
    if isinstance(value, list):
        return all(map(_finite, value))
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return not isinstance(value, float) or math.isfinite(value)


# --- back -------------------------------------------------------------------------------------------------------------


def check_layout(attrs: Mapping[str, Any], name: str) -> None:
    """Raise `FormatError` for a file of a later version than this one knows."""
    layout = int(attrs.get("layout", 0))
    if not 1 <= layout <= LAYOUT:
        raise FormatError(
            f"{name} was written by imagedata_xr {attrs[MARK]} in layout {layout}; this version knows {LAYOUT}: "
            "update it"
        )


def restored(ds: xr.Dataset, source: str, chunks: Mapping[str, int]) -> xr.Dataset:
    """Return the image of a Dataset of `storable`, opened without decoding of times and fill values.

    Parameters
    ----------
    ds : Dataset
    source : str
        Becomes the coord ``source``.
    chunks : mapping
        Stored chunks by dim.

    Returns
    -------
    Dataset
        With the variable ``image``, still lazy.
    """
    coords = {str(n): _restored_coord(c.variable) for n, c in ds.coords.items()}
    if source:
        coords["source"] = xr.Variable((), np.array(source, dtype=np.dtypes.StringDType()))
    else:
        coords.pop("source", None)
    encoding: dict[str, Any] = {k: v for k, v in _restored_attrs(ds.attrs).items() if k in _ENCODING}
    encoding["preferred_chunks"] = dict(chunks)
    image = ds[NAME].variable.copy(deep=False)
    image.attrs, image.encoding = _restored_attrs(image.attrs), encoding
    out = repair(xr.Dataset({NAME: image}, coords=xr.Coordinates(coords, indexes={})))
    out.set_close(ds.close)
    return out  # type: ignore[no-any-return]


def _restored_coord(variable: xr.Variable) -> xr.Variable:
    attrs, values = dict(variable.attrs), variable.values
    dtype = attrs.pop(_DTYPE, None)
    if dtype is not None:
        target = np.dtype(dtype)
        values = np.asarray(values).astype(target)
        if target.kind in "mM":
            for key in ("units", "calendar", "_FillValue"):
                attrs.pop(key, None)
    elif values.dtype.kind in "UO":
        values = values.astype(np.dtypes.StringDType())
    return xr.Variable(variable.dims, values, _restored_attrs(attrs))


def _restored_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in attrs.items():
        out[str(key)] = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    for name in json.loads(out.pop(_JSON, "[]")):
        if name in out:
            out[name] = json.loads(out[name])
    reserved: dict[str, Any] = json.loads(out.pop(_RESERVED, "{}"))
    return out | reserved

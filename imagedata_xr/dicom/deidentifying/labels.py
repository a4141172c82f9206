"""Attrs and coords of an image without what identifies: the same profile as for headers, and nothing unknown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import xarray as xr
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.tag import Tag

from ...model.geometry import AXES
from ...model.image import NAME, repair, space_of
from ...model.indexes import Space
from ...model.orders import BY_KEYWORD, LABELS, ORDERS, VECTOR, snake
from ...model.phase_encoding import OWN as PHASE_ENCODING
from ..sorting.attrs import attr_value
from ..writing.fields import element_of, from_attrs
from .cleaning import Cleaner
from .texts import Texts

OWN_ATTRS = frozenset(("units", "assigned_elements", "quantity", "long_name", *PHASE_ENCODING))
"""Attrs of an image that are no elements and stay."""
_COORD_ATTRS = frozenset(("units", "order", "source", "interval", "spacing", "direction", "long_name", "standard_name"))
_STRUCTURE = frozenset((*AXES, *LABELS, *VECTOR, "tag", "segment"))


def attrs_without(image: xr.DataArray, cleaner: Cleaner) -> dict[str, Any]:
    """Attrs of an image: elements as in headers; other attrs than the library's own are left out."""
    return elements_without(image.attrs, cleaner)


def elements_without(attrs: Mapping[Any, Any], cleaner: Cleaner) -> dict[str, Any]:
    """Attrs, of an image or of a series without pixels, cleaned."""
    header = from_attrs(attrs)
    texts = cleaner.texts_of(header)
    cleaned = cleaner.elements(header)
    own = {str(k): v for k, v in attrs.items() if k in OWN_ATTRS}
    out: dict[str, Any] = {k: texts.clean(v, typed=True) if isinstance(v, str) else v for k, v in own.items()}
    for element in cleaned:
        value = attr_value(element)
        if element.keyword and element.keyword != "SpecificCharacterSet" and value is not None:
            out[element.keyword] = value
    return out


def days_of(image: xr.DataArray, cleaner: Cleaner) -> int | None:
    """Days by which the moments of an image move; None where they are not kept, 0 where they stay."""
    if "full_dates" in cleaner.policy.options:
        return 0
    return cleaner.pseudonyms.days(image.attrs) if "modified_dates" in cleaner.policy.options else None


def relabelled(image: xr.DataArray, cleaner: Cleaner, days: int | None) -> xr.DataArray:
    """Image whose coords tell nobody's identity; ``instance``, ``source``, ``patient``, ``study`` are the caller's.

    Kept are the labels of the data model, with moments moved, and numbers along dims whose element the profile keeps.
    Coords of the user's own are kept where they are numbers along a dim.
    """
    space = space_of(image)
    texts = cleaner.texts_of(from_attrs(image.attrs))
    coords: dict[str, xr.Variable] = {}
    for key, coord in image.coords.items():
        name = str(key)
        if name in ("instance", "source", "patient", "study", "geometry"):
            continue
        own = name in _STRUCTURE or _keyword_of(name) is not None
        if not own and texts.clean(name) != name:  # a coord of the user's, called after somebody
            continue
        if (new := _coord(name, coord.variable, cleaner, texts, days)) is not None:
            coords[name] = new
    if space is not None:
        frame = cleaner.pseudonyms.uid(space.frame_of_reference) if space.frame_of_reference else ""
        coords["geometry"] = Space(space.direction, frame).to_variable()
    data = image.variable.copy(deep=False)
    data.attrs = {}
    data.encoding = {
        k: v for k, v in image.encoding.items() if k in ("preferred_chunks", "stored_dtype", "bits_stored")
    }
    out = xr.DataArray(data, coords=xr.Coordinates(coords, indexes={}), name=NAME)
    return repair(out)  # type: ignore[no-any-return]


def _coord(name: str, variable: xr.Variable, cleaner: Cleaner, texts: Texts, days: int | None) -> xr.Variable | None:
    variable = variable.to_base_variable()
    if "texts" in variable.attrs:  # that were assigned image by image
        return None
    if variable.dtype.kind == "M":
        if days is None or name != "acquisition_time":
            return None
        variable = xr.Variable(variable.dims, variable.values + np.timedelta64(days, "D"), variable.attrs)
    elif name == "label":  # of segments
        names = [texts.clean(str(v)) for v in np.ravel(variable.values)]
        values = np.array(names, dtype=np.dtypes.StringDType()).reshape(variable.shape)
        variable = xr.Variable(variable.dims, values, {})
    elif variable.dtype.kind not in "biuf" or not _may_stay(name, variable, cleaner):
        return None
    out = variable.copy(deep=False)
    out.encoding = {}
    out.attrs = {str(k): v for k, v in variable.attrs.items() if k in _COORD_ATTRS and _plain(str(k), v, texts)}
    if "epoch" in variable.attrs:
        out.attrs["epoch"] = moved(str(variable.attrs["epoch"]), days)
    return out


def _may_stay(name: str, variable: xr.Variable, cleaner: Cleaner) -> bool:
    keyword = _keyword_of(name)
    if keyword is not None:
        tag = tag_for_keyword(keyword)
        assert tag is not None
        return cleaner.policy.action(Tag(tag), dictionary_VR(tag).split(" or ")[0]) in ("K", "C")
    return name in _STRUCTURE or bool(variable.dims)


def _keyword_of(name: str) -> str | None:
    """Element that a coord is named after."""
    if name in LABELS:
        return LABELS[name].keyword or None
    found = element_of(name)
    return found[0] if found is not None else _snake_names().get(name)


def _snake_names() -> Mapping[str, str]:
    from .table import ACTIONS

    if not _NAMES:
        _NAMES.update({snake(k): k for k in ACTIONS if tag_for_keyword(k) is not None})
    return _NAMES


_NAMES: dict[str, str] = {}


def _plain(key: str, value: Any, texts: Texts) -> bool:
    """Whether an attr of a coord is a number, or a word of the library's or the standard's own that names nobody."""
    if not isinstance(value, str):
        return True
    if key == "order":
        return value in ORDERS or tag_for_keyword(value) is not None or value in ("none", "segment")
    if key == "source":
        return not value or all(w in BY_KEYWORD or w in ("x", "+") or w.isidentifier() for w in value.split())
    return (
        len(value) <= 40
        and texts.clean(value, typed=True) == value
        and not any(c.isdigit() for c in value.replace("mm2", ""))
    )


def moved(epoch: str, days: int | None) -> str:
    """Epoch of a time label moved by days; empty where moments are not kept."""
    if days is None or not epoch:
        return ""
    try:
        return (datetime.fromisoformat(epoch) + timedelta(days=days)).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return ""

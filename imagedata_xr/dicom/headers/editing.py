"""Setting elements of headers: one value for all images, or one for each volume, slice, or image.

One value for all becomes an attr, or the label of its element. Values of their own become a coord on the dims along
which they vary, named after the keyword, so that they move with the images through selections, flips and `concat`. A
coord of an image holds numbers; texts stand as their digests, and which text that is in the coord's attr ``texts``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from ...errors import LabelError
from ...model.assign import ASSIGNED, assign_dicom
from ...model.identity import digest
from ...model.image import space_of, volume_dims
from ...model.orders import BY_KEYWORD, ORDERS, snake
from ..writing.fields import element_of
from .owned import of_series, owned
from .valid import NUMERIC, TEXT, check_count, checked
from .whole_file import trouble

TEXTS = "texts"
"""Attr of a coord of digests: JSON object of the texts that they stand for."""

_OF_ALL = (0x0010, 0x0012, 0x0028, 0x0038, 0x0040)  # groups of patient and pixels: one value for all images
_NO_MATCH = "give a DataArray, or (dims, values) as in assign_coords"


def edited(image: xr.DataArray, keywords: Mapping[str, Any]) -> xr.DataArray:
    """Image with elements of its own; they are written in place of those of its source.

    Parameters
    ----------
    image : xarray.DataArray
        Repaired.
    keywords : mapping
        DICOM keyword -> a value for all images (a list for an element of several values; None removes the element); or
        values of their own: a DataArray, ``(dims, values)``, or an array of the length of the volumes or of the
        slices, or of the shape of both.

    Raises
    ------
    LabelError
        For a word that is no keyword, an element that labels, geometry, pixels or UIDs own, or a value that its value
        representation or multiplicity does not allow (PS3.5 6.2, 6.4); nothing is set then.
    """
    constants: dict[str, Any] = {}
    coords: dict[str, xr.Variable | None] = {}
    for keyword, value in keywords.items():
        vr = _vr(keyword, space_of(image) is not None)
        value = _plain(value)
        spread = _spread(image, keyword, value)
        if spread is None and keyword not in BY_KEYWORD:
            constants[keyword] = _constant(keyword, vr, value)
            coords[snake(keyword)] = None
        else:
            name = BY_KEYWORD[keyword].coord if keyword in BY_KEYWORD else snake(keyword)
            coords[name] = _coord(image, keyword, vr, xr.Variable((), value) if spread is None else spread)
    out = assign_dicom(image, constants, lambda _: True)
    gone = [n for n in coords if n in out.coords]
    out = out.drop_vars(gone).assign_coords({n: v for n, v in coords.items() if v is not None})
    varying = [k for k in keywords if k not in constants]
    before = out.attrs.get(ASSIGNED, [])
    words = [before] if isinstance(before, str) else list(before)
    out.attrs = {k: v for k, v in out.attrs.items() if k not in varying}
    out.attrs[ASSIGNED] = sorted({*words, *keywords})
    return out


def _plain(value: Any) -> Any:
    """Value without the array around a single one."""
    single = isinstance(value, (xr.DataArray, xr.Variable, np.ndarray)) and not value.ndim
    return np.asarray(value).item() if single else value


def _vr(keyword: str, placed: bool) -> str:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LabelError(f"{keyword!r} is no DICOM keyword")
    if (why := owned(keyword, placed)) is not None:
        raise LabelError(f"{keyword} can't be assigned: {why}")
    if tag >> 16 < 8 or tag >> 16 >= 0x5000:
        raise LabelError(f"{keyword} can't be assigned: it is no element of a header")
    vr = dictionary_VR(tag)
    if vr not in (*NUMERIC, *TEXT, "SQ", "US or SS"):
        raise LabelError(f"{keyword} is of VR {vr}: texts, numbers and sequences can be assigned")
    return "SS" if vr == "US or SS" else vr


# --- one value for all ------------------------------------------------------------------------------------------------


def _constant(keyword: str, vr: str, value: Any) -> Any:
    if value is None:
        return None
    if vr == "SQ":
        return _sequence(keyword, value)
    if isinstance(value, np.generic):
        value = value.item()
    several = list(value) if isinstance(value, (list, tuple)) else None
    parts = several if several is not None else value.split("\\") if isinstance(value, str) and _splits(vr) else [value]
    done = [checked(keyword, vr, v) for v in parts]
    check_count(keyword, done)
    return done if several is not None or len(done) > 1 else done[0]


def _splits(vr: str) -> bool:
    return vr not in ("LT", "ST", "UT", "UR")  # texts in which a backslash is one


def _sequence(keyword: str, value: Any) -> str:
    try:
        items = json.loads(value) if isinstance(value, str) else [_item(v) for v in value]
        for item in items:
            pydicom.Dataset.from_json(item)
        return json.dumps(items)
    except trouble() as error:
        raise LabelError(f"{keyword} is a sequence: a list of pydicom.Dataset, or its DICOM JSON ({error})") from None


def _item(value: Any) -> Any:
    return value.to_json_dict() if isinstance(value, pydicom.Dataset) else value


# --- a value for each -------------------------------------------------------------------------------------------------


def _spread(image: xr.DataArray, keyword: str, value: Any) -> xr.Variable | None:
    """Values with their dims; None for one value for all images."""
    dims = [d for d in (*volume_dims(image), "slice") if d in image.dims]
    if isinstance(value, xr.DataArray):
        _check_labels(image, keyword, value, dims)
        found = value.variable
    elif isinstance(value, xr.Variable):
        found = value
    elif isinstance(value, tuple) and len(value) == 2 and _are_dims(value[0], image):
        found = xr.Variable(value[0], np.asarray(value[1]))
    elif (isinstance(value, np.ndarray) and value.ndim) or (isinstance(value, list) and _single(keyword)):
        found = xr.Variable(_dims_for(keyword, np.shape(value), image, dims), np.asarray(value))
    else:
        return None
    for name, size in found.sizes.items():
        if name not in dims or size != image.sizes[name]:
            have = {d: image.sizes[d] for d in dims}
            raise LabelError(f"{keyword} has {size} values along {name!r}, and the images lie along {have}")
    return found if found.ndim else None


def _check_labels(image: xr.DataArray, keyword: str, value: xr.DataArray, dims: Sequence[str]) -> None:
    """Raise `LabelError` where the labels that a value brings along are not those of the image, in their sequence."""
    for name, coord in value.coords.items():
        if name not in image.coords or not coord.dims or not set(coord.dims) <= set(dims):
            continue
        own = image.coords[name]
        if dict(own.sizes) != dict(coord.sizes):  # another length is said below
            continue
        mine, theirs = own.values, coord.transpose(*own.dims).values
        if mine.dtype.kind in "iuf" and theirs.dtype.kind in "iuf":
            same = np.array_equal(mine, theirs) or np.allclose(mine, theirs, rtol=0, atol=1e-2, equal_nan=True)
        else:
            same = mine.dtype.kind == theirs.dtype.kind and bool((mine == theirs).all())
        if not same:
            raise LabelError(
                f"{keyword}: its labels of {name!r} are others than those of the image, or in another sequence: "
                "reindex or sortby puts them right, .variable is taken as it is"
            )


def _single(keyword: str) -> bool:
    """Whether an element has one value, so that a list says those of several images."""
    return bool(dictionary_VM(keyword) == "1" and dictionary_VR(keyword) != "SQ")


def _are_dims(names: Any, image: xr.DataArray) -> bool:
    parts = [names] if isinstance(names, str) else list(names) if isinstance(names, (list, tuple)) else []
    return bool(parts) and all(isinstance(p, str) and p in image.dims for p in parts)


def _dims_for(keyword: str, shape: tuple[int, ...], image: xr.DataArray, dims: Sequence[str]) -> list[str]:
    """Dims that an array without names lies along: all, the volumes, or the slices, by its shape."""
    choices = [list(dims), [d for d in dims if d != "slice"], ["slice"] if "slice" in dims else []]
    fitting = [c for c in choices if c and tuple(image.sizes[d] for d in c) == shape]
    distinct = [c for i, c in enumerate(fitting) if c not in fitting[:i]]
    if len(distinct) != 1:
        which = "several of the dims" if distinct else "none of the dims"
        raise LabelError(f"{keyword} has the shape {shape}, which fits {which} {dict(image.sizes)}: {_NO_MATCH}")
    return distinct[0]


def _coord(image: xr.DataArray, keyword: str, vr: str, found: xr.Variable) -> xr.Variable | None:
    """Coord of values of their own."""
    label = BY_KEYWORD.get(keyword)
    for dim in volume_dims(image):
        order = ORDERS.get(str(image.coords[dim].attrs.get("order", "")))
        if order is not None and order.label.keyword == keyword:
            raise LabelError(f"the volumes are ordered by {keyword}: change the labels, assign_coords({dim}=...)")
    if found.ndim == 0 and found.values.item() in (None, ""):
        return None
    tag = tag_for_keyword(keyword)
    assert tag is not None
    if (label is None and (tag >> 16 in _OF_ALL or vr == "SQ")) or (found.ndim and of_series(keyword)):
        raise LabelError(f"{keyword} has one value for all images of a series")
    if vr in NUMERIC and element_of(label.coord if label else snake(keyword)) is None:
        raise LabelError(f"{keyword} has one value for all images, or is counted when they are written")
    values = [checked(keyword, vr, v) for v in found.values.ravel().tolist()]
    if vr in NUMERIC and "" in values:
        raise LabelError(f"{keyword} is a number ({vr}) of each image, and one is empty")
    if vr in NUMERIC:
        factor = 1.0 if label is None else label.factor
        numbers = np.array([float(v) * factor for v in values]).reshape(found.shape)
        return xr.Variable(found.dims, numbers, {"units": label.units} if label and label.units else {})
    codes: dict[str, int] = {v: digest("text", v) for v in values}
    table = json.dumps({str(n): text for text, n in codes.items()})
    array = np.array([codes[v] for v in values], dtype=np.int64).reshape(found.shape)
    return xr.Variable(found.dims, array, {TEXTS: table, "element": keyword})


def texts_of(image: xr.DataArray) -> dict[str, tuple[xr.Variable, dict[int, str]]]:
    """Texts that were assigned image by image: keyword -> (digests, texts by digest)."""
    out = {}
    for coord in image.coords.values():
        if TEXTS in coord.attrs and tag_for_keyword(str(coord.attrs.get("element", ""))) is not None:
            known = {int(n): str(t) for n, t in json.loads(str(coord.attrs[TEXTS])).items()}
            out[str(coord.attrs["element"])] = (coord.variable, known)
    return out


def texts_by_image(variable: xr.Variable, known: Mapping[int, str], sizes: Mapping[str, int]) -> NDArray[Any]:
    """Texts by volume and slice, flat volumes; None where a digest is of a text that is not known.

    Parameters
    ----------
    variable, known
        Of `texts_of`.
    sizes : mapping
        Of the volume dims and the slice.
    """
    values = variable.set_dims(dict(sizes)).transpose(*sizes).values
    flat = values.reshape(-1, values.shape[-1])
    out: NDArray[Any] = np.empty(flat.shape, dtype=object)
    for at, d in np.ndenumerate(flat):
        out[at] = known.get(int(d)) if d == d and d % 1 == 0 else None
    return out


def parsed(pairs: Sequence[str]) -> dict[str, Any]:
    """Elements of ``Keyword=value`` texts; several values are parted by a backslash, an empty value empties.

    Raises
    ------
    LabelError
        For a text without ``=``.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        keyword, sign, value = pair.partition("=")
        if not sign:
            raise LabelError(f"{pair!r}: Keyword=value")
        out[keyword.strip()] = value
    return out

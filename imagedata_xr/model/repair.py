"""Give an image back what xarray drops: the indexes of its dims, and the coord ``geometry``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr
from xarray.indexes import PandasIndex

from ..errors import GeometryError, warn
from .geometry import AXES
from .indexes import POSITION_TOLERANCE, SPACING_ATTRS, AxisIndex, LabelIndex, Space, spacing_attrs
from .orders import VECTOR
from .tag_index import TagIndex

TRAILING = ("rgb",)  # dims after col
SEGMENT = "segment"  # the dim of a segmentation, in place of tag: numbers of its segments
DIFFUSION = ("dti", "bvector", "b")


def volume_dims(obj: xr.Dataset | xr.DataArray) -> list[str]:
    """Dims that count volumes: ``tag``, those of a grid of orders, or ``segment``."""
    others = (*AXES, *TRAILING)
    return [
        str(d)
        for d in obj.dims
        if d not in others and (d in ("tag", SEGMENT) or (d in obj.coords and "order" in obj.coords[d].attrs))
    ]


def _tag_options(obj: xr.Dataset | xr.DataArray, dim: str) -> dict[str, Any]:
    attrs = obj.coords[dim].attrs
    order = str(attrs.get("order", "none"))
    options: dict[str, Any] = {"order": order, "tolerance": tag_tolerance(order, attrs), "epoch": epoch_of(attrs)}
    options["attrs"] = dict(attrs)
    if order in DIFFUSION:
        names = [n for n in ("b_value", *VECTOR) if n in obj.coords and obj.coords[n].dims == (dim,)]
        if names:
            options["keys"] = np.stack([np.asarray(obj.coords[n].values, dtype=np.float64) for n in names], axis=1)
            options["key_names"] = tuple(names)
            options["key_tolerance"] = tuple(1.0 if n == "b_value" else 1e-2 for n in names)
    return options


def epoch_of(attrs: Mapping[str, Any]) -> float | None:
    """Seconds since 1970 of the epoch of a tag coord (no time zone); None where it is unknown."""
    try:
        return (datetime.fromisoformat(str(attrs.get("epoch", ""))) - datetime(1970, 1, 1)).total_seconds()
    except (ValueError, TypeError):
        return None


def tag_tolerance(order: str, attrs: Mapping[str, Any]) -> float:
    """How far volume labels may differ and still be the same, in their units."""
    interval = attrs.get("interval")
    if order in ("time", "triggertime") and interval is not None and float(interval) > 0:
        return 0.1 * float(interval)
    if order in ("b", "bvector"):
        return 1.0
    return 1e-2


def put_indexes(ds: Any, space: Space | None) -> Any:
    """Put our indexes on the dim coords that lack them; keep those that are there, and somebody's own."""
    ds = _forget_stale_spacing(_restore_attrs(ds))
    indexes, coords, dims = ds.xindexes, ds.coords, ds.dims
    for name in AXES:
        if name in dims and name in coords and not isinstance(indexes.get(name), AxisIndex):
            ds = ds.drop_indexes(name) if name in indexes else ds
            ds = ds.set_xindex(name, AxisIndex, space=space)
    for dim in volume_dims(ds):
        if dim in coords and (dim not in indexes or type(indexes[dim]) is PandasIndex):
            ds = ds.drop_indexes(dim) if dim in indexes else ds
            ds = ds.set_xindex(dim, TagIndex, **_tag_options(ds, dim))
    return ds


def _restore_attrs(ds: Any) -> Any:
    """Give dim coords the attrs that their indexes know, where xarray dropped all: ``xr.where(mask, 0, image)``."""
    for name, index in ds.xindexes.items():
        if not isinstance(index, LabelIndex) or ds.coords[name].attrs:
            continue
        attrs = index.attrs if isinstance(index, TagIndex) else {}
        variables = index.create_variables({name: xr.Variable(ds.coords[name].dims, ds.coords[name].values, attrs)})
        ds = ds.assign_coords(xr.Coordinates(variables, indexes={name: index}))
    return ds


def _forget_stale_spacing(ds: Any) -> Any:
    """Drop the spacing of single labels where it may no longer be true.

    coarsen and interp keep the attrs of an axis, also those of a label that is selected afterwards. A label that was
    selected among others is on their grid; that it does not come from a coarsened axis shows in the indexes of the
    other dims, all of which coarsen drops.
    """
    indexes, coords, sizes = ds.xindexes, ds.coords, ds.sizes
    for name in AXES:
        if name not in coords or sizes.get(name, 1) != 1 or isinstance(indexes.get(name), AxisIndex):
            continue
        coord = coords[name]
        if "spacing" not in coord.attrs or "count" not in coord.attrs or coord.size != 1:
            continue  # nothing is said, or the user says it
        attrs = {k: v for k, v in coord.attrs.items() if k not in SPACING_ATTRS}
        if _on_grid(coord) and (coord.attrs["count"] == 1 or not _all_indexes_lost(ds)):
            attrs |= spacing_attrs(coord.attrs["spacing"], float(coord.values.item()), 1)
        if attrs != coord.attrs:
            ds = ds.drop_indexes(name) if name in indexes else ds
            ds = ds.assign_coords(xr.Coordinates({name: xr.Variable(coord.dims, coord.values, attrs)}, indexes={}))
    return ds


def _on_grid(coord: xr.DataArray) -> bool:
    first, spacing, count = (float(coord.attrs.get(k, np.nan)) for k in ("first", "spacing", "count"))
    label = float(coord.values.item())
    if not np.isfinite([label, first, spacing]).all():
        return False
    steps = abs(label - first) / spacing
    return round(steps) < count and abs(steps - round(steps)) * spacing <= POSITION_TOLERANCE


def _all_indexes_lost(ds: Any) -> bool:
    indexes = ds.xindexes
    kinds = [type(indexes[d]) for d in (*AXES, *volume_dims(ds)) if d in ds.dims and d in indexes]
    return bool(kinds) and not any(issubclass(k, LabelIndex) for k in kinds)


def space_of(obj: xr.Dataset | xr.DataArray) -> Space | None:
    """Return the space of an image: that of its indexes and its coord ``geometry``, which must agree.

    Returns
    -------
    Space or None
        None where the image has no place in the patient.

    Raises
    ------
    GeometryError
        Where axes or coord contradict each other.
    """
    spaces: list[Space] = []
    for index in obj.xindexes.values():
        if isinstance(index, AxisIndex) and index.space is not None and not any(index.space is s for s in spaces):
            spaces.append(index.space)
    if "geometry" in obj.coords:
        coord = obj.coords["geometry"]
        if coord.ndim:
            raise GeometryError(
                f"the coord 'geometry' has dims {coord.dims}: images of different geometry were joined; interp_like "
                "puts them on one grid before joining"
            )
        if not (spaces and (spaces[0].is_of(coord.variable) or _is_digest(coord, spaces))):
            spaces.append(Space.from_variable(coord.variable))
    elif spaces and not all(isinstance(obj.xindexes.get(n), AxisIndex) for n in AXES):
        # where all three axes know their space and agree, nothing is in doubt: sums with an image without a frame
        warn(
            "the coord 'geometry' was dropped (operands of different geometry, or quantile); the geometry of the axes "
            "is used"
        )
    for other in spaces[1:]:
        if why := spaces[0].conflict(other):
            raise GeometryError(f"the axes of the image do not belong together: {why}")
    named = [s for s in spaces if s.frame_of_reference]
    return (named or spaces)[0] if spaces else None


def _is_digest(coord: xr.DataArray, spaces: list[Space]) -> bool:
    """Whether a coord ``geometry`` that lost its attrs is the digest of a space that the axes know."""
    return "direction" not in coord.attrs and any(int(s.to_variable().values) == int(coord.values) for s in spaces)


def repair(obj: Any) -> Any:
    """Give back what xarray dropped: the indexes of the axes and volumes, and the coord ``geometry``.

    coarsen, interp, pad, expand_dims, concat of scalars, and files keep the labels and drop the indexes; until this
    is called, xarray's own inner join is back. Every ``.imd`` method begins with it.

    Parameters
    ----------
    obj : DataArray or Dataset

    Returns
    -------
    DataArray or Dataset
        The same data; a new object.

    Raises
    ------
    GeometryError
        Where the parts of the geometry contradict each other.
    """
    space = space_of(obj)
    out = put_indexes(obj, space)
    if space is not None and ("geometry" not in out.coords or not out.coords["geometry"].attrs):
        out = out.assign_coords(geometry=space.to_variable())
    return out

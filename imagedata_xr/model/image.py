"""Build, check and repair a labelled image. The data model is in the docs, page "data model"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, LabelError
from . import geometry
from .geometry import AXES
from .indexes import Space
from .lazy import OnDisk, on_demand
from .orders import LABELS
from .repair import SEGMENT, TRAILING, put_indexes
from .repair import repair as repair
from .repair import space_of as space_of
from .repair import volume_dims as volume_dims
from .variables import variable_of

NAME = "image"


@dataclass
class Axis:
    """Labels of a spatial axis.

    Attributes
    ----------
    labels : array_like, shape (n,)
        mm along the axis, absolute; or plain numbers where the image has no geometry.
    spacing : float, optional
        Step, for a single label.
    """

    labels: ArrayLike
    spacing: float | None = None


@dataclass
class Volumes:
    """Labels of a dim that counts volumes.

    Attributes
    ----------
    values : array_like, shape (n,)
    attrs : dict
        ``order``, ``units``, ``source``, ``epoch``, ``interval``.
    dim : str
        ``tag``, or the order's own name when several orders make a grid.
    """

    values: ArrayLike
    attrs: dict[str, Any] = field(default_factory=lambda: {"order": "none", "units": "1"})
    dim: str = "tag"


def build(
    data: Any,
    *,
    volumes: Sequence[Volumes],
    axes: Mapping[str, Axis],
    space: Space | None,
    coords: Mapping[str, tuple[Sequence[str], Any]] | None = None,
    attrs: Mapping[str, Any] | None = None,
    encoding: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Dataset with one variable ``image`` on labelled dims.

    Parameters
    ----------
    data : array or LazyArray
        Of shape (volumes..., slice, row, col), and a last axis ``rgb`` for colour.
    volumes : sequence of Volumes
        One per leading dim.
    axes : mapping
        `Axis` of ``slice``, ``row`` and ``col``.
    space : Space or None
        None where the image has no place in the patient.
    coords : mapping, optional
        Name -> (dims, values) of further coords; scalars have no dims. Units come from the table of labels.
    attrs, encoding : mapping, optional

    Returns
    -------
    xarray.Dataset
    """
    dims = [v.dim for v in volumes] + list(AXES)
    if len(data.shape) == len(dims) + 1:
        dims += TRAILING
    kind = OnDisk if hasattr(data, "read") else xr.Variable
    image = kind(dims, on_demand(data), dict(attrs or {}), dict(encoding or {}))
    variables: dict[str, xr.Variable] = {}
    for v in volumes:
        numbers = np.int64 if v.dim == SEGMENT else np.float64
        variables[v.dim] = variable_of((v.dim,), np.asarray(v.values, dtype=numbers), dict(v.attrs))
    for name in AXES:
        a = axes[name]
        values = np.asarray(a.labels, dtype=np.float64)
        variables[name] = variable_of((name,), values, {} if a.spacing is None else {"spacing": float(a.spacing)})
    for name, (on, values) in (coords or {}).items():
        variables[name] = variable_of(on, values, label_attrs(name))
    if space is not None:
        variables["geometry"] = space.to_variable()
    plain = xr.Coordinates(variables, indexes={})
    return put_indexes(xr.Dataset({NAME: image}, coords=plain), space)  # type: ignore[no-any-return]


def label_attrs(name: str) -> dict[str, Any]:
    """Attrs of a per-volume or per-image coord: its units, where the table knows them."""
    return {"units": LABELS[name].units} if name in LABELS and LABELS[name].units else {}


def as_image(obj: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """Return the image of a Dataset (its variable ``image``, or its only one), repaired.

    Raises
    ------
    LabelError
        Where a Dataset has several variables and none is called ``image``, or the dims are none of ours.
    """
    if isinstance(obj, xr.Dataset):
        names = list(obj.data_vars)
        if NAME not in names and len(names) != 1:
            raise LabelError(f"the Dataset has the variables {names}, none of them 'image': choose one, ds[name].imd")
        obj = obj[NAME if NAME in names else names[0]]
    if not {"row", "col"} & set(map(str, (*obj.dims, *obj.coords))):
        raise LabelError(
            f"an image has the dims tag, slice, row, col; this array has {tuple(map(str, obj.dims))}: "
            "imagedata_xr.from_array labels it"
        )
    return repair(obj)  # type: ignore[no-any-return]


# --- geometry of an image -----------------------------------------------------------------------------------------


def axis_of(da: xr.DataArray, name: str) -> tuple[NDArray[np.float64], float | None]:
    """Labels of a spatial axis and its step; the step is None where uneven, or unknown for a single label."""
    if name not in da.coords:
        if name in da.dims and "geometry" not in da.coords and not any(n in da.coords for n in AXES):
            raise GeometryError(
                "the array has no labels of an image: its dims have no coords. imagedata_xr.from_array(values, "
                "spacing=...), or geometry=image, makes an image of an array; image.copy(data=values) makes one like "
                "another"
            )
        done = "dropped" if name not in da.dims else "lost its labels"
        raise GeometryError(
            f"the position along {name!r} is lost: the dim was reduced or {done}. Select instead of reducing, or give "
            f"it back with assign_coords({name}=...)"
        )
    coord = da.coords[name]
    if coord.dims not in ((), (name,)):
        raise GeometryError(f"{name!r} lies along {coord.dims} (stack, swap_dims): unstack or swap back first")
    values = np.atleast_1d(np.asarray(coord.values, dtype=np.float64))
    if values.ndim > 1 or not np.isfinite(values).all():
        raise GeometryError(f"the labels of {name!r} are no plain numbers: {values.ravel()[:4].tolist()} ...")
    if values.size > 1:
        step = float(values[-1] - values[0]) / (values.size - 1)
        return values, geometry.even_step(values, geometry.evenness(step))
    spacing = coord.attrs.get("spacing")
    return values, None if spacing is None else float(spacing)


def affine(da: xr.DataArray) -> NDArray[np.float64]:
    """Affine from index (slice, row, col) to LPS mm, derived from labels and direction.

    Returns
    -------
    ndarray, shape (4, 4), float64

    Raises
    ------
    GeometryError
        Where the image has no geometry, an axis is lost, or its labels are uneven.
    """
    space = space_of(da)
    if space is None:
        raise GeometryError(
            "the image has no place in the patient (its source has no position and orientation, or 'geometry' was "
            "dropped): its labels are indices. imd.assign_grid(other) gives it the place of another image"
        )
    first, step = np.zeros(3), np.zeros(3)
    for k, name in enumerate(AXES):
        values, d = axis_of(da, name)
        if d is None:
            raise GeometryError(_why_no_step(name, values))
        first[k], step[k] = values[0], d
    return geometry.affine_of(space.direction, first, step)


def _why_no_step(name: str, values: NDArray[np.float64]) -> str:
    if values.size == 1:
        return (
            f"the spacing of the single {name!r} is unknown: its source does not say it (a DICOM image without Slice "
            "Thickness), or it is left of several by coarsen or interp, or was selected before an operation that drops "
            f"the indexes ({name}=[k] in place of {name}=k, or imd.repair() after selecting, keeps it). "
            f'assign_coords({name}=("{name}", [label], {{"spacing": mm}})) says it'
        )
    steps = np.diff(values)
    return (
        f"{name!r} is not evenly spaced: steps from {steps.min():g} to {steps.max():g} mm. The exact positions are the "
        f"labels; interp({name}=...) makes even ones"
    )


def canonical(da: xr.DataArray) -> xr.DataArray:
    """Return the image in the form that files have: all dims, in order, labels of the axes ascending.

    A missing ``tag`` becomes one volume, scalar coords become dims of size 1. World positions do not change.

    Raises
    ------
    GeometryError
        Where an axis was reduced, or a dim is none of the data model.
    """
    volumes = volume_dims(da)
    known = {*volumes, *AXES, *TRAILING}
    if strange := [str(d) for d in da.dims if d not in known]:
        raise LabelError(f"the dims {strange} are none of an image: stack, reduce or select them before writing")
    if not volumes:
        if "tag" not in da.coords:
            da = da.assign_coords(tag=xr.Variable((), 0.0, {"order": "none", "units": "1"}))
        da, volumes = da.expand_dims("tag"), ["tag"]
    for name in AXES:
        if name not in da.coords:
            axis_of(da, name)  # says what is lost
        if name not in da.dims:
            da = da.expand_dims(name)  # its spacing stays, since repair has marked it as that of one label
    da = repair(da.transpose(*volumes, *AXES, *[d for d in TRAILING if d in da.dims]))
    flips = {n: slice(None, None, -1) for n in AXES if da.sizes[n] > 1 and da[n].values[0] > da[n].values[-1]}
    return da.isel(flips) if flips else da


def per_volume(da: xr.DataArray, name: str) -> Any:
    """Return a coord of a canonical image broadcast to its volume dims (shape of those dims), or None if absent."""
    if name not in da.coords:
        return None
    dims = volume_dims(da)
    if not set(da.coords[name].dims) <= set(dims):
        return None
    template = xr.DataArray(np.zeros([da.sizes[d] for d in dims]), dims=dims)
    return (
        da.coords[name].variable.set_dims(dict(zip(template.dims, template.shape, strict=True))).transpose(*dims).values
    )


def in_memory(da: xr.DataArray) -> xr.DataArray:
    """Return the image with its coords in memory, computed in one go: those of `map_blocks` cost as much as data."""
    lazy = {name: coord.variable for name, coord in da.coords.items() if coord.chunks is not None}
    return da.assign_coords(xr.Dataset(lazy).load().variables) if lazy else da

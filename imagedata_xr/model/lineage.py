"""Which image of a template lies where an image lies and has its order value: the one whose header it gets."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import warn
from .geometry import positions_of
from .image import axis_of, canonical, space_of, volume_dims
from .indexes import POSITION_TOLERANCE
from .orders import ORDERS
from .space import DIRECTION_TOLERANCE, Space
from .tag_index import TagIndex

_SHARED = "are made of what all images of the template share"
_SEVERAL = -2  # where several volumes have the same order value


def lineage_of(image: xr.DataArray, template: xr.DataArray) -> NDArray[np.int64]:
    """Find the template's image for each plane of an image, and say in a warning where there is none.

    Parameters
    ----------
    image, template : xarray.DataArray
        Repaired.

    Returns
    -------
    ndarray of int64, shape (volumes..., slices)
        Values of the template's label ``instance``, 0 for none; volumes and slices in the image's own sequence. Each
        is of the template's image whose plane is the same plane of the patient, however rows and columns run in it,
        and whose volume has the same order value. Where several volumes of the template have that value, and the image
        has another number of these, it is the one that the plane comes from, or none.
    """
    mine, theirs = canonical(image), canonical(template)
    digests, own = _instances(theirs), _instances(mine)
    out = _found(mine, theirs, digests, own) if digests.any() else np.zeros_like(own)
    out = out.reshape([mine.sizes[d] for d in (*volume_dims(mine), "slice")])
    run = image.coords["slice"].values if "slice" in image.dims else np.zeros(1)
    return out[..., ::-1] if run.size > 1 and run[0] > run[-1] else out


def _instances(image: xr.DataArray) -> NDArray[np.int64]:
    """Labels ``instance`` of a canonical image, shape (volumes, slices); 0 where there is none."""
    dims = [*volume_dims(image), "slice"]
    sizes = {d: image.sizes[d] for d in dims}
    coord = image.coords.get("instance")
    if coord is None or coord.dtype.kind != "i" or not set(coord.dims) <= set(dims):
        return np.zeros((int(np.prod([image.sizes[d] for d in dims[:-1]])), sizes["slice"]), dtype=np.int64)
    return np.asarray(coord.variable.set_dims(sizes).transpose(*dims).values.reshape(-1, sizes["slice"]))


def _found(
    image: xr.DataArray, template: xr.DataArray, digests: NDArray[np.int64], own: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Instance of the template at each (volume, slice), by place and order value."""
    planes, volumes = same_slices(image, template), same_volumes(image, template)
    if isinstance(planes, str) or isinstance(volumes, str):
        why = " and ".join(w for w in (planes, volumes) if isinstance(w, str))
        warn(f"no image of the template gives its own header, as {why}: the headers {_SHARED}")
        return np.zeros_like(own)
    out = np.where(volumes[:, None] >= 0, digests[volumes][:, planes], 0)
    known = np.stack([np.isin(own[:, k], digests[:, plane]) for k, plane in enumerate(planes)], axis=1)
    out = np.where((volumes == _SEVERAL)[:, None] & known, own, out)
    out[:, planes < 0] = 0
    if not out.all():
        _say_missing(out)
    return np.asarray(out, dtype=np.int64)


def _say_missing(found: NDArray[np.int64]) -> None:
    lack = [
        f"{int((~x).sum())} of {x.size} {what}"
        for what, x in (("slices", found.any(axis=0)), ("volumes", found.any(axis=1)))
        if not x.all()
    ]
    warn(
        f"{' and '.join(lack) or 'some images'} have no counterpart in the template (none lies there, none has that "
        f"order value, or several have it): the headers of these images {_SHARED}"
    )


# --- slices -----------------------------------------------------------------------------------------------------------


def same_slices(image: xr.DataArray, template: xr.DataArray) -> NDArray[np.intp] | str:
    """Slice of the template that is the same plane as each slice of the image, -1 for none; or why none can be."""
    a, b = space_of(image), space_of(template)
    if a is None and b is None:
        mine, theirs = image["slice"].values, template["slice"].values
        return _nearest(np.abs(mine[:, None] - theirs[None, :]), POSITION_TOLERANCE)
    if a is None or b is None:
        which = "the image" if a is None else "the template"
        return f"{which} has no place in the patient (imd.assign_grid or geometry= gives one)"
    if a.other_frame(b):
        return "the frames of reference differ (imd.assign_grid says that they share one)"
    normal = _normal(b)
    if np.abs(_normal(a) - np.sign(_normal(a) @ normal) * normal).max() > DIRECTION_TOLERANCE:
        return "its slices are not parallel to those of the template"
    depths = [_depths(x, s, normal) for x, s in ((image, a), (template, b))]
    steps = np.abs(np.diff(np.sort(depths[1])))
    near = min([POSITION_TOLERANCE, *(0.1 * steps[steps > 0])])
    return _nearest(np.abs(depths[0][:, None] - depths[1][None, :]), near)


def _normal(space: Space) -> NDArray[np.float64]:
    normal = np.cross(space.direction[:, 2], space.direction[:, 1])
    return np.asarray(normal / np.linalg.norm(normal))


def _depths(image: xr.DataArray, space: Space, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far along a normal the middle of each slice lies, mm."""
    slices, rows, cols = (axis_of(image, name)[0] for name in ("slice", "row", "col"))
    middle = [np.full(slices.size, v.mean()) for v in (rows, cols)]
    return np.asarray(positions_of(space.direction, np.stack([slices, *middle], axis=1)) @ normal)


def _nearest(off: NDArray[np.float64], near: float) -> NDArray[np.intp]:
    return np.where(off.min(axis=1) <= near, off.argmin(axis=1), -1)


# --- volumes ----------------------------------------------------------------------------------------------------------


def same_volumes(image: xr.DataArray, template: xr.DataArray) -> NDArray[np.intp] | str:
    """Volume of the template for each volume of the image, both flat, -1 for none, -2 for several; or why not."""
    mine, theirs = volume_dims(image), volume_dims(template)
    counts = [int(np.prod([x.sizes[d] for d in dims])) for x, dims in ((image, mine), (template, theirs))]
    if set(mine) != set(theirs):
        if counts == [1, 1]:
            return np.zeros(1, dtype=np.intp)
        return f"the volumes are counted by {mine} and by {theirs}"
    places: list[NDArray[np.intp]] = []
    for dim in theirs:
        found = _along(image, template, dim)
        if isinstance(found, str):
            return found
        places.append(found)
    sizes = tuple(template.sizes[d] for d in theirs)
    grid = np.meshgrid(*places, indexing="ij")
    flat = np.ravel_multi_index([np.maximum(g, 0) for g in grid], sizes)
    lowest = np.min(grid, axis=0)
    flat = np.where(lowest >= 0, flat, lowest)
    return flat.transpose([theirs.index(d) for d in mine]).ravel().astype(np.intp)


def _along(image: xr.DataArray, template: xr.DataArray, dim: str) -> NDArray[np.intp] | str:
    a, b = image.xindexes.get(dim), template.xindexes.get(dim)
    if not (isinstance(a, TagIndex) and isinstance(b, TagIndex)):
        return f"the labels of {dim!r} say nothing"
    if a._unknown(b):
        return np.zeros(1, dtype=np.intp)
    if a.order != b.order:
        return f"its volumes are ordered by {a.order!r} and those of the template by {b.order!r} (imd.assign_tags)"
    known = ORDERS.get(a.order)
    if (known is not None and not known.scalar) and (a.keys is None or b.keys is None):
        # their labels are numbers of volumes, which begin anew in every file
        if len(a.index) != len(b.index):
            return f"it has {len(a.index)} volumes and the template {len(b.index)}, of which only the numbers are known"
        order = a._permutation(b)
        return np.arange(len(a.index)) if order is None else np.argsort(order)
    if a.key_names != b.key_names and not (known is not None and known.scalar):
        return "b-value and direction of the volumes are not known of both"
    return _counterparts(a, b)


def _counterparts(a: TagIndex, b: TagIndex) -> NDArray[np.intp]:
    """Entry of `b` with the value of each entry of `a`, -1 for none, -2 for several.

    Times are compared by the clock; only where none agrees, or a clock is not known, since their own epochs, as
    those of two runs of one protocol: such runs have equally many volumes.
    """
    (mine, tol), (theirs, tol2) = a._keys(), b._keys()
    if mine.shape[1] != theirs.shape[1]:  # directions are known of one alone
        mine, theirs, tol, tol2 = mine[:, :1], theirs[:, :1], tol[:1], tol2[:1]
    limit = np.maximum(tol, tol2)
    off = np.abs(mine[:, None, :] - theirs[None, :, :])
    off[np.isnan(mine)[:, None, :] & np.isnan(theirs)[None, :, :]] = 0
    first = mine[:, None, 0] - theirs[None, :, 0]
    close: NDArray[np.bool_] = np.zeros(first.shape, dtype=bool)
    for shift in _shifts(a, b):
        if not close.any():
            off[..., 0] = np.abs(first - shift)
            close = np.all(off <= limit, axis=2)
    return _paired(close, off[..., 0] if np.isfinite(limit[0]) else np.zeros(close.shape))


def _shifts(a: TagIndex, b: TagIndex) -> list[float]:
    """What labels may differ by, the surest first."""
    if a.order != "time":
        return [0.0]
    if a.epoch is not None and b.epoch is not None:
        return [b.epoch - a.epoch, *([0.0] if len(a.index) == len(b.index) > 1 else [])]
    first = float(np.min(a.index.to_numpy()) - np.min(b.index.to_numpy()))
    return [first, 0.0] if len(a.index) == len(b.index) else [0.0]


def _paired(close: NDArray[np.bool_], off: NDArray[np.float64]) -> NDArray[np.intp]:
    """Of the entries that are near: the nearest; of equal ones each its own, where both sides have as many."""
    out = np.full(close.shape[0], -1, dtype=np.intp)
    near = np.where(close, off, np.inf)
    best = close & (near <= near.min(axis=1, keepdims=True, initial=np.inf) + 1e-9)
    found = np.flatnonzero(best.any(axis=1))
    rows, group = np.unique(best[found], axis=0, return_inverse=True)
    for number, row in enumerate(rows):
        who, whom = found[group.ravel() == number], np.flatnonzero(row)
        out[who] = whom if len(who) == len(whom) else _SEVERAL
    return out

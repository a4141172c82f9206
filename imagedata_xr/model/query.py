"""What an image says of itself: direction, volumes, points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import GeometryError, LabelError
from .geometry import AXES
from .image import affine, axis_of, space_of, volume_dims
from .orders import VECTOR


def direction(image: xr.DataArray) -> NDArray[np.float64]:
    """Direction matrix (columns slice, row, col), LPS; a flipped axis points the other way.

    Raises
    ------
    GeometryError
        Where the image has no place in the patient.
    """
    space = space_of(image)
    if space is None:
        raise GeometryError("the image has no place in the patient: it has no direction")
    signs = np.ones(3)
    for k, name in enumerate(AXES):
        if name in image.dims and image.sizes[name] > 1:
            values = axis_of(image, name)[0]
            signs[k] = -1 if values[-1] < values[0] else 1
    return space.direction * signs


def frame_of_reference(image: xr.DataArray) -> str:
    """Frame of Reference UID; empty where unknown."""
    space = space_of(image)
    return space.frame_of_reference if space else ""


def order(image: xr.DataArray) -> str:
    """Orders of the volume dims, joined by commas."""
    dims = volume_dims(image)
    if not dims and "tag" in image.coords:
        dims = ["tag"]
    return ",".join(str(image[d].attrs.get("order", "none")) for d in dims) or "none"


def timeline(image: xr.DataArray) -> NDArray[np.float64]:
    """Start of each volume since the first, s.

    Raises
    ------
    LabelError
        Where the image has no times.
    """
    for name in ("tag", "time"):
        if name in image.coords and (name == "time" or image[name].attrs.get("order") == "time"):
            values = np.atleast_1d(np.asarray(image[name].values, dtype=np.float64))
            return np.asarray(values - values.min())
    raise LabelError(f"the image has no times: its volumes are ordered by {order(image)!r}")


def bvals(image: xr.DataArray) -> NDArray[np.float64]:
    """b-value of each volume, s/mm2; raises `LabelError` where the image has none."""
    if "b_value" in image.coords:
        return np.atleast_1d(np.asarray(image["b_value"].values, dtype=np.float64))
    for dim in (*volume_dims(image), "tag"):
        if dim in image.coords and image[dim].attrs.get("order") == "b":
            return np.atleast_1d(np.asarray(image[dim].values, dtype=np.float64))
    raise LabelError("the image has no b-values")


def bvecs(image: xr.DataArray) -> NDArray[np.float64]:
    """Diffusion directions in LPS, shape (n, 3); raises `LabelError` where the image has none."""
    if not all(name in image.coords for name in VECTOR):
        raise LabelError("the image has no diffusion directions")
    return np.stack([np.atleast_1d(np.asarray(image[name].values, dtype=np.float64)) for name in VECTOR], axis=-1)


def patient_coords(image: xr.DataArray) -> xr.Dataset:
    """Position of every voxel, LPS mm: variables x, y, z on (slice, row, col).

    Raises
    ------
    GeometryError
        Where the image has no place in the patient, or an axis is lost. Uneven slices are fine.
    """
    space = space_of(image)
    if space is None:
        raise GeometryError("the image has no place in the patient")
    for name in AXES:
        axis_of(image, name)  # says what is lost
    labels = [image[n] for n in AXES]
    parts = {}
    for k, name in enumerate("xyz"):
        total = sum(space.direction[k, a] * labels[a].reset_coords(drop=True) for a in range(3))
        parts[name] = xr.DataArray(total).assign_attrs(units="mm")
    return xr.Dataset(parts)


def sel_point(image: xr.DataArray, point: Sequence[float]) -> xr.DataArray:
    """Voxel that holds a point (LPS mm).

    Raises
    ------
    GeometryError
        Where the point lies outside of the image.
    """
    where = np.linalg.inv(affine(image)) @ [*point, 1.0]
    index = {n: int(np.floor(where[k] + 0.5)) for k, n in enumerate(AXES)}
    for name, i in index.items():
        if not 0 <= i < image.sizes.get(name, 1):
            raise GeometryError(
                f"the point {tuple(point)} lies outside: {name!r} index {i} of {image.sizes.get(name, 1)}"
            )
    return image.isel({n: i for n, i in index.items() if n in image.dims})

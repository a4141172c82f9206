"""Resampling one image onto the grid of another, in patient space."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, GridError, LabelError
from .geometry import AXES
from .image import affine, canonical, repair, space_of
from .moved import moved, rotation_of
from .turned import turned_attrs

_MODE: dict[int, Literal["nearest", "mirror"]] = {0: "nearest", 1: "nearest", 3: "mirror"}
_SPLINE: dict[str, Literal[0, 1, 3]] = {"nearest": 0, "linear": 1, "cubic": 3}
_NOISE = 1e-6  # voxels: a point this near to the border is on it


def interp_like(
    image: xr.DataArray, other: xr.DataArray, method: str = "linear", transform: ArrayLike | None = None
) -> xr.DataArray:
    """Resample an image onto the grid of another.

    A voxel of the result takes the value of the image at the same point of the patient. As in ITK, the image reaches
    half a voxel beyond its outer voxel centres; further out the result is NaN.

    Parameters
    ----------
    image, other : xarray.DataArray
        Repaired, with evenly spaced axes and one frame of reference.
    method : {"linear", "nearest", "cubic"}
        Integers (labels, masks) can only be taken from the nearest voxel. ``"cubic"`` is the cubic B-spline through the
        voxels, mirrored at the border, as ITK's. A voxel without a finite value makes those NaN that it has a part in:
        with a spline those up to two voxels from it.
    transform : array_like, shape (4, 4), optional
        Where the patient moved between the two, or their frames of reference differ: takes a point of `other` to the
        point of `image` that is the same of the patient, both in LPS mm. So it is what ITK takes to resample `image` on
        `other`, and the inverse of what moves `image` to `other`; ``numpy.eye(4)`` says that both have one space.
        Directions of diffusion and of phase encoding turn with the patient.

    Returns
    -------
    xarray.DataArray
        On the volumes of `image` and the slice, row and col of `other`; floating, lazy where `image` is chunked. The
        headers of single planes do not apply any more and are dropped, patient and study stay.

    Raises
    ------
    GridError
        Where the frames of reference differ and there is no `transform`.
    GeometryError
        Where an image has no affine, or `transform` is none.
    LabelError
        For an unknown method, or integers with another method than ``"nearest"``.
    """
    if method not in _SPLINE:
        raise LabelError(f"method={method!r}: one of {', '.join(_SPLINE)}")
    if image.dtype.kind in "iub" and method != "nearest":
        raise LabelError(f"{image.dtype} values can't be mixed by method={method!r}: use 'nearest', or astype(float)")
    source, target = canonical(image), canonical(other)
    if transform is None:
        _check_spaces(source, target)
    matrix = _matrix(transform)
    to_index = np.linalg.inv(affine(source)) @ matrix @ affine(target)
    shape = tuple(target.sizes[n] for n in AXES)
    # slices, rows and columns of the result are new dims for xarray, under names of their own until the end
    new = [f"__{n}" for n in AXES]
    dropped = [n for n, c in source.coords.items() if n in AXES or n == "geometry" or set(c.dims) & set(AXES)]
    plain = source.drop_indexes([n for n in AXES if n in source.xindexes]).drop_vars(dropped)
    if plain.chunks is not None:
        plain = plain.chunk(dict.fromkeys(AXES, -1))
    out = xr.apply_ufunc(
        _resample,
        plain,
        kwargs={"to_index": to_index, "shape": shape, "spline": _SPLINE[method]},
        input_core_dims=[list(AXES)],
        output_core_dims=[new],
        dask="parallelized",
        output_dtypes=[np.result_type(source.dtype, np.float32)],
        dask_gufunc_kwargs={"output_sizes": dict(zip(new, shape, strict=True))},
        keep_attrs=True,
    ).rename(dict(zip(new, AXES, strict=True)))
    mine, theirs = space_of(source), space_of(target)
    if mine is not None and theirs is not None:
        out.attrs = turned_attrs(out.attrs, rotation_of(matrix).T @ mine.direction, theirs.direction)
    if transform is not None:
        out = moved(out, matrix)
    place = {n: target.coords[n].variable.to_base_variable() for n in (*AXES, "geometry")}
    done = repair(out.transpose(*source.dims).assign_coords(xr.Coordinates(place, indexes={})))
    return done.isel({n: slice(None, None, -1) for n in AXES if _descends(other, n)})  # type: ignore[no-any-return]


def _descends(image: xr.DataArray, name: str) -> bool:
    return name in image.dims and image.sizes[name] > 1 and bool(image[name].values[0] > image[name].values[-1])


def _check_spaces(source: xr.DataArray, target: xr.DataArray) -> None:
    a, b = space_of(source), space_of(target)
    if a and b and a.other_frame(b):
        raise GridError(
            "the frames of reference differ: the patient may have moved between the two, so that equal coordinates are "
            "not equal points. imd.interp_like(other, transform=...) takes the matrix of a registration, or "
            "numpy.eye(4) where both have one space all the same"
        )


def _matrix(transform: ArrayLike | None) -> NDArray[np.float64]:
    """Return the affine of a registration; the identity for None."""
    if transform is None:
        return np.eye(4)
    try:
        matrix = np.asarray(transform, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise GeometryError("transform holds other things than numbers: it is a matrix of shape (4, 4)") from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise GeometryError(
            f"transform of shape {matrix.shape}: it is a matrix of shape (4, 4) of finite numbers, mm in LPS, with the "
            "last row 0, 0, 0, 1"
        )
    if abs(np.linalg.det(matrix)) < 1e-9:
        raise GeometryError("transform has no inverse: it maps space onto a plane, a line or a point")
    return matrix


def _resample(
    values: NDArray[Any], to_index: NDArray[np.float64], shape: tuple[int, int, int], spline: Literal[0, 1, 3]
) -> NDArray[Any]:
    """Values of shape (..., slice, row, col) at the indices ``to_index @ (slice, row, col, 1)`` of a new grid."""
    sizes = np.array(values.shape[-3:])[:, None]
    grid = np.indices(shape, dtype=np.float64).reshape(3, -1)
    where = to_index[:3, :3] @ grid + to_index[:3, 3:]
    outside = ((where < -0.5 - _NOISE) | (where > sizes - 0.5 + _NOISE)).any(axis=0)
    if spline != 3:  # the voxels of the border reach half a voxel further; a spline goes on as ITK's, mirrored
        where = np.clip(where, 0, sizes - 1)
    dtype = np.result_type(values.dtype, np.float32)
    out = np.empty((*values.shape[:-3], *shape), dtype=dtype)
    for volume in np.ndindex(*values.shape[:-3]):
        line = _at(values[volume].astype(dtype, copy=False), where, spline)
        line[outside] = np.nan
        out[volume] = line.reshape(shape)
    return out


def _at(volume: NDArray[Any], where: NDArray[np.float64], spline: Literal[0, 1, 3]) -> NDArray[Any]:
    """Values of one volume at indices; NaN where a voxel that is not finite has a part in them.

    scipy gives NaN also where such a voxel has the weight 0, and for a spline everywhere. So it gets the value of its
    nearest finite neighbour, and what it touches becomes NaN: with a spline the two voxels on each side.
    """
    from scipy.ndimage import map_coordinates, maximum_filter

    missing = None if spline == 0 or np.isfinite(volume).all() else ~np.isfinite(volume)
    if missing is None or missing.all():
        return np.asarray(map_coordinates(volume, where, order=spline, mode=_MODE[spline]))
    line = np.asarray(map_coordinates(_filled(volume, missing), where, order=spline, mode=_MODE[spline]))
    touched = maximum_filter(missing, size=3) if spline == 3 else missing
    weight = map_coordinates(touched.astype(np.float32), where, order=1, mode="nearest")
    line[weight > _NOISE] = np.nan
    return line


def _filled(volume: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(volume[tuple(nearest)])

"""Images from arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr
from numpy.typing import ArrayLike

from .model import assign


def from_array(
    array: Any,
    dims: Sequence[str] | None = None,
    spacing: ArrayLike | None = None,
    position: ArrayLike | None = None,
    direction: ArrayLike | None = None,
    order: str = "none",
    tags: ArrayLike | None = None,
    template: Any = None,
    geometry: Any = None,
) -> xr.DataArray:
    """Label an array as an image.

    Parameters
    ----------
    array : array_like
        numpy or dask.
    dims : sequence of str, optional
        Names of its axes; by default the last ones of ``(tag, slice, row, col)``. ``rgb`` may follow.
    spacing : array_like, shape (3,), optional
        Distance of slices, rows and columns, mm.
    position : array_like, shape (3,), optional
        Centre of the first voxel, LPS mm; the origin by default.
    direction : array_like, shape (3, 3), optional
        Unit vectors (columns slice, row, col), LPS; an axial image by default. Without `spacing`, `position`,
        `direction` and `geometry` the image has no place in the patient.
    order : str
        What `tags` are: ``"time"`` (s), ``"b"`` (s/mm2), ``"te"`` (ms) and so on.
    tags : array_like, shape (n,), optional
        Value of each volume.
    template, geometry : image or address, optional
        Whose header, and whose place, the image gets.

    Returns
    -------
    xarray.DataArray

    Raises
    ------
    LabelError, GeometryError, GridError, IdentityError
        Where the arguments contradict each other.

    Examples
    --------
    >>> import numpy as np, imagedata_xr
    >>> a = imagedata_xr.from_array(np.zeros((3, 4, 4), "f4"), spacing=(5, 1, 1))
    >>> a.sizes["slice"], a.imd.spacing.tolist()
    (3, [5.0, 1.0, 1.0])
    """
    from .formats.template import with_templates

    image = assign.from_array(array, dims, spacing, position, direction, order, tags)
    return with_templates(image, template, geometry)

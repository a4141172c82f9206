"""``da.imd.header``: the whole headers of an image, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import xarray as xr

from ...errors import SourceError
from ...model.image import volume_dims
from .lookup import headers_of


class HeaderView:
    """Headers of an image by volume and slice.

    ``header[tag, slice]`` (index, not label; one index per volume dim, then that of the slice) is the
    `pydicom.Dataset` of one plane, without its pixel data. ``header.first`` is that of the first plane.

    Parameters
    ----------
    image : xarray.DataArray or Dataset
        An image, repaired; or the Dataset of a series without pixels, whose headers are counted along ``instance``.
    """

    def __init__(self, image: xr.DataArray | xr.Dataset) -> None:
        self._image = image
        self._instance: xr.DataArray | None = image.coords.get("instance")
        if self._instance is not None and isinstance(image, xr.DataArray):
            self._instance = self._instance.transpose(*(d for d in (*volume_dims(image), "slice") if d in image.dims))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of headers along the volume dims and the slices."""
        return () if self._instance is None else tuple(self._instance.shape)

    def __getitem__(self, key: Any) -> pydicom.Dataset:
        """Header of one plane.

        Raises
        ------
        SourceError
            Where the image has no planes of a source, or the source is gone.
        """
        if self._instance is None:
            raise SourceError(
                "the image is no longer one of its source (arithmetic between images, or a mean): what all its headers "
                "shared is in attrs; imd.assign_header(template) gives it new ones"
            )
        digest = self._instance.values[key]
        if np.ndim(digest):
            raise IndexError(
                f"header[{key}] names {np.size(digest)} planes: give one index for each of {self._instance.dims}"
            )
        headers = headers_of(self._image)
        if headers is None or not headers.has(int(digest)):
            raise SourceError(
                f"the header of plane {key} is not found: the source is gone, or the plane is of another one"
            )
        return headers.dataset(int(digest))

    @property
    def first(self) -> pydicom.Dataset:
        """Header of the first plane."""
        return self[(0,) * len(self.shape)]

    def __iter__(self) -> Iterator[pydicom.Dataset]:
        return (self[tuple(k)] for k in np.ndindex(*self.shape))

    def __repr__(self) -> str:
        dims = () if self._instance is None else self._instance.dims
        return f"<headers {dict(zip(dims, self.shape, strict=True))}: header[index, ...] is a pydicom.Dataset>"

"""The images of a series that is written: their values, block by block, and the headers that they had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...model.image import volume_dims
from ...model.loading import values_of
from ..headers.header import Headers, is_renamed
from .blocks import blocks
from .derived import Series
from .own_headers import OwnHeaders

At = tuple[int, int]
"""Number of the volume and of the slice of an image."""


@dataclass(frozen=True)
class Images:
    """Images to be written, each by the numbers of its volume and slice.

    Attributes
    ----------
    image : xarray.DataArray
    headers : Headers or None
        Of the sources; None where they are not known or not reachable.
    instances : ndarray, shape (volumes, slices)
        Digest of each image's own header; 0 for none.
    attrs : pydicom.Dataset
        Elements that all have.
    series : Series
        What the new series is.
    own : OwnHeaders or None
        The single headers.
    """

    image: xr.DataArray
    headers: Headers | None
    instances: NDArray[np.int64]
    attrs: pydicom.Dataset
    series: Series
    own: OwnHeaders | None

    @property
    def stored_values(self) -> bool:
        """Whether the values are stored integers: the reader says so, and only where nothing was computed."""
        kind = np.dtype(self.image.encoding.get("stored_dtype", "f4")).kind
        return kind in "iu" and self.image.dtype.kind in "iu"

    @property
    def renamed(self) -> bool:
        """Whether the instances of the source have got new UIDs already: they were de-identified."""
        return bool(self.instances.size) and is_renamed(self.headers, int(self.instances.flat[0]))

    def planes(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield (volume, slice, values) of all images, block by block."""
        dims = volume_dims(self.image)
        shape = [self.image.sizes[d] for d in dims]
        for block in blocks(self.image.variable, len(dims) + 1):
            values = values_of(self.image.variable[block])
            places = list(np.ndindex(values.shape[: len(dims) + 1]))
            for place in places:
                at = tuple(b.start + i for b, i in zip(block, place, strict=True))
                plane = values[place]
                if place == places[-1]:  # who holds it shall not hold the block while the next is read
                    plane = plane.copy()
                    del values
                yield int(np.ravel_multi_index(at[:-1], shape)), at[-1], plane

    def header(self, v: int, k: int) -> pydicom.Dataset | None:
        """Own header of an image, where it has one that may be used."""
        instance = int(self.instances[v, k])
        if self.own is None or not instance:
            return None
        header = self.own.of(instance)
        return header if self.series.identity.trusts(header) else None

    def original(self, v: int, k: int) -> pydicom.Dataset | None:
        """The whole instance that an image lies in, where it can be reached."""
        return None if self.headers is None else self.headers.original(int(self.instances[v, k]))

    def number(self, v: int, k: int) -> int:
        """Number of an image in the series, from 1 on."""
        return v * int(self.instances.shape[1]) + k + 1

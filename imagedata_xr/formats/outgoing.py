"""From an image to the voxels of a plain file: what is checked for every format, and volume after volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import FormatError, warn
from ..model import geometry
from ..model.image import affine, as_image, axis_of, canonical, space_of, volume_dims
from .fit import Fit
from .seam import WriteOptions

_MAX_AT_ONCE = 256 << 20  # bytes of volumes that are computed together, where they share chunks


@dataclass(frozen=True)
class Outgoing:
    """An image as a file holds it.

    Attributes
    ----------
    image : DataArray
        Canonical.
    affine : ndarray, shape (4, 4), or None
        From index (col, row, slice) to LPS mm.
    """

    image: xr.DataArray
    affine: NDArray[np.float64] | None

    @property
    def counts(self) -> tuple[int, ...]:
        """Lengths of the volume dims."""
        return tuple(self.image.sizes[d] for d in volume_dims(self.image))

    @property
    def count(self) -> int:
        """Volumes."""
        return int(np.prod(self.counts))

    @property
    def rgb(self) -> bool:
        """Whether it is a colour image."""
        return "rgb" in self.image.dims

    @property
    def spatial(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        return self.image.sizes["col"], self.image.sizes["row"], self.image.sizes["slice"]


def outgoing(image: xr.DataArray, what: str, kinds: str = "biufc") -> Outgoing:
    """Check what no plain format can hold.

    Parameters
    ----------
    image : DataArray
    what : str
        The format, for messages.
    kinds : str
        numpy's letters of the kinds of numbers that the format holds.

    Raises
    ------
    FormatError
        If it is a segmentation, empty, or of a type that no file holds.
    GeometryError
        If slices are uneven, or the position along an axis is lost.
    """
    if "segment" in image.dims:
        raise FormatError(f"{what} has no segments: write one, image.sel(segment=n), or a map of labels")
    image = canonical(as_image(image))
    if image.dtype.kind not in kinds or image.dtype.itemsize > (16 if image.dtype.kind == "c" else 8):
        cure = " (write image.real and image.imag as two images)" if image.dtype.kind == "c" else ""
        raise FormatError(f"{what} holds no values of type {image.dtype}{cure}")
    if "rgb" in image.dims and (image.dtype != np.uint8 or image.sizes["rgb"] != 3):
        raise FormatError(f"{what} holds colour as 3 values of uint8, not {image.sizes['rgb']} of {image.dtype}")
    if 0 in image.shape:
        raise FormatError(f"the image is empty, its shape is {image.shape}")
    matrix = None
    if space_of(image) is None:
        warn(f"the image has no place in the patient: the {what} file gets none either")
        for axis in geometry.AXES:
            axis_of(image, axis)
    else:
        matrix = affine(image)[:, [2, 1, 0, 3]]
    return Outgoing(image, matrix)


def volumes_of(image: xr.DataArray) -> Iterator[NDArray[Any]]:
    """Volumes of a canonical image in C order of the volume dims, each (slice, row, col[, rgb])."""
    dims = volume_dims(image)
    counts = [image.sizes[d] for d in dims]
    group = _together(image, dims[-1], len(counts))
    for outer in np.ndindex(*counts[:-1]):
        for start in range(0, counts[-1], group):
            at = {**dict(zip(dims, outer, strict=False)), dims[-1]: slice(start, start + group)}
            yield from np.asarray(image.variable.isel(at).values)


def _together(image: xr.DataArray, dim: str, lead: int) -> int:
    """How many volumes to compute at once: those that share a dask chunk, within bounds."""
    chunks = image.variable.chunksizes.get(dim)
    if not chunks:
        return 1
    volume = image.dtype.itemsize * int(np.prod(image.shape[lead:]))
    return max(1, min(int(chunks[0]), _MAX_AT_ONCE // volume))


def write_voxels(
    out: Outgoing,
    place: Path,
    begin: Callable[[IO[bytes], np.dtype[Any]], Any],
    options: WriteOptions,
    end: Callable[[Any], Any] = lambda sink: None,
) -> np.dtype[Any]:
    """Write the voxels to a file, little-endian, in the first type that holds all volumes; return that type.

    Parameters
    ----------
    out : Outgoing
    place : Path
    begin : callable
        Gets the open file and the type, writes a header, and returns what the voxels are written to.
    options : WriteOptions
    end : callable
        Gets what `begin` returned, when all volumes are written.
    """
    fit = Fit(out.image, wide=True)
    while True:
        dtype = fit.dtype
        with place.open("wb") as f:
            sink = begin(f, dtype)
            done = all(_put(sink, v, k, fit, out, options) for k, v in enumerate(volumes_of(out.image)))
            if done:
                end(sink)
        if done:
            return dtype
        if fit.dtype == dtype:
            raise FormatError(f"no type holds the values of the image; {dtype} was the last one tried")


def _put(sink: Any, volume: NDArray[Any], k: int, fit: Fit, out: Outgoing, options: WriteOptions) -> bool:
    dtype = fit.dtype.newbyteorder("<")
    if not out.rgb and not fit.take(volume):
        return False
    sink.write(np.ascontiguousarray(volume.astype(dtype, copy=False)).data)
    if options.progress is not None:
        options.progress(k + 1, out.count)
    return True

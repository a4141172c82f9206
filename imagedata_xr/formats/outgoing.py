"""From an image to the voxels of a plain file: what is checked for every format, and volume after volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import FormatError, warn
from ..model import geometry
from ..model.image import affine, as_image, axis_of, canonical, space_of, volume_dims
from ..model.loading import values_of
from ..stores.gzip_out import gzip_stream
from . import timing
from .fit import Fit, Holds
from .seam import WriteOptions

_MAX_AT_ONCE = 256 << 20  # bytes of volumes that are computed together, where they share chunks

Put = Callable[[NDArray[Any]], Any]
"""Takes one volume, (slice, row, col[, rgb]) in the type of the file, rows in the order of the file."""

Sink = Callable[[np.dtype[Any]], AbstractContextManager[Put]]
"""Begins a file for voxels of a type, anew if need be; gives what takes the volumes. Ends it where they all fitted."""


@dataclass(frozen=True)
class Outgoing:
    """An image as a file holds it: all that is known before the voxels are read.

    Attributes
    ----------
    image : DataArray
        Canonical.
    affine : ndarray, shape (4, 4), or None
        From index (col, row, slice) of the file to LPS mm.
    holds : Holds
        What the format can hold.
    flipped : bool
        Whether the rows of the file run backwards.
    """

    image: xr.DataArray
    affine: NDArray[np.float64] | None
    holds: Holds
    flipped: bool = False

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

    @property
    def shape(self) -> tuple[int, ...]:
        """Columns, rows, slices, and volumes where there are several."""
        return (*self.spatial, self.count) if self.count > 1 else self.spatial

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of columns, rows, slices, mm; 1 where the image has no place in the patient."""
        if self.affine is None:
            return 1.0, 1.0, 1.0
        a, b, c = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return a, b, c

    @property
    def unit(self) -> NDArray[np.float64]:
        """Directions of columns, rows, slices as unit columns, shape (3, 3), LPS."""
        return np.eye(3) if self.affine is None else self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def sheared(self) -> bool:
        """Whether the slices are not perpendicular to their stack."""
        return bool(np.abs(self.unit.T @ self.unit - np.eye(3)).max() > 1e-4)

    @cached_property
    def timing(self) -> tuple[float, float]:
        """Interval of the volumes, s, 0 where there is none or it is uneven; and the time of the first one."""
        return timing.interval(self.image)


def outgoing(image: xr.DataArray, holds: Holds, flip_rows: bool = False) -> Outgoing:
    """Check what no plain format can hold.

    Parameters
    ----------
    image : DataArray
    holds : Holds
    flip_rows : bool
        Whether the rows of the file run backwards; not without a place in the patient, where nothing would turn them
        again.

    Raises
    ------
    FormatError
        If it is a segmentation, empty, or of a type that the format does not hold.
    GeometryError
        If slices are uneven, or the position along an axis is lost.
    """
    what = holds.name
    if "segment" in image.dims:
        raise FormatError(f"{what} has no segments: write one, image.sel(segment=n), or a map of labels")
    image = canonical(as_image(image))
    if image.dtype.kind not in holds.kinds or image.dtype.itemsize > (16 if image.dtype.kind == "c" else 8):
        cure = " (write image.real and image.imag as two images)" if image.dtype.kind == "c" else ""
        raise FormatError(f"{what} holds no values of type {image.dtype}{cure}")
    if "rgb" in image.dims:
        if not holds.colour:
            raise FormatError(f"{what} holds no colour: write image.mean('rgb'), or one of the colours, isel(rgb=0)")
        if image.dtype != np.uint8 or image.sizes["rgb"] != 3:
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
        if flip_rows:
            matrix[:3, 3] += (image.sizes["row"] - 1) * matrix[:3, 1]
            matrix[:3, 1] *= -1
    return Outgoing(image, matrix, holds, flip_rows and matrix is not None)


# --- voxels -------------------------------------------------------------------------------------------------------


def volumes_of(out: Outgoing) -> Iterator[NDArray[Any]]:
    """Volumes in C order of the volume dims, each (slice, row, col[, rgb]), rows as in the file."""
    image = out.image
    dims, counts = volume_dims(image), out.counts
    group = _together(image, dims[-1], len(counts))
    for outer in np.ndindex(*counts[:-1]):
        for start in range(0, counts[-1], group):
            at = {**dict(zip(dims, outer, strict=False)), dims[-1]: slice(start, start + group)}
            values = np.asarray(values_of(image.variable.isel(at)))
            values = values[:, :, ::-1] if out.flipped else values
            yield from values[:-1]
            last = values[-1].copy() if len(values) > 1 else values[-1]
            del values  # who holds the last volume shall not hold all of them while the next are read
            yield last


def _together(image: xr.DataArray, dim: str, lead: int) -> int:
    """How many volumes to compute at once: those that share a dask chunk, within bounds."""
    chunks = image.variable.chunksizes.get(dim)
    if not chunks:
        return 1
    volume = image.dtype.itemsize * int(np.prod(image.shape[lead:]))
    return max(1, min(int(chunks[0]), _MAX_AT_ONCE // volume))


class _MisfitError(Exception):
    """A volume does not fit the type tried."""


def write_fitting(
    out: Outgoing, use: Callable[[np.dtype[Any], Iterator[NDArray[Any]]], Any], options: WriteOptions
) -> np.dtype[Any]:
    """Hand the volumes to who writes them, in the first type that holds all of them; return that type.

    Volumes are computed one by one; `use` is called anew where one does not fit the type tried. They may lie
    in the same memory: each is there until the next one is asked for.

    Parameters
    ----------
    out : Outgoing
    use : callable
        Takes a type, and the volumes in this type, C-contiguous; must take all of them.
    options : WriteOptions

    Raises
    ------
    FormatError
        If no type of the format holds all.
    """
    fit = Fit(out.image, out.holds)
    while True:
        dtype = np.dtype(np.uint8) if out.rgb else fit.dtype
        try:
            use(dtype, _fitting(out, fit, dtype, options))
        except _MisfitError:
            continue
        return dtype


def _fitting(out: Outgoing, fit: Fit, dtype: np.dtype[Any], options: WriteOptions) -> Iterator[NDArray[Any]]:
    room: NDArray[Any] = np.empty((), dtype)
    for k, volume in enumerate(volumes_of(out)):
        if not out.rgb and not fit.take(volume):
            raise _MisfitError
        if volume.dtype == dtype and volume.flags.c_contiguous:
            yield volume
        else:
            room = room if room.shape == volume.shape else np.empty(volume.shape, dtype)
            np.copyto(room, volume, casting="unsafe")  # fit.take knows that it is safe
            yield room
        if options.progress is not None:
            options.progress(k + 1, out.count)


def gzip_level(options: WriteOptions) -> int:
    """Level of ``format_options={"compresslevel": ...}``, 1 to 9; `FormatError` for anything else."""
    level = options.format_options.get("compresslevel", 1)
    if isinstance(level, bool) or level not in range(1, 10):
        raise FormatError(f"format_options compresslevel={level!r}: a level from 1 to 9")
    return int(level)


def write_voxels(out: Outgoing, sink: Sink, options: WriteOptions) -> np.dtype[Any]:
    """Write the volumes in the first type that holds all of them; return that type. See `write_fitting`."""

    def use(dtype: np.dtype[Any], volumes: Iterator[NDArray[Any]]) -> None:
        with sink(dtype) as put:
            for volume in volumes:
                put(volume)

    return write_fitting(out, use, options)


def load_voxels(out: Outgoing, options: WriteOptions | None = None) -> NDArray[Any]:
    """Array of all volumes in the first type that holds all of them, shape (volume, slice, row, col[, rgb])."""
    kept: list[NDArray[Any]] = []

    @contextmanager
    def sink(dtype: np.dtype[Any]) -> Iterator[Put]:
        kept.clear()
        yield lambda volume: kept.append(volume.copy())

    write_voxels(out, sink, options or WriteOptions())
    return np.stack(kept)


def raw_sink(
    place: Path,
    begin: Callable[[np.dtype[Any]], bytes] = lambda dtype: b"",
    *,
    outside: Callable[[np.dtype[Any]], bytes] = lambda dtype: b"",
    packed: int = 0,
    order: Literal["<", ">"] = "<",
    end: Callable[[np.dtype[Any]], bytes] = lambda dtype: b"",
) -> Sink:
    """Sink into a file: header, voxels as they are, columns fastest, and what follows them.

    Parameters
    ----------
    place : Path
    begin, end : callable
        Bytes before and after the voxels, for a type.
    outside : callable
        Bytes before all that is packed.
    packed : int
        Level of gzip; 0 for none.
    order : {"<", ">"}
        Byte order.
    """

    @contextmanager
    def sink(dtype: np.dtype[Any]) -> Iterator[Put]:
        turned = dtype.newbyteorder(order)
        with place.open("wb") as raw:
            raw.write(outside(dtype))
            f: Any = gzip_stream(raw, packed) if packed else raw
            f.write(begin(dtype))
            yield lambda volume: f.write(volume.astype(turned, copy=False).data)
            f.write(end(dtype))
            if packed:
                f.close()

    return sink

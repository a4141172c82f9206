"""From what a plain format says of a file (shape, type, affine, labels) to a labelled image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import GeometryError, SourceError
from ..model.geometry import AXES
from ..model.image import build
from ..model.lazy import LazyArray, axis_indices
from ..stores.ranges import Ranges
from .carried import Carried, Known, arranged
from .place import axes_of, check_affine
from .raw_array import RawArray, exact_cast, scaled, value_dtype
from .seam import ReadOptions


@dataclass(frozen=True)
class Incoming:
    """What a file says of its image.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    shape : tuple of int
        Columns, rows, slices, and axes of volumes, the fastest first.
    stored : numpy.dtype
    affine : ndarray, shape (4, 4), or None
        From index (slice, row, col) of the file to LPS mm.
    content : mapping, optional
        What travelled in the file, see `carried`.
    known : Known
        What the format itself says of the volumes.
    channels : int
        Values per voxel, which lie together. Three of uint8 are a colour; others become volumes, before all others.
    slope, inter : float
    attrs : mapping
    """

    name: str
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    affine: NDArray[np.float64] | None
    content: Mapping[str, Any] | None = None
    known: Known = field(default_factory=Known)
    channels: int = 1
    slope: float = 1.0
    inter: float = 0.0
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rgb(self) -> bool:
        """Whether the channels are a colour."""
        return self.channels == 3 and self.stored == np.uint8

    @property
    def grid(self) -> tuple[int, ...]:
        """Slices, rows, columns, and channels where there are several."""
        cols, rows, slices = self.shape[:3]
        return (slices, rows, cols) + ((self.channels,) if self.channels > 1 else ())

    @property
    def volumes(self) -> tuple[int, ...]:
        """Axes of volumes, the fastest first."""
        return ((self.channels,) if self.channels > 1 and not self.rgb else ()) + self.shape[3:]

    @property
    def bytes(self) -> int:
        """Bytes of all voxels."""
        return int(np.prod(self.shape, dtype=object)) * self.channels * self.stored.itemsize

    def value_type(self, options: ReadOptions) -> np.dtype[Any]:
        """Type of the values as they are read."""
        return value_dtype(self.stored) if options.mask_and_scale and not self.rgb else self.stored.newbyteorder("=")


Maker = Callable[[Incoming, NDArray[np.intp], bool, ReadOptions], LazyArray]
"""Makes the lazy array: gets the number in the file of each volume, and whether the rows are read backwards."""


def check_place(found: Incoming) -> Incoming:
    """Raise `SourceError` where the affine of a file can't be one."""
    try:
        check_affine(found.affine, found.shape)
    except GeometryError as error:
        raise SourceError(f"{found.name} has no usable geometry: {error}") from error
    return found


def dataset(found: Incoming, make: Maker, options: ReadOptions) -> xr.Dataset:
    """Labelled image of a file."""
    carried = Carried(found.content, found.name) if found.content else None
    how = arranged(carried, found.volumes, found.shape[2], found.known, options, found.name)
    axes, space, flip = axes_of(found.affine, found.shape)
    dims = [v.dim for v in how.volumes]
    coords: dict[str, Any] = dict(how.coords)
    coords["source"] = ((), np.array(options.source or found.name, dtype=np.dtypes.StringDType()))
    return build(
        make(found, how.numbers, flip, options),
        volumes=how.volumes,
        axes=axes,
        space=space,
        coords=coords,
        attrs={**found.attrs, **(carried.attrs if carried is not None else {})},
        encoding={
            "preferred_chunks": {**dict.fromkeys(dims, 1), **dict(zip(AXES, found.grid, strict=False))},
            "stored_dtype": str(found.stored.newbyteorder("=")),
            "bits_stored": found.stored.itemsize * 8,
        },
    )


def raw(source: Ranges, offset: int) -> Maker:
    """Maker of arrays whose voxels lie in a file as they are, channels fastest, from a byte on."""

    def make(found: Incoming, numbers: NDArray[np.intp], flip: bool, options: ReadOptions) -> LazyArray:
        split = found.channels > 1 and not found.rgb
        scale = options.mask_and_scale
        array = RawArray(
            source=source,
            offset=offset,
            stored=found.stored,
            volumes=np.arange(int(np.prod(found.shape[3:], dtype=int))) if split else numbers,
            grid=found.grid,
            flip_rows=flip,
            slope=found.slope if scale else 1.0,
            inter=found.inter if scale else 0.0,
            dtype=found.value_type(options),
            wanted=None if options.dtype is None else np.dtype(options.dtype),
        )
        return Channels(array, numbers) if split else array

    return make


def permuted(source: Ranges, offset: int, sizes: Sequence[int], order: Sequence[int]) -> Maker:
    """Maker of arrays whose axes lie in another order, read as a whole when a part is first asked for.

    Parameters
    ----------
    source : Ranges
    offset : int
        Where the voxels begin, bytes.
    sizes : sequence of int
        Of the axes in the file, the fastest first.
    order : sequence of int
        Which of them are the columns, rows, slices, and axes of volumes (the fastest first).
    """

    def make(found: Incoming, numbers: NDArray[np.intp], flip: bool, options: ReadOptions) -> LazyArray:
        load = partial(_permuted, source, offset, tuple(sizes), tuple(order), found.stored, found.grid)
        return Loaded(load, found, numbers, flip, options)

    return make


def _permuted(
    source: Ranges,
    offset: int,
    sizes: tuple[int, ...],
    order: tuple[int, ...],
    stored: np.dtype[Any],
    grid: tuple[int, ...],
) -> NDArray[Any]:
    need = int(np.prod(sizes)) * stored.itemsize
    data = np.frombuffer(source.read([offset], [need])[0], dtype=stored).reshape(sizes, order="F")
    return data.transpose(order).T.reshape(-1, *grid)  # of a single slice the file may have no axis


class Channels:
    """A `LazyArray` whose volumes are the channels of another one, of shape (volumes, slice, row, col, channel)."""

    def __init__(self, array: RawArray, numbers: NDArray[np.intp]) -> None:
        self.array, self.numbers = array, numbers
        self.channels = array.shape[-1]
        self.shape = (*numbers.shape, *array.shape[1:4])
        self.dtype = array.dtype

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read the volumes that the key names, one by one; channels lie together in the file."""
        at = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        lead = self.numbers.ndim
        numbers = self.numbers[np.ix_(*at[:lead])]
        out = np.empty([len(a) for a in at], dtype=self.dtype)
        for volume in np.unique(numbers // self.channels):
            block = self.array.read((int(volume), *at[lead:], slice(None)))
            for place in zip(*np.nonzero(numbers // self.channels == volume), strict=True):
                out[place] = block[..., numbers[place] % self.channels]
        return out[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]


class Loaded:
    """A `LazyArray` over an array that is read as a whole when a part is first asked for.

    Parameters
    ----------
    load : callable
        Gives the stored array, shape (volumes, slice, row, col[, rgb]). Can be pickled.
    """

    def __init__(
        self,
        load: Callable[[], NDArray[Any]],
        found: Incoming,
        numbers: NDArray[np.intp],
        flip: bool,
        options: ReadOptions,
    ) -> None:
        self.load, self.numbers, self.flip = load, numbers, flip
        self.shape = (*numbers.shape, *found.grid)
        self.values = found.value_type(options)
        self.scaling = (found.slope, found.inter) if options.mask_and_scale else (1.0, 0.0)
        self.dtype = self.values if options.dtype is None else np.dtype(options.dtype)
        self._array: NDArray[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Take the part that the key names."""
        if self._array is None:
            self._array = self.load()  # two threads may both load it, to the same end
        at = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        lead = self.numbers.ndim
        numbers = self.numbers[np.ix_(*at[:lead])]
        if self.flip:
            at[lead + 1] = self.shape[lead + 1] - 1 - at[lead + 1]
        part = self._array[np.ix_(numbers.ravel(), *at[lead:])]
        part = exact_cast(scaled(part, *self.scaling, self.values), self.dtype).reshape([len(a) for a in at])
        return part[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]

"""Voxels that lie in a file as they are, or behind a proxy of nibabel, read on demand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..model.lazy import axis_indices
from ..stores.files import File, token_of
from ..stores.ranges import Ranges


def exact_cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert values, or raise `FormatError` where one is not exactly the same in the new type."""
    if values.dtype == dtype:
        return values
    if values.dtype.kind == "c" and dtype.kind != "c" and not values.imag.any():
        values = values.real
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)  # what is lost is found below
        out = values.astype(dtype)
        same = out == values
        if values.dtype.kind in "fc" and dtype.kind in "fc":
            same |= np.isnan(values) & np.isnan(out)
        # a huge integer turned into float and compared as float looks the same: go back and compare as integer
        if values.dtype.kind in "iu" and dtype.kind in "fc":
            same &= out.astype(values.dtype) == values
    if not same.all():
        bad = values[~same].ravel()
        raise FormatError(
            f"{bad.size} values do not fit {dtype} exactly, the first is {bad[0]!r}: read without dtype= and convert "
            "with .round() or .astype(), which says what is meant"
        )
    return out


def value_dtype(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Type of values: float32, float64 where float32 is not exact for all of the stored type, or complex."""
    if stored.kind == "c":
        return stored.newbyteorder("=")
    exact = stored.itemsize <= {"b": 1, "i": 2, "u": 2, "f": 4}.get(stored.kind, 0)
    return np.dtype(np.float32 if exact else np.float64)


def scaled(stored: NDArray[Any], slope: float, inter: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of stored numbers, ``stored * slope + inter``, computed in double precision."""
    if (slope, inter) == (1.0, 0.0):
        if stored.dtype.kind in "iu" and stored.dtype.itemsize == 8:
            return _exact_float(stored, dtype)
        return stored.astype(dtype)
    wide = stored.astype(np.complex128 if dtype.kind == "c" else np.float64)
    wide *= slope
    wide += inter
    return wide.astype(dtype, copy=False)


def _exact_float(stored: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Integers of 64 bits as float64, or `FormatError` where that is not exact."""
    try:
        return exact_cast(stored.astype(stored.dtype.newbyteorder("="), copy=False), dtype)
    except FormatError as error:
        raise FormatError(
            "the file holds integers beyond 2**53, which float64 does not hold exactly: mask_and_scale=False gives the "
            "stored integers"
        ) from error


@dataclass
class RawArray:
    """A `LazyArray` over the voxels of a file.

    The file has its columns fastest, then rows, slices, volumes: in C order (volume, slice, row, col[, rgb]).

    Attributes
    ----------
    source : Ranges
    offset : int
        Where the voxels begin in it, bytes.
    stored : numpy.dtype
    volumes : ndarray of int
        Number in the file of each volume; its shape is that of the leading dims.
    grid : tuple of int
        Slices, rows, columns, and 3 for colour.
    flip_rows : bool
        Whether row 0 is the last one in the file.
    slope, inter : float
    dtype : numpy.dtype
        Of the values.
    wanted : numpy.dtype, optional
        What the user asks for; values must fit exactly.
    """

    source: Ranges
    offset: int
    stored: np.dtype[Any]
    volumes: NDArray[np.intp]
    grid: tuple[int, ...]
    flip_rows: bool
    slope: float
    inter: float
    dtype: np.dtype[Any]
    wanted: np.dtype[Any] | None = None
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = (*self.volumes.shape, *self.grid)
        self._values = self.dtype
        if self.wanted is not None:
            self.dtype = self.wanted

    @property
    def files(self) -> list[File]:
        """Files that the voxels are in."""
        return [part.file for part in _sources(self.source) if hasattr(part, "file")]

    @property
    def token(self) -> str:
        """Digest of the state of the files."""
        return token_of(self.files)

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read rows of the planes that the key names, and no other byte."""
        at = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        lead = self.volumes.ndim
        volumes, slices, rows = self.volumes[np.ix_(*at[:lead])], at[lead], at[lead + 1]
        if self.flip_rows:
            rows = self.grid[1] - 1 - rows
        shape = tuple(len(a) for a in at)
        out = np.empty(shape, dtype=self.dtype)
        if out.size:
            planes = (volumes.reshape(-1, 1) * self.grid[0] + slices).ravel()
            first, last = int(rows.min()), int(rows.max())
            flat = out.reshape(len(planes), *shape[lead + 1 :])
            inner: tuple[Any, ...] = (slice(None), *np.ix_(rows - first, *at[lead + 2 :]))
            for run, block in self._runs(planes, first, last):
                flat[run] = self._convert(block[inner])
        return out[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]

    def _convert(self, block: NDArray[Any]) -> NDArray[Any]:
        values = scaled(block, self.slope, self.inter, self._values)
        return values if self.wanted is None else exact_cast(values, self.wanted)

    def _runs(self, planes: NDArray[np.intp], first: int, last: int) -> list[tuple[slice, NDArray[Any]]]:
        """Read rows first..last of each plane: planes that touch in one block, (planes, rows, cols[, rgb])."""
        row = int(np.prod(self.grid[2:])) * self.stored.itemsize
        height, count = last - first + 1, self.grid[1]
        starts = self.offset + (planes * count + first) * row
        # planes that touch in the file are one range
        touching = np.diff(starts) == height * row
        edges = [0, *(np.flatnonzero(~touching) + 1).tolist(), len(planes)]
        runs = [slice(a, b) for a, b in pairwise(edges)]
        lengths = [(r.stop - r.start) * height * row for r in runs]
        data = self.source.read([int(starts[r.start]) for r in runs], lengths)
        return [
            (r, np.frombuffer(d, dtype=self.stored).reshape(-1, height, *self.grid[2:]))
            for r, d in zip(runs, data, strict=True)
        ]


def _sources(source: Any) -> list[Any]:
    return [part for part, _ in source.parts] if hasattr(source, "parts") else [source]


@dataclass
class ProxyArray:
    """A `LazyArray` over the data of a nibabel image, shape (col, row, slice, volume...)."""

    proxy: Any
    volumes: int
    grid: tuple[int, ...]
    flip_rows: bool
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = (self.volumes, *self.grid)

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read the box around what the key names, and take that out of it."""
        at = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        if any(a.size == 0 for a in at):
            out = np.empty([a.size for a in at], dtype=self.dtype)
        else:
            if self.flip_rows:
                at[2] = self.grid[1] - 1 - at[2]
            out = self._box(at)
        return out[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]

    def _box(self, at: list[NDArray[np.intp]]) -> NDArray[Any]:
        bounds = [slice(int(a.min()), int(a.max()) + 1) for a in at[:4]]
        shape = tuple(self.proxy.shape)
        box = tuple(reversed(bounds))[: len(shape)]
        data = np.asanyarray(self.proxy[box])
        if data.dtype.fields:
            data = np.stack([data[n] for n in ("R", "G", "B")], axis=-1)
        tail = data.ndim - len(box)
        data = data.reshape(*data.shape[: len(box)], *[1] * (4 - len(box)), *data.shape[len(box) :])
        data = data.transpose(3, 2, 1, 0, *range(4, 4 + tail))
        inner = [a - b.start for a, b in zip(at, bounds, strict=False)] + at[4:]
        return np.asarray(data[np.ix_(*inner)]).astype(self.dtype)

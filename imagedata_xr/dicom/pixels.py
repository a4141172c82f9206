"""Pixels of a grid of frames, read when asked for: native ones by position, compressed ones frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..model.lazy import axis_indices
from ..stores.url import File, file_name, is_local, read_ranges
from .luts import ModalityLut, Palette
from .pixel_format import PixelFormat
from .stored_frames import StoredFrames
from .syntaxes import BIG_ENDIAN


@dataclass
class FrameArray:
    """A `LazyArray` over the frames of a grid.

    Attributes
    ----------
    files : list of File
    syntax : list of str
        Transfer syntax of each file.
    offset, length : ndarray
        Where the pixel data of each file lie; length -1 where compressed, offset -1 where they have no place.
    formats : list of PixelFormat
        Of one shape.
    kind : ndarray
        Which of the formats each file has.
    file, number : ndarray, shape (volumes..., slice)
        File (-1 for none) and frame number of each plane.
    dtype : numpy.dtype
    slope, intercept : ndarray, shape (volumes..., slice), optional
        Modality rescale of each plane; None for stored values.
    padding : ndarray, shape (2, volumes..., slice), optional
        Lowest and highest stored value of each plane that becomes NaN; NaN for none.
    size : tuple of int, optional
        Rows and columns of a plane, where it is a tile of the stored matrix.
    corner : ndarray, shape (volumes..., slice, 2), optional
        Where in the stored matrix each tile begins.
    luts : list of ModalityLut
    lut : ndarray, optional
        Which of the luts each file has, -1 for none; it stands in for slope and intercept.
    count : ndarray
        Number of Frames of each file.
    palettes : dict of int to Palette
        By file, where its values are indices into one.
    extended : dict of int to (bytes, bytes)
        Extended Offset Table of each file that has one, and its lengths.
    missing : float
        Value of planes without a file.
    label : ndarray, shape (segments, slice), optional
        Of label maps: the stored value that becomes 1 in each plane, all others 0.
    known : ndarray of bool, optional
        Of label maps: whether each stored value means anything.
    """

    files: list[File]
    syntax: list[str]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    formats: list[PixelFormat]
    kind: NDArray[np.intp]
    file: NDArray[np.intp]
    number: NDArray[np.intp]
    dtype: np.dtype[Any]
    slope: NDArray[np.float64] | None = None
    intercept: NDArray[np.float64] | None = None
    padding: NDArray[np.float64] | None = None
    size: tuple[int, int] | None = None
    corner: NDArray[np.intp] | None = None
    luts: list[ModalityLut] = field(default_factory=list)
    lut: NDArray[np.intp] | None = None
    count: NDArray[np.intp] | None = None
    palettes: dict[int, Palette] = field(default_factory=dict)
    extended: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    missing: float = np.nan
    label: NDArray[np.int64] | None = None
    known: NDArray[np.bool_] | None = None
    _kept: tuple[int, StoredFrames] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """(rows, cols) or, for colour, (rows, cols, samples)."""
        f = self.formats[0]
        rows, cols = self.size or (f.rows, f.cols)
        return (rows, cols, 3) if f.colour else (rows, cols)

    @property
    def shape(self) -> tuple[int, ...]:
        """(volumes..., slice, row, col[, rgb])."""
        return (*self.file.shape, *self.plane_shape)

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read the planes that a key names, and no others; see `imagedata_xr.model.lazy.LazyArray`."""
        grid = self.file.ndim
        picks = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        wanted = np.ix_(*picks[:grid])
        file, number = self.file[wanted].ravel(), self.number[wanted].ravel()
        corner = None if self.corner is None else self.corner[wanted].reshape(-1, 2)
        places = list(zip(*(ix.ravel() for ix in np.broadcast_arrays(*wanted)), strict=True))
        # the segments of a label map share frames: each is read once
        turn = np.arange(file.size) if self.label is None else np.lexsort((number, file))
        rows, inner = picks[grid], picks[grid + 1 :]
        shape = (file.size, *(p.size for p in picks[grid:]))
        if 0 in shape:
            out = np.empty(shape, dtype=self.dtype)
        else:
            first, last = int(rows.min()), int(rows.max()) + 1
            part = np.ix_(rows - first, *inner)
            whole = rows.size == last - first and shape[2:] == self.plane_shape[1:] and _ascending(rows, *inner)
            planes = self._planes(Wanted(file[turn], number[turn], corner, first, last))
            ahead = next(planes)  # before room is made for all: a decoder finds out that a damaged size is none
            out = np.empty(shape, dtype=self.dtype)
            for k, plane in zip(turn.tolist(), chain([ahead], planes), strict=True):
                if plane is None:
                    out[k] = self.missing
                else:
                    self._convert(plane if whole else plane[part], out[k], places[k])
        shaped = out.reshape(tuple(p.size for p in picks))
        drop = tuple(0 if isinstance(k, (int, np.integer)) else slice(None) for k in key)
        return shaped[drop]

    def _convert(self, plane: NDArray[Any], out: NDArray[Any], place: tuple[Any, ...]) -> None:
        """Rescale a plane of stored values into its place: one pass in float64, rounded once."""
        lut = -1 if self.lut is None else int(self.lut[self.file[place]])
        if self.label is not None:
            self._refuse_unknown(plane, place)
            out[...] = plane == self.label[place]
        elif lut >= 0:
            out[...] = self.luts[lut].apply(plane)
        elif self.slope is None or self.intercept is None or (self.slope[place] == 1 and self.intercept[place] == 0):
            out[...] = plane
        else:
            np.add(plane * self.slope[place], self.intercept[place], out=out, casting="unsafe")
        if self.padding is not None:
            low, high = self.padding[(0, *place)], self.padding[(1, *place)]
            if low <= high:
                out[(plane >= low) & (plane <= high)] = np.nan

    def _refuse_unknown(self, plane: NDArray[Any], place: tuple[Any, ...]) -> None:
        """Refuse values of a label map that no segment describes: they would be lost."""
        assert self.known is not None
        if not (known := self.known[plane]).all():
            value = int(plane[~known].flat[0])
            raise SourceError(
                f"{file_name(self.files[self.file[place]])}: frame {int(self.number[place])} has the value {value}, "
                "which no segment describes; mask_and_scale=False gives the stored values"
            )

    # --- stored values -----------------------------------------------------------------------------------------------
    def _planes(self, wanted: Wanted) -> Iterator[NDArray[Any] | None]:
        """Yield the stored rows of each plane, cleaned; None where there is no file.

        Planes that follow each other often lie in one file: what was read of it, or decoded, serves them all.
        """
        ahead = self._fetch_remote(wanted)
        last: tuple[tuple[int, ...], Any] = ((), None)
        for k, i in enumerate(wanted.file.tolist()):
            if i < 0:
                yield None
                continue
            f = self.formats[self.kind[i]]
            native = self._addressable(i)
            # native rows are read by their place; a compressed frame is decoded whole
            key = (i, *wanted.start(k)) if native else (i, 1 if wanted.corner is not None else int(wanted.number[k]))
            if native and k in ahead:
                band = self._shaped(ahead.pop(k), f)
            elif last[0] == (*key, int(native)):
                band = last[1]
            elif native:
                band = self._shaped(self._fetch(wanted, [k])[0], f)
            else:
                band = self._stored_frames(i).read(key[1])
            last = ((*key, int(native)), band)
            part = wanted.cut(band, k, self.plane_shape[1], native)
            yield f.clean(part) if native else part

    def _shaped(self, data: bytes, f: PixelFormat) -> NDArray[Any]:
        colour = (f.samples,) if f.samples > 1 else ()
        return np.frombuffer(data, dtype=f.stored_dtype).reshape(-1, f.cols, *colour)

    def _stored_frames(self, i: int) -> StoredFrames:
        """Frames of a file; those of the last one are kept, since its other frames are often wanted next."""
        kept = self._kept
        if kept is None or kept[0] != i:
            frames = StoredFrames(
                self.files[i],
                self.syntax[i],
                int(self.offset[i]),
                int(self.length[i]),
                1 if self.count is None else int(self.count[i]),
                self.formats[self.kind[i]],
                self.extended.get(i),
                self.palettes.get(i),
            )
            kept = self._kept = (i, frames)
        return kept[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def _addressable(self, i: int) -> bool:
        """Whether rows of a file's frames can be read by their position."""
        f = self.formats[self.kind[i]]
        native = self.length[i] >= 0 and self.offset[i] >= 0 and self.syntax[i] != BIG_ENDIAN
        return bool(native and f.bits_allocated in (8, 16, 32, 64) and not f.planar and f.space in ("", "RGB"))

    def _fetch_remote(self, wanted: Wanted) -> dict[int, bytes]:
        """Read what lies on remote stores in one go, since their requests run at the same time."""
        rows = [
            k
            for k, i in enumerate(wanted.file.tolist())
            if i >= 0 and self._addressable(i) and not is_local(self.files[i])
        ]
        return dict(zip(rows, self._fetch(wanted, rows), strict=True)) if rows else {}

    def _fetch(self, wanted: Wanted, rows: list[int]) -> list[bytes]:
        starts, counts = [], []
        for k in rows:
            f = self.formats[self.kind[wanted.file[k]]]
            row = f.frame_bytes // f.rows
            frame = 0 if wanted.corner is not None else int(wanted.number[k]) - 1
            starts.append(int(self.offset[wanted.file[k]]) + frame * f.frame_bytes + wanted.start(k)[-1] * row)
            counts.append((wanted.last - wanted.first) * row)
        return read_ranges([self.files[wanted.file[k]] for k in rows], starts, counts)

    def stored(self, place: tuple[int, ...]) -> NDArray[Any]:
        """Return the stored values of one plane, cleaned, shape (rows, cols[, samples])."""
        corner = None if self.corner is None else self.corner[place][None]
        wanted = Wanted(np.array([self.file[place]]), np.array([self.number[place]]), corner, 0, self.plane_shape[0])
        (plane,) = self._planes(wanted)
        return np.asarray(plane)


@dataclass(frozen=True)
class Wanted:
    """Rows first..last of some planes.

    Attributes
    ----------
    file, number : ndarray, shape (n,)
        File (-1 for none) and number of each plane.
    corner : ndarray, shape (n, 2), optional
        Row and column of the stored matrix where each plane begins, for tiles.
    first, last : int
    """

    file: NDArray[np.intp]
    number: NDArray[np.intp]
    corner: NDArray[np.intp] | None
    first: int
    last: int

    def start(self, k: int) -> tuple[int, int]:
        """Frame (0 for tiles, which share one) and first row of the stored matrix of plane k."""
        if self.corner is None:
            return int(self.number[k]), self.first
        return 0, int(self.corner[k, 0]) + self.first

    def cut(self, band: NDArray[Any], k: int, cols: int, native: bool) -> NDArray[Any]:
        """Plane k's part of what was read: rows first..last where native, else its whole frame."""
        if not native:
            row = self.start(k)[-1]
            band = band[row : row + self.last - self.first]
        if self.corner is None:
            return band
        left = int(self.corner[k, 1])
        return band[:, left : left + cols]


def _ascending(*indices: NDArray[np.intp]) -> bool:
    return all(bool((np.diff(i) == 1).all()) for i in indices)

"""Pixels of a grid of frames, read when asked for: native ones by position, compressed ones frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..model.lazy import axis_indices
from ..stores.url import File, file_name, is_local, read_ranges

BIG_ENDIAN = "1.2.840.10008.1.2.2"


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of all frames of an image are stored.

    Attributes
    ----------
    rows, cols, samples : int
    bits_allocated, bits_stored, high_bit : int
    signed : bool
    planar : bool
        Colour by plane rather than by pixel.
    floating : bool
        Float (32 bits) or Double Float Pixel Data.
    """

    rows: int
    cols: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool = False
    floating: bool = False

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type of the numbers as they lie in the file, little endian."""
        kind = "f" if self.floating else "i" if self.signed else "u"
        return np.dtype(f"<{kind}{self.bits_allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        """Length of a native frame."""
        return self.rows * self.cols * self.samples * self.bits_allocated // 8

    def clean(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Mask bits outside of Bits Stored and extend the sign (PS3.5 8.1.1: they may hold anything)."""
        if self.floating or (self.bits_stored == self.bits_allocated and self.high_bit == self.bits_stored - 1):
            return stored
        shift = self.bits_allocated - self.high_bit - 1
        # left to drop what is above the high bit, then right (arithmetic for signed types) to drop what is below
        up = np.left_shift(stored, np.array(shift, stored.dtype))
        return np.right_shift(up, np.array(self.bits_allocated - self.bits_stored, stored.dtype))


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
    padding : ndarray, shape (volumes..., slice), optional
        Stored value of each plane that becomes NaN; NaN for none.
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

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """(rows, cols) or, for colour, (rows, cols, samples)."""
        f = self.formats[0]
        return (f.rows, f.cols, f.samples) if f.samples > 1 else (f.rows, f.cols)

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
        params = [None if p is None else p[wanted].ravel() for p in (self.slope, self.intercept, self.padding)]
        rows, inner = picks[grid], picks[grid + 1 :]
        out = np.empty((file.size, *(p.size for p in picks[grid:])), dtype=self.dtype)
        if out.size:
            first, last = int(rows.min()), int(rows.max()) + 1
            part = np.ix_(rows - first, *inner)
            whole = rows.size == last - first and out.shape[2:] == self.plane_shape[1:] and _ascending(rows, *inner)
            for k, plane in enumerate(self._planes(file, number, first, last)):
                if plane is None:
                    out[k] = np.nan
                else:
                    self._convert(plane if whole else plane[part], out[k], params, k)
        shaped = out.reshape(tuple(p.size for p in picks))
        drop = tuple(0 if isinstance(k, (int, np.integer)) else slice(None) for k in key)
        return shaped[drop]

    def _convert(
        self, plane: NDArray[Any], out: NDArray[Any], params: list[NDArray[np.float64] | None], k: int
    ) -> None:
        """Rescale a plane of stored values into its place: one pass in float64, rounded once."""
        slope, intercept, padding = params
        if slope is None or intercept is None or (slope[k] == 1 and intercept[k] == 0):
            out[...] = plane
        else:
            np.add(plane * slope[k], intercept[k], out=out, casting="unsafe")
        if padding is not None and padding[k] == padding[k]:
            out[plane == padding[k]] = np.nan

    # --- stored values -----------------------------------------------------------------------------------------------
    def _planes(
        self, file: NDArray[np.intp], number: NDArray[np.intp], first: int, last: int
    ) -> Iterator[NDArray[Any] | None]:
        """Yield the stored rows first..last of each plane, cleaned; None where there is no file."""
        ahead = self._fetch_remote(file, number, first, last)
        for k, i in enumerate(file):
            if i < 0:
                yield None
                continue
            f = self.formats[self.kind[i]]
            if self._addressable(int(i)):
                data = ahead.pop(k, None)
                if data is None:
                    (data,) = self._fetch(file[k : k + 1], number[k : k + 1], first, last)
                values = np.frombuffer(data, dtype=f.stored_dtype)
                yield f.clean(values.reshape(last - first, *self.plane_shape[1:]))
            else:
                values = decode_frame(self.files[i], int(number[k]), f)
                yield f.clean(values.reshape(self.plane_shape)[first:last])

    def _addressable(self, i: int) -> bool:
        """Whether rows of a file's frames can be read by their position."""
        f = self.formats[self.kind[i]]
        native = self.length[i] >= 0 and self.offset[i] >= 0 and self.syntax[i] != BIG_ENDIAN
        return bool(native and f.bits_allocated in (8, 16, 32, 64) and not f.planar)

    def _fetch_remote(
        self, file: NDArray[np.intp], number: NDArray[np.intp], first: int, last: int
    ) -> dict[int, bytes]:
        """Read what lies on remote stores in one go, since their requests run at the same time."""
        rows = [k for k, i in enumerate(file) if i >= 0 and self._addressable(int(i)) and not is_local(self.files[i])]
        if not rows:
            return {}
        return dict(zip(rows, self._fetch(file[rows], number[rows], first, last), strict=True))

    def _fetch(self, file: NDArray[np.intp], number: NDArray[np.intp], first: int, last: int) -> list[bytes]:
        starts, counts = [], []
        for i, frame in zip(file.tolist(), number.tolist(), strict=True):
            f = self.formats[self.kind[i]]
            row = f.frame_bytes // f.rows
            starts.append(int(self.offset[i]) + (frame - 1) * f.frame_bytes + first * row)
            counts.append((last - first) * row)
        return read_ranges([self.files[i] for i in file], starts, counts)

    def stored(self, place: tuple[int, ...]) -> NDArray[Any]:
        """Return the stored values of one plane, cleaned, shape (rows, cols[, samples])."""
        file, number = np.array([self.file[place]]), np.array([self.number[place]])
        (plane,) = self._planes(file, number, 0, self.plane_shape[0])
        return np.asarray(plane)


def _ascending(*indices: NDArray[np.intp]) -> bool:
    return all(bool((np.diff(i) == 1).all()) for i in indices)


def decode_frame(file: File, number: int, kind: PixelFormat) -> NDArray[Any]:
    """Stored values of one frame through pydicom: compressed, big endian, deflated, or odd in another way.

    Raises
    ------
    SourceError
        Where it can't be decoded, with the reason; a missing decoder is named.
    """
    import pydicom
    from pydicom.pixels import pixel_array

    try:
        with file.fs.open(file.path, "rb") as stream:
            ds = pydicom.dcmread(stream, force=True)
            out = pixel_array(ds, index=number - 1, raw=kind.samples == 1)
            return np.asarray(out).astype(kind.stored_dtype, copy=False)
    except (
        RuntimeError,
        NotImplementedError,
        ValueError,
        AttributeError,
        OSError,
        EOFError,
        KeyError,
        IndexError,
    ) as error:
        raise SourceError(f"{file_name(file)}: frame {number} can't be decoded: {error}") from error

"""Pixels of a grid of frames, read when asked for: native ones by position, compressed ones frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
from ...model.lazy import axis_indices
from ...stores.files import token_of
from ...stores.url import File, file_name
from ..headers.lookup import PROCESS, met
from .luts import ModalityLut, Palette
from .native_planes import read_native
from .pixel_format import PixelFormat
from .rescaling import rescale
from .stored_frames import StoredFrames
from .syntaxes import BIG_ENDIAN
from .threads import spread
from .wanted import Wanted, wanted


@dataclass(repr=False)
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
    source : str
        The coord ``source`` of the image.
    home : str
        The process that opened it. In another one the array brings the files whose headers the image has.
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
    source: str = ""
    home: str = PROCESS
    _kept: tuple[int, StoredFrames] | None = field(default=None, init=False, repr=False, compare=False)
    _by_place: NDArray[np.bool_] | None = field(default=None, init=False, repr=False, compare=False)

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

    @property
    def token(self) -> str:
        """Digest of the state of the files."""
        return token_of(self.files)

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read the planes that a key names, and no others; see `imagedata_xr.model.lazy.LazyArray`."""
        picks = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        part = wanted(self, picks)
        out = self._read(part) if 0 not in part.shape else np.empty(part.shape, dtype=self.dtype)
        drop = tuple(0 if isinstance(k, (int, np.integer)) else slice(None) for k in key)
        return out.reshape(tuple(p.size for p in picks))[drop]

    def _read(self, part: Wanted) -> NDArray[Any]:
        there = part.file >= 0
        native = there & self._addressable()[part.file]
        frames = self._frames(part, np.flatnonzero(there & ~native))
        # before room is made for all: a decoder finds out that a damaged size is none
        ahead = self._stored_frames(frames[0].file).read(frames[0].number) if frames else None
        out = np.empty(part.shape, dtype=self.dtype)
        if not there.all():
            out[~there] = self.missing
        if native.any():
            read_native(self, part, np.flatnonzero(native), out)
        if ahead is not None:
            self._put(ahead, frames[0], part, out)
            spread(lambda f: self._put(self._stored_frames(f.file).read(f.number), f, part, out), frames[1:])
        return out

    def convert(self, stored: NDArray[Any], out: NDArray[Any], part: Wanted, planes: NDArray[np.intp]) -> None:
        """Put the values of stored numbers into their place.

        Parameters
        ----------
        stored, out : ndarray, shape (n, rows, cols[, colours])
            Cleaned; they may be the same.
        part : Wanted
        planes : ndarray, shape (n,)
            Which of the wanted planes they are.
        """
        at = tuple(p[planes] for p in part.places)
        padded = None
        if self.padding is not None:  # told by the stored numbers, whose place the values may take
            low, high = (ends[at].reshape(-1, *(1,) * (stored.ndim - 1)) for ends in self.padding)
            padded = (stored >= low) & (stored <= high) if (low <= high).any() else None
        luts = None if self.lut is None else self.lut[part.file[planes]]
        if self.label is not None:
            for k in range(len(planes)):
                place = tuple(a[k] for a in at)
                self._refuse_unknown(stored[k], place)
                out[k] = stored[k] == self.label[place]
        elif luts is not None and (luts >= 0).any():
            for k, lut in enumerate(luts.tolist()):
                if lut >= 0:
                    out[k] = self.luts[lut].apply(stored[k])
                else:
                    self._rescale(stored[k : k + 1], out[k : k + 1], tuple(a[k : k + 1] for a in at))
        else:
            self._rescale(stored, out, at)
        if padded is not None:
            out[padded] = np.nan

    def _rescale(self, stored: NDArray[Any], out: NDArray[Any], at: tuple[NDArray[np.intp], ...]) -> None:
        if self.slope is None or self.intercept is None:
            rescale(stored, np.ones(1), np.zeros(1), out)
        else:
            rescale(stored, self.slope[at], self.intercept[at], out)

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
    def _frames(self, part: Wanted, planes: NDArray[np.intp]) -> list[Frame]:
        """Frames that are decoded as a whole, each with the planes that it gives: tiles and segments share one."""
        found: dict[tuple[int, int], list[int]] = {}
        for k in planes.tolist():
            number = 1 if part.corner is not None else int(part.number[k])
            found.setdefault((int(part.file[k]), number), []).append(k)
        return [Frame(file, number, mine) for (file, number), mine in found.items()]

    def _put(self, stored: NDArray[Any], frame: Frame, part: Wanted, out: NDArray[Any]) -> None:
        for k in frame.planes:
            self.convert(part.take(part.cut_frame(stored, k)[None]), out[k : k + 1], part, np.array([k]))

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

    def __repr__(self) -> str:
        return f"<{len(self.files)} files, shape {self.shape}, {self.dtype}>"  # their addresses may hold passwords

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.source and self.home != PROCESS:
            met(self.source, (self.files[k] for k in np.unique(self.file[self.file >= 0]).tolist()))

    def _addressable(self) -> NDArray[np.bool_]:
        """Whether rows of each file's frames can be read by their place."""
        if self._by_place is None:
            plain = [f.bits_allocated in (8, 16, 32, 64) and not f.planar and f.space in ("", "RGB")
                     for f in self.formats]  # fmt: skip
            little = np.array([syntax != BIG_ENDIAN for syntax in self.syntax], dtype=np.bool_)
            placed = (self.length >= 0) & (self.offset >= 0)
            self._by_place = np.array(plain, dtype=np.bool_)[self.kind] & little & placed
        return self._by_place

    def stored(self, place: tuple[int, ...]) -> NDArray[Any]:
        """Return the stored values of one plane, cleaned, shape (rows, cols[, samples])."""
        dtype = self.formats[self.kind[self.file[place]]].dtype
        plain = replace(self, dtype=dtype, slope=None, intercept=None, padding=None, lut=None, label=None)
        return plain.read((*place, *(slice(None) for _ in self.plane_shape)))


class Frame(NamedTuple):
    """A frame of a file, and which of the wanted planes it gives."""

    file: int
    number: int
    planes: list[int]

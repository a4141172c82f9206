"""Native planes, read by their place in the file: straight into the result, or by way of a small buffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...stores.url import File, is_local, read_into
from .pixel_format import PixelFormat
from .wanted import Wanted

if TYPE_CHECKING:
    from .pixels import FrameArray

_LOCAL_BYTES = 2**18
"""Read and converted at once: what stays in a core's cache between the two."""
_REMOTE_BYTES = 2**25
"""Asked for at once from remote stores, whose requests run at the same time."""
_REQUEST_BYTES = 2**22
"""Asked for by one request, unless a plane is larger."""


def read_native(array: FrameArray, wanted: Wanted, planes: NDArray[np.intp], out: NDArray[Any]) -> None:
    """Read some of the wanted planes and put their values into the result.

    Parameters
    ----------
    array : FrameArray
    wanted : Wanted
    planes : ndarray
        Which of the wanted planes; all of files whose rows can be read by their place.
    out : ndarray, shape `wanted.shape`

    Raises
    ------
    SourceError
        A file can't be read or is too short.
    """
    kinds = array.kind[wanted.file[planes]]
    for kind in np.unique(kinds).tolist():
        _read_alike(array, array.formats[kind], wanted, planes[kinds == kind], out)


@dataclass(frozen=True)
class _Bands:
    """Ranges of bytes in files, of one length; planes that share one (tiles, segments) follow each other."""

    file: NDArray[np.intp]
    start: NDArray[np.int64]
    size: int
    planes: list[NDArray[np.intp]] | NDArray[np.intp]
    """Which planes each range holds, or the one."""


def _bands(array: FrameArray, form: PixelFormat, wanted: Wanted, planes: NDArray[np.intp]) -> _Bands:
    file = wanted.file[planes]
    row = form.frame_bytes // form.rows
    if wanted.corner is None:
        place = (wanted.number[planes].astype(np.int64) - 1) * form.frame_bytes + wanted.first * row
    else:  # tiles share one frame
        place = (wanted.corner[planes, 0].astype(np.int64) + wanted.first) * row
    start = array.offset[file] + place
    size = (wanted.last - wanted.first) * row
    if wanted.corner is None and array.label is None:
        return _Bands(file, start, size, planes)
    turn = np.lexsort((start, file))
    file, start, planes = file[turn], start[turn], planes[turn]
    heads = np.flatnonzero(np.r_[True, (np.diff(file) != 0) | (np.diff(start) != 0)])
    return _Bands(file[heads], start[heads], size, np.split(planes, heads[1:]))


def _read_alike(
    array: FrameArray, form: PixelFormat, wanted: Wanted, planes: NDArray[np.intp], out: NDArray[Any]
) -> None:
    """Read planes of one pixel format, as many at once as fit in the cache."""
    bands = _bands(array, form, wanted, planes)
    remote = not all(is_local(array.files[i]) for i in np.unique(bands.file).tolist())
    count = max(1, min(len(bands.file), (_REMOTE_BYTES if remote else _LOCAL_BYTES) // bands.size))
    colours = (form.samples,) if form.samples > 1 else ()
    buffer = np.empty((count, wanted.last - wanted.first, form.cols, *colours), dtype=form.stored_dtype)
    straight = wanted.whole and buffer.dtype == out.dtype and buffer.shape[1:] == out.shape[1:]
    for at in range(0, len(bands.file), count):
        part = slice(at, min(at + count, len(bands.file)))
        mine = bands.planes[part]
        run = _run(mine)
        stored = buffer[: part.stop - at] if run is None or not straight else out[run]
        read_into(*_requests(array.files, bands, part, stored, remote))
        stored = form.clean(stored, out=stored)
        if run is not None:
            array.convert(wanted.take(stored), out[run], wanted, np.arange(run.start, run.stop))
            continue
        for band, shared in zip(stored, mine, strict=True):
            for k in np.atleast_1d(shared).tolist():
                array.convert(wanted.take(wanted.cut(band, k)[None]), out[k : k + 1], wanted, np.array([k]))


def _run(planes: list[NDArray[np.intp]] | NDArray[np.intp]) -> slice | None:
    """Give planes that follow each other in the result as a slice; None for others, and where some share a band."""
    if isinstance(planes, list) or planes[-1] - planes[0] != len(planes) - 1 or (np.diff(planes) != 1).any():
        return None
    return slice(int(planes[0]), int(planes[-1]) + 1)


def _requests(
    files: list[File], bands: _Bands, part: slice, stored: NDArray[Any], remote: bool
) -> tuple[list[File], list[int], list[memoryview]]:
    """Ranges to read, those that follow each other in a file as one, with the memory that each goes to."""
    memory = stored.reshape(-1).view("u1").data
    which, starts, views = [], [], []
    for first, last in _joined(bands.file[part], bands.start[part], bands.size, remote):
        which.append(files[bands.file[part.start + first]])
        starts.append(int(bands.start[part.start + first]))
        views.append(memory[first * bands.size : last * bands.size])
    return which, starts, views


def _joined(file: NDArray[np.intp], start: NDArray[np.int64], size: int, remote: bool) -> Iterator[tuple[int, int]]:
    apart = np.flatnonzero((np.diff(file) != 0) | (np.diff(start) != size)) + 1
    most = max(1, _REQUEST_BYTES // size) if remote else len(file)
    ends = [0, *apart.tolist(), len(file)]
    for first, last in pairwise(ends):
        for at in range(first, last, most):
            yield at, min(at + most, last)

"""Byte ranges of a file, plain or gzip-compressed, without keeping it open."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from ..errors import SourceError
from .files import File, check_state, file_name, read_available, read_ranges, reason

_STEP = 1 << 22  # bytes unpacked at a time
_INPUT = 1 << 18  # bytes read at a time
_POINTS = 256  # resume points of a file at most, some 45 kB each

GZIP_MAGIC = b"\x1f\x8b"
GZIP, ANY, BARE = 31, 47, -15  # zlib's window bits: gzip; zlib or gzip, as the first bytes say; deflate alone


class Ranges(Protocol):
    """Bytes that are read by ranges."""

    def read(self, offsets: Sequence[int], lengths: Sequence[int]) -> Sequence[bytes | bytearray]:
        """Read ranges; raises `SourceError` where the bytes end before one does."""
        ...


def open_ranges(file: File, size: int = 0) -> Plain | Gzip:
    """Return a reader of a file's bytes, after unpacking where its first bytes say gzip.

    Parameters
    ----------
    file : File
    size : int, optional
        Unpacked bytes that are of interest, where known; a range that ends there has the checksum tested.
    """
    head = read_available([file], [0], [2])[0]
    if isinstance(head, OSError):
        raise SourceError(f"{file_name(file)} can't be read: {reason(head)}") from head
    return Gzip(file, size) if head == GZIP_MAGIC else Plain(file)


class Plain:
    """Ranges of a file as it is."""

    compressed = False

    def __init__(self, file: File) -> None:
        self.file = file

    def read(self, offsets: Sequence[int], lengths: Sequence[int]) -> Sequence[bytes | bytearray]:
        """Read ranges; raises `SourceError` where the file ends before one does."""
        return read_ranges([self.file] * len(offsets), offsets, lengths)

    def head(self, length: int) -> bytes:
        """First bytes; fewer where the file is shorter."""
        data = read_available([self.file], [0], [length])[0]
        if isinstance(data, OSError):
            raise SourceError(f"{file_name(self.file)} can't be read: {reason(data)}") from data
        return data


class _Point(NamedTuple):
    """Where unpacking can resume: unpacked and packed position, and the decompressor's state."""

    out: int
    packed: int
    state: Any


class Gzip:
    """Ranges of the unpacked content of a gzip file.

    Unpacking begins at the nearest point passed before, so that reading volume after volume unpacks the file once.
    These points are kept in memory, belong to the process, and are not pickled. The packed bytes may begin inside of
    the file, at byte `begin`, be of zlib or bare (`kind`), and end before the file does, at byte `end`.
    """

    compressed = True

    def __init__(self, file: File, size: int = 0, begin: int = 0, kind: int = GZIP, end: int | None = None) -> None:
        self.file, self.size, self.begin, self.kind, self.end = file, size, begin, kind, end
        self._apart = max(_STEP, size // _POINTS)
        self._points: list[_Point] = []
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[File, int, int, int, int | None]:
        return self.file, self.size, self.begin, self.kind, self.end

    def __setstate__(self, state: tuple[File, int, int, int, int | None]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def head(self, length: int) -> bytes:
        """First unpacked bytes; fewer where there are no more."""
        packed = Plain(self.file).head(self.begin + length + _INPUT)[self.begin :]
        try:
            return zlib.decompressobj(self.kind).decompress(packed, length)
        except zlib.error as error:
            raise SourceError(f"{file_name(self.file)} is damaged, it can't be unpacked: {error}") from error

    def read(self, offsets: Sequence[int], lengths: Sequence[int]) -> Sequence[bytes | bytearray]:
        """Read ranges in one pass; raises `SourceError` where the file is damaged or ends before one does."""
        out, stop = self._filled(offsets, lengths)
        end = max((a + n for a, n in zip(offsets, lengths, strict=True) if n), default=0)
        if end > stop:
            raise SourceError(
                f"{file_name(self.file)} ends after {stop} unpacked bytes, but {end} are needed: it is truncated"
            )
        return out

    def available(self, offsets: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Read ranges in one pass, giving fewer bytes where the content ends; raises `SourceError` if damaged."""
        out, stop = self._filled(offsets, lengths)
        return [bytes(data[: max(0, stop - a)]) for data, a in zip(out, offsets, strict=True)]

    def length(self) -> int:
        """Length of the unpacked content, by unpacking it all and testing its checksum; nothing of it is kept.

        Raises
        ------
        SourceError
            The file is truncated or damaged.
        """
        stop = 0
        for position, data in self.blocks():
            stop = position + len(data)
        return stop

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Give the whole content in blocks, with the place of each; its checksum is tested at the end."""
        return self._checked(0)

    def _filled(self, offsets: Sequence[int], lengths: Sequence[int]) -> tuple[list[bytearray], int]:
        """Ranges, and up to where the content was seen (further than any range ends, unless it ends before)."""
        out = [bytearray(n) for n in lengths]
        todo = sorted((k for k, n in enumerate(lengths) if n), key=lambda k: offsets[k])
        if not todo:
            return out, 0
        end = max(offsets[k] + lengths[k] for k in todo)
        stop = 0
        for position, data in self._checked(offsets[todo[0]]):
            stop = position + len(data)
            for k in todo:
                a, b = max(offsets[k], position), min(offsets[k] + lengths[k], stop)
                if a < b:
                    out[k][a - offsets[k] : b - offsets[k]] = data[a - position : b - position]
            todo = [k for k in todo if offsets[k] + lengths[k] > stop]
            if not todo and end != self.size:
                break  # at the very end the loop goes on to the checksum
        return out, stop

    def _checked(self, start: int) -> Iterator[tuple[int, bytes]]:
        try:
            yield from self._blocks(start)
        except (zlib.error, EOFError) as error:
            raise SourceError(f"{file_name(self.file)} is damaged, it can't be unpacked: {error}") from error
        except SourceError:
            raise
        except OSError as error:
            raise SourceError(f"{file_name(self.file)} can't be read: {reason(error)}") from error

    def _blocks(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Unpacked blocks with their positions, from at or before `start` on."""
        point = self._nearest(start)
        out, packed = point.out, point.packed
        state = point.state.copy() if point.state is not None else zlib.decompressobj(self.kind)
        check_state(self.file)
        with self.file.fs.open(self.file.path, "rb") as f:
            f.seek(self.begin + packed)
            left = -1 if self.end is None else self.end - self.begin - packed
            while raw := f.read(_INPUT if left < 0 else min(_INPUT, left)):
                left -= len(raw) if left > 0 else 0
                while raw:
                    if state.eof and 0 < self.size <= out:
                        return  # whatever follows is none of what is of interest
                    if state.eof:  # members may follow each other, with zeros between
                        rest = raw.lstrip(b"\0")
                        packed += len(raw) - len(rest)
                        raw = rest
                        if not raw:
                            break
                        state = zlib.decompressobj(self.kind)
                    data = state.decompress(raw, _STEP)
                    rest = state.unused_data if state.eof else state.unconsumed_tail
                    packed += len(raw) - len(rest)
                    raw = rest
                    if data:
                        yield out, data
                        out += len(data)
                        self._remember(out, packed, state)
        while not state.eof and (data := state.decompress(b"", _STEP)):
            yield out, data
            out += len(data)
        if not state.eof:
            raise EOFError(f"it ends after {out} unpacked bytes, in the middle: truncated")

    def _nearest(self, start: int) -> _Point:
        with self._lock:
            return max((p for p in self._points if p.out <= start), default=_Point(0, 0, None))

    def _remember(self, out: int, packed: int, state: Any) -> None:
        with self._lock:
            if not state.eof and out >= (self._points[-1].out if self._points else 0) + self._apart:
                self._points.append(_Point(out, packed, state.copy()))
                if len(self._points) > _POINTS:  # longer than was known: half of them, twice as far apart
                    self._points, self._apart = self._points[1::2], 2 * self._apart

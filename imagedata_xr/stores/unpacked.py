"""Gzip-compressed files as if they were not: a filesystem over another one, which unpacks while it reads."""

from __future__ import annotations

import errno
import gzip
import os
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

from fsspec import AbstractFileSystem

from ..errors import SourceError
from .files import File, file_name, is_local
from .ranges import GZIP_MAGIC, Gzip
from .told import last_told

__all__ = ["GZIP_MAGIC", "Unpacked", "unpacked"]

_READERS = 16
"""Files whose places to resume at are kept, so that frame after frame of a large one does not begin anew."""


def unpacked(file: File) -> File:
    """Give the unpacked content of a gzip-compressed file as a file."""
    return File(_over(file.fs), file.path, file.state)


@lru_cache(maxsize=64)
def _over(fs: AbstractFileSystem) -> Unpacked:
    return Unpacked(fs)


class Unpacked(AbstractFileSystem):  # type: ignore[misc]
    """The unpacked contents of the gzip-compressed files of another filesystem, under the same paths.

    Ranges are read in one pass through each file, however many they are; what lies between them is dropped. So memory
    is bounded by the ranges, 4 MB, and the places to resume at: none in files of up to 4 MB, at most 256 of 45 kB.

    Parameters
    ----------
    fs : AbstractFileSystem
        Where the packed files are.
    """

    cachable = False
    protocol = "gzip"

    def __init__(self, fs: AbstractFileSystem, **options: Any) -> None:
        super().__init__(fs, **options)
        self.fs = fs
        self._readers: OrderedDict[tuple[str, object], Gzip] = OrderedDict()
        self._lock = Lock()

    def packed(self, path: str) -> File:
        """Give the file that is unpacked under a path."""
        return File(self.fs, path)

    def unstrip_protocol(self, name: str) -> str:
        """Name a file as its own filesystem does: its address, not its content."""
        return file_name(self.packed(name))

    def _reader(self, path: str) -> Gzip:
        key = (path, _state(self.packed(path)))
        with self._lock:
            reader = self._readers.pop(key, None) or Gzip(self.packed(path))
            self._readers[key] = reader
            while len(self._readers) > _READERS:
                self._readers.popitem(last=False)
            return reader

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: Any = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[bytes | Exception]:
        """Read ranges of unpacked content; fewer bytes where it ends."""
        count = len(paths)
        first = [int(starts)] * count if isinstance(starts, int) else list(starts)
        last = [int(ends)] * count if isinstance(ends, int) else list(ends)
        rows: dict[str, list[int]] = {}
        for k, path in enumerate(paths):
            rows.setdefault(path, []).append(k)
        out: list[bytes | Exception] = [b""] * count
        for path, mine in rows.items():
            try:
                got = self._reader(path).available([first[k] for k in mine], [last[k] - first[k] for k in mine])
            except SourceError as error:
                if on_error != "return":
                    raise
                got = [_failure(error)] * len(mine)  # type: ignore[list-item]
            for k, one in zip(mine, got, strict=True):
                out[k] = one
        return out

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Read unpacked content, all of it or a range."""
        begin, stop = start or 0, self.size(path) if end is None else end
        if begin < 0 or stop < 0:
            raise ValueError("ranges are counted from the beginning")
        return self._reader(path).available([begin], [max(0, stop - begin)])[0]

    def size(self, path: str) -> int:
        """Length of the unpacked content; the file's checksum is tested on the way."""
        try:
            return self._reader(path).length()
        except SourceError as error:
            raise _failure(error) from error

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """Length of the unpacked contents."""
        return [self.size(path) for path in paths]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Describe a file: name, type and length of its unpacked content."""
        return {"name": path, "type": "file", "size": self.size(path)}

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode != "rb":
            raise ValueError("unpacked content can only be read")
        return _Stream(self.fs.open(path, "rb"))


class _Stream(gzip.GzipFile):
    """Unpacked content as a stream, which closes the packed one with itself."""

    def __init__(self, packed: Any) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self._packed = packed

    def close(self) -> None:
        """Close both."""
        try:
            super().close()
        finally:
            self._packed.close()


def _state(file: File) -> object:
    """What changes when a file does, as far as it was told."""
    if not is_local(file):
        told = last_told(file.fs, file.path)
        return None if told is None else told.text
    try:
        status = os.stat(file.path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _failure(error: SourceError) -> OSError:
    """Error with a text for those who report it with the name of the file, which it has no need to say again."""
    cause = error.__cause__
    return OSError(errno.EIO, f"its gzip data can't be unpacked: {cause if cause is not None else error}")

"""Files as streams that the readers of archives of the standard library take: by ranges, or in one pass."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from typing import Any

from .files import File, is_local, read_available

_AT_ONCE = 1 << 22


class RangeStream(io.RawIOBase):
    """A file that is read by ranges, a block at a time; nothing stays open.

    Parameters
    ----------
    file : File
    size : int
        Its length.
    """

    def __init__(self, file: File, size: int) -> None:
        super().__init__()
        self.file, self.size = file, size
        self._block = 1 << 16 if is_local(file) else 1 << 20
        self._at, self._first, self._data = 0, 0, b""

    def seekable(self) -> bool:
        """Return true."""
        return True

    def readable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Where reading goes on."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte."""
        self._at = offset + (0, self._at, self.size)[whence]
        if self._at < 0:
            raise OSError(22, "a byte before the first is asked for")
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read bytes; room is made only for those that there are, whatever a damaged header asks for."""
        left = max(0, self.size - self._at)
        return super().read(left if size < 0 else min(size, left)) or b""

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as the block that is there goes."""
        want = min(len(buffer), self.size - self._at)
        if want <= 0:
            return 0
        if not self._first <= self._at < self._first + len(self._data):
            # the table of contents of a zip lies at the end: a block that would go beyond begins earlier
            self._first = max(0, min(self._at, self.size - self._block))
            self._data = self._fetch(self._first, max(self._block, self._at + want - self._first))
        part = self._data[self._at - self._first :][:want]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _fetch(self, first: int, length: int) -> bytes:
        data = read_available([self.file], [first], [min(length, self.size - first)])[0]
        if isinstance(data, OSError):
            raise data
        return data


class PassingStream(io.RawIOBase):
    """Blocks that come one after the other, as a stream that goes forward; the last two blocks can be read again."""

    def __init__(self, blocks: Iterator[tuple[int, bytes]]) -> None:
        super().__init__()
        self._blocks = blocks
        self._kept: deque[tuple[int, bytes]] = deque([(0, b"")], maxlen=2)
        self._at = 0

    @property
    def length(self) -> int:
        """Bytes that have come so far."""
        first, data = self._kept[-1]
        return first + len(data)

    def seekable(self) -> bool:
        """Return true: it can go forward."""
        return True

    def readable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Where reading goes on."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte that comes later, or has come a moment ago."""
        if whence == 2 or offset < self._kept[0][0]:
            raise io.UnsupportedOperation("this stream goes forward only")
        self._at = offset + (self._at if whence == 1 else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read bytes, a few MB at most: a damaged header may ask for more than memory holds."""
        return super().read(size if size < 0 else min(size, _AT_ONCE)) or b""

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as one block goes."""
        while self._at >= self.length and (block := next(self._blocks, None)) is not None:
            self._kept.append(block)
        for first, data in self._kept:
            if first <= self._at < first + len(data):
                part = data[self._at - first :][: len(buffer)]
                buffer[: len(part)] = part
                self._at += len(part)
                return len(part)
        return 0

    def drain(self) -> None:
        """Let all blocks come."""
        for block in self._blocks:
            self._kept.append(block)

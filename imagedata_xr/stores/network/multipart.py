"""Streams of several files: multipart/related (PS3.18 section 8.6.1.2, RFC 2387), taken apart piece by piece."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ...errors import SourceError

_HEAD = 64 * 1024


def boundary_of(content_type: str) -> bytes:
    """Boundary that a Content-Type names.

    Raises
    ------
    SourceError
        There is none: the answer is no multipart one.
    """
    found = re.search(r'boundary="?([^";,]+)"?', content_type, re.IGNORECASE)
    if "multipart" not in content_type.lower() or found is None:
        raise SourceError("the answer holds no files: it is not multipart/related")
    return found.group(1).strip().encode("latin-1")


def parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """Yield the content of each part as an iterator of pieces, which has to be used up before the next.

    Raises
    ------
    SourceError
        The stream ends before its last boundary: something is missing.
    """
    stream = _Stream(chunks)
    stream.past(b"--" + boundary)
    while True:
        end = stream.take(2)
        if end == b"--":
            return
        if end != b"\r\n":
            raise SourceError("the answer is damaged: after a boundary comes no part")
        # without headers, the empty line comes at once
        stream.data = b"\r\n" + stream.data
        stream.past(b"\r\n\r\n", _HEAD)
        yield stream.until(b"\r\n--" + boundary)


class _Stream:
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.data = b""

    def _more(self) -> None:
        for chunk in self.chunks:
            if chunk:
                self.data += chunk
                return
        raise SourceError("the answer was cut: it ends within a file")

    def take(self, count: int) -> bytes:
        while len(self.data) < count:
            self._more()
        out, self.data = self.data[:count], self.data[count:]
        return out

    def past(self, mark: bytes, most: int = 1 << 20) -> None:
        """Skip until after a mark."""
        while (at := self.data.find(mark)) < 0:
            if len(self.data) > most:
                raise SourceError("the answer is damaged: no boundary or head of a part was found")
            self._more()
        self.data = self.data[at + len(mark) :]

    def until(self, mark: bytes) -> Iterator[bytes]:
        """Yield pieces until a mark, which is skipped."""
        while (at := self.data.find(mark)) < 0:
            keep = len(mark) - 1
            if len(self.data) > keep:
                yield self.data[:-keep]
                self.data = self.data[-keep:]
            self._more()
        if at:
            yield self.data[:at]
        self.data = self.data[at + len(mark) :]

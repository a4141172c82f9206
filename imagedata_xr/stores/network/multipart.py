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


def parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[Iterator[memoryview]]:
    """Yield the content of each part as an iterator of pieces, which has to be used up before the next.

    Raises
    ------
    SourceError
        The stream ends before its last boundary: something is missing.
    """
    return (content for _, content in headed_parts(chunks, boundary))


def headed_parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[tuple[str, Iterator[memoryview]]]:
    """Yield the Content-Type of each part (empty where it has none) and its content; see `parts`."""
    stream = _Stream(chunks)
    stream.past(b"--" + boundary)
    while True:
        end = stream.take(2)
        if end == b"--":
            return
        if end != b"\r\n":
            raise SourceError("the answer is damaged: after a boundary comes no part")
        stream.give_back(2)  # without headers, the empty line comes at once
        head = stream.past(b"\r\n\r\n", _HEAD).decode("latin-1")
        kind = re.search(r"^content-type:\s*(.*?)\s*$", head, re.IGNORECASE | re.MULTILINE)
        yield kind.group(1) if kind else "", stream.until(b"\r\n--" + boundary)


class _Stream:
    """What has come and was not used yet: `data` from `at` on."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.data, self.at = b"", 0

    def _more(self) -> None:
        for chunk in self.chunks:
            if chunk:
                self.data, self.at = self.data[self.at :] + chunk, 0
                return
        raise SourceError("the answer was cut: it ends within a file")

    def take(self, count: int) -> bytes:
        """Use some bytes."""
        while len(self.data) - self.at < count:
            self._more()
        self.at += count
        return self.data[self.at - count : self.at]

    def give_back(self, count: int) -> None:
        """Have the last bytes that were used come again."""
        self.at -= count

    def past(self, mark: bytes, most: int = 1 << 20) -> bytes:
        """Go on until after a mark; what was before it."""
        while (found := self.data.find(mark, self.at)) < 0:
            if len(self.data) - self.at > most:
                raise SourceError("the answer is damaged: no boundary or head of a part was found")
            self._more()
        before = self.data[self.at : found]
        self.at = found + len(mark)
        return before

    def until(self, mark: bytes) -> Iterator[memoryview]:
        """Yield pieces until a mark, which is skipped."""
        while (found := self.data.find(mark, self.at)) < 0:
            keep = max(self.at, len(self.data) - len(mark) + 1)
            if keep > self.at:
                yield memoryview(self.data)[self.at : keep]
                self.at = keep
            self._more()
        if found > self.at:
            yield memoryview(self.data)[self.at : found]
        self.at = found + len(mark)

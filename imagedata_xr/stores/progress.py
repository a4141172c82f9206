"""How far a transfer has come, told to whoever wants to know: ``set_options(progress=...)``."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import IO

from ..options import options

_PIECE = 1 << 20
"""Bytes after which what is sent as a stream is told."""


class Meter:
    """Counts what was transferred.

    The option ``progress`` is called with what is done (``"fetched"``, ``"sent"``, ``"uploaded"``), how many of how
    many, and bytes. What it raises ends the transfer, as an error would.

    Parameters
    ----------
    what : str
    total : int
        How many there are; 0 where unknown.
    """

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total = what, total
        self.done = self.bytes = 0
        self._lock = threading.Lock()

    def add(self, count: int, size: int = 0) -> None:
        """Count what has come, and its bytes."""
        with self._lock:
            self.done, self.bytes = self.done + count, self.bytes + size
        tell = options().progress
        if tell is not None:
            tell(self.what, self.done, self.total, self.bytes)

    def __enter__(self) -> Meter:
        """Give itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing is left to do."""


class Metered:
    """A file that is sent by HTTP from its beginning, and counted while it is read."""

    def __init__(self, file: IO[bytes], meter: Meter) -> None:
        self.file, self.meter = file, meter
        self.size = file.seek(0, 2)
        self.untold = 0
        file.seek(0)

    def __len__(self) -> int:
        """Give its length, which is sent first."""
        return self.size

    def read(self, count: int = -1) -> bytes:
        """Give some bytes."""
        data = self.file.read(count)
        self.untold += len(data)
        if self.untold >= _PIECE or self.file.tell() == self.size:
            told, self.untold = self.untold, 0
            self.meter.add(0, told)
        return data

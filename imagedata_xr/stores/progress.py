"""How far a transfer has come, told to whoever wants to know: ``set_options(progress=...)``."""

from __future__ import annotations

import threading
from types import TracebackType

from ..options import options


class Meter:
    """Counts what was transferred.

    The option ``progress`` is called with what is done (``"fetched"``, ``"sent"``), how many of how many, and bytes.

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

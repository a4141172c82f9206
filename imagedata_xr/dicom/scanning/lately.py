"""Scans that this process made lately, with what was found out from them: opening again starts where that ended."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import overheard, warn
from ...stores.url import File, is_local

if TYPE_CHECKING:
    from .scan import Scan

T = TypeVar("T")

MOST_FILES = 20_000
"""Files of all scans that are held; each takes about 3 kB."""

Known = dict[Hashable, tuple[Any, list[str]]]
"""Results of steps, with the warnings that each gave."""

_held: OrderedDict[str, tuple[bytes, Scan]] = OrderedDict()
_lock = threading.Lock()


def holds(name: str) -> bool:
    """Whether a scan of this name may be held: then it is worth looking at its files."""
    return name in _held


def recall(name: str, state: bytes | None, files: list[File]) -> Scan | None:
    """Give the scan of files that are in the state in which they were scanned; None where there is none.

    Of another store than the local one it must be of the very same file system object: pixels are read through it, and
    another one may have other credentials.
    """
    with _lock:
        known = _held.get(name)
        if known is None or state is None or known[0] != state:
            return None
        scan = known[1]
        if scan.files and not is_local(files[0]) and scan.files[0].fs is not files[0].fs:
            return None
        _held.move_to_end(name)
        return scan


def hold(name: str, state: bytes | None, scan: Scan) -> None:
    """Hold a scan, and let go of those used longest ago until all have no more than `MOST_FILES` files."""
    with _lock:
        _held.pop(name, None)
        if state is None or len(scan) > MOST_FILES:
            return
        scan.known = {}
        _held[name] = state, scan
        while sum(len(one) for _, one in _held.values()) > MOST_FILES:
            _held.popitem(last=False)


def clear() -> None:
    """Let go of all."""
    with _lock:
        _held.clear()


def once(known: Known | None, key: Hashable, step: Callable[[], T]) -> T:
    """Give the result of a step, and the warnings that it gave, from memory where it was taken before.

    Parameters
    ----------
    known
        Where its owner holds results; None where the owner is not held, and the step is taken anew.
    key
        Everything that the step depends on besides its owner.
    step
        Its result must not be changed by those who get it.
    """
    if known is None:
        return step()
    if key in known:
        result, said = known[key]
        for message in said:
            warn(message)
        return result  # type: ignore[no-any-return]
    with overheard() as said:
        result = step()
    known[key] = result, said
    return result

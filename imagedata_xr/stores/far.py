"""Reading remote stores: ranges of many files at once, and the states of files, so that none changes unseen."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from ..errors import ImagedataError
from ..options import options
from .http import http_ranges, is_http
from .patience import may_pass, pause
from .s3 import is_s3, s3_ranges
from .told import Told, last_told, note, of_info

BATCH = 64
"""Ranges asked for at once from a remote store."""

_UNTOLD = ("archive", "gzip", "reference", "filecache", "simplecache", "blockcache", "cached")
"""Layers over another store: what changes is beneath them."""

_Answer = tuple[bytes, "Told | None"]


def tells(fs: AbstractFileSystem) -> bool:
    """Whether a store tells the state of a file with each of its ranges."""
    return is_http(fs) or is_s3(fs)


def read_far(
    fs: AbstractFileSystem, paths: list[str], starts: list[int], stops: list[int], states: Sequence[Any] = ()
) -> list[Any]:
    """Read ranges of a remote store; those that fail for a reason that may pass are asked for again.

    Returns
    -------
    list
        Bytes, or an error: `ChangedError` for files that are not in their state of `states`, where one is given.
    """

    def ask(which: list[int]) -> list[Any]:
        return _ask(fs, [paths[k] for k in which], [starts[k] for k in which], [stops[k] for k in which])

    got = _persistent(ask, len(paths))
    known = list(states) or [None] * len(paths)
    now = [one[1] if isinstance(one, tuple) else None for one in got]
    if any(known) and not tells(fs):
        # after the reading: who looked before would not see what changes in between
        asked = {path for path, one, state in zip(paths, got, known, strict=True) if state and isinstance(one, tuple)}
        found = dict(zip(sorted(asked), states_far(fs, sorted(asked)), strict=True))
        now = [found.get(path) for path in paths]
    out: list[Any] = []
    for one, before, after in zip(got, known, now, strict=True):
        if isinstance(one, tuple):
            changed = isinstance(before, Told) and isinstance(after, Told) and before.differs(after)
            out.append(ChangedError() if changed else one[0])
        else:
            out.append(one)
    return out


class ChangedError(OSError):
    """A file is no longer in the state in which it was opened."""


def states_far(fs: AbstractFileSystem, paths: Sequence[str], fresh: bool = True) -> list[Told | Exception | None]:
    """Ask for the states of files, many at once; None where a store tells nothing, the error of what fails.

    Parameters
    ----------
    fs : AbstractFileSystem
    paths : sequence of str
    fresh : bool
        Whether a listing in memory is not enough.
    """
    if set((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol) & set(_UNTOLD):
        return [None] * len(paths)
    if tells(fs):
        # a byte of each: HEAD is not allowed everywhere, and not answered alike
        got = _batches(lambda some: _ask(fs, some, [0] * len(some), [1] * len(some)), paths)
        return [one[1] if isinstance(one, tuple) else one for one in got]
    if fresh:
        fs.invalidate_cache()
    return [one if isinstance(one, Exception) else of_info(one) for one in infos(fs, paths)]


def infos(fs: AbstractFileSystem, paths: Sequence[str]) -> list[Any]:
    """What a store tells of files, or the errors, of 64 at once where it can."""
    return _batches(lambda some: _infos(fs, some), paths)


def _batches(ask: Callable[[list[str]], list[Any]], paths: Sequence[str]) -> list[Any]:
    out: list[Any] = []
    for first in range(0, len(paths), BATCH):
        some = list(paths[first : first + BATCH])

        def again(which: list[int], some: list[str] = some) -> list[Any]:
            return ask([some[k] for k in which])

        out += _persistent(again, len(some))
    return out


def _infos(fs: AbstractFileSystem, paths: Sequence[str]) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*(fs._info(path) for path in paths), return_exceptions=True)

    if getattr(fs, "async_impl", False):
        return list(sync(fs.loop, together))
    out: list[Any] = []
    for path in paths:
        try:
            out.append(fs.info(path))
        except Exception as error:  # noqa: BLE001  # stores have their own families; it is told with the file
            out.append(error)
    return out


def _persistent(ask: Callable[[list[int]], list[Any]], count: int) -> list[Any]:
    """Ask for `count` things at once; for those that failed for a reason that may pass, again."""
    got = ask(list(range(count)))
    for attempt in range(options().retries):
        again = [k for k, one in enumerate(got) if isinstance(one, BaseException) and may_pass(one)]
        if not again:
            break
        pause(attempt, max((asked_to_wait(got[k]) for k in again), default=0.0))
        for k, one in zip(again, ask(again), strict=True):
            got[k] = one
    return got


def asked_to_wait(error: BaseException) -> float:
    """Seconds that a server wants to be left alone (Retry-After)."""
    text = str((getattr(error, "headers", None) or {}).get("Retry-After", ""))
    return float(text) if text.isdigit() else 0.0


def _ask(fs: AbstractFileSystem, paths: list[str], starts: list[int], stops: list[int]) -> list[Any]:
    try:
        if is_http(fs):
            return list(http_ranges(fs, paths, starts, stops))
        if is_s3(fs):
            return list(s3_ranges(fs, paths, starts, stops))
        got = fs.cat_ranges(paths, starts, stops, on_error="return")
    except Exception as error:  # noqa: BLE001  # stores have their own families; it is told with the name of the file
        return [error] * len(paths)
    return [one if isinstance(one, BaseException) else (one, None) for one in got]


def told_now(fs: AbstractFileSystem, paths: Sequence[str]) -> list[Told | Exception | None]:
    """States of files of which parts were read just now: as was told with these, else as the store tells."""
    if tells(fs):
        return [last_told(fs, path) for path in paths]
    found = states_far(fs, paths, fresh=False)
    for path, one in zip(paths, found, strict=True):
        if isinstance(one, Told):
            note(fs, path, one)
    return found


def failure(error: object) -> OSError:
    """Error of a store as one kind, which is enough for those who call."""
    if isinstance(error, OSError):
        return error
    # aiohttp, botocore and others have their own families
    made = OSError(errno.EIO, reason(error) if isinstance(error, Exception) else type(error).__name__)
    made.__cause__ = error if isinstance(error, BaseException) else None
    return made


def reason(error: Exception) -> str:
    """Say in a few words why the system refused, without the path (it stands elsewhere in the message)."""
    if isinstance(error, ImagedataError):
        return str(error)
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:  # of a web server
        return f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
    strerror = getattr(error, "strerror", None)
    return str(strerror) if strerror else _WORDS.get(type(error).__name__, type(error).__name__)


_WORDS = {
    "ServerDisconnectedError": "the server closed the connection",
    "ClientPayloadError": "the connection broke",
    "SocketTimeoutError": "the server did not answer in time",
    "ServerTimeoutError": "the server did not answer in time",
    "TimeoutError": "the server did not answer in time",
    "FSTimeoutError": "the server did not answer in time",
    "TooManyRedirects": "the server leads in circles",
    "ProfileNotFound": "the profile is not known",
    "NoCredentialsError": "there are no credentials: storage_options take them",
}
"""What errors of libraries mean that have no text of their own, or one with the address in it."""

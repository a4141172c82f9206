"""Uploading finished files to a store: many at once, each whole under its name or not there."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import SourceError
from .files import File, file_name, reason
from .patience import patiently
from .progress import Meter

AT_ONCE = 16
"""Files uploaded at once to a store that takes several."""

AT_ONCE_BYTES = 64 << 20
_ENDS_IN = 30.0
"""Seconds that a store has to end what was interrupted."""

_WHOLE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory", "http", "https", "webdav")
"""Stores where what is put appears when it has arrived, and not before."""


def upload(fs: Any, files: Mapping[str, bytes | Path], replaces: bool = False, meter: Meter | None = None) -> None:
    """Put files on a store, all of them or none.

    On stores where half a file could be seen under its name (such as ftp, sftp), each gets another name first.

    Parameters
    ----------
    fs : AbstractFileSystem
    files : mapping
        Content, or local path, by path on the store.
    replaces : bool
        Whether some of them are there already, which stay until all new ones have arrived.
    meter : Meter, optional
        Counts them; by default one of their own.

    Raises
    ------
    SourceError
        An upload failed after several attempts. What had been uploaded is removed again; what can't be is named.
    """
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    direct = bool(protocols & set(_WHOLE)) and not (replaces and len(files) > 1)
    places = {path: path if direct else _aside(path) for path in files}
    new: list[str] = []
    moved: list[str] = []
    try:
        counts = meter or Meter("uploaded", len(files))
        for group in _groups(files):
            new += [places[path] for path in group if not (direct and replaces)]
            _put(fs, {places[path]: files[path] for path in group}, counts)
        if not direct:
            for path, place in places.items():
                fs.mv(place, path)
                moved.append(path)
    except BaseException as error:
        left = remove(fs, [*new, *([] if replaces else moved)])
        if not isinstance(error, Exception):
            raise
        left += [file_name(File(fs, path)) for path in moved if replaces]
        first = file_name(File(fs, next(iter(files))))
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        told = f"of what was new there is now: {', '.join(left)}" if left else "nothing of it is left there"
        raise SourceError(f"{first}{more} can't be written: {reason(error)}; {told}") from error


def remove(fs: Any, paths: Sequence[str]) -> list[str]:
    """Remove files of which some may not be there; returns the addresses of those that could not be removed."""
    left = []
    fs.invalidate_cache()
    for path in paths:
        try:
            if fs.exists(path):
                fs.rm_file(path)
        except Exception:  # noqa: BLE001  # whatever a store raises: the others are to go all the same
            left.append(file_name(File(fs, path)))
    return left


def _aside(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.part"


def _groups(files: Mapping[str, bytes | Path]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    total = 0
    for path, data in files.items():
        if groups[-1] and (len(groups[-1]) >= AT_ONCE or total > AT_ONCE_BYTES):
            groups.append([])
            total = 0
        groups[-1].append(path)
        total += _length(data)
    return groups


def _length(data: bytes | Path) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size


def _put(fs: Any, files: Mapping[str, bytes | Path], meter: Meter) -> None:
    contents = {path: data for path, data in files.items() if isinstance(data, bytes)}
    places = {path: data for path, data in files.items() if not isinstance(data, bytes)}
    if contents:
        patiently(lambda: called(fs, "pipe_file", list(contents.items())))
        meter.add(len(contents), sum(map(len, contents.values())))
    if getattr(fs, "async_impl", False) and len(places) > 1:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for data in pool.map(lambda one: _put_file(fs, *one), places.items()):
                meter.add(1, _length(data))
    else:
        for path, place in places.items():
            meter.add(1, _length(_put_file(fs, path, place)))


def _put_file(fs: Any, path: str, place: Path) -> Path:
    patiently(lambda: called(fs, "put_file", [(str(place), path)]))
    return place


def called(fs: Any, method: str, each: Sequence[tuple[Any, Any]]) -> Any:
    """Call a method of a store once for each pair, at once where it can; after an interrupt all have come to their end.

    fsspec lets go of what runs in its own thread, which then goes on behind the back of who cleans up.

    Parameters
    ----------
    fs : AbstractFileSystem
    method : str
        Of two arguments, such as ``"cp_file"``.
    each : sequence of pairs
    """
    if not getattr(fs, "async_impl", False) or fs.asynchronous:
        for pair in each:
            getattr(fs, method)(*pair)
        return None
    ended = threading.Event()

    async def run() -> None:
        try:
            calls = (getattr(fs, f"_{method}")(*pair) for pair in each)
            for one in await asyncio.gather(*calls, return_exceptions=True):  # none is left running
                if isinstance(one, BaseException):
                    raise one
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(run(), fs.loop)
    try:
        while True:
            with contextlib.suppress(concurrent.futures.TimeoutError):
                return future.result(1)  # with a limit, since a wait without one can't be interrupted everywhere
            if future.done():
                return future.result()  # a time-out of its own
    except BaseException:
        if not future.done():
            future.cancel()
            ended.wait(_ENDS_IN)
        raise

"""Uploading finished files to a store: many at once, each whole under its name or not there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import SourceError
from .files import File, file_name, reason
from .patience import patiently

AT_ONCE = 16
"""Files uploaded at once to a store that takes several."""

AT_ONCE_BYTES = 64 << 20

_WHOLE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory", "http", "https", "webdav")
"""Stores where what is put appears when it has arrived, and not before."""


def upload(fs: Any, files: Mapping[str, bytes | Path], replaces: bool = False) -> None:
    """Put files on a store, all of them or none.

    On stores where half a file could be seen under its name (such as ftp, sftp), each gets another name first.

    Parameters
    ----------
    fs : AbstractFileSystem
    files : mapping
        Content, or local path, by path on the store.
    replaces : bool
        Whether some of them are there already, which stay until all new ones have arrived.

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
        for group in _groups(files):
            new += [places[path] for path in group if not (direct and replaces)]
            _put(fs, {places[path]: files[path] for path in group})
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
        total += len(data) if isinstance(data, bytes) else data.stat().st_size
    return groups


def _put(fs: Any, files: Mapping[str, bytes | Path]) -> None:
    contents = {path: data for path, data in files.items() if isinstance(data, bytes)}
    places = {path: data for path, data in files.items() if not isinstance(data, bytes)}
    if contents:
        patiently(lambda: fs.pipe(contents))
    if getattr(fs, "async_impl", False) and len(places) > 1:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda one: _put_file(fs, *one), places.items()))
    else:
        for path, place in places.items():
            _put_file(fs, path, place)


def _put_file(fs: Any, path: str, place: Path) -> None:
    patiently(lambda: fs.put_file(str(place), path))

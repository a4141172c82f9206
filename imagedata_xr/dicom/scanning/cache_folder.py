"""The folder of the cache: entries that processes share, each a file of its own, the oldest used gone first."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from ...options import cache_folder, options
from . import lately

_log = logging.getLogger(__name__)
_MAGIC = b"imagedata_xr scan\n"
_SUFFIX = ".scan"
_ABANDONED = 3600.0
"""Seconds after which a file that a process writes aside counts as left behind."""


def load(name: str) -> bytes | None:
    """Return the content of an entry, marked as used now; None if there is none, or a damaged or foreign one."""
    path = _folder() / (name + _SUFFIX)
    try:
        if not _is_ours(path.parent):
            return None
        data = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 20
    content = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or blake2b(content, digest_size=20).digest() != data[len(_MAGIC) : head]:
        _log.info("an entry of the cache of scans is damaged and ignored: %s", path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return content


def save(name: str, content: bytes) -> None:
    """Write or replace an entry, then remove old ones until the cache is within its bounds; trouble is only logged."""
    limit = options().cache_size
    if len(content) > limit // 2:
        return
    folder = _folder()
    aside = folder / f"{name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_ours(folder):
            _log.warning("the cache of scans is not used: others may write to its folder %s", folder)
            return
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(_MAGIC + blake2b(content, digest_size=20).digest() + content)
            os.replace(aside, folder / (name + _SUFFIX))
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _prune(limit)
    except OSError as error:
        _log.info("a scan could not be kept in %s: %s", folder, error.strerror)


def forget(name: str) -> None:
    """Remove an entry."""
    with contextlib.suppress(OSError):
        (_folder() / (name + _SUFFIX)).unlink(missing_ok=True)


def usage() -> tuple[Path, int, int]:
    """Folder, number of entries and bytes of the cache."""
    sizes = [size for _, size, _ in _entries()]
    return _folder(), len(sizes), sum(sizes)


def clear() -> tuple[int, int]:
    """Remove all entries; returns their number and bytes. What else is in the folder stays."""
    lately.clear()
    count = freed = 0
    for path, size, _ in _entries(everything=True):
        path.unlink(missing_ok=True)
        count, freed = count + (path.suffix == _SUFFIX), freed + size
    return count, freed


def _folder() -> Path:
    return cache_folder() / "scans"


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can write to a folder."""
    if not hasattr(os, "getuid"):
        return True
    status = os.lstat(folder)
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if mine and status.st_mode & 0o055 and not status.st_mode & 0o022:
        os.chmod(folder, 0o700)
    return mine and not status.st_mode & 0o022


def _entries(everything: bool = False) -> Iterator[tuple[Path, int, float]]:
    """Entries with size and time of use; with `everything` also those that are being written."""
    try:
        with os.scandir(_folder()) as found:
            listed = [e for e in found if e.name.endswith((_SUFFIX, ".part") if everything else (_SUFFIX,))]
    except OSError:
        return
    for one in listed:
        with contextlib.suppress(OSError):  # another process has removed it
            status = one.stat(follow_symlinks=False)
            yield Path(one.path), status.st_size, status.st_mtime


def _prune(limit: int) -> None:
    entries = sorted(_entries(everything=True), key=lambda entry: entry[2])
    total = sum(size for _, size, _ in entries)
    now = time.time()
    for path, size, used in entries:
        if path.suffix == ".part":
            if now - used > _ABANDONED:
                path.unlink(missing_ok=True)
        elif total > limit:
            path.unlink(missing_ok=True)
            total -= size

"""Series that were fetched from archives, as files: kept while this process lives, or in the user's cache.

A series has a folder of its own, named by a digest of server, user and series. It appears when it is whole, with an
index of its images, so that processes can share it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

import pydicom

from ...errors import SourceError
from ...options import cache_folder, options

_log = logging.getLogger(__name__)
_INDEX = "complete.json"
_SPARED = 3600.0
"""Seconds since its last use during which a kept series is not removed: somebody may be reading it."""

Held = Mapping[str, Path]
"""Files of a series by SOP Instance UID."""


def key_of(server: str, user: str, series: str) -> str:
    """Name of the folder of a series: no part of it can be read back."""
    return blake2b(f"{server}\0{user}\0{series}".encode(), digest_size=20).hexdigest()


def held(key: str, keep: bool) -> Held:
    """Give the images of a series that are here, whole; none where it is not."""
    folder = _root(keep) / key
    try:
        names = json.loads((folder / _INDEX).read_text("utf-8"))
        found = {str(uid): folder / str(name) for uid, name in names.items()}
        if not all(path.is_file() and path.parent == folder for path in found.values()):
            return {}
        os.utime(folder)
    except (OSError, ValueError, AttributeError):
        return {}
    return found


def versions(prefix: str, keep: bool) -> list[str]:
    """Keys that begin with a prefix, under which something is here."""
    return sorted(path.name for path in _root(keep).glob(f"{prefix}*") if "." not in path.name)


def is_whole(here: Held, images: Collection[str], count: int | None) -> bool:
    """Whether what is here is a whole series: all images that are listed, and as many as the archive says it has."""
    return set(here) == set(images) or (count == len(here) and set(here) > set(images))


class Incoming:
    """A series that is being fetched; its folder appears on `finish`, and nothing is left without it."""

    def __init__(self, key: str, keep: bool) -> None:
        self.key, self.keep = key, keep
        self.root = _root(keep)
        self.stage = self.root / f"{key}.{os.getpid()}-{secrets.token_hex(4)}.part"
        self.stage.mkdir(mode=0o700)
        self.names: dict[str, str] = {}

    def __enter__(self) -> Incoming:
        """Give itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove what was not finished."""
        shutil.rmtree(self.stage, ignore_errors=True)

    def path(self, uid: str, name: str = "") -> Path:
        """Place for the file of an image, which may have a name; it counts once `took` is called."""
        return self.stage / name if name else self.stage / f"{len(self.names) + 1:06d}-{secrets.token_hex(4)}.dcm"

    def took(self, uid: str, path: Path) -> None:
        """Note that the file of an image is whole."""
        self.names[uid] = path.name

    def add(self, uid: str, data: bytes) -> None:
        """Write the file of an image."""
        path = self.path(uid)
        path.write_bytes(data)
        self.took(uid, path)

    def share(self, others: Held, named: bool = False) -> None:
        """Take over images that are here already, with `named` under the names of their files."""
        for uid, path in others.items():
            mine = self.path(uid, path.name if named else "")
            try:
                os.link(path, mine)
            except OSError:
                shutil.copyfile(path, mine)
            self.took(uid, mine)

    def keep_of(self, series: str, images: Collection[str]) -> None:
        """Let go of images that came unlisted, unless they are of the series: a listing may be cut short."""
        for uid in set(self.names) - set(images):
            path = self.stage / self.names[uid]
            ds = pydicom.dcmread(path, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True)
            if str(ds.get("SeriesInstanceUID", "")) != series:
                del self.names[uid]

    def finish(self) -> Held:
        """Let the folder appear; where another process was quicker with the same images, theirs is taken."""
        (self.stage / _INDEX).write_text(json.dumps(self.names), "utf-8")
        place = self.root / self.key
        for _ in range(3):
            try:
                self.stage.rename(place)
                break
            except OSError:
                theirs = held(self.key, self.keep)
                if set(theirs) == set(self.names):
                    return theirs
                old = self.root / f"{self.key}.{secrets.token_hex(4)}.old"
                with contextlib.suppress(OSError):
                    place.rename(old)
                # readers that have files of it open keep them; on their next look they find the new ones
                shutil.rmtree(old, ignore_errors=True)
        else:
            raise SourceError("a fetched series can't be kept: its folder is in use by another process")
        if self.keep:
            _prune(options().transfer_size, place)
        return {uid: place / name for uid, name in self.names.items()}


def usage() -> tuple[Path, int, int]:
    """Folder, number of series and bytes of what is kept beyond processes."""
    sizes = [size for _, size, _ in _kept()]
    return _lasting(), len(sizes), sum(sizes)


def clear() -> tuple[int, int]:
    """Remove what is kept beyond processes; returns the number of series and bytes."""
    count = freed = 0
    for path, size, _ in list(_kept(everything=True)):
        shutil.rmtree(path, ignore_errors=True)
        count, freed = count + (not path.suffix), freed + size
    return count, freed


def _root(keep: bool) -> Path:
    if not keep:
        return _passing()
    folder = _lasting()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = os.lstat(folder)
    except OSError as error:
        raise SourceError(f"{folder}, where fetched series are kept, can't be used: {error.strerror}") from error
    if hasattr(os, "getuid") and (
        status.st_uid != os.getuid() or status.st_mode & 0o077 or not stat.S_ISDIR(status.st_mode)
    ):
        raise SourceError(
            f"{folder}, where fetched series are kept, is open to others: chmod 700, or another cache_folder"
        )
    return folder


def _lasting() -> Path:
    return cache_folder() / "transfers"


@functools.cache
def _passing() -> Path:
    """Folder of this process, which is gone when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="imagedata_xr-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a forked child must not take it from its parent
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _kept(everything: bool = False) -> Iterator[tuple[Path, int, float]]:
    """Series with size and time of last use; with `everything` also those that are being fetched."""
    try:
        entries = [e for e in os.scandir(_lasting()) if e.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for entry in entries:
        if "." in entry.name and not everything:
            continue
        with contextlib.suppress(OSError):  # another process has removed it
            size = sum(e.stat(follow_symlinks=False).st_size for e in os.scandir(entry.path))
            yield Path(entry.path), size, entry.stat().st_mtime


def _prune(limit: int, spared: Path) -> None:
    """Remove what was used longest ago until the rest is within its bounds; also what a process left behind."""
    kept = sorted(_kept(everything=True), key=lambda entry: entry[2])
    total = sum(size for _, size, _ in kept)
    now = time.time()
    for path, size, used in kept:
        left_behind = "." in path.name and now - used > _SPARED
        if not left_behind and (total <= limit or path == spared or "." in path.name or now - used < _SPARED):
            continue
        shutil.rmtree(path, ignore_errors=True)
        total -= size
        _log.info("a kept series of %d bytes was removed from the cache", size)

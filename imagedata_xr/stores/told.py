"""What a remote store tells of the state of a file: with each part of it that is read, or when it is asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from fsspec import AbstractFileSystem

TAGS = ("ETag", "etag", "e_tag", "version_id", "VersionId", "generation", "md5Hash", "md5", "Content-MD5", "checksum")
TIMES = ("mtime", "LastModified", "last_modified", "modified", "updated", "Last-Modified", "created")
SETTLED = 2.0
"""Seconds since its change after which a file that changes again has another time of change, whatever the clock."""


class Told(NamedTuple):
    """State of a remote file.

    Attributes
    ----------
    size : int or None
    tag : str
        What differs where the content does (ETag, version, digest); empty where the store has nothing of the kind.
    changed : str
        When it was changed, in the words of the store.
    settled : bool
        Whether that is some seconds ago. Else it may change again and tell the same time.
    moving : bool
        Whether a web server tells the time of the request, or the file was changed at that very moment.
    """

    size: int | None
    tag: str = ""
    changed: str = ""
    settled: bool = True
    moving: bool = False

    @property
    def sure(self) -> bool:
        """Whether another content is sure to be of another state."""
        return bool(self.tag) or bool(self.changed and self.settled)

    def differs(self, other: Told) -> bool:
        """Whether what both tell is of different files."""
        sizes = self.size is not None and other.size is not None and self.size != other.size
        tags = bool(self.tag and other.tag) and self.tag != other.tag
        dated = bool(self.changed and other.changed) and not (self.moving and other.moving)
        return sizes or tags or (dated and self.changed != other.changed)

    @property
    def text(self) -> str:
        """What names the state, the same whenever it is asked for."""
        return f"{self.size} {self.tag or self.changed}"


_told: WeakKeyDictionary[AbstractFileSystem, dict[str, Told]] = WeakKeyDictionary()


def note(fs: AbstractFileSystem, path: str, told: Told) -> Told:
    """Remember what was told last of a file."""
    _told.setdefault(fs, {})[path] = told
    return told


def last_told(fs: AbstractFileSystem, path: str) -> Told | None:
    """Give what was told last of a file; None if nothing was."""
    return _told.get(fs, {}).get(path)


def of_headers(headers: Mapping[str, str], size: int | None) -> Told:
    """Take the state from an answer of HTTP (RFC 9110 section 8.8)."""
    tag = headers.get("ETag", "").removeprefix("W/")
    changed = headers.get("Last-Modified", "")
    then, now = seconds(changed), seconds(headers.get("Date", ""))
    settled = then is not None and then < (time.time() if now is None else now) - SETTLED
    return Told(size, tag, changed if then is not None else "", settled, not settled)


def of_info(info: Mapping[str, Any]) -> Told | None:
    """Take the state from what `info` or `ls` of a store say; None where that is no file, or nothing."""
    if info.get("type") == "directory":
        return None
    size = info.get("size")
    tag = next((str(info[name]) for name in TAGS if info.get(name)), "")
    name = next((name for name in TIMES if info.get(name)), "")
    when = seconds(info[name]) if name else None
    settled = when is not None and when <= time.time() - SETTLED
    changed = str(info[name] if when is None else when) if name else ""
    told = Told(None if size is None else int(size), tag, changed, settled)
    return told if told.size is not None or told.tag or told.changed else None


def seconds(value: object) -> float | None:
    """Time of change as seconds since 1970; None if that can't be told."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        for parse in (datetime.fromisoformat, parsedate_to_datetime):
            try:
                return seconds(parse(value))
            except (ValueError, OverflowError):
                continue
    return None

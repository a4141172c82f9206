"""What is in an archive, told by its table of contents, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import SourceError
from ..options import options

HARMLESS = 10**9
"""Bytes, unpacked, below which the ratio of an archive is not looked at: blank images pack a thousandfold."""

LONGEST = 4096
"""Characters of a name: no system has longer ones."""

CURE = "unpack it with a program that you trust, look at what comes out, and open that"


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive.

    Attributes
    ----------
    name : str
    offset : int
        Byte of the archive (of its unpacked content, for tar.gz) where the content begins; for zip that of the local
        header before it.
    packed, size : int
        Bytes in the archive, and unpacked.
    method : int
        0 for content as it is, else a method of zip (APPNOTE 4.4.5), 8 for deflate.
    crc : int
        CRC-32 of the content; -1 where the archive has none.
    label : bytes
        Name as it stands in the archive, of zip.
    """

    name: str
    offset: int
    packed: int
    size: int
    method: int = 0
    crc: int = -1
    label: bytes = b""


def checked_name(name: str, archive: str) -> str:
    """Name of a member, without ``./``; raise `SourceError` for one that leads out of the folder it is unpacked in.

    >>> checked_name("./a//b.dcm", "x.tar")
    'a/b.dcm'
    """
    if name.startswith("/") or re.match("[A-Za-z]:/", name):
        raise SourceError(f"{archive} is refused: it holds the absolute name {name!r}; {CURE}")
    if len(name) > LONGEST:
        raise SourceError(f"{archive} is refused: it holds a name of {len(name)} characters; {CURE}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise SourceError(f"{archive} is refused: it holds {name!r}, which leads out of it; {CURE}")
    return "/".join(parts)


def by_name(members: Iterable[Member], archive: str) -> dict[str, Member]:
    """Members by name; raise `SourceError` where two have one name, of which one would be lost."""
    found: dict[str, Member] = {}
    for member in members:
        if member.name in found:
            raise SourceError(f"{archive} is refused: it holds two files of the name {member.name!r}; {CURE}")
        if not member.name:
            raise SourceError(f"{archive} is refused: it holds a file without a name; {CURE}")
        found[member.name] = member
    seen: set[str] = set()
    for name in found:
        folder = name
        while (folder := folder.rpartition("/")[0]) not in seen:
            seen.add(folder)
            if folder in found:
                raise SourceError(f"{archive} is refused: {folder!r} is a file in it, and a folder as well; {CURE}")
    return found


def check_size(unpacked: int, packed: int, archive: str) -> None:
    """Raise `SourceError` where an archive unpacks to more than the limits that are set."""
    limits = options()
    if unpacked > limits.archive_size:
        raise SourceError(
            f"{archive} is refused: it unpacks to more than {limits.archive_size} bytes. "
            f"set_options(archive_size=...) raises the limit"
        )
    if unpacked > HARMLESS and unpacked > limits.archive_ratio * max(packed, 1):
        raise SourceError(
            f"{archive} is refused: its {packed} bytes unpack to {unpacked} or more, over {limits.archive_ratio} times "
            "as much. set_options(archive_ratio=...) raises the limit"
        )

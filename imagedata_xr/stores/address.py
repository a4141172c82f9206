"""The form of addresses that name an archive of files: ``a.zip``, ``a.zip?member``, ``zip://member::a.zip``."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

_EXTENSIONS = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz"}
_ENDINGS = tuple(_EXTENSIONS)
_UNREAD = (".bz2", ".tbz", ".tbz2", ".xz", ".txz", ".lzma", ".zst", ".tzst", ".7z", ".rar")
_NAMED = re.compile(r"(?P<base>.*?(?:\.zip|\.tar\.gz|\.tgz|\.tar))(?:\?(?P<members>.*))?", re.IGNORECASE | re.DOTALL)
_CHAINED = re.compile(r"(?P<kind>zip|tar)://(?P<member>.*?)::(?P<base>.+)", re.IGNORECASE | re.DOTALL)
_FILE = re.compile(r"file:(?://(?:localhost(?=/))?)?(?P<path>(?:/|[A-Za-z]:|\\|~|(?<=//)).*)", re.DOTALL)
"""Address of a local file (RFC 8089): ``file:///path``, ``file://localhost/path``, ``file:/path``."""

STORE = ".zarr.zip"
"""What a zarr store in one file is called: it is opened as a whole, by its own format."""


class ArchiveAddress(NamedTuple):
    """An archive, by its own address, and what is meant of it.

    Attributes
    ----------
    base : str
        Address of the archive: path, glob or URL.
    kind : str
        ``"zip"``, ``"tar"`` or ``"tar.gz"``; ``"tar?"`` where its first bytes have to tell.
    members : tuple of str
        Names of files, folders, or patterns; empty for all.
    """

    base: str
    kind: str
    members: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.base + (f"?{'&'.join(self.members)}" if self.members else "")


def local_places(address: str) -> list[str]:
    """Paths on this computer that an address may mean, the likeliest first; none for one of another store.

    >>> local_places("file://localhost/a%20b")
    ['/a%20b', '/a b']
    """
    if (found := _FILE.fullmatch(address)) is not None and "::" not in address:
        # fsspec takes a per cent sign literally, browsers encode; what exists decides
        path = found["path"]
        return list(dict.fromkeys((path, unquote(path))))
    path = os.path.expanduser(address)
    return [path] if "://" not in address and ("::" not in address or os.path.lexists(path)) else []


def kind_of(path: str) -> str | None:
    """Kind of archive that a name tells; None for other names.

    >>> kind_of("a.TGZ"), kind_of("a.nii.gz")
    ('tar.gz', None)
    """
    lower = path.lower()
    if not lower.endswith(_ENDINGS):  # nearly all: asked of every file
        return None
    return next(kind for end, kind in _EXTENSIONS.items() if lower.endswith(end))


def is_archive(path: str) -> bool:
    """Tell by its name whether a file is an archive of files."""
    return kind_of(path) is not None


def is_packed(path: str) -> bool:
    """Tell by its name whether a file is packed in a way that is not read.

    >>> is_packed("a.dcm.bz2"), is_packed("a.dcm.gz")
    (True, False)
    """
    return path.lower().endswith(_UNREAD)


def archive_address(address: str) -> ArchiveAddress | None:
    """Take an address apart; None if it names no archive.

    A query of a web address that has an equals sign is the server's (``https://host/a.zip?token=x``): what is meant
    of that archive is chosen by ``zip://member::https://...``. A local file or folder that has the very name is that.

    >>> archive_address("s3://bucket/a.zip?day1&day2/*.dcm")
    ArchiveAddress(base='s3://bucket/a.zip', kind='zip', members=('day1', 'day2/*.dcm'))
    >>> archive_address("zip://in/*::https://host/get?file=7").base
    'https://host/get?file=7'
    >>> archive_address("folder/a?.nii") is None
    True
    """
    if (chain := _CHAINED.fullmatch(address)) is not None:
        kind = chain["kind"].lower()
        member = chain["member"].strip("/")
        return ArchiveAddress(chain["base"], "tar?" if kind == "tar" else kind, (member,) if member else ())
    url = "://" in address or "::" in address
    places = local_places(address)
    if any(map(os.path.isdir, places)):
        return None
    named = _NAMED.fullmatch(address)
    if named is None or (named["members"] is not None and any(map(os.path.lexists, places))):
        return None
    base, query = named["base"], named["members"]
    if query is None and base.lower().endswith(STORE):
        return None
    if url and query is not None and "=" in query and re.match(r"(.*::)?https?://", address):
        base, query = address, None
        if kind_of(base.partition("?")[0]) is None:
            return None
    kind = kind_of(base.partition("?")[0] if query is None else base) or kind_of(base)
    if kind is None:
        return None
    members = tuple(m for part in (query or "").split("&") if (m := part.strip("/")))
    return ArchiveAddress(base, kind, members)


def chosen(names: Iterable[str], members: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Choose among the files of an archive.

    Parameters
    ----------
    names
        Of all files.
    members
        A file's name, a folder's, or a pattern that either matches (``*`` matches ``/`` too, case counts); all if
        empty.

    Returns
    -------
    list of str
        Names, sorted. Hidden files and folders are left out unless a member names them.
    list of str
        Members that match nothing.
    """
    there = sorted(names)
    if not members:
        return [n for n in there if not _hidden(n)], []
    found: dict[str, None] = {}
    missing = []
    for member in members:
        mine = [n for n in there if n == member or n.startswith(member + "/")]
        if not mine and glob.has_magic(member):
            mine = [n for n in there if fnmatch.fnmatchcase(n, member) or fnmatch.fnmatchcase(n, member + "/*")]
            mine = [n for n in mine if not _hidden(n) or _hidden(member)]
        elif mine != [member]:
            mine = [n for n in mine if not _hidden(n.removeprefix(member))]
        if not mine:
            missing.append(member)
        found |= dict.fromkeys(mine)
    return list(found), missing


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))

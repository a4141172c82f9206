"""What a user may type as a source, and reading byte ranges from what was found there.

`find` turns paths, folders, globs, URLs and lists of these into a flat list of files; nothing is opened.
Addresses that need more than fsspec are those of stores of our own; see `imagedata_xr.stores.registry`.
"""

from __future__ import annotations

import asyncio
import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

from fsspec import AbstractFileSystem
from fsspec.asyn import sync
from fsspec.core import OpenFile, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from ..errors import LabelError, NotFoundError, SourceError
from ..options import options as current
from . import registry
from .address import ArchiveAddress, archive_address, chosen, is_archive, kind_of
from .archives import open_archive
from .files import (
    BATCH,
    File,
    file_name,
    is_local,
    local,
    read_available,
    read_into,
    read_range,
    read_ranges,
    reason,
    strip_credentials,
)
from .patience import may_pass, patiently, pause, real_error
from .registry import StorageOptions, store_of

__all__ = [
    "BATCH",
    "File",
    "Source",
    "StorageOptions",
    "file_name",
    "find",
    "forms",
    "is_archive",
    "is_local",
    "local",
    "read_available",
    "read_into",
    "read_range",
    "read_ranges",
    "reason",
    "source_name",
    "strip_credentials",
]

_NEVER_FOLDERS = (".dcm", ".ima", ".nii", ".nii.gz")
"""Extensions of files: an empty folder of such a name stands where one was lost."""

FORMS = (
    "path/of/file", "path/of/folder", "pattern*.dcm", "file:///path", "https://host/file", "s3://bucket/folder",
    "a.zip", "a.tar.gz?folder", "a.zip?first&second*", "s3://bucket/a.tar?member", "zip://member::https://host/a.zip?key=x",
)  # fmt: skip
"""Addresses as a user may type them; stores of our own add theirs."""

Source: TypeAlias = "str | os.PathLike[str] | OpenFile | File | Sequence[Source]"


def forms() -> str:
    """Tell in a few words which addresses there are."""
    own = [form for store in dict.fromkeys(registry.stores().values()) for form in store.forms]
    return "an address is " + ", ".join([*FORMS, *own]) + ", or a list of these"


def find(source: Source, storage_options: StorageOptions = None) -> list[File]:
    """List the files that a source stands for.

    Parameters
    ----------
    source
        A path, a folder (searched recursively), a glob, an archive or what is meant of one, an fsspec URL or chain of
        these, the address of a store of our own, an fsspec `OpenFile`, or a list of any of them. Hidden files and
        folders below a folder are left out.
    storage_options
        Handed to fsspec for URLs.

    Returns
    -------
    list of File
        Each file once. A folder's or glob's files are sorted by path; a list keeps its own order.

    Raises
    ------
    NotFoundError
        Nothing exists there, a glob matches nothing, or a folder holds no file.
    SourceError
        A folder or store refuses to be listed.
    """
    found: dict[tuple[int, str], File] = {}
    for files in _find_each(_flat(source), storage_options):
        for file in files:
            found.setdefault((id(file.fs), file.path), file)
    return list(found.values())


def source_name(source: Source) -> str:
    """Name a source without credentials, as it stands in the `source` coord.

    Parameters
    ----------
    source
        What `find` takes.

    Returns
    -------
    str
        The absolute local path, or the URL without user, password and ``key=value`` queries (they may hold secrets).
        For a list the folder or prefix common to all; empty when they have none in common.
    """
    names = list(dict.fromkeys(_name(one) for one in _flat(source)))
    if len(names) == 1:
        return names[0]
    if all("?" in name for name in names) and len({name.partition("?")[0] for name in names}) == 1:
        base, inside = names[0].partition("?")[0], [name.partition("?")[2] for name in names]
        return base + (f"?{common}" if (common := os.path.commonpath(inside)) else "")
    if all("://" not in name for name in names):
        return os.path.commonpath(names)
    parts = [name.split("/") for name in names]
    alike = 0
    while all(len(p) > alike and p[alike] == parts[0][alike] for p in parts):
        alike += 1
    # "scheme:", "" and the host come first: a scheme alone is no place
    return "/".join(parts[0][:alike]) if alike > 2 else ""


def _flat(source: Source) -> list[str | OpenFile | File]:
    """Resolve lists; paths become str."""
    if isinstance(source, File | OpenFile | str):
        return [source]
    if isinstance(source, os.PathLike):
        path = os.fspath(source)
        return [os.fsdecode(path)]
    if isinstance(source, list | tuple):
        if not source:
            raise NotFoundError("The list of sources is empty")
        return [leaf for one in source for leaf in _flat(one)]
    raise LabelError(f"A source is a path, a URL, an fsspec OpenFile or a list of these, not {type(source).__name__}")


def _find_each(sources: list[str | OpenFile | File], options: StorageOptions) -> Iterable[list[File]]:
    """Find what each source stands for; addresses of one store that answers several requests at once, together."""
    plain = [s for s in sources if isinstance(s, str) and _is_plain_url(s)]
    if len(sources) < 2 or len(plain) < len(sources) or len({s.partition("://")[0] for s in plain}) > 1:
        return (_find_one(one, options) for one in sources)
    try:
        fs = url_to_fs(plain[0], **(options or {}))[0]
        paths = [url_to_fs(one, **(options or {}))[1] for one in plain]
    except (ValueError, ImportError):  # said by the one who opens it
        return (_find_one(one, options) for one in sources)
    if not getattr(fs, "async_impl", False):
        return (_find_one(one, options) for one in sources)
    told = _told_at_once(fs, paths)
    pairs = zip(plain, paths, told, strict=True)
    return [_found(fs, path, strip_credentials(one), info) for one, path, info in pairs]


def _is_plain_url(source: str) -> bool:
    """Whether an address names one thing of fsspec's, which need not be listed to be found."""
    known = "://" in source and "::" not in source and not source.startswith("file://")
    special = store_of(source) is not None or archive_address(source) is not None
    return known and not special and not source.endswith("/") and not _has_magic(source)


def _has_magic(path: str) -> bool:
    """Whether a path is a pattern; on the web a question mark begins the query."""
    web = path.startswith(("http://", "https://"))
    return glob.has_magic(path.partition("?")[0] if web else path)


def _told_at_once(fs: AbstractFileSystem, paths: Sequence[str]) -> list[Any]:
    """What a store tells of files, or the errors, of 64 at once."""

    async def together(some: Sequence[str]) -> list[Any]:
        return await asyncio.gather(*(fs._info(path) for path in some), return_exceptions=True)

    told: list[Any] = []
    for first in range(0, len(paths), BATCH):
        some = paths[first : first + BATCH]
        got = sync(fs.loop, together, some)
        for attempt in range(current().retries):
            again = [k for k, one in enumerate(got) if may_pass(one)]
            if not again:
                break
            pause(attempt)
            for k, one in zip(again, sync(fs.loop, together, [some[k] for k in again]), strict=True):
                got[k] = one
        told += got
    return told


def _found(fs: AbstractFileSystem, path: str, name: str, info: Any) -> list[File]:
    """Files under a path of which a store has told something."""
    info = real_error(info) if isinstance(info, Exception) else info
    if isinstance(info, FileNotFoundError):
        raise NotFoundError(f"{name} does not exist") from info
    if isinstance(info, Exception):
        raise SourceError(f"{name} can't be listed: {reason(info)}") from info
    return [File(fs, path)] if info["type"] != "directory" else _find_in(fs, path, name)


def _find_one(source: str | OpenFile | File, options: StorageOptions) -> list[File]:
    if isinstance(source, File):
        return [source]
    if isinstance(source, OpenFile):
        if source.compression:
            raise SourceError(
                f"{_name(source)} is opened with compression {source.compression!r}, which has no byte ranges: "
                "unpack it, or open it without compression"
            )
        return _find_in(source.fs, source.path, _name(source))
    if (store := store_of(source)) is not None:
        return store.find(source, options)
    if (address := archive_address(source)) is not None:
        return _find_archived(address, options)
    return _find_plain(source, options)


def _find_plain(source: str, options: StorageOptions) -> list[File]:
    for pattern, finder in _KINDS:
        if pattern.match(source):
            return finder(source, options)
    return _find_local(source)


def _find_archived(address: ArchiveAddress, options: StorageOptions) -> list[File]:
    """List what is meant of an archive, or of each archive that a pattern matches."""
    inner = archive_address(address.base)
    within = inner is not None and inner.base != address.base
    archives = _find_one(address.base, options) if within else _find_plain(address.base, options)
    opened = [open_archive(file, address.kind) for file in archives]
    picks = [chosen(one.members, address.members) for one in opened]
    missing = [m for m in address.members if all(m in gone for _, gone in picks)]
    name = _name_archived(address._replace(members=()))
    if missing:
        count = sum(len(one.members) for one in opened)
        raise NotFoundError(
            f"{name} has nothing called {missing[0]!r}, or that matches it, among its {count} files: what stands after "
            "'?' is a file, a folder or a pattern, as they are called in the archive, and '&' parts several"
        )
    found = [File(one, path) for one, (paths, _) in zip(opened, picks, strict=True) for path in paths]
    if not found:
        raise NotFoundError(f"{name} is empty: it holds no file")
    return found


def _name_archived(address: ArchiveAddress) -> str:
    base = _name(address.base)
    if kind_of(address.base) in (address.kind, f"{address.kind}.gz") or (address.kind == "tar?" and is_archive(base)):
        return str(ArchiveAddress(base, address.kind, address.members))
    return f"{address.kind.rstrip('?')}://{'&'.join(address.members)}::{base}"


def _find_url(url: str, options: StorageOptions) -> list[File]:
    name = strip_credentials(url)
    try:
        fs, path = url_to_fs(url, **(options or {}))
    except (ValueError, ImportError) as error:
        raise SourceError(f"{name} can't be opened: {error}; {forms()}") from error
    if isinstance(fs, LocalFileSystem):
        return _find_local(path)
    return _find_in(fs, path, name)


def _find_in(fs: AbstractFileSystem, path: str, name: str) -> list[File]:
    """List what a filesystem holds under a path or glob."""
    if isinstance(fs, LocalFileSystem):
        return _find_local(path)
    try:
        paths = patiently(lambda: _paths_in(fs, path, name))
    except SourceError:
        raise
    except Exception as error:  # stores have their own families of errors
        what = real_error(error)
        if isinstance(what, FileNotFoundError):
            raise NotFoundError(f"{name} does not exist") from error
        raise SourceError(f"{name} can't be listed: {reason(what)}") from error
    if not paths:
        raise NotFoundError(f"{name} is empty: it holds no file")
    return [File(fs, p) for p in paths]


def _paths_in(fs: AbstractFileSystem, path: str, name: str) -> list[str]:
    tops = [path]
    if _has_magic(path) and not fs.exists(path):
        tops = sorted(top for top in fs.glob(path) if "/." in path or not _hidden(top))
        if not tops:
            raise NotFoundError(f"Nothing matches {name}")
    return [p for top in tops for p in _files_below(fs, top)]


def _files_below(fs: AbstractFileSystem, top: str) -> list[str]:
    if fs.info(top)["type"] != "directory" and not top.endswith("/"):
        return [top]
    root = top.strip("/")
    return sorted(p for p in fs.find(top) if not _hidden(p.strip("/").removeprefix(root)))


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _file_url(url: str, options: StorageOptions) -> list[File]:
    path = url.removeprefix("file://")
    # fsspec takes a per cent sign literally, browsers encode; what exists decides
    return _find_local(path if os.path.lexists(path) else unquote(path))


def _find_local(path: str) -> list[File]:
    path = os.path.abspath(os.path.expanduser(path))
    fs = local()
    if os.path.isdir(path):
        files = _walk(path)
        if not files:
            raise NotFoundError(f"{path} is empty: it holds no file")
        return [File(fs, p) for p in files]
    if os.path.lexists(path):
        return [File(fs, path)]
    if not glob.has_magic(path):
        raise NotFoundError(f"{path} does not exist")
    tops = sorted(glob.glob(path, recursive=True))
    if not tops:
        raise NotFoundError(f"Nothing matches {path}")
    files = [p for top in tops for p in (_walk(top) if os.path.isdir(top) else [top])]
    if not files:
        raise NotFoundError(f"The folders that match {path} are empty: they hold no file")
    return [File(fs, p) for p in files]


def _walk(top: str) -> list[str]:
    """List all files below a local folder, sorted; a folder reached twice by links is searched once."""
    files: list[str] = []
    folders, seen = [top], set()
    while folders:
        folder = folders.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                inside = [e for e in entries if not e.name.startswith(".")]
                if not inside and folder != top and folder.lower().endswith(_NEVER_FOLDERS):
                    files.append(folder)  # in the place of a file: kept, so that its reader names it
        except OSError as error:
            raise SourceError(f"The folder {folder} can't be listed: {reason(error)}") from error
        below = []
        for entry in inside:
            if entry.is_dir():
                below.append(entry.path)
            elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
                # a link that leads nowhere is kept, so that its reader names it; pipes and sockets are not files
                files.append(entry.path)
        folders += sorted(below, reverse=True)
    return sorted(files)


def _name(source: str | OpenFile | File) -> str:
    if isinstance(source, OpenFile):
        source = File(source.fs, source.path)
    if isinstance(source, File):
        return file_name(source)
    if (store := store_of(source)) is not None:
        return store.name(source)
    if (address := archive_address(source)) is not None and address != ArchiveAddress(source, address.kind):
        return _name_archived(address)
    if source.startswith("file://") and "::" not in source:
        source = source.removeprefix("file://")
    if "://" in source or "::" in source:
        return strip_credentials(source)
    return os.path.abspath(os.path.expanduser(source))


_KINDS: list[tuple[re.Pattern[str], Callable[[str, StorageOptions], list[File]]]] = [
    (re.compile(r"file://(?!.*::)"), _file_url),
    (re.compile(r".*(://|::)"), _find_url),
]
"""Which function lists which source, first match first; what matches none is a local path."""

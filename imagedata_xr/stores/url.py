"""What a user may type as a source, and reading byte ranges from what was found there.

`find` turns paths, folders, globs, URLs and lists of these into a flat list of files; nothing is opened.
Addresses that need more than fsspec are those of stores of our own; see `imagedata_xr.stores.registry`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from fsspec.core import OpenFile, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from ..errors import LabelError, NotFoundError, SourceError
from .address import ArchiveAddress, archive_address, chosen, is_archive, is_packed, kind_of, local_places
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
from .listing import find_in, find_local, find_named, has_magic
from .registry import StorageOptions, forms, store_of
from .told import Told

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
    "is_packed",
    "local",
    "read_available",
    "read_into",
    "read_range",
    "read_ranges",
    "reason",
    "source_name",
    "strip_credentials",
]

Source: TypeAlias = "str | os.PathLike[str] | OpenFile | File | Sequence[Source]"


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


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
    return find_named(fs, paths, [strip_credentials(one) for one in plain])


def _is_plain_url(source: str) -> bool:
    """Whether an address names one thing of fsspec's, which need not be listed to be found."""
    known = "://" in source and "::" not in source and not source.startswith("file://")
    special = store_of(source) is not None or archive_address(source) is not None
    return known and not special and not source.endswith("/") and not has_magic(source)


def _find_one(source: str | OpenFile | File, options: StorageOptions) -> list[File]:
    if isinstance(source, File):  # of a remote one the state may be of long ago
        return [source._replace(state=None) if isinstance(source.state, Told) else source]
    if isinstance(source, OpenFile):
        if source.compression:
            raise SourceError(
                f"{_name(source)} is opened with compression {source.compression!r}, which has no byte ranges: "
                "unpack it, or open it without compression"
            )
        return find_in(source.fs, source.path, _name(source))
    if (store := store_of(source)) is not None:
        return store.find(source, options)
    if (address := archive_address(source)) is not None:
        return _find_archived(address, options)
    return _find_plain(source, options)


def _find_plain(source: str, options: StorageOptions) -> list[File]:
    if not source:
        raise NotFoundError(f"The address is empty; {forms()}")
    if places := local_places(source):
        path = next(filter(os.path.lexists, places), places[-1])
        try:
            return find_local(path)
        except NotFoundError as error:
            if _SCHEME.match(source):  # a slash is missing, or the scheme is another one
                raise NotFoundError(f"{error}; {forms()}") from error
            raise
    return _find_url(source, options)


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
    except Exception as error:  # stores have their own families of errors
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{name} can't be opened: {reason(error)}; {forms()}") from error
    if isinstance(fs, LocalFileSystem):
        return find_local(path)
    return find_in(fs, path, name)


def _name(source: str | OpenFile | File) -> str:
    if isinstance(source, OpenFile):
        source = File(source.fs, source.path)
    if isinstance(source, File):
        return file_name(source)
    if (store := store_of(source)) is not None:
        return store.name(source)
    if (address := archive_address(source)) is not None and address != ArchiveAddress(source, address.kind):
        return _name_archived(address)
    if places := local_places(source):
        return os.path.abspath(next(filter(os.path.lexists, places), places[-1]))
    return strip_credentials(source)

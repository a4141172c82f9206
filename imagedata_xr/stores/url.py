"""What a user may type as a source, and reading byte ranges from what was found there.

`find` turns paths, folders, globs, URLs and lists of these into a flat list of files; nothing is opened.
Addresses that need more than fsspec are those of stores of our own; see `imagedata_xr.stores.registry`.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias
from urllib.parse import unquote

from fsspec import AbstractFileSystem
from fsspec.core import OpenFile, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from ..errors import LabelError, NotFoundError, SourceError
from . import registry
from .files import (
    BATCH,
    File,
    file_name,
    is_archive,
    is_local,
    local,
    read_available,
    read_into,
    read_range,
    read_ranges,
    reason,
    strip_credentials,
)
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
    "zip://member::path/a.zip",
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
        A path, a folder (searched recursively), a glob, an fsspec URL or chain of these, an fsspec `OpenFile`, or a
        list of any of them. Hidden files and folders below a folder are left out.
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
    """Find what each source stands for; addresses of one store that answers several requests at once, in threads."""
    schemes = {s.partition("://")[0] for s in sources if isinstance(s, str) and "://" in s and "::" not in s}
    alike = len(schemes) == 1 and all(isinstance(s, str) and "://" in s and "::" not in s for s in sources)
    if len(sources) < 2 or not alike or not _answers_many(str(sources[0]), options):
        return (_find_one(one, options) for one in sources)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(BATCH, len(sources))) as pool:
        return list(pool.map(lambda one: _find_one(one, options), sources))


def _answers_many(url: str, options: StorageOptions) -> bool:
    """Whether the store of an address, which all its addresses share, is one of fsspec's asynchronous ones."""
    finder = next((finder for pattern, finder in _KINDS if pattern.match(url)), None)
    if finder is not _find_url or store_of(url) is not None:
        return False
    try:
        return bool(url_to_fs(url, **(options or {}))[0].async_impl)
    except (ValueError, ImportError):  # said by the one who opens it
        return False


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
    for pattern, finder in _KINDS:
        if pattern.match(source):
            return finder(source, options)
    return _find_local(source)


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
        if glob.has_magic(path) and not fs.exists(path):
            tops = sorted(top for top in fs.glob(path) if "/." in path or not _hidden(top))
            if not tops:
                raise NotFoundError(f"Nothing matches {name}")
        else:
            tops = [path]
        paths: list[str] = []
        for top in tops:
            paths += _files_below(fs, top)
    except FileNotFoundError as error:
        raise error if isinstance(error, NotFoundError) else NotFoundError(f"{name} does not exist") from error
    except OSError as error:
        raise SourceError(f"{name} can't be listed: {reason(error)}") from error
    if not paths:
        raise NotFoundError(f"{name} is empty: it holds no file")
    return [File(fs, p) for p in paths]


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

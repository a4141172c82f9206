"""What a user may type as a source, and reading byte ranges from what was found there.

`find` turns paths, folders, globs, URLs and lists of these into a flat list of files; nothing is opened.
Kinds of source that need more than fsspec register in `_KINDS`, the one place where a source is dispatched.
"""

from __future__ import annotations

import functools
import glob
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast
from urllib.parse import unquote, urlsplit

from fsspec import AbstractFileSystem
from fsspec.core import OpenFile, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from imagedata_xr.errors import LabelError, NotFoundError, SourceError

BATCH = 64
"""Ranges asked for at once from a remote store."""

StorageOptions: TypeAlias = Mapping[str, Any] | None


class File(NamedTuple):
    """A file: the filesystem that holds it and the path inside that filesystem."""

    fs: AbstractFileSystem
    path: str


Source: TypeAlias = "str | os.PathLike[str] | OpenFile | File | Sequence[Source]"


@functools.cache
def local() -> LocalFileSystem:
    """Return the one filesystem object that all local files share."""
    return LocalFileSystem()


def is_local(file: File) -> bool:
    """Tell whether a file can be opened by the operating system under its path."""
    return isinstance(file.fs, LocalFileSystem)


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
    for one in _flat(source):
        for file in _find_one(one, storage_options):
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
        The absolute local path, or the URL without user, password and ``key=value`` queries (they may hold secrets). For
        a list the folder or prefix common to all; empty when they have none in common.
    """
    names = list(dict.fromkeys(_name(one) for one in _flat(source)))
    if len(names) == 1:
        return names[0]
    if all("://" not in name for name in names):
        return os.path.commonpath(names)
    prefix = os.path.commonprefix([name + "/" for name in names])
    prefix = prefix[: prefix.rfind("/")] if "/" in prefix else ""
    return "" if prefix.endswith((":", ":/")) else prefix


def file_name(file: File) -> str:
    """Name one file, as errors and warnings may show it: without credentials."""
    return file.path if is_local(file) else strip_credentials(str(file.fs.unstrip_protocol(file.path)))


def strip_credentials(url: str) -> str:
    """Remove user, password, fragment and ``key=value`` queries from each part of a URL chain."""
    parts = []
    for part in url.split("::"):
        plain = re.sub(r"(?<=://)[^/?#]*@", "", part)
        if "://" in plain:
            plain = plain.partition("#")[0]
        address, mark, query = plain.partition("?")
        parts.append(address if "=" in query else address + mark + query)
    return "::".join(parts)


def read_range(file: File, offset: int, length: int) -> bytes:
    """Read `length` bytes of one file from byte `offset` on.

    Raises
    ------
    SourceError
        The file can't be read or ends before `offset + length`.
    """
    return read_ranges([file], [offset], [length])[0]


def read_ranges(files: Sequence[File], offsets: Iterable[int], lengths: Iterable[int]) -> list[bytes]:
    """Read one byte range of each file: local ones by the operating system, others in batches of 64.

    Parameters
    ----------
    files
        Files of any filesystems; one may occur several times.
    offsets, lengths
        Where each range begins and how long it is, in bytes.

    Raises
    ------
    SourceError
        A file can't be read or ends before the end of its range.
    """
    starts, sizes = list(offsets), list(lengths)
    data = read_available(files, starts, sizes)
    for file, start, size, got in zip(files, starts, sizes, data, strict=True):
        if isinstance(got, Exception):
            raise SourceError(f"{file_name(file)} can't be read: {reason(got)}") from got
        if len(got) < size:
            raise SourceError(
                f"{file_name(file)} ends at byte {start + len(got)}, but {size} bytes were expected from byte {start} on"
            )
    return cast("list[bytes]", data)


def read_available(files: Sequence[File], offsets: Sequence[int], lengths: Sequence[int]) -> list[bytes | OSError]:
    """Read ranges as `read_ranges`, but give what there is: fewer bytes at the end of a file, the error of a bad file."""
    data: list[bytes | OSError] = [b""] * len(files)
    remote: dict[AbstractFileSystem, list[int]] = {}
    for k, (file, offset, length) in enumerate(zip(files, offsets, lengths, strict=True)):
        if is_local(file):
            data[k] = _read_local(file.path, offset, length)
        else:
            remote.setdefault(file.fs, []).append(k)
    for fs, wanted in remote.items():
        for first in range(0, len(wanted), BATCH):
            batch = wanted[first : first + BATCH]
            starts = [offsets[k] for k in batch]
            stops = [offsets[k] + lengths[k] for k in batch]
            got = fs.cat_ranges([files[k].path for k in batch], starts, stops, on_error="return")
            for k, one in zip(batch, got, strict=True):
                data[k] = _checked(one)
    return data


def reason(error: Exception) -> str:
    """Say in a few words why the system refused, without the path (it stands elsewhere in the message)."""
    strerror = getattr(error, "strerror", None)
    return str(strerror) if strerror else type(error).__name__


def _checked(got: object) -> bytes | OSError:
    if isinstance(got, bytes | bytearray | memoryview):
        return bytes(got)
    if isinstance(got, OSError):
        return got
    # aiohttp, botocore and others have their own families; one kind is enough for those who call
    error = OSError(type(got).__name__)
    error.__cause__ = got if isinstance(got, BaseException) else None
    return error


def _read_local(path: str, offset: int, length: int) -> bytes | OSError:
    try:
        with open(path, "rb", buffering=0) as f:
            f.seek(offset)
            parts = []
            while length > 0 and (part := f.read(length)):
                parts.append(part)
                length -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
    except OSError as error:
        return error


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
    for pattern, finder in _KINDS:
        if pattern.match(source):
            return finder(source, options)
    return _find_local(source)


def _find_url(url: str, options: StorageOptions) -> list[File]:
    name = strip_credentials(url)
    try:
        fs, path = url_to_fs(url, **(options or {}))
    except (ValueError, ImportError) as error:
        raise SourceError(f"{name} can't be opened: {error}") from error
    if isinstance(fs, LocalFileSystem):
        return _find_local(path)
    return _find_in(fs, path, name)


def _find_in(fs: AbstractFileSystem, path: str, name: str) -> list[File]:
    """List what a filesystem holds under a path or glob."""
    if isinstance(fs, LocalFileSystem):
        return _find_local(path)
    try:
        if glob.has_magic(path) and not fs.exists(path):
            tops = sorted(fs.glob(path))
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
    return _find_local(unquote(urlsplit(url).path) if "%" in url else url.removeprefix("file://"))


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

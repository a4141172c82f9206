"""What lies under a path, a folder or a pattern: on this computer, and on remote stores with what they tell of it."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from ..errors import NotFoundError, SourceError
from .far import infos, states_far
from .files import File, local, reason
from .http import http_files, is_http
from .patience import patiently, real_error
from .registry import forms
from .told import Told, of_info

_NEVER_FOLDERS = (".dcm", ".ima", ".nii", ".nii.gz")
"""Extensions of files: an empty folder of such a name stands where one was lost."""


def has_magic(path: str) -> bool:
    """Whether a path is a pattern; on the web a question mark begins the query."""
    web = path.startswith(("http://", "https://"))
    return glob.has_magic(path.partition("?")[0] if web else path)


# --- remote -----------------------------------------------------------------------------------------------------------


def find_named(fs: AbstractFileSystem, paths: Sequence[str], names: Sequence[str]) -> list[list[File]]:
    """List what lies under paths that are no patterns, all at once; `names` are for errors."""
    fs.invalidate_cache()  # else what came and went since an earlier look would not be seen
    told: Sequence[Any] = states_far(fs, paths) if is_http(fs) else infos(fs, paths)
    return [_named(fs, *one) for one in zip(paths, names, told, strict=True)]


def _named(fs: AbstractFileSystem, path: str, name: str, told: Any) -> list[File]:
    what = real_error(told) if isinstance(told, Exception) else told
    if isinstance(what, FileNotFoundError):
        raise NotFoundError(f"{name} does not exist") from what
    if isinstance(what, Exception):
        raise SourceError(f"{name} can't be listed: {reason(what)}") from what
    if isinstance(what, Told) or what is None:
        return [File(fs, path, what)]
    return [File(fs, path, _state(fs, what))] if what["type"] != "directory" else find_in(fs, path, name)


def find_in(fs: AbstractFileSystem, path: str, name: str) -> list[File]:
    """List what a filesystem holds under a path or pattern."""
    if isinstance(fs, LocalFileSystem):
        return find_local(path)
    if is_http(fs) and not path.endswith("/") and not has_magic(path):
        return find_named(fs, [path], [name])[0]
    try:
        fs.invalidate_cache()
        found = patiently(lambda: _below_all(fs, path, name))
    except SourceError:
        raise
    except Exception as error:  # stores have their own families of errors
        what = real_error(error)
        if isinstance(what, FileNotFoundError):
            raise NotFoundError(f"{name} does not exist") from error
        more = f"; {forms()}" if isinstance(what, ValueError) else ""  # no bucket, no such form of a name
        raise SourceError(f"{name} can't be listed: {reason(what)}{more}") from error
    if not found:
        raise NotFoundError(f"{name} is empty: it holds no file")
    return found


def _below_all(fs: AbstractFileSystem, path: str, name: str) -> list[File]:
    tops = [path]
    if has_magic(path) and not fs.exists(path):
        tops = sorted(top for top in fs.glob(path) if "/." in path or not hidden(top))
        if not tops:
            raise NotFoundError(f"Nothing matches {name}")
    return [file for top in tops for file in _below(fs, top)]


def _below(fs: AbstractFileSystem, top: str) -> list[File]:
    if is_http(fs) and top.endswith("/"):
        return [File(fs, url) for url in http_files(fs, top) if not hidden(url.partition("?")[0].removeprefix(top))]
    info = fs.info(top)
    if info["type"] != "directory" and not top.endswith("/"):
        return [File(fs, top, _state(fs, info))]
    root = top.strip("/")
    found = fs.find(top, detail=True)
    return [File(fs, p, _state(fs, found[p])) for p in sorted(found) if not hidden(p.strip("/").removeprefix(root))]


def _state(fs: AbstractFileSystem, info: Mapping[str, Any]) -> Told | None:
    """State of a file as a listing tells it; None on the web, where ranges tell it in other words."""
    return None if is_http(fs) else of_info(info)


def hidden(path: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden."""
    return any(part.startswith(".") for part in path.split("/"))


# --- on this computer -------------------------------------------------------------------------------------------------


def find_local(path: str) -> list[File]:
    """List a local file, a folder with those below, or what matches a pattern."""
    path = os.path.abspath(os.path.expanduser(path))
    fs = local()
    if os.path.isdir(path):
        files = _walk(path)
        if not files:
            raise NotFoundError(f"{path} is empty: it holds no file")
        return [File(fs, p) for p in files]
    if os.path.lexists(path):
        if os.path.exists(path) and not os.path.isfile(path):
            raise SourceError(f"{path} is no file, but a pipe, a socket or a device: there are no parts to read")
        return [File(fs, path)]
    if not glob.has_magic(path):
        raise NotFoundError(f"{path} does not exist")
    tops = sorted(glob.glob(path, recursive=True))
    if not tops:
        raise NotFoundError(f"Nothing matches {path}")
    files = [p for top in tops for p in (_walk(top) if os.path.isdir(top) else _one(top))]
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
            kind = _kind(entry)
            if kind == "folder":
                below.append(entry.path)
            elif kind == "file":
                files.append(entry.path)
        folders += sorted(below, reverse=True)
    return sorted(files)


def _one(path: str) -> list[str]:
    return [path] if os.path.isfile(path) or not os.path.exists(path) else []


def _kind(entry: os.DirEntry[str]) -> str:
    """What is to be done with an entry of a folder; nothing with pipes, sockets and devices."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # links in circles
        pass
    # a link that leads nowhere is kept, so that its reader names it
    return "file" if entry.is_symlink() and not os.path.exists(entry.path) else ""

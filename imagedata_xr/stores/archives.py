"""Archives of files as filesystems: read in place, nothing is unpacked to disk and nothing stays open."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any, TypeAlias

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from ..errors import NotFoundError, SourceError
from .contents import packed_tar_contents, tar_contents, zip_contents
from .far import states_far, tells
from .files import File, file_name, is_local, read_available, reason
from .members import Member
from .patience import patiently, real_error
from .ranges import GZIP_MAGIC, Gzip
from .told import Told, of_info
from .zip_members import ZipMembers

_KEPT = 16
"""Archives whose tables of contents are kept in memory."""

Stamp: TypeAlias = "tuple[int, str | Told]"
_opened: OrderedDict[tuple[Any, ...], Archive] = OrderedDict()
_lock = Lock()


def open_archive(file: File, kind: str) -> Archive:
    """Open an archive, or give the one that is open already if it has not changed.

    Parameters
    ----------
    file : File
        The archive, on any filesystem, within another archive too.
    kind : str
        ``"zip"``, ``"tar"``, ``"tar.gz"``, or ``"tar?"`` for a tar of which the first bytes tell whether it is packed.

    Raises
    ------
    NotFoundError
        It is not there.
    SourceError
        It can't be read, is truncated or damaged, or is refused; see `imagedata_xr.stores.members`.
    """
    return _open(file, kind, _stamp(file))


def _open(file: File, kind: str, stamp: Stamp) -> Archive:
    key = (file.fs, file.path, kind, stamp)
    with _lock:
        if key in _opened:
            _opened.move_to_end(key)
            return _opened[key]
    # what is read of a remote one has to be in this state
    archive = Archive(file._replace(state=stamp[1] if isinstance(stamp[1], Told) else None), kind, stamp)
    with _lock:
        _opened[key] = archive
        while len(_opened) > _KEPT:
            _opened.popitem(last=False)
    return archive


def _stamp(file: File) -> Stamp:
    """Length of a file, and what changes when its content does, as far as its store tells."""
    try:
        if is_local(file):
            status = os.stat(file.path)
            return status.st_size, f"{status.st_mtime_ns} {status.st_ino}"
        told, kind = (file.state, "file") if isinstance(file.state, Told) else _told(file)
    except Exception as error:  # stores have their own families of errors
        what = real_error(error)
        if isinstance(what, FileNotFoundError):
            raise NotFoundError(f"{file_name(file)} does not exist") from error
        raise SourceError(f"{file_name(file)} can't be read: {reason(what)}") from error
    if kind == "directory":
        raise SourceError(f"{file_name(file)} is a folder, not an archive")
    if told is None or told.size is None:
        raise SourceError(
            f"{file_name(file)}: its server does not tell its length, so that no part of it can be read: download it, "
            "and open the copy"
        )
    return told.size, told


def _told(file: File) -> tuple[Told | None, str]:
    """State of a remote file, and its type."""
    if tells(file.fs):
        (told,) = states_far(file.fs, [file.path])
        if isinstance(told, Exception):
            raise told
        return told, "file"
    info = patiently(lambda: file.fs.info(file.path))
    return of_info(info), str(info.get("type"))


def _again(fs: AbstractFileSystem, path: str, kind: str, stamp: Stamp) -> Archive:
    """Open an archive in another process: it has to be the very one."""
    return _open(File(fs, path), kind, stamp)


class Archive(AbstractFileSystem):  # type: ignore[misc]
    """The files in a zip or tar archive, by their names in it; made by `open_archive`.

    Where each lies is read once. Content that is stored as it is, as in tar, is read by ranges of the archive. That of
    tar.gz is unpacked from places to resume at, 4 MB apart or more (at most 256 of 45 kB), and zip's packed members
    each as a whole, with their checksum tested, or if large from such places too. What has been unpacked of small
    members is kept, up to 64 MB.
    """

    cachable = False
    protocol = "archive"
    root_marker = ""
    names_are_safe = True

    def __init__(self, file: File, kind: str, stamp: Stamp) -> None:
        super().__init__()
        self.file, self.kind, self.stamp = file, kind, stamp
        self.gzip: Gzip | None = None
        self._zip: ZipMembers | None = None
        self.check()
        size = stamp[0]
        if kind != "zip":  # servers and browsers unpack and pack what they pass on, whatever its name says
            head = read_available([file], [0], [2])[0]
            kind = "tar.gz" if head == GZIP_MAGIC else "tar"
        if kind == "zip":
            self.members = zip_contents(file, size)
            self._zip = ZipMembers(file)
        elif kind == "tar":
            self.members = tar_contents(file, size)
        else:
            self.gzip = Gzip(file)
            self.members = packed_tar_contents(self.gzip, size)
        self._folders = _folders(self.members)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (*self.file[:2], self.kind, self.stamp)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Archive) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<archive {file_name(self.file)}, {len(self.members)} files>"

    @property
    def _key(self) -> tuple[Any, ...]:
        return (*self.file, self.kind, self.stamp)

    def check(self) -> None:
        """Raise `SourceError` where a local archive is no longer the one whose contents are known."""
        if is_local(self.file) and _stamp(self.file) != self.stamp:
            raise SourceError(f"{file_name(self.file)} has changed since it was opened: open it again")

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return [cls._strip_protocol(p) for p in path] if isinstance(path, list) else str(path).strip("/")

    def unstrip_protocol(self, name: str) -> str:
        """Name a member as a user may type it, without credentials."""
        return f"{file_name(self.file)}?{name}"

    # --- what is there ---------------------------------------------------------------------------------------------
    def _member(self, path: str) -> Member:
        try:
            return self.members[self._strip_protocol(path)]
        except KeyError:
            raise FileNotFoundError(2, "there is no such file in the archive", self.unstrip_protocol(path)) from None

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Describe a file or folder: name, type and length."""
        path = self._strip_protocol(path)
        if path in self._folders:
            return {"name": path, "type": "directory", "size": 0}
        return {"name": path, "type": "file", "size": self._member(path).size}

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List a folder."""
        path = self._strip_protocol(path)
        names = self._folders[path] if path in self._folders else [self._member(path).name]
        return [self.info(name) for name in names] if detail else list(names)

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """Lengths of files."""
        return [self._member(path).size for path in paths]

    # --- reading ---------------------------------------------------------------------------------------------------
    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: Any = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[bytes | Exception]:
        """Read ranges of files, of a store that allows it side by side; fewer bytes where a file ends."""
        members = [self._member(path) for path in paths]
        first = [starts] * len(paths) if isinstance(starts, int) else list(starts)
        last = [ends] * len(paths) if isinstance(ends, int) else list(ends)
        begin = [min(a, m.size) for a, m in zip(first, members, strict=True)]
        count = [max(0, min(b, m.size) - a) for a, b, m in zip(begin, last, members, strict=True)]
        try:
            self.check()
            got = self._read(members, begin, count)
        except OSError as error:
            got = [error] * len(members)
        if on_error != "return" and (failed := next((e for e in got if isinstance(e, Exception)), None)) is not None:
            raise failed
        return list(got)

    def _read(self, members: list[Member], begin: list[int], count: list[int]) -> list[bytes | OSError]:
        if self._zip is not None:
            return self._zip.read(members, begin, count)
        places = [m.offset + a for m, a in zip(members, begin, strict=True)]
        if self.gzip is None:
            return read_available([self.file] * len(members), places, count)
        return list(self.gzip.available(places, count))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Read a file, or a range of it. Read whole, its checksum is tested where the archive has one."""
        size = self._member(path).size
        begin, stop = (0 if start is None else start), (size if end is None else end)
        begin, stop = (at + size if at < 0 else at for at in (begin, stop))
        (data,) = self.cat_ranges([path], [begin], [stop], on_error="raise")
        assert isinstance(data, bytes)
        return data

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode != "rb":
            raise ValueError("what is in an archive can only be read")
        return _Stream(self, self._strip_protocol(path), size=self._member(path).size)


class _Stream(AbstractBufferedFile):  # type: ignore[misc]
    """A member as a stream, read by ranges."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = self.fs.cat_file(self.path, start, end)
        return data


def _folders(members: dict[str, Member]) -> dict[str, list[str]]:
    """What each folder holds, by its name."""
    found: dict[str, dict[str, None]] = {"": {}}
    for name in members:
        entry = name
        while True:
            folder = entry.rpartition("/")[0]
            known = folder in found
            found.setdefault(folder, {})[entry] = None
            if known or not folder:
                break
            entry = folder
    return {folder: sorted(names) for folder, names in found.items()}

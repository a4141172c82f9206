"""Files on any filesystem: their names as messages may show them, and reading byte ranges of many at once."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from ..errors import ImagedataError, SourceError
from ..options import options
from .http import http_ranges, is_http, known_size
from .patience import may_pass, patiently, pause

_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

BATCH = 64
"""Ranges asked for at once from a remote store."""


class File(NamedTuple):
    """A file: the filesystem that holds it and the path inside that filesystem.

    Once it was opened, also its state then: its length and its time of change (ns), of local files. What is read of it
    later has to be in that state.
    """

    fs: AbstractFileSystem
    path: str
    state: tuple[int, int] | None = None

    def __eq__(self, other: object) -> bool:
        """Whether it is the same file, whatever its state."""
        return isinstance(other, File) and self.path == other.path and self.fs == other.fs

    def __hash__(self) -> int:
        return hash(self[:2])

    def __repr__(self) -> str:
        return f"<file {file_name(self)}>"  # the options of a store may hold passwords


@functools.cache
def local() -> LocalFileSystem:
    """Return the one filesystem object that all local files share."""
    return LocalFileSystem()


def is_local(file: File) -> bool:
    """Tell whether a file can be opened by the operating system under its path."""
    return isinstance(file.fs, LocalFileSystem)


def stamped(file: File) -> File:
    """Give a file with the state that it has now; as it is where that is known, and where it is not local."""
    if file.state is not None or not is_local(file):
        return file
    try:
        return file._replace(state=state_now(os.stat(file.path)))
    except OSError:  # said by the one who reads it
        return file


def state_now(status: os.stat_result) -> tuple[int, int]:
    """State of a file: its length, and its time of change in ns."""
    return status.st_size, status.st_mtime_ns


def token_of(files: Iterable[File]) -> str:
    """Digest of the states of files, for names of tasks; empty where none is known."""
    states = [file.state for file in files]
    if not any(states):
        return ""
    return hashlib.blake2b(repr(states).encode(), digest_size=8).hexdigest()


def check_state(file: File, status: os.stat_result | None = None) -> None:
    """Raise `SourceError` where a file is no longer in the state in which it was opened.

    Parameters
    ----------
    file
    status
        Of the open file, where it is.
    """
    if file.state is None:
        return
    try:
        now = state_now(os.stat(file.path) if status is None else status)
    except OSError as error:
        raise SourceError(f"{file_name(file)} can't be read: {reason(error)}") from error
    if now != file.state:
        raise SourceError(f"{file_name(file)} has changed since it was opened: open the source again")


def file_name(file: File) -> str:
    """Name one file, as errors and warnings may show it: without credentials."""
    if is_local(file):
        return file.path
    name = str(file.fs.unstrip_protocol(file.path))
    return name if getattr(file.fs, "names_are_safe", False) else strip_credentials(name)


def strip_credentials(url: str) -> str:
    """Remove user, password, fragment and ``key=value`` queries from each part of a URL chain."""
    parts = []
    for part in url.split("::"):
        plain = re.sub(r"(?<=://)[^/?#]*@", "", part)
        if "://" in plain:
            plain = plain.partition("#")[0]
        address, mark, query = plain.partition("?")
        secret = "=" in query and "://" in plain
        parts.append(address if secret else address + mark + query)
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
        if isinstance(got, SourceError):
            raise got
        if isinstance(got, Exception):
            raise SourceError(f"{file_name(file)} can't be read: {reason(got)}") from got
        if len(got) < size:
            raise _too_short(file, len(got), size, start)
    return cast("list[bytes]", data)


def read_into(files: Sequence[File], offsets: Sequence[int], buffers: Sequence[memoryview]) -> None:
    """Fill memory that is there already, each piece from a byte range of a file: local ones without a copy.

    Parameters
    ----------
    files
        Files of any filesystems; one whose ranges follow each other is opened once.
    offsets
        Where each range begins.
    buffers
        Writable memory of bytes, as long as each range.

    Raises
    ------
    SourceError
        A file can't be read or ends before the end of its range.
    """
    far = [k for k, file in enumerate(files) if not is_local(file)]
    if far:
        data = read_ranges([files[k] for k in far], [offsets[k] for k in far], [len(buffers[k]) for k in far])
        for k, got in zip(far, data, strict=True):
            buffers[k][:] = got
    path, fd = "", -1
    try:
        for file, offset, buffer in zip(files, offsets, buffers, strict=True):
            if not is_local(file):
                continue
            try:
                if file.path != path:
                    if fd >= 0:
                        os.close(fd)
                        fd = -1
                    path, fd = file.path, os.open(file.path, _READ_ONLY)
                    if file.state is not None:
                        check_state(file, os.fstat(fd))
                there = _fill(path, fd, offset, buffer)
            except SourceError:
                raise
            except OSError as error:
                raise SourceError(f"{file_name(file)} can't be read: {reason(error)}") from error
            if there < len(buffer):
                raise _too_short(file, there, len(buffer), offset)
    finally:
        if fd >= 0:
            os.close(fd)


def read_available(files: Sequence[File], offsets: Sequence[int], lengths: Sequence[int]) -> list[bytes | OSError]:
    """Read ranges, giving what there is: fewer bytes at the end of a file, the error of a file that can't be read."""
    data: list[bytes | OSError] = [b""] * len(files)
    remote: dict[AbstractFileSystem, list[int]] = {}
    for k, (file, offset, length) in enumerate(zip(files, offsets, lengths, strict=True)):
        if is_local(file):
            data[k] = _read_local(file, offset, length)
        else:
            remote.setdefault(file.fs, []).append(k)
    for k in {id(files[k].state): k for wanted in remote.values() for k in wanted if files[k].state}.values():
        check_state(files[k])  # content that is unpacked from a local file
    for fs, wanted in remote.items():
        for first in range(0, len(wanted), BATCH):
            batch = wanted[first : first + BATCH]
            starts = [offsets[k] for k in batch]
            stops = [offsets[k] + lengths[k] for k in batch]
            got = _read_far(fs, [files[k].path for k in batch], starts, stops)
            for k, one in zip(batch, got, strict=True):
                data[k] = _checked(one)
    return data


def _read_far(fs: AbstractFileSystem, paths: list[str], starts: list[int], stops: list[int]) -> list[Any]:
    """Read ranges of a remote store; those that fail for a reason that may pass are asked for again."""
    got = _ask(fs, paths, starts, stops)
    for attempt in range(options().retries):
        again = [k for k, one in enumerate(got) if not isinstance(one, bytes) and may_pass(one)]
        if not again:
            break
        pause(attempt)
        more = _ask(fs, [paths[k] for k in again], [starts[k] for k in again], [stops[k] for k in again])
        for k, one in zip(again, more, strict=True):
            got[k] = one
    return got


def _ask(fs: AbstractFileSystem, paths: list[str], starts: list[int], stops: list[int]) -> list[Any]:
    if is_http(fs):
        return list(http_ranges(fs, paths, starts, stops))
    try:
        return list(fs.cat_ranges(paths, starts, stops, on_error="return"))
    except Exception as error:  # noqa: BLE001  # stores have their own families; it is told with the name of the file
        return [error] * len(paths)


def sizes_of(files: Sequence[File]) -> list[int | OSError | None]:
    """Lengths of files of one store; None where it does not tell, the error of what fails."""
    if not files:
        return []
    fs = files[0].fs
    known = {f.path: size for f in files if is_http(fs) and (size := known_size(fs, f.path)) is not None}
    rest = [f.path for f in files if f.path not in known]
    try:
        known |= zip(rest, patiently(lambda: fs.sizes(rest)), strict=True) if rest else {}
    except Exception:  # noqa: BLE001  # of one of many: each tells its own
        known |= {path: _size(fs, path) for path in rest}
    return [known[f.path] for f in files]


def _size(fs: AbstractFileSystem, path: str) -> Any:
    try:
        return patiently(lambda: fs.size(path))
    except Exception as error:  # noqa: BLE001
        return _checked(error)


def reason(error: Exception) -> str:
    """Say in a few words why the system refused, without the path (it stands elsewhere in the message)."""
    if isinstance(error, ImagedataError):
        return str(error)
    status = getattr(error, "status", None)
    if isinstance(status, int):  # of a web server
        return f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
    strerror = getattr(error, "strerror", None)
    return str(strerror) if strerror else _WORDS.get(type(error).__name__, type(error).__name__)


_WORDS = {
    "ServerDisconnectedError": "the server closed the connection",
    "ClientPayloadError": "the connection broke",
    "SocketTimeoutError": "the server did not answer in time",
    "ServerTimeoutError": "the server did not answer in time",
    "TimeoutError": "the server did not answer in time",
    "FSTimeoutError": "the server did not answer in time",
    "NoCredentialsError": "there are no credentials: storage_options take them",
}
"""What errors of libraries mean that have no text of their own, or one with the address in it."""


def _too_short(file: File, there: int, size: int, start: int) -> SourceError:
    return SourceError(f"{file_name(file)} is too short: {there} of {size} bytes are there from byte {start} on")


def _checked(got: object) -> bytes | OSError:
    if isinstance(got, bytes | bytearray | memoryview):
        return bytes(got)
    if isinstance(got, OSError):
        return got
    # aiohttp, botocore and others have their own families; one kind is enough for those who call
    error = OSError(errno.EIO, reason(got) if isinstance(got, Exception) else type(got).__name__)
    error.__cause__ = got if isinstance(got, BaseException) else None
    return error


_MUCH = 1 << 20


def _read_local(file: File, offset: int, length: int) -> bytes | OSError:
    try:
        with open(file.path, "rb", buffering=0) as f:
            if file.state is not None:
                check_state(file, os.fstat(f.fileno()))
            if length > _MUCH:  # a damaged header may announce any length, and reading asks the system for all of it
                length = min(length, max(os.fstat(f.fileno()).st_size - offset, 0))
            f.seek(offset)
            parts = []
            while length > 0 and (part := f.read(length)):
                parts.append(part)
                length -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
    except OSError as error:
        return error


def _fill(path: str, fd: int, offset: int, buffer: memoryview) -> int:
    """Read from a byte of an open file on until a buffer is full or the file ends; the bytes that were there."""
    done = 0
    while done < len(buffer):
        got = _read_at(fd, buffer[done:], offset + done)
        if not got:
            break
        done += got
    return done


def _read_at(fd: int, buffer: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(fd, [buffer], offset)
    with open(fd, "rb", buffering=0, closefd=False) as stream:  # Windows
        stream.seek(offset)
        return stream.readinto(buffer) or 0

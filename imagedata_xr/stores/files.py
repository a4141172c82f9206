"""Files on any filesystem: their names as messages may show them, and reading byte ranges of many at once."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from typing import IO, Any, NamedTuple, Protocol, cast, runtime_checkable

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from ..errors import SourceError
from .far import BATCH, ChangedError, failure, read_far, reason, states_far, tells, told_now
from .patience import patiently
from .told import Told, last_told

__all__ = [
    "BATCH",
    "File",
    "check_state",
    "file_name",
    "is_local",
    "local",
    "read_available",
    "read_into",
    "read_range",
    "read_ranges",
    "reason",
    "sizes_of",
    "stamped",
    "state_now",
    "strip_credentials",
    "token_of",
    "with_states",
]

_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class File(NamedTuple):
    """A file: the filesystem that holds it and the path inside that filesystem.

    Once it was opened, also its state then: of local files the length and the time of change (ns), of others what the
    store tells. What is read of it later has to be in that state.
    """

    fs: AbstractFileSystem
    path: str
    state: tuple[int, int] | Told | None = None

    def __eq__(self, other: object) -> bool:
        """Whether it is the same file, whatever its state."""
        return isinstance(other, File) and self.path == other.path and self.fs == other.fs

    def __hash__(self) -> int:
        return hash(self[:2])

    def __repr__(self) -> str:
        return f"<file {file_name(self)}>"  # the options of a store may hold passwords


@runtime_checkable
class Framed(Protocol):
    """What a filesystem offers beside, whose DICOM files come in parts: headers, and frames by their number."""

    def header_size(self, path: str) -> int:
        """How many bytes of a file come before its frames: those after them are slow."""
        ...

    def frame(self, path: str, number: int) -> bytes:
        """Compressed bytes of a frame, counted from 1."""
        ...

    def open_header(self, path: str) -> IO[bytes]:
        """Open a file that ends before its pixel data; `open` gives the whole one."""
        ...


@functools.cache
def local() -> LocalFileSystem:
    """Return the one filesystem object that all local files share."""
    return LocalFileSystem()


def is_local(file: File) -> bool:
    """Tell whether a file can be opened by the operating system under its path."""
    return isinstance(file.fs, LocalFileSystem)


def stamped(file: File) -> File:
    """Give a file with the state that it has now; as it is where that is known, and where nothing tells it."""
    if file.state is not None:
        return file
    if not is_local(file):
        state = states_far(file.fs, [file.path], fresh=tells(file.fs))[0]
        return file._replace(state=state) if isinstance(state, Told) else file
    try:
        return file._replace(state=state_now(os.stat(file.path)))
    except OSError:  # said by the one who reads it
        return file


def with_states(files: Sequence[File]) -> list[File]:
    """Give files of one remote store, of which something was read just now, with the states that they had."""
    told = told_now(files[0].fs, [file.path for file in files]) if files else []
    return [f._replace(state=t if isinstance(t, Told) else None) for f, t in zip(files, told, strict=True)]


def state_now(status: os.stat_result) -> tuple[int, int]:
    """State of a file: its length, and its time of change in ns."""
    return status.st_size, status.st_mtime_ns


def token_of(files: Iterable[File]) -> str:
    """Digest of the states of files, for names of tasks; empty where none is known."""
    states = [file.state.text if isinstance(file.state, Told) else file.state for file in files]
    if not any(states):
        return ""
    return hashlib.blake2b(repr(states).encode(), digest_size=8).hexdigest()


def check_state(file: File, status: os.stat_result | None = None) -> None:
    """Raise `SourceError` where a file is no longer in the state in which it was opened.

    Parameters
    ----------
    file
        A remote one costs a request; reading ranges checks it without.
    status
        Of the open file, where it is local.
    """
    if file.state is None:
        return
    if isinstance(file.state, Told):
        beneath = file.fs.packed(file.path) if hasattr(file.fs, "packed") else file
        (now,) = states_far(beneath.fs, [beneath.path])
        if isinstance(now, Exception):
            raise SourceError(f"{file_name(file)} can't be read: {reason(now)}") from now
        if now is not None and file.state.differs(now):
            raise _changed(file)
        return
    try:
        same = state_now(os.stat(file.path) if status is None else status) == file.state
    except OSError as error:
        raise SourceError(f"{file_name(file)} can't be read: {reason(error)}") from error
    if not same:
        raise _changed(file)


def _changed(file: File) -> SourceError:
    return SourceError(f"{file_name(file)} has changed since it was opened: open the source again")


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
    for k in {(files[k].path, files[k].state): k for wanted in remote.values() for k in wanted}.values():
        if hasattr(files[k].fs, "packed"):
            check_state(files[k])  # of what is unpacked, the packed file
    for fs, wanted in remote.items():
        for first in range(0, len(wanted), BATCH):
            batch = wanted[first : first + BATCH]
            starts = [offsets[k] for k in batch]
            stops = [offsets[k] + lengths[k] for k in batch]
            got = read_far(fs, [files[k].path for k in batch], starts, stops, [files[k].state for k in batch])
            for k, one in zip(batch, got, strict=True):
                data[k] = _checked(files[k], one)
    return data


def sizes_of(files: Sequence[File]) -> list[int | OSError | None]:
    """Lengths of files of one store; None where it does not tell, the error of what fails."""
    if not files:
        return []
    fs, known = files[0].fs, dict[str, Any]()
    for file in files:
        told = file.state if isinstance(file.state, Told) else last_told(fs, file.path) if tells(fs) else None
        if told is not None and told.size is not None:
            known[file.path] = told.size
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
        return failure(error)


def _too_short(file: File, there: int, size: int, start: int) -> SourceError:
    return SourceError(f"{file_name(file)} is too short: {there} of {size} bytes are there from byte {start} on")


def _checked(file: File, got: object) -> bytes | OSError:
    if isinstance(got, bytes | bytearray | memoryview):
        return bytes(got)
    return _changed(file) if isinstance(got, ChangedError) else failure(got)


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

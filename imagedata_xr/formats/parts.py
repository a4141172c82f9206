"""Where the voxels of a header with files of its own lie: one file or several, packed, as text, after other bytes."""

from __future__ import annotations

import bz2
import os
import posixpath
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import NotFoundError, SourceError
from ..stores.files import check_state, stamped
from ..stores.ranges import ANY, Gzip, Plain, Ranges
from ..stores.url import File, file_name, reason


def neighbour(file: File, name: str) -> File:
    """File that a header names: relative to its own folder, on the same filesystem."""
    path = name.replace("\\", "/") if "\\" in name and "/" not in name else name
    found = File(file.fs, os.path.normpath(posixpath.join(posixpath.dirname(file.path.replace(os.sep, "/")), path)))
    if not file.fs.exists(found.path):
        raise NotFoundError(f"{file_name(file)} names the file {name!r} with its voxels, which is missing")
    return stamped(found)


def size_of(file: File) -> int | None:
    """Bytes of a file, where its filesystem knows."""
    try:
        size = file.fs.info(file.path).get("size")
    except OSError as error:
        raise SourceError(f"{file_name(file)} can't be read: {reason(error)}") from error
    return None if size is None else int(size)


def plain_offset(file: File, offset: int, need: int) -> int:
    """Where `need` bytes begin: at `offset`, or at the end of the file where that is -1.

    Raises
    ------
    SourceError
        If the file is too short.
    """
    size = size_of(file)
    if offset < 0:
        if size is None:
            raise SourceError(f"the length of {file_name(file)} is not known, and its voxels are at its end")
        offset = size - need
    if offset < 0 or (size is not None and size < offset + need):
        raise SourceError(
            f"{file_name(file)} is truncated: it has {size} bytes, "
            f"and {need} bytes of voxels after {max(offset, 0)} others are said"
        )
    return offset


_UNPACKED = {"zlib": 1032, "bzip2": 1 << 21, "hex": 1 / 2}
"""Bytes that one packed byte may become at most: https://zlib.net/zlib_tech.html; a block of bzip2 may have 40."""


def check_packed(file: File, begin: int, kind: str, need: int, dtype: np.dtype[Any]) -> None:
    """Raise `SourceError` where packed voxels can't be as many as a header says.

    So that what damaged headers say of lengths is not believed, and no memory is asked for.

    Parameters
    ----------
    file : File
    begin : int
        Bytes before the voxels.
    kind : {"zlib", "bzip2", "hex", "text"}
    need : int
        Bytes of the voxels.
    dtype : numpy.dtype
    """
    size = size_of(file)
    if size is None:
        return
    count = max(size - begin, 0)
    # a digit and a blank are a number at least
    most = (count + 1) // 2 * dtype.itemsize if kind == "text" else int(count * _UNPACKED[kind])
    if most < need:
        raise SourceError(
            f"{file_name(file)} is truncated, or damaged: {need} bytes of voxels are not in {count} packed ones"
        )


_PATTERN = re.compile(r"([^%]|%%)*%[-+ 0]*\d{0,3}(\.\d{1,3})?[diu]([^%]|%%)*")
_MOST = 1_000_000  # files of an image


def pattern_names(text: str) -> list[str] | None:
    """File names of ``pattern first last [step]``, such as ``s%03d.raw 1 20 1``; None for a name without pattern."""
    words = text.split()
    if "%" not in text or len(words) < 3:
        return None
    try:
        first, last = int(words[1]), int(words[2])
        step = int(words[3]) if len(words) > 3 else 1
        numbers = range(first, last + (1 if step > 0 else -1), step)
        if not _PATTERN.fullmatch(words[0]) or not 0 < len(numbers) <= _MOST:
            raise ValueError("no pattern of C with one whole number, or too many files")
        return [words[0] % k for k in numbers]
    except (ValueError, TypeError, OverflowError) as error:
        raise SourceError(f"the pattern of file names {text!r} is damaged") from error


@dataclass
class Joined:
    """Files of equal content length, one after the other.

    Attributes
    ----------
    parts : list of (Ranges, int)
        Each with the byte from which it is read.
    length : int
        Bytes of each.
    """

    parts: list[tuple[Ranges, int]]
    length: int

    def read(self, offsets: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Read ranges, which may reach over several parts."""
        return [self._one(a, n) for a, n in zip(offsets, lengths, strict=True)]

    def _one(self, start: int, length: int) -> bytes:
        out, stop = [], start + length
        while start < stop:
            k, inside = divmod(start, self.length)
            source, offset = self.parts[k]
            count = min(stop - start, self.length - inside)
            out.append(bytes(source.read([offset + inside], [count])[0]))
            start += count
        return b"".join(out)


@dataclass
class Unpacked:
    """Bytes that are only had by reading all of a file: numbers as ``"text"``, bytes as ``"hex"``, ``"bzip2"``."""

    file: File
    begin: int
    kind: str
    dtype: np.dtype[Any]
    need: int
    _bytes: bytes | None = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def read(self, offsets: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Read ranges of what is unpacked."""
        with self._lock:
            if self._bytes is None:
                self._bytes = self._load()
            data = self._bytes
        return [data[a : a + n] for a, n in zip(offsets, lengths, strict=True)]

    def _load(self) -> bytes:
        name = file_name(self.file)
        check_state(self.file)
        try:
            packed = self.file.fs.cat_file(self.file.path)[self.begin :]
            data = self._unpacked(packed)
        except (OSError, ValueError, OverflowError) as error:
            raise SourceError(f"{name} is damaged, its voxels can't be read: {error}") from error
        if len(data) < self.need:
            raise SourceError(f"{name} is truncated: it has {len(data)} of {self.need} bytes of voxels")
        return data

    def _unpacked(self, packed: bytes) -> bytes:
        if self.kind == "bzip2":
            return bz2.decompress(packed)
        return bytes.fromhex(packed.decode("ascii")) if self.kind == "hex" else _numbers(packed, self.dtype)


def _numbers(text: bytes, dtype: np.dtype[Any]) -> bytes:
    words = text.decode("ascii").replace(",", " ").split()
    exact = [int(w) if dtype.kind in "iu" else float(w) for w in words]
    return np.array(exact, dtype=dtype).tobytes()


def source_of(
    file: File, names: Sequence[str] | None, begin: int | Sequence[int], kind: str, need: int, dtype: np.dtype[Any]
) -> tuple[Ranges, int]:
    """Reader of the voxels, and from which of its bytes on.

    Parameters
    ----------
    file : File
        The header.
    names : sequence of str, optional
        Files with the voxels, each with an equal part; None where they are in the header's own file.
    begin : int or sequence of int
        Bytes before them, in every file or in each; -1 where they are at its end.
    kind : {"raw", "zlib", "text", "hex", "bzip2"}
    need : int
        Bytes of all voxels.
    dtype : numpy.dtype

    Raises
    ------
    SourceError
        If a file is missing or too short.
    """
    files = [file] if names is None else [neighbour(file, n) for n in names]
    if not files:
        raise SourceError(f"{file_name(file)} is damaged: it names no file with its voxels")
    if need % len(files):
        raise SourceError(f"{file_name(file)} names {len(files)} files for {need} bytes of voxels: no equal parts")
    each = need // len(files)
    before = [begin] * len(files) if isinstance(begin, int) else begin
    parts = [_part(f, n, kind, each, dtype) for f, n in zip(files, before, strict=True)]
    return parts[0] if len(parts) == 1 else (Joined(parts, each), 0)


def _part(file: File, begin: int, kind: str, need: int, dtype: np.dtype[Any]) -> tuple[Ranges, int]:
    if kind == "raw":
        return Plain(file), plain_offset(file, begin, need)
    if begin < 0:
        raise SourceError(f"{file_name(file)}: only voxels that are not packed can be said to lie at the end of a file")
    check_packed(file, begin, kind, need, dtype)
    if kind == "zlib":
        return Gzip(file, need, begin, ANY), 0
    return Unpacked(file, begin, kind, dtype, need), 0

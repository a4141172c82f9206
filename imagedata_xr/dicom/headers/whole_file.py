"""Whole files by pydicom, whatever their bytes are: what it throws at damaged ones becomes an error of ours."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import pydicom

from ...errors import SourceError
from ...stores.files import File, Framed, check_state, file_name
from ..scanning.pydicom_charsets import mend_pydicom

AT_ONCE, HEADER_AT_ONCE = 2**25, 2**20
"""Bytes of a file up to which it is read at once: with its pixels, and for its header alone."""


@cache
def trouble() -> tuple[type[Exception], ...]:
    """List what pydicom and decoders have been seen to raise on damaged bytes."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        BytesLengthException, InvalidDicomError, ArithmeticError, AttributeError, EOFError, LookupError, MemoryError,
        NotImplementedError, OSError, RuntimeError, TypeError, ValueError, struct.error, zlib.error,
    )  # fmt: skip


def read_dataset(file: File, pixels: bool) -> pydicom.Dataset:
    """Read a file with pydicom.

    Parameters
    ----------
    file : File
    pixels : bool
        Whether its pixel data are wanted too.

    Raises
    ------
    SourceError
        It can't be read.
    """
    mend_pydicom()
    try:
        check_state(file)
        with _opened(file, pixels) as stream, _bounded(stream, pixels) as bounded:
            return pydicom.dcmread(bounded, stop_before_pixels=not pixels, force=True)
    except SourceError:
        raise
    except trouble() as error:
        raise SourceError(f"{file_name(file)} can't be read: {type(error).__name__}: {error}") from error


def read_whole(file: File) -> bytes:
    """Content of a file.

    Raises
    ------
    SourceError
        It can't be read.
    """
    try:
        check_state(file)
        with _opened(file, pixels=True) as stream:
            return bytes(stream.read())
    except SourceError:
        raise
    except trouble() as error:
        raise SourceError(f"{file_name(file)} can't be read: {type(error).__name__}: {error}") from error


def _opened(file: File, pixels: bool) -> Any:
    return (
        file.fs.open_header(file.path) if isinstance(file.fs, Framed) and not pixels else file.fs.open(file.path, "rb")
    )


def _bounded(stream: io.BufferedIOBase, pixels: bool) -> _Bounded | _InMemory:
    """Stream for pydicom, which asks for some hundred pieces: of what is read whole, or small, from memory."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return _InMemory(stream.read()) if size <= (AT_ONCE if pixels else HEADER_AT_ONCE) else _Bounded(stream, size)


class _InMemory(io.BytesIO):
    """The content of a file; it is forgotten with the stream, which data sets keep."""

    name = "file"


class _Bounded:
    """A stream that is never asked for more than it has: room is made for all bytes that a damaged length asks for."""

    name = "file"

    def __init__(self, stream: io.BufferedIOBase, size: int) -> None:
        self.stream, self.size = stream, size

    def __enter__(self) -> _Bounded:
        """Give itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave closing to who opened it."""

    def read(self, n: int = -1) -> bytes:
        """Read up to `n` bytes, or all that is left."""
        left = max(0, self.size - self.stream.tell())
        return self.stream.read(left if n < 0 else min(n, left))

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """Give the position."""
        return self.stream.tell()

    def close(self) -> None:
        """Leave closing to who opened it."""

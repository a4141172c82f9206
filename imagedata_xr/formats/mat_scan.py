"""Which variables a MAT file of version 4, 5 or 7 holds, told without reading them.

MAT-File Format, MathWorks: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

from ..errors import SourceError
from ..stores.ranges import Plain
from ..stores.url import File, file_name
from .parts import size_of

CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
"""Class of an array -> numpy, of those that are numbers."""

_OTHERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function", 17: "object"}
_V4 = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
_MATRIX, _PACKED = 14, 15
_COMPLEX, _LOGICAL = 0x800, 0x200
_HEAD = 1 << 12
_UNPACKED = 1032  # bytes that a byte packed by zlib may become


class Variable(NamedTuple):
    """A variable: its name, shape, and type; the type is None for what is no array of numbers (`kind` says what).

    `place` is where its element begins, after the tag, how many bytes it has, and whether they are packed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    kind: str
    place: tuple[int, int, bool] = (0, 0, False)

    @property
    def text(self) -> str:
        """A line for lists."""
        return f"{self.name}: {' x '.join(map(str, self.shape))} {self.kind}"


def version_of(head: bytes) -> str:
    """Version of a MAT file by its first 132 bytes: "4", "5" (also for 7), "7.3", or empty for another file."""
    if head[:4] == b"\x89HDF":
        return "7.3"
    if len(head) >= 128 and head[126:128] in (b"IM", b"MI") and 0 not in head[:4]:
        number = int.from_bytes(head[124:126], "little" if head[126:128] == b"IM" else "big")
        return {0x0100: "5", 0x0200: "7.3"}.get(number, "")
    if len(head) >= 20 and _v4(head[:20]) is not None:
        return "4"
    return ""


def variables(file: File, version: str) -> list[Variable]:
    """Variables of a file.

    Raises
    ------
    SourceError
        If it is damaged.
    """
    name = file_name(file)
    try:
        return _scan4(file) if version == "4" else _scan5(file)
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise SourceError(f"{name} is damaged: the table of its variables can't be read: {error}") from error


def _scan4(file: File) -> list[Variable]:
    found: list[Variable] = []
    at, source = 0, Plain(file)
    while head := _some(source, at, 20 + 256):
        parsed = _v4(head[:20])
        if parsed is None:
            raise ValueError(f"no header of a matrix at byte {at}")
        mopt, rows, cols, imaginary, length = parsed
        dtype = np.dtype(_V4[mopt // 10 % 10])
        name = head[20 : 20 + length].split(b"\0")[0].decode("latin-1")
        kind = {0: str(dtype), 1: "char", 2: "sparse"}[mopt % 10]
        wide = np.dtype(f"c{max(8, 2 * dtype.itemsize)}") if imaginary else dtype
        found.append(Variable(name, (rows, cols), wide if mopt % 10 == 0 else None, kind))
        at += 20 + length + rows * cols * dtype.itemsize * (2 if imaginary else 1)
        if (size := size_of(file)) is not None and at > size:
            raise ValueError(f"the variable {name} ends at byte {at}, and the file at {size}")
    return found


def _v4(head: bytes) -> tuple[int, int, int, int, int] | None:
    """The five numbers of the header of a matrix of version 4."""
    for order in "<>":
        mopt, rows, cols, imaginary, length = struct.unpack(f"{order}5i", head[:20])
        kind, places = mopt // 1000 == (0 if order == "<" else 1), (mopt // 100 % 10, mopt // 10 % 10, mopt % 10)
        known = kind and places[0] == 0 and places[1] in _V4 and places[2] in (0, 1, 2) and imaginary in (0, 1)
        if known and rows >= 0 and cols >= 0 and 1 < length <= 256:
            return mopt, rows, cols, imaginary, length
    return None


def _scan5(file: File) -> list[Variable]:
    source = Plain(file)
    order = "<" if source.head(128)[126:128] == b"IM" else ">"
    found: list[Variable] = []
    at = 128
    while len(tag := _some(source, at, 8)) == 8:
        kind, count = struct.unpack(f"{order}2I", tag)
        if kind not in (_MATRIX, _PACKED):
            raise ValueError(f"an element of type {kind} at byte {at}")
        head = _some(source, at + 8, min(count, _HEAD))
        if kind == _PACKED:
            head = zlib.decompressobj().decompress(head, _HEAD)[8:]
        variable = _matrix(head, order)
        _check_room(variable, count if kind == _MATRIX else count * _UNPACKED)
        if variable.name:  # what has no name belongs to objects
            found.append(variable._replace(place=(at + 8, count, kind == _PACKED)))
        at += 8 + count
    return found


def _check_room(variable: Variable, count: int) -> None:
    """Raise where so many bytes can't have an array of a shape; a number has one of them at least."""
    if variable.dtype is not None and math.prod(variable.shape) > count:
        raise ValueError(f"the variable {variable.text} does not fit its {count} bytes")


def _matrix(head: bytes, order: str) -> Variable:
    """Variable of the first elements of a matrix: flags, dimensions, name."""
    flags = struct.unpack(f"{order}I", head[8:12])[0]
    code = flags & 0xFF
    if code == 17:  # a text, a date, a table of MATLAB: a name comes first, and what is in it can't be told
        return Variable("", (), None, _OTHERS[code])
    dims, at = _element(head, 16, order)
    name, _ = _element(head, at, order)
    shape = struct.unpack(f"{order}{len(dims) // 4}i", dims)
    dtype: np.dtype[Any] | None = np.dtype(CLASSES[code]) if code in CLASSES else None
    kind = _OTHERS.get(code, str(dtype))
    if dtype is not None and flags & _COMPLEX:
        dtype, kind = np.dtype(np.complex64 if dtype == np.float32 else np.complex128), f"complex {kind}"
    if flags & _LOGICAL and dtype is not None:  # there are sparse ones, too
        dtype, kind = np.dtype(np.uint8), "logical"
    if dtype is None and code not in _OTHERS:
        raise ValueError(f"an array of the unknown class {code}")
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape}")
    return Variable(name.decode("latin-1"), tuple(shape), dtype, kind)


def _element(head: bytes, at: int, order: str) -> tuple[bytes, int]:
    """Content of an element, and where the next one begins; up to four bytes lie in the tag itself."""
    kind, count = struct.unpack(f"{order}2I", head[at : at + 8])
    if kind >> 16:
        return head[at + 4 : at + 4 + (kind >> 16)], at + 8
    return head[at + 8 : at + 8 + count], at + 8 + -(-count // 8) * 8


def _some(source: Plain, at: int, count: int) -> bytes:
    from ..stores.files import read_available

    got = read_available([source.file], [at], [count])[0]
    if isinstance(got, OSError):
        raise SourceError(f"{file_name(source.file)} can't be read: {got}") from got
    return got

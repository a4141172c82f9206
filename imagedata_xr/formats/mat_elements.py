"""Values of variables in MAT files of version 5 and 7: arrays of numbers, texts, and structs of these.

Every element is checked before it is believed: scipy's reader ends the process at a damaged one.
MAT-File Format, MathWorks: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..stores.ranges import Plain
from ..stores.url import File, file_name
from .mat_scan import CLASSES, Variable

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Type of an element -> numpy, of those that are numbers."""

_TEXTS = {1: "latin-1", 2: "latin-1", 3: "utf-16", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX = 14
_STRUCT, _CHAR = 2, 4
_COMPLEX = 0x800

Value = NDArray[Any] | str | dict[str, Any] | None


def value_of(file: File, variable: Variable) -> Value:
    """Value of a variable: an array, a text, or a struct of these; None for what is neither.

    Raises
    ------
    SourceError
        If it is damaged.
    """
    at, count, packed = variable.place
    order = "<" if Plain(file).head(128)[126:128] == b"IM" else ">"
    data = bytes(Plain(file).read([at], [count])[0])
    try:
        if packed:
            kind, data, _ = _element(zlib.decompress(data), 0, order)
            if kind != _MATRIX:
                raise ValueError(f"an element of type {kind} in place of an array")
        return _matrix(data, order)
    except (struct.error, zlib.error, ValueError, LookupError) as error:
        raise SourceError(f"{file_name(file)} is damaged, {variable.name} can't be read: {error}") from error


def _element(data: bytes, at: int, order: str) -> tuple[int, bytes, int]:
    """Type and content of an element, and where the next one begins; up to four bytes lie in the tag itself."""
    kind, count = struct.unpack_from(f"{order}2I", data, at)
    if kind >> 16:
        start, count, after, kind = at + 4, kind >> 16, at + 8, kind & 0xFFFF
        if count > 4:
            raise ValueError(f"an element of {count} bytes in a tag")
    else:
        start = at + 8
        after = start + -(-count // 8) * 8
    if start + count > len(data):
        raise ValueError(f"an element of {count} bytes at byte {at} of {len(data)}")
    return kind, data[start : start + count], after


def _matrix(data: bytes, order: str) -> Value:
    if not data:
        return np.empty((0, 0))
    _, flags, at = _element(data, 0, order)
    _, dims, at = _element(data, at, order)
    _, _, at = _element(data, at, order)  # the name
    (word,) = struct.unpack(f"{order}I", flags[:4])
    shape = struct.unpack(f"{order}{len(dims) // 4}i", dims)
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape}")
    code = word & 0xFF
    if code in CLASSES:
        return _numbers(data, at, order, shape, code, bool(word & _COMPLEX))
    if code == _CHAR:
        kind, text, _ = _element(data, at, order)
        coding = _TEXTS[kind]
        return text.decode(coding + {"<": "-le", ">": "-be"}[order] if coding in ("utf-16", "utf-32") else coding)
    return _struct(data, at, order) if code == _STRUCT and math.prod(shape) == 1 else None


def _numbers(data: bytes, at: int, order: str, shape: tuple[int, ...], code: int, imaginary: bool) -> NDArray[Any]:
    """Numbers in the type of their class; in the file they may have a smaller one that holds them."""
    parts = []
    for _ in range(2 if imaginary else 1):
        kind, content, at = _element(data, at, order)
        if kind not in _TYPES:
            raise ValueError(f"numbers of the unknown type {kind}")
        stored = np.dtype(_TYPES[kind]).newbyteorder(order)  # type: ignore[arg-type]
        if len(content) != math.prod(shape) * stored.itemsize:
            raise ValueError(f"{len(content)} bytes of {stored} for the shape {shape}")
        parts.append(np.frombuffer(content, stored).astype(CLASSES[code]).reshape(shape, order="F"))
    if not imaginary:
        return parts[0]
    out = np.empty(shape, np.complex64 if CLASSES[code] == "f4" else np.complex128, order="F")
    out.real, out.imag = parts  # a sum with 1j * infinity has NaN as its real part
    return out


def _struct(data: bytes, at: int, order: str) -> dict[str, Any]:
    _, content, at = _element(data, at, order)
    (length,) = struct.unpack(f"{order}i", content)
    _, content, at = _element(data, at, order)
    if length < 1 or len(content) % length:
        raise ValueError(f"{len(content)} bytes of names of {length} letters")
    out: dict[str, Any] = {}
    for k in range(0, len(content), length):
        name = content[k : k + length].split(b"\0")[0].decode("latin-1")
        kind, item, at = _element(data, at, order)
        if kind != _MATRIX:
            raise ValueError(f"the field {name} has an element of type {kind}")
        out[name] = _matrix(item, order)
    return out

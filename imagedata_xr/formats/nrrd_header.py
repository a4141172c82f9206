"""The header of a NRRD file, as Teem defines it: https://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SourceError
from ..stores.ranges import Plain
from ..stores.url import File, file_name
from .parts import pattern_names

KEY = "imagedata_xr"
"""Key of the labels."""

TYPES = {
    "i1": "signed char/int8/int8_t", "u1": "uchar/unsigned char/uint8/uint8_t",
    "i2": "short/short int/signed short/signed short int/int16/int16_t",
    "u2": "ushort/unsigned short/unsigned short int/uint16/uint16_t", "i4": "int/signed int/int32/int32_t",
    "u4": "uint/unsigned int/uint32/uint32_t",
    "i8": "longlong/long long/long long int/signed long long/signed long long int/int64/int64_t",
    "u8": "ulonglong/unsigned long long/unsigned long long int/uint64/uint64_t", "f4": "float", "f8": "double",
}  # fmt: skip
"""numpy's word -> words of the field ``type``."""

_BY_WORD = {word: dtype for dtype, words in TYPES.items() for word in words.split("/")}
_FIELDS = (
    "data file", "line skip", "byte skip", "axis mins", "axis maxs", "block size", "old min", "old max", "sample units",
    "space dimension", "space directions", "space origin", "space units", "measurement frame",
)  # fmt: skip
_SYNONYMS = {name.replace(" ", ""): name for name in _FIELDS} | {"centerings": "centers"}
_ENCODINGS = {
    "raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex", "gz": "zlib", "gzip": "zlib",
    "bz2": "bzip2", "bzip2": "bzip2",
}  # fmt: skip
_LARGEST = 1 << 26  # bytes of a header


@dataclass(frozen=True)
class Header:
    """Fields and keys of a header, the file names of a LIST, and where the header ends (bytes)."""

    fields: Mapping[str, str]
    keys: Mapping[str, str]
    listed: tuple[str, ...]
    end: int
    name: str

    def damaged(self, field: str, why: str) -> SourceError:
        """Error that names a field."""
        return SourceError(f"{self.name} is damaged: {field}: {self.fields.get(field, '')[:80]!r} {why}")

    def words(self, field: str, count: int) -> list[str] | None:
        """Words of a field with one per axis, without quotes; None where it is absent."""
        if field not in self.fields:
            return None
        found = [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', self.fields[field])]
        if len(found) != count:
            raise self.damaged(field, f"has {len(found)} words, not {count}")
        return found

    def integer(self, field: str, default: int) -> int:
        """Whole number of a field."""
        try:
            return int(self.fields.get(field, default))
        except ValueError as error:
            raise self.damaged(field, "is no number") from error

    def numbers(self, field: str, count: int) -> NDArray[np.float64] | None:
        """Numbers of a field with one per axis; NaN where an axis has none."""
        words = self.words(field, count)
        try:
            return None if words is None else np.array([float(w) for w in words])
        except ValueError as error:
            raise self.damaged(field, "are no numbers") from error

    def vectors(self, field: str, count: int, length: int) -> list[NDArray[np.float64] | None] | None:
        """Vectors of a field, None for ``none``; None where the field is absent."""
        if field not in self.fields:
            return None
        out: list[NDArray[np.float64] | None] = []
        for word in re.findall(r"\([^)]*\)|\S+", self.fields[field]):
            if word == "none":
                out.append(None)
                continue
            try:
                vector = np.array([float(x) for x in word.strip("()").split(",")])
            except ValueError as error:
                raise self.damaged(field, f"has {word!r}, which is no vector") from error
            # a vector of NaN is how some programs say none
            out.append(None if np.isnan(vector).all() else vector)
            if vector.size != length or not (np.isfinite(vector).all() or out[-1] is None):
                raise self.damaged(field, f"has {word!r}, which is no vector of {length} numbers")
        if len(out) != count:
            raise self.damaged(field, f"has {len(out)} vectors, not {count}")
        return out

    @property
    def sizes(self) -> tuple[int, ...]:
        """Lengths of the axes, the fastest first."""
        dims = self.integer("dimension", 0)
        found = self.numbers("sizes", dims) if dims > 0 else None
        if found is None or not (np.isfinite(found).all() and (found >= 1).all() and (found == np.rint(found)).all()):
            raise SourceError(
                f"{self.name} is damaged: dimension: {self.fields.get('dimension')!r}, "
                f"sizes: {self.fields.get('sizes')!r}"
            )
        return tuple(int(n) for n in found)

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of the samples."""
        word = self.fields.get("type", "").lower()
        if word == "block":
            raise FormatError(f"{self.name} holds blocks of bytes, which are no numbers")
        if word not in _BY_WORD:
            raise self.damaged("type", "is none of NRRD")
        dtype, order = np.dtype(_BY_WORD[word]), self.fields.get("endian", "").lower()
        if dtype.itemsize > 1 and order not in ("little", "big") and self.encoding != "text":
            raise self.damaged("endian", "is neither little nor big")
        return dtype.newbyteorder(">" if order == "big" else "<")

    @property
    def encoding(self) -> str:
        """How the samples are packed, in the words of `parts`."""
        word = self.fields.get("encoding", "").lower()
        if word not in _ENCODINGS:
            raise self.damaged("encoding", f"is none of {', '.join(_ENCODINGS)}")
        return _ENCODINGS[word]

    @property
    def data(self) -> list[str] | None:
        """Files with the samples; None for the header's own."""
        where = self.fields.get("data file")
        if where is None:
            return None
        if where.split()[:1] == ["LIST"]:
            return list(self.listed)
        return pattern_names(where) or [where]

    @property
    def labels(self) -> dict[str, Any] | None:
        """Labels that travelled in the header."""
        if KEY not in self.keys:
            return None
        try:
            content = json.loads(self.keys[KEY])
        except ValueError as error:
            raise SourceError(f"{self.name} has damaged labels in the key {KEY}: {error}") from error
        if not isinstance(content, dict):
            raise SourceError(f"{self.name} has damaged labels in the key {KEY}")
        return content


def read_header(file: File) -> Header:
    """Read fields and keys up to the blank line, or the end of a header with files of its own.

    Raises
    ------
    SourceError
        If the file is none of NRRD, or damaged.
    """
    name, length = file_name(file), 1 << 14
    while True:
        head = Plain(file).head(length)
        found = _parsed(head, name, whole=len(head) < length)
        if found is not None:
            return found
        if length > _LARGEST:
            raise SourceError(f"{name} has no end of its NRRD header within {_LARGEST >> 20} MiB: damaged")
        length *= 8


def is_nrrd(head: bytes) -> bool:
    """Whether the first bytes are those of a NRRD header."""
    return re.match(rb"NRRD00(0[1-5]|\.01)\r?\n", head) is not None


def _parsed(head: bytes, name: str, whole: bool) -> Header | None:
    if not is_nrrd(head):
        raise SourceError(f"{name} has no NRRD header: it begins with {head[:12]!r}; damaged, or another format")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    at = head.index(b"\n") + 1
    while True:
        stop = head.find(b"\n", at)
        if stop < 0 and not whole:
            return None
        line = head[at : stop if stop >= 0 else len(head)].rstrip(b"\r").decode("utf-8", "replace")
        at = stop + 1 if stop >= 0 else len(head)
        if not line.strip() and (stop >= 0 or at == len(head)):
            break
        if line.startswith("#"):
            continue
        key, said, value = line.partition(":=")
        field, colon, content = line.partition(": ")
        if said and (not colon or len(key) < len(field)):
            keys[_unescaped(key)] = _unescaped(value)
        elif colon or line.endswith(":"):
            field = (field if colon else line[:-1]).strip().lower()  # Teem does not tell small letters from large ones
            field = _SYNONYMS.get(field, field)
            fields[field] = content.strip()
        else:
            raise SourceError(f"{name} has no NRRD header: {line[:40]!r} is no field; damaged")
        if fields.get("data file", "").startswith("LIST"):  # it is the last field
            if not whole:
                return None
            listed = tuple(x.strip() for x in head[at:].decode("utf-8", "replace").splitlines() if x.strip())
            return Header(fields, keys, listed, len(head), name)
    if "data file" not in fields and at >= len(head) and stop < 0:
        raise SourceError(f"{name} is truncated: its NRRD header does not end with a blank line")
    return Header(fields, keys, (), at, name)


def _unescaped(text: str) -> str:
    r"""Text of a key or value, in which a backslash is ``\\`` and a line break ``\n``."""
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1] if m[1] == "\\" else m[0], text)


def escaped(text: str) -> str:
    """Text of a value as a header has it."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def vector(values: Sequence[float] | NDArray[np.float64]) -> str:
    """Vector as a header has it, to the last digit."""
    return f"({','.join(repr(float(v) + 0.0) for v in values)})"

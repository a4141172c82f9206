"""The header of a MetaIO file, as ITK's MetaImage defines it: https://itk.org/Wiki/ITK/MetaIO/Documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SourceError, warn
from ..stores.ranges import Plain
from ..stores.url import File, file_name
from .carried import Known
from .incoming import Incoming, check_place
from .parts import pattern_names

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
"""Element type -> numpy. MET_LONG has 4 bytes on every machine (metaTypes.h)."""

KEY = "imagedata_xr"
"""Field with the labels; continued in imagedata_xr_1, ..., since programs read lines of some 32000 letters."""

_SPACING, _OFFSET = ("ElementSpacing", "ElementSize"), ("Offset", "Position", "Origin")  # synonyms

MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_NM": "NM", "MET_MOD_US": "US"}

_FIELD = re.compile(rb"[ \t]*(\w+)[ \t]*[=:][ \t]*(.*?)[ \t\r]*$", re.DOTALL)
_LARGEST = 1 << 26  # bytes of a header


@dataclass(frozen=True)
class Header:
    """Fields of a header, the file names of a LIST, and where the header ends (bytes)."""

    fields: Mapping[str, str]
    listed: tuple[str, ...]
    end: int
    name: str

    def numbers(self, *keys: str, count: int) -> NDArray[np.float64] | None:
        """Numbers of the first of several synonyms that is there; `SourceError` where there are not so many."""
        for key in keys:
            if key in self.fields:
                try:
                    values = np.array([float(w) for w in self.fields[key].split()])
                except ValueError:
                    values = np.array([np.nan])
                if values.size != count or not np.isfinite(values).all():
                    raise SourceError(
                        f"{self.name} is damaged: {key} = {self.fields[key][:80]!r} is no {count} numbers"
                    )
                return values
        return None

    def integer(self, key: str, default: int) -> int:
        """Return the whole number of a field."""
        try:
            return int(self.fields.get(key, default))
        except ValueError as error:
            raise SourceError(f"{self.name} is damaged: {key} = {self.fields[key][:80]!r} is no number") from error

    def flag(self, *keys: str, default: bool = False) -> bool:
        """Whether the first of several synonyms that is there says yes."""
        for key in keys:
            if key in self.fields:
                return self.fields[key].lower() in ("true", "t", "1", "yes")
        return default

    @property
    def data(self) -> tuple[list[str] | None, str]:
        """Files of the voxels, None for the header's own; and how they are packed."""
        where = self.fields["ElementDataFile"]
        kind = "zlib" if self.flag("CompressedData") else "raw"
        if not self.flag("BinaryData", default=True):
            kind = "text"
        if where.lower() == "local":
            return None, kind
        if where.split()[:1] and where.split()[0].upper() == "LIST":
            return list(self.listed), kind
        return pattern_names(where) or [where], kind


def read_header(file: File) -> Header:
    """Read the fields up to ElementDataFile, and the file names after it where it is a LIST.

    Raises
    ------
    SourceError
        If the file is none of MetaIO, or damaged.
    """
    name, length = file_name(file), 1 << 14
    while True:
        head = Plain(file).head(length)
        found = _fields(head, name, whole=len(head) < length)
        if found is not None:
            return found
        if length > _LARGEST or len(head) < length:
            raise SourceError(
                f"{name} has no MetaIO header: the field ElementDataFile is missing; damaged, or truncated"
            )
        length *= 8


def _fields(head: bytes, name: str, whole: bool) -> Header | None:
    fields: dict[str, str] = {}
    at = 0
    while True:
        stop = head.find(b"\n", at)
        if stop < 0 and not whole:
            return None
        line, at = head[at : stop if stop >= 0 else len(head)], (stop + 1 if stop >= 0 else len(head))
        hit = _FIELD.match(line)
        if hit is None and line.strip():
            raise SourceError(f"{name} has no MetaIO header: {line[:40]!r} is no field; damaged, or another format")
        if hit is not None:
            key = hit[1].decode("latin-1")
            fields[key] = hit[2].decode("utf-8", "replace").strip()
            if key == "ElementDataFile":
                break
        if stop < 0:
            return None
    listed: tuple[str, ...] = ()
    if fields["ElementDataFile"].upper().startswith("LIST"):
        if not whole:
            return None
        listed = tuple(x.strip() for x in head[at:].decode("utf-8", "replace").splitlines() if x.strip())
    return Header(fields, listed, at, name)


# --- what it means ------------------------------------------------------------------------------------------------


def incoming(header: Header) -> Incoming:
    """What a header says of the image.

    Raises
    ------
    SourceError
        If it is damaged.
    FormatError
        If it says what can't be held: another object than an image, an axis that is not spatial and mixed with others.
    """
    name, fields = header.name, header.fields
    if fields.get("ObjectType", "Image").lower() != "image":
        raise FormatError(f"{name} is a MetaIO object of the type {fields['ObjectType']!r}: only images are read")
    dims = header.integer("NDims", 0)
    sizes = header.numbers("DimSize", count=dims) if dims > 0 else None
    if sizes is None or (sizes < 1).any() or (sizes != np.rint(sizes)).any():
        raise SourceError(f"{name} is damaged: NDims = {dims}, DimSize = {fields.get('DimSize')!r}")
    if dims < 2:
        raise FormatError(f"{name} has one axis only: it is no image")
    content = carried(fields, name)
    stored, channels = _type(header, content)
    shape = tuple(int(n) for n in sizes)
    affine = _affine(header, dims)
    slope = header.numbers("ElementToIntensityFunctionSlope", count=1)
    inter = header.numbers("ElementToIntensityFunctionOffset", count=1)
    found = Incoming(
        name=name,
        shape=shape + (1,) * (3 - dims),
        stored=stored,
        affine=affine,
        content=content,
        channels=channels,
        slope=1.0 if slope is None else float(slope[0]),
        inter=0.0 if inter is None else float(inter[0]),
        attrs={"Modality": MODALITIES[fields["Modality"]]} if fields.get("Modality") in MODALITIES else {},
    )
    if (found.slope, found.inter) != (1.0, 0.0):
        warn(
            f"{name} says by ElementToIntensityFunctionSlope and Offset that its values are {found.slope:g} * stored "
            f"{found.inter:+g}: so they are read, where ITK leaves them as stored. mask_and_scale=False does so, too"
        )
    return check_place(found)


def _type(header: Header, content: Mapping[str, Any] | None) -> tuple[np.dtype[Any], int]:
    word = header.fields.get("ElementType", "")
    known = TYPES.get(word.removesuffix("_ARRAY"))
    if known is None:
        raise SourceError(f"{header.name}: ElementType = {word!r} is none of {', '.join(TYPES)}; damaged")
    big = header.flag("BinaryDataByteOrderMSB", "ElementByteOrderMSB")  # ITK takes them in this sequence
    channels = header.integer("ElementNumberOfChannels", 1)
    if channels < 1:
        raise SourceError(f"{header.name} is damaged: ElementNumberOfChannels = {channels}")
    stored = np.dtype(known).newbyteorder(">" if big else "<")
    if content is not None and content.get("type") == "complex" and channels == 2 and stored.kind == "f":
        return np.dtype(f"{'>' if big else '<'}c{2 * stored.itemsize}"), 1
    return stored, channels


def _affine(header: Header, dims: int) -> NDArray[np.float64] | None:
    spacing, offset = header.numbers(*_SPACING, count=dims), header.numbers(*_OFFSET, count=dims)
    matrix = header.numbers("TransformMatrix", "Orientation", "Rotation", count=dims * dims)
    if header.fields.get("DistanceUnits", "mm").lower() not in ("mm", "?", ""):
        warn(f"{header.name} says DistanceUnits = {header.fields['DistanceUnits']}, which is taken as mm, as ITK does")
    if dims == 2 and any(v is not None for v in (spacing, matrix, offset)):
        size = "" if spacing is None else f", and its spacing of {spacing[0]:g} x {spacing[1]:g} mm is left out"
        warn(f"{header.name} has two axes: where its plane lies in the patient is not said{size}")
    if dims == 2 or (spacing is None and matrix is None and offset is None):
        return None
    step = np.ones(dims) if spacing is None else spacing
    turn = np.eye(dims) if matrix is None else matrix.reshape(dims, dims).T
    first = np.zeros(dims) if offset is None else offset
    if np.abs(turn[:3, 3:]).max(initial=0) > 1e-6 or np.abs(turn[3:, :3]).max(initial=0) > 1e-6:
        raise FormatError(f"{header.name}: its TransformMatrix mixes space with the axes after the third")
    affine = np.eye(4)
    affine[:3, :3] = (turn[:3, :3] * step[:3])[:, ::-1]
    affine[:3, 3] = first[:3]
    return affine


def times(header: Header, shape: tuple[int, ...]) -> Known:
    """When the volumes were measured, if the fourth axis is time; for sizes that are known to be right."""
    if len(shape) != 4:
        return Known()
    spacing, offset = header.numbers(*_SPACING, count=4), header.numbers(*_OFFSET, count=4)
    if spacing is None or spacing[3] <= 0:
        return Known()
    start = 0.0 if offset is None else float(offset[3])
    values = np.round(start + float(spacing[3]) * np.arange(shape[3]), 9)
    return Known({"time": values}, {"time": "ElementSpacing (no unit is said)"})


def carried(fields: Mapping[str, str], name: str) -> dict[str, Any] | None:
    """Labels that travelled in the header."""
    text, k = fields.get(KEY, ""), 1
    while f"{KEY}_{k}" in fields:
        text += fields[f"{KEY}_{k}"]
        k += 1
    if not text:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SourceError(f"{name} has damaged labels in the field {KEY}: {error}") from error
    if not isinstance(content, dict):
        raise SourceError(f"{name} has damaged labels in the field {KEY}")
    return content

"""From undecoded elements to text, numbers and pydicom data sets (PS3.5 sections 6.1, 6.2 and 7.1)."""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import unpack
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ...errors import LabelError
from .vr import IMPLICIT_LE, Key, Raw, private_vr, public_vr

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag


@dataclass(frozen=True, slots=True)
class LongValue:
    """Stands for a long value that differs from file to file; two are equal if the values are."""

    vr: str
    length: int
    """Of the value, bytes."""
    digest: bytes
    offset: int = field(default=-1, compare=False)
    """Where the value begins in its file; -1 if it has no place there (deflated or re-encoded)."""

    @classmethod
    def of(cls, raw: Raw, offset: int) -> LongValue:
        """Make the mark of a value that begins at `offset`."""
        return cls(raw[0], len(raw[1]), hashlib.blake2b(raw[1], digest_size=16).digest(), offset)


Cell: TypeAlias = "Raw | LongValue | None"

CHARACTER_SET = 0x00080005

NO_TEXT = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ"))
NO_NUMBER = frozenset(("AT", "PN", "DA", "DT", "TM", "UI", "AS"))
ONE_VALUE = frozenset(("LT", "ST", "UT", "UR"))
_CODED = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT", "UN"))
"""VRs that Specific Character Set governs (PS3.5 section 6.1.2.3); text in an unknown VR is taken as such."""
NUMBER = {
    "US": ("H", 2), "SS": ("h", 2), "UL": ("I", 4), "SL": ("i", 4), "UV": ("Q", 8), "SV": ("q", 8),
    "FL": ("f", 4), "FD": ("d", 8), "OF": ("f", 4), "OD": ("d", 8), "OL": ("I", 4), "OV": ("Q", 8), "OW": ("H", 2),
}  # fmt: skip


def key_of(keyword: str | Key) -> Key:
    """Give the key of a column: the tag of a DICOM keyword; tags and private keys as they are.

    Raises
    ------
    LabelError
        The dictionary does not know the keyword.
    """
    if not isinstance(keyword, str):
        return keyword
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LabelError(f"{keyword!r} is no DICOM keyword")
    return tag


@functools.cache
def keyword_of(tag: int) -> str:
    """Give the DICOM keyword of a public tag; empty for unknown ones, and where it stands for several tags."""
    from pydicom.datadict import keyword_for_tag, tag_for_keyword

    keyword = keyword_for_tag(tag)
    return keyword if keyword and tag_for_keyword(keyword) is not None else ""


def known_vr(key: Key, vr: str) -> str:
    """Give the dictionary's VR where the file says UN (PS3.5 section 6.2.2)."""
    if vr != "UN":
        return vr
    found = private_vr(key) if isinstance(key, tuple) else public_vr(key)
    return "US" if found.startswith("US or SS") else found


def text(key: Key, raw: Raw, character_set: Raw | None = None) -> tuple[str, ...]:
    """Decode one element as text.

    Parameters
    ----------
    key
        Of the element.
    raw
        VR and value.
    character_set
        The file's Specific Character Set (0008,0005).

    Returns
    -------
    tuple of str
        The values without padding; empty if there is none. Numbers in binary VRs are written in decimal.

    Raises
    ------
    LabelError
        The VR holds no text.
    """
    vr, value = known_vr(key, raw[0]), raw[1]
    if vr in NO_TEXT:
        raise LabelError(f"The element {key_name(key)} has VR {vr}, which holds no text")
    if vr in NUMBER:
        return tuple(f"{number:.17g}" for number in numbers_of(key, raw))
    if vr == "AT":
        return tuple(f"{g:04X}{e:04X}" for g, e in _pairs(value))
    string = _decoded(vr, value, character_set)
    string = string.rstrip("\0 ")
    if vr in ONE_VALUE:
        return (string,) if string else ()
    parts = tuple(part.strip("\0 ") for part in string.split("\\"))
    return parts if any(parts) or len(parts) > 1 else ()


def _pairs(value: bytes) -> list[tuple[int, int]]:
    numbers = unpack(f"<{len(value) // 4 * 2}H", value[: len(value) // 4 * 4])
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _decoded(vr: str, value: bytes, character_set: Raw | None) -> str:
    if value.isascii() and b"\x1b" not in value:
        # true for every character set of DICOM but the yen and overline of ISO_IR 13, which stand for \ and ~ there
        return value.decode("ascii")
    if vr not in _CODED:
        return value.decode("latin-1")
    from pydicom.charset import decode_bytes
    from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bytes outside the set: pydicom replaces them visibly
        return decode_bytes(value, _encodings(character_set), PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS)


@functools.cache
def _encodings(character_set: Raw | None) -> list[str]:
    """Give Python's names of the character sets; the default repertoire where they are missing or unknown."""
    from pydicom.charset import convert_encodings, default_encoding

    from .pydicom_charsets import mend_pydicom

    mend_pydicom()
    names = text(CHARACTER_SET, character_set) if character_set else ()
    if not names:
        return [default_encoding]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown sets: pydicom takes the default
            return list(convert_encodings(list(names)))
    except (LookupError, ValueError):
        return [default_encoding]


def numbers_of(key: Key, raw: Raw) -> tuple[float, ...]:
    """Decode one element as numbers.

    Returns
    -------
    tuple of float
        All values; NaN for one that is no number, empty if there is none or the VR holds no numbers.
    """
    vr, value = known_vr(key, raw[0]), raw[1]
    if vr in NUMBER:
        code, width = NUMBER[vr]
        if len(value) % width:
            return (np.nan,)
        return tuple(float(v) for v in unpack(f"<{len(value) // width}{code}", value))
    if vr in NO_TEXT or vr in NO_NUMBER:
        return ()
    parts = value.rstrip(b"\0 ").split(b"\\")
    return () if parts == [b""] else tuple(_number(part) for part in parts)


def _number(part: bytes) -> float:
    try:
        return float(part.strip(b"\0 ")) if b"_" not in part else np.nan
    except ValueError:
        return np.nan


def key_name(key: Key) -> str:
    """Write a key as people do: ``(0018,0081)`` or ``(0019,xx0C) of SIEMENS MR HEADER``."""
    if isinstance(key, int):
        return f"({key >> 16:04X},{key & 0xFFFF:04X})"
    creator, group, element = key
    return f"({group:04X},xx{element:02X}) of {creator}"


def to_dataset(cells: Mapping[Key, Cell], syntax: str, implicit: bool) -> Dataset:
    """Build a pydicom data set that decodes its elements when asked.

    Parameters
    ----------
    cells
        One file's elements; those that are missing or only marked (`LongValue`) are left out.
    syntax
        Transfer syntax UID for the file meta information, if it has none.
    implicit
        Whether items of sequences hold implicit VR elements.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    main: dict[int, tuple[str, bytes]] = {}
    meta: dict[int, tuple[str, bytes]] = {}
    blocks: dict[tuple[int, str], int] = {}
    for key, cell in cells.items():
        if cell is None or isinstance(cell, LongValue):
            continue
        if isinstance(key, int):
            (meta if key >> 16 == 2 else main)[key] = cell
            continue
        creator, group, element = key
        if (group, creator) not in blocks:
            blocks[group, creator] = block = 0x10 + sum(g == group for g, _ in blocks)
            main[group << 16 | block] = ("LO", creator.encode())
        main[group << 16 | blocks[group, creator] << 8 | element] = cell
    ds = Dataset(_raw_elements(main, implicit))
    ds.set_original_encoding(implicit, True, _encodings(main.get(CHARACTER_SET)))
    ds.file_meta = FileMetaDataset(_raw_elements(meta, implicit=False))
    if "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = UID(syntax or IMPLICIT_LE)
    return ds


def _raw_elements(found: Mapping[int, Raw], implicit: bool) -> dict[BaseTag, DataElement | RawDataElement]:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    return {
        Tag(tag): RawDataElement(Tag(tag), vr, len(value), value, 0, implicit, True)
        for tag, (vr, value) in sorted(found.items())
    }

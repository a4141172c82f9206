"""One walk over the bytes of a header: the top-level elements of one DICOM file, undecoded.

The walk covers explicit and implicit little endian and never guesses: what it does not know it calls `Odd`, and pydicom
reads that file (`reread`). PS3.5 section 7.1 describes the element headers, 7.5 sequences, A.4 encapsulated pixel data.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from struct import Struct, error as StructError
from typing import TypeAlias

Key: TypeAlias = "int | tuple[str, int, int]"
"""A public tag, or a private element as (creator, group, element byte)."""

Raw: TypeAlias = tuple[str, bytes]
"""VR and value bytes, little endian; of a sequence the items without the delimiter at its end."""

Memo: TypeAlias = "dict[bytes | Raw, Raw]"

UNDEFINED = 0xFFFFFFFF
LONG = 4096
"""Values longer than this (bytes) that differ from file to file are kept as a digest (`elements.LongValue`)."""

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
STANDARD_SYNTAXES = "1.2.840.10008.1.2."

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
TRANSFER_SYNTAX = 0x00020010

CSA_HEADER = ("SIEMENS CSA HEADER", 0x0029, 0x10)
"""Kept for mosaics only, where it is needed, since it is long and differs from file to file."""

WANTED_PRIVATE: dict[tuple[str, int], tuple[int, ...]] = {
    ("SIEMENS MR HEADER", 0x0019): (0x08, 0x0A, 0x0C, 0x0D, 0x0E, 0x27, 0x29),
    ("SIEMENS CSA HEADER", 0x0029): (0x10,),
    ("SIEMENS MR SDI 02", 0x0021): tuple(range(0x100)),
    ("GEMS_ACQU_01", 0x0019): (0xBB, 0xBC, 0xBD),
    ("GEMS_RELA_01", 0x0021): (0x4F, 0x5E),
    ("GEMS_PARM_01", 0x0043): (0x2F, 0x39),
    ("Philips Imaging DD 001", 0x2001): (0x03, 0x04, 0x08, 0x0A),
    ("Philips MR Imaging DD 001", 0x2005): (0x0D, 0x0E, 0x11, 0xB0, 0xB1, 0xB2),
    ("Philips MR Imaging DD 005", 0x2005): (0x12, 0x13),
    ("Image Private Header", 0x0065): (0x09, 0x37, 0x50, 0x51),
}
"""Private elements that are kept, by creator and group; the block number is looked up in each file (PS3.5 section 7.8)."""


class Odd(Exception):
    """The walk does not know what it sees."""


class More(Exception):
    """The walk needs the file's bytes up to `upto`."""

    def __init__(self, upto: int) -> None:
        super().__init__(upto)
        self.upto = upto


@dataclass(slots=True)
class Walked:
    """What one file's header holds."""

    found: dict[Key, Raw] = field(default_factory=dict)
    """Public tags are keyed as they stand in the file (see `swap`)."""
    offsets: dict[Key, int] = field(default_factory=dict)
    """Where the values longer than `LONG` begin in the file."""
    syntax: str = EXPLICIT_LE
    implicit: bool = False
    """Whether sequences in `found` hold implicit VR elements."""
    pixel_tag: int = 0
    pixel_offset: int = -1
    pixel_length: int = 0
    end: int = 0
    """Where the header ends: the byte after the last element read, or the first of the pixel value."""


def swap(tag: int) -> int:
    """Exchange group and element: a tag as little endian bytes read as one number, or the way back."""
    return (tag & 0xFFFF) << 16 | tag >> 16


SHORT_VR = {
    vr.encode(): vr
    for vr in ("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST",
               "TM", "UI", "UL", "US")
}  # fmt: skip
LONG_VR = {
    vr.encode(): vr
    for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
}  # fmt: skip
ANY_VR = SHORT_VR | LONG_VR
TEXT_VR = ("LT", "ST", "UC", "UR", "UT")
"""Text that may be long; it is kept all the same."""

_EXPLICIT = Struct("<I2sH").unpack_from
_IMPLICIT = Struct("<II").unpack_from
_LENGTH = Struct("<I").unpack_from
_PIXEL = {swap(tag): tag for tag in PIXEL_TAGS}
_CREATORS = {(creator.encode(), group): (creator, elements) for (creator, group), elements in WANTED_PRIVATE.items()}
_IMAGE_TYPE = swap(0x00080008)
_PIXEL_REPRESENTATION = swap(0x00280103)
_ITEM, _ITEM_END, _SEQUENCE_END = swap(0xFFFEE000), swap(0xFFFEE00D), swap(0xFFFEE0DD)


def looks_like_dicom(buf: bytes) -> bool:
    """Tell whether a file's first bytes are DICOM: a preamble, or two plausible elements where one is missing.

    Without "DICM" at byte 128 the first two elements must be known to the dictionary, in ascending order, in group 2 or 8,
    with a fitting VR (explicit) or a short value (implicit).
    """
    if buf[128:132] == b"DICM":
        return True
    if buf[:2] not in (b"\2\0", b"\10\0", b"\0\10"):
        return False
    big = buf[0] == 0
    pos, last = 0, -1
    for _ in range(2):
        if len(buf) < pos + 8:
            return False
        tag = int.from_bytes(buf[pos : pos + 4], "little")
        tag = int.from_bytes(buf[pos : pos + 4], "big") if big else swap(tag)
        vr, length = buf[pos + 4 : pos + 6], int.from_bytes(buf[pos + 6 : pos + 8], "big" if big else "little")
        if vr in LONG_VR:
            length = int.from_bytes(buf[pos + 8 : pos + 12], "big" if big else "little") + 4
        elif vr not in SHORT_VR:
            if big:
                return False
            vr, length = b"", _LENGTH(buf, pos + 4)[0]
        known = public_vr(tag)
        if tag <= last or known == "UN" or length > 1024 or (vr and vr.decode() not in (known, "UN")):
            return False
        last, pos = tag, pos + 8 + length
    return True


def walk(buf: bytes, size: int, memo: Memo, implicit_memo: Memo) -> Walked:
    """Walk over the beginning of a file that has a preamble or begins with an element.

    Parameters
    ----------
    buf
        The first bytes of the file.
    size
        Length of the file in bytes.
    memo, implicit_memo
        Elements met before, so that equal ones share memory; one pair per scan.

    Raises
    ------
    More
        `buf` ends before the header does; if `upto` lies behind `size` the file is truncated.
    Odd
        The header is of a kind that the walk does not know.
    """
    result = Walked()
    pos, syntax = _meta(buf, result, memo)
    if not syntax:
        if len(buf) < pos + 8 and len(buf) < size:
            raise More(pos + 8)
        if buf[pos + 1 : pos + 2] > b"\3":  # a group number of big endian, or nothing that begins a data set
            raise Odd("neither a transfer syntax nor a low group number")
        syntax = EXPLICIT_LE if buf[pos + 4 : pos + 6] in ANY_VR else IMPLICIT_LE
    elif syntax in (DEFLATED_LE, EXPLICIT_BE) or not (syntax + ".").startswith(STANDARD_SYNTAXES):
        raise Odd(f"transfer syntax {syntax}")
    result.syntax = syntax
    result.implicit = syntax == IMPLICIT_LE
    walker = _Walker(buf, size, result, implicit_memo if result.implicit else memo)
    if result.implicit:
        if (vr := buf[pos + 4 : pos + 6]).isalpha() and vr.isupper():
            raise Odd("explicit VR where implicit was announced")
        walker.implicit(pos)
    else:
        walker.explicit(pos)
    return result


def _meta(buf: bytes, result: Walked, memo: Memo) -> tuple[int, str]:
    """Read the file meta information, always explicit little endian (PS3.10 section 7.1); give its end and the syntax."""
    pos = 132 if buf[128:132] == b"DICM" else 0
    try:
        while buf[pos : pos + 2] == b"\2\0":
            tag, vr, length = _EXPLICIT(buf, pos)
            start = pos + 8
            if vr in LONG_VR:
                length = _LENGTH(buf, start)[0]
                start += 4
            elif vr not in SHORT_VR:
                raise Odd("file meta information of an unknown VR")
            end = start + length
            if end > len(buf):
                raise More(end)
            raw = (ANY_VR[vr], buf[start:end])
            result.found[tag] = memo.setdefault(raw, raw)
            pos = end
    except StructError:
        raise More(pos + 12) from None
    syntax = result.found.get(swap(TRANSFER_SYNTAX), ("UI", b""))[1]
    return pos, syntax.rstrip(b"\0 ").decode("ascii", "replace")


class _Walker:
    """The state of one walk; tags are kept as they stand in the file (`swap`)."""

    __slots__ = ("buf", "found", "memo", "private", "result", "size")

    def __init__(self, buf: bytes, size: int, result: Walked, memo: Memo) -> None:
        self.buf, self.size, self.result, self.memo = buf, size, result, memo
        self.found = result.found
        self.private: dict[int, Key] = {}

    def explicit(self, pos: int) -> None:
        """Walk over explicit VR elements. Written flat, for it takes most of the time of a scan."""
        buf, found, memo, private = self.buf, self.found, self.memo, self.private
        size, last = len(buf), 2
        try:
            while pos < size:
                tag, vr, length = _EXPLICIT(buf, pos)
                group = tag & 0xFFFF
                if group != last:
                    if group < last:
                        raise Odd("falling group number")
                    last = group
                start = pos + 8
                if vr not in SHORT_VR:
                    if vr not in LONG_VR:
                        raise Odd("unknown VR")
                    length = _LENGTH(buf, start)[0]
                    start += 4
                    if tag in _PIXEL:
                        return self.pixels(tag, start, length)
                    if length > LONG:
                        pos = self.long(tag, LONG_VR[vr], start, length)
                        continue
                key: Key | None = tag
                end = start + length
                if group & 1:
                    key = private.get(tag)
                    if key is None:
                        if tag < 0x01000000:
                            self.creator(tag, start, end)
                        pos = end
                        continue
                if end > size:
                    raise More(end)
                element = buf[pos:end]
                raw = memo.get(element)
                if raw is None:
                    raw = memo[element] = self.fresh(tag, ANY_VR[vr], buf[start:end])
                found[key] = raw  # type: ignore[index]
                pos = end
        except StructError:
            pass  # the buffer ends inside an element header
        self.stop(pos)

    def implicit(self, pos: int) -> None:
        """Walk over implicit VR elements; VRs come from the dictionary (PS3.5 section 7.1.3)."""
        buf, found, memo = self.buf, self.found, self.memo
        size, last = len(buf), 2
        try:
            while pos < size:
                tag, length = _IMPLICIT(buf, pos)
                group = tag & 0xFFFF
                if group < last:
                    raise Odd("falling group number")
                last = group
                start = pos + 8
                if tag in _PIXEL:
                    return self.pixels(tag, start, length)
                key: Key | None = self.private.get(tag) if group & 1 else tag
                if length > LONG:
                    pos = self.long(tag, self.vr(tag, key), start, length)
                    continue
                end = start + length
                if key is None:
                    if tag < 0x01000000:
                        self.creator(tag, start, end)
                elif end > size:
                    raise More(end)
                else:
                    raw = (self.vr(tag, key), buf[start:end])
                    found[key] = memo.setdefault(raw, raw)
                pos = end
        except StructError:
            pass  # the buffer ends inside an element header
        self.stop(pos)

    def fresh(self, tag: int, vr: str, value: bytes) -> Raw:
        """Make the shared (VR, value) of an element not met before."""
        if tag in _PIXEL:
            raise Odd("pixel data of a short VR")
        raw = (vr, value)
        return self.memo.setdefault(raw, raw)

    def stop(self, pos: int) -> None:
        """End the walk without pixel data, at the end of the file; zeros that fill it up are allowed."""
        if pos > self.size or len(self.buf) < self.size or self.buf[pos:].strip(b"\0"):
            raise More(pos + 12)
        self.result.end = pos

    def pixels(self, tag: int, start: int, length: int) -> None:
        """End the walk at the pixel data."""
        result = self.result
        result.pixel_tag, result.pixel_offset, result.end = _PIXEL[tag], start, start
        result.pixel_length = -1 if length == UNDEFINED else length

    def creator(self, tag: int, start: int, end: int) -> None:
        """Note which private elements of a block are wanted, once its creator is known (PS3.5 section 7.8.1)."""
        block, group = tag >> 16, tag & 0xFFFF
        if block < 0x10:
            return
        if end > len(self.buf):
            raise More(end)
        known = _CREATORS.get((self.buf[start:end].strip(b" \0"), group))
        if known is None:
            return
        creator, elements = known
        if creator == CSA_HEADER[0] and b"MOSAIC" not in self.found.get(_IMAGE_TYPE, ("CS", b""))[1]:
            return
        for element in elements:
            self.private[(block << 8 | element) << 16 | group] = (creator, group, element)

    def long(self, tag: int, vr: str, start: int, length: int) -> int:
        """Keep or skip a long value or one of undefined length; give the position of the next element."""
        key: Key | None = self.private.get(tag) if tag & 1 else tag
        if length == UNDEFINED:
            if vr != "SQ" and (key is not None or vr != "UN"):
                raise Odd(f"undefined length of VR {vr}")
            after = skip_sequence(self.buf, start, self.result.implicit or vr == "UN")
            end = after - 8
        else:
            after = end = start + length
        if key is None:
            return after
        if end > len(self.buf):
            raise More(end)
        raw = (vr, self.buf[start:end])
        if end - start <= LONG:
            raw = self.memo.setdefault(raw, raw)
        elif key != CSA_HEADER and vr not in TEXT_VR:
            self.result.offsets[key] = start
        self.found[key] = raw
        return after

    def vr(self, tag: int, key: Key | None) -> str:
        """Look up the VR of an implicit element."""
        if isinstance(key, tuple):
            return private_vr(key)
        vr = public_vr(swap(tag))
        if vr in ("US or SS", "US or SS or OW"):
            signed = self.found.get(_PIXEL_REPRESENTATION, ("US", b""))[1] == b"\1\0"
            return "SS" if signed else "US"
        return vr


def skip_sequence(buf: bytes, pos: int, implicit: bool) -> int:
    """Find the end of a sequence of undefined length by walking its items (PS3.5 section 7.5).

    Parameters
    ----------
    buf
        The first bytes of the file.
    pos
        Where the first item begins.
    implicit
        Whether the elements in the items have implicit VR.

    Returns
    -------
    int
        The position after the sequence's delimiter.
    """
    stack = [(False, implicit)]  # open sequences (False) and items (True) of undefined length, with their encoding
    try:
        while True:
            tag, length = _IMPLICIT(buf, pos)
            in_item, implicit = stack[-1]
            pos += 8
            if tag == _ITEM and not in_item:
                if length == UNDEFINED:
                    stack.append((True, implicit))
                else:
                    pos += length
            elif (tag == _ITEM_END and in_item) or (tag == _SEQUENCE_END and not in_item):
                if length:
                    raise Odd("a delimiter with a length")
                stack.pop()
                if not stack:
                    return pos
            elif not in_item or tag in (_ITEM, _SEQUENCE_END):
                raise Odd("an element between items")
            else:
                pos, length, inner = _nested(buf, pos, length, implicit)
                if length == UNDEFINED:
                    stack.append((False, inner))
                else:
                    pos += length
    except StructError:
        raise More(pos + 12) from None


def _nested(buf: bytes, pos: int, length: int, implicit: bool) -> tuple[int, int, bool]:
    """Complete the header of an element inside an item: where its value begins, its length, encoding of what it holds."""
    if implicit:
        return pos, length, True
    vr = buf[pos - 4 : pos - 2]
    if vr in SHORT_VR:
        return pos, length >> 16, False
    if vr not in LONG_VR:
        raise Odd("unknown VR in a sequence")
    return pos + 4, _LENGTH(buf, pos)[0], vr == b"UN"


@functools.cache
def public_vr(tag: int) -> str:
    """Give the dictionary's VR of a public tag, UN if unknown, UL for a group length; several VRs in one as OW."""
    from pydicom.datadict import dictionary_VR

    if not tag & 0xFFFF:
        return "UL"
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return "OW" if vr in ("OB or OW", "US or OW") else vr


_UIH_VR = {
    ("Image Private Header", 0x0065, 0x09): "FD",
    ("Image Private Header", 0x0065, 0x37): "FD",
    ("Image Private Header", 0x0065, 0x50): "DS",
    ("Image Private Header", 0x0065, 0x51): "SQ",
}
"""United Imaging's elements are in no dictionary of pydicom."""


@functools.cache
def private_vr(key: tuple[str, int, int]) -> str:
    """Give the VR of a wanted private element by pydicom's private dictionary, else UN."""
    from pydicom.datadict import private_dictionary_VR

    if key in _UIH_VR:
        return _UIH_VR[key]
    creator, group, element = key
    try:
        return private_dictionary_VR(group << 16 | 0x1000 | element, creator)
    except KeyError:
        return "UN"

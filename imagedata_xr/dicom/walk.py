"""One walk over the bytes of a header: the top-level elements of one DICOM file, undecoded.

The walk covers explicit and implicit little endian and never guesses: what it does not know it calls odd, and pydicom
reads that file (`reread`). PS3.5 section 7.1 describes the element headers, A.4 encapsulated pixel data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError  # noqa: N812

from .nested import skip_sequence
from .sniff import plausible
from .trouble import DamagedError, MoreError, OddError
from .vr import (
    ANY_VR,
    CSA_HEADER,
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    LONG,
    LONG_VR,
    PIXEL_TAGS,
    SHORT_VR,
    SIEMENS_B_VALUE,
    STANDARD_SYNTAXES,
    TEXT_VR,
    TRANSFER_SYNTAX,
    UNDEFINED,
    WANTED_PRIVATE,
    Key,
    Raw,
    needs_csa,
    private_vr,
    public_vr,
    swap,
)

_EXPLICIT = Struct("<I2sH").unpack_from
_IMPLICIT = Struct("<II").unpack_from
_LENGTH = Struct("<I").unpack_from
_PIXEL = {swap(tag): tag for tag in PIXEL_TAGS}
_CREATORS = {(creator.encode(), group): (creator, elements) for (creator, group), elements in WANTED_PRIVATE.items()}
_CSA_REASONS: tuple[Key, Key, Key] = (swap(0x00080008), swap(0x00180024), SIEMENS_B_VALUE)
_PIXEL_REPRESENTATION = swap(0x00280103)


@dataclass(slots=True)
class Seen:
    """What earlier walks of a scan have met, so that equal values share memory and are not parsed again."""

    explicit: dict[bytes, Raw] = field(default_factory=dict)
    """Explicit VR elements, header and value."""
    raws: dict[Raw, Raw] = field(default_factory=dict)
    sequences: dict[tuple[int, bool], bytes] = field(default_factory=dict)
    """The last sequence of undefined length by tag and encoding (implicit), up to the end of its delimiter."""

    def share(self, vr: str, value: bytes) -> Raw:
        """Give the one (VR, value) that equal elements share."""
        raw = (vr, value)
        return self.raws.setdefault(raw, raw)


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
    empty: bool = False
    """Whether nothing follows the file meta information."""
    end: int = 0
    """Where the header ends: the byte after the last element read, or the first of the pixel value."""


def walk(buf: bytes, size: int, seen: Seen) -> Walked:
    """Walk over the beginning of a file that has a preamble or begins with an element.

    Parameters
    ----------
    buf
        The first bytes of the file.
    size
        Length of the file in bytes.
    seen
        What earlier walks have met; one per scan.

    Raises
    ------
    MoreError
        `buf` ends before the header does; if `upto` lies behind `size` the file is truncated.
    OddError
        The header is of a kind that the walk does not know.
    DamagedError
        The header can't be told from garbage.
    """
    result = Walked()
    pos, syntax = _meta(buf, result, seen)
    if not syntax:
        syntax = _guess(buf, pos, size)
    elif syntax in (DEFLATED_LE, EXPLICIT_BE) or not (syntax + ".").startswith(STANDARD_SYNTAXES):
        raise OddError(f"transfer syntax {syntax}")
    result.syntax = syntax
    result.implicit = syntax == IMPLICIT_LE
    walker = _Walker(buf, size, result, seen)
    if result.implicit:
        if (vr := buf[pos + 4 : pos + 6]).isalpha() and vr.isupper():
            raise OddError("explicit VR where implicit was announced")
        walker.implicit(pos)
    else:
        walker.explicit(pos)
    result.empty = result.end == pos
    return result


def _meta(buf: bytes, result: Walked, seen: Seen) -> tuple[int, str]:
    """Read the file meta information, always explicit little endian (PS3.10 section 7.1): its end and the syntax."""
    pos = 132 if buf[128:132] == b"DICM" else 0
    try:
        while buf[pos : pos + 2] == b"\2\0":
            tag, vr, length = _EXPLICIT(buf, pos)
            start = pos + 8
            if vr in LONG_VR:
                length = _LENGTH(buf, start)[0]
                start += 4
            elif vr not in SHORT_VR:
                raise OddError("file meta information of an unknown VR")
            end = start + length
            if end > len(buf):
                raise MoreError(end)
            result.found[tag] = seen.share(ANY_VR[vr], buf[start:end])
            pos = end
    except StructError:
        raise MoreError(pos + 12) from None
    syntax = result.found.get(swap(TRANSFER_SYNTAX), ("UI", b""))[1]
    return pos, syntax.rstrip(b"\0 ").decode("latin-1")


def _guess(buf: bytes, pos: int, size: int) -> str:
    """Tell the encoding of a data set without transfer syntax by its first elements, if they leave no doubt."""
    if len(buf) < size and len(buf) < pos + 4096:
        raise MoreError(pos + 4096)
    if pos < size and not plausible(buf, pos):
        raise DamagedError("it has no transfer syntax, and its first elements do not show one")
    if buf[pos + 1 : pos + 2] > b"\3":  # a group number in big endian
        raise OddError("perhaps big endian")
    return EXPLICIT_LE if buf[pos + 4 : pos + 6] in ANY_VR else IMPLICIT_LE


class _Walker:
    """The state of one walk; tags are kept as they stand in the file (`swap`)."""

    __slots__ = ("buf", "found", "private", "result", "seen", "size")

    def __init__(self, buf: bytes, size: int, result: Walked, seen: Seen) -> None:
        self.buf, self.size, self.result, self.seen = buf, size, result, seen
        self.found = result.found
        self.private: dict[int, Key] = {}

    def explicit(self, pos: int) -> None:
        """Walk over explicit VR elements. Written flat, for it takes most of the time of a scan."""
        buf, found, memo, private = self.buf, self.found, self.seen.explicit, self.private
        size, last = len(buf), 2
        try:
            while pos < size:
                tag, vr, length = _EXPLICIT(buf, pos)
                group = tag & 0xFFFF
                if group != last:
                    if group < last:
                        raise OddError("falling group number")
                    last = group
                start = pos + 8
                if vr not in SHORT_VR:
                    if vr not in LONG_VR:
                        raise OddError("unknown VR")
                    length = _LENGTH(buf, start)[0]
                    start += 4
                    if tag in _PIXEL:
                        self.pixels(tag, start, length)
                        return
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
                    raise MoreError(end)
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
        buf, found, share = self.buf, self.found, self.seen.share
        size, last = len(buf), 2
        try:
            while pos < size:
                tag, length = _IMPLICIT(buf, pos)
                group = tag & 0xFFFF
                if group < last:
                    raise OddError("falling group number")
                last = group
                start = pos + 8
                if tag in _PIXEL:
                    self.pixels(tag, start, length)
                    return
                key: Key | None = self.private.get(tag) if group & 1 else tag
                if length > LONG:
                    pos = self.long(tag, self.vr(tag, key), start, length)
                    continue
                end = start + length
                if key is None:
                    if tag < 0x01000000:
                        self.creator(tag, start, end)
                elif end > size:
                    raise MoreError(end)
                else:
                    found[key] = share(self.vr(tag, key), buf[start:end])
                pos = end
        except StructError:
            pass  # the buffer ends inside an element header
        self.stop(pos)

    def fresh(self, tag: int, vr: str, value: bytes) -> Raw:
        """Make the shared (VR, value) of an element not met before."""
        if tag in _PIXEL:
            raise OddError("pixel data of a short VR")
        return self.seen.share(vr, value)

    def stop(self, pos: int) -> None:
        """End the walk without pixel data, at the end of the file; zeros that fill it up are allowed."""
        if pos > self.size or len(self.buf) < self.size or self.buf[pos:].strip(b"\0"):
            raise MoreError(pos + 12)
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
            raise MoreError(end)
        known = _CREATORS.get((self.buf[start:end].strip(b" \0"), group))
        if known is None:
            return
        creator, elements = known
        if creator == CSA_HEADER[0] and not needs_csa(*(self.found.get(key) for key in _CSA_REASONS)):
            return
        for element in elements:
            self.private[(block << 8 | element) << 16 | group] = (creator, group, element)

    def long(self, tag: int, vr: str, start: int, length: int) -> int:
        """Keep or skip a long value or one of undefined length; give the position of the next element."""
        key: Key | None = self.private.get(tag) if tag & 1 else tag
        if length == UNDEFINED:
            if vr != "SQ" and (key is not None or vr != "UN"):
                raise OddError(f"undefined length of VR {vr}")
            after = self.end_of_sequence(tag, start, self.result.implicit or vr == "UN")
            end = after - 8
        else:
            after = end = start + length
        if key is None:
            return after
        if end > len(self.buf):
            raise MoreError(end)
        value = self.buf[start:end]
        if len(value) <= LONG:
            self.found[key] = self.seen.share(vr, value)
            return after
        self.found[key] = (vr, value)
        if key != CSA_HEADER and vr not in TEXT_VR:
            self.result.offsets[key] = start
        return after

    def end_of_sequence(self, tag: int, start: int, implicit: bool) -> int:
        """Find the end of a sequence of undefined length; bytes that were walked before need no second walk."""
        buf, known = self.buf, self.seen.sequences
        last = known.get((tag, implicit))
        if last and buf.startswith(last, start):
            return start + len(last)
        after = skip_sequence(buf, start, implicit)
        known[tag, implicit] = buf[start:after]
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

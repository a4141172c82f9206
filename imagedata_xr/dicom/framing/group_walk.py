"""One walk over the items of functional groups, and pydicom's reading of the same bytes where the walk is in doubt.

Both give the same: for each item the undecoded elements that are wanted, by their number in the list of columns.
PS3.5 section 7.5 describes the nesting of sequences.
"""

from __future__ import annotations

import warnings
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, cast

from ..scanning.elements import to_dataset
from ..scanning.nested import skip_sequence
from ..scanning.reread import _garbage
from ..scanning.trouble import DamagedError, MoreError, OddError
from ..scanning.vr import ANY_VR, LONG_VR, SHORT_VR, UNDEFINED, Raw, public_vr, swap
from .group_table import Layout, Node

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

_EXPLICIT = Struct("<I2sH").unpack_from
_IMPLICIT = Struct("<II").unpack_from
_LENGTH = Struct("<I").unpack_from
_ITEM, _ITEM_END, _SEQUENCE_END = swap(0xFFFEE000), swap(0xFFFEE00D), swap(0xFFFEE0DD)
_DELIMITERS = (_ITEM, _ITEM_END, _SEQUENCE_END)
_SEQUENCES = (b"SQ", b"UN")

SMALL, MOULDS = 100, 8
"""Sequences up to this many bytes are walked rather than compared; forms that are kept of each kind."""

LEARNT = 16
"""Items of which the form is learnt: where those that follow are all of other forms, it is of no use."""

Found = dict[int, Raw]
"""Elements of one item by the number of their column."""


def walk_items(buf: bytes, implicit: bool, layout: Layout) -> list[Found]:
    """Find the wanted elements of each item of a sequence.

    Parameters
    ----------
    buf
        Value of the sequence: its items without the delimiter at its end, little endian.
    implicit
        Whether the elements have implicit VR.
    layout
        What is wanted.

    Raises
    ------
    OddError
        The bytes are not as the standard wants them.
    """
    walker = _Walker(buf, layout.vrs)
    out: list[Found] = []
    pos, size = 0, len(buf)
    forms: list[_Mould] = []
    learnt = 0
    try:
        while pos < size:
            form = next((one for one in forms if one.fits(buf[pos : pos + one.size])), None)
            if form is not None:
                out.append(form.values(buf, pos))
                pos += form.size
                continue
            found: Found = {}
            after = walker.item(pos, implicit, layout.tree, found)
            if after > size:
                raise OddError("an item beyond the end of its sequence")
            out.append(found)
            walker.holes.clear()
            walker.slots.clear()
            if learnt < LEARNT and after < size:
                learnt += 1
                forms.insert(0, _form_of(buf[pos:after], implicit, layout))
                del forms[MOULDS:]
            pos = after
    except (StructError, MoreError, RecursionError):
        raise OddError("an element beyond the end of its sequence") from None
    return out


def _form_of(item: bytes, implicit: bool, layout: Layout) -> _Mould:
    """Form of a whole item: walked by itself, without what was met before, so that all its values are holes."""
    walker, found = _Walker(item, layout.vrs), Found()
    walker.item(0, implicit, layout.tree, found)
    return _Mould(item, walker.holes, walker.slots, found)


class _Mould:
    """A sequence that was walked, with holes for its values: one that fits holds the same elements, equally long."""

    __slots__ = ("constant", "headers", "mask", "numbers", "size", "unpack", "vrs")

    def __init__(self, raw: bytes, holes: list[tuple[int, int]], slots: list[tuple[int, str, int, int]], all_: Found):
        mask = bytearray(b"\xff" * len(raw))
        for start, end in holes:
            mask[start:end] = bytes(end - start)
        self.size, self.mask = len(raw), int.from_bytes(mask, "little")
        self.headers = int.from_bytes(raw, "little") & self.mask
        self.numbers, self.vrs = tuple(slot[0] for slot in slots), tuple(slot[1] for slot in slots)
        ends = [0, *(end for _, _, _, end in slots)]
        steps = [f"{start - before}x{end - start}s" for before, (_, _, start, end) in zip(ends, slots, strict=False)]
        self.unpack = Struct("".join(steps)).unpack_from
        self.constant = {number: held for number, held in all_.items() if number not in self.numbers}

    def fits(self, raw: bytes) -> bool:
        """Tell whether every byte but those of values is equal: tags, VRs, lengths, delimiters, private creators."""
        return len(raw) == self.size and int.from_bytes(raw, "little") & self.mask == self.headers

    def values(self, buf: bytes, pos: int) -> Found:
        """Give the elements of a sequence that begins at `pos`, and fits."""
        return self.constant | dict(zip(self.numbers, zip(self.vrs, self.unpack(buf, pos), strict=True), strict=True))


class _Walker:
    """The state of one walk."""

    __slots__ = ("buf", "holes", "met", "moulds", "slots", "vrs")

    def __init__(self, buf: bytes, vrs: tuple[str, ...]) -> None:
        self.buf, self.vrs = buf, vrs
        # the last sequence of each kind, header and all, and what it held: most are equal in many frames
        self.met: dict[tuple[Node | None, int, bool], tuple[bytes, Found]] = {}
        self.moulds: dict[tuple[Node | None, int, bool], list[_Mould]] = {}
        self.holes: list[tuple[int, int]] = []
        self.slots: list[tuple[int, str, int, int]] = []

    def item(self, pos: int, implicit: bool, node: Node, found: Found) -> int:
        """Read an item; give the position after it."""
        tag, length = _IMPLICIT(self.buf, pos)
        if tag != _ITEM:
            raise OddError("no item where one should begin")
        pos += 8
        if length == UNDEFINED:
            return self.elements(pos, -1, implicit, node, found)
        if pos + length > len(self.buf):
            raise OddError("an item beyond the end of its sequence")
        return self.elements(pos, pos + length, implicit, node, found)

    def elements(self, pos: int, end: int, implicit: bool, node: Node, found: Found) -> int:
        """Read the elements of an item up to `end`, or to its delimiter if that is -1. Flat, for it takes the time."""
        buf, vrs, public, size, holes = self.buf, self.vrs, node.public, len(self.buf), self.holes
        creators: dict[int, dict[int, Node | int]] = {}
        limit = size if end < 0 else end
        vr = b""
        while pos != end:
            if implicit:
                tag, length = _IMPLICIT(buf, pos)
                start = pos + 8
            else:
                tag, vr, length = _EXPLICIT(buf, pos)
                start = pos + 8
                if vr in LONG_VR:
                    length = _LENGTH(buf, start)[0]
                    start += 4
                elif vr not in SHORT_VR and tag not in _DELIMITERS:
                    raise OddError("unknown VR in an item")
            if tag in _DELIMITERS:
                if tag != _ITEM_END or end >= 0 or _LENGTH(buf, pos + 4)[0]:
                    raise OddError("a delimiter out of place")
                return pos + 8
            if not tag & 1:
                what = public.get(tag)
            elif tag > 0xFFFFFF:  # group and block, as the creator's own tag has them
                block = creators.get(tag >> 24 << 16 | tag & 0xFFFF)
                if block is None:
                    raise OddError("a private element before its creator")
                what = block.get(tag >> 16 & 0xFF)
            else:
                what = None
                creators[tag] = self.creator(tag, start, length, node)
            if length == UNDEFINED or (what is not None and what.__class__ is Node):
                if not implicit and vr not in _SEQUENCES:
                    raise OddError("a sequence of another VR")
                inner = what if isinstance(what, Node) else None
                pos = self.sequence(pos, start, length, implicit or vr == b"UN", inner, found)
            else:
                pos = start + length
                if not tag & 1 or tag > 0xFFFFFF:  # not a creator, which must stay as it is
                    holes.append((start, pos))
                if isinstance(what, int) and pos <= limit:
                    stated = vrs[what] if implicit or vr == b"UN" else ANY_VR[vr]
                    found[what] = (stated, buf[start:pos])
                    self.slots.append((what, stated, start, pos))
            if pos > limit:
                raise OddError("an element beyond the end of its item")
        return pos

    def creator(self, tag: int, start: int, length: int, node: Node) -> dict[int, Node | int]:
        """Tell what is wanted of a private block, by element byte (PS3.5 section 7.8.1)."""
        name = self.buf[start : start + length].strip(b"\0 ") if length != UNDEFINED else b""
        return node.private.get((name, tag & 0xFFFF)) or {}

    def sequence(self, pos: int, start: int, length: int, implicit: bool, node: Node | None, found: Found) -> int:
        """Read the first item of a sequence, whose header begins at `pos`; give the position after the sequence."""
        buf = self.buf
        kind = (node, _LENGTH(buf, pos)[0], implicit)
        last = self.met.get(kind)
        if last is not None and buf.startswith(last[0], pos):
            found.update(last[1])
            return pos + len(last[0])
        moulds = self.moulds.setdefault(kind, [])
        for mould in moulds:
            if mould.fits(buf[pos : pos + mould.size]):
                found.update(mould.values(buf, pos))
                return pos + mould.size
        if implicit and not kind[1] & 1 and public_vr(swap(kind[1])) not in ("SQ", "UN"):
            raise OddError("an element of undefined length that is no sequence")
        held: Found = {}
        holes, slots = len(self.holes), len(self.slots)
        after = self.walk_sequence(start, length, implicit, node, held)
        if node is not None and after - pos > SMALL:
            self.learn(moulds, buf[pos:after], pos, self.holes[holes:], self.slots[slots:], held)
        self.met[kind] = (buf[pos:after], held)
        found.update(held)
        return after

    def learn(
        self, moulds: list[_Mould], raw: bytes, pos: int, holes: list[tuple[int, int]],
        slots: list[tuple[int, str, int, int]], held: Found,
    ) -> None:  # fmt: skip
        """Keep the form of a sequence that begins at `pos`; of those known, the oldest gives way."""
        moved = [(number, vr, a - pos, b - pos) for number, vr, a, b in slots]
        moulds.insert(0, _Mould(raw, [(a - pos, b - pos) for a, b in holes], moved, held))
        del moulds[MOULDS:]

    def walk_sequence(self, start: int, length: int, implicit: bool, node: Node | None, held: Found) -> int:
        """Read the first item of a sequence whose value begins at `start`; give the position after it."""
        if length == UNDEFINED:
            after = start
            if node is not None and _LENGTH(self.buf, start)[0] == _ITEM:
                after = self.item(start, implicit, node, held)
            return skip_sequence(self.buf, after, implicit)
        after = start + length
        if node is not None and length and self.item(start, implicit, node, held) > after:
            raise OddError("an item beyond the end of its sequence")
        return after


def read_items(sequence: int, raw: Raw, implicit: bool, syntax: str, layout: Layout) -> list[Found]:
    """Find the same as `walk_items` by means of pydicom.

    Raises
    ------
    DamagedError
        pydicom can't read it either, a value is cut short, or a group is no sequence.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            items = to_dataset({sequence: raw}, syntax, implicit)[sequence].value
            if isinstance(items, bytes | str):
                raise DamagedError("its functional groups are no sequence")
            out: list[Found] = []
            for item in items or ():
                out.append({})
                _read_item(item, layout.tree, layout.vrs, out[-1])
            return out
    except _garbage() as error:
        raise DamagedError(f"its functional groups can't be parsed ({type(error).__name__})") from error


def _read_item(item: Dataset, node: Node, vrs: tuple[str, ...], found: Found) -> None:
    wanted = {swap(tag): what for tag, what in node.public.items()}
    for (creator, group), elements in node.private.items():
        if creator.decode() in item.private_creators(group):
            block = item.private_block(group, creator.decode())
            wanted.update({int(block.get_tag(element)): what for element, what in elements.items()})
    for tag, what in wanted.items():
        if tag not in item:
            continue
        elem = cast("RawDataElement | DataElement", item.get_item(tag))
        raw = cast("RawDataElement", elem) if elem.is_raw else None
        if raw is not None and raw.length not in (UNDEFINED, len(raw.value or b"")):
            raise DamagedError("it is truncated: a value in its functional groups is cut short")
        if isinstance(what, Node):
            inner = item[tag]
            if inner.VR != "SQ":
                raise DamagedError(f"its functional group ({tag >> 16:04X},{tag & 0xFFFF:04X}) is no sequence")
            for first in inner.value[:1]:
                _read_item(first, what, vrs, found)
        elif raw is not None:
            vr = raw.VR if raw.VR and raw.VR != "UN" else vrs[what]
            found[what] = (vr, raw.value or b"")

"""Finding the end of sequences of undefined length, without decoding them (PS3.5 section 7.5)."""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812

from .trouble import MoreError, OddError
from .vr import LONG_VR, SHORT_VR, UNDEFINED, swap

_HEADER = Struct("<II").unpack_from
_LENGTH = Struct("<I").unpack_from
_LONGEST = 64 * 1024
"""Layouts of longer sequences are not kept, bytes."""
_KEPT = 4
_ITEM, _ITEM_END, _SEQUENCE_END = swap(0xFFFEE000), swap(0xFFFEE00D), swap(0xFFFEE0DD)


class Layouts:
    """Finds the end of sequences: one with the element headers of an earlier one at the same places ends as that did.

    Files of a series have the same private sequences with other values. Comparing all headers at once, as one large
    number, takes a small part of the time of a walk and proves as much.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[int, bool], list[tuple[int, int, int]]] = {}
        """By tag and encoding (implicit): length in bytes, a mask of the bytes of headers, and these bytes."""

    def end(self, buf: bytes, pos: int, tag: int, implicit: bool) -> int:
        """Find the position after a sequence of undefined length whose first item begins at `pos`."""
        known = self.known.setdefault((tag, implicit), [])
        for length, mask, headers in known:
            if pos + length <= len(buf) and int.from_bytes(buf[pos : pos + length], "little") & mask == headers:
                return pos + length
        places: list[tuple[int, int]] = []
        after = skip_sequence(buf, pos, implicit, places)
        if after - pos <= _LONGEST:
            covered = bytearray(after - pos)
            for start, stop in places:
                covered[start - pos : stop - pos] = b"\xff" * (stop - start)
            mask = int.from_bytes(covered, "little")
            known.insert(0, (after - pos, mask, int.from_bytes(buf[pos:after], "little") & mask))
            del known[_KEPT:]
        return after


def skip_sequence(buf: bytes, pos: int, implicit: bool, places: list[tuple[int, int]] | None = None) -> int:
    """Find the end of a sequence of undefined length by walking its items (PS3.5 section 7.5).

    Parameters
    ----------
    buf
        The first bytes of the file.
    pos
        Where the first item begins.
    implicit
        Whether the elements in the items have implicit VR.
    places
        Gets where each header begins and ends, if given.

    Returns
    -------
    int
        The position after the sequence's delimiter.
    """
    stack = [(False, implicit)]  # open sequences (False) and items (True) of undefined length, with their encoding
    try:
        while True:
            tag, length = _HEADER(buf, pos)
            in_item, implicit = stack[-1]
            start, skipped = pos, 0
            pos += 8
            if tag == _ITEM and not in_item:
                if length == UNDEFINED:
                    stack.append((True, implicit))
                else:
                    skipped = length
            elif (tag == _ITEM_END and in_item) or (tag == _SEQUENCE_END and not in_item):
                if length:
                    raise OddError("a delimiter with a length")
                stack.pop()
            elif not in_item or tag in (_ITEM, _SEQUENCE_END):
                raise OddError("an element between items")
            else:
                pos, length, inner = _nested(buf, pos, length, implicit)
                if length == UNDEFINED:
                    stack.append((False, inner))
                else:
                    skipped = length
            if places is not None:
                places.append((start, pos))
            if not stack:
                return pos
            pos += skipped
    except StructError:
        raise MoreError(pos + 12) from None


def _nested(buf: bytes, pos: int, length: int, implicit: bool) -> tuple[int, int, bool]:
    """Complete the header of an element inside an item: where its value begins, its length, whether it is implicit."""
    if implicit:
        return pos, length, True
    vr = buf[pos - 4 : pos - 2]
    if vr in SHORT_VR:
        return pos, length >> 16, False
    if vr not in LONG_VR:
        raise OddError("unknown VR in a sequence")
    return pos + 4, _LENGTH(buf, pos)[0], vr == b"UN"

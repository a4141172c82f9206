"""Finding the end of sequences of undefined length, without decoding them (PS3.5 section 7.5)."""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812

from .trouble import MoreError, OddError
from .vr import LONG_VR, SHORT_VR, UNDEFINED, swap

_HEADER = Struct("<II").unpack_from
_LENGTH = Struct("<I").unpack_from
_ITEM, _ITEM_END, _SEQUENCE_END = swap(0xFFFEE000), swap(0xFFFEE00D), swap(0xFFFEE0DD)


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
            tag, length = _HEADER(buf, pos)
            in_item, implicit = stack[-1]
            pos += 8
            if tag == _ITEM and not in_item:
                if length == UNDEFINED:
                    stack.append((True, implicit))
                else:
                    pos += length
            elif (tag == _ITEM_END and in_item) or (tag == _SEQUENCE_END and not in_item):
                if length:
                    raise OddError("a delimiter with a length")
                stack.pop()
                if not stack:
                    return pos
            elif not in_item or tag in (_ITEM, _SEQUENCE_END):
                raise OddError("an element between items")
            else:
                pos, length, inner = _nested(buf, pos, length, implicit)
                if length == UNDEFINED:
                    stack.append((False, inner))
                else:
                    pos += length
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

"""Telling DICOM from other files by their first bytes."""

from __future__ import annotations

from typing import Literal

from .vr import LONG_VR, PIXEL_TAGS, SHORT_VR, public_vr

_LOW = tuple(bytes([group, 0]) for group in (0, 1, 3, 4, 5, 6, 7))
_MOST_BEFORE = 1024
_ITEM_OR_END = (b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0")


def looks_like_dicom(buf: bytes) -> bool:
    """Tell whether a file's first bytes are DICOM: a preamble, or plausible elements where that is missing."""
    start = before_data_set(buf)
    return buf[128:132] == b"DICM" or (
        buf[start : start + 2] in (b"\2\0", b"\10\0", b"\0\10") and plausible(buf, start)
    )


def before_data_set(buf: bytes) -> int:
    """Length of the elements of groups 0 to 7 with which files without a preamble may begin, as they were sent.

    These are commands (PS3.7) in implicit VR little endian, or private elements of the sender, which may have their VR;
    group 2 is file meta information. 0 where there is none, or where no group 8 follows.
    """
    pos = 0
    while buf[pos : pos + 2] in _LOW and pos < _MOST_BEFORE:
        vr = buf[pos + 4 : pos + 6]
        at, size = (pos + 8, 4) if vr in LONG_VR else (pos + 6, 2) if vr in SHORT_VR else (pos + 4, 4)
        pos = at + size + int.from_bytes(buf[at : at + size], "little")
    return pos if buf[pos : pos + 2] == b"\10\0" else 0


def plausible(buf: bytes, pos: int) -> bool:
    """Tell whether two elements that hardly occur by chance begin at a position.

    They must be known to the dictionary, ascend, and have the dictionary's VR (explicit) or a short value (implicit).
    """
    order: Literal["big", "little"] = "little" if buf[pos : pos + 1] != b"\0" else "big"
    last = -1
    for _ in range(2):
        if len(buf) < pos + 8:
            return False
        group, element = (int.from_bytes(buf[at : at + 2], order) for at in (pos, pos + 2))
        tag = group << 16 | element
        vr, length = buf[pos + 4 : pos + 6], int.from_bytes(buf[pos + 6 : pos + 8], order)
        if vr in LONG_VR:
            length = int.from_bytes(buf[pos + 8 : pos + 12], order) + 4
        elif vr not in SHORT_VR:
            if order == "big":
                return False
            vr, length = b"", int.from_bytes(buf[pos + 4 : pos + 8], "little")
        known = public_vr(tag)
        if tag in PIXEL_TAGS or _is_sequence(buf, pos, vr):
            return True
        if tag <= last or known == "UN" or length > 1024 or (vr and vr.decode() not in (known, "UN")):
            return False
        last, pos = tag, pos + 8 + length
    return True


def _is_sequence(buf: bytes, pos: int, vr: bytes) -> bool:
    """Tell whether a sequence of undefined length begins at a position: its first item, or its end, follows at once."""
    start = pos + (12 if vr else 8)
    return vr in (b"", b"SQ") and buf[start - 4 : start + 4] in (b"\xff" * 4 + tag for tag in _ITEM_OR_END)

"""Telling DICOM from other files by their first bytes."""

from __future__ import annotations

from typing import Literal

from .vr import LONG_VR, SHORT_VR, public_vr


def looks_like_dicom(buf: bytes) -> bool:
    """Tell whether a file's first bytes are DICOM: a preamble, or two plausible elements where one is missing.

    Without "DICM" at byte 128 the first two elements must be known to the dictionary, ascending, begin in group 2 or 8,
    and have a fitting VR (explicit) or a short value (implicit).
    """
    if buf[128:132] == b"DICM":
        return True
    if buf[:2] not in (b"\2\0", b"\10\0", b"\0\10"):
        return False
    order: Literal["big", "little"] = "little" if buf[0] else "big"
    pos, last = 0, -1
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
        if tag <= last or known == "UN" or length > 1024 or (vr and vr.decode() not in (known, "UN")):
            return False
        last, pos = tag, pos + 8 + length
    return True

"""What the first bytes of a compressed frame say of it: its size, precision, sign and colours."""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack_from

_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Start of frame of JPEG (ISO/IEC 10918-1 table B.1), and of JPEG-LS (ISO/IEC 14495-1 section C.1.1)."""
END, _TILE_PART = b"\xff\xd9", b"\xff\x90"
_ALONE = {0x01, *range(0xD0, 0xD9)}


@dataclass(frozen=True)
class Codestream:
    """What a codestream says.

    Attributes
    ----------
    rows, cols, samples : int
    precision : int
        Bits of a sample.
    signed : bool
        JPEG and JPEG-LS know unsigned samples only.
    rgb, ybr : bool
        Whether its own markers say that colours are RGB, or luminance and chrominance; neither where they don't.
    transformed : int, optional
        Transform of the Adobe marker, 0 for none and 1 for luminance and chrominance.
    whole : bool
        Whether it has an end, or lacks nothing else.
    endless : int
        Where the marker of its end should stand, if nothing but that is missing; else 0.
    """

    rows: int
    cols: int
    samples: int
    precision: int
    signed: bool = False
    rgb: bool = False
    ybr: bool = False
    transformed: int | None = None
    whole: bool = True
    endless: int = 0


def parse(family: str, data: bytes) -> Codestream | None:
    """Read the markers of a frame; None for what has none, or none that can be told."""
    if family in ("jpeg", "jpegls"):
        return _jpeg(data)
    return _jpeg2000(data) if family == "jpeg2000" else None


def _jpeg(data: bytes) -> Codestream | None:
    at = data.find(b"\xff\xd8", 0, 64)
    if at < 0:
        return None
    at += 2
    jfif, transformed = False, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if marker in _SOF:
            return _frame(data, segment, jfif, transformed)
        if marker == 0xDA or length < 2:
            return None
        if marker == 0xE0 and segment.startswith(b"JFIF"):
            jfif = True
        if marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            transformed = segment[11]
        at += 2 + length
    return None


def _frame(data: bytes, segment: bytes, jfif: bool, transformed: int | None) -> Codestream | None:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        return None
    ids = bytes(segment[6 : 6 + 3 * segment[5] : 3])
    rgb = ids in (b"RGB", b"rgb")
    return Codestream(
        rows=int.from_bytes(segment[1:3], "big"),
        cols=int.from_bytes(segment[3:5], "big"),
        samples=segment[5],
        precision=segment[0],
        rgb=rgb,
        ybr=not rgb and (transformed == 1 or (jfif and transformed is None)),
        transformed=transformed,
        whole=_ended(data),
    )


def _ended(data: bytes) -> bool:
    """Whether the marker of the end stands at the end, but for what fills up a fragment."""
    return END in data[-64:] or END in data.rstrip(b"\0")[-64:]


def _jpeg2000(data: bytes) -> Codestream | None:
    at = data.find(b"\xff\x4f\xff\x51", 0, 8192)  # some files wrap the codestream in the boxes of a JP2 file
    if at < 0 or len(data) < at + 45:
        return None

    def number(start: int, size: int = 4) -> int:
        return int.from_bytes(data[at + start : at + start + size], "big")

    ended = _ended(data)
    endless = 0 if ended else _end_of_tiles(data, at)
    depth = data[at + 42]  # ISO/IEC 15444-1 section A.5.1
    return Codestream(
        rows=number(12) - number(20),
        cols=number(8) - number(16),
        samples=number(40, 2),
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        whole=ended or endless > 0,
        endless=endless,
    )


def _end_of_tiles(data: bytes, at: int) -> int:
    """Where a codestream of JPEG 2000 that begins at a byte has had all of its tile-parts; 0 if that is not sure.

    Each says its length, and how many there are of its tile (ISO/IEC 15444-1 section A.4.2).
    """
    wide, high, _, _, step_x, step_y, origin_x, origin_y = unpack_from(">4x2I2I2I2I", data, at + 4)
    if not step_x or not step_y:
        return 0
    tiles = -(-(wide - origin_x) // step_x) * -(-(high - origin_y) // step_y)
    at += 2
    while (marker := data[at : at + 2]) != _TILE_PART:  # the main header
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker[:1] != b"\xff" or length < 2:
            return 0
        at += 2 + length
    there: dict[int, set[int]] = {}
    announced: dict[int, int] = {}
    while data[at : at + 2] == _TILE_PART and len(data) >= at + 12:
        _, tile, length, part, parts = unpack_from(">2HI2B", data, at + 2)
        if length < 14:  # 0 stands for all that follows
            return 0
        there.setdefault(tile, set()).add(part)
        announced[tile] = max(parts, announced.get(tile, 0))
        at += length
    complete = [tile for tile, found in there.items() if len(found) == announced[tile]]
    return at if len(complete) == tiles and at <= len(data) and not data[at:].strip(b"\0") else 0

"""What compressed and native pixel data hold besides pixels: comments, data of applications, what follows the end.

Devices and programs write texts there, which no element of the header tells of. They are overwritten with zeros in
place, so that lengths and offsets stay; what decoders need (JFIF, Adobe, SPIFF, colour profiles) is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import UID

_ITEM = b"\xfe\xff\x00\xe0"  # PS3.5 A.4
_SOI, _SOC = b"\xff\xd8", b"\xff\x4f\xff\x51"
_EOI, _COM = 0xD9, 0xFE
_J2K_SOT, _J2K_SOD, _J2K_COM = 0x90, 0x93, 0x64
_NEEDED: dict[int, bytes | tuple[bytes, ...]] = {
    0xE0: b"JFIF\0",
    0xE2: b"ICC_PROFILE\0",
    0xE8: (b"SPIFF\0", b"mrfx"),
    0xEE: b"Adobe",
}
"""Segments of applications that decoders need, by how they begin."""
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")  # within coded data 0xFF precedes a small byte, or a restart


def without_texts(ds: Dataset) -> None:
    """Take what is no pixel out of the pixel data of an instance, in place.

    Parameters
    ----------
    ds : pydicom.Dataset
        With ``file_meta`` and Pixel Data as stored.
    """
    if "PixelData" not in ds or not isinstance(ds["PixelData"].value, bytes):
        return
    element = ds["PixelData"]
    syntax = UID(str(ds.file_meta.get("TransferSyntaxUID") or "1.2.840.10008.1.2"))
    if not syntax.is_transfer_syntax:
        return
    if not syntax.is_compressed or syntax == "1.2.840.10008.1.2.1.99":  # deflated: native once it is read
        element.value = _cut(ds, element.value)
        return
    data = bytearray(element.value)
    for pieces in _streams(element.value):
        stream = bytearray(b"".join(data[slice(*piece)] for piece in pieces))
        if stream.startswith(_SOI):
            _clean_jpeg(stream)
        elif stream.startswith(_SOC):
            _clean_jpeg2000(stream)
        at = 0
        for start, end in pieces:
            data[start:end] = stream[at : at + end - start]
            at += end - start
    if data != element.value:
        element.value = bytes(data)


def _cut(ds: Dataset, data: bytes) -> bytes:
    """Native pixel data without what follows the last pixel."""
    if str(ds.get("PhotometricInterpretation") or "").endswith(("_422", "_420")):
        return data  # chrominance is stored for some pixels only
    try:
        count = int(ds.Rows) * int(ds.Columns) * int(ds.get("SamplesPerPixel") or 1)
        length = (count * int(ds.get("NumberOfFrames") or 1) * int(ds.BitsAllocated) + 7) // 8
    except (AttributeError, TypeError, ValueError):
        return data
    return data if len(data) <= length + 1 else data[:length] + b"\0" * (length % 2)


def _fragments(data: bytes) -> Iterator[tuple[int, int]]:
    """Bytes of each fragment of encapsulated pixel data; the first item is the offset table."""
    at, first = 0, True
    while data.startswith(_ITEM, at):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if not first:
            yield at + 8, min(at + 8 + length, len(data))
        at, first = at + 8 + length, False


def _streams(data: bytes) -> Iterator[list[tuple[int, int]]]:
    """Fragments of each code stream, which may stand in several."""
    pieces: list[tuple[int, int]] = []
    for start, end in _fragments(data):
        if pieces and data.startswith((_SOI, _SOC), start):
            yield pieces
            pieces = []
        pieces.append((start, end))
    if pieces:
        yield pieces


def _blank(data: bytearray, start: int, end: int) -> None:
    data[start:end] = bytes(max(end - start, 0))


def _length(data: bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _clean_jpeg(data: bytearray) -> None:
    """Clean a JPEG or JPEG-LS stream (ISO/IEC 10918-1 B.1, 14495-1 C.1)."""
    at, end = 2, len(data)
    while found := _MARKER.search(data, at, end):
        at, kind = found.start(), data[found.start() + 1]
        if kind == _EOI:
            _blank(data, at + 2, end)
            return
        stop = min(at + 2 + _length(data, at + 2), end)
        needed = kind in _NEEDED and data.startswith(_NEEDED[kind], at + 4)
        if kind == _COM or (0xE0 <= kind <= 0xEF and not needed):
            _blank(data, at + 4, stop)
        at = max(stop, at + 2)


def _clean_jpeg2000(data: bytearray) -> None:
    """Clean the headers of a JPEG 2000 code stream and of its tile parts (ISO/IEC 15444-1 A.2)."""
    at, part, end = 2, 0, len(data)
    while at + 2 <= end and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == _EOI:
            _blank(data, at + 2, end)
            return
        if kind == _J2K_SOD:  # then come packets, up to the next tile part
            if part <= at:
                return
            at = part
            continue
        stop = min(at + 2 + _length(data, at + 2), end)
        if kind == _J2K_SOT:
            length = int.from_bytes(data[at + 6 : at + 10], "big")
            part = at + length if length else 0
        elif kind == _J2K_COM:
            _blank(data, at + 6, stop)
        at = max(stop, at + 2)

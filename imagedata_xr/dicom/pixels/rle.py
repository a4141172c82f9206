"""RLE (PS3.5 annex G), decoded so that a segment which gives other than its part of the frame is refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError

_HEADER = 64


def decode_rle(data: bytes, rows: int, cols: int, samples: int, bits: int) -> NDArray[np.unsignedinteger]:
    """Decode one frame.

    Parameters
    ----------
    data : bytes
    rows, cols, samples : int
    bits : int
        Bits Allocated, a multiple of 8.

    Returns
    -------
    ndarray, shape (rows, cols[, samples])
        Unsigned, little endian.

    Raises
    ------
    SourceError
        It has another number of segments than the frame needs, or one of them another length.
    """
    width = bits // 8
    offsets = np.frombuffer(data[:_HEADER].ljust(_HEADER, b"\0"), dtype="<u4").tolist()
    count, starts = offsets[0], offsets[1:]
    if count != samples * width:
        raise SourceError(f"it has {count} segments, where {samples} samples of {bits} bits need {samples * width}")
    ends = [*starts[1:count], len(data)]
    if starts[0] != _HEADER or any(a > b for a, b in zip(starts[:count], ends, strict=True)):
        raise SourceError(f"its segments can't begin at the bytes {starts[:count]} of {len(data)}")
    planes = [_segment(data, a, b, rows * cols, k) for k, (a, b) in enumerate(zip(starts, ends, strict=False), 1)]
    # the most significant byte comes first (section G.2)
    table = np.array(planes).reshape(samples, width, rows, cols)[:, ::-1]
    out = np.ascontiguousarray(np.moveaxis(table, (0, 1), (2, 3))).view(f"<u{width}")[..., 0]
    return out[..., 0] if samples == 1 else out


def _segment(data: bytes, at: int, end: int, size: int, number: int) -> NDArray[np.uint8]:
    """Undo the runs of one segment (section G.3.2); what follows its last byte may only be padding."""
    out = bytearray()
    while at < end and len(out) < size:
        head = data[at]
        if head < 128:
            out += data[at + 1 : min(at + 2 + head, end)]
            at += 2 + head
        elif head > 128:
            out += data[at + 1 : min(at + 2, end)] * (257 - head)
            at += 2
        else:
            at += 1
    rest = data[at:end]
    if len(out) != size or rest.strip(b"\0"):
        more = "" if len(out) != size else f", and {len(rest)} bytes follow"
        raise SourceError(f"it is damaged: segment {number} gives {len(out)} of {size} bytes{more}")
    return np.frombuffer(bytes(out), dtype=np.uint8)

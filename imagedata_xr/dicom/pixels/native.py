"""Values of native frames that can't be taken from the file as they lie there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
from .pixel_format import PixelFormat


def native_values(data: bytes, f: PixelFormat, first_bit: int = 0, big: bool = False) -> NDArray[Any]:
    """Values of one frame that is not compressed.

    Parameters
    ----------
    data : bytes
        From the byte on in which the frame begins.
    f : PixelFormat
    first_bit : int
        Where in the first byte a frame of single bits begins (PS3.5 section 8.1.1).
    big : bool
        Whether numbers are big endian.

    Returns
    -------
    ndarray, shape (rows, cols[, samples])
        Stored numbers, cleaned.

    Raises
    ------
    SourceError
        There are too few bytes.
    """
    samples = 2 if f.halved else f.samples
    count = f.rows * f.cols * samples
    if f.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little")[first_bit : first_bit + count]
        values = bits.view(f.stored_dtype)
    else:
        stored = f.stored_dtype.newbyteorder(">" if big else "<")
        values = np.frombuffer(data[: len(data) // stored.itemsize * stored.itemsize], stored)[:count]
        values = values.astype(f.stored_dtype, copy=False)
    if values.size < count:
        raise SourceError(f"it has {values.size} values, where the header announces {count}")
    if f.halved:
        return f.clean(_doubled(values, f))
    if f.samples == 1:
        return f.clean(values.reshape(f.rows, f.cols))
    if f.planar:
        return f.clean(np.moveaxis(values.reshape(f.samples, f.rows, f.cols), 0, -1))
    return f.clean(values.reshape(f.rows, f.cols, f.samples))


def _doubled(values: NDArray[Any], f: PixelFormat) -> NDArray[Any]:
    """Pixels of their own from pairs that share their chrominance: Y1 Y2 Cb Cr (PS3.3 section C.7.6.3.1.2)."""
    pairs = values.reshape(-1, 4)
    out = np.empty((len(pairs), 2, 3), dtype=values.dtype)
    out[:, 0, 0], out[:, 1, 0] = pairs[:, 0], pairs[:, 1]
    out[:, :, 1:] = pairs[:, None, 2:]
    return out.reshape(f.rows, f.cols, 3)


def swapped_words(data: bytes) -> bytes:
    """Bytes that were written as big endian words of 16 bits (PS3.5 section 7.3), of even length."""
    return np.frombuffer(data, "<u2").byteswap().tobytes()

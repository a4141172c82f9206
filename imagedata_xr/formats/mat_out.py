"""A variable of a MAT file of version 5 or 7, written volume by volume.

The layout is that of "MAT-File Format" (MathWorks), level 5: an element miMATRIX with flags, dimensions, name and
numbers, for version 7 packed as an element miCOMPRESSED.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .outgoing import Put, Sink

_MATRIX, _COMPRESSED, _INT8, _INT32, _UINT32 = 14, 15, 1, 5, 6
_LOGICAL = 0x0200
_HEADER = 128  # bytes before the first variable
_CLASSES = {  # by type: array class (table 1-3) and type of the numbers (table 1-1)
    "i1": (8, 1), "u1": (9, 2), "i2": (10, 3), "u2": (11, 4), "i4": (12, 5), "u4": (13, 6), "i8": (14, 12),
    "u8": (15, 13), "f4": (7, 7), "f8": (6, 9), "b1": (9 | _LOGICAL, 2),
}  # fmt: skip


def variable_sink(
    place: Path, name: str, shape: tuple[int, ...], packed: bool, others: bytes, check: Callable[[int], None]
) -> Sink:
    """Sink into a file with a variable of real numbers, and others after it.

    Parameters
    ----------
    place : Path
    name : str
        Of at most 4 letters.
    shape : tuple of int
        (rows, columns, slices[, volumes]).
    packed : bool
        As in version 7.
    others : bytes
        A whole MAT file of version 5 with the other variables, as `scipy.io.savemat` writes it.
    check : callable
        Gets the number of bytes of the numbers; raises where they are too many.
    """

    @contextmanager
    def sink(dtype: np.dtype[Any]) -> Iterator[Put]:
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        check(size)
        head, end = _matrix(name, shape, dtype, size)
        with place.open("wb") as f:
            f.write(others[:_HEADER])
            packer = zlib.compressobj() if packed else None

            def write(data: Any) -> None:
                f.write(data if packer is None else packer.compress(data))

            def put(volume: NDArray[Any]) -> None:
                write(np.ascontiguousarray(volume.swapaxes(1, 2)).reshape(-1).view(np.uint8).data)  # rows fastest

            if packed:
                f.write(struct.pack("=II", _COMPRESSED, 0))
            write(head)
            yield put
            write(end)
            if packer is not None:
                f.write(packer.flush())
                length = f.tell() - _HEADER - 8
                f.seek(_HEADER + 4)
                f.write(struct.pack("=I", length))
                f.seek(0, os.SEEK_END)
            f.write(others[_HEADER:])

    return sink


def _matrix(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> tuple[bytes, bytes]:
    """What stands before and after the numbers."""
    kind, number = _CLASSES[dtype.str[1:]]
    dims = struct.pack(f"={len(shape)}i", *shape)
    letters = name.encode("ascii")
    inner = struct.pack("=IIII", _UINT32, 8, kind, 0)
    inner += struct.pack("=II", _INT32, len(dims)) + dims + bytes(-len(dims) % 8)
    inner += struct.pack("=I4s", len(letters) << 16 | _INT8, letters)
    # up to 4 bytes stand in the tag itself
    inner += struct.pack("=I", size << 16 | number) if size <= 4 else struct.pack("=II", number, size)
    end = bytes(4 - size) if size <= 4 else bytes(-size % 8)
    return struct.pack("=II", _MATRIX, len(inner) + size + len(end)) + inner, end

"""How pixels are stored in the instances of an image, and what their stored values become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PALETTE = "PALETTE COLOR"
"""Photometric Interpretation of images whose values are indices into a palette of colours."""


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of all frames of an image are stored.

    Attributes
    ----------
    rows, cols, samples : int
    bits_allocated, bits_stored, high_bit : int
    signed : bool
    planar : bool
        Colour by plane rather than by pixel.
    floating : bool
        Float (32 bits) or Double Float Pixel Data.
    space : str
        Photometric Interpretation of colour; empty for grey images.
    """

    rows: int
    cols: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool = False
    floating: bool = False
    space: str = ""

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type of the numbers as they lie in the file, little endian; single bits are bytes once read."""
        kind = "f" if self.floating else "i" if self.signed else "u"
        return np.dtype(f"<{kind}{max(1, self.bits_allocated // 8)}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers once they are read: that of a palette's colours, where they are indices."""
        return np.dtype("u1") if self.space == PALETTE else self.stored_dtype

    @property
    def bits(self) -> int:
        """Bits of the numbers once they are read."""
        return 8 if self.space == PALETTE else self.bits_stored

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest number once read."""
        if self.signed and self.space != PALETTE:
            return -(2 ** (self.bits_stored - 1)), 2 ** (self.bits_stored - 1) - 1
        return 0, 2**self.bits - 1

    @property
    def colour(self) -> bool:
        """Whether pixels are colours, three numbers each once they are read."""
        return self.samples > 1 or self.space == PALETTE

    @property
    def halved(self) -> bool:
        """Whether two pixels share their chrominance: one that is not compressed has two samples per pixel then."""
        return self.space.endswith("_422")

    @property
    def frame_bits(self) -> int:
        """Bits of a native frame; those of single bits need not begin at a byte (PS3.5 section 8.1.1)."""
        return self.rows * self.cols * (2 if self.halved else self.samples) * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Length of a native frame."""
        return -(-self.frame_bits // 8)

    def clean(self, stored: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Mask bits outside of Bits Stored and extend the sign (PS3.5 8.1.1: they may hold anything).

        Parameters
        ----------
        stored : ndarray
        out : ndarray, optional
            Where the result goes; `stored` itself is possible.
        """
        if self.floating or self.bits_stored == self.bits_allocated:
            return stored
        kind = stored.dtype
        if not self.signed:
            if below := self.high_bit + 1 - self.bits_stored:
                stored = np.right_shift(stored, np.array(below, kind), out=out)
            return np.asarray(np.bitwise_and(stored, np.array(2**self.bits_stored - 1, kind), out=out))
        shift = self.bits_allocated - self.high_bit - 1
        # left to drop what is above the high bit, then right (arithmetic for signed types) to drop what is below
        up = np.left_shift(stored, np.array(shift, kind), out=out)
        return np.asarray(np.right_shift(up, np.array(self.bits_allocated - self.bits_stored, kind), out=out))

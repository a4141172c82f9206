"""The frames of one file, each read and decoded by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ...errors import ImagedataError, SourceError
from ...stores.url import File, file_name, read_range
from ..headers.whole_file import read_dataset
from .colour import to_rgb
from .decode import decode
from .encapsulated import Encapsulated
from .luts import Palette
from .native import native_values, swapped_words
from .pixel_format import PALETTE, PixelFormat
from .syntaxes import BIG_ENDIAN


@dataclass
class StoredFrames:
    """The frames of one file.

    Attributes
    ----------
    file : File
    syntax : str
        Transfer Syntax UID.
    offset, length : int
        Where the pixel data lie; length -1 where encapsulated, offset -1 where they have no place in the file.
    count : int
        Number of Frames.
    form : PixelFormat
    extended : tuple of bytes, optional
        Extended Offset Table and its lengths.
    palette : Palette, optional
    """

    file: File
    syntax: str
    offset: int
    length: int
    count: int
    form: PixelFormat
    extended: tuple[bytes, bytes] | None = None
    palette: Palette | None = None
    _fragments: Encapsulated | None = field(default=None, init=False, repr=False)
    _inflated: bytes | None = field(default=None, init=False, repr=False)
    _words: bool | None = field(default=None, init=False, repr=False)

    def read(self, number: int) -> NDArray[Any]:
        """Read one frame.

        Parameters
        ----------
        number : int
            From 1.

        Returns
        -------
        ndarray, shape (rows, cols[, 3])
            Stored numbers, cleaned; colours as RGB.

        Raises
        ------
        SourceError
            It can't be read or decoded; the message names the file and the frame.
        """
        f = self.form
        try:
            if self.length < 0:
                values, space = decode(self._compressed(number), self.syntax, f)
            else:
                values, space = self._native(number), f.space
        except SourceError as error:
            if file_name(self.file) in str(error):
                raise
            raise SourceError(f"{file_name(self.file)}: frame {number} can't be decoded: {error}") from error
        if f.space == PALETTE:
            if self.palette is None:
                raise ImagedataError("a palette that was promised is not there")
            return self.palette.apply(values)
        return to_rgb(values, space, f.bits_stored) if f.samples == 3 else values

    def _compressed(self, number: int) -> bytes:
        if self._fragments is None:
            self._fragments = Encapsulated(self.file, self.offset, self.count, self.extended)
        return self._fragments.frame(number)

    def _native(self, number: int) -> NDArray[Any]:
        f = self.form
        first = (number - 1) * f.frame_bits
        start, stop = first // 8, -(-(first + f.frame_bits) // 8)
        big = self.syntax == BIG_ENDIAN
        if big and f.bits_allocated <= 8 and self._in_words():
            even = start // 2 * 2
            data = swapped_words(self._bytes(even, (stop + 1) // 2 * 2))[start - even :]
        else:
            data = self._bytes(start, stop)
        return native_values(data, f, first % 8, big)

    def _bytes(self, start: int, stop: int) -> bytes:
        """Bytes of the pixel data; those of a deflated data set are all inflated, once."""
        if self.offset >= 0:
            return read_range(self.file, self.offset + start, stop - start)
        if self._inflated is None:
            ds = read_dataset(self.file, pixels=True)
            keyword = next((k for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in ds), None)
            self._inflated = bytes(ds[keyword].value or b"") if keyword else b""
        return self._inflated[start:stop]

    def _in_words(self) -> bool:
        """Whether big endian bytes stand in words of 16 bits, as their VR of OW says (PS3.5 section 7.3, A.3)."""
        if self._words is None:
            self._words = read_range(self.file, self.offset - 8, 2) == b"OW"
        return self._words

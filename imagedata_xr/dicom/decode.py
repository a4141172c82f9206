"""Pixels that have to be decoded: compressed, big endian, deflated, of single bits, or of another colour space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..stores.url import File, file_name
from .whole_file import read_dataset, trouble

PALETTE = "PALETTE COLOR"
"""Photometric Interpretation of images whose values are indices into a palette of colours."""

_JPEG = "1.2.840.10008.1.2.4."
_CODECS = {
    _JPEG + "51": "jpeg_decode",
    _JPEG + "57": "ljpeg_decode",
    _JPEG + "70": "ljpeg_decode",
    _JPEG + "80": "jpegls_decode",
    _JPEG + "81": "jpegls_decode",
    _JPEG + "90": "jpeg2k_decode",
    _JPEG + "91": "jpeg2k_decode",
    _JPEG + "201": "jpeg2k_decode",
    _JPEG + "202": "jpeg2k_decode",
    _JPEG + "203": "jpeg2k_decode",
}
"""Functions of imagecodecs for grey images, by transfer syntax; it is asked before pydicom's own decoders."""


def load(file: File) -> Any:
    """Data set of a file with its pixel data as stored, for `decode_frame`.

    Raises
    ------
    SourceError
        Where it can't be read.
    """
    return read_dataset(file, pixels=True)


def decode_frame(file: File, ds: Any, number: int, grey: bool) -> NDArray[Any]:
    """Stored values of one frame, through imagecodecs where it is installed, or pydicom.

    Parameters
    ----------
    file : File
        For error messages.
    ds : pydicom.Dataset
        What `load` gave.
    number : int
        Of the frame, from 1.
    grey : bool
        Whether there is one sample per pixel; colour is converted to RGB.

    Returns
    -------
    ndarray, shape (rows, cols[, 3])

    Raises
    ------
    SourceError
        Where it can't be decoded, with the reason; packages that could are named.
    """
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import pixel_array

    try:
        fast = _fast_codec(ds) if grey else None
        if fast is not None:
            frame = get_frame(ds.PixelData, number - 1, number_of_frames=int(ds.get("NumberOfFrames") or 1))
            return np.asarray(fast(frame)).reshape(ds.Rows, ds.Columns)
        _require_decoder(file, ds)
        if not grey and ds.PhotometricInterpretation == PALETTE:
            return _coloured(np.asarray(pixel_array(ds, index=number - 1)), ds)
        return np.asarray(pixel_array(ds, index=number - 1, raw=grey))
    except SourceError:
        raise
    except trouble() as error:
        why = f"{type(error).__name__}: {error}"
        raise SourceError(f"{file_name(file)}: frame {number} can't be decoded: {why}") from error


def _coloured(index: NDArray[Any], ds: Any) -> NDArray[np.uint8]:
    """Colours of indices into the palette of an image, of 16 bits the upper eight (PS3.3 C.7.6.3.1.5 and .6)."""
    from pydicom.pixels.processing import apply_color_lut

    colours = np.asarray(apply_color_lut(index, ds))[..., :3]
    wide = colours.dtype.itemsize > 1
    return np.asarray(colours >> 8 if wide else colours, dtype=np.uint8)


def _fast_codec(ds: Any) -> Callable[[bytes], Any] | None:
    """Function of imagecodecs for the transfer syntax; None where it is not installed or knows it not."""
    name = _CODECS.get(ds.file_meta.TransferSyntaxUID)
    if name is None:
        return None
    try:
        import imagecodecs

        return getattr(imagecodecs, name, None)
    except ImportError:
        return None


def _require_decoder(file: File, ds: Any) -> None:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    syntax = UID(ds.file_meta.TransferSyntaxUID)
    if not syntax.is_encapsulated:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise SourceError(
            f"{file_name(file)}: its pixels are compressed as {syntax.name} ({syntax}), which pydicom does not decode"
        ) from None
    if not available:
        raise SourceError(
            f"{file_name(file)}: its pixels are compressed as {syntax.name}, and no decoder for it is installed; "
            "install imagecodecs (the extra 'codecs' of this package), or python-gdcm for pydicom"
        )

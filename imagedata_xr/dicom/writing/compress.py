"""Lossless compression of written pixels, on request; every frame is decoded and compared before it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from ...errors import FormatError

SYNTAXES = {
    "rle": RLELossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg2000": JPEG2000Lossless,
    "native": ExplicitVRLittleEndian,
}
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


def syntax_of(name: Any) -> str:
    """UID of a transfer syntax that can be written, by its name or UID; empty for native pixels.

    Raises
    ------
    FormatError
        For another one.
    """
    text = str(name)
    uid = SYNTAXES.get(text.lower(), text)
    if uid not in SYNTAXES.values():
        raise FormatError(f"format_options transfer_syntax={text!r}: one of {', '.join(SYNTAXES)}, or the UID of one")
    return "" if uid == ExplicitVRLittleEndian else str(uid)


def compress(ds: pydicom.Dataset, syntax: str) -> bool:
    """Compress the native pixels of an instance, in place.

    Parameters
    ----------
    ds : pydicom.Dataset
        With its transfer syntax in ``file_meta``.
    syntax : str
        UID of RLE Lossless, JPEG-LS Lossless or JPEG 2000 Lossless.

    Returns
    -------
    bool
        False where its pixels are not native 8 or 16-bit integers, or compressed already, and stay as they are.

    Raises
    ------
    FormatError
        The encoder is not installed, or does not give the pixels back.
    """
    if "PixelData" not in ds or ds.file_meta.TransferSyntaxUID not in _NATIVE or ds.BitsAllocated not in (8, 16):
        return False
    frames = _frames(ds)
    encode, decode = _codec(syntax, ds)
    coded = [encode(frame) for frame in frames]
    for number, (data, frame) in enumerate(zip(coded, frames, strict=True), 1):
        if not np.array_equal(np.asarray(decode(data)).reshape(frame.shape).view(frame.dtype), frame):
            raise FormatError(f"frame {number}: the encoder of {pydicom.uid.UID(syntax).name} does not give it back")
    if syntax == JPEGLSLossless:  # its precision is that of the words
        ds.BitsStored, ds.HighBit = ds.BitsAllocated, ds.BitsAllocated - 1
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 1 if syntax == RLELossless else 0
    ds.add_new("PixelData", "OB", encapsulate(coded))
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    return True


def _frames(ds: pydicom.Dataset) -> NDArray[Any]:
    """Stored integers, frame by frame: shape (frames, rows, cols[, 3])."""
    kind = "i" if ds.PixelRepresentation else "u"
    samples = int(ds.SamplesPerPixel)
    shape = (int(ds.get("NumberOfFrames") or 1), int(ds.Rows), int(ds.Columns))
    count = int(np.prod(shape)) * samples
    flat = np.frombuffer(ds.PixelData, dtype=f"<{kind}{int(ds.BitsAllocated) // 8}", count=count)
    if samples == 1:
        return flat.reshape(shape)
    if ds.get("PlanarConfiguration"):
        return np.ascontiguousarray(np.moveaxis(flat.reshape(shape[0], samples, *shape[1:]), 1, -1))
    return flat.reshape(*shape, samples)


_Codec = tuple[Callable[[NDArray[Any]], bytes], Callable[[bytes], NDArray[Any]]]


def _codec(syntax: str, ds: pydicom.Dataset) -> _Codec:
    if syntax == RLELossless:
        return _rle(ds)
    try:
        import imagecodecs
    except ImportError:
        name = pydicom.uid.UID(syntax).name
        raise FormatError(f"{name} needs imagecodecs: pip install 'imagedata-xr[codecs]'") from None
    if syntax == JPEGLSLossless:
        return lambda a: bytes(imagecodecs.jpegls_encode(_unsigned(a))), imagecodecs.jpegls_decode
    bits = int(ds.BitsStored)

    def j2k(frame: NDArray[Any]) -> bytes:
        low, high = (int(frame.min()), int(frame.max())) if frame.size else (0, 0)
        fits = (-(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1)) if ds.PixelRepresentation else high < 2**bits
        return bytes(
            imagecodecs.jpeg2k_encode(
                frame, level=0, codecformat="j2k", reversible=True, mct=False,
                bitspersample=bits if fits else int(ds.BitsAllocated),
            )
        )  # fmt: skip

    return j2k, imagecodecs.jpeg2k_decode


def _unsigned(frame: NDArray[Any]) -> NDArray[Any]:
    """Words as JPEG-LS knows them, which has no sign: DICOM's sign is in the highest bit (PS3.5 section 8.2.3)."""
    return np.ascontiguousarray(frame).view(f"<u{frame.dtype.itemsize}")


def _rle(ds: pydicom.Dataset) -> _Codec:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.encoders.base import get_encoder

    colour = ds.SamplesPerPixel == 3
    known: dict[str, Any] = {
        "rows": int(ds.Rows), "columns": int(ds.Columns), "number_of_frames": 1,
        "samples_per_pixel": int(ds.SamplesPerPixel), "bits_allocated": int(ds.BitsAllocated),
        "bits_stored": int(ds.BitsAllocated), "pixel_representation": int(ds.PixelRepresentation),
        "photometric_interpretation": str(ds.PhotometricInterpretation), "pixel_keyword": "PixelData",
    }  # fmt: skip

    def encode(frame: NDArray[Any]) -> bytes:
        planar: dict[str, Any] = {"planar_configuration": 0} if colour else {}
        return get_encoder(RLELossless).encode(frame, encoding_plugin="pydicom", **known, **planar)

    def decode(data: bytes) -> NDArray[Any]:
        planar: dict[str, Any] = {"planar_configuration": 1} if colour else {}
        decoder: Any = get_decoder(RLELossless)
        return np.asarray(
            decoder.as_array(encapsulate([data]), decoding_plugin="pydicom", raw=True, **known, **planar)[0]
        )

    return encode, decode

"""Compressed frames to stored values: by imagecodecs where it is installed, else by what pydicom finds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
from .codestream import END, Codestream, parse
from .complete import check_complete
from .native import native_values
from .pixel_format import PixelFormat
from .rle import decode_rle
from .syntaxes import CODECS, Codec

Decoder = Callable[[bytes], NDArray[Any]]


def decode(data: bytes, syntax: str, f: PixelFormat) -> tuple[NDArray[Any], str]:
    """Decode one frame.

    Parameters
    ----------
    data : bytes
        The frame as it is stored.
    syntax : str
        One of `syntaxes.CODECS`.
    f : PixelFormat

    Returns
    -------
    values : ndarray, shape (rows, cols[, samples])
        Stored integers, their sign extended.
    space : str
        Photometric Interpretation of the values, which a decoder may have changed to RGB.

    Raises
    ------
    SourceError
        No decoder is installed (the message says which one to install), or the frame is damaged.
    """
    codec = CODECS[syntax]
    if codec.family == "native":
        return native_values(data, f), f.space
    if codec.family == "deflate":
        return native_values(_inflated(data, f), f), f.space
    if codec.family == "rle":
        return _runs(data, f), f.space
    stream = parse(codec.family, data)
    decoders = list(_decoders(codec, syntax, f, stream))
    if not decoders:
        raise SourceError(
            f"it is compressed as {codec.name} ({syntax}), and no decoder for that is installed: install "
            f"{codec.install}"
        )
    _check(stream, codec, f)
    if stream is not None:
        data = _bare(data, stream)
    failures = []
    for name, decoder in decoders:
        try:
            values = decoder(data)
            shape = (f.rows, f.cols, f.samples) if f.samples > 1 else (f.rows, f.cols)
            if values.size != np.prod(shape):
                raise ValueError(f"it gives {values.shape} values where {shape} are announced")
            check_complete(codec.family, data, values.reshape(shape))
            space = "RGB" if _undone(name, codec, stream, f) else _space(codec, stream, f)
            return _as_stored(values.reshape(shape), stream, codec, f), space
        except _damage() as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    raise SourceError("; ".join(failures))


def _damage() -> tuple[type[Exception], ...]:
    """List what decoders have been seen to raise on damaged bytes."""
    return (ArithmeticError, AttributeError, LookupError, MemoryError, NotImplementedError, OSError, RuntimeError,
            TypeError, ValueError)  # fmt: skip


def _check(stream: Codestream | None, codec: Codec, f: PixelFormat) -> None:
    """Refuse a frame that is not what the header announces, before room is made for what it says itself."""
    if stream is None:
        if codec.family in ("jpeg", "jpegls", "jpeg2000"):
            raise SourceError(f"it is no codestream of {codec.name}")
        return
    if (stream.rows, stream.cols, stream.samples) != (f.rows, f.cols, f.samples):
        raise SourceError(
            f"it holds {stream.rows} x {stream.cols} pixels of {stream.samples} samples, where the header announces "
            f"{f.rows} x {f.cols} of {f.samples}"
        )
    if stream.precision > f.bits_allocated:
        raise SourceError(f"its samples have {stream.precision} bits, where the header allocates {f.bits_allocated}")
    if not stream.whole:
        raise SourceError("it is cut off: its codestream has no end")


def _bare(data: bytes, stream: Codestream) -> bytes:
    """Frame without the zeros that fill up its last fragment, and with the marker of its end."""
    if stream.endless:
        return data[: stream.endless] + END
    bare = data.rstrip(b"\0")
    return bare if bare.endswith(END) else data


# --- decoders -------------------------------------------------------------------------------------------------------


def _decoders(codec: Codec, syntax: str, f: PixelFormat, stream: Codestream | None) -> Iterator[tuple[str, Decoder]]:
    """Yield the decoders that are installed, the quickest first."""
    yield from _by_imagecodecs(codec, f)
    yield from _by_pydicom(codec, syntax, f, stream)


def _by_imagecodecs(codec: Codec, f: PixelFormat) -> Iterator[tuple[str, Decoder]]:
    try:
        import imagecodecs
    except ImportError:
        return
    for name in codec.functions:
        function = getattr(imagecodecs, name, None)
        kind = getattr(imagecodecs, name.split("_")[0].upper(), None)
        if function is None or not getattr(kind, "available", True):
            continue
        if name == "jpeg8_decode" and f.samples > 1:
            raw = "YCBCR" if codec.lossy else "RGB"  # the same on both sides: no transform
            yield (
                name,
                lambda data, function=function, raw=raw: np.asarray(  # type: ignore[misc]
                    function(data, colorspace=raw, outcolorspace=raw)
                ),
            )
        else:
            yield name, lambda data, function=function: np.asarray(function(data))  # type: ignore[misc]


def _by_pydicom(codec: Codec, syntax: str, f: PixelFormat, stream: Codestream | None) -> Iterator[tuple[str, Decoder]]:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return
    for name in decoder.available_plugins:
        if stream is not None and stream.transformed == 1 and not _undone(name, codec, stream, f):
            continue  # only of Pillow it is known that it undoes the transform that a marker names
        yield name, lambda data, name=name: _with_plugin(decoder, name, data, f)  # type: ignore[misc]


def _undone(name: str, codec: Codec, stream: Codestream | None, f: PixelFormat) -> bool:
    """Whether a decoder has undone the transform of colours that the marker of Adobe names."""
    marked = codec.family == "jpeg" and f.samples > 1 and stream is not None and stream.transformed == 1
    return marked and name == "pillow"


def _with_plugin(decoder: Any, name: str, data: bytes, f: PixelFormat) -> NDArray[Any]:
    from pydicom.encaps import encapsulate

    values, _ = decoder.as_array(
        encapsulate([data]),
        index=0,
        raw=True,
        decoding_plugin=name,
        pixel_keyword="PixelData",
        number_of_frames=1,
        rows=f.rows,
        columns=f.cols,
        samples_per_pixel=f.samples,
        bits_allocated=f.bits_allocated,
        bits_stored=f.bits_stored,
        pixel_representation=int(f.signed),
        photometric_interpretation=f.space or "MONOCHROME2",
        planar_configuration=int(f.planar),
    )
    return np.asarray(values)


def _runs(data: bytes, f: PixelFormat) -> NDArray[Any]:
    if f.bits_allocated % 8:
        raise SourceError(f"RLE of {f.bits_allocated} bits is not defined (PS3.5 section 8.2.2)")
    values = decode_rle(data, f.rows, f.cols, f.samples, f.bits_allocated)
    return f.clean(values.view(f"{'i' if f.signed else 'u'}{values.dtype.itemsize}").astype(f.stored_dtype, copy=False))


def _inflated(data: bytes, f: PixelFormat) -> bytes:
    """Bytes of a frame of Deflated Image Frame Compression (PS3.5 section 8.2.16), no more than it may have."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, f.frame_bytes + 1)
    except zlib.error as error:
        raise SourceError(f"it can't be inflated: {error}") from error


# --- what was decoded -----------------------------------------------------------------------------------------------


def _as_stored(values: NDArray[Any], stream: Codestream | None, codec: Codec, f: PixelFormat) -> NDArray[Any]:
    """Values in the type of the image, their sign that of the header where the codestream's differs."""
    if values.dtype.kind not in "iu":
        raise ValueError(f"it gives values of type {values.dtype}")
    width = 8 * values.dtype.itemsize
    bits = min(stream.precision if stream else f.bits_stored, width)
    if f.signed:
        values = values.view(f"i{values.dtype.itemsize}")
        if stream is not None and not stream.signed and bits < width:
            up = np.left_shift(values, np.array(width - bits, values.dtype))
            values = np.right_shift(up, np.array(width - bits, values.dtype))
    else:
        values = values.view(f"u{values.dtype.itemsize}")
        if stream is not None and stream.signed and bits < width:
            values = values & np.array(2**bits - 1, values.dtype)
    stored = values.astype(f.stored_dtype, copy=False)
    # what was lossy may lie a little above Bits Stored, and must not wrap around
    return stored if codec.lossy else f.clean(stored)


def _space(codec: Codec, stream: Codestream | None, f: PixelFormat) -> str:
    """Colour space of what was decoded (PS3.5 sections 8.2.1 to 8.2.4)."""
    if f.samples == 1:
        return f.space
    if codec.family == "jpeg2000" and f.space in ("YBR_ICT", "YBR_RCT"):
        return "RGB"
    if codec.family == "jpegxl" and (codec.name != "JPEG XL Lossless" or f.space == "XYB"):
        return "RGB"
    if codec.family == "jpeg" and stream is not None:
        if stream.rgb:
            return "RGB"
        if stream.ybr:
            return "YBR_FULL"
    return f.space

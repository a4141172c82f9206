"""Compressed pixels: whatever a library has encoded comes back, and what can't be decoded is said."""

from __future__ import annotations

import io
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from encoded import JPEG, encapsulated, noise, rle, stored_as
from pydicom.uid import RLELossless
from series import image, open_image, save

from imagedata_xr.errors import FormatError, ImagedataWarning, SourceError

Module = Callable[[str], Any]
LOSSLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "57": ("ljpeg_encode", {}),
    "70": ("ljpeg_encode", {}),
    "80": ("jpegls_encode", {}),
    "90": ("jpeg2k_encode", {"level": 0, "reversible": True, "codecformat": "j2k"}),
    "201": ("htj2k_encode", {"reversible": True}),
    "202": ("htj2k_encode", {"reversible": True, "tlm": True}),
    "110": ("jpegxl_encode", {"lossless": True}),
}


def limits(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_syntaxes(tmp_path: Path, require_module: Module, syntax: str, bits: int) -> None:
    codecs = require_module("imagecodecs")
    for signed in (False, True):
        _lossless(tmp_path, codecs, syntax, bits, signed)


def _lossless(tmp_path: Path, codecs: Any, syntax: str, bits: int, signed: bool) -> None:
    name, options = LOSSLESS[syntax]
    size = 1 if bits == 8 else 2
    values = noise(*limits(bits, signed), f"{'i' if signed else 'u'}{size}")
    keeps_sign = "2k" in name and syntax != "202"  # what was encoded as signed, or as the pattern of its bits
    encoded = values if keeps_sign else values.view(f"u{size}") & (2**bits - 1)
    data = bytes(getattr(codecs, name)(encoded.astype(values.dtype if keeps_sign else f"u{size}"), **options))
    encapsulated(tmp_path / "0", stored_as(values, bits), [[data]], JPEG + syntax)
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], values)
    np.testing.assert_array_equal(open_image(tmp_path, mask_and_scale=False).values[0, 0], values)


@pytest.mark.parametrize("precision", [8, 12, 13, 16])
def test_the_sign_of_lossless_jpeg_is_that_of_the_header(
    tmp_path: Path, require_module: Module, precision: int
) -> None:
    """Judged by GDCM, in SimpleITK."""
    codecs, itk = require_module("imagecodecs"), require_module("SimpleITK")
    values = noise(*limits(precision, True), "i2")
    data = bytes(codecs.ljpeg_encode(values.view("u2") & (2**precision - 1), bitspersample=precision))
    path = encapsulated(tmp_path / "0", stored_as(values, precision), [[data]], JPEG + "70")
    got = open_image(tmp_path).values[0, 0]
    np.testing.assert_array_equal(got, values)
    if precision > 8:
        np.testing.assert_array_equal(got, itk.GetArrayFromImage(itk.ReadImage(str(path)))[0])


@pytest.mark.parametrize("bits", [8, 12])
def test_lossy_jpeg_as_others_decode_it(tmp_path: Path, require_module: Module, bits: int) -> None:
    codecs, itk = require_module("imagecodecs"), require_module("SimpleITK")
    values = noise(0, 2**bits - 1, "u1" if bits == 8 else "u2", (32, 40))
    data = bytes(codecs.jpeg8_encode(values, level=90, bitspersample=bits))
    syntax = JPEG + ("50" if bits == 8 else "51")
    path = encapsulated(tmp_path / "0", stored_as(values, bits), [[data]], syntax)
    got = open_image(tmp_path).values[0, 0]
    assert np.abs(got - values).max() < 2 ** (bits - 5)
    np.testing.assert_allclose(got, itk.GetArrayFromImage(itk.ReadImage(str(path)))[0], atol=1)


def test_what_is_lossy_does_not_wrap_around(tmp_path: Path, require_module: Module) -> None:
    """A code of 16 bits may give a little more than the 12 bits of Bits Stored: it is no small number then."""
    codecs = require_module("imagecodecs")
    values = np.where(np.indices((32, 32)).sum(axis=0) % 2, 4095, 4000).astype("u2")
    data = bytes(codecs.jpeg2k_encode(values, level=30, reversible=False, codecformat="j2k"))
    direct = codecs.jpeg2k_decode(data)
    assert direct.max() > 4095
    encapsulated(tmp_path / "0", stored_as(values, 12), [[data]], JPEG + "91")
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], direct)


@pytest.mark.parametrize(
    ("syntax", "encode", "options"),
    [
        ("70", "jpeg8_encode", {"lossless": True, "colorspace": "RGB", "outcolorspace": "RGB"}),
        ("80", "jpegls_encode", {}),
        ("90", "jpeg2k_encode", {"level": 0, "reversible": True, "codecformat": "j2k"}),
        ("201", "htj2k_encode", {"reversible": True}),
        ("110", "jpegxl_encode", {"lossless": True}),
    ],
)
def test_lossless_colour(
    tmp_path: Path, require_module: Module, syntax: str, encode: str, options: dict[str, Any]
) -> None:
    codecs = require_module("imagecodecs")
    values = noise(0, 255, "u1", (20, 28, 3))
    data = bytes(getattr(codecs, encode)(values, **options))
    space = "YBR_RCT" if syntax in ("90", "201") else "RGB"
    elements = stored_as(values, 8, PhotometricInterpretation=space)
    encapsulated(tmp_path / "0", elements, [[data]], JPEG + syntax)
    a = open_image(tmp_path)
    np.testing.assert_array_equal(a.values[0, 0], values)
    assert a.attrs["PhotometricInterpretation"] == "RGB"


@pytest.mark.parametrize("space", ["RGB", "YBR_FULL_422"])
@pytest.mark.parametrize("marker", ["none", "JFIF", "Adobe"])
def test_colours_of_jpeg_by_its_markers_and_header(
    tmp_path: Path, require_module: Module, space: str, marker: str
) -> None:
    """The codestream's own markers come first; without one, the header says in which space it was encoded."""
    codecs = require_module("imagecodecs")
    values = noise(0, 255, "u1", (32, 48, 3))
    stays = marker == "Adobe" or (marker == "none" and space == "RGB")
    inner = "RGB" if stays else "YCBCR"
    data = bytes(codecs.jpeg8_encode(values, level=98, colorspace="RGB", outcolorspace=inner, subsampling="444"))
    assert (b"JFIF" in data[:30], b"Adobe" in data[:60]) == (not stays, stays)  # what libjpeg writes
    if marker == "none":
        data = _without_markers(data)
    encapsulated(tmp_path / "0", stored_as(values, 8, PhotometricInterpretation=space), [[data]], JPEG + "50")
    if stays and space != "RGB":
        return  # a marker of no transform against a header of another space: as pydicom has it, the header's
    assert np.abs(open_image(tmp_path).values[0, 0].astype(int) - values).max() <= 6


def _without_markers(data: bytes) -> bytes:
    """Leave out the application markers, and count the components from 0, so that nothing tells their space."""
    out, at = data[:2], 2
    while data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big") + 2
        if data[at + 1] not in (0xE0, 0xEE):
            out += data[at : at + size]
        at += size
    out += data[at:]
    plain = bytearray(out)
    for marker, first, step in ((b"\xff\xc0", 10, 3), (b"\xff\xda", 5, 2)):
        start = out.index(marker)
        for k in range(3):
            plain[start + first + step * k] = k
    return bytes(plain)


def test_rle_of_every_width_and_colour(tmp_path: Path) -> None:
    for dtype, bits in (("u1", 8), ("i2", 16), ("u4", 32)):
        for shape in ((20, 28), (20, 28, 3)):
            values = noise(*limits(min(bits, 31), dtype == "i2"), dtype, shape)
            folder = tmp_path / f"{dtype}{len(shape)}"
            folder.mkdir()
            encapsulated(folder / "0", stored_as(values, bits), [[rle(values)]], RLELossless)
            np.testing.assert_array_equal(open_image(folder).values[0, 0], values)
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(sys.modules, "imagecodecs", None)
                np.testing.assert_array_equal(open_image(folder).values[0, 0], values)


@pytest.mark.parametrize("bits", [1, 12])
def test_deflated_frames(tmp_path: Path, bits: int) -> None:
    values = noise(0, 2**bits - 1, "u1" if bits == 1 else "u2", (5, 7))
    packed = np.packbits(values, bitorder="little").tobytes() if bits == 1 else values.tobytes()
    squeezer = zlib.compressobj(wbits=-15)
    elements = stored_as(values, bits, BitsAllocated=1 if bits == 1 else 16)
    encapsulated(tmp_path / "0", elements, [[squeezer.compress(packed) + squeezer.flush()]], "1.2.840.10008.1.2.8.1")
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], values)


def test_encapsulated_but_not_compressed(tmp_path: Path) -> None:
    values = noise(-100, 100, "i2")
    encapsulated(tmp_path / "0", stored_as(values, 16), [[values.tobytes()]], "1.2.840.10008.1.2.1.98")
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], values)


# --- without a decoder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("syntax", "encode", "plugin"),
    [("80", "jpegls_encode", "jpeg_ls"), ("90", "jpeg2k_encode", "PIL"), ("50", "jpeg8_encode", "PIL")],
)
def test_plugins_of_pydicom_stand_in_for_imagecodecs(
    tmp_path: Path, require_module: Module, monkeypatch: pytest.MonkeyPatch, syntax: str, encode: str, plugin: str
) -> None:
    codecs = require_module("imagecodecs")
    require_module(plugin)
    dtype, bits = ("u1", 8) if syntax == "50" else ("i2", 12)
    values = noise(*limits(bits, dtype == "i2"), dtype)
    pattern = values if syntax == "90" else values.view(f"u{values.itemsize}") & (2**bits - 1)
    options = {"level": 0, "reversible": True, "codecformat": "j2k"} if syntax == "90" else {}
    data = bytes(getattr(codecs, encode)(pattern.astype(values.dtype if syntax == "90" else f"u{values.itemsize}"),
                                         **options))  # fmt: skip
    encapsulated(tmp_path / "0", stored_as(values, bits), [[data]], JPEG + syntax)
    with_codecs = open_image(tmp_path).values
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    np.testing.assert_array_equal(open_image(tmp_path).values, with_codecs)


@pytest.mark.parametrize(
    ("syntax", "match"),
    [
        ("50", r"JPEG Baseline .*install imagecodecs \(the extra 'codecs' of this package\), or Pillow"),
        ("70", r"JPEG Lossless SV1 .*no decoder for that is installed: install imagecodecs .*, or python-gdcm"),
        ("80", r"JPEG-LS Lossless .*install imagecodecs .*, or pyjpegls for pydicom"),
        ("91", r"JPEG 2000 .*install imagecodecs .*, or pylibjpeg and pylibjpeg-openjpeg for pydicom"),
        ("201", r"HTJ2K Lossless .*install imagecodecs"),
        ("110", r"JPEG XL Lossless .*install imagecodecs"),
    ],
)
def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str, match: str) -> None:
    from pydicom.pixels.decoders.base import Decoder

    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setattr(Decoder, "available_plugins", property(lambda self: ()))
    values = noise(0, 255, "u1")
    encapsulated(tmp_path / "0", stored_as(values, 8), [[b"\1\2\3\4"]], JPEG + syntax)
    a = open_image(tmp_path)  # opening needs no decoder
    with pytest.raises(SourceError, match=match):
        a.load()


# --- never read -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("syntax", "match"),
    [
        (JPEG + "100", r"MPEG2 video \(transfer syntax 1\.2\.840\.10008\.1\.2\.4\.100\)"),
        (JPEG + "101.1", "MPEG2 video"),
        (JPEG + "102", "MPEG-4 H.264 video"),
        (JPEG + "106.1", "MPEG-4 H.264 video"),
        (JPEG + "107", "HEVC H.265 video"),
        (JPEG + "94", "on a JPIP server"),
        (JPEG + "204", "on a JPIP server"),
        (JPEG + "59", "JPEG .*which is not read"),
        ("1.2.840.10008.1.2.7.1", "SMPTE ST 2110 video"),
        ("1.2.840.113619.5.2", r"transfer syntax 1\.2\.840\.113619\.5\.2"),
    ],
)
def test_what_no_decoder_is_known_for_is_refused_by_name(tmp_path: Path, syntax: str, match: str) -> None:
    path = encapsulated(tmp_path / "0", stored_as(noise(0, 255, "u1"), 8), [[b"\1\2\3\4"]], syntax)
    if "JPIP" in match:  # whose instances hold the address of their pixels instead of them
        ds = pydicom.dcmread(path)
        del ds.PixelData
        ds.PixelDataProviderURL = "https://server/image"
        pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=True, force_encoding=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        with pytest.raises(FormatError, match=match):
            open_image(tmp_path)


def test_a_transfer_syntax_that_is_not_that_of_the_pixels(tmp_path: Path) -> None:
    values = noise(0, 255, "u1")
    coded = encapsulated(tmp_path / "a" / "0", stored_as(values, 8), [[rle(values)]], RLELossless)
    native = save(image(0, 0, stored_as(values, 8)), tmp_path / "b" / "0")
    ends = {coded: (b"1.2.5\0", b"1.2.1\0"), native: (b"1.2.1\0", b"1.2.5\0")}
    for path, (right, wrong) in ends.items():
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008." + right, b"1.2.840.10008." + wrong))
    with pytest.raises(FormatError, match=r"in fragments, as compressed ones, but its transfer syntax is 1\.2\.840"):
        open_image(tmp_path / "a")
    with pytest.raises(FormatError, match=r"in one piece, as native ones, but its transfer syntax is .*\.1\.2\.5:"):
        open_image(tmp_path / "b")


# --- damage -----------------------------------------------------------------------------------------------------------


def jpeg(**options: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(noise(0, 255, "u1")).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("cut", [0, 2])
@pytest.mark.parametrize("fill", [0, 1, 300])
@pytest.mark.parametrize(
    ("syntax", "encoder"), [("90", "jpeg2k_encode"), ("80", "jpegls_encode"), ("70", "ljpeg_encode")]
)
def test_frames_that_are_filled_up_or_lack_the_marker_of_their_end(
    tmp_path: Path, require_module: Module, syntax: str, encoder: str, fill: int, cut: int
) -> None:
    """Zeros fill up fragments. JPEG 2000 is known to be whole by the lengths of its tile-parts; others are not."""
    codecs, values = require_module("imagecodecs"), noise(0, 4095, "u2")
    options = {"level": 0, "reversible": True, "codecformat": "j2k"} if syntax == "90" else {}
    data = bytes(getattr(codecs, encoder)(values, **options))
    frame = data[: len(data) - cut] + bytes(fill)
    encapsulated(tmp_path / "0", stored_as(values, 12), [[frame]], JPEG + syntax)
    if cut and syntax != "90":
        with pytest.raises(SourceError, match="has no end"):
            open_image(tmp_path).load()
    else:
        np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], values)


def test_jpeg_2000_that_lost_a_tile_is_refused(tmp_path: Path, require_module: Module) -> None:
    values, stream = noise(0, 255, "u1"), io.BytesIO()
    image = require_module("PIL.Image").fromarray(values)
    image.save(stream, "JPEG2000", irreversible=False, no_jp2=True, tile_size=(14, 10))
    data = stream.getvalue()
    assert data.count(b"\xff\x90\0\x0a") == 4
    last = data.rindex(b"\xff\x90\0\x0a")
    for end in (last + 20, len(data) - 6):
        encapsulated(tmp_path / "0", stored_as(values, 8), [[data[:end]]], JPEG + "90")
        with pytest.raises(SourceError, match="has no end"):
            open_image(tmp_path).load()
    encapsulated(tmp_path / "0", stored_as(values, 8), [[data[:last]]], JPEG + "90")
    with pytest.raises(SourceError, match="can't be decoded"):
        open_image(tmp_path).load()
    encapsulated(tmp_path / "0", stored_as(values, 8), [[data[:-2]]], JPEG + "90")
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], values)


@pytest.mark.parametrize(
    ("frame", "syntax", "match"),
    [
        (b"\1\2\3\4", RLELossless, r"0: frame 1 can't be decoded"),
        (b"\1\2\3\4", JPEG + "50", "is no codestream of JPEG Baseline"),
        ("half", JPEG + "50", "its codestream has no end"),
        ("wide", JPEG + "50", "it holds 20 x 7196 pixels of 1 samples, where the header announces 20 x 28 of 1"),
        ("deep", JPEG + "50", "its samples have 12 bits, where the header allocates 8"),
        (b"\7\7\7\7", "1.2.840.10008.1.2.8.1", "can't be inflated"),
        (b"\1\2\3\4", "1.2.840.10008.1.2.1.98", "it has 4 values, where the header announces 560"),
    ],
)
def test_damaged_frames(tmp_path: Path, require_module: Module, frame: bytes | str, syntax: str, match: str) -> None:
    require_module("PIL")
    if isinstance(frame, str):
        good = bytearray(jpeg())
        at = good.index(b"\xff\xc0")
        if frame == "half":
            del good[len(good) // 2 :]
        elif frame == "wide":
            good[at + 7] = 28  # the upper byte of the width
        else:
            good[at + 4] = 12
        frame = bytes(good)
    encapsulated(tmp_path / "0", stored_as(noise(0, 255, "u1"), 8), [[frame]], syntax)
    with pytest.raises(SourceError, match=match):
        open_image(tmp_path).load()

"""Compressed frames that are not whole, or hold what their values were not written with, are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoded import JPEG, encapsulated, rle, stored_as
from numpy.typing import NDArray
from pydicom.uid import RLELossless
from series import open_image

from imagedata_xr.dicom.pixels.complete import check_complete
from imagedata_xr.dicom.pixels.rle import decode_rle
from imagedata_xr.errors import SourceError

Module = Callable[[str], Any]
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    JPEG + "70": ("ljpeg_encode", {"bitspersample": 12}),
    JPEG + "80": ("jpegls_encode", {}),
    JPEG + "90": ("jpeg2k_encode", {"level": 0, "reversible": True, "codecformat": "j2k"}),
    JPEG + "201": ("htj2k_encode", {"reversible": True}),
    RLELossless: ("", {}),
}
HOLE = 1024


def slice_of_noise(rows: int = 96, cols: int = 128) -> NDArray[np.uint16]:
    r, c = np.indices((rows, cols))
    noise = np.random.default_rng(1).normal(0, 20, r.shape)
    return np.asarray((1500 + 900 * np.sin(r / 9) * np.cos(c / 13) + noise).round(), dtype=np.uint16)


def encoded(syntax: str, values: NDArray[Any], require_module: Module) -> bytes:
    name, options = ENCODERS[syntax]
    return bytes(getattr(require_module("imagecodecs"), name)(values, **options)) if name else rle(values)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a hole": lambda b: b[: len(b) // 2] + bytes(HOLE) + b[len(b) // 2 + HOLE :],
    "the end lost": lambda b: b[: len(b) // 2] + bytes(len(b) - len(b) // 2 - 2) + b[-2:],
    "cut, and ended anew": lambda b: b[: len(b) // 2] + b"\xff\xd9",
    "a part lost": lambda b: b[: len(b) // 2] + b[len(b) // 2 + 64 :],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_frame_that_is_not_whole_is_refused(syntax: str, damage: str, tmp_path: Path, require_module: Module) -> None:
    values = slice_of_noise()
    data = encoded(syntax, values, require_module)
    encapsulated(tmp_path / "whole" / "0", stored_as(values, 12), [[data]], syntax)
    assert (open_image(tmp_path / "whole").values[0, 0] == values).all()
    encapsulated(tmp_path / "bad" / "0", stored_as(values, 12), [[DAMAGE[damage](data)]], syntax)
    da = open_image(tmp_path / "bad")
    with pytest.raises(SourceError, match="bad/0: frame 1 can't be decoded"):
        da.load()


@pytest.mark.parametrize("at", [200, 305, 424, 592])
def test_what_the_decoder_finds_wrong_in_htj2k_is_not_passed_over(
    at: int, tmp_path: Path, require_module: Module
) -> None:
    values = slice_of_noise()
    data = encoded(JPEG + "201", values, require_module)
    bad = data[:at] + b"\x55" * 16 + data[at + 16 :]
    encapsulated(tmp_path / "0", stored_as(values, 12), [[bad]], JPEG + "201")
    with pytest.raises(SourceError, match="frame 1 can't be decoded"):
        open_image(tmp_path).load()


@pytest.mark.parametrize("damage", ["a hole", "the end lost"])
@pytest.mark.parametrize("samples", [1, 3])
def test_zeros_in_a_lossy_jpeg_are_found(samples: int, damage: str, tmp_path: Path, require_module: Module) -> None:
    """Its decoder fills them with what it has, and says nothing."""
    grey = (slice_of_noise(256, 320) // 16).astype(np.uint8)
    values = grey if samples == 1 else np.stack([grey, grey.T.reshape(grey.shape), 255 - grey], axis=-1)
    data = require_module("imagecodecs").jpeg8_encode(values, level=90)
    elements = {**stored_as(values, 8), **({"PhotometricInterpretation": "YBR_FULL_422"} if samples == 3 else {})}
    encapsulated(tmp_path / "whole" / "0", elements, [[data]], JPEG + "50")
    open_image(tmp_path / "whole").load()
    encapsulated(tmp_path / "bad" / "0", elements, [[DAMAGE[damage](data)]], JPEG + "50")
    with pytest.raises(SourceError, match="it is damaged: 64 bytes or more from byte"):
        open_image(tmp_path / "bad").load()


# --- what is whole is never refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_predictor_of_lossless_jpeg(predictor: int, bits: int, require_module: Module) -> None:
    codecs = require_module("imagecodecs")
    whole = np.random.default_rng(predictor).integers(0, 2**bits, (40, 56))
    for values in (whole, slice_of_noise(40, 56).astype(int) % 2**bits, np.zeros((40, 56)), whole // (2 ** (bits - 1))):
        stored = values.astype("u1" if bits == 8 else "u2")
        data = bytes(codecs.jpeg8_encode(stored, lossless=True, predictor=predictor, bitspersample=bits))
        decoded = np.asarray(codecs.jpeg8_decode(data))
        assert (decoded == stored).all()
        check_complete("jpeg", data, decoded)


def test_images_of_one_value_have_no_hole(require_module: Module) -> None:
    codecs = require_module("imagecodecs")
    for value in (0, 7, 4095):
        flat = np.full((512, 512), value, np.uint16)
        for name, options in (ENCODERS[JPEG + "90"], ENCODERS[JPEG + "201"]):
            check_complete("jpeg2000", bytes(getattr(codecs, name)(flat, **options)), flat)


@pytest.mark.parametrize("optimize", [False, True])
def test_black_images_in_lossy_jpeg_have_no_hole(optimize: bool, require_module: Module) -> None:
    """With tables of their own, their code may be nothing but zeros."""
    grey = np.zeros((1024, 1024), dtype=np.uint8)
    grey[500:510, 300:900] = 255
    for values in (grey, np.stack([grey] * 3, axis=-1)):
        data = require_module("imagecodecs").jpeg8_encode(values, level=90, optimize=optimize)
        check_complete("jpeg", data, values)


def test_bits_that_are_not_coded_may_be_zeros(require_module: Module) -> None:
    values = slice_of_noise()
    data = DAMAGE["a hole"](encoded(JPEG + "90", values, require_module))
    with pytest.raises(SourceError, match="are zero"):
        check_complete("jpeg2000", data, values)
    style = data.find(b"\xff\x52") + 12  # ISO/IEC 15444-1 table A.19: selective arithmetic coding bypass
    check_complete("jpeg2000", data[:style] + bytes([data[style] | 1]) + data[style + 1 :], values)


def test_stray_bytes_behind_the_last_value_are_padding(require_module: Module) -> None:
    codecs = require_module("imagecodecs")
    values = slice_of_noise()
    data = bytes(codecs.ljpeg_encode(values, bitspersample=12))
    check_complete("jpeg", data[:-2] + b"\0" + data[-2:] + b"\0", values)
    check_complete("jpeg", data[:-2] + b"\xff\xff" + data[-2:], values)


# --- RLE ------------------------------------------------------------------------------------------------------------


def segments(*parts: bytes) -> bytes:
    at, starts = 64, []
    for part in parts:
        starts.append(at)
        at += len(part)
    head = np.array([len(parts), *starts, *[0] * (15 - len(parts))], dtype="<u4").tobytes()
    return head + b"".join(parts)


def test_runs_by_hand() -> None:
    # PS3.5 section G.3.2: three bytes as they are, no operation, one byte four times, padding
    assert decode_rle(segments(b"\x02abc\x80\xfdz\0"), 1, 7, 1, 8).tobytes() == b"abczzzz"
    both = decode_rle(segments(b"\xff\x01", b"\x01\x02\x03"), 1, 2, 1, 16)
    assert both.tolist() == [[0x102, 0x103]]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (segments(b"\x02abc"), "segment 1 gives 3 of 7 bytes"),
        (segments(b"\x02abc\xf0z"), "segment 1 gives 20 of 7 bytes"),
        (segments(b"\xfaa\x03more"), "segment 1 gives 7 of 7 bytes, and 5 bytes follow"),
        (segments(b"\xfaa", b"\xfaa"), "it has 2 segments, where 1 samples of 8 bits need 1"),
        (segments(b"\xfaa")[:20], "its segments can't begin"),
    ],
)
def test_runs_that_do_not_fit(data: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        decode_rle(data, 1, 7, 1, 8)

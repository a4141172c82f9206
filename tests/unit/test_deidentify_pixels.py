"""Texts within pixel data: comments of compressed frames, and what stands behind the pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import encoded
import numpy as np
import phantoms
import pydicom
import pytest

JPEG = "1.2.840.10008.1.2.4."
SECRET = b"Qvistgaard^Hortensia"
pytestmark = pytest.mark.filterwarnings("ignore")


def segment(marker: int, payload: bytes) -> bytes:
    """Segment of JPEG or JPEG 2000."""
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def commented(data: bytes, kind: str) -> bytes:
    """Code stream with comments wherever one may stand, and something behind its end."""
    if kind == "jpeg2k_encode":
        told = segment(0x64, b"\0\1" + SECRET)
        size = data.index(b"\xff\x51") + 2
        first = size + int.from_bytes(data[size : size + 2], "big")
        tile = data.index(b"\xff\x90")
        length = int.from_bytes(data[tile + 6 : tile + 10], "big")
        part = data[tile : tile + 6] + (length + len(told)).to_bytes(4, "big") + data[tile + 10 : tile + 12] + told
        return data[:first] + told + data[first:tile] + part + data[tile + 12 :] + SECRET
    exif = segment(0xE1, b"Exif\0\0" + SECRET) if kind == "jpeg8_encode" else b""
    return data[:2] + exif + segment(0xFE, SECRET) + data[2:] + SECRET


CODES: dict[str, tuple[str, dict[str, Any]]] = {
    "50": ("jpeg8_encode", {"level": 90}),
    "70": ("ljpeg_encode", {}),
    "80": ("jpegls_encode", {}),
    "90": ("jpeg2k_encode", {"level": 0, "reversible": True, "codecformat": "j2k"}),
}


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("syntax", CODES)
def test_comments_of_compressed_frames_go_and_pixels_stay(
    tmp_path: Path, require_module: Callable[[str], Any], syntax: str, parts: int
) -> None:
    codecs = require_module("imagecodecs")
    name, options = CODES[syntax]
    values = encoded.noise(0, 255, "u1")
    data = commented(bytes(getattr(codecs, name)(values, **options)), name)
    frame = [data] if parts == 1 else encoded.parts(data, parts)
    encoded.encapsulated(tmp_path / "in" / "0", encoded.stored_as(values, 8), [frame], JPEG + syntax)
    assert SECRET in (tmp_path / "in" / "0").read_bytes()
    before = phantoms.opened(tmp_path / "in")
    written = before.imd.deidentify(pixels="keep").imd.write(tmp_path / "out")
    (path,) = written.paths
    assert SECRET not in Path(path).read_bytes()
    ds = pydicom.dcmread(path)
    assert ds.file_meta.TransferSyntaxUID == JPEG + syntax
    assert len(ds.PixelData) == len(pydicom.dcmread(tmp_path / "in" / "0").PixelData)
    np.testing.assert_array_equal(phantoms.opened(tmp_path / "out").values, before.values)
    frame_out = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    decode = getattr(codecs, name.replace("encode", "decode"))  # not by our reader
    np.testing.assert_array_equal(decode(frame_out), decode(data))


def test_nothing_stands_behind_native_pixels(tmp_path: Path) -> None:
    (path,) = phantoms.make(tmp_path / "in", phantoms.mr(shape=(1, 1, 6, 8)))
    ds = pydicom.dcmread(path)
    ds.PixelData = ds.PixelData + SECRET
    ds.save_as(path)
    before = phantoms.opened(tmp_path / "in")
    (out,) = before.imd.deidentify().imd.write(tmp_path / "out").paths
    assert SECRET not in Path(out).read_bytes()
    np.testing.assert_array_equal(phantoms.opened(tmp_path / "out").values, before.values)

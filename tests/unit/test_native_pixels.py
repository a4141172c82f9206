"""Native pixels that do not lie in the file as they are wanted: bits, words, planes, halved colours, palettes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from encoded import Array, noise, stored_as
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian
from series import Elements, image, open_image, save

from imagedata_xr.dicom.pixels.colour import to_rgb
from imagedata_xr.errors import FormatError, ImagedataWarning, NotFoundError

SECONDARY = "1.2.840.10008.5.1.4.1.1.7.2"


def frames_file(
    path: Path, elements: Elements, count: int, syntax: str = ExplicitVRLittleEndian, vr: str = "OB"
) -> Path:
    """Save several frames, whose pixel data are among the elements."""
    ds = image(0, 0, {"SOPClassUID": UID(SECONDARY), "NumberOfFrames": count, "Modality": "OT", **elements})
    del ds.ImagePositionPatient
    ds["PixelData"].VR = vr
    return save(ds, path, syntax)


# --- bits and words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("shape", [(7, 5, 3), (4, 4, 8), (3, 1, 1)])
def test_frames_of_single_bits_need_not_begin_at_a_byte(tmp_path: Path, shape: tuple[int, ...], syntax: str) -> None:
    values = np.random.default_rng(1).integers(0, 2, shape, dtype="u1")
    packed = np.packbits(values.ravel(), bitorder="little").tobytes()
    packed += b"\0" * (len(packed) % 2)
    elements = stored_as(values[0], 1, BitsAllocated=1, PixelData=packed)
    path = frames_file(tmp_path / "0", elements, shape[0], syntax)
    a = open_image(tmp_path)
    np.testing.assert_array_equal(a.values.reshape(shape), values)
    np.testing.assert_array_equal(a.isel(tag=-1).values[0], pydicom.dcmread(path).pixel_array.reshape(shape)[-1])


@pytest.mark.parametrize("shape", [(3, 3, 3), (3, 4, 5)])
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_big_endian_bytes_that_are_written_as_words(tmp_path: Path, shape: tuple[int, ...], vr: str) -> None:
    values = np.random.default_rng(1).integers(0, 256, shape, dtype="u1")
    data = values.tobytes() + b"\0" * (values.size % 2)
    if vr == "OW":
        data = np.frombuffer(data, "<u2").byteswap().tobytes()
    path = frames_file(tmp_path / "0", stored_as(values[0], 8, PixelData=data), shape[0], ExplicitVRBigEndian, vr)
    a = open_image(tmp_path)
    np.testing.assert_array_equal(a.values.reshape(shape), values)
    np.testing.assert_array_equal(a.values.reshape(shape), pixel_array(path))
    np.testing.assert_array_equal(a.isel(tag=1).values[0], values[1])


@pytest.mark.parametrize(("dtype", "keyword"), [("f4", "FloatPixelData"), ("f8", "DoubleFloatPixelData")])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_floats_of_any_byte_order(tmp_path: Path, dtype: str, keyword: str, syntax: str) -> None:
    values = np.linspace(-1e-3, 1e5, 12).reshape(3, 4).astype(dtype)
    swapped = values.astype(values.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<"))
    elements: dict[str, Any] = {**stored_as(values, 32), keyword: swapped.tobytes()}
    elements.update(dict.fromkeys(("PixelData", "BitsStored", "HighBit", "PixelRepresentation")))
    save(image(0, 0, elements), tmp_path / "0", syntax)
    a = open_image(tmp_path)
    assert a.dtype == values.dtype
    np.testing.assert_array_equal(a.values[0, 0], values)


def test_the_overlay_in_the_bits_above_is_no_part_of_the_values(tmp_path: Path) -> None:
    """Twelve bits from bit 1 on, an overlay in bit 13 and dirt in bit 0: as GDCM masks them."""
    values = noise(-2048, 2047, "i2")
    dirt = np.arange(values.size).reshape(values.shape).astype("u2")
    stored = ((values.view("u2") & 0xFFF) << 1) | (dirt & 1) | (dirt & 1) << 13
    elements = stored_as(stored, 12, HighBit=12, PixelRepresentation=1)
    save(image(0, 0, elements), tmp_path / "0")
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], values)


# --- colours ----------------------------------------------------------------------------------------------------------


def rgb() -> Array:
    return noise(0, 255, "u1", (6, 8, 3))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [0, 1])
def test_colour_in_both_planar_configurations(tmp_path: Path, planar: int, bits: int) -> None:
    """16-bit colours stay so: rgb is uint16 then."""
    values = np.stack([noise(0, 2**bits - 1, f"u{bits // 8}", (5, 7, 3)) // (k + 1) for k in range(3)])
    data = np.moveaxis(values, -1, 1) if planar else values
    elements = stored_as(values[0], bits, PlanarConfiguration=planar, PixelData=np.ascontiguousarray(data).tobytes())
    path = frames_file(tmp_path / "0", {**elements, "PixelData": elements["PixelData"] + b"\0" * (data.size % 2)}, 3,
                       vr="OB" if bits == 8 else "OW")  # fmt: skip
    a = open_image(tmp_path)
    assert a.dtype == values.dtype
    np.testing.assert_array_equal(a.values[:, 0], values)
    np.testing.assert_array_equal(a.values[:, 0], pixel_array(path))
    np.testing.assert_array_equal(a.isel(tag=1, row=slice(1, 3)).values[0], values[1, 1:3])


def halve(values: Array) -> Array:
    """Pairs of pixels with the chrominance of the first: Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2)."""
    pairs = values.reshape(-1, 2, 3)
    return np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=-1)


@pytest.mark.parametrize("space", ["YBR_FULL", "YBR_FULL_422"])
def test_luminance_and_chrominance_of_full_range(tmp_path: Path, space: str) -> None:
    values = np.stack([rgb(), rgb()[::-1]])
    data = np.stack([halve(v) for v in values]) if space.endswith("422") else values
    elements = stored_as(values[0], 8, PhotometricInterpretation=space, PixelData=data.tobytes())
    path = frames_file(tmp_path / "0", elements, 2)
    a = open_image(tmp_path)
    np.testing.assert_array_equal(a.values[:, 0], pixel_array(path))
    np.testing.assert_array_equal(a.isel(tag=1).values[0], pixel_array(path, index=1))
    assert a.attrs["PhotometricInterpretation"] == "RGB"


def test_luminance_and_chrominance_of_partial_range(tmp_path: Path) -> None:
    """Forth by the formula of the standard (PS3.3 2004 C.7.6.3.1.2), back by ours."""
    colours = np.repeat(rgb().reshape(-1, 1, 3)[:, :, :], 2, axis=1).astype(float)
    matrix = np.array([[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]])
    ybr = np.round(colours @ matrix.T + [16, 128, 128]).astype("u1").reshape(6, 16, 3)
    elements = stored_as(ybr, 8, PhotometricInterpretation="YBR_PARTIAL_422", PixelData=halve(ybr).tobytes())
    save(image(0, 0, elements), tmp_path / "0")
    assert np.abs(open_image(tmp_path).values[0, 0].astype(float) - colours.reshape(6, 16, 3)).max() <= 2
    black, white = np.array([[[16, 128, 128]]], dtype="u1"), np.array([[[235, 128, 128]]], dtype="u1")
    np.testing.assert_array_equal(to_rgb(black, "YBR_PARTIAL_422", 8), [[[0, 0, 0]]])
    assert to_rgb(white, "YBR_PARTIAL_422", 8).min() >= 254


def test_halved_colours_that_are_not_halved(tmp_path: Path) -> None:
    save(image(0, 0, stored_as(rgb(), 8, PhotometricInterpretation="YBR_FULL_422")), tmp_path / "0")
    with pytest.warns(ImagedataWarning, match=r"has 144 bytes of pixel data, but its 1 frames of 6 x 8 need 96"):  # noqa: SIM117
        with pytest.raises(NotFoundError):
            open_image(tmp_path)


@pytest.mark.parametrize(
    ("elements", "match"),
    [
        ({"SamplesPerPixel": 4, "PhotometricInterpretation": "ARGB"}, r"4 samples per pixel \(ARGB\)"),
        ({"SamplesPerPixel": 4, "PhotometricInterpretation": "CMYK"}, r"4 samples per pixel \(CMYK\)"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "HSV"}, "3 samples per pixel and HSV are not read"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_PARTIAL_420"}, "YBR_PARTIAL_420 are not read"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "MONOCHROME2"}, "and MONOCHROME2 are not read"),
        ({"SamplesPerPixel": 1, "PhotometricInterpretation": "RGB"}, "RGB have 3 samples per pixel, .*says 1"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_RCT"}, "YBR_RCT are known only in jpeg2000"),
    ],
)
def test_colours_of_no_kind_that_is_read(tmp_path: Path, elements: Elements, match: str) -> None:
    data = np.zeros((4, 6, 4), dtype="u1")
    save(image(0, 0, {**stored_as(data[..., 0], 8), **elements, "PixelData": data.tobytes()}), tmp_path / "0")
    with pytest.raises(FormatError, match=match):
        open_image(tmp_path)


# --- palettes ---------------------------------------------------------------------------------------------------------


def palette(descriptor: list[int], tables: list[bytes], segmented: bool = False, signed: bool = False) -> Dataset:
    ds = Dataset()
    for k, colour in enumerate(("Red", "Green", "Blue")):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", "SS" if signed else "US", descriptor)
        name = f"{'Segmented' if segmented else ''}{colour}PaletteColorLookupTableData"
        ds.add_new(name, "OW", tables[k])
    return ds


def coloured(path: Path, values: Array, colours: Dataset, **elements: Any) -> Array:
    """Save an image with a palette and give its colours, read."""
    bits = values.dtype.itemsize * 8
    ds = image(0, 0, stored_as(values, bits, PhotometricInterpretation="PALETTE COLOR", **elements))
    ds.update(colours)
    save(ds, path / "0")
    a = open_image(path)
    assert (str(a.dtype), a.dims[-1], a.shape[-1]) == ("uint8", "rgb", 3)
    return np.asarray(a.values[0, 0])


@pytest.mark.parametrize("first", [0, 10, 200])
@pytest.mark.parametrize("depth", [8, 16])
def test_palette_of_bytes_or_words(tmp_path: Path, depth: int, first: int) -> None:
    values = np.arange(256, dtype="u1").reshape(16, 16)
    tables = np.random.default_rng(1).integers(0, 2**depth, (3, 50)).astype(f"<u{depth // 8}")
    got = coloured(tmp_path, values, palette([50, first, depth], [t.tobytes() for t in tables]))
    want = tables[:, np.clip(values.astype(int) - first, 0, 49)] >> (depth - 8)
    np.testing.assert_array_equal(got, np.moveaxis(want, 0, -1))
    by_pydicom = apply_color_lut(values, pydicom.dcmread(tmp_path / "0")) >> (depth - 8)
    np.testing.assert_array_equal(got, by_pydicom)


def test_palette_of_many_bytes_and_signed_values(tmp_path: Path) -> None:
    """More entries than a byte counts, from a negative value on."""
    values = np.linspace(-400, 400, 64).astype("i2").reshape(8, 8)
    tables = np.random.default_rng(1).integers(0, 256, (3, 600)).astype("u1")
    got = coloured(tmp_path, values, palette([600, -300, 8], [t.tobytes() for t in tables], signed=True))
    np.testing.assert_array_equal(got, np.moveaxis(tables[:, np.clip(values.astype(int) + 300, 0, 599)], 0, -1))


def test_palette_of_bytes_in_words(tmp_path: Path) -> None:
    """Some write colours of eight bits into entries of sixteen, whose upper eight would be black."""
    values = np.arange(64, dtype="u1").reshape(8, 8)
    tables = np.random.default_rng(1).integers(0, 256, (3, 64)).astype("<u2")
    got = coloured(tmp_path, values, palette([64, 0, 16], [t.tobytes() for t in tables]))
    np.testing.assert_array_equal(got, np.moveaxis(tables[:, values], 0, -1))


def test_palette_of_65536_entries(tmp_path: Path) -> None:
    values = np.array([[0, 1, 32768, 65535]], dtype="u2")
    table = np.arange(65536).astype("<u2").tobytes()
    got = coloured(tmp_path, values, palette([0, 0, 16], [table] * 3))
    np.testing.assert_array_equal(got[..., 0], values >> 8)


def test_segmented_palette(tmp_path: Path) -> None:
    """A run, a straight line, and both again (PS3.3 C.7.9.2); the repetition is said in bytes."""
    words = [0, 3, 0, 65280, 256, 1, 10, 51456, 2, 2, 0, 0]
    data = np.array(words, dtype="<u2").tobytes()
    line = np.around(np.linspace(256, 51456, 11)[1:]).astype(int)
    once = [0, 65280, 256, *line]
    values = np.arange(26, dtype="u1").reshape(2, 13)
    got = coloured(tmp_path, values, palette([26, 0, 16], [data] * 3, segmented=True))
    np.testing.assert_array_equal(got[..., 1].ravel(), np.array(once + once) >> 8)
    by_pydicom = apply_color_lut(values, pydicom.dcmread(tmp_path / "0")) >> 8
    np.testing.assert_array_equal(got, by_pydicom)


@pytest.mark.parametrize(
    "colours",
    [
        palette([50, 0, 8], [b"\1" * 10] * 3),
        palette([50, 0, 8], [b"\1" * 50, b"\1" * 50, b""]),
        palette([50, 0, 16], [np.array([1, 5, 9], "<u2").tobytes()] * 3, segmented=True),
        palette([50, 0, 16], [np.array([2, 5, 0, 0], "<u2").tobytes()] * 3, segmented=True),
        palette([50, 0, 16], [np.array([0, 1, 5, 2, 60000, 5, 0], "<u2").tobytes()] * 3, segmented=True),
    ],
)
def test_palettes_that_are_none(tmp_path: Path, colours: Dataset) -> None:
    with pytest.raises(FormatError, match="Palette Color Lookup Table"):
        coloured(tmp_path, np.arange(20, dtype="u1").reshape(4, 5), colours)


def test_big_endian_palette(tmp_path: Path) -> None:
    values = np.arange(64, dtype="u1").reshape(8, 8)
    table = (np.arange(64) * 1000).astype(">u2").tobytes()
    ds = image(0, 0, stored_as(values, 8, PhotometricInterpretation="PALETTE COLOR"))
    ds.update(palette([64, 0, 16], [table] * 3))
    ds["PixelData"].VR = "OB"
    save(ds, tmp_path / "0", ExplicitVRBigEndian)
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0, ..., 0], values.astype(int) * 1000 >> 8)


# --- modality LUT -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_modality_lut_of_bytes_or_words(tmp_path: Path, bits: int, syntax: str) -> None:
    """Values below the first and above the last get the nearest (PS3.3 C.11.1.1); 12 bits stand in words."""
    entries = np.array([7, 2, 9, 200] if bits == 8 else [70, 2000, 60000 >> 16 - bits, 5])
    item = Dataset()
    item.add_new(0x00283002, "SS", [4, -2, bits])
    item.ModalityLUTType = "US"
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = entries.astype(f"{order}u{(bits + 7) // 8}").tobytes()
    if bits == 8 and order == ">":
        data = np.frombuffer(data, "u2").byteswap().tobytes()
    item.add_new(0x00283006, "OW", data)
    values = np.resize(np.arange(-5, 5), (4, 5)).astype("<i2")
    elements = stored_as(values.astype(f"{order}i2"), 16, ModalityLUTSequence=[item])
    save(image(0, 0, elements), tmp_path / "0", syntax)
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], entries[np.clip(values + 2, 0, 3)])


# --- kept -------------------------------------------------------------------------------------------------------------


def test_the_icc_profile_stays_in_the_header(tmp_path: Path) -> None:
    save(image(0, 0, {**stored_as(rgb(), 8), "ICCProfile": b"profile!"}), tmp_path / "in" / "0")
    a = open_image(tmp_path / "in")
    a.imd.write(tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    assert pydicom.dcmread(path).ICCProfile == b"profile!"

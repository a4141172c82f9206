"""Values of the pixels: however they are stored, they are what pydicom and the rescale say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from series import COLS, ROWS, Elements, image, open_image, save, series

from imagedata_xr.dicom.pixels.pixel_format import PixelFormat
from imagedata_xr.dicom.pixels.value_type import ValueRange, natural_type, value_type
from imagedata_xr.errors import FormatError, ImagedataWarning, LabelError

Array = NDArray[Any]


def stored_as(values: Array, bits: int, **elements: Any) -> Elements:
    """Elements of an image with these stored values."""
    kind = values.dtype.kind
    return {
        "BitsAllocated": values.dtype.itemsize * 8, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": int(kind == "i"), "PixelData": values.tobytes(), **elements,
    }  # fmt: skip


def spread(low: int, high: int, dtype: str) -> Array:
    """Values over a whole range."""
    return np.linspace(low, high, ROWS * COLS).round().astype(dtype).reshape(ROWS, COLS)


def by_pydicom(path: Path) -> Array:
    """Values as pydicom has them, rescaled in float64."""
    ds = pydicom.dcmread(path)
    return np.asarray(ds.pixel_array * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0)))


def check(folder: Path, expected: Sequence[Array] | None = None) -> None:
    """Compare values with those expected, by default pydicom's, and find the stored integers again."""
    a = open_image(folder)
    for k, path in enumerate(sorted(folder.iterdir())):
        want = by_pydicom(path) if expected is None else expected[k]
        got = a.values[0, k]
        np.testing.assert_array_equal(got, want.astype(got.dtype))
        ds = pydicom.dcmread(path)
        again = (got.astype(float) - float(ds.get("RescaleIntercept", 0))) / float(ds.get("RescaleSlope", 1))
        np.testing.assert_array_equal(again.round(), open_image(folder, mask_and_scale=False).values[0, k])


# --- stored integers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(8, "u1"), (8, "i1"), (12, "<u2"), (12, "<i2"), (16, "<u2"), (16, "<i2"), (32, "<u4"), (32, "<i4")],
)
def test_depths_and_signs(tmp_path: Path, bits: int, dtype: str, syntax: UID | None) -> None:
    if bits == 32 and syntax == RLELossless:
        syntax = None  # RLE holds no more than 16 bits (PS3.5 section 8.2.2)
    low, high = (0, 2**bits - 1) if "u" in dtype else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for k in range(2):
        ds = image(0, k, stored_as(spread(low, high - k, dtype), bits))
        if syntax == RLELossless:
            ds.file_meta = pydicom.dataset.FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
            ds.compress(RLELossless, generate_instance_uid=False)
        save(ds, tmp_path / f"{k}", syntax or "1.2.840.10008.1.2.1")
    check(tmp_path)
    wide = bits == 32
    assert open_image(tmp_path).dtype == (np.float64 if wide else np.float32)


@pytest.mark.parametrize(("bits", "dtype"), [(8, "u1"), (16, "<u2"), (16, "<i2"), (32, "<i4")])
def test_big_endian(tmp_path: Path, bits: int, dtype: str) -> None:
    values = spread(1, 100, dtype)
    ds = image(0, 0, stored_as(values.astype(values.dtype.newbyteorder(">")), bits))
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    save(ds, tmp_path / "0", ExplicitVRBigEndian)
    check(tmp_path, [values.astype(float)])


@pytest.mark.parametrize("signed", [False, True])
def test_dirty_bits_above_those_stored(tmp_path: Path, signed: bool) -> None:
    values = spread(-2048 if signed else 0, 2047 if signed else 4095, "<i2" if signed else "<u2")
    dirty = (values.view("<u2") & 0x0FFF) | (np.arange(20).reshape(ROWS, COLS).astype("<u2") << 12)
    elements = {**stored_as(dirty.astype("<u2"), 12), "PixelRepresentation": int(signed)}
    save(image(0, 0, elements), tmp_path / "0")
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], values)


@given(
    values=st.lists(st.integers(0, 2**16 - 1), min_size=4, max_size=4),
    stored=st.integers(1, 16),
    signed=st.booleans(),
    data=st.data(),
)
def test_the_high_bit_may_lie_anywhere(values: list[int], stored: int, signed: bool, data: st.DataObject) -> None:
    high = data.draw(st.integers(stored - 1, 15))
    form = PixelFormat(2, 2, 1, 16, stored, high, signed)
    raw = np.array(values, dtype=np.uint16)
    want = (raw.astype(np.int64) >> (high + 1 - stored)) & (2**stored - 1)
    want = np.where(signed & (want >= 2 ** (stored - 1)), want - 2**stored, want)
    np.testing.assert_array_equal(form.clean(raw.view(form.stored_dtype)), want)


@pytest.mark.parametrize(
    "elements",
    [{"BitsAllocated": 12}, {"BitsStored": 17}, {"HighBit": 16}, {"BitsStored": 12, "HighBit": 10}],
)
def test_pixels_of_no_kind_that_dicom_knows(tmp_path: Path, elements: Elements) -> None:
    with pytest.raises(FormatError, match="none that DICOM knows"):
        open_image(series(tmp_path, 1, 2, lambda v, k: elements))


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_float_pixels(tmp_path: Path, keyword: str, dtype: str) -> None:
    values = np.linspace(-1e-3, 1e5, 20).reshape(ROWS, COLS).astype(dtype)
    bits = values.dtype.itemsize * 8
    gone = dict.fromkeys(("PixelData", "BitsStored", "HighBit", "PixelRepresentation"))
    save(image(0, 0, {**gone, "BitsAllocated": bits, keyword: values.tobytes()}), tmp_path / "0")
    a = open_image(tmp_path)
    assert a.dtype == values.dtype
    np.testing.assert_array_equal(a.values[0, 0], values)


def test_single_bits(tmp_path: Path) -> None:
    values = np.arange(20).reshape(ROWS, COLS) % 3 == 0
    packed = np.packbits(values.ravel(), bitorder="little").tobytes() + b"\0"
    elements = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": packed}
    save(image(0, 0, elements), tmp_path / "0")
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], values)


# --- rescale --------------------------------------------------------------------------------------------------------


def test_a_rescale_that_varies_from_file_to_file(tmp_path: Path) -> None:
    series(tmp_path, 1, 4, lambda v, k: {"RescaleSlope": f"{0.731 + k:.6f}", "RescaleIntercept": 10 * k})
    check(tmp_path)


@pytest.mark.parametrize("intercept", [-1024, 0])
def test_a_rescale_that_one_file_lacks_is_said(tmp_path: Path, intercept: int) -> None:
    """It may be 1024 off in a CT; where the others have none that changes a value, nothing is lost."""
    vary = lambda v, k: {"RescaleIntercept": intercept, "RescaleSlope": 1} if k else {}  # noqa: E731
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        a = open_image(series(tmp_path, 1, 3, vary))
    assert bool([w for w in said if "1 of 3 images have no RescaleSlope" in str(w.message)]) == (intercept != 0)
    assert int(a[0, 1, 0, 0] - a[0, 0, 0, 0]) == 100 + intercept


@pytest.mark.parametrize(("lost", "kept"), [("RescaleSlope", "RescaleIntercept"), ("RescaleIntercept", "RescaleSlope")])
@pytest.mark.parametrize("from_slice", [0, 1])
def test_half_a_rescale_is_said(tmp_path: Path, lost: str, kept: str, from_slice: int) -> None:
    """Both belong together (PS3.3 C.11.1.1.2): a Philips image whose slope was lost has other values."""
    vary = lambda v, k: {kept: 4, **({} if k >= from_slice else {lost: 3})}  # noqa: E731
    with pytest.warns(ImagedataWarning, match=f"{3 - from_slice} of 3 images have {kept} but no {lost}"):
        open_image(series(tmp_path, 1, 3, vary))


@pytest.mark.parametrize(
    ("elements", "units"),
    [
        ({"RescaleIntercept": -1024, "RescaleSlope": 1}, "HU"),
        ({"RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "HU"}, "HU"),
        ({}, None),
        ({"RescaleIntercept": -1024, "RescaleSlope": 1, "RescaleType": "US"}, None),
    ],
)
def test_ct_is_in_hounsfield_units_only_where_it_is_rescaled(tmp_path: Path, elements: Elements, units: Any) -> None:
    a = open_image(series(tmp_path, 1, 2, lambda v, k: {"Modality": "CT", **elements}))
    assert a.attrs.get("units") == units


def test_phase_with_a_negative_intercept(tmp_path: Path) -> None:
    elements = stored_as(spread(0, 4095, "<u2"), 12, RescaleSlope="1.534065934", RescaleIntercept="-3142")
    check(series(tmp_path, 1, 2, lambda v, k: elements))
    assert open_image(tmp_path).values.min() == -3142


def test_a_tiny_step_far_from_zero_needs_float64(tmp_path: Path) -> None:
    elements = stored_as(spread(0, 65535, "<u2"), 16, RescaleSlope="0.001", RescaleIntercept="1000000")
    check(series(tmp_path, 1, 2, lambda v, k: elements))
    assert open_image(tmp_path).dtype == np.float64


@given(slope=st.floats(1e-6, 1e6), intercept=st.floats(-1e6, 1e6), bits=st.integers(1, 16))
def test_every_stored_integer_is_found_again(slope: float, intercept: float, bits: int) -> None:
    stored = np.unique(np.r_[0, 1, 2**bits - 2, 2**bits - 1, np.arange(0, 2**bits, 257)])
    exact = stored * slope + intercept
    kind = natural_type(ValueRange(exact.min(), exact.max(), slope, False))
    again = (exact.astype(kind).astype(float) - intercept) / slope
    np.testing.assert_array_equal(again.round(), stored)


def test_no_integer_overflow(tmp_path: Path) -> None:
    folder = series(tmp_path, 1, 2, lambda v, k: stored_as(spread(0, 65535, "<u2"), 16))
    a = open_image(folder)
    assert float((a * a).max()) == pytest.approx(65535**2, rel=1e-6)
    assert float((a - a.max()).min()) == -65535


@pytest.mark.parametrize(("value", "match"), [("0", "RescaleSlope is 0"), ("1,5", "RescaleSlope is no number")])
def test_a_rescale_that_loses_the_values(tmp_path: Path, value: str, match: str) -> None:
    path = save(image(0, 0, {"RescaleSlope": "1.25", "RescaleIntercept": "0"}), tmp_path / "0")
    path.write_bytes(path.read_bytes().replace(b"1.25", value.ljust(4).encode()))
    with pytest.raises(FormatError, match=match):
        open_image(tmp_path)
    assert open_image(tmp_path, mask_and_scale=False).dtype == np.uint16


@pytest.mark.parametrize("signed", [False, True])
def test_modality_lut(tmp_path: Path, signed: bool) -> None:
    item = Dataset()
    first = -2 if signed else 2
    item.add_new(0x00283002, "SS" if signed else "US", [4, first, 16])
    item.ModalityLUTType = "OD"
    item.add_new(0x00283006, "US", [100, 50, 25, 1000])
    values = np.resize(np.arange(-5, 5) if signed else np.arange(10), (ROWS, COLS)).astype("<i2" if signed else "<u2")
    save(image(0, 0, stored_as(values, 16, ModalityLUTSequence=[item])), tmp_path / "0")
    want = np.array([100, 50, 25, 1000])[np.clip(values.astype(int) - first, 0, 3)]
    np.testing.assert_array_equal(open_image(tmp_path).values[0, 0], want)
    np.testing.assert_array_equal(open_image(tmp_path, mask_and_scale=False).values[0, 0], values)
    assert open_image(tmp_path, dtype="int16").dtype == np.int16


def test_monochrome1_is_not_inverted(tmp_path: Path) -> None:
    check(series(tmp_path, 1, 2, lambda v, k: {"PhotometricInterpretation": "MONOCHROME1"}))
    assert open_image(tmp_path).attrs["PhotometricInterpretation"] == "MONOCHROME1"


# --- padding --------------------------------------------------------------------------------------------------------


def padded(values: Array, **elements: Any) -> Elements:
    return stored_as(values, 16, **elements)


@pytest.mark.parametrize(("dtype", "written", "stored"), [("<u2", 65535, 65535), ("<i2", 63536, -2000), ("<u2", 0, 0)])
def test_padding_becomes_nan_when_asked_for(tmp_path: Path, dtype: str, written: int, stored: int) -> None:
    values = np.arange(1, 21).reshape(ROWS, COLS).astype(dtype)
    values[0, 0] = stored
    elements = padded(values, PixelPaddingValue=written, RescaleSlope=1, RescaleIntercept=-1024)
    ds = image(0, 0, elements)
    ds["PixelPaddingValue"].VR = "US"
    save(ds, tmp_path / "0")
    plain, masked = open_image(tmp_path), open_image(tmp_path, mask_padding=True)
    assert float(plain[0, 0, 0, 0]) == stored - 1024
    assert plain.attrs["PixelPaddingValue"] == written
    assert np.isnan(masked.values).sum() == 1
    assert np.isnan(masked.values[0, 0, 0, 0])
    assert np.nanmin(masked.values) == 2 - 1024


def test_a_range_of_padding(tmp_path: Path) -> None:
    values = np.arange(20).reshape(ROWS, COLS).astype("<u2")
    save(image(0, 0, padded(values, PixelPaddingValue=3, PixelPaddingRangeLimit=0)), tmp_path / "0")
    assert np.isnan(open_image(tmp_path, mask_padding=True).values).sum() == 4


def test_padding_that_can_not_be_masked(tmp_path: Path) -> None:
    elements = stored_as(spread(0, 100, "<u2"), 12, PixelPaddingValue=63536)
    folder = series(tmp_path, 1, 2, lambda v, k: elements)
    with pytest.raises(FormatError, match="padding value of some images does not lie within the 12 bits"):
        open_image(folder, mask_padding=True)
    with pytest.raises(LabelError, match="mask_padding=True makes NaN"):
        open_image(folder, mask_padding=True, mask_and_scale=False)


# --- types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("scaled", [True, False])
def test_a_type_that_holds_the_values(tmp_path: Path, dtype: str, scaled: bool) -> None:
    a = open_image(series(tmp_path, 1, 2), dtype=dtype, mask_and_scale=scaled)
    assert a.dtype == dtype
    np.testing.assert_array_equal(a, open_image(tmp_path))


@pytest.mark.parametrize(
    ("dtype", "elements", "match"),
    [
        ("int16", {}, "may reach from 0 to 65535"),
        ("float16", {}, "may reach from 0 to 65535"),
        ("uint16", {"RescaleSlope": 1, "RescaleIntercept": -1}, "from -1 to 65534"),
        ("int32", {"RescaleSlope": 0.5, "RescaleIntercept": 0}, "the values have fractions"),
        ("bool", {}, "dtype=bool"),
    ],
)
def test_a_type_that_does_not(tmp_path: Path, dtype: str, elements: Elements, match: str) -> None:
    with pytest.raises(FormatError, match=match):
        open_image(series(tmp_path, 1, 2, lambda v, k: elements), dtype=dtype)


def test_padding_needs_floats() -> None:
    values = ValueRange(0, 255, 1, True, nan=True)
    assert value_type(values, None, "float32") == np.float32
    with pytest.raises(FormatError, match="NaN for the padding"):
        value_type(values, None, "int16")


def test_stored_types_that_differ(tmp_path: Path) -> None:
    vary = lambda v, k: stored_as(spread(0, 90, ("u1", "<u2")[k]), 8 * (k + 1))  # noqa: E731
    folder = series(tmp_path, 1, 2, vary)
    check_values = open_image(folder).values
    np.testing.assert_array_equal(check_values[0, 0], check_values[0, 1])
    with pytest.raises(FormatError, match="stored in several types"):
        open_image(folder, mask_and_scale=False)
    assert open_image(folder, mask_and_scale=False, dtype="uint16").dtype == np.uint16


# --- colour ---------------------------------------------------------------------------------------------------------


def colour(planar: int, photometric: str = "RGB") -> tuple[Elements, Array]:
    values = (np.arange(ROWS * COLS * 3) * 4).reshape(ROWS, COLS, 3).astype("u1")
    data = values if not planar else values.transpose(2, 0, 1)
    elements = stored_as(np.ascontiguousarray(data), 8, SamplesPerPixel=3, PhotometricInterpretation=photometric,
                         PlanarConfiguration=planar)  # fmt: skip
    return elements, values


@pytest.mark.parametrize("planar", [0, 1])
def test_colour(tmp_path: Path, planar: int) -> None:
    elements, values = colour(planar)
    a = open_image(series(tmp_path, 1, 2, lambda v, k: elements))
    assert (a.dims[-1], str(a.dtype), a.shape) == ("rgb", "uint8", (1, 2, ROWS, COLS, 3))
    np.testing.assert_array_equal(a.values[0, 1], values)
    np.testing.assert_array_equal(a[0, 1, 1:3, ::2].values, values[1:3, ::2])


def test_colour_of_another_space_becomes_rgb(tmp_path: Path) -> None:
    elements, _ = colour(0, "YBR_FULL")
    a = open_image(series(tmp_path, 1, 2, lambda v, k: elements))
    want = pixel_array(tmp_path / "0000.dcm")
    np.testing.assert_array_equal(a.values[0, 0], want)
    assert a.attrs["PhotometricInterpretation"] == "RGB"

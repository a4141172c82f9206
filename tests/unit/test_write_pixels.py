"""Values as stored integers and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from imagedata_xr.dicom.writing.pixels_out import Coded, Coding, encode, invert
from imagedata_xr.errors import FormatError

Array = NDArray[Any]


def decoded(coded: Coded) -> NDArray[np.float64]:
    """What a reader makes of it, with the padding as NaN."""
    coding = coded.coding
    values = coded.stored * float(coding.slope) + float(coding.intercept)
    return values if coding.padding is None else np.where(coded.stored == coding.padding, np.nan, values)


@pytest.mark.parametrize(
    "values",
    [
        [0, 65535],
        [-32768, 32767],
        [100000, 165535],
        [-1024.0, 3071.0],
        [0.5, 1.5],
        [1.25, 200.75],
        [7.0, 7.0],
        [np.nan, 65535.0, 0.0][1:],
        [np.nan, 65534.0, 0.0],
        [np.nan, -32767.0, 32767.0],
        [np.nan, np.nan],
        [100000.0, np.nan, 165534.0],
    ],
)
def test_whole_numbers_and_binary_fractions_that_fit_come_back_exactly(values: list[float]) -> None:
    array = np.array([values])
    coded = encode(array, None)
    assert coded.exact
    assert np.array_equal(decoded(coded), array, equal_nan=array.dtype.kind == "f")
    assert coded.stored.dtype.itemsize == 2


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.float64, (3, 4), elements=st.floats(-1e30, 1e30)),
    st.booleans(),
    st.booleans(),
    st.floats(1e-20, 1e3),
)
def test_floats_come_back_within_half_a_step(values: Array, missing: bool, pet: bool, scale: float) -> None:
    values = values * scale
    if missing:
        values[1, 1] = np.nan
    coded = encode(values, None, pet=pet)
    got, step = decoded(coded), float(coded.coding.slope)
    assert np.array_equal(np.isnan(got), np.isnan(values))
    largest = np.nanmax(np.abs(values), initial=0)
    assert np.nanmax(np.abs(got - values), initial=0) <= 0.5 * step * (1 + 1e-4) + 1e-15 * largest + 1e-289


def test_values_nearer_to_each_other_than_any_step_are_not_taken_for_padding() -> None:
    values = np.array([[0.0, 2.3e-299, np.nan]])
    got = decoded(encode(values, None))
    assert np.isnan(got).tolist() == [[False, False, True]]
    assert np.nanmax(np.abs(got - values)) < 1e-290


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)), st.booleans())
def test_the_step_is_as_small_as_16_bits_allow(values: Array, missing: bool) -> None:
    if missing:
        values[0, 0] = np.nan
    coded = encode(values, None)
    span = np.nanmax(values) - np.nanmin(values)
    if not coded.exact and span > 1e-3:
        assert float(coded.coding.slope) <= span / 65533


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e9])
def test_a_small_range_far_from_zero_stays_within_half_a_step(offset: float) -> None:
    values = offset + np.linspace(0, 1, 50).reshape(5, 10)
    coded = encode(values, None)
    assert np.abs(decoded(coded) - values).max() <= 0.5001 * float(coded.coding.slope) + 2e-7


def test_pet_has_intercept_0_and_16_bits() -> None:
    for values in (np.array([[-3.7, 12.1]]), np.array([[0.1, 12.1]]), np.array([[100000, 100001]])):
        coding = encode(values, None, pet=True).coding
        assert (float(coding.intercept), coding.bits_stored, coding.signed) == (0, 16, bool(values.min() < 0))


def test_the_own_rescale_is_used_where_it_gives_the_values_exactly() -> None:
    own = Coding("0.25", "-1024", 16, 12, False)
    values = (np.array([[0, 17, 4095]]) * 0.25 - 1024).astype(np.float32)
    coded = encode(values, own)
    assert coded.coding == own
    assert coded.stored.tolist() == [[0, 17, 4095]]


def test_the_own_rescale_is_kept_with_more_bits_or_a_sign_where_values_left_its_range() -> None:
    own = Coding("1", "-1024", 16, 12, False)
    wide = encode(np.array([[-1024.0, 5000.0]]), own).coding
    assert (wide.intercept, wide.bits_stored, wide.signed) == ("-1024", 16, False)
    signed = encode(np.array([[-2000.0, 5000.0]]), own).coding
    assert (signed.intercept, signed.bits_stored, signed.signed) == ("-1024", 16, True)


def test_pet_does_not_keep_a_rescale_with_an_intercept() -> None:
    assert float(encode(np.array([[2.0, 4.0]]), Coding("2", "-10", 16, 16), pet=True).coding.intercept) == 0


def test_nan_uses_the_own_padding_unless_a_value_has_its_code() -> None:
    own = Coding("1", "-1024", 16, 16, True, padding=-2000)
    free = encode(np.array([[np.nan, 5.0]]), own)
    assert (free.coding.padding, free.coding.intercept) == (-2000, "-1024")
    taken = encode(np.array([[np.nan, -3024.0]]), own)
    assert np.array_equal(decoded(taken), [[np.nan, -3024.0]], equal_nan=True)


def test_an_image_without_nan_names_no_padding() -> None:
    assert encode(np.array([[1.0, 2.0]]), Coding(padding=7)).coding.padding is None


@pytest.mark.parametrize("slope", ["1", "0.1", "3.14159", "0.00032", "1e-05", "12345.678"])
@pytest.mark.parametrize("intercept", ["0", "-1024", "0.7", "-3142"])
def test_float32_values_of_a_rescale_are_inverted_exactly(slope: str, intercept: str) -> None:
    stored = np.arange(4096).reshape(64, 64)
    values = (stored * float(slope) + float(intercept)).astype(np.float64)
    got = invert(values, Coding(slope, intercept))
    assert got is not None
    assert np.array_equal(got, stored)


def test_a_value_beside_a_step_is_no_stored_integer() -> None:
    values = np.array([[1.0, 2.0, 3.001]], dtype=np.float32)
    assert invert(values, Coding()) is None
    assert invert(np.array([[1.0, 2.0, 3.0]], dtype=np.float32), Coding()) is not None


def test_float32_that_can_not_tell_two_steps_apart_is_not_inverted() -> None:
    values = np.array([[1e6, 1e6 + 0.01]], dtype=np.float32)
    assert invert(values, Coding("0.01", "1000000")) is None


@pytest.mark.parametrize(
    ("values", "match"),
    [(np.array([[1j]]), "two series"), (np.array([[np.inf]]), "infinite"), (np.array([["a"]]), "type")],
)
def test_what_dicom_can_not_hold_is_refused(values: Array, match: str) -> None:
    with pytest.raises(FormatError, match=match):
        encode(values, None)


def test_masks_become_bytes_only_where_the_class_allows() -> None:
    mask = np.array([[True, False]])
    assert encode(mask, None, bytes_allowed=True).stored.dtype == np.uint8
    assert encode(mask, None).stored.dtype == np.dtype("<u2")

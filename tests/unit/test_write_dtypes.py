"""Values of every type come back: exactly where 16 bits hold them, else within half a step; or are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from phantoms import opened

import imagedata_xr
from imagedata_xr.errors import FormatError

SHAPE = (2, 3, 4, 5)
CLASSES = ("SC", "MR", "CT", "PT")
Values = NDArray[Any]


def image_of(values: Values) -> xr.DataArray:
    return imagedata_xr.from_array(values, spacing=(3, 1.5, 1.25))


def ramp(low: float, high: float, dtype: str) -> Values:
    """Both ends and what is between."""
    part = np.linspace(0, 1, int(np.prod(SHAPE)), dtype=np.float64)
    values = low * (1 - part) + high * part
    return (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype).reshape(SHAPE)


EXACT: dict[str, Values] = {
    "bool": ramp(0, 1, "i1") > 0,
    "uint8": ramp(0, 255, "u1"),
    "int8": ramp(-128, 127, "i1"),
    "uint16": ramp(0, 65535, "u2"),
    "int16": ramp(-32768, 32767, "i2"),
    "uint32 that is small": ramp(0, 60000, "u4"),
    "int64 that is small": ramp(-20000, 20000, "i8"),
    "big endian": ramp(-300, 4000, ">i2"),
    "float16": ramp(0, 1000, "f2").round(),
    "float64 of whole numbers": np.rint(ramp(-100, 1000, "f8")),
    "halves": np.rint(ramp(-100, 1000, "f4")) / 2,
    "zeros": np.zeros(SHAPE, "f4"),
    "sevens": np.full(SHAPE, 7, "i4"),
    "all NaN": np.full(SHAPE, np.nan, "f4"),
}
ROUNDED: dict[str, Values] = {
    "float32": ramp(-1.7, 31.3, "f4"),
    "float64": ramp(-1.7, 31.3, "f8"),
    "float16": ramp(0.1, 0.9, "f2"),
    "tiny": ramp(1e-30, 3e-30, "f8"),
    "huge": ramp(-1e30, 2e30, "f8"),
    "the largest of float32": ramp(-3e38, 3e38, "f4"),
    "around a large offset": ramp(1e6, 1e6 + 0.5, "f8"),
    "a constant": np.full(SHAPE, 0.1, "f8"),
    "NaN": np.where(ramp(0, 1, "f4") > 0.4, ramp(-0.3, 0.9, "f4"), np.nan),
    "a constant and NaN": np.where(ramp(0, 1, "f4") > 0.4, 0.1, np.nan),
}
WIDE: dict[str, Values] = {
    "uint32": ramp(0, 2**32 - 1, "u4"),
    "int32": ramp(-(2**31), 2**31 - 1, "i4"),
    "int64": ramp(-(2**40), 2**40, "i8"),
    "uint64": ramp(0, 2**50, "u8"),
}
REFUSED: dict[str, tuple[Values, str]] = {
    "infinite": (np.where(ramp(0, 1, "f4") > 0.5, np.inf, 0), "infinite"),
    "complex": (ramp(0, 1, "f4") * 1j, "abs"),
    "more than a float spans": (np.where(np.indices(SHAPE)[3] % 2, 1.7e308, -1.7e308), "span"),
    "times": (np.zeros(SHAPE, "M8[s]"), "type"),
    "texts": (np.full(SHAPE, "a"), "type"),
}


def half_steps(paths: Any) -> Values:
    """Half a step of each image, by its own header: shape (volumes, slices, 1, 1)."""
    steps = [float(pydicom.dcmread(p).get("RescaleSlope") or 1) / 2 for p in paths]
    return np.reshape(steps, (*SHAPE[:2], 1, 1))


def written(values: Values, sop_class: str, folder: Path) -> tuple[Values, Any]:
    done = image_of(values).imd.write(folder, format="dicom", format_options={"sop_class": sop_class})
    return opened(folder, dtype="float64").values.reshape(SHAPE), done.paths


@pytest.mark.parametrize("sop_class", CLASSES)
@pytest.mark.parametrize("what", EXACT)
@pytest.mark.filterwarnings("ignore:.*neutral:imagedata_xr.errors.ImagedataWarning")
def test_what_16_bits_hold_comes_back_exactly(what: str, sop_class: str, tmp_path: Path) -> None:
    values = EXACT[what].astype("f8")
    back, paths = written(EXACT[what], sop_class, tmp_path / "out")
    if sop_class == "PT":  # which has no intercept
        np.testing.assert_array_less(np.abs(back - values)[~np.isnan(values)], half_steps(paths).max() * 1.0001 + 1e-12)
        np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    else:
        np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("sop_class", CLASSES)
@pytest.mark.parametrize("what", ROUNDED)
@pytest.mark.filterwarnings("ignore:.*neutral:imagedata_xr.errors.ImagedataWarning")
def test_floats_are_off_by_half_a_step_at_most(what: str, sop_class: str, tmp_path: Path) -> None:
    values = ROUNDED[what].astype("f8")
    back, paths = written(ROUNDED[what], sop_class, tmp_path / "out")
    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    half = half_steps(paths) * (1 + 1e-6)
    assert np.nanmax(np.abs(back - values) - half) <= 1e-9 * np.nanmax(np.abs(values))
    if sop_class != "PT":  # the step is as small as 16 bits allow: of each image
        known = [plane[~np.isnan(plane)] for plane in values.reshape(-1, *SHAPE[2:])]
        for step, plane in zip(2 * half.ravel(), known, strict=True):
            if plane.size and np.ptp(plane) > 1e-9 * np.abs(plane).max():
                assert step <= np.ptp(plane) / 65533 * (1 + 1e-4)


@pytest.mark.parametrize("sop_class", CLASSES)
@pytest.mark.parametrize("what", WIDE)
@pytest.mark.filterwarnings("ignore:.*neutral:imagedata_xr.errors.ImagedataWarning")
def test_integers_beyond_16_bits_are_rounded_to_half_a_step_and_said(
    what: str, sop_class: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    back, paths = written(WIDE[what], sop_class, tmp_path / "out")
    assert any("written in steps" in str(w.message) for w in recwarn)
    assert (np.abs(back - WIDE[what].astype("f8")) <= half_steps(paths) * (1 + 1e-6)).all()


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_stored_is_refused_with_a_reason(what: str, tmp_path: Path) -> None:
    values, text = REFUSED[what]
    with pytest.raises(FormatError, match=text):
        image_of(values).imd.write(tmp_path / "out", format="dicom")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "f2", "f4", "f8"])
def test_maps_hold_every_type(dtype: str, tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")
    values = ramp(0, 1 if dtype == "?" else 100, "f8").astype(dtype)[0]
    image_of(values).imd.write(tmp_path / "out", kind="parametric_map")
    back = opened(tmp_path / "out").values[0]
    np.testing.assert_array_equal(back.astype("f8"), values.astype("f8"))

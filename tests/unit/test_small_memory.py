"""What is done again and again for each plane or volume asks for no new memory as large as them.

Memory that is asked for anew comes from the system page by page, which costs more than the arithmetic in it: always
so in the workers of distributed, whose allocator is told to give everything back.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import imagedata_xr
from imagedata_xr.dicom.pixels.rescaling import rescale
from imagedata_xr.formats.fit import Fit, Holds
from imagedata_xr.formats.nifti_write import HOLDS

STORED = np.arange(6 * 256 * 256, dtype=np.uint16).reshape(6, 256, 256)


def most(run: Callable[[], Any]) -> int:
    """Peak of the bytes that a second run asks for."""
    run()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("slope", [[1.2371] * 6, [1.1, 1.2, 1.3, 1.4, 1.5, 1.6]])
@pytest.mark.parametrize("shape", [(6, 256, 256), (384, 32, 32), (2, 3, 65536), (6, 256, 64, 4)])
def test_rescaling(dtype: str, slope: list[float], shape: tuple[int, ...]) -> None:
    stored = STORED.reshape(shape)
    slopes = np.resize(slope, shape[0])
    intercepts = -3.3 * slopes
    out = np.empty(shape, dtype)
    peak = most(lambda: rescale(stored, slopes, intercepts, out))
    each = (-1, *(1,) * (len(shape) - 1))
    expected = stored.astype(np.float64) * slopes.reshape(each) + intercepts.reshape(each)
    np.testing.assert_array_equal(out, expected.astype(dtype))  # rounded once
    if shape[-1] < 65536:  # one row is more than a block
        assert peak < stored.size  # an eighth of what it is in float64


def test_rescaling_in_place() -> None:
    values = STORED.astype(np.float64)
    rescale(values, np.full(6, 2.5), np.full(6, -1.0), values)
    np.testing.assert_array_equal(values, STORED * 2.5 - 1)


def fit(values: NDArray[Any], holds: Holds = HOLDS, stored: str = "") -> Fit:
    image = xr.DataArray(values)
    image.encoding = {"stored_dtype": stored} if stored else {}
    return Fit(image, holds)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_looking_for_the_type(dtype: str) -> None:
    values = STORED.astype(dtype)[:, ::-1]
    one = fit(values, stored="uint16")
    assert most(lambda: one.take(values)) < values.nbytes / 4
    assert one.take(values)
    assert one.dtype == np.uint16


@pytest.mark.parametrize("place", [(0, 0, 0), (5, 255, 255), (3, 128, 1)])
@pytest.mark.parametrize("odd", [0.5, np.nan, np.inf])
def test_one_value_that_is_no_integer_is_seen_wherever_it_lies(place: tuple[int, int, int], odd: float) -> None:
    values = STORED.astype(np.float32)
    values[place] = odd
    one = fit(values, stored="uint16")
    assert not one.take(values)
    assert one.dtype == np.float32


@pytest.mark.parametrize("place", [(0, 0, 0), (5, 255, 255)])
def test_one_value_that_needs_eight_bytes_is_seen_wherever_it_lies(place: tuple[int, int, int]) -> None:
    values = STORED.astype(np.float64)
    only_single = Holds("made", ("u2", "f4"))
    values[place] = 0.5
    one = fit(values, only_single, "uint16")
    assert not one.take(values)
    assert one.dtype == np.float32
    assert one.take(values)
    values[place] = 0.1  # float32 does not hold it
    one = fit(values, only_single, "uint16")
    with pytest.raises(imagedata_xr.FormatError, match="not exact"):
        one.take(values)


def test_volumes_of_a_file_are_each_its_own(tmp_path: Path) -> None:
    """They are handed over in one memory, in which the next one overwrites the last."""
    import nibabel as nib

    image = imagedata_xr.from_array(STORED.reshape(3, 2, 256, 256).astype(np.float32), spacing=(2, 1, 1))
    image.encoding = {"stored_dtype": "uint16"}
    for name in ("a.nii", "b.nii.gz"):
        image.imd.write(tmp_path / name)
        got = nib.load(tmp_path / name)
        assert got.get_data_dtype() == np.uint16  # type: ignore[attr-defined]
        values = np.asarray(got.dataobj).T[:, :, ::-1]  # type: ignore[attr-defined]
        np.testing.assert_array_equal(values, STORED.reshape(3, 2, 256, 256))
    np.testing.assert_array_equal(
        np.asarray(image.imd.to_nibabel().dataobj).T[:, :, ::-1], STORED.reshape(3, 2, 256, 256)
    )


def test_pages_of_a_packed_tiff_are_each_its_own(tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    tifffile = require_module("tifffile")
    image = imagedata_xr.from_array(STORED.reshape(3, 2, 256, 256)[:, :, ::-1], spacing=(2, 1, 1))
    image.imd.write(tmp_path / "a.tif", format_options={"compress": 1})
    np.testing.assert_array_equal(np.squeeze(tifffile.imread(tmp_path / "a.tif")), image.values)

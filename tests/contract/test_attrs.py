"""Which attributes xarray keeps when two images are combined."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr


@pytest.fixture
def pair() -> tuple[xr.DataArray, xr.DataArray]:
    values = np.ones((2, 3))
    left = {"Modality": "MR", "EchoTrainLength": 1, "ImageType": ["ORIGINAL", "PRIMARY"], "StationName": "left"}
    right = {"Modality": "MR", "EchoTrainLength": 2, "ImageType": ["ORIGINAL", "PRIMARY"]}
    return xr.DataArray(values, dims=("row", "col"), attrs=left), xr.DataArray(values, dims=("row", "col"), attrs=right)


def test_binary_operation_keeps_equal_attrs_and_drops_different_ones(pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    left, right = pair
    assert (left + right).attrs == {"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY"], "StationName": "left"}


def test_unary_operations_and_reductions_keep_all_attrs(pair: tuple[xr.DataArray, xr.DataArray]) -> None:
    left, _ = pair
    for result in (left * 2, -left, left.mean("row"), left.astype(int), left.where(left > 0), abs(left)):
        assert result.attrs == left.attrs


def test_scalar_coord_that_differs_is_dropped_and_one_that_agrees_is_kept() -> None:
    one = xr.DataArray([1.0, 2.0], dims="row", coords={"patient": 1, "study": 5})
    other = xr.DataArray([1.0, 2.0], dims="row", coords={"patient": 1, "study": 6})
    assert set((one + other).coords) == {"patient"}

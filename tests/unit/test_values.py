"""Arithmetic on what the engine reads equals 64-bit arithmetic, at the whole range of stored integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from linear import write_series
from numpy.typing import NDArray


def extremes(bits: int, signed: bool, seed: int) -> NDArray[Any]:
    """Stored values with the least and the largest in each volume; shape (2, 2, 4, 6)."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = np.random.default_rng(seed).integers(low, high, size=(2, 2, 4, 6), endpoint=True)
    values[0, :, 0, :2], values[1, :, 0, :2] = (low, high), (high, low)
    kind = "i" if signed else "u"
    return values.astype(f"{kind}{1 if bits == 8 else 2}")


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 15, 16])
@pytest.mark.parametrize("chunks", [None, {}])
def test_arithmetic_equals_that_of_64_bits(bits: int, signed: bool, chunks: Any, tmp_path: Path) -> None:
    slope, intercept = (1.0, 0.0) if bits % 2 else (2.5, -100.0)
    x, y = (extremes(bits, signed, seed) for seed in (1, 2))
    options: dict[str, Any] = {"bits": bits, "slope": slope, "intercept": intercept}
    a, b = (
        xr.open_dataarray(write_series(tmp_path / n, v, **options), engine="imagedata", order="time", chunks=chunks)
        for n, v in (("a", x), ("b", y))
    )
    p, q = (v.astype(np.float64) * slope + intercept for v in (x, y))
    assert a.dtype.kind == "f"
    np.testing.assert_array_equal(a.values.astype(np.float64), p.astype(np.float32))
    eps = float(np.finfo(np.float32).eps) * max(np.abs(p).max(), np.abs(q).max())
    np.testing.assert_allclose((a - a.isel(tag=0, drop=True)).values, p - p[0], rtol=0, atol=2 * eps)
    np.testing.assert_allclose((a - a.isel(tag=0)).values, p - p[0], rtol=0, atol=2 * eps)
    np.testing.assert_allclose(((a + b) / 2).values, (p + q) / 2, rtol=0, atol=2 * eps)
    np.testing.assert_allclose((a**2).values, p**2, rtol=4 * float(np.finfo(np.float32).eps))
    np.testing.assert_allclose(a.mean("tag").values, p.mean(axis=0), rtol=0, atol=2 * eps)

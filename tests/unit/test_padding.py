"""Padding of images: NaN by formula where it is asked for, left alone and named otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from phantoms import Series, ct, instance, opened
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

SHAPE = (1, 3, 12, 16)


def circle() -> NDArray[np.bool_]:
    """Pixels outside of the round field of view of a CT."""
    i, j = np.mgrid[:12, :16]
    return np.asarray((i - 5.5) ** 2 + (j - 7.5) ** 2 > 30)


def make(
    folder: Path, series: Series, outside: list[list[int]], implicit: bool, **padding: list[int | None]
) -> NDArray[np.float64]:
    """Write slices whose pixels outside of a circle take the values given for them in turn; return stored values."""
    folder.mkdir(exist_ok=True)
    out = []
    for k in range(series.shape[1]):
        ds = instance(series, 0, k)
        pixels = series.stored(0, k)
        pixels[circle()] = np.resize(outside[k], circle().sum())
        ds.PixelData = pixels.astype("<i2" if series.signed else "<u2").tobytes()
        for keyword, values in padding.items():
            if (value := values[k]) is not None:
                ds.add_new(keyword, "SS" if value < 0 else "US", value)
        if implicit:
            ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        assert ds.file_meta.TransferSyntaxUID in (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
        out.append(pixels)
    return np.array(out, dtype=np.float64)[None]


CASES: dict[str, tuple[dict[str, Any], list[list[int]], dict[str, list[int | None]], list[tuple[int, int]]]] = {
    "signed": ({"signed": True, "bits": 16}, [[-2000]] * 3, {"PixelPaddingValue": [-2000] * 3}, [(-2000, -2000)] * 3),
    "unsigned": ({}, [[0]] * 3, {"PixelPaddingValue": [0] * 3}, [(0, 0)] * 3),
    "each its own": (
        {"signed": True, "bits": 16},
        [[-2000], [-3000], [-7]],
        {"PixelPaddingValue": [-2000, -3000, None]},
        [(-2000, -2000), (-3000, -3000), (1, 0)],
    ),
    "range upward": (
        {"bits": 16},
        [[0, 5, 10, 11]] * 3,
        {"PixelPaddingValue": [0] * 3, "PixelPaddingRangeLimit": [10] * 3},
        [(0, 10)] * 3,
    ),
    "range downward": (
        {"signed": True, "bits": 16},
        [[-2000, -2048, -2020, -2049, -1999]] * 3,
        {"PixelPaddingValue": [-2000] * 3, "PixelPaddingRangeLimit": [-2048] * 3},
        [(-2048, -2000)] * 3,
    ),
    "range across zero, each its own": (
        {"signed": True, "bits": 16},
        [[-3, 0, 4, 5]] * 3,
        {"PixelPaddingValue": [-3, 4, -3], "PixelPaddingRangeLimit": [4, -3, None]},
        [(-3, 4), (-3, 4), (-3, -3)],
    ),
}


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("name", CASES)
def test_padding_is_masked_after_the_rescale(name: str, implicit: bool, tmp_path: Path) -> None:
    changes, outside, padding, ranges = CASES[name]
    stored = make(tmp_path, ct(shape=SHAPE, slope=0.5, **changes), outside, implicit, **padding)
    low, high = (np.array(ends)[None, :, None, None] for ends in zip(*ranges, strict=True))
    value = stored * 0.5 - 1024
    np.testing.assert_array_equal(opened(tmp_path), value)
    masked = np.where((stored >= low) & (stored <= high), np.nan, value)
    assert np.isnan(masked).any()
    np.testing.assert_array_equal(opened(tmp_path, mask_padding=True), masked)
    np.testing.assert_array_equal(opened(tmp_path, mask_padding=True, chunks={"slice": 1}), masked)


def test_padding_left_alone_is_named(tmp_path: Path) -> None:
    padding: dict[str, list[int | None]] = {"PixelPaddingValue": [-2000] * 3, "PixelPaddingRangeLimit": [-2048] * 3}
    make(tmp_path, ct(shape=SHAPE, signed=True, bits=16), [[-2000]] * 3, False, **padding)
    a = opened(tmp_path)
    assert (a.attrs["PixelPaddingValue"], a.attrs["PixelPaddingRangeLimit"]) == (-2000, -2048)
    assert not np.isnan(a).any()

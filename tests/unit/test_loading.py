"""Loading chunk by chunk gives what dask gives, in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from phantoms import make, mr, opened

import imagedata_xr
from imagedata_xr.model.loading import values_of

DATA = np.arange(4 * 3 * 5 * 6, dtype=np.float32).reshape(4, 3, 5, 6)


def chunked(chunks: Any = (1, 2, 5, 4)) -> xr.DataArray:
    return imagedata_xr.from_array(da.from_array(DATA, chunks), spacing=(2, 1, 1))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("scheduler", [None, "threads", "synchronous", "processes"])
@pytest.mark.parametrize("chunks", [(1, 2, 5, 4), (4, 3, 5, 6)])
def test_values_and_labels_are_those_of_dask(scheduler: str | None, chunks: Any) -> None:
    image = chunked(chunks)
    expected = image.compute()
    with dask.config.set(scheduler=scheduler):
        assert image.imd.load() is image
    assert isinstance(image.data, np.ndarray)
    xr.testing.assert_identical(image, expected)


def test_scheduler_of_the_call() -> None:
    image = chunked()
    xr.testing.assert_identical(image.imd.load(scheduler="synchronous"), chunked().compute())


def test_datasets_and_selections() -> None:
    ds = chunked().to_dataset(name="image").assign(other=chunked() + 1)
    assert ds.imd.load() is ds
    assert all(isinstance(v.data, np.ndarray) for v in ds.data_vars.values())
    np.testing.assert_array_equal(ds.other, DATA + 1)
    np.testing.assert_array_equal(chunked()[1:, ::-1, :, 2:4].imd.load(), DATA[1:, ::-1, :, 2:4])


def test_images_of_files(tmp_path: Path) -> None:
    make(tmp_path / "in", mr(shape=(2, 3, 6, 8)))
    plain = opened(tmp_path / "in").load()
    for chunks in (None, {}, {"tag": 2}, {"slice": 1}):
        image = xr.open_dataarray(tmp_path / "in", engine="imagedata", chunks=chunks)
        xr.testing.assert_identical(image.imd.load(), plain)


def test_chunks_of_unknown_length_are_left_to_dask() -> None:
    flat = da.from_array(DATA.ravel(), 50)  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(values_of(xr.Variable("a", flat[flat > 9])), DATA.ravel()[10:])

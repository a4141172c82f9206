"""Writing images as zarr and netCDF and opening them again, for tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import xarray as xr
from phantoms import make, opened

from imagedata_xr.formats.seam import WriteOptions, Written
from imagedata_xr.formats.zarr import NetCDF, Zarr

EXTENSIONS = [".zarr", ".nc"]
FORMATS: dict[str, Any] = {".zarr": Zarr, ".nc": NetCDF}


def source(folder: Path) -> xr.DataArray:
    """An oblique MR series of three volumes, lazily from its files."""
    make(folder, phantoms.mr(shape=(3, 4, 6, 8), orientation=phantoms.OBLIQUE, slope=2.5, intercept=-3.0))
    return opened(folder, order="time", chunks={})


def write(image: xr.DataArray, target: str | Path, **options: Any) -> Written:
    extension = os.path.splitext(str(target))[1]
    done = FORMATS[extension]().write(image, str(target), WriteOptions(**options))
    assert isinstance(done, Written)
    return done


def saved(image: xr.DataArray, target: str | Path, **options: Any) -> xr.DataArray:
    """Image after it was written and opened again."""
    write(image, target, **options)
    return opened(str(target), chunks={})


def same(first: xr.DataArray, second: xr.DataArray) -> None:
    """Assert that two images are one, their source aside: values, labels, attrs, and the types of all these."""
    a, b = (x.drop_vars("source", errors="ignore") for x in (first, second))
    xr.testing.assert_identical(a, b)
    assert np.array_equal(a.values, b.values, equal_nan=a.dtype.kind in "fc")
    assert a.dtype == b.dtype
    for x, y in [(a, b), *((a[n], b[n]) for n in a.coords)]:
        assert x.dtype == y.dtype
        assert {k: (type(v), v) for k, v in x.attrs.items()} == {k: (type(v), v) for k, v in y.attrs.items()}
    assert {n: type(i) for n, i in a.xindexes.items()} == {n: type(i) for n, i in b.xindexes.items()}


def plainly(target: Path) -> xr.Dataset:
    """Dataset as plain xarray opens it."""
    return xr.open_zarr(target) if target.suffix == ".zarr" else xr.open_dataset(target, engine="h5netcdf")

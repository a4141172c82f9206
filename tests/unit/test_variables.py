"""Variables of plain arrays: those that xarray makes, without the import of dask.array."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydicom.data import get_testdata_file

from imagedata_xr.model.variables import variable_of


@pytest.mark.parametrize(
    ("dims", "values"),
    [
        (("a",), np.arange(3.0)),
        (("a",), np.array(["x", "yy"])),
        (("a",), np.array(["x", "yy"], dtype=np.dtypes.StringDType())),
        (("a",), np.array(["2020-01-01T00:00:00.25", "NaT"], dtype="datetime64[us]")),
        (("a",), np.array([None, "x"], dtype=object)),
        ((), np.datetime64("2020-01-01T00:00:00.25", "us")),
        ((), np.int64(3)),
        ((), 2.5),
        ((), "text"),
        (("a", "b"), [[1, 2], [3, 4]]),
    ],
)
def test_as_xarray_makes_them(dims: tuple[str, ...], values: Any) -> None:
    mine, theirs = variable_of(dims, values, {"units": "mm"}), xr.Variable(dims, values, {"units": "mm"})
    assert mine.identical(theirs)
    assert (mine.dtype, type(mine.values), type(mine._data)) == (theirs.dtype, type(theirs.values), type(theirs._data))


def test_opening_does_not_import_dask() -> None:
    pytest.importorskip("dask.array")
    path = str(get_testdata_file("MR_small.dcm"))
    program = (
        f"import sys, xarray as xr\nxr.open_dataarray({path!r}, engine='imagedata')\n"
        "assert 'dask.array' not in sys.modules, 'it takes half a second'\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)

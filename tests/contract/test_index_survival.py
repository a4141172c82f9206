"""Which operations keep an index of another library, and which drop it: what `imd.repair` has to give back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from recording import note_of, recorded

Operation = Callable[[xr.DataArray], Any]
A = [0.0, 1.0, 2.0, 3.0]

KEEP: dict[str, Operation] = {
    "arithmetic": lambda a: a * 2 + a,
    "isel": lambda a: a.isel(row=slice(0, 2)),
    "where": lambda a: a.where(a > 1),
    "where drop": lambda a: a.where(a > 1, drop=True),
    "astype": lambda a: a.astype("f4"),
    "sortby": lambda a: a.sortby("row", ascending=False),
    "rolling": lambda a: a.rolling(row=3, center=True).mean(),
    "shift": lambda a: a.shift(row=1),
    "diff": lambda a: a.diff("row"),
    "fillna": lambda a: a.fillna(0),
    "chunk": lambda a: a.chunk(row=2),
    "map_blocks": lambda a: a.chunk(row=2).map_blocks(lambda x: x + 1),
    "apply_ufunc": lambda a: xr.apply_ufunc(np.negative, a),
    "apply_ufunc dask": lambda a: xr.apply_ufunc(
        np.negative, a.chunk(row=2), dask="parallelized", output_dtypes=[float]
    ),
    "mean of another dim": lambda a: a.expand_dims(tag=2).mean("tag"),
    "quantile of another dim": lambda a: a.expand_dims(tag=2).quantile(0.5, "tag"),
    "dataset": lambda a: xr.Dataset({"x": a}),
    "transpose": lambda a: a.expand_dims(tag=2).transpose("row", "tag"),
    "thin": lambda a: a.thin(row=2),
    "assign_coords of another": lambda a: a.assign_coords(other=1),
    "stack of others": lambda a: a.expand_dims(p=2, q=2).stack(s=("p", "q")),
}
DROP: dict[str, Operation] = {
    "coarsen": lambda a: a.coarsen(row=2).mean(),
    "interp": lambda a: a.interp(row=[0.5, 1.5]),
    "interp_like": lambda a: a.interp_like(recorded([0.5, 1.5])),
    "pad": lambda a: a.pad(row=1),
    "expand_dims of a scalar": lambda a: a.isel(row=0).expand_dims("row"),
    "concat of scalars": lambda a: xr.concat([a.isel(row=0), a.isel(row=1)], "row"),
    "assign_coords": lambda a: a.assign_coords(row=a.row.values),
    "unstack": lambda a: a.expand_dims(p=2).stack(s=("row", "p")).unstack("s"),
    "query": lambda a: a.to_dataset(name="v").query(row="row > 0"),
}


@pytest.mark.parametrize("name", KEEP)
def test_an_index_is_kept_by(name: str) -> None:
    assert note_of(KEEP[name](recorded(A, "kept"))) == "kept"


@pytest.mark.parametrize("name", DROP)
def test_an_index_is_dropped_while_the_labels_stay_by(name: str) -> None:
    result = DROP[name](recorded(A, "kept"))
    assert note_of(result) is None
    assert "row" in result.coords


def test_coarsen_drops_the_indexes_of_the_other_dims_as_well() -> None:
    result = recorded(A, "kept").expand_dims(col=[1.0, 2.0]).coarsen(col=2).mean()
    assert note_of(result) is None


def test_interp_keeps_the_indexes_of_the_other_dims() -> None:
    assert note_of(recorded(A, "kept").expand_dims(col=[1.0, 2.0]).interp(col=[1.5])) == "kept"


def test_coarsen_and_interp_leave_the_attrs_of_labels_that_they_change() -> None:
    assert recorded(A).coarsen(row=2).mean().row.attrs["size"] == 4
    assert recorded(A).interp(row=[0.5]).row.attrs["size"] == 4


def test_a_second_index_on_a_dim_breaks_map_blocks() -> None:
    da = recorded(A).chunk(row=2).assign_coords(time=("row", A)).set_xindex("time")
    with pytest.raises(AssertionError):
        da.map_blocks(lambda x: x + 1)


@pytest.mark.parametrize("engine", ["zarr", "h5netcdf"])
def test_files_drop_the_index(engine: str, tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    require_module(engine)
    ds = recorded(A, "kept").to_dataset(name="v")
    if engine == "zarr":
        ds.to_zarr(tmp_path / "x", consolidated=False)
    else:
        ds.to_netcdf(tmp_path / "x", engine="h5netcdf")
    options = {"consolidated": False} if engine == "zarr" else {}
    with xr.open_dataset(tmp_path / "x", engine=engine, backend_kwargs=options) as back:
        assert note_of(back) is None
        assert back.row.values.tolist() == A


def test_set_xindex_passes_options_and_drop_indexes_keeps_the_coord() -> None:
    da = recorded(A, "note")
    assert note_of(da) == "note"
    assert "row" in da.drop_indexes("row").coords


def test_coordinates_without_indexes_are_assigned_without_default_ones() -> None:
    plain = xr.Coordinates({"row": xr.Variable("row", A)}, indexes={})
    assert "row" not in xr.DataArray(np.zeros(4), dims="row").assign_coords(plain).xindexes


def test_plain_indexes_join_silently_within_a_rounding_error() -> None:
    # the danger that our indexes are for; should xarray mend it, the docs may say less
    one = xr.DataArray(np.zeros(4), dims="row", coords={"row": [0.0, 1.0, 2.0, 3.0]})
    other = one.assign_coords(row=[0.0, 1.00001, 2.00002, 3.00003])
    assert (one + other).sizes["row"] == 1
    with xr.set_options(arithmetic_join="exact"), pytest.raises(xr.AlignmentError):
        one + other

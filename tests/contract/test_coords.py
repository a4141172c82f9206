"""What xarray does to coords and attributes: why labels are numbers, and identity is a scalar coord."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr


def one(**coords: Any) -> xr.DataArray:
    return xr.DataArray(np.arange(4.0), dims="tag", coords={"tag": [0.0, 1.0, 2.0, 3.0], **coords}, attrs={"A": 1})


def test_a_scalar_coord_that_differs_drops_in_operations_of_two_and_the_first_attrs_stay() -> None:
    a, b = one(patient=1), one(patient=2)
    b.attrs = {"A": 2}
    for result in (a + b, xr.where(a > 0, a, b), a.where(a > 0, b), a.fillna(b), xr.apply_ufunc(np.add, a, b)):
        assert "patient" not in result.coords
    assert a.fillna(b).attrs == {"A": 1}


def test_concat_makes_a_scalar_coord_that_differs_one_dimensional() -> None:
    joined = xr.concat([one(patient=1), one(patient=2)], "tag", coords="different", compat="equals")
    assert joined.patient.dims == ("tag",)


def test_concat_that_overrides_keeps_the_first_identity_which_the_docs_warn_of() -> None:
    for dim in ("tag", "subject"):
        joined = xr.concat([one(patient=1), one(patient=2)], dim, coords="minimal", compat="override")
        assert int(joined.patient) == 1


def test_assigning_a_coord_of_another_array_brings_its_scalar_coords() -> None:
    a, b = one(patient=1), one(patient=2)
    assert int(b.assign_coords(tag=a.tag).patient) == 1
    assert int(b.assign_coords(tag=a.tag.variable).patient) == 2


def test_in_place_addition_keeps_the_left_identity() -> None:
    a = one(patient=1)
    a += one(patient=2)
    assert int(a.patient) == 1


def test_values_of_coords_are_compared_and_their_attrs_are_not() -> None:
    a, b = one(geometry=1), one(geometry=1)
    a.geometry.attrs["direction"], b.geometry.attrs["direction"] = [1, 0], [0, 1]
    assert (a + b).geometry.attrs["direction"] == [1, 0]


def test_coord_attrs_stay_although_attrs_are_not_kept() -> None:
    a = one()
    a.tag.attrs["units"] = "s"
    with xr.set_options(keep_attrs=False):
        assert (a * 2).tag.attrs == {"units": "s"}


def test_a_dim_coord_survives_the_difference_to_one_volume_and_others_need_drop() -> None:
    a = one(time=("tag", [0.0, 1.0, 2.0, 3.0]))
    assert "tag" in (a - a.isel(tag=0)).coords
    assert "time" not in (a - a.isel(tag=0)).coords
    assert "time" in (a - a.isel(tag=0, drop=True)).coords


def test_quantile_drops_scalar_coords_and_median_keeps_them() -> None:
    a = one(patient=1)
    assert "patient" not in a.quantile(0.5, "tag").coords
    assert "patient" in a.median("tag").coords


def test_text_on_a_dim_breaks_coarsen() -> None:
    with pytest.raises((TypeError, ValueError)):
        one(uid=("tag", list("abcd"))).coarsen(tag=2).mean()


def test_numbers_on_a_dim_are_averaged_by_coarsen_so_that_a_digest_shows_it() -> None:
    digests = np.array([2**52 - 3, 5, 2**51 + 11, 2**40 + 7])
    coarse = one(instance=("tag", digests)).coarsen(tag=2).mean().instance
    assert coarse.dtype == np.float64
    assert not np.isin(coarse.values, digests).any()


def test_a_second_variable_is_refused_by_open_dataarray(tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    require_module("h5netcdf")
    xr.Dataset({"a": ("x", [1]), "b": ("x", [2])}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="more than one"):
        xr.open_dataarray(tmp_path / "x.nc", engine="h5netcdf")


def test_encoding_is_kept_by_parts_and_lost_by_arithmetic() -> None:
    a = one()
    a.encoding["stored_dtype"] = "int16"
    assert a.isel(tag=slice(2)).encoding == {"stored_dtype": "int16"}
    assert a.chunk(tag=2).encoding.get("stored_dtype") == "int16"
    assert (a * 2).encoding == {}
    assert a.mean().encoding == {}


def test_slices_of_integers_overflow_silently() -> None:
    a = xr.DataArray(np.array([3, 5], dtype=np.uint16), dims="tag")
    assert int((a - a.isel(tag=1))[0]) == 65534


@pytest.mark.parametrize("engine", ["zarr", "h5netcdf"])
def test_labels_survive_files(engine: str, tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    require_module(engine)
    dtype = getattr(np.dtypes, "StringDType", None)
    assert dtype is not None
    ds = one(
        source=((), np.array("file:///x", dtype=dtype())),
        geometry=((), np.int64(2**51 + 1), {"direction": [0.1] * 9, "frame_of_reference": "1.2"}),
        acquisition_time=("tag", np.array([0, 1, 2, 86_400_000_001], dtype="M8[us]")),
    ).to_dataset(name="image")
    if engine == "zarr":
        ds.to_zarr(tmp_path / "x", consolidated=False)
    else:
        ds.to_netcdf(tmp_path / "x", engine="h5netcdf")
    with xr.open_dataset(
        tmp_path / "x", engine=engine, backend_kwargs={"consolidated": False} if engine == "zarr" else {}
    ) as back:
        assert str(back.source.values) == "file:///x"
        assert int(back.geometry) == 2**51 + 1
        np.testing.assert_array_equal(np.asarray(back.geometry.attrs["direction"], dtype=float), [0.1] * 9)
        np.testing.assert_array_equal(back.acquisition_time.values, ds.acquisition_time.values)
        np.testing.assert_array_equal(back.tag.values, ds.tag.values)


@pytest.mark.parametrize(
    "register", ["register_dataarray_accessor", "register_dataset_accessor", "register_datatree_accessor"]
)
def test_accessors_can_be_registered(register: str) -> None:
    assert callable(getattr(xr, register))


def test_where_an_accessor_raises_an_attribute_error_xarray_says_so() -> None:
    @xr.register_dataarray_accessor("failing_for_a_test")
    class Failing:
        def __init__(self, obj: xr.DataArray) -> None:
            raise AttributeError("inside")

    with pytest.raises(RuntimeError, match="failing_for_a_test"):
        _ = one().failing_for_a_test


def test_plot_takes_labels_and_units(require_module: Callable[[str], Any]) -> None:
    require_module("matplotlib").use("Agg")
    image = xr.DataArray(np.zeros((2, 3)), dims=("row", "col"), coords={"row": [4.0, 6.0], "col": [1.0, 2.0, 3.0]})
    image.row.attrs["units"] = "mm"
    axes = image.plot.imshow(yincrease=False).axes
    assert axes.get_ylabel() == "row [mm]"
    assert axes.yaxis_inverted()

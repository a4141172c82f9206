"""Images saved and opened by xarray itself, without this library, and then repaired: nothing is lost."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from nifti_phantoms import series

import imagedata_xr
from imagedata_xr.model.image import Axis, Volumes, build
from imagedata_xr.model.indexes import AxisIndex, Space

pytest.importorskip("zarr")
pytest.importorskip("h5netcdf")

WAYS = ["zarr", "netcdf"]
DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"),
    *("complex64", "complex128"),
]


def labelled() -> xr.DataArray:
    """An image with labels of every kind and attrs."""
    n = 4
    coords = {
        "b_value": (["tag"], np.array([0.0, 500, 500, 1000])),
        "b_vector_x": (["tag"], np.array([0, 1, 0, 0.6])),
        "echo_time": ([], 4.25),
        "slice_time": (["tag", "slice"], np.tile([0.0, 0.5, 1.0], (n, 1))),
        "instance": (["tag", "slice"], np.arange(3 * n).reshape(n, 3) + 2**51),
        "acquisition_time": (["tag"], np.array(["2024-03-05T10:00:00.25"] * n, dtype="M8[us]")),
        "patient": ([], np.int64(7)),
        "study": ([], np.int64(2**52 - 1)),
    }
    attrs = {"Modality": "MR", "units": "HU", "ImageType": ["ORIGINAL", "PRIMARY"], "EchoTrainLength": 3, "SAR": 0.25}
    image = series(coords=coords, attrs=attrs)
    image["tag"].attrs |= {"epoch": "2024-03-05T10:00:00", "interval": 2.5, "source": "AcquisitionTime"}
    return image


def plainly(ds: xr.Dataset | xr.DataTree, folder: Path, way: str) -> Any:
    """What xarray gives back of what it saved."""
    tree = isinstance(ds, xr.DataTree)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The data type|Consolidated metadata")  # of zarr's texts
        if way == "zarr":
            ds.to_zarr(folder / "a.zarr", zarr_format=3, consolidated=False)
            if tree:
                return xr.open_datatree(folder / "a.zarr", engine="zarr", consolidated=False)
            return xr.open_zarr(folder / "a.zarr", consolidated=False)
        ds.to_netcdf(folder / "a.nc", engine="h5netcdf")
        return (xr.open_datatree if tree else xr.open_dataset)(folder / "a.nc", engine="h5netcdf")


def check(back: xr.DataArray, image: xr.DataArray) -> None:
    """Assert that a repaired image is the one that was saved."""
    assert set(map(str, back.coords)) == set(map(str, image.coords))
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back.values, image.values)
    for name in image.coords:
        a, b = image[name], back[name]
        assert a.dims == b.dims
        np.testing.assert_array_equal(b.values, a.values)
        for key, value in a.attrs.items():
            np.testing.assert_array_equal(b.attrs[key], value)
    for name in ("slice", "row", "col"):
        assert isinstance(back.xindexes[name], AxisIndex)
    assert {type(i) for i in back.xindexes.values()} == {type(i) for i in image.xindexes.values()}
    for key, value in image.attrs.items():
        np.testing.assert_array_equal(back.attrs[key], value)
    np.testing.assert_array_equal(back.imd.affine, image.imd.affine)
    if image.dtype.kind in "fiu":
        assert not (back.astype("f8") - image.astype("f8")).any()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type(dtype: str, way: str, tmp_path: Path) -> None:
    image = labelled()
    data = image.values.astype(dtype) if dtype != "bool" else image.values > 500
    if np.dtype(dtype).kind in "iu":
        data.flat[:2] = np.iinfo(dtype).max, np.iinfo(dtype).min
    if np.dtype(dtype).kind == "c":
        data = data * np.array(1 + 2j, dtype)
    image = image.copy(data=data)
    check(imagedata_xr.repair(plainly(image.to_dataset(name="image"), tmp_path, way)["image"]), image)


@pytest.mark.parametrize("way", WAYS)
def test_a_tree(way: str, tmp_path: Path) -> None:
    first = labelled()
    second = first.isel(tag=slice(1, 3), row=slice(None, None, -1)).astype("int16")
    tree = xr.DataTree.from_dict({"/p/s/1": first.to_dataset(name="image"), "/p/s/2": second.to_dataset(name="image")})
    back = plainly(tree, tmp_path, way)
    check(imagedata_xr.repair(back["/p/s/1"].to_dataset()["image"]), first)
    check(imagedata_xr.repair(back["/p/s/2"].to_dataset()["image"]), second)


@pytest.mark.parametrize("way", WAYS)
def test_segments_and_their_names(way: str, tmp_path: Path) -> None:
    image = labelled().isel(tag=[0])
    data = (np.random.default_rng(0).random((3, *image.shape[1:])) > 0.5).astype("u1")
    segments: xr.DataArray = build(
        data,
        volumes=[Volumes([1, 2, 5], {}, "segment")],
        axes={n: Axis(image[n].values, image[n].attrs.get("spacing")) for n in ("slice", "row", "col")},
        space=Space(np.array(image["geometry"].attrs["direction"]).reshape(3, 3), "1.2.3.4"),
    ).image
    names = np.array(["liver", "kidney, left", "Läsion"], dtype=np.dtypes.StringDType())
    segments = segments.assign_coords(label=("segment", names))
    back = imagedata_xr.repair(plainly(segments.to_dataset(name="image"), tmp_path, way)["image"])
    assert back.segment.dtype == np.int64
    assert back.label.values.tolist() == names.tolist()
    np.testing.assert_array_equal(back.sel(segment=5).values, data[2])
    assert isinstance(back.xindexes["slice"], AxisIndex)


@pytest.mark.parametrize("way", WAYS)
def test_colour(way: str, tmp_path: Path) -> None:
    image = labelled()
    data = np.random.default_rng(1).integers(0, 256, (*image.shape, 3)).astype("u1")
    coloured = imagedata_xr.repair(xr.DataArray(data, dims=(*image.dims, "rgb"), coords=image.coords, name="image"))
    check(imagedata_xr.repair(plainly(coloured.to_dataset(), tmp_path, way)["image"]), coloured)

"""zarr and netCDF: an image without loss, lazily, and open to plain xarray."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from phantoms import opened
from saved_images import EXTENSIONS, FORMATS, plainly, same, saved, source, write

import imagedata_xr
from imagedata_xr.dicom.headers.table import header_table
from imagedata_xr.errors import FormatError
from imagedata_xr.formats.seam import WriteOptions
from imagedata_xr.formats.storable import MARK
from imagedata_xr.model.indexes import AxisIndex
from imagedata_xr.model.lazy import axis_indices, on_demand

pytest.importorskip("zarr")
pytest.importorskip("h5netcdf")


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    return source(tmp_path / "in")


# --- without loss -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    "part",
    [
        lambda a: a,
        lambda a: a.isel(tag=slice(1, None), row=slice(1, 4), col=slice(2, 7)),
        lambda a: a.isel(slice=slice(None, None, 2), row=slice(None, None, -1)),
        lambda a: a.isel(tag=0),
        lambda a: a.isel(slice=[2]),
        lambda a: a.mean("tag"),
        lambda a: a - a.isel(tag=0),
        lambda a: a.transpose("row", "col", "tag", "slice"),
        lambda a: a.astype("float64") * 1e300,
        lambda a: a.astype("int16"),
        lambda a: a > 100,
        lambda a: a.where(a > 100),
    ],
    ids=[
        *("whole", "crop", "strided", "volume", "slice", "mean", "difference", "transposed"),
        *("float64", "int16", "bool", "nan"),
    ],
)
def test_images_come_back_as_they_were(part: Any, extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    with xr.set_options(keep_attrs=True):
        given = imagedata_xr.repair(part(image)).rename("image")
    back = saved(given, tmp_path / f"a{extension}")
    same(given, back)
    assert not (given.astype("f8") - back).any() or given.isnull().any()
    assert isinstance(back.xindexes["col"], AxisIndex)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    "value",
    [
        *("a", "", "é 日", "a\0b", "x" * 100_000, 7, -(2**40), 2**70, 1.5, 1.0, True, False, float("inf"), None),
        *([1, 2], [1.0, 2.5], ["a", ""], [], [5], ["a"], [1, "a"], [1, 2.5], [True, False], [float("nan"), 1.0]),
        *([[1, 2], [3]], {"a": [1]}),
    ],
    ids=lambda v: repr(v)[:20],
)
def test_attributes_come_back_as_they_were(value: Any, extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    image.attrs["thing"] = value
    image.coords["tag"].attrs["thing"] = value
    back = saved(image, tmp_path / f"a{extension}")
    for attrs in (back.attrs, back.coords["tag"].attrs):
        assert repr(attrs["thing"]) == repr(value)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_attributes_named_like_those_of_xarray_come_back(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    names = ["scale_factor", "add_offset", "_FillValue", "missing_value", "dtype", "coordinates", "calendar", "a/b"]
    image.attrs |= dict.fromkeys(names, 3)
    image["acquisition_time"].attrs["units"] = "mine"
    same(image, saved(image, tmp_path / f"a{extension}"))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_numpy_attributes_become_plain_ones(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    image.attrs |= {"number": np.float32(1.5), "list": np.array([1, 2]), "flag": np.bool_(True)}
    attrs = saved(image, tmp_path / f"a{extension}").attrs
    assert [attrs["number"], attrs["list"], attrs["flag"]] == [1.5, [1, 2], True]


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    "values",
    [
        np.array(["2024-01-01T00:00:00.000001", "NaT", "1850-01-01"], dtype="M8[us]"),
        np.array([1, 2, 3], dtype="M8[ns]"),
        np.array([1, -2, 3], dtype="m8[ms]"),
        np.array(["a", "", "ccc"]),
        np.array(["a", "bb", "ccc"], dtype=object),
        np.array(["a", "bb", "ccc"], dtype=np.dtypes.StringDType()),
        np.array([True, False, True]),
        np.array([1, 2, 2**63], dtype="u8"),
        np.array([1, np.nan, 3], dtype="f4"),
    ],
    ids=lambda v: str(v.dtype),
)
def test_coords_of_all_types_come_back(values: Any, extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    given = image.assign_coords(more=("tag", values, {"units": "seconds"}))
    same(given, saved(given, tmp_path / f"a{extension}"))


def test_complex_images_are_for_zarr_only(image: xr.DataArray, tmp_path: Path) -> None:
    given = imagedata_xr.repair(image * (1 + 2j)).rename("image")
    same(given, saved(given, tmp_path / "a.zarr"))
    with pytest.raises(FormatError, match=r"complex.*image\.real"):
        write(given, tmp_path / "a.nc")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "in"]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_can_not_be_stored_is_said_before_anything_is_written(
    extension: str, image: xr.DataArray, tmp_path: Path
) -> None:
    target = tmp_path / f"a{extension}"
    with pytest.raises(FormatError, match=r"'image.thing' is of type datetime"):
        write(image.assign_attrs(thing=np.datetime64("2024-01-01").astype("M8[us]")), target)
    with pytest.raises(FormatError, match=r"'more' holds Python objects"):
        write(image.assign_coords(more=("tag", np.array([1, "a", None], dtype=object))), target)
    with pytest.raises(FormatError, match=r"unknown format options \['chunk'\]"):
        write(image, target, format_options={"chunk": {}})
    with pytest.raises(FormatError, match="are no dims"):
        write(image, target, format_options={"chunks": {"time": 2}})
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


# --- lazy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_chunks_are_those_asked_for(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    back = saved(image, tmp_path / f"a{extension}", format_options={"chunks": {"tag": 1, "slice": 2}})
    assert back.encoding["preferred_chunks"] == {"tag": 1, "slice": 2, "row": 6, "col": 8}
    assert back.chunks == ((1, 1, 1), (2, 2), (6,), (8,))
    assert back.encoding["stored_dtype"] == image.encoding["stored_dtype"]
    again = saved(back.isel(slice=slice(1, None)), tmp_path / f"b{extension}")
    assert again.chunks == ((1, 1, 1), (2, 1), (6,), (8,))
    same(image.isel(slice=slice(1, None)), again)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_opening_reads_no_pixels(
    extension: str, image: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(image, tmp_path / f"a{extension}")
    back = opened(tmp_path / f"a{extension}")
    assert not back.variable._in_memory
    part = pickle.loads(pickle.dumps(back)).isel(tag=1, slice=slice(None, None, -1))
    assert not part.variable._in_memory
    assert np.array_equal(part.values, image.isel(tag=1).values[::-1])


class Recorder:
    """A lazy array that notes how much is asked of it at once."""

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.sizes = shape, list[int]()

    def read(self, key: tuple[Any, ...]) -> Any:
        whole = np.arange(np.prod(self.shape), dtype=np.float32).reshape(self.shape)
        part = whole[np.ix_(*map(axis_indices, key, self.shape))]
        self.sizes.append(part.size)
        return part


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_images_without_chunks_are_read_piece_by_piece_and_once(
    extension: str, image: xr.DataArray, tmp_path: Path
) -> None:
    recorder = Recorder(image.shape)
    encoding = {"preferred_chunks": {"tag": 1, "slice": 2, "row": 6, "col": 8}}
    lazy = xr.Variable(image.dims, on_demand(recorder), encoding=encoding)
    back = saved(xr.Dataset({"image": lazy}, coords=image.coords)["image"], tmp_path / f"a{extension}")
    assert recorder.sizes == [2 * 6 * 8] * 6
    assert np.array_equal(back.values.ravel(), np.arange(image.size))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_delayed_write_writes_when_computed(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    target = tmp_path / f"a{extension}"
    delayed = FORMATS[extension]().write(image, str(target), WriteOptions(compute=False))
    assert not target.exists()
    done = delayed.compute()
    assert done.paths == (str(target),)
    same(image, opened(target, chunks={}))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_progress_is_reported(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write(image, tmp_path / f"a{extension}", progress=lambda done, total: seen.append((done, total)))
    assert seen
    assert seen[-1][0] == seen[-1][1]


# --- plain xarray -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_plain_xarray_opens_it_and_repair_gives_back_the_indexes(
    extension: str, image: xr.DataArray, tmp_path: Path
) -> None:
    write(image, tmp_path / f"a{extension}")
    ds = plainly(tmp_path / f"a{extension}")
    assert MARK in ds.attrs
    back = imagedata_xr.repair(ds["image"])
    assert back.attrs["PatientID"] == "P-1"
    assert not (back - image).any()
    assert np.allclose(back.imd.affine, image.imd.affine)
    assert [int(back[n]) for n in ("patient", "study")] == [int(image[n]) for n in ("patient", "study")]
    assert (back["acquisition_time"].values == image["acquisition_time"].values).all()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_header_table_is_a_group_that_plain_xarray_opens(
    extension: str, image: xr.DataArray, tmp_path: Path
) -> None:
    target = tmp_path / f"a{extension}"
    write(image, target)
    if extension == ".zarr":
        group = xr.open_zarr(target, group="headers")
    else:
        group = xr.open_dataset(target, group="headers", engine="h5netcdf")
    table = header_table(image, shared=True)
    for name in table.variables:
        assert group[name].values.tolist() == table[name].values.tolist()


def test_plain_to_zarr_keeps_labels_and_attrs(image: xr.DataArray, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # the lowest xarray stores the text of `source` with fixed length
        warnings.filterwarnings("ignore", message="The data type .FixedLengthUTF32")
        image.to_dataset(name="image").to_zarr(tmp_path / "plain.zarr", zarr_format=3, consolidated=False)
        back = xr.open_zarr(tmp_path / "plain.zarr", consolidated=False)["image"].pipe(imagedata_xr.repair)
    assert isinstance(back.xindexes["slice"], AxisIndex)
    assert not (image - back).any()
    assert back.attrs == image.attrs
    assert {int(back[n]) for n in ("patient", "study")} == {int(image[n]) for n in ("patient", "study")}
    assert np.array_equal(back["instance"].values, image["instance"].values)

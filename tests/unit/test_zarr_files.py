"""zarr and netCDF: files that appear only when whole, which of them are ours, and what is said."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
from phantoms import opened
from saved_images import EXTENSIONS, plainly, same, saved, source, write

from imagedata_xr.errors import FormatError, ImagedataWarning, NotFoundError, SourceError
from imagedata_xr.formats import storable
from imagedata_xr.formats import zarr as zarr_format
from imagedata_xr.formats.seam import ReadOptions, WriteOptions
from imagedata_xr.formats.zarr import NetCDF, Zarr

pytest.importorskip("zarr")
pytest.importorskip("h5netcdf")


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    return source(tmp_path / "in")


@pytest.fixture
def memory() -> Iterator[str]:
    """A place on a store that is not local."""
    fs = fsspec.filesystem("memory")
    yield "memory://imagedata-tests"
    if fs.exists("/imagedata-tests"):
        fs.rm("/imagedata-tests", recursive=True)


# --- whole or not at all ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_exists_is_kept_unless_told_otherwise(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    target = tmp_path / f"a{extension}"
    write(image, target)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write(image + 1, target)
    same(image, opened(target, chunks={}))
    # an image may replace the file that it is read from
    same((image + 1).rename("image"), saved((opened(target, chunks={}) + 1).rename("image"), target, overwrite=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == [target.name, "in"]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_failed_write_leaves_what_was_there(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    def fail(block: Any) -> Any:
        raise RuntimeError("broken")

    target = tmp_path / f"a{extension}"
    broken = image.copy(data=image.data.map_blocks(fail, dtype=image.dtype, meta=np.empty(0, image.dtype)))
    with pytest.raises(RuntimeError, match="broken"):
        write(broken, target)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    write(image, target)
    with pytest.raises(RuntimeError, match="broken"):
        write(broken, target, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [target.name, "in"]
    same(image, opened(target, chunks={}))


def test_folders_of_another_kind_are_never_replaced(image: xr.DataArray, tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"no zarr\.json"):
        write(image, target, overwrite=True)
    with pytest.raises(FileExistsError, match=r"overwrite=True"):
        write(image, target)
    assert (target / "thesis.txt").exists()
    (target / "thesis.txt").rename(tmp_path / "b.zarr")
    write(image, target)  # an empty folder may stand there
    with pytest.raises(FileExistsError, match="is a file"):
        write(image, tmp_path / "b.zarr", overwrite=True)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_remote_stores(extension: str, image: xr.DataArray, memory: str) -> None:
    target = f"{memory}/deep/a{extension}"
    back = saved(image, target)
    same(image, back)
    assert back.source.item() == target
    assert back.imd.header.first.PatientID == "P-1"
    with pytest.raises(FileExistsError):
        write(image, target)
    same((image + 1).rename("image"), saved((image + 1).rename("image"), target, overwrite=True))
    assert [e["name"].rpartition("/")[2] for e in fsspec.filesystem("memory").ls("/imagedata-tests/deep")] == [
        f"a{extension}"
    ]


def test_a_broken_upload_leaves_nothing_that_opens(
    image: xr.DataArray, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = fsspec.filesystem("memory")
    put = type(fs).put_file

    def refuse(self: Any, lpath: str, rpath: str, **kwargs: Any) -> None:
        if "/image/" in rpath:
            raise OSError(5, "the line is dead")
        put(self, lpath, rpath, **kwargs)

    monkeypatch.setattr(type(fs), "put_file", refuse)
    with pytest.raises(OSError, match="the line is dead"):
        write(image, f"{memory}/a.zarr")
    assert not fs.exists("/imagedata-tests/a.zarr")


def test_what_a_broken_upload_would_replace_stays(
    image: xr.DataArray, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = fsspec.filesystem("memory")
    target = f"{memory}/a.zarr"
    saved(image, target)
    names = fs.ls("/imagedata-tests", detail=False)

    def refuse(self: Any, first: str, second: str, **kwargs: Any) -> None:
        raise OSError(5, "the line is dead")

    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "put_file", refuse)
        with pytest.raises(OSError, match="the line is dead"):
            write(image + 1, target, overwrite=True)
    same(image, opened(target))
    assert fs.ls("/imagedata-tests", detail=False) == names
    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "cp_file", refuse)
        with pytest.raises(SourceError, match=r"the new one is whole, and lies at memory://\S+\.new") as error:
            write(image + 1, target, overwrite=True)
    (aside,) = re.findall(r"memory://\S+\.new", str(error.value))
    np.testing.assert_array_equal(xr.open_zarr(aside)["image"], image + 1)


def test_a_store_in_one_file_elsewhere(image: xr.DataArray, memory: str) -> None:
    target = f"{memory}/a.zarr.zip"
    with pytest.raises(NotFoundError, match="does not exist"):
        opened(target)
    image.imd.write(target)
    back = opened(target)
    same(image, back)
    assert back.imd.header.first.PatientID == "P-1"
    lazy = xr.open_dataarray(target, engine="imagedata", chunks={})
    assert pickle.loads(pickle.dumps(lazy)).equals(back)
    with pytest.raises(FileExistsError):
        image.imd.write(target)
    again = pickle.dumps(lazy)
    (image + 1).rename("image").imd.write(target, overwrite=True)
    same((image + 1).rename("image"), opened(target))
    with pytest.raises(OSError, match="has changed"):
        pickle.loads(again).load()


def test_a_store_in_one_file(image: xr.DataArray, tmp_path: Path) -> None:
    from zarr.storage import ZipStore

    target = tmp_path / "a.zarr.zip"
    image.imd.write(target)
    back = opened(str(target))
    same(image, back)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith((".", "a"))] == ["a.zarr.zip"]
    lazy = xr.open_dataarray(target, engine="imagedata", chunks={})
    assert pickle.loads(pickle.dumps(lazy)).equals(back)
    assert back.imd.header.first.PatientID == "P-1"
    np.testing.assert_array_equal(xr.open_zarr(ZipStore(target, mode="r"))["image"], image)
    with pytest.raises(FileExistsError):
        image.imd.write(target)
    (image + 1).rename("image").imd.write(target, overwrite=True)
    same((image + 1).rename("image"), opened(str(target)))
    with pytest.raises(FormatError, match="inside of its archive: unpack it first"):
        opened("zip://x::a.zarr.zip")
    with zipfile.ZipFile(target, "w") as pack:
        pack.writestr("x.dcm", b"no store")
    with pytest.raises(NotFoundError, match=r"was not written by imd.write"):
        opened(str(target))
    target.write_bytes(b"no zip")
    with pytest.raises(NotFoundError, match=r"was not written by imd.write"):
        opened(str(target))


# --- which files are ours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_files_of_others_are_named(extension: str, tmp_path: Path) -> None:
    target = tmp_path / f"a{extension}"
    with pytest.raises(NotFoundError, match="does not exist"):
        opened(target)
    ds = xr.Dataset({"image": ("x", [1.0])})
    if extension == ".zarr":
        ds.to_zarr(target, consolidated=False)
    else:
        ds.to_netcdf(target, engine="h5netcdf")
    with pytest.raises(NotFoundError, match=r"was not written by imd.write.*repair"):
        opened(target)


def test_netcdf_files_of_other_versions_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(b"CDF\x01" + bytes(100))
    with pytest.raises(NotFoundError, match="was not written"):
        opened(tmp_path / "a.nc")


def test_a_store_is_found_by_what_it_holds(image: xr.DataArray, tmp_path: Path) -> None:
    Zarr().write(image, str(tmp_path / "store"), WriteOptions())
    same(image, opened(tmp_path / "store", chunks={}))
    assert Zarr().open_whole(str(tmp_path / "in"), ReadOptions()) is None
    assert NetCDF().open_whole(str(tmp_path / "in"), ReadOptions()) is None
    with pytest.raises(FormatError, match=r"called \.nc"):
        NetCDF().write(image, str(tmp_path / "a.h5"), WriteOptions())


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_later_layout_is_refused(
    extension: str, image: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(image, tmp_path / f"a{extension}")
    monkeypatch.setattr(storable, "LAYOUT", 0)
    with pytest.raises(FormatError, match="in layout 1; this version knows 0"):
        opened(tmp_path / f"a{extension}")


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"order": "te"}, "saved in the order 'time'"),
        ({"series": 5}, "nothing to choose from"),
        ({"stack": 0}, "nothing to choose from"),
        ({"dtype": "int16"}, "saved as float32"),
        ({"mask_and_scale": False}, "saved with its values"),
        ({"mask_padding": True}, "padding"),
    ],
)
def test_options_that_can_not_be_met_are_refused(
    options: dict[str, Any], match: str, extension: str, image: xr.DataArray, tmp_path: Path
) -> None:
    write(image, tmp_path / f"a{extension}")
    with pytest.raises(FormatError, match=match):
        opened(tmp_path / f"a{extension}", **options)
    opened(tmp_path / f"a{extension}", order="time", dtype="float32")


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_trees_have_the_image_at_its_place(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    write(image, tmp_path / f"a{extension}")
    tree = xr.open_datatree(tmp_path / f"a{extension}", engine="imagedata")
    paths = [node.path for node in xr.open_datatree(tmp_path / "in", engine="imagedata").leaves]
    assert [node.path for node in tree.leaves] == paths


# --- quiet, and saying what matters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_nothing_is_warned_of(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = saved(image, tmp_path / f"a{extension}")
        back.compute()
        back.imd.header.first  # noqa: B018
        ds = plainly(tmp_path / f"a{extension}")
        ds.load().close()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_headers_out_of_reach_are_warned_of_once(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="headers are not in") as seen:
        back = saved(image.drop_vars("source"), tmp_path / f"a{extension}")
    assert len(seen) == 1
    same(image, back)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_computed_image_has_no_headers_and_no_warning(extension: str, image: xr.DataArray, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write((image.mean("tag")).rename("image"), tmp_path / f"a{extension}")
        write(image, tmp_path / f"b{extension}", format_options={"headers": False})
    for name in ("a", "b"):
        ds = plainly(tmp_path / f"{name}{extension}")
        assert ds.attrs["headers"] == ""


def test_no_number_that_strict_json_lacks_is_in_the_metadata(image: xr.DataArray, tmp_path: Path) -> None:
    image.attrs["limit"] = float("inf")
    write(image, tmp_path / "a.zarr")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    attributes = json.loads((tmp_path / "a.zarr/image/zarr.json").read_text(), parse_constant=refuse)["attributes"]
    assert attributes["limit"] == "Infinity"


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_missing_package_is_named_with_its_extra(
    extension: str, image: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zarr_format, "find_spec", lambda name: None)
    extra = {".zarr": "zarr", ".nc": "netcdf"}[extension]
    with pytest.raises(FormatError, match=rf"imagedata-xr\[{extra}\]"):
        write(image, tmp_path / f"a{extension}")


def test_importing_the_formats_imports_neither_zarr_nor_hdf5() -> None:
    code = (
        "import sys, imagedata_xr.formats.zarr, imagedata_xr.dicom.headers.table\n"
        "print(*({'zarr', 'h5py', 'h5netcdf', 'dask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_engine_does_not_take_files_of_others(tmp_path: Path) -> None:
    from imagedata_xr.backend import ImagedataEntrypoint

    assert not any(ImagedataEntrypoint().guess_can_open(str(tmp_path / f"a{e}")) for e in EXTENSIONS)

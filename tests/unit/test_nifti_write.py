"""NIfTI writing: types, whole files, laziness, identity."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import fsspec
import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from nifti_phantoms import coordinates, read, series, write

from imagedata_xr.errors import FormatError, ImagedataWarning, SourceError
from imagedata_xr.formats.nifti import Nifti, from_nibabel, to_nibabel
from imagedata_xr.formats.seam import WriteOptions


def header(path: Path) -> Any:
    """nibabel's header of a file."""
    return nib.load(path).header


def with_data(data: Any, stored: str | None = None) -> xr.DataArray:
    """An image of one 2 x 3 x 4 volume per item of the data, each filled with that item."""
    image = series(values=np.arange(float(len(data))), order="none", stored=stored, shape=(2, 3, 4))
    values = np.repeat(np.asarray(data), 24).reshape(image.shape)
    out = image.copy(data=values)
    out.encoding = {} if stored is None else {"stored_dtype": stored}
    return out


# --- types --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "stored", "on_disk"),
    [
        (np.array([1, 5], "f4"), "int16", "int16"),
        (np.array([1, 5], "f4"), "uint16", "uint16"),
        (np.array([1, -1024], "f4"), "uint16", "int16"),
        (np.array([1, -1024, 40000], "f4"), "uint16", "int32"),
        (np.array([1, 5.5], "f4"), "int16", "float32"),
        (np.array([1, np.nan], "f4"), "int16", "float32"),
        (np.array([1, np.inf], "f4"), "int16", "float32"),
        (np.array([1, 40000], "f4"), "int16", "uint16"),
        (np.array([300, 3e9], "f8"), "uint8", "float64"),
        (np.array([1, 5], "f4"), None, "float32"),
        (np.array([1, 5], "f8"), None, "float64"),
        (np.array([1, 5], "f2"), None, "float32"),
        (np.array([True, False]), None, "uint8"),
        (np.array([1, -2], "i1"), None, "int8"),
        (np.array([1, 2], "u4"), None, "uint32"),
        (np.array([1, 2], ">i2"), None, "int16"),
        (np.array([1, -2]), None, "int32"),
        (np.array([1, 2**40]), None, "float64"),
        (np.array([1, 2**31], "u8"), None, "float64"),
        (np.array([1 + 2j, 3], "c8"), None, "complex64"),
        (np.array([1 + 2j, 3], "c16"), None, "complex128"),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_types(tmp_path: Path, data: Any, stored: str | None, on_disk: str, suffix: str) -> None:
    image = with_data(data, stored)
    write(image, tmp_path / f"a{suffix}")
    img: Any = nib.load(tmp_path / f"a{suffix}")
    assert img.get_data_dtype() == np.dtype(on_disk)
    np.testing.assert_array_equal(np.asarray(img.dataobj)[0, 0, 0], data)
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}").values, image.values)


def test_integers_that_no_type_holds(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="int64"):
        write(with_data(np.array([1, 2**60])), tmp_path / "a.nii")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("values", [np.array(["a", "b"]), np.array(["2020", "2021"], "M8[us]")])
def test_what_is_no_number(tmp_path: Path, values: Any) -> None:
    with pytest.raises(FormatError, match="no values of type"):
        write(with_data(values), tmp_path / "a.nii")


def test_colour(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 255, (2, 3, 4, 5, 3), dtype=np.uint8)
    plain = series((0.0, 1.0), order="none", shape=(3, 4, 5))
    image = xr.DataArray(data, dims=(*plain.dims, "rgb"), coords=plain.coords)
    write(image, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    np.testing.assert_array_equal(back.values, data)
    img = to_nibabel(image)
    assert img.dataobj[1, 2, 0, 1].tolist() == tuple(data[1, 0, 1, 1])
    with pytest.raises(FormatError, match="uint8"):
        write(image.astype("f4"), tmp_path / "b.nii")


def test_nifti2_only_where_needed(tmp_path: Path) -> None:
    write(series((0.0,), shape=(1, 1, 32767)), tmp_path / "a.nii")
    assert header(tmp_path / "a.nii").sizeof_hdr == 348
    image = series((0.0,), shape=(1, 1, 32768))
    write(image, tmp_path / "b.nii")
    assert header(tmp_path / "b.nii").sizeof_hdr == 540
    np.testing.assert_array_equal(read(tmp_path / "b.nii").values, image.values)
    assert type(to_nibabel(image)) is nib.Nifti2Image


def test_segments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="segment"):
        write(series().rename(tag="segment"), tmp_path / "a.nii")


@pytest.mark.parametrize("name", ["a.img", "a", "a.nii.bz2"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match=r"\.nii"):
        write(series(), tmp_path / name)


# --- whole files --------------------------------------------------------------------------------------------------


def test_what_is_written_is_said(tmp_path: Path) -> None:
    out = write(series(order="b", coords={"b_value": (("tag",), [0, 0, 1, 1.0])}), tmp_path / "a.nii.gz")
    assert [Path(p).name for p in out.paths] == ["a.nii.gz", "a.json", "a.bval"]
    assert out.count == 3
    assert out.bytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bval", "a.json", "a.nii.gz"]


def test_equal_bytes_when_written_twice(tmp_path: Path) -> None:
    image = series()
    write(image, tmp_path / "one.nii.gz")
    write(image, tmp_path / "two.nii.gz")
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert (tmp_path / "one.nii.gz").read_bytes()[3:8] == bytes(5)  # neither name nor time
    write(image, tmp_path / "three.nii")
    assert gzip.decompress((tmp_path / "one.nii.gz").read_bytes()) == (tmp_path / "three.nii").read_bytes()


@pytest.mark.parametrize("there", ["a.nii", "a.json", "a.bval", "a.bvec"])
def test_nothing_is_overwritten_unasked(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write(series(), tmp_path / "a.nii")
    assert (tmp_path / there).read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == [there]


def test_overwriting_removes_sidecars_of_the_old_one(tmp_path: Path) -> None:
    write(series(order="dti", coords={"b_value": (("tag",), [0, 1, 1, 1.0])}), tmp_path / "a.nii")
    image = series() * 2
    write(image, tmp_path / "a.nii", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.nii"]
    np.testing.assert_array_equal(read(tmp_path / "a.nii").values, image.values)


def test_sidecars_are_not_shared_by_two_images(tmp_path: Path) -> None:
    write(series(), tmp_path / "a.nii", format_options={"sidecars": False})
    with pytest.raises(FileExistsError, match="share"):
        write(series(), tmp_path / "a.nii.gz")


class BrokenError(RuntimeError):
    """A computation that fails."""


def failing(image: xr.DataArray, volume: int) -> xr.DataArray:
    """An image in dask whose volume can't be computed."""

    def block(x: Any, block_info: Any = None) -> Any:
        if block_info and block_info[0]["chunk-location"][0] == volume:
            raise BrokenError
        return x

    chunked = image.chunk(tag=1)
    return chunked.copy(data=chunked.data.map_blocks(block, dtype=image.dtype, meta=np.empty((0,) * 4, image.dtype)))


@pytest.mark.parametrize("old", [True, False])
def test_nothing_is_left_of_a_failed_write(tmp_path: Path, old: bool) -> None:
    if old:
        write(series(), tmp_path / "a.nii.gz")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(BrokenError):
        write(failing(series(), 2), tmp_path / "a.nii.gz", overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_old_files_come_back_when_renaming_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(series(), tmp_path / "a.nii")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    replace = os.replace

    def refuse(source: Any, target: Any) -> None:
        if str(source).endswith(".part") and str(target).endswith(".nii"):
            raise PermissionError(13, "refused")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(SourceError, match="refused"):
        write(series() + 1, tmp_path / "a.nii", overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_remote_targets() -> None:
    fs = fsspec.filesystem("memory")
    image = series()
    try:
        out = Nifti().write(image, "memory://out/a.nii.gz", WriteOptions())
        assert out.paths[0] == "memory:///out/a.nii.gz" or out.paths[0] == "memory://out/a.nii.gz"
        assert sorted(Path(p).name for p in fs.ls("/out", detail=False)) == ["a.json", "a.nii.gz"]
        np.testing.assert_array_equal(read("memory://out/a.nii.gz").values, image.values)
        with pytest.raises(FileExistsError):
            Nifti().write(image, "memory://out/a.nii.gz", WriteOptions())
        with pytest.raises(BrokenError):
            Nifti().write(failing(image, 1), "memory://new/b.nii.gz", WriteOptions())
        assert not fs.exists("/new/b.nii.gz")
        assert not fs.exists("/new/b.json")
    finally:
        fs.rm("/out", recursive=True)


def test_a_folder_is_made(tmp_path: Path) -> None:
    write(series(), tmp_path / "new" / "a.nii")
    assert (tmp_path / "new" / "a.nii").exists()


# --- bounded memory -----------------------------------------------------------------------------------------------


def test_volumes_are_computed_one_by_one_and_once(tmp_path: Path) -> None:
    image = series(np.arange(6.0), stored="int16")
    seen: list[int] = []

    def block(x: Any, block_info: Any = None) -> Any:
        if block_info:
            seen.append(block_info[0]["chunk-location"][0])
        return x

    chunked = image.chunk(tag=1)
    lazy = chunked.copy(data=chunked.data.map_blocks(block, dtype=image.dtype, meta=np.empty((0,) * 4, "f4")))
    lazy.encoding = image.encoding
    done: list[tuple[int, int]] = []
    write(lazy, tmp_path / "a.nii", progress=lambda k, n: done.append((k, n)))
    assert seen == list(range(6))
    assert done == [(k + 1, 6) for k in range(6)]
    np.testing.assert_array_equal(read(tmp_path / "a.nii").values, image.values)


def test_chunks_of_several_volumes_are_computed_once(tmp_path: Path) -> None:
    image = series(np.arange(6.0))
    seen: list[int] = []

    def block(x: Any, block_info: Any = None) -> Any:
        if block_info:
            seen.append(block_info[0]["chunk-location"][0])
        return x

    chunked = image.chunk(tag=3)
    lazy = chunked.copy(data=chunked.data.map_blocks(block, dtype=image.dtype, meta=np.empty((0,) * 4, "f4")))
    write(lazy, tmp_path / "a.nii")
    assert seen == [0, 1]


def test_writing_later(tmp_path: Path) -> None:
    image = series().chunk(tag=1)
    later = Nifti().write(image, str(tmp_path / "a.nii"), WriteOptions(compute=False))
    assert not list(tmp_path.iterdir())
    out = later.compute()
    assert out.count == 2
    np.testing.assert_array_equal(read(tmp_path / "a.nii").values, image.values)


def test_later_can_be_sent_to_another_process(tmp_path: Path) -> None:
    later = Nifti().write(series(), str(tmp_path / "a.nii"), WriteOptions(compute=False))
    assert pickle.loads(pickle.dumps(later)).compute().count == 2


def test_a_lazy_image_goes_from_file_to_file(tmp_path: Path) -> None:
    image = series()
    write(image, tmp_path / "a.nii.gz")
    write(read(tmp_path / "a.nii.gz").isel(row=slice(None, None, -1), tag=[2, 0]), tmp_path / "b.nii")
    np.testing.assert_array_equal(read(tmp_path / "b.nii").values, image.values[[0, 2]])
    assert header(tmp_path / "b.nii").get_data_dtype() == np.int16


# --- identity -----------------------------------------------------------------------------------------------------

WHO = {
    "PatientName": "Svendsen^Åse Li",
    "PatientID": "17054-X",
    "PatientBirthDate": "19540317",
    "StudyInstanceUID": "1.2.826.0.1.99.7",
    "StudyDate": "20210406",
    "AccessionNumber": "ACC4711",
    "InstitutionName": "Haukeland",
    "DeviceSerialNumber": "66035",
}


def test_nobody_is_named(tmp_path: Path) -> None:
    attrs = {
        **WHO,
        "Manufacturer": "SIEMENS",
        "SeriesDescription": "t1 for SVENDSEN",
        "ProtocolName": "mprage li 17054-X",
        "SequenceName": "*tfl3d1",
        "SoftwareVersions": "limited",
    }
    image = series(attrs=attrs)
    image.tag.attrs["epoch"] = "2021-04-06T10:11:12"
    image = image.assign_coords(
        source=((), np.array("/data/Svendsen/17054-X", dtype=np.dtypes.StringDType())),
        acquisition_time=("tag", np.array(["2021-04-06T10:11:12"] * 4, "M8[us]")),
    )
    write(image, tmp_path / "a.nii")
    content = b"".join(p.read_bytes() for p in tmp_path.iterdir()).decode("latin-1").lower()
    for secret in (*WHO.values(), "svendsen", "åse".encode().decode("latin-1"), "2021", "1954"):
        assert secret.lower() not in content
    assert "siemens" in content
    assert "*tfl3d1" in content
    assert "limited" in content
    assert "seriesdescription" not in content


def test_identifiers_when_asked_for(tmp_path: Path) -> None:
    write(series(attrs={**WHO, "SeriesDescription": "of Svendsen"}), tmp_path / "a.nii", identifiers=True)
    content = (tmp_path / "a.json").read_text(encoding="utf-8")
    for secret in (*WHO.values(), "of Svendsen"):
        assert secret in content


# --- nibabel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [True, False])
def test_to_nibabel_equals_the_file(tmp_path: Path, chunked: bool) -> None:
    image = series()
    write(image, tmp_path / "a.nii")
    img = to_nibabel(image.chunk(tag=1) if chunked else image)
    there: Any = nib.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(np.asarray(img.dataobj), np.asarray(there.dataobj))
    np.testing.assert_allclose(img.affine, there.affine, atol=1e-4)
    assert img.header.get_zooms() == there.header.get_zooms()
    assert int(img.header["qform_code"]) == int(img.header["sform_code"]) == 1
    if chunked:
        assert hasattr(img.dataobj, "dask")
    img.to_filename(tmp_path / "b.nii")
    np.testing.assert_array_equal(read(tmp_path / "b.nii").values, image.values)
    np.testing.assert_array_equal(from_nibabel(img).image.values, image.values)


def test_to_nibabel_keeps_long_integers_of_dask() -> None:
    image = with_data(np.array([1, 2**60 + 1]))
    img = to_nibabel(image.chunk(tag=1))
    assert int(np.asarray(img.dataobj)[0, 0, 0, 1]) == 2**60 + 1


def test_a_single_volume_keeps_its_type(tmp_path: Path) -> None:
    write(series().isel(tag=1), tmp_path / "a.nii")
    assert header(tmp_path / "a.nii").get_data_dtype() == np.int16
    assert header(tmp_path / "a.nii")["dim"][0] == 3


def test_to_nibabel_of_one_volume_is_three_dimensional() -> None:
    assert to_nibabel(coordinates().isel(tag=0)).shape == (6, 5, 4)


def test_missing_geometry_is_said(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="no place"):
        write(series(direction=None), tmp_path / "a.nii")

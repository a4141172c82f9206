"""Reading inside archives: it gives what the unpacked files give, and what is hostile or damaged is refused."""

from __future__ import annotations

import pickle
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem
from packed import KINDS, pack
from series import open_image, series

from imagedata_xr.errors import ImagedataWarning, NotFoundError, SourceError
from imagedata_xr.stores.archives import Archive, open_archive
from imagedata_xr.stores.files import File, file_name, local, read_ranges
from imagedata_xr.stores.url import find, source_name
from imagedata_xr.stores.zip_members import ZipMembers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two volumes of three slices."""
    return series(tmp_path / "in", 2, 3, lambda v, k: {"AcquisitionTime": f"1015{v:02d}"})


@pytest.mark.parametrize("name", KINDS)
def test_an_archive_is_read_as_the_folder_that_was_packed(folder: Path, tmp_path: Path, name: str) -> None:
    archive = pack(folder, tmp_path / name)
    expected = open_image(str(folder), order="time")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = open_image(str(archive), order="time", chunks={})
    assert str(image.source.values) == str(archive)
    xr.testing.assert_identical(image.compute().drop_vars("source"), expected.drop_vars("source"))
    assert image.imd.header[1, 2].InstanceNumber == expected.imd.header[1, 2].InstanceNumber


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("member", "slices"),
    [
        ("day2/0001.dcm", 1),
        ("day2", 6),
        ("day2/", 6),
        ("day2/000[0-2]*", 3),
        ("*/0004.dcm", 1),
        ("d*2", 6),
        ("day2/0000.dcm&day2/0003.dcm", 2),
    ],
)
def test_members_are_chosen_by_name_folder_and_pattern(tmp_path: Path, name: str, member: str, slices: int) -> None:
    top = tmp_path / "in"
    series(top / "day2", 1, 6)
    (top / "day1").mkdir()
    (top / "day1" / "notes.txt").write_text("no image")
    (top / "day2" / ".hidden").write_text("hidden")
    archive = pack(top, tmp_path / name)
    assert len(find(f"{archive}?{member}")) == slices
    image = open_image(f"{archive}?{member}")
    assert image.sizes["slice"] == slices
    again = open_image(str(image.source.values))
    xr.testing.assert_identical(image, again)


def test_what_is_not_in_an_archive_is_said(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "a.zip")
    with pytest.raises(NotFoundError, match=r"a\.zip has nothing called 'day9'.*among its 6 files.*'&'"):
        open_image(f"{archive}?0001.dcm&day9")
    with pytest.raises(NotFoundError, match=r"b\.zip does not exist"):
        open_image(f"{tmp_path / 'b.zip'}?day9")


def test_chains_lists_and_patterns_name_archives_as_well(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "a.zip")
    shutil.copy(archive, tmp_path / "plain.bin")
    pack(tmp_path / "in", tmp_path / "b.tar")
    assert len(find(f"zip://::{archive}")) == 6
    assert len(find(f"zip://000[12].dcm::file://{tmp_path / 'plain.bin'}")) == 2
    assert len(find(f"tar://::{tmp_path / 'b.tar'}")) == 6
    assert len(find([str(archive), str(tmp_path / "b.tar")])) == 12
    assert len(find(str(tmp_path / "*.zip"))) == 6
    assert len(find(str(tmp_path / "[ab].zip?0001.dcm"))) == 1
    assert len(find(archive)) == 6
    assert len(find(archive.as_uri() + "?0001.dcm")) == 1
    assert source_name(f"zip://::{archive}") == str(archive)
    assert source_name(f"zip://a*::{tmp_path}/plain.bin") == f"zip://a*::{tmp_path}/plain.bin"


def test_an_archive_in_an_archive_and_on_a_store(folder: Path, tmp_path: Path) -> None:
    inner = pack(folder, tmp_path / "inner.tar.gz")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w", 8) as archive:
        archive.write(inner, "deep/inner.tar.gz")
    assert len(find(f"tar://000[12].dcm::zip://deep/inner.tar.gz::{outer}")) == 2
    MemoryFileSystem().pipe_file("/packed/outer.zip", outer.read_bytes())
    MemoryFileSystem().pipe_file("/packed/a.zip", pack(folder, tmp_path / "a.zip").read_bytes())
    expected = open_image(str(folder))
    for address in ("tar://::zip://deep/inner.tar.gz::memory://packed/outer.zip", "memory://packed/a.zip?000*"):
        image = open_image(address)
        np.testing.assert_array_equal(image.values, expected.values)


def test_a_real_file_with_the_form_of_an_address_is_that_file(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "folder.zip")
    assert open_image(str(tmp_path / "folder.zip")).sizes["slice"] == 3
    pack(folder, tmp_path / "a.zip")
    shutil.copy(folder / "0000.dcm", tmp_path / "a.zip?x")
    assert [f.path for f in find(str(tmp_path / "a.zip?x"))] == [str(tmp_path / "a.zip?x")]


@pytest.mark.parametrize("name", KINDS)
def test_other_formats_are_read_in_archives(tmp_path: Path, name: str) -> None:
    image = open_image(str(series(tmp_path / "in")))
    (tmp_path / "made").mkdir()
    for file in ("a.nii", "b.nii.gz", "c.mha", "d.mhd"):
        image.imd.write(str(tmp_path / "made" / file))
    archive = pack(tmp_path / "made", tmp_path / name)
    for file in ("a.nii", "b.nii.gz", "c.mha", "d.mhd"):
        read = open_image(f"{archive}?{file}")
        np.testing.assert_array_equal(read.transpose(*image.dims).values.ravel().sum(), image.values.sum())
        np.testing.assert_allclose(read.imd.affine, open_image(str(tmp_path / "made" / file)).imd.affine)


def test_what_is_pickled_is_small_and_opens_again(folder: Path, tmp_path: Path) -> None:
    archive = open_archive(File(local(), str(pack(folder, tmp_path / "a.zip"))), "zip")
    data = pickle.dumps(File(archive, "0001.dcm"))
    assert len(data) < 1000
    assert pickle.loads(data).fs is archive
    assert hash(pickle.loads(data).fs) == hash(archive)


def test_chunks_are_read_by_other_processes(folder: Path, tmp_path: Path) -> None:
    image = open_image(str(pack(folder, tmp_path / "a.tar.gz")), chunks={"slice": 1})
    values = image.data.compute(scheduler="processes", num_workers=2)
    np.testing.assert_array_equal(values, open_image(str(folder)).values)


def test_an_archive_that_changed_is_not_read_by_the_old_table_of_contents(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "stored.zip")
    image = open_image(str(archive))
    shutil.copy(folder / "0005.dcm", folder / "0000.dcm")
    archive.unlink()
    pack(folder, archive)
    with pytest.raises(SourceError, match="changed since it was opened"):
        _ = image.values


# --- how it is read ---------------------------------------------------------------------------------------------------


def test_headers_are_read_without_unpacking_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)

    def big(v: int, k: int) -> dict[str, Any]:
        return {"Rows": 512, "Columns": 512, "PixelData": rng.integers(0, 999, 512 * 512, "<u2").tobytes()}

    archive = pack(series(tmp_path / "in", 1, 4, big), tmp_path / "deflated.zip")
    asked: list[int] = []
    plain = ZipMembers._inflate

    def count(self: ZipMembers, member: Any, stop: int, raw: bytes) -> Any:
        asked.append(stop)
        return plain(self, member, stop, raw)

    monkeypatch.setattr(ZipMembers, "_inflate", count)
    image = open_image(str(archive), chunks={"slice": 1})
    assert sum(asked) < 4 * 40_000
    asked.clear()
    first = image.values
    _ = image.isel(slice=1).values
    assert sum(asked) < 4 * 530_000, "each file is unpacked once"
    np.testing.assert_array_equal(first, open_image(str(tmp_path / "in")).values)


def test_a_large_packed_member_is_read_from_places_to_resume_at(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 4, 5 << 22, np.uint8)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", 8, compresslevel=1) as archive:
        archive.writestr("big", values.tobytes())
        archive.writestr("after", b"small")
    files = find(tmp_path / "a.zip?big")
    starts = [0, 5, 7 << 20, (5 << 22) - 10]
    for k in (0, 3, 2, 1, 3):
        assert read_ranges(files, [starts[k]], [10])[0] == values[starts[k] :][:10].tobytes()
    with files[0].fs.open("big") as stream:
        stream.seek(9 << 20)
        assert stream.read(100) == values[9 << 20 :][:100].tobytes()


def test_a_packed_tar_is_not_unpacked_from_its_beginning_for_each_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    side = 1024

    def big(v: int, k: int) -> dict[str, Any]:
        return {"Rows": side, "Columns": side, "PixelData": rng.integers(0, 99, side * side, "<u2").tobytes()}

    archive = pack(series(tmp_path / "in", 1, 12, big), tmp_path / "a.tar.gz")
    image = open_image(str(archive), chunks={"slice": 1})
    (fs,) = {file.fs for file in find(archive)}
    assert isinstance(fs, Archive)
    assert fs.gzip is not None
    passed: list[int] = []
    plain = type(fs.gzip)._blocks

    def count(self: Any, start: int) -> Any:
        for place, data in plain(self, start):
            passed.append(len(data))
            yield place, data

    monkeypatch.setattr(type(fs.gzip), "_blocks", count)
    for k in range(12):
        _ = image.isel(slice=k).values
    whole = 12 * 2 * side * side
    assert sum(passed) < 12 * (4 << 20) + 2 * whole
    np.testing.assert_array_equal(image.values, open_image(str(tmp_path / "in")).values)


def test_a_filesystem_lists_what_it_holds(folder: Path, tmp_path: Path) -> None:
    fs = open_archive(File(local(), str(pack(folder, tmp_path / "a.tar", "deep/er/"))), "tar")
    assert fs.ls("", detail=False) == ["deep"]
    assert fs.ls("deep/er", detail=False)[0] == "deep/er/0000.dcm"
    assert len(fs.find("")) == 6
    assert fs.isdir("deep")
    assert not fs.exists("other")
    assert file_name(File(fs, "deep/er/0000.dcm")) == f"{tmp_path / 'a.tar'}?deep/er/0000.dcm"
    assert fs.cat_file("deep/er/0000.dcm", -10) == (folder / "0000.dcm").read_bytes()[-10:]


@pytest.mark.parametrize("all_of_them", [True, False])
def test_files_packed_in_a_way_that_is_not_read_are_said(all_of_them: bool, folder: Path) -> None:
    """A slice that is packed otherwise than its neighbours would be missing."""
    import bz2

    for path in sorted(folder.iterdir())[: None if all_of_them else 1]:
        path.with_name(path.name + ".bz2").write_bytes(bz2.compress(path.read_bytes()))
        if all_of_them:
            path.unlink()
    if all_of_them:
        with pytest.raises(NotFoundError, match=r"is an image .*\.bz2 is packed in a way that is not read; unpack it"):
            open_image(str(folder))
    else:
        with pytest.warns(ImagedataWarning, match=r"1 files are passed over, so that images may be missing: .*\.bz2"):
            assert open_image(str(folder)).sizes["slice"] == 3


def test_several_patients_and_a_dicomdir_in_an_archive(tmp_path: Path) -> None:
    from pydicom.fileset import FileSet

    fileset = FileSet()
    for patient in ("one", "two"):
        given = {"PatientID": patient, "StudyInstanceUID": f"1.2.{len(patient)}.{ord(patient[0])}"}
        top = series(
            tmp_path / patient,
            vary=lambda v, k, given=given: {  # type: ignore[misc]
                **given, "SeriesInstanceUID": given["StudyInstanceUID"] + ".1",
                "SOPInstanceUID": f"{given['StudyInstanceUID']}.1.{k + 1}", "StudyID": "1",
            },
        )  # fmt: skip
        for path in sorted(top.iterdir()):
            fileset.add(path)
    fileset.write(tmp_path / "disk")
    archive = pack(tmp_path / "disk", tmp_path / "disk.zip", "CD/")
    tree = xr.open_datatree(str(archive), engine="imagedata")
    assert sorted(tree.children) == ["one", "two"]
    tree = xr.open_datatree(f"{archive}?CD/DICOMDIR", engine="imagedata")
    assert sorted(tree.children) == ["one", "two"]


def test_an_archive_in_a_folder_is_said_and_passed_over(folder: Path, tmp_path: Path) -> None:
    pack(series(tmp_path / "other"), folder / "more.zip")
    with pytest.warns(ImagedataWarning, match=r"1 archives among the files are passed over.*more\.zip.*\*\.zip"):
        assert open_image(str(folder)).sizes["slice"] == 3

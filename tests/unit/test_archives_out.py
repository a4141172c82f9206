"""Writing into archives: what was there stays, what is written is whole, other programs read it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from series import open_image, series

from imagedata_xr.cli import main
from imagedata_xr.errors import FormatError, SourceError
from imagedata_xr.stores import archives_out

NAMES = ["out.zip", "out.tar", "out.tar.gz", "out.tgz"]


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    return open_image(str(series(tmp_path / "in")))


def unpacked(archive: Path, target: Path) -> dict[str, bytes]:
    """Content by name, unpacked by the programs that everybody has."""
    shutil.unpack_archive(archive, target, {".zip": "zip", ".tar": "tar"}.get(archive.suffix, "gztar"))
    return {p.relative_to(target).as_posix(): p.read_bytes() for p in sorted(target.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", ["dicom", "a.nii"])
def test_zips_are_packed_fast(name: str, image: xr.DataArray, tmp_path: Path) -> None:
    """More than the lowest level of deflate costs several times as long for a few per cent."""
    image.imd.write(f"{tmp_path}/out.zip?{name}")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        for entry in archive.infolist():
            packer = zlib.compressobj(1, zlib.DEFLATED, -15)
            assert entry.compress_size == len(packer.compress(archive.read(entry)) + packer.flush())
            assert entry.external_attr >> 16 == 0o100644


@pytest.mark.parametrize("name", NAMES)
def test_a_series_is_written_into_a_new_archive(image: xr.DataArray, tmp_path: Path, name: str) -> None:
    written = image.imd.write(str(tmp_path / name))
    assert written.paths == tuple(f"{tmp_path / name}?IM_{n:05d}.dcm" for n in (1, 2, 3))
    files = unpacked(tmp_path / name, tmp_path / "unpacked")
    assert list(files) == ["IM_00001.dcm", "IM_00002.dcm", "IM_00003.dcm"]
    assert written.bytes == sum(map(len, files.values()))
    values = [pydicom.dcmread(p).pixel_array for p in sorted((tmp_path / "unpacked").iterdir())]
    np.testing.assert_array_equal(values, image.values[0])
    again = open_image(str(tmp_path / name))
    np.testing.assert_array_equal(again.values, image.values)
    assert {p.name for p in tmp_path.iterdir()} == {"in", "unpacked", name}, "nothing else is left"


@pytest.mark.parametrize("name", NAMES)
def test_adding_keeps_what_an_archive_holds(image: xr.DataArray, tmp_path: Path, name: str) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "notes.txt").write_text("kept")
    os.utime(tmp_path / "old" / "notes.txt", (10**9, 10**9))
    kind = {".zip": "zip", ".tar": "tar"}.get(Path(name).suffix, "gztar")
    made = shutil.make_archive(str(tmp_path / "made"), kind, tmp_path / "old")
    os.replace(made, tmp_path / name)
    image.imd.write(f"{tmp_path / name}?day1/t1")
    image.imd.write(f"{tmp_path / name}?day2")
    (image + 1).imd.write(f"{tmp_path / name}?nifti/x.nii.gz")
    files = unpacked(tmp_path / name, tmp_path / "unpacked")
    assert files["notes.txt"] == b"kept"
    if kind == "zip":
        assert zipfile.ZipFile(tmp_path / name).getinfo("notes.txt").date_time[0] == 2001
    else:
        assert (tmp_path / "unpacked" / "notes.txt").stat().st_mtime == 10**9
    assert len(files) == 1 + 3 + 3 + 2
    assert open_image(f"{tmp_path / name}?day1").sizes["slice"] == 3
    np.testing.assert_array_equal(
        open_image(f"{tmp_path / name}?nifti/x.nii.gz").values.sum(), (image + 1).values.sum()
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_there_is_replaced_only_when_asked(image: xr.DataArray, tmp_path: Path, name: str) -> None:
    target = str(tmp_path / name)
    image.imd.write(f"{target}?a")
    image.imd.write(f"{target}?b")
    before = (tmp_path / name).read_bytes()
    for place in (f"{target}?a", target, f"{target}?a/IM_00001.dcm"):
        with pytest.raises(FileExistsError, match=r"is there already|is a file"):
            image.imd.write(place)
    with pytest.raises(FileExistsError, match="holds more than files"):
        image.imd.write(target, overwrite=True)
    assert (tmp_path / name).read_bytes() == before
    image.isel(slice=slice(2)).imd.write(f"{target}?a", overwrite=True)
    assert open_image(f"{target}?a").sizes["slice"] == 2
    assert open_image(f"{target}?b").sizes["slice"] == 3
    image.imd.write(f"{target}?x.nii")
    with pytest.raises(FileExistsError, match=r"\?x\.(nii|json) exists"):
        image.imd.write(f"{target}?x.nii")
    (image * 2).imd.write(f"{target}?x.nii", overwrite=True)
    assert open_image(f"{target}?x.nii").values.max() == 2 * image.values.max()
    assert len(unpacked(tmp_path / name, tmp_path / "unpacked")) == 2 + 3 + 2


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_write_leaves_the_archive_as_it_was(
    image: xr.DataArray, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.imd.write(f"{tmp_path / name}?a")
    before = (tmp_path / name).read_bytes()
    kind: Any = archives_out._Zip if name == "out.zip" else archives_out._Tar
    plain: Callable[..., None] = kind.add

    def full(self: Any, member: str, data: bytes) -> None:
        if member.endswith("2.dcm"):
            raise OSError(28, "No space left on device")
        plain(self, member, data)

    monkeypatch.setattr(kind, "add", full)
    with pytest.raises(SourceError, match="No space left"):
        image.imd.write(f"{tmp_path / name}?b")
    assert (tmp_path / name).read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"in", name}


def test_nothing_is_added_to_a_damaged_archive(image: xr.DataArray, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    image.imd.write(str(archive))
    archive.write_bytes(archive.read_bytes()[:-30])
    before = archive.read_bytes()
    with pytest.raises(SourceError, match="truncated"):
        image.imd.write(f"{archive}?more")
    assert archive.read_bytes() == before


def test_an_archive_that_somebody_else_changed_meanwhile_is_left_to_them(
    image: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.zip"
    image.imd.write(str(archive))
    plain = archives_out._Zip.close

    def slow(self: Any) -> None:
        plain(self)
        if "theirs" not in zipfile.ZipFile(archive).namelist():
            with zipfile.ZipFile(archive, "a") as other:
                other.writestr("theirs", "x")

    monkeypatch.setattr(archives_out._Zip, "close", slow)
    with pytest.raises(SourceError, match="changed since"):
        image.imd.write(f"{archive}?mine")
    assert "theirs" in zipfile.ZipFile(archive).namelist()


def test_an_archive_on_a_store_is_added_to(image: xr.DataArray, tmp_path: Path) -> None:
    fs = MemoryFileSystem()
    fs.store.clear()
    image.imd.write("memory://box/a.zip?one")
    image.imd.write("memory://box/a.zip?two.nii")
    assert open_image("memory://box/a.zip?one").sizes["slice"] == 3
    assert open_image("memory://box/a.zip?two.nii").sizes["slice"] == 3
    assert fs.ls("/box", detail=False) == ["/box/a.zip"]
    fs.store.clear()


def test_names_that_lead_out_and_formats_that_do_not_fit_are_refused(image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="leads out of it"):
        image.imd.write(f"{tmp_path}/a.zip?../x")
    with pytest.raises(SourceError, match="no pattern"):
        image.imd.write(f"{tmp_path}/a.zip?x*")
    with pytest.raises(FormatError, match="zarr is not written into archives"):
        image.imd.write(f"{tmp_path}/a.zip?x.zarr")
    with pytest.raises(FormatError, match="unpack it first"):
        open_image(f"{tmp_path}/a.zip?x.zarr")
    assert not (tmp_path / "a.zip").exists()


def test_a_format_without_a_name_takes_that_of_the_archive(image: xr.DataArray, tmp_path: Path) -> None:
    image.imd.write(f"{tmp_path}/brain.zip", format="nifti")
    assert sorted(zipfile.ZipFile(tmp_path / "brain.zip").namelist()) == ["brain.json", "brain.nii"]


def test_one_file_and_names_by_pattern(image: xr.DataArray, tmp_path: Path) -> None:
    one = image.isel(slice=[0])
    one.imd.write(f"{tmp_path}/a.zip?x/one.dcm")
    with pytest.raises(FileExistsError, match=r"one\.dcm is there already"):
        one.imd.write(f"{tmp_path}/a.zip?x/one.dcm")
    (one + 1).imd.write(f"{tmp_path}/a.zip?x/one.dcm", overwrite=True)
    image.imd.write(f"{tmp_path}/a.zip?y/im_%03d.dcm")
    names = sorted(zipfile.ZipFile(tmp_path / "a.zip").namelist())
    assert names == ["x/one.dcm", "y/im_001.dcm", "y/im_002.dcm", "y/im_003.dcm"]
    assert open_image(f"{tmp_path}/a.zip?x").values.max() == one.values.max() + 1


def test_the_names_of_users_are_not_in_a_tar(image: xr.DataArray, tmp_path: Path) -> None:
    image.imd.write(f"{tmp_path}/a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {(m.uname, m.gname, m.uid) for m in tar} == {("", "", 0)}


def test_the_command_converts_into_and_out_of_archives(image: xr.DataArray, tmp_path: Path) -> None:
    out = tmp_path / "all.zip"
    run = CliRunner().invoke(main, ["convert", "--all", str(out), str(tmp_path / "in")])
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout.strip().endswith(f"{out}?0001")
    run = CliRunner().invoke(main, ["convert", f"{tmp_path}/a.nii", f"{out}?0001"])
    assert run.exit_code == 0
    assert (tmp_path / "a.nii").exists()
    run = CliRunner().invoke(main, ["convert", f"{tmp_path}/plain", f"{out}?0001"])
    assert run.stdout.strip().endswith(str(tmp_path / "plain"))


def test_other_programs_find_no_fault(image: xr.DataArray, tmp_path: Path, require_program: Any) -> None:
    image.imd.write(f"{tmp_path}/a.zip?one")
    image.imd.write(f"{tmp_path}/a.zip?two")
    image.imd.write(f"{tmp_path}/a.zip?one", overwrite=True)
    image.imd.write(f"{tmp_path}/a.tgz?one")
    require_program("tar")
    listed = subprocess.run(["tar", "tzf", tmp_path / "a.tgz"], check=True, capture_output=True, text=True).stdout
    assert listed.split() == [f"one/IM_{n:05d}.dcm" for n in (1, 2, 3)]
    require_program("unzip")
    assert "No errors" in subprocess.run(
        ["unzip", "-t", tmp_path / "a.zip"], check=True, capture_output=True, text=True
    ).stdout  # fmt: skip


def test_pictures_go_into_archives_and_leave_no_older_slices(tmp_path: Path) -> None:
    image = open_image(str(series(tmp_path / "in"))).squeeze(drop=True)
    image.imd.write(f"{tmp_path}/a.zip?x/p.png")
    image.isel(slice=[0, 1]).imd.write(f"{tmp_path}/a.zip?x/p.png", overwrite=True)
    with zipfile.ZipFile(tmp_path / "a.zip") as pack:
        assert pack.namelist() == ["x/p_001.png", "x/p_002.png"]

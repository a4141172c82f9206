"""The command ``imd convert``."""

from __future__ import annotations

from pathlib import Path

import cli_data
import numpy as np
import pydicom
import pytest
import xarray as xr
from command import imd
from pydicom.dataset import Dataset


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    return cli_data.series(tmp_path / "dynamic", volumes=2)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return cli_data.two_series(tmp_path / "two")


def test_convert_by_the_extension(dynamic: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "a.nii.gz"
    result = imd("convert", out, dynamic)
    assert result.exit_code == 0
    assert result.stdout.startswith("nifti: ")
    assert str(out) in result.stdout
    a = xr.open_dataarray(dynamic, engine="imagedata")
    b = xr.open_dataarray(out, engine="imagedata")
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_allclose(a.imd.affine, b.imd.affine, atol=1e-4)


def test_convert_to_dicom_by_default(dynamic: Path, tmp_path: Path) -> None:
    result = imd("convert", tmp_path / "out", dynamic, "--series-number", 77, "--series-description", "copy")
    assert (result.exit_code, result.stderr) == (0, "")
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 6
    assert result.stdout.startswith("dicom: 6 files, ")
    assert result.stdout.rstrip().endswith(str(tmp_path / "out"))
    first = pydicom.dcmread(files[0])
    assert (first.SeriesNumber, first.SeriesDescription, first.PatientName) == (77, "copy", cli_data.NAME)


def test_convert_to_several_formats(dynamic: Path, tmp_path: Path) -> None:
    result = imd("convert", tmp_path / "%p" / "a", dynamic, "--format", "nifti", "--format", "dicom")
    assert result.exit_code == 0
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["nifti", "dicom"]
    assert (tmp_path / "nifti" / "a.nii").is_file()
    assert len(list((tmp_path / "dicom" / "a").iterdir())) == 6


def test_several_formats_need_a_place_for_their_names(dynamic: Path, tmp_path: Path) -> None:
    result = imd("convert", tmp_path / "a", dynamic, "--format", "nifti", "--format", "dicom")
    assert result.exit_code == 1
    assert "%p" in result.stderr
    assert not (tmp_path / "a").exists()


def test_convert_several_sources_as_one(tmp_path: Path) -> None:
    cli_data.series(tmp_path / "s")
    low, middle, high = sorted((tmp_path / "s").iterdir())
    assert imd("convert", tmp_path / "a.nii", high, low, middle).exit_code == 0
    assert xr.open_dataarray(tmp_path / "a.nii", engine="imagedata").sizes["slice"] == 3


def test_convert_one_series_of_several(two: Path, tmp_path: Path) -> None:
    assert imd("convert", tmp_path / "a.nii", two, "--series", "5").exit_code == 0
    assert xr.open_dataarray(tmp_path / "a.nii", engine="imagedata").sizes["tag"] == 2


def test_convert_one_stack(tmp_path: Path) -> None:
    def half(ds: Dataset, k: int) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M" if k < 3 else "P"]

    source = cli_data.series(tmp_path / "s", volumes=2, change=half)
    assert "--series 4 --stack 1" in imd("convert", tmp_path / "a.nii", source).stderr
    assert imd("convert", tmp_path / "a.nii", source, "--series", 4, "--stack", 1).exit_code == 0


def test_convert_all_writes_each_image_under_its_number(two: Path, tmp_path: Path) -> None:
    result = imd("convert", "--all", tmp_path / "out", two)
    assert result.exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0001", "0002"]
    assert len(list((tmp_path / "out" / "0002").iterdir())) == 6
    assert len(result.stdout.splitlines()) == 2
    assert "without pixels" in result.stderr
    assert imd("convert", "--all", tmp_path / "nii", two, "--format", "nifti").exit_code == 0
    assert [p.name for p in sorted((tmp_path / "nii").glob("*.nii"))] == ["0001.nii", "0002.nii"]


def test_convert_all_fills_an_archive(two: Path, tmp_path: Path) -> None:
    target = f"{tmp_path}/all.zip?nii"
    result = imd("convert", "--all", target, two, "--format", ".nii.gz", "--workers", 2, "--progress")
    assert result.exit_code == 0
    assert "images 2/2" in result.stderr
    assert f"{tmp_path}/all.zip?nii/0001.nii.gz" in result.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.zip", "two"]
    assert xr.open_dataarray(f"{target}/0002.nii.gz", engine="imagedata").sizes["tag"] == 2
    assert imd("deidentify", two, tmp_path / "shared.zip", "--seed", "k", "--workers", 2).exit_code == 0
    assert len(xr.open_datatree(tmp_path / "shared.zip", engine="imagedata").leaves) == 3
    assert imd("convert", tmp_path / "a", two, "--series", 4, "--workers", 2).exit_code == 2


def test_convert_all_goes_on_after_a_series_that_fails(two: Path, tmp_path: Path) -> None:
    next(two.glob("4-001")).unlink()  # uneven: NIfTI can't hold the first
    cli_data.save(cli_data.instance(4, 7, 9), two / "4-007")
    cli_data.save(cli_data.instance(4, 8, 30), two / "4-008")
    result = imd("convert", "--all", tmp_path / "out", two, "--format", "nifti")
    assert result.exit_code == 1
    assert "imd: error: image 1 (4 MR t1 *** 4" in result.stderr
    assert [p.name for p in (tmp_path / "out").glob("*.nii")] == ["0002.nii"]


def test_convert_takes_header_and_place_of_others(tmp_path: Path) -> None:
    def elsewhere(ds: Dataset, k: int) -> None:
        ds.ImagePositionPatient = [10, 20, 30 + 4 * k]

    where = cli_data.series(tmp_path / "where", 6, change=elsewhere)
    source = cli_data.series(tmp_path / "s")
    assert imd("convert", tmp_path / "a.nii", source, "--geometry", where).exit_code == 0
    expected = xr.open_dataarray(where, engine="imagedata").imd.affine
    np.testing.assert_allclose(
        xr.open_dataarray(tmp_path / "a.nii", engine="imagedata").imd.affine, expected, atol=1e-4
    )
    assert imd("convert", tmp_path / "d", tmp_path / "a.nii", "--format", "dicom", "--template", source).exit_code == 0
    assert {str(pydicom.dcmread(p).PatientName) for p in (tmp_path / "d").iterdir()} == {cli_data.NAME}


def test_convert_keeps_uids_of_what_is_unchanged(tmp_path: Path) -> None:
    source = cli_data.series(tmp_path / "s")
    assert imd("convert", tmp_path / "d", source, "--keep-uid").exit_code == 0
    uids = [{pydicom.dcmread(p).SOPInstanceUID for p in f.iterdir()} for f in (source, tmp_path / "d")]
    assert uids[0] == uids[1]


def test_overwrite_replaces(dynamic: Path, tmp_path: Path) -> None:
    cli_data.series(tmp_path / "small")
    for target in ("d", "a.nii"):
        assert imd("convert", tmp_path / target, dynamic).exit_code == 0
        result = imd("convert", tmp_path / target, tmp_path / "small")
        assert result.exit_code == 1
        assert "--overwrite replaces it" in result.stderr
        assert imd("convert", tmp_path / target, tmp_path / "small", "--overwrite").exit_code == 0
        assert xr.open_dataarray(tmp_path / target, engine="imagedata").sizes["tag"] == 1


@pytest.mark.parametrize("target", ["dynamic", "."])
def test_the_source_is_not_written_over(dynamic: Path, target: str) -> None:
    before = sorted(dynamic.iterdir())
    result = imd("convert", dynamic.parent / target, dynamic, "--overwrite")
    assert result.exit_code == 2
    assert "written over" in result.stderr
    assert sorted(dynamic.iterdir()) == before


@pytest.mark.parametrize("form", ["dicom", "nifti"])
@pytest.mark.parametrize("source", ["cohort", "cohort/*"])
def test_no_part_of_the_source_is_written_over(form: str, source: str, tmp_path: Path) -> None:
    """One series of a folder into the folder of another: its images would be gone."""
    for number in (4, 5):
        cli_data.series(tmp_path / "cohort" / str(number), number)
    target = "cohort/5" if form == "dicom" else "cohort/a.nii"
    if form == "nifti":
        assert imd("convert", tmp_path / target, tmp_path / "cohort", "--series", 4).exit_code == 0
    before = {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}
    args = ["convert", tmp_path / target, tmp_path / source, "--series", 4, "--format", form, "--overwrite"]
    result = imd(*args)
    assert result.exit_code == 2
    assert "OUT" in result.stderr
    assert {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()} == before


def test_source_and_target_the_wrong_way_round(dynamic: Path, tmp_path: Path) -> None:
    result = imd("convert", dynamic, tmp_path / "new.nii")
    assert result.exit_code == 1
    assert result.stderr.endswith("does not exist. The target comes first: imd convert OUT IN\n")
    assert "first" not in imd("convert", tmp_path / "a", tmp_path / "b").stderr


def test_an_unknown_extension_is_said(dynamic: Path, tmp_path: Path) -> None:
    result = imd("convert", tmp_path / "run.mp4", dynamic)
    assert "'.mp4' is the extension of no format known here: run.mp4 becomes a folder of DICOM" in result.stderr
    assert (tmp_path / "run.mp4" / "IM_00001.dcm").is_file()
    for name in ("run", "run.mp4", "v1.2", "1.2.840.1", "a.zip", "run.mha"):
        assert imd("convert", tmp_path / name, dynamic, "--overwrite").stderr == "", name
    assert imd("convert", tmp_path / "b.mp4", dynamic, "--format", "dicom").stderr == ""


def test_advice_on_templates_names_what_the_command_has(dynamic: Path, tmp_path: Path) -> None:
    def other(ds: Dataset, k: int) -> None:
        ds.PatientID = "another"

    result = imd("convert", tmp_path / "a", dynamic, "--template", cli_data.series(tmp_path / "b", change=other))
    assert "imd.assign_header(template, relabel=True) of Python allows it" in result.stderr
    imd("convert", tmp_path / "a.mha", dynamic)
    result = imd("convert", tmp_path / "c", tmp_path / "a.mha", "--format", "dicom")
    assert "--template says whose it is" in result.stderr
    assert "assign_" not in result.stderr


def test_progress_is_counted_on_stderr_when_asked(dynamic: Path, tmp_path: Path) -> None:
    quiet = imd("convert", tmp_path / "a", dynamic)
    assert quiet.stderr == ""
    loud = imd("convert", tmp_path / "b", dynamic, "--progress")
    assert loud.stderr.splitlines()[-1] == "written 6/6"
    assert "written" not in loud.stdout

"""The command ``imd``: what it prints, writes, and returns."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cli_data
import click
import numpy as np
import pydicom
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from pydicom.dataset import Dataset

import imagedata_xr
from imagedata_xr import ImagedataWarning
from imagedata_xr.cli import VERBS, main
from imagedata_xr.cli.sources import keywords
from imagedata_xr.cli.talk import Counter, in_options, size
from imagedata_xr.formats import reading, seam
from imagedata_xr.stores.url import source_name


def imd(*args: object) -> Result:
    """Run the command in this process; what it does not expect is raised."""
    result = CliRunner().invoke(main, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(text: str) -> list[str]:
    """Lines with runs of blanks as one, and none at the ends."""
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    return cli_data.series(tmp_path / "dynamic", volumes=2)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two series with pixels and one without."""
    folder = cli_data.series(cli_data.series(tmp_path / "two", 4), 5, volumes=2)
    cli_data.without_pixels(folder / "state")
    return folder


# --- info ----------------------------------------------------------------------------------------------------------


def test_info_describes_an_image(dynamic: Path) -> None:
    result = imd("info", dynamic)
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines(result.stdout) == [
        "1 series 4 MR: t1 *** 4",
        "shape tag 2, slice 3, row 4, col 3",
        "order time, 2 volumes, 0 to 2 s, every 2 s",
        "spacing slice 4, row 2, col 2 mm",
        "values float32, stored as uint16, 288 bytes",
    ]


def test_info_aligns_the_columns(dynamic: Path) -> None:
    first, *rest = imd("info", dynamic).stdout.splitlines()
    assert first.startswith("1  series")
    assert {line[:3] for line in rest} == {"   "}
    assert {line[:12].rstrip().split()[0] for line in rest} == {"shape", "order", "spacing", "values"}
    assert all(line[10:12] == "  " and line[12] != " " for line in rest)


def test_info_lists_objects_without_pixels(two: Path) -> None:
    said = lines(imd("info", two).stdout)
    assert [line for line in said if "series" in line] == ["1 series 4 MR: t1 *** 4", "2 series 5 MR: t1 *** 5"]
    assert said[-2] == "without pixels:"
    assert said[-1].startswith("9 PR")


def test_info_names_segments(dynamic: Path, tmp_path: Path, require_module: Any) -> None:
    require_module("highdicom")
    image = xr.open_dataarray(dynamic, engine="imagedata").isel(tag=[0])
    numbers = xr.where(image > image.median(), 2, 1).assign_attrs(image.attrs).assign_coords(image.coords)
    named = {"segments": [{"label": "dark"}, {"label": f"bright, {cli_data.NAME.split('^')[0]}"}]}
    numbers.imd.write(tmp_path / "seg", kind="segmentation", format_options=named)
    said = lines(imd("info", tmp_path / "seg").stdout)
    assert "segments 1 dark, 2 bright, ***" in said
    assert not [line for line in said if line.startswith("order")]
    (told,) = json.loads(imd("info", "--json", tmp_path / "seg").stdout)["images"]
    assert told["segments"] == [{"number": 1, "label": "dark"}, {"number": 2, "label": "bright, ***"}]


def test_units_that_are_none_are_not_shown(tmp_path: Path) -> None:
    def number(ds: Dataset, k: int) -> None:
        ds.TemporalPositionIdentifier = k // 3 + 1

    folder = cli_data.series(tmp_path / "a", volumes=2, change=number)
    said = lines(imd("info", folder, "--order", "TemporalPositionIdentifier").stdout)
    (line,) = [line for line in said if line.startswith("order")]
    assert re.search(r"2 volumes, 1 to 2$", line), line


def test_info_as_json(two: Path) -> None:
    told = json.loads(imd("info", "--json", two).stdout)
    assert [(i["number"], i["series_number"], i["modality"]) for i in told["images"]] == [(1, 4, "MR"), (2, 5, "MR")]
    second = told["images"][1]
    assert second["shape"] == {"tag": 2, "slice": 3, "row": 4, "col": 3}
    assert second["spacing_mm"] == {"slice": 4.0, "row": 2.0, "col": 2.0}
    assert second["orders"] == [
        {"dim": "tag", "order": "time", "count": 2, "of": "time", "first": 0, "last": 2, "interval": 2, "units": "s"}
    ]
    assert (second["dtype"], second["stored_dtype"], second["bytes"]) == ("float32", "uint16", 288)
    assert "identifiers" not in second
    assert len(told["without_pixels"]) == 1
    assert told["failed"] == []


def test_info_shows_identifiers_when_asked(dynamic: Path) -> None:
    shown = json.loads(imd("info", "--json", "--identifiers", dynamic).stdout)["images"][0]
    known = shown["identifiers"]
    assert (known["PatientName"], known["PatientID"]) == (cli_data.NAME, "ZX81-4477")
    assert (known["PatientBirthDate"], known["AccessionNumber"]) == ("19111213", "ACC9182")
    assert known["path"].startswith("/ZX81-4477/20200102-101500/4-t1 hortensia 4")
    assert known["FrameOfReferenceUID"] == cli_data.FRAME
    assert shown["description"] == "t1 hortensia 4"
    assert f"PatientName {cli_data.NAME}" in lines(imd("info", "--identifiers", dynamic).stdout)


def test_info_of_one_series_and_an_order(two: Path) -> None:
    said = lines(imd("info", two, "--series", 5, "--order", "none").stdout)
    assert said[0] == "1 series 5 MR: t1 *** 5"
    assert "order none, 2 volumes" in said
    assert imd("info", two, "--series", "*TENSIA 4").stdout.count("series") == 1


def test_info_of_several_paths_is_one_source(tmp_path: Path) -> None:
    a, b = (cli_data.series(tmp_path / name, 4 + k) for k, name in enumerate("ab"))
    assert imd("info", a, b).stdout.count("series") == 2


def test_info_tells_stacks_apart(tmp_path: Path) -> None:
    def half(ds: Dataset, k: int) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M" if k < 3 else "P"]

    said = lines(imd("info", cli_data.series(tmp_path / "s", volumes=2, change=half)).stdout)
    assert [line for line in said if line.startswith("stack ")] == ["stack 0", "stack 1"]
    assert all("image type ORIGINAL\\PRIMARY\\" in line for line in said if line.startswith("kind "))


def test_info_of_a_series_that_cannot_be_an_image_tells_the_others(two: Path) -> None:
    next(two.glob("5-*")).unlink()
    result = imd("info", two)
    assert result.exit_code == 1
    assert "1 series 4 MR: t1 *** 4" in lines(result.stdout)
    assert result.stderr.startswith("imd: error: image 2 (5 MR t1 *** 5")
    assert "--missing fill" in result.stderr
    assert imd("info", two, "--missing", "fill").exit_code == 0
    assert len(json.loads(imd("info", "--json", two).stdout)["failed"]) == 1


def test_info_of_uneven_slices(tmp_path: Path) -> None:
    said = lines(imd("info", cli_data.series(tmp_path / "s", heights=(0, 4, 9))).stdout)
    assert "spacing slice uneven 4 to 5, row 2, col 2 mm" in said


def test_info_does_not_obey_control_characters(tmp_path: Path) -> None:
    def odd(ds: Dataset, k: int) -> None:
        ds.SeriesDescription = "t1 \x1b[31mred"

    out = imd("info", cli_data.series(tmp_path / "s", change=odd)).stdout
    assert "\x1b" not in out
    assert "red" in out


# --- convert -------------------------------------------------------------------------------------------------------


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


# --- the rest --------------------------------------------------------------------------------------------------------


def test_formats_are_listed() -> None:
    said = lines(imd("formats").stdout)
    assert any(line.startswith("dicom rw .dcm") for line in said)
    assert any(line.startswith("nifti rw .nii .nii.gz") for line in said)
    assert any(line.startswith("minc r .mnc") for line in said)
    assert [row["name"] for row in json.loads(imd("formats", "--json").stdout)] == sorted(imagedata_xr.formats())


def test_formats_tell_what_is_only_read_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seam, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    rows = {row["name"]: row for row in json.loads(imd("formats", "--json").stdout)}
    assert {name for name, row in rows.items() if not row["writes"]} == {"analyze", "minc", "pdf", "postscript"}
    assert rows["tiff"]["missing"] == "pip install 'imagedata-xr[tiff]'"
    assert rows["postscript"]["missing"] == "the program gs"
    assert rows["nifti"]["missing"] == ""
    assert any("missing: pip install 'imagedata-xr[pdf]'" in line for line in lines(imd("formats").stdout))


def test_extras_that_are_named_as_missing_are_there() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {form.needs.extra for form in imagedata_xr.formats().values() if hasattr(form, "needs")} - {""}
    assert named >= {"tiff", "pdf", "pictures", "zarr", "netcdf"}
    assert named <= set(project["optional-dependencies"])


def options_of(command: click.Command) -> Iterator[str]:
    """Every long option of a command and of those below it."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            yield from options_of(below)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (o for o in (*parameter.opts, *parameter.secondary_opts) if o.startswith("--"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_on_the_page(verb: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"imd {verb}" in text
    command = main.get_command(click.Context(main), verb)
    assert command is not None
    known = set(re.findall(r"--[a-z-]+", text))
    assert set(options_of(command)) - known == set()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("7.3", 7.3), ("true", True), ("False", False), ("40,400", (40, 400)), ("none", "none"),
        ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.5"), ("a,b", "a,b"), ('[{"number": 1}]', [{"number": 1}]), ("", ""),
    ],
)  # fmt: skip
def test_values_of_options(text: str, value: Any) -> None:
    found = keywords(click.Context(main), click.Option(["--option"]), [f"name={text}"])["name"]
    assert (found, type(found)) == (value, type(value))


def test_options_of_formats(dynamic: Path, tmp_path: Path, require_module: Any) -> None:
    require_module("PIL.Image")
    assert imd("convert", tmp_path / "a.mha", dynamic, "--option", "compress=9").exit_code == 0
    assert b"CompressedData = True" in (tmp_path / "a.mha").read_bytes()[:2000]
    pictures = tmp_path / "p"
    said = imd("convert", pictures / "a.png", dynamic, "--option", "window=10,20", "--option", "bits=16")
    assert "from 0 to 20 (the window asked for)" in said.stderr
    assert imd("convert", tmp_path / "b.mha", pictures, "--read-option", "volumes=2").exit_code == 0
    assert xr.open_dataarray(tmp_path / "b.mha", engine="imagedata").sizes["tag"] == 2
    wrong = imd("convert", tmp_path / "c.mha", dynamic, "--option", "compress")
    assert (wrong.exit_code, "NAME=VALUE" in wrong.stderr) == (2, True)
    wrong = imd("convert", tmp_path / "c.mha", dynamic, "--option", "squeeze=1")
    assert (wrong.exit_code, "unknown format_options" in wrong.stderr) == (1, True)
    assert not (tmp_path / "c.mha").exists()


def test_what_a_new_series_is_called(dynamic: Path, tmp_path: Path) -> None:
    words = ["--image-type", "DERIVED\\SECONDARY\\MEAN", "--units", "ms", "--set", "StudyDescription=new"]
    result = imd("convert", tmp_path / "out", dynamic, *words)
    assert result.exit_code == 0, result.stderr
    header = pydicom.dcmread(next(p for p in (tmp_path / "out").rglob("*") if p.is_file()))
    assert list(header.ImageType) == ["DERIVED", "SECONDARY", "MEAN"]


def test_identifiers_are_written_when_asked(dynamic: Path, tmp_path: Path) -> None:
    imd("convert", tmp_path / "a.mha", dynamic)
    imd("convert", tmp_path / "b.mha", dynamic, "--identifiers")
    name = str(pydicom.dcmread(next(iter(sorted(dynamic.iterdir())))).PatientID).encode()
    assert name not in (tmp_path / "a.mha").read_bytes()
    assert name in (tmp_path / "b.mha").read_bytes()


@pytest.mark.parametrize("kind", ["segmentation", "parametric_map"])
def test_kinds_of_dicom(kind: str, dynamic: Path, tmp_path: Path, require_module: Any, require_program: Any) -> None:
    require_module("highdicom")
    image = xr.open_dataarray(dynamic, engine="imagedata").isel(tag=[0])
    source = image >= image.median(["row", "col"]) if kind == "segmentation" else image / 3
    source.imd.write(tmp_path / "a.zarr")
    result = imd("convert", tmp_path / "out.dcm", tmp_path / "a.zarr", "--kind", kind)
    assert result.exit_code == 0, result.stderr
    (written,) = (p for p in [tmp_path / "out.dcm", *(tmp_path / "out.dcm").rglob("*")] if p.is_file())
    assert pydicom.dcmread(written).Modality == ("SEG" if kind == "segmentation" else "OT")
    judged = subprocess.run([str(require_program("dciodvfy")), "-new", str(written)], capture_output=True, text=True)
    assert "Error" not in judged.stderr
    back = xr.open_dataarray(written, engine="imagedata")
    want = source.values.squeeze()
    np.testing.assert_allclose(back.values.squeeze(), want, rtol=1e-6)


def test_version_and_help() -> None:
    assert imagedata_xr.__version__ in imd("--version").stdout
    for args in (["--help"], ["info", "-h"], ["convert", "--help"], ["formats", "--help"]):
        result = imd(*args)
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    "args",
    [["wibble"], ["info"], ["convert", "out"], ["info", "--missing", "no", "x"], ["convert", "--series-number", "x"]],
)
def test_a_wrong_command_line_is_2(args: Sequence[str]) -> None:
    result = imd(*args)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


@pytest.mark.parametrize("args", [["--series-number", "3"], []])
def test_all_into_a_file_or_under_one_number_is_a_wrong_command_line(two: Path, args: Sequence[str]) -> None:
    target = two.parent / ("out" if args else "a.nii")
    assert imd("convert", "--all", target, two, *args).exit_code == 2
    assert not target.exists()


def _pause(*_: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_is_130(dynamic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "__call__", _pause)
    result = imd("convert", tmp_path / "out", dynamic)
    assert (result.exit_code, result.stderr) == (130, "imd: interrupted\n")
    assert not (tmp_path / "out").exists()


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    assert "Traceback" not in imd("info", tmp_path / "none").stderr
    shown = imd("--debug", "info", tmp_path / "none")
    assert shown.exit_code == 1
    assert "Traceback" in shown.stderr


def test_a_bug_is_not_hidden(dynamic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reading, "source_name", broken)
    with pytest.raises(ZeroDivisionError):
        imd("info", dynamic)


def test_own_warnings_are_lines_and_others_are_quiet(dynamic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(source: Any) -> str:
        for _ in range(2):
            warnings.warn("odd, missing='drop' helps", ImagedataWarning, stacklevel=1)
            warnings.warn("of a library", UserWarning, stacklevel=1)
        return source_name(source)

    monkeypatch.setattr(reading, "source_name", warned)
    assert imd("info", dynamic).stderr == "imd: warning: odd, --missing drop helps\n"


def test_a_reader_that_goes_away_ends_it_quietly(dynamic: Path) -> None:
    code = "import sys; from imagedata_xr.cli import main; sys.argv[0] = 'imd'; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "info", str(dynamic)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert said == ""


def test_advice_is_in_options_of_the_command() -> None:
    assert in_options("series='t1 x', stack=1: try order='time,te'") == "--series 't1 x' --stack 1: try --order time,te"
    assert in_options("values of series=4, not others") == "values of --series 4, not others"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (999_999, "1 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


# --- who the patient is ----------------------------------------------------------------------------------------------


def _damage(folder: Path) -> Path:
    first = sorted(folder.iterdir())[0]
    first.write_bytes(first.read_bytes()[:600])
    return folder


def test_no_output_names_the_patient(two: Path, dynamic: Path, tmp_path: Path) -> None:
    def flat(ds: Dataset, k: int) -> None:
        ds.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]

    damaged = _damage(cli_data.series(tmp_path / "damaged", volumes=2))
    uneven = cli_data.series(tmp_path / "uneven", heights=(0, 4, 9))
    singular = cli_data.series(tmp_path / "singular", change=flat)
    runs: list[tuple[int, list[object]]] = [
        (0, ["info", two]),
        (0, ["info", "--json", two]),
        (0, ["info", singular]),
        (1, ["info", damaged]),
        (1, ["info", "--json", damaged]),
        (1, ["info", damaged, "--errors", "raise"]),
        (1, ["info", dynamic, "--order", "te,fa"]),
        (1, ["info", dynamic, "--order", "PatientID"]),
        (1, ["info", two, "--series", "77"]),
        (1, ["convert", tmp_path / "x", two]),
        (1, ["convert", tmp_path / "x", two, "--series", "5", "--stack", "8"]),
        (1, ["convert", tmp_path / "x.nii", uneven]),
        (1, ["convert", "--all", tmp_path / "y", uneven, "--format", "nifti"]),
        (0, ["convert", "--all", tmp_path / "z", two, "--progress"]),
        (0, ["convert", tmp_path / "v", dynamic, "--keep-uid"]),
        (1, ["convert", tmp_path / "w", uneven, "--keep-uid", "--order", "none", "--geometry", dynamic]),
        (0, ["convert", tmp_path / "u.nii", singular]),
    ]
    for code, args in runs:
        result = imd(*args)
        assert result.exit_code == code, (args, result.output)
        leaked = [word for word in cli_data.IDENTIFIERS if word in result.output.lower()]
        assert not leaked, (args, result.output)
        uids = [cli_data.STUDY, cli_data.FRAME]
        assert not [uid for uid in uids if uid in result.output], (args, result.output)
    names = [p.relative_to(tmp_path) for p in tmp_path.rglob("*")]
    assert not [p for p in names for word in cli_data.IDENTIFIERS if word in str(p).lower()]

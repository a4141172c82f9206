"""The command ``imd``: its options, exit codes and output, and that no output names the patient."""

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
from command import imd, lines
from pydicom.dataset import Dataset

import imagedata_xr
from imagedata_xr import ImagedataWarning
from imagedata_xr.cli import VERBS, main
from imagedata_xr.cli.sources import keywords
from imagedata_xr.cli.talk import Counter, in_options, size
from imagedata_xr.formats import reading, seam
from imagedata_xr.stores.url import source_name


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    return cli_data.series(tmp_path / "dynamic", volumes=2)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return cli_data.two_series(tmp_path / "two")


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


def _damage(folder: Path) -> Path:
    first = sorted(folder.iterdir())[0]
    first.write_bytes(first.read_bytes()[:600])
    return folder


# --- who the patient is ----------------------------------------------------------------------------------------------


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

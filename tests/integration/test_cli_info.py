"""The command ``imd info``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cli_data
import pytest
import xarray as xr
from command import imd, lines
from pydicom.dataset import Dataset


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    return cli_data.series(tmp_path / "dynamic", volumes=2)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return cli_data.two_series(tmp_path / "two")


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

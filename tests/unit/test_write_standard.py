"""What is written has the elements that its class demands, by dicom-validator and the tables of the standard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kinds
import pydicom
import pytest
import xarray as xr
from kinds import array, other, part
from phantoms import opened
from standard import Standard

from imagedata_xr.errors import FormatError

ALLOWED = "TagUnexpected"
"""Elements of no module of a class are allowed (PS3.4 B.3.1.1, a standard extended class): those of the source stay."""


@pytest.fixture(scope="module")
def faults(require_module: Callable[[str], Any]) -> Callable[[Any], set[tuple[str, str]]]:
    """Faults of a file but for elements beyond its class."""
    for package in ("highdicom", "dicom_validator"):
        require_module(package)
    judge = Standard()

    def found(path: Any) -> set[tuple[str, str]]:
        return {fault for fault in judge.faults(path) if fault[1] != ALLOWED}

    return found


def test_the_judge_finds_what_is_wrong(tmp_path: Path, faults: Callable[[Any], set[tuple[str, str]]]) -> None:
    (path, *_) = kinds.SOURCES["MR"](tmp_path)
    assert faults(path) == set()
    ds = pydicom.dcmread(path)
    del ds.ScanningSequence
    ds.SequenceVariant, ds.EchoTime = "", None
    ds.save_as(path)
    assert faults(path) == {("ScanningSequence", "TagMissing"), ("SequenceVariant", "TagEmpty")}


@pytest.mark.parametrize("kind", kinds.SOURCES)
def test_no_element_is_missing_that_the_source_had(
    kind: str, tmp_path: Path, faults: Callable[[Any], set[tuple[str, str]]]
) -> None:
    (tmp_path / "in").mkdir()
    files = kinds.SOURCES[kind](tmp_path / "in")
    image = opened(tmp_path / "in")
    same = image.imd.write(tmp_path / "same", format="dicom")
    assert faults(same.paths[0]) == faults(files[0])
    for name, change in {"part": part, "other": other}.items():
        try:
            done = change(image).imd.write(tmp_path / name, format="dicom")
        except FormatError:
            continue  # the table of classes says which
        assert faults(done.paths[0]) - faults(files[0]) == set()


@pytest.mark.parametrize(
    "how",
    [{}, {"sop_class": "MR"}, {"sop_class": "CT"}, {"sop_class": "PT"}, "segmentation", "parametric_map"],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_nothing_is_missing_in_what_is_made_from_an_array(
    how: Any, tmp_path: Path, faults: Callable[[Any], set[tuple[str, str]]]
) -> None:
    image: xr.DataArray = array("?" if how == "segmentation" else "f4")
    options = {"kind": how} if isinstance(how, str) else {"format_options": how}
    done = image.imd.write(tmp_path / "out", format="dicom", **options)
    assert faults(done.paths[0]) == set()


def test_a_legacy_source_is_not_flattened(tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    """References of functional groups to the images that were converted are none of the single images."""
    require_module("highdicom")
    kinds.SOURCES["Legacy Converted Enhanced MR"](tmp_path / "in")
    done = (opened(tmp_path / "in") * 2).imd.write(tmp_path / "out", format="dicom")
    ds = pydicom.dcmread(done.paths[0])
    assert "ReferencedSOPInstanceUID" not in ds
    assert "ReferencedSOPClassUID" not in ds

"""NIfTI: elements in the JSON beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from nifti_files import bare, content
from nifti_phantoms import read, series, write

from imagedata_xr.errors import FormatError, ImagedataWarning


def test_elements_there_and_back(tmp_path: Path) -> None:
    attrs = {
        "Modality": "MR",
        "Manufacturer": "GE",
        "ManufacturerModelName": "SIGNA",
        "MagneticFieldStrength": 3.0,
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SeriesDescription": "Ax T2 æøå",
        "InPlanePhaseEncodingDirection": "COL",
        "Rows": 5,
        "ReferencedImageSequence": "[{}]",
    }
    write(series(attrs=attrs), tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    assert side["ManufacturersModelName"] == "SIGNA"
    assert side["PhaseEncodingAxis"] == "j"
    back = read(tmp_path / "a.nii")
    assert back.attrs == {k: v for k, v in attrs.items() if k not in ("Rows", "ReferencedImageSequence")}


def test_description_and_units_asked_for(tmp_path: Path) -> None:
    write(series(), tmp_path / "a.nii", series_description="mean", units="ms")
    side = content(tmp_path / "a.nii")
    assert (side["SeriesDescription"], side["Units"]) == ("mean", "ms")


def test_identity_in_the_json_of_others_is_not_taken(tmp_path: Path) -> None:
    side = {"PatientName": "A^B", "SeriesInstanceUID": "1.2", "Modality": "MR", "EchoTime": 0.003}
    bare(tmp_path / "a.nii", side=side)
    assert read(tmp_path / "a.nii").attrs == {"Modality": "MR"}


@pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
def test_a_json_that_is_none(tmp_path: Path, text: str) -> None:
    bare(tmp_path / "a.nii")
    (tmp_path / "a.json").write_text(text)
    with pytest.warns(ImagedataWarning, match=r"a\.json is left out"):
        assert read(tmp_path / "a.nii").shape == (4, 3, 4, 5)


def test_lists_of_another_length_are_left_out(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", side={"EchoTime": [0.01, 0.02]})
    with pytest.warns(ImagedataWarning, match="EchoTime in the JSON sidecar has 2 numbers"):
        assert "echo_time" not in read(tmp_path / "a.nii").coords


def test_an_order_that_the_json_misspells(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", side={"VolumeOrder": "tme"})
    with pytest.warns(ImagedataWarning, match="VolumeOrder"):
        assert read(tmp_path / "a.nii").tag.attrs["order"] == "none"


def test_bad_form_is_refused_before_reading(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii")
    with pytest.raises(FormatError):
        read(tmp_path / "a.nii", format_options={"form": "x"})

"""What headers say of rows and columns, where these are others: phase encoding, samples, sides of the patient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import phantoms
import pydicom
import pytest
import xarray as xr

SAID = {"InPlanePhaseEncodingDirection": "COL", "AcquisitionMatrix": [0, 8, 6, 0], "PatientOrientation": ["L", "P"]}
SWAPPED = ("ROW", [8, 0, 0, 6], None)
KEPT = ("COL", [0, 8, 6, 0], None)
GONE = (None, None, None)
SAME = ("COL", [0, 8, 6, 0], ["L", "P"])
CODES = {"LPS": SAME, "RAS": KEPT, "LAI": KEPT, "PLS": SWAPPED, "ALI": SWAPPED, "LIP": GONE, "PIR": GONE}


def said(elements: Any) -> tuple[Any, ...]:
    values = (elements.get(keyword) for keyword in SAID)
    return tuple(list(v) if v is not None and not isinstance(v, str) else v for v in values)


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    phantoms.make(tmp_path / "in", phantoms.mr(shape=(2, 5, 6, 8), orientation=phantoms.OBLIQUE, elements=SAID))
    return phantoms.opened(tmp_path / "in")


@pytest.mark.parametrize("code", CODES)
def test_turned_images_say_what_is_true_of_them(code: str, image: xr.DataArray, tmp_path: Path) -> None:
    """By their own headers, which are those of the source's rows; and by their attrs, where no header is left."""
    out = image.imd.to_orientation(code) * 1.5
    assert said(out.attrs) == CODES[code]
    for name, subject in {"own": out, "attrs": out.drop_vars("instance", errors="ignore")}.items():
        ds = pydicom.dcmread(subject.imd.write(tmp_path / name, format="dicom").paths[0])
        assert said(ds) == CODES[code]
    assert said(image.attrs) == SAME


def test_a_template_and_a_grid_that_run_elsewhere(image: xr.DataArray, tmp_path: Path) -> None:
    turned = image.imd.to_orientation("PLS") * 1.5
    turned.imd.write(tmp_path / "pls.nii")
    assert json.loads((tmp_path / "pls.json").read_text())["PhaseEncodingAxis"] == "i"
    written = phantoms.opened(tmp_path / "pls.nii").imd.write(tmp_path / "out", format="dicom", template=image)
    assert said(pydicom.dcmread(written.paths[0])) == SWAPPED
    assert said(image.imd.interp_like(turned).attrs) == SWAPPED
    assert said(image.imd.interp_like(image.imd.to_orientation("LIP")).attrs) == GONE
    phantoms.make(tmp_path / "axial", phantoms.mr(shape=(2, 5, 6, 8)))
    assert said(image.imd.assign_grid(phantoms.opened(tmp_path / "axial")).attrs) == KEPT

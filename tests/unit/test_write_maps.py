"""Floats written as parametric maps: judged by highdicom and dciodvfy."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make, opened
from segmented import series

import imagedata_xr
from imagedata_xr.errors import FormatError, ImagedataWarning


@pytest.fixture(autouse=True)
def _highdicom(require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    """An oblique CT of 6 slices."""
    make(tmp_path / "ct", series())
    return opened(tmp_path / "ct")


ADC = {"label": "ADC", "quantity": ("113041", "DCM", "Apparent Diffusion Coefficient")}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_values_place_and_units_come_back(
    dtype: str, image: xr.DataArray, tmp_path: Path, require_program: Callable[[str], Path]
) -> None:
    import highdicom as hd

    values = (image.astype(dtype) * np.pi).where(image > -900)  # NaN too
    done = values.imd.write(tmp_path / "out", kind="parametric_map", units="um2/s", format_options=ADC)
    ds = pydicom.dcmread(done.paths[0])
    assert ("FloatPixelData" in ds, "DoubleFloatPixelData" in ds) == (dtype == "f4", dtype == "f8")
    volume = hd.imread(done.paths[0]).get_volume(apply_real_world_transform=False, apply_modality_transform=False)
    order = np.rint((np.linalg.inv(image.imd.affine) @ volume.affine @ [0, 0, 0, 1])[0])
    theirs = volume.array if order == 0 else volume.array[::-1]
    np.testing.assert_array_equal(theirs, values.values[0])
    back = opened(tmp_path / "out")
    np.testing.assert_array_equal(back.values, values.values)
    np.testing.assert_allclose(back.imd.affine, image.imd.affine, atol=1e-6)
    assert back.attrs["units"] == "um2/s"
    assert back.attrs["quantity"] == "Apparent Diffusion Coefficient"
    assert ds.PatientID == "P-1"
    program = require_program("dciodvfy")
    judged = subprocess.run([program, "-new", done.paths[0]], capture_output=True, text=True, check=False)
    assert [line for line in judged.stderr.splitlines() if line.startswith("Error")] == []


def test_units_of_the_image_are_those_of_the_map(image: xr.DataArray, tmp_path: Path) -> None:
    assert image.attrs["units"] == "HU"
    done = image.imd.write(tmp_path / "out", kind="parametric_map")
    mapping = pydicom.dcmread(done.paths[0]).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "[hnsf'U]"
    np.testing.assert_array_equal(opened(tmp_path / "out").values, image.values)


def test_without_a_source_it_is_valid(tmp_path: Path, require_program: Callable[[str], Path]) -> None:
    array = imagedata_xr.from_array(np.linspace(0, 1, 60).reshape(3, 4, 5), spacing=(2, 1, 1.5), position=(3, 4, 5))
    with pytest.warns(ImagedataWarning, match="patient of this image is not known"):
        done = array.imd.write(tmp_path / "out", kind="parametric_map")
    program = require_program("dciodvfy")
    judged = subprocess.run([program, "-new", done.paths[0]], capture_output=True, text=True, check=False)
    assert [line for line in judged.stderr.splitlines() if line.startswith("Error")] == []
    back = opened(tmp_path / "out")
    np.testing.assert_array_equal(back.values, array.values)
    np.testing.assert_allclose(back.imd.affine, array.imd.affine)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"units": "no such unit"}, "no code of UCUM"),
        ({"format_options": {"label": "a label that is too long"}}, "at most 16 characters"),
        ({"format_options": {"quantity": "nonsense"}}, "pydicom knows no such code"),
        ({"format_options": {"segments": [{}]}}, "segments are of a segmentation"),
        ({"keep_uid": True}, "keep_uid=True keeps images as they are"),
    ],
)
def test_what_can_not_be_said_is_refused(options: Any, text: str, image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=text):
        image.imd.write(tmp_path / "out", kind="parametric_map", **options)
    assert not (tmp_path / "out").exists()


def test_all_nan_and_complex_are_refused(image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="none of the values is finite"):
        (image * np.nan).imd.write(tmp_path / "out", kind="parametric_map")
    with pytest.raises(FormatError, match="write its parts as two maps"):
        (image * 1j).imd.write(tmp_path / "out", kind="parametric_map")


@pytest.mark.parametrize(
    ("source", "asked", "said"),
    [(None, None, "YES"), ("NO", None, "NO"), ("YES", None, "YES"), (None, False, "NO"), ("NO", True, "YES")],
)
def test_that_nobody_is_recognized_is_not_claimed_unless_it_is_said(
    source: str | None, asked: bool | None, said: str, tmp_path: Path
) -> None:
    elements = {} if source is None else {"RecognizableVisualFeatures": source}
    phantoms.make(tmp_path / "mr", phantoms.mr(elements=elements))
    done = (phantoms.opened(tmp_path / "mr") * 0.5).imd.write(
        tmp_path / "out", kind="parametric_map", format_options={} if asked is None else {"recognizable": asked}
    )
    assert pydicom.dcmread(done.paths[0]).RecognizableVisualFeatures == said

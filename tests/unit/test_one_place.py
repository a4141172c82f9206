"""Multi-frame instances that have one position for all their frames: volumes of converters, and what only looks so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gamma_camera import AXIAL, CORNER, OBLIQUE, detector, first, image, nuclear
from phantoms import opened
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from imagedata_xr.errors import ImagedataWarning

CT, WORDS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7.3"


def several(folder: Path, sop_class: str = CT, **elements: Any) -> Path:
    """Four frames without vectors, of an instance with one position."""
    ds = nuclear("AXIAL", {"SliceVector": [1, 2, 3, 4]})
    for keyword in ("SliceVector", "FrameIncrementPointer"):
        delattr(ds, keyword)
    ds.SOPClassUID, ds.Modality = UID(sop_class), "OT"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = CORNER.tolist(), list(OBLIQUE)
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    image_file = folder / "a.dcm"
    image_file.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(image_file, enforce_file_format=True)
    return folder


@pytest.mark.parametrize("sop_class", [CT, WORDS])
def test_frames_with_a_spacing_are_slices_and_that_is_said(
    sop_class: str, require_module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    itk = require_module("SimpleITK")
    folder = several(tmp_path, sop_class, SpacingBetweenSlices="3.5")
    with pytest.warns(ImagedataWarning, match=r"taken for slices, 3.5 mm \(SpacingBetweenSlices\) apart"):
        a = opened(folder)
    assert a.shape[:2] == (1, 4)
    assert first(a) == [0, 1, 2, 3]
    np.testing.assert_allclose(a.imd.affine[:3, 3], CORNER)
    np.testing.assert_allclose(a.imd.affine[:3, 0], 3.5 * np.cross(OBLIQUE[:3], OBLIQUE[3:]), atol=1e-12)
    if sop_class == CT:  # ITK takes no position of a secondary capture
        other = itk.ReadImage(str(folder / "a.dcm"))
        pixels = itk.GetArrayFromImage(other)
        for at in [(0, 0, 0), (3, 0, 0), (2, 4, 5)]:
            col, row, number = other.TransformPhysicalPointToIndex((a.imd.affine @ [*at, 1])[:3].tolist())
            assert pixels[number, row, col] == a.values[(0, *at)]


def test_frames_without_a_spacing_lie_nowhere_and_that_is_said(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="which place each frame has can't be told"):
        a = opened(several(tmp_path, SliceThickness="3"))
    assert a.shape[:2] == (4, 1)
    assert first(a) == [0, 1, 2, 3]
    assert "geometry" not in a.coords
    assert "ImagePositionPatient" not in a.attrs
    assert a.attrs["PixelSpacing"] == [4, 5]


@pytest.mark.parametrize("change", [False, True])
def test_what_lies_nowhere_is_not_written_to_one_place(change: bool, tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="can't be told"):
        a = opened(several(tmp_path / "in"))
    (2 * a if change else a).imd.write(tmp_path / "out")
    b = opened(tmp_path / "out") if change else a
    assert b.shape[:2] == (4, 1)
    assert "geometry" not in b.coords


def test_times_make_a_cine_of_one_place(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    a = opened(several(tmp_path, FrameTime="100", FrameIncrementPointer=0x00181063, SpacingBetweenSlices="3.5"))
    assert a.shape[:2] == (4, 1)
    np.testing.assert_allclose(a.tag, [0, 0.1, 0.2, 0.3])
    assert "geometry" in a.coords
    assert not [w for w in recwarn if issubclass(w.category, ImagedataWarning)]


# --- nuclear medicine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detectors", [False, True])
def test_the_position_of_the_instance_stands_in_for_that_of_a_detector(detectors: bool, tmp_path: Path) -> None:
    """Some write it outside of the Detector Information Sequence: five slices are not one place then."""
    ds = nuclear("RECON TOMO", {"SliceVector": [1, 2, 3]}, SpacingBetweenSlices="4")
    ds.ImagePositionPatient, ds.ImageOrientationPatient = CORNER.tolist(), list(AXIAL)
    if detectors:
        ds.DetectorInformationSequence = Items([detector()])
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
            delattr(ds.DetectorInformationSequence[0], keyword)
    a = image(ds, tmp_path)
    assert first(a) == [0, 1, 2]
    assert a.slice.values.tolist() == [30, 34, 38]


def test_projections_lie_nowhere_whatever_the_instance_says(tmp_path: Path) -> None:
    ds = nuclear("TOMO", {"RotationVector": [1, 1, 1], "AngularViewVector": [1, 2, 3]})
    ds.ImagePositionPatient, ds.ImageOrientationPatient = CORNER.tolist(), list(AXIAL)
    a = image(ds, tmp_path)
    assert a.shape[:2] == (3, 1)
    assert "geometry" not in a.coords


def test_a_vector_that_is_missing_is_said(tmp_path: Path) -> None:
    ds = nuclear("RECON TOMO", {"SliceVector": [1, 2, 3]}, DetectorInformationSequence=Items([detector()]))
    del ds.SliceVector
    with pytest.warns(ImagedataWarning, match="numbered by SliceVector, which is missing"):
        a = image(ds, tmp_path)
    assert "geometry" not in a.coords

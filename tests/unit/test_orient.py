"""Axes of an image along the patient, judged by SimpleITK, nibabel and a phantom whose values are its coordinates."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from linear import oblique

import imagedata_xr
from imagedata_xr import GeometryError, GridError

CODES = ["".join(p) for axes in permutations(["LR", "PA", "SI"]) for p in product(*axes)]


def phantom(direction: Any = None, volumes: int = 2, dims: tuple[int, int, int] = (3, 4, 5)) -> xr.DataArray:
    """Image whose values are 2 x - 3 y + 5 z of their own position (LPS mm), more in later volumes."""
    a = imagedata_xr.from_array(
        np.zeros((volumes, *dims)), spacing=(4.0, 1.5, 1.25), position=(-10.5, 7.25, 33.0), direction=direction,
        order="te", tags=np.arange(volumes),
    )  # fmt: skip
    out: xr.DataArray = a + expected(a) + 100 * a.tag
    return out


def expected(a: xr.DataArray) -> Any:
    p = a.imd.patient_coords()
    return (2 * p.x - 3 * p.y + 5 * p.z).reset_coords(drop=True)


@pytest.mark.parametrize("code", CODES)
def test_each_orientation_is_that_of_simpleitk(code: str, require_module: Any) -> None:
    sitk = require_module("SimpleITK")
    a = phantom(oblique(17.0))
    b = a.imd.to_orientation(code)
    assert b.imd.orientation == code
    assert b.dims == ("tag", "slice", "row", "col")
    np.testing.assert_allclose(b - 100 * b.tag, expected(b).broadcast_like(b), atol=1e-6)
    affine = a.imd.affine
    itk = sitk.GetImageFromArray(a.isel(tag=0).values)
    step = np.linalg.norm(affine[:3, :3], axis=0)
    itk.SetSpacing(step[::-1].tolist())
    itk.SetDirection((affine[:3, :3] / step)[:, ::-1].ravel().tolist())
    itk.SetOrigin(affine[:3, 3].tolist())
    judge = sitk.DICOMOrient(itk, code)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(judge), b.isel(tag=0).values)
    np.testing.assert_allclose(judge.GetOrigin(), b.imd.affine[:3, 3], atol=1e-9)
    assert "".join(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(judge.GetDirection())) == code


@settings(deadline=None)
@given(angles=st.tuples(*[st.floats(-180, 180)] * 3), code=st.sampled_from(CODES))
@example(angles=(134.0, -3.0, 134.0), code="LPS")
@example(angles=(0.0, 0.0, 45.0), code="PIR")
def test_no_voxel_moves(angles: tuple[float, float, float], code: str) -> None:
    from scipy.spatial.transform import Rotation

    d = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, [2, 1, 0]]
    d = d if np.linalg.det(d[:, ::-1]) > 0 else d * [-1, 1, 1]
    a = phantom(d, volumes=1)
    b = a.imd.to_orientation(code)
    np.testing.assert_allclose(b - 100 * b.tag, expected(b).broadcast_like(b), atol=1e-6)
    np.testing.assert_allclose(b.imd.to_orientation(a.imd.orientation).imd.affine, a.imd.affine, atol=1e-9)
    letters = b.imd.orientation
    cosines = b.imd.direction[:, ::-1].T
    # the letters are the best assignment that nibabel finds too, away from the ties
    if np.sort(np.abs(cosines).ravel())[-3] > 0.75:
        from nibabel.orientations import aff2axcodes

        assert letters == code == "".join(aff2axcodes(b.imd.affine_ras))  # type: ignore[no-untyped-call]


def test_a_tilted_image_keeps_its_shear() -> None:
    tilt = oblique(0.0, tilt=15.0)
    a = phantom(tilt)
    b = a.imd.to_orientation("LSA")
    np.testing.assert_allclose(b - 100 * b.tag, expected(b).broadcast_like(b), atol=1e-6)


def test_planes_keep_their_headers_where_the_slices_stay(tmp_path: Path) -> None:
    phantoms.make(tmp_path, phantoms.mr(shape=(2, 4, 6, 8)))
    a = phantoms.opened(tmp_path)
    flipped = a.imd.to_orientation("RAI")
    np.testing.assert_array_equal(flipped.instance, a.instance[:, ::-1])
    assert int(flipped.patient) == int(a.patient)
    coronal = a.imd.to_orientation("LIP")
    assert "instance" not in coronal.coords
    assert "slice_time" not in coronal.coords
    assert coronal.attrs == a.attrs
    with pytest.raises(GridError):
        a - flipped


def test_itself_where_it_lies_so(tmp_path: Path) -> None:
    a = phantom()
    xr.testing.assert_identical(a.imd.to_orientation("lph"), a)
    assert a.isel(row=slice(None, None, -1)).imd.orientation == "LAS"
    single = a.isel(tag=0, slice=1)
    b = single.imd.to_orientation("PIR")
    assert b.dims == ("slice", "row", "col")
    assert float(b.tag) == 0
    np.testing.assert_allclose(b, expected(b), atol=1e-6)


@pytest.mark.parametrize("code", ["LP", "LPP", "XYZ", "LPSA", "LRS"])
def test_other_words_are_refused(code: str) -> None:
    with pytest.raises(GeometryError, match="three letters"):
        phantom().imd.to_orientation(code)


def test_files_have_the_orientation_asked_for(tmp_path: Path, require_module: Any) -> None:
    sitk = require_module("SimpleITK")
    phantoms.make(tmp_path / "in", phantoms.mr(shape=(1, 4, 6, 8), orientation=phantoms.OBLIQUE))
    a = phantoms.opened(tmp_path / "in")
    for code in ("RAS", "LIP", "PIR"):
        b = a.imd.to_orientation(code)
        b.imd.write(tmp_path / code)
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / code))
        image = sitk.ReadImage(names)
        assert sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection()) == code
        np.testing.assert_allclose(sitk.GetArrayFromImage(image), b.isel(tag=0).values, rtol=1e-3, atol=1e-3)
        again = phantoms.opened(tmp_path / code)
        np.testing.assert_allclose(again.imd.affine, b.imd.affine, atol=1e-6)
        path = tmp_path / f"{code}.nii"
        b.imd.write(path)
        np.testing.assert_allclose(phantoms.opened(path).imd.interp_like(b), b, rtol=1e-3, atol=1e-2)

"""Resampling in patient space, judged by SimpleITK and by a phantom whose values are its coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import xarray as xr
from numpy.typing import NDArray

import imagedata_xr
from imagedata_xr import GeometryError, GridError, LabelError


def rotation(angles: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    from scipy.spatial.transform import Rotation

    d = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, [2, 1, 0]]
    return d if np.cross(d[:, 2], d[:, 1]) @ d[:, 0] > 0 else d * [-1, 1, 1]


def phantom(
    shape: tuple[int, int, int], spacing: tuple[float, ...], angles: tuple[float, float, float]
) -> xr.DataArray:
    """Two volumes whose values are 2 x - y + 0.5 z + 7 of their own position, and twice that."""
    d = rotation(angles)
    position = -d @ (np.array(spacing) * (np.array(shape) - 1) / 2)
    a = imagedata_xr.from_array(
        np.zeros((2, *shape)), spacing=spacing, position=position, direction=d, order="te", tags=[5, 9]
    )
    p = a.imd.patient_coords()
    values = 2 * p.x - p.y + 0.5 * p.z + 7
    out: xr.DataArray = a + (values * xr.DataArray([1.0, 2.0], dims="tag")).transpose("tag", *values.dims).values
    return out


@pytest.mark.parametrize("chunked", [False, True])
def test_linear_resampling_of_a_linear_phantom_is_exact_inside(chunked: bool) -> None:
    a = phantom((12, 20, 24), (2.5, 1.5, 1.0), (10, 20, 30))
    b = phantom((5, 7, 6), (2.0, 2.0, 2.0), (-15, 5, 40))
    out = (a.chunk(tag=1) if chunked else a).imd.interp_like(b)
    assert (out.chunks is not None) == chunked
    np.testing.assert_allclose(out.values, b.values, atol=1e-9)
    np.testing.assert_allclose(out.imd.affine, b.imd.affine, atol=1e-12)
    assert out.tag.values.tolist() == [5, 9]
    (out - b).load()  # they lie on one grid


def test_outside_is_nan_and_the_border_reaches_half_a_voxel() -> None:
    a = imagedata_xr.from_array(np.ones((4, 4, 4)), spacing=(1, 1, 1))
    b = imagedata_xr.from_array(
        np.ones((14, 1, 1)), spacing=(0.5, 1, 1), position=(1, 1, -2), direction=np.eye(3)[[2, 1, 0]]
    )
    out = a.imd.interp_like(b).values.ravel()
    z = -2 + 0.5 * np.arange(14)
    np.testing.assert_array_equal(np.isnan(out), (z < -0.5) | (z > 3.5))


def itk(image: xr.DataArray, k: int, sitk: Any) -> Any:
    """Volume k as an image of SimpleITK."""
    out = sitk.GetImageFromArray(np.ascontiguousarray(image.values[k]))
    affine = image.imd.affine
    out.SetOrigin(affine[:3, 3].tolist())
    out.SetSpacing(image.imd.spacing[::-1].tolist())
    out.SetDirection((affine[:3, :3] / image.imd.spacing)[:, ::-1].ravel().tolist())
    return out


@pytest.mark.parametrize("method", ["linear", "nearest", "cubic"])
def test_simpleitk_agrees(method: str, require_module: Any) -> None:
    sitk = require_module("SimpleITK")
    rng = np.random.default_rng(3)
    a, b = phantom((9, 14, 11), (3.0, 1.2, 1.4), (5, -25, 10)), phantom((10, 13, 17), (2.2, 1.1, 0.9), (0, 30, -12))
    a = a.copy(data=rng.normal(size=a.shape))

    how = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor, "cubic": sitk.sitkBSpline}[method]
    mine = a.imd.interp_like(b, method=method).values
    for k in range(2):
        theirs = sitk.GetArrayFromImage(sitk.Resample(itk(a, k, sitk), itk(b, k, sitk), sitk.Transform(), how, np.nan))
        np.testing.assert_array_equal(np.isnan(mine[k]), np.isnan(theirs))
        np.testing.assert_allclose(mine[k], theirs, atol=1e-6)


def test_other_frame_of_reference_is_refused() -> None:
    a = imagedata_xr.from_array(np.ones((2, 2, 2)), spacing=(1, 1, 1))
    named = [a.assign_coords(geometry=a.geometry.assign_attrs(frame_of_reference=uid)) for uid in ("1.2", "1.3")]
    plain = [x.drop_indexes(["slice", "row", "col"]) for x in named]
    with pytest.raises(GridError, match="frames of reference differ"):
        plain[0].imd.interp_like(plain[1])


def test_a_registration_takes_the_place_of_a_shared_frame_of_reference(require_module: Any) -> None:
    """Judged by SimpleITK, whose transforms take points of the result to points of what is resampled, in LPS mm too."""
    sitk = require_module("SimpleITK")
    a, b = phantom((9, 14, 11), (3.0, 1.2, 1.4), (5, -25, 10)), phantom((10, 13, 17), (2.2, 1.1, 0.9), (0, 30, -12))
    a, b = (
        x.assign_coords(geometry=x.geometry.assign_attrs(frame_of_reference=uid)).drop_indexes(["slice", "row", "col"])
        for x, uid in ((a, "1.2"), (b, "1.3"))
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((3, -4, 6))[:, ::-1] * [1.05, 1, 0.95]
    matrix[:3, 3] = 1.5, -2, 0.75
    moved = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    mine = a.imd.interp_like(b, transform=matrix)
    assert mine.imd.frame_of_reference == "1.3"
    assert 100 < np.isfinite(mine.values[0]).sum() < mine[0].size
    theirs = sitk.GetArrayFromImage(sitk.Resample(itk(a, 0, sitk), itk(b, 0, sitk), moved, sitk.sitkLinear, np.nan))
    np.testing.assert_array_equal(np.isnan(mine.values[0]), np.isnan(theirs))
    np.testing.assert_allclose(mine.values[0], theirs, atol=1e-6)
    p = b.imd.patient_coords()  # by the formula: the values are linear in the place
    x, y, z = np.tensordot(matrix[:3, :3], np.stack([p.x, p.y, p.z]), 1) + matrix[:3, 3][:, None, None, None]
    there = np.isfinite(mine.values[1])
    inside = there & np.isfinite(a.isel(slice=slice(1, -1), row=slice(1, -1), col=slice(1, -1)).imd.interp_like(
        b, transform=matrix).values[1])  # fmt: skip
    np.testing.assert_allclose(mine.values[1][inside], (2 * (2 * x - y + 0.5 * z + 7))[inside], atol=1e-9)


def along(image: xr.DataArray) -> NDArray[np.float64]:
    """Distance of each voxel from the origin along the gradient of its volume, mm."""
    p = image.imd.patient_coords()
    return np.asarray(np.tensordot(image.imd.bvecs, np.stack([p.x, p.y, p.z]), 1))


@pytest.mark.parametrize("chunked", [False, True])
def test_directions_turn_with_the_patient(chunked: bool, tmp_path: Path) -> None:
    gradients = np.array([[1, 0, 0], [0, 0.6, 0.8], [-0.48, 0.64, -0.6]])
    series = phantoms.mr(shape=(3, 12, 20, 24), volumes=phantoms.diffusion([1000] * 3, gradients.tolist()))
    phantoms.make(tmp_path, series)
    a = phantoms.opened(tmp_path, order="dti")
    a = a.copy(data=along(a))
    a.attrs |= {"phase_encoding_direction": [0.0, 1.0, 0.0], "phase_encoding_bandwidth": 20.0}
    b = a.isel(tag=0, slice=slice(5, 7), row=slice(8, 12), col=slice(10, 14))
    middle = b.imd.affine @ [*(np.array(b.shape) / 2), 1]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((20, -35, 10))[:, ::-1]
    matrix[:3, 3] = middle[:3] - matrix[:3, :3] @ middle[:3]
    out = (a.chunk(tag=1) if chunked else a).imd.interp_like(b, transform=matrix)
    shift = (gradients @ matrix[:3, 3])[:, None, None, None]
    np.testing.assert_allclose(out.values, along(out) + shift, atol=1e-4)
    assert np.abs(out.imd.bvecs - gradients).max() > 0.3
    np.testing.assert_allclose(out.attrs["phase_encoding_direction"], matrix[:3, :3].T @ [0, 1, 0], atol=1e-5)
    assert out.attrs["phase_encoding_bandwidth"] == 20
    with pytest.raises(GridError):  # the index knows them: other directions are other volumes
        out - a.imd.interp_like(b, transform=np.eye(4))


def test_a_scaled_patient_has_another_bandwidth() -> None:
    a = phantom((5, 7, 6), (2.0, 2.0, 2.0), (0, 0, 0))
    a.attrs |= {"phase_encoding_bandwidth": 20.0}
    twice = np.diag([2.0, 2, 2, 1])
    assert "phase_encoding_bandwidth" not in a.imd.interp_like(a, transform=twice).attrs  # along which direction?
    a.attrs["phase_encoding_direction"] = [0.0, -1.0, 0.0]
    out = a.imd.interp_like(a, transform=np.diag([1.0, 2, 1, 1]))
    assert out.attrs["phase_encoding_bandwidth"] == 40  # 1 mm of the result is 2 mm of the image
    assert out.attrs["phase_encoding_direction"] == [0.0, -1.0, 0.0]


@pytest.mark.parametrize(
    "matrix", [np.eye(3), np.diag([1, 1, 0, 1]), np.full((4, 4), np.nan), np.eye(4) + np.eye(4)[[3, 2, 1, 0]], "rigid"]
)
def test_what_is_no_registration_is_refused(matrix: Any) -> None:
    a = imagedata_xr.from_array(np.ones((2, 2, 2)), spacing=(1, 1, 1))
    with pytest.raises(GeometryError, match="transform"):
        a.imd.interp_like(a, transform=matrix)


def test_integers_are_not_mixed() -> None:
    a = imagedata_xr.from_array(np.ones((2, 2, 2), dtype=np.uint8), spacing=(1, 1, 1))
    with pytest.raises(LabelError, match="nearest"):
        a.imd.interp_like(a)
    assert a.imd.interp_like(a, method="nearest").values.min() == 1


@pytest.mark.parametrize(("method", "lost"), [("nearest", 1), ("linear", 1), ("cubic", 27)])
def test_one_nan_does_not_spread(method: str, lost: int) -> None:
    """A spline through all voxels would be NaN everywhere; weights of 0 times NaN are NaN too."""
    a = phantom((9, 10, 11), (2, 1, 1.5), (0, 0, 0))
    holed = a.copy()
    holed[:, 4, 5, 6] = np.nan
    out = holed.imd.interp_like(a, method=method)
    assert np.isnan(out.values).sum() == 2 * lost
    np.testing.assert_allclose(out.values, np.where(np.isnan(out.values), np.nan, a.values), atol=2e-2)


def test_half_a_voxel_beside_a_nan_is_nan_with_linear_weights() -> None:
    a = imagedata_xr.from_array(np.arange(8.0).reshape(1, 1, 1, 8), spacing=(1, 1, 1))
    b = imagedata_xr.from_array(np.zeros((1, 1, 1, 15)), spacing=(1, 1, 0.5))
    out = a.where(a != 3).imd.interp_like(b).values.ravel()
    np.testing.assert_array_equal(np.isnan(out), np.isin(np.arange(15), [5, 6, 7]))


def test_colours_stay_the_last_dim() -> None:
    values = np.random.default_rng(1).integers(0, 255, (1, 3, 4, 5, 3), dtype=np.uint8)
    a = imagedata_xr.from_array(values, dims=("tag", "slice", "row", "col", "rgb"), spacing=(1, 1, 1))
    out = a.imd.interp_like(a, method="nearest")
    assert out.dims == a.dims
    np.testing.assert_array_equal(out.values, values)


@pytest.mark.parametrize("axes", [("row",), ("slice", "col"), ("slice", "row", "col")])
def test_the_result_runs_as_the_other_image_does(axes: tuple[str, ...]) -> None:
    a, b = phantom((12, 20, 24), (2.5, 1.5, 1.0), (10, 20, 30)), phantom((5, 7, 6), (2.0, 2.0, 2.0), (-15, 5, 40))
    other = b.isel({n: slice(None, None, -1) for n in axes})
    out = a.isel(row=slice(None, None, -1)).imd.interp_like(other)
    for name in ("slice", "row", "col"):
        np.testing.assert_array_equal(out[name].values, other[name].values)
    np.testing.assert_allclose(out.values, other.values, atol=1e-9)

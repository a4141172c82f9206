"""NIfTI: b-values and diffusion directions beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from nifti_files import bare, content, dt
from nifti_phantoms import AXIAL, DIRECTIONS, OBLIQUE, read, rotation, series, write
from numpy.typing import NDArray

from imagedata_xr.errors import ImagedataWarning, SortError, SourceError
from imagedata_xr.formats.gradients import from_bvecs, to_bvecs


def unit_vectors(count: int, seed: int = 5) -> NDArray[np.float64]:
    """Random directions."""
    v = np.random.default_rng(seed).normal(size=(count, 3))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def diffusion(direction: NDArray[np.float64] = OBLIQUE, order: str = "dti") -> tuple[xr.DataArray, NDArray[np.float64]]:
    """Image with b-values and directions in LPS."""
    g = unit_vectors(5)
    g[0] = 0
    coords = {
        "b_value": (("tag",), [0.0, 1000, 1000, 997.5, 1000]),
        **{f"b_vector_{x}": (("tag",), g[:, k]) for k, x in enumerate("xyz")},
    }
    return series(np.arange(5.0), order=order, units="1", coords=coords, direction=direction), g


@pytest.mark.parametrize("name", [n for n in DIRECTIONS if n != "sheared"])
def test_bvecs_by_the_rule_of_the_image_axes(tmp_path: Path, name: str) -> None:
    d = DIRECTIONS[name]
    image, g = diffusion(d)
    write(image, tmp_path / "a.nii")
    assert (tmp_path / "a.bval").read_text() == "0 1000 1000 997.5 1000\n"
    b = np.loadtxt(tmp_path / "a.bvec")
    r, c = d[:, 2], d[:, 1]
    np.testing.assert_allclose(b, [g @ r, -(g @ c), g @ np.cross(r, c)], atol=1e-6)


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.filterwarnings("ignore:the slices are not perpendicular")
def test_directions_come_back(tmp_path: Path, name: str) -> None:
    image, g = diffusion(DIRECTIONS[name])
    write(image, tmp_path / "a.nii.gz")
    back = read(tmp_path / "a.nii.gz")
    assert back.tag.attrs["order"] == "dti"
    assert back.tag.values.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(np.stack([back[f"b_vector_{x}"] for x in "xyz"], axis=1), g, atol=1e-6)
    np.testing.assert_array_equal(back.b_value, image.b_value)
    assert float(abs(back - image).max()) == 0  # b-values and directions are compared by the index


@given(st.integers(0, 10_000), st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_bvecs_of_any_affine(seed: int, flips: tuple[int, int, int]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = rotation(seed) * np.array(flips) * [1.5, 2, 3]
    g = unit_vectors(6, seed)
    b = to_bvecs(g, affine)
    # FSL: voxel axes, with the first one turned around where the determinant is positive (neurological storage)
    world = affine[:3, :3] / [1.5, 2, 3]
    expected = np.linalg.inv(world) @ (g * [-1, -1, 1]).T
    if np.linalg.det(affine[:3, :3]) > 0:
        expected[0] *= -1
    np.testing.assert_allclose(b, expected.T, atol=1e-9)
    np.testing.assert_allclose(from_bvecs(b, affine), g, atol=1e-9)


def test_columns_and_lengths_of_bvecs(tmp_path: Path) -> None:
    image, g = diffusion(AXIAL)
    write(image, tmp_path / "a.nii")
    b = np.loadtxt(tmp_path / "a.bvec")
    np.savetxt(tmp_path / "a.bvec", 2 * b.T)
    back = read(tmp_path / "a.nii")
    np.testing.assert_allclose(np.stack([back[f"b_vector_{x}"] for x in "xyz"], axis=1), g, atol=1e-6)


def test_bvector_sorts_by_b_value(tmp_path: Path) -> None:
    image, _ = diffusion()
    write(image.isel(tag=[2, 0, 1, 4, 3]), tmp_path / "a.nii")
    back = read(tmp_path / "a.nii", order="bvector")
    assert back.b_value.values.tolist() == [0, 997.5, 1000, 1000, 1000]
    assert back.tag.values.tolist() == [0, 1, 2, 3, 4]
    b = read(tmp_path / "a.nii", order="b")
    assert b.tag.values.tolist() == [0, 997.5, 1000, 1000, 1000]


def test_volumes_of_equal_b_value_stay_in_their_sequence(tmp_path: Path) -> None:
    coords = {"b_value": (["tag"], np.array([0.0, 500, 500])), "b_vector_x": (["tag"], np.array([0.0, 1, 0]))}
    coords |= {"b_vector_y": (["tag"], np.array([0.0, 0, 1])), "b_vector_z": (["tag"], np.zeros(3))}
    for order in ("bvector", "dti", "none"):
        image = series([0.0, 1, 2], order=order, units="1", coords=coords)
        write(image, tmp_path / "a.nii", overwrite=True)
        back = read(tmp_path / "a.nii")
        assert back.tag.attrs["order"] == order
        np.testing.assert_array_equal(back.values, image.values)


def test_labels_without_a_word_of_bids_come_back(tmp_path: Path) -> None:
    coords = {
        "my_number": (["tag"], np.array([1 / 3, np.nan, 2, 5])), "of_slices": (["slice"], np.array([4.0, 5, 6])),
        "inversion_time": (["tag", "slice"], np.arange(12.0).reshape(4, 3)),
        "slice_time": (["tag", "slice"], np.random.default_rng(0).random((4, 3))),
    }  # fmt: skip
    image = series([7.5, 2.5, 0, 5], coords=coords)  # read sorted by time
    write(image, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    assert back.tag.values.tolist() == [0, 2.5, 5, 7.5]
    for name in coords:
        np.testing.assert_array_equal(back[name].values, image.sortby("tag")[name].values)
    b = {"b_value": (["tag"], np.array([0.0, 500, 900])), "time": (["tag"], np.array([0.0, 2, 5]))}
    write(series([0.0, 1, 2], order="dti", units="1", coords=b | {"repetition_time": ([], 900.0)}), tmp_path / "b.nii")
    assert read(tmp_path / "b.nii").time.values.tolist() == [0, 2, 5]


@pytest.mark.parametrize("value", [3, {"x": [1, 2]}, {"x": "abcd"}, {"x": [[1, 2]] * 4}, {"tag": [1, 2, 3, 4]}])
def test_labels_that_do_not_fit_are_left_out(value: Any, tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", 2.0, side={"VolumeLabels": value})
    if value == 3:
        assert "x" not in read(tmp_path / "a.nii").coords
        return
    with pytest.warns(ImagedataWarning, match="does not fit"):
        assert "x" not in read(tmp_path / "a.nii").coords


def test_repetition_time_of_diffusion(tmp_path: Path) -> None:
    image, _ = diffusion()
    write(image.assign_coords(repetition_time=3000.0), tmp_path / "a.nii")
    assert content(tmp_path / "a.nii")["RepetitionTime"] == 3
    assert dt(tmp_path / "a.nii") == 3
    assert float(read(tmp_path / "a.nii").repetition_time) == 3000


def test_b_values_that_do_not_fit(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii")
    (tmp_path / "a.bval").write_text("0 1 2\n")
    with pytest.raises(SortError, match="3 b-values"):
        read(tmp_path / "a.nii")
    with pytest.warns(ImagedataWarning, match="left out"):
        assert "b_value" not in read(tmp_path / "a.nii", order="none").coords
    (tmp_path / "a.bval").write_text("0 1 x 4\n")
    with pytest.raises(SourceError, match="rows of numbers"):
        read(tmp_path / "a.nii", order="none")


@pytest.mark.filterwarnings("ignore:the image has no place")
def test_directions_without_geometry_are_not_written(tmp_path: Path) -> None:
    image, _ = diffusion()
    flat = image.drop_indexes(["slice", "row", "col"]).drop_vars("geometry")
    with pytest.warns(ImagedataWarning, match="directions are not written"):
        write(flat, tmp_path / "a.nii")
    assert not (tmp_path / "a.bvec").exists()
    assert (tmp_path / "a.bval").exists()


def test_labels_that_are_not_numbers_are_said_to_be_left_out(tmp_path: Path) -> None:
    image, _ = diffusion()
    b = image.b_value.values.copy()
    b[2] = np.nan
    with pytest.warns(ImagedataWarning, match="b_value"):
        write(image.assign_coords(b_value=("tag", b)), tmp_path / "a.nii")
    assert not (tmp_path / "a.bval").exists()

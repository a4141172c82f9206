"""NIfTI: every voxel stays where it is in the patient."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nifti_phantoms import AXIAL, DIRECTIONS, OBLIQUE, SHEARED, coordinates, positions, read, rotation, write
from numpy.typing import NDArray

from imagedata_xr.errors import FormatError, GeometryError, ImagedataWarning, SourceError
from imagedata_xr.model.geometry import AXES
from imagedata_xr.model.image import space_of


def ras_of_voxels(img: Any) -> NDArray[np.float64]:
    """RAS of each voxel of a nibabel image, shape (i, j, k, 3)."""
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in img.shape[:3]), indexing="ij"), axis=-1)
    return np.asarray(ijk @ img.affine[:3, :3].T + img.affine[:3, 3])


@pytest.fixture(autouse=True)
def _no_shear_warning(request: pytest.FixtureRequest) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the slices are not perpendicular")
        yield


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nibabel_finds_each_voxel_at_its_place(tmp_path: Path, name: str, suffix: str) -> None:
    write(coordinates(DIRECTIONS[name]), tmp_path / f"a{suffix}")
    img: Any = nib.load(tmp_path / f"a{suffix}")
    lps = ras_of_voxels(img) * [-1, -1, 1]
    np.testing.assert_allclose(np.asarray(img.dataobj), lps, atol=1e-4)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_our_own_file_reads_back_with_equal_labels_and_values(tmp_path: Path, name: str) -> None:
    image = coordinates(DIRECTIONS[name])
    write(image, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    for axis in AXES:
        np.testing.assert_allclose(back[axis].values, image[axis].values, atol=1e-4)
    space = space_of(back)
    assert space is not None
    np.testing.assert_allclose(space.direction, DIRECTIONS[name], atol=1e-6)
    np.testing.assert_array_equal(back.values, image.values)
    assert float(abs(back - image).max()) == 0  # the indexes find them on one grid


@pytest.mark.parametrize(
    "part",
    [
        {"slice": slice(1, 3), "row": slice(2, None), "col": slice(1, 5)},
        {"slice": slice(None, None, 2), "row": slice(None, None, 3)},
        {"slice": slice(None, None, -1)},
        {"row": slice(None, None, -1)},
        {"col": slice(None, None, -1), "row": slice(None, None, -2)},
        {"slice": 2},
        {"row": 3},
        {"slice": [1], "col": 2},
    ],
    ids=str,
)
def test_crops_strides_flips_and_single_planes(tmp_path: Path, part: dict[str, Any]) -> None:
    image = coordinates(OBLIQUE).isel(part)
    write(image, tmp_path / "a.nii")
    img: Any = nib.load(tmp_path / "a.nii")
    np.testing.assert_allclose(np.asarray(img.dataobj), ras_of_voxels(img) * [-1, -1, 1], atol=1e-4)
    back = read(tmp_path / "a.nii")
    np.testing.assert_allclose(np.moveaxis(back.values, 0, -1), positions(back, OBLIQUE), atol=1e-4)


def test_spacing_of_a_single_slice_is_kept(tmp_path: Path) -> None:
    write(coordinates(OBLIQUE).isel(slice=[2]), tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").header.get_zooms()[2] == pytest.approx(3.0)  # type: ignore[attr-defined]
    assert read(tmp_path / "a.nii")["slice"].attrs["spacing"] == pytest.approx(3.0)


def test_sform_and_qform_agree(tmp_path: Path) -> None:
    write(coordinates(OBLIQUE), tmp_path / "a.nii")
    header: Any = nib.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    assert header.get_xyzt_units() == ("mm", "sec")


def test_sheared_stack_has_an_sform_only_and_says_so(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="tilted gantry"):
        write(coordinates(SHEARED), tmp_path / "a.nii")
    header: Any = nib.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(header.get_zooms()[:3], (0.75, 1.25, 3), atol=1e-6)


def test_uneven_slices_raise_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="not evenly spaced"):
        write(coordinates(AXIAL).isel(slice=[0, 1, 3]), tmp_path / "a.nii")
    assert not list(tmp_path.iterdir())


def test_image_without_geometry(tmp_path: Path) -> None:
    image = coordinates(AXIAL)
    data = xr.DataArray(image.values, dims=image.dims, coords={n: np.arange(image.sizes[n]) for n in image.dims})
    with pytest.warns(ImagedataWarning, match="no place in the patient"):
        write(data, tmp_path / "a.nii")
    header: Any = nib.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    assert header["pixdim"][1:4].tolist() == [1, 1, 1]
    with pytest.warns(ImagedataWarning, match="no geometry"):
        back = read(tmp_path / "a.nii")
    assert space_of(back) is None
    assert "geometry" not in back.coords
    np.testing.assert_array_equal(back["row"], np.arange(5))


def foreign(affine: Any, shape: tuple[int, ...] = (4, 5, 6)) -> Any:
    """nibabel image with voxel numbers as values."""
    data = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    img = nib.Nifti1Image(data, affine)  # type: ignore[no-untyped-call]
    img.set_qform(affine, 1)  # type: ignore[no-untyped-call]
    img.header.set_xyzt_units("mm", "sec")  # type: ignore[no-untyped-call]
    return img


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_files_of_others_in_any_orientation(tmp_path: Path, flips: tuple[int, int, int]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = rotation(11) * np.array(flips) * [2, 3, 4]
    affine[:3, 3] = (5, -6, 7)
    img = foreign(affine)
    nib.save(img, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    space = space_of(back)
    assert space is not None
    here = {
        int(v): p for v, p in zip(back.values.ravel(), positions(back, space.direction).reshape(-1, 3), strict=True)
    }
    there = ras_of_voxels(img) * [-1, -1, 1]
    for index in np.ndindex(*img.shape):
        np.testing.assert_allclose(here[int(img.dataobj[index])], there[index], atol=1e-4)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e3), ("micron", 1e-3), ("mm", 1)])
def test_units_of_length(tmp_path: Path, unit: str, factor: float) -> None:
    img = foreign(np.diag([2.0, 3, 4, 1]) / factor)
    img.header.set_xyzt_units(unit, "sec")
    nib.save(img, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    steps = [float(back[n].diff(n)[0]) for n in AXES]
    assert steps == pytest.approx([4, 3, 2], rel=1e-5)


def test_qform_is_taken_where_there_is_no_sform_and_qfac_0_is_1(tmp_path: Path) -> None:
    affine = np.diag([-2.0, 3, 4, 1])
    affine[:3, 3] = (1, 2, 3)
    img = foreign(np.diag([2.0, 3, 4, 1]))
    img.set_sform(None, 0)
    nib.save(img, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[76:80] = np.float32(0).tobytes()
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    back = read(tmp_path / "a.nii")
    assert [float(back[n].diff(n)[0]) for n in AXES] == pytest.approx([4, 3, 2])


def test_two_geometries_that_differ_are_warned_of_and_can_be_chosen(tmp_path: Path) -> None:
    img = foreign(np.diag([2.0, 3, 4, 1]))
    moved = np.diag([2.0, 3, 4, 1])
    moved[:3, 3] = (0, 0, 10)
    img.set_qform(moved, 1)
    nib.save(img, tmp_path / "a.nii")
    with pytest.warns(ImagedataWarning, match="two geometries"):
        assert float(read(tmp_path / "a.nii")["slice"][0]) == 0
    assert float(read(tmp_path / "a.nii", format_options={"form": "qform"})["slice"][0]) == 10
    with pytest.raises(FormatError, match="form="):
        read(tmp_path / "a.nii", format_options={"form": "s"})


def test_singular_affine_is_refused(tmp_path: Path) -> None:
    img = foreign(np.diag([2.0, 3, 4, 1]))
    img.header["srow_x"] = 0
    img.header["srow_y"][:] = (2, 0, 0, 0)
    nib.save(img, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[280:296] = bytes(16)
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        with pytest.raises(SourceError, match="no usable geometry"):
            read(tmp_path / "a.nii")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.floats(0.05, 20)] * 3),
    first=st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_any_grid_comes_back(
    tmp_path: Path,
    seed: int,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    first: tuple[float, float, float],
) -> None:
    direction = rotation(seed) @ AXIAL
    image = coordinates(direction, shape=shape, spacing=spacing, first=first)
    write(image, tmp_path / "a.nii", overwrite=True)
    back = read(tmp_path / "a.nii")
    assert back.shape == image.shape
    for axis in AXES:
        np.testing.assert_allclose(back[axis].values, image[axis].values, atol=1e-2)
    space = space_of(back)
    assert space is not None
    assert np.abs(space.direction - direction).max() < 1e-4
    img: Any = nib.load(tmp_path / "a.nii")
    data = np.asarray(img.dataobj).reshape(*img.shape[:3], 3)
    np.testing.assert_allclose(data, ras_of_voxels(img) * [-1, -1, 1], atol=1e-2)

"""Real series in every format: other programs find each voxel where pydicom puts it, with its value."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import xarray as xr
from format_conformance import by_sitk, places_of
from numpy.typing import NDArray

import imagedata_xr  # noqa: F401  # registers .imd
from imagedata_xr.errors import ImagedataWarning

CASES = ("ge_dwi_r2", "imd_time", "imd_tra_oblique", "phi_cl_fmri", "sie_fmap_mag5", "sie_hfp_t1")
CLASSIC = ("ge_mph_des", "ge_nih_4", "imd_rsi_dwi", "imd_sag_oblique", "phi_cl_asl", "sie_fmap_magph3")  # the others
FORMATS = (".nii", ".mha", ".nrrd", ".mgz", ".mat")
WITHIN = {".nii": 2e-4, ".mgz": 2e-4}  # mm; their affine has 32 bits
COUNT = 4000


class Truth:
    """Planes of a series by pydicom: where each lies, and what is at its pixels."""

    def __init__(self, folder: Path) -> None:
        self.planes: dict[float, tuple[NDArray[np.float64], list[NDArray[Any]]]] = {}
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or not pydicom.misc.is_dicom(path):
                continue
            ds = pydicom.dcmread(path)
            # cosines in text are unit vectors but for their last digit, which over 200 mm is more than is tested here
            rows, cols = (v / np.linalg.norm(v) for v in np.reshape(ds.ImageOrientationPatient, (2, 3)).astype(float))
            affine = np.eye(4)  # of (column, row, normal)
            affine[:3, 0], affine[:3, 1] = rows * float(ds.PixelSpacing[1]), cols * float(ds.PixelSpacing[0])
            affine[:3, 2], affine[:3, 3] = np.cross(rows, cols), ds.ImagePositionPatient
            values = ds.pixel_array * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))
            at = round(float(affine[:3, 2] @ affine[:3, 3]), 2)
            self.planes.setdefault(at, (affine, []))[1].append(values)

    def check(self, places: NDArray[np.float64], values: NDArray[Any], within: float) -> None:
        """Assert that each of the places is one of a pixel, and holds its values, in whatever order of volumes."""
        normal = next(iter(self.planes.values()))[0][:3, 2]
        known = np.array(list(self.planes))
        for place, found in zip(places, values, strict=True):
            affine, planes = self.planes[known[np.abs(known - place @ normal).argmin()]]
            inside = np.linalg.solve(affine, [*place, 1])
            col, row = round(inside[0]), round(inside[1])
            assert np.linalg.norm(affine @ [col, row, 0, 1] - [*place, 1]) < within
            np.testing.assert_allclose(np.sort(found), np.sort([p[row, col] for p in planes]), rtol=2e-7)

    def check_one(self, places: NDArray[np.float64], values: NDArray[Any], near: float, within: float = 1e-4) -> None:
        """Assert that each of the places is one of a pixel, and that its value is near one that it has there."""
        normal = next(iter(self.planes.values()))[0][:3, 2]
        known = np.array(list(self.planes))
        for place, found in zip(places, values, strict=True):
            affine, planes = self.planes[known[np.abs(known - place @ normal).argmin()]]
            inside = np.linalg.solve(affine, [*place, 1])
            col, row = round(inside[0]), round(inside[1])
            assert np.linalg.norm(affine @ [col, row, 0, 1] - [*place, 1]) < within
            assert min(abs(found - p[row, col]) for p in planes) <= near + 4e-7 * abs(found)


def chosen(shape: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    """Random voxels of an array."""
    return np.unravel_index(np.random.default_rng(0).integers(0, np.prod(shape), COUNT), shape)


def by_nibabel(path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
    image: Any = nib.load(path)
    data = np.asarray(image.dataobj)
    at = chosen(data.shape[:3])
    places = places_of(np.diag([-1.0, -1, 1, 1]) @ image.affine, data.shape[:3])[at]
    return places, data[at].reshape(COUNT, -1)


def by_simpleitk(path: Path, sitk: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
    places, values = by_sitk(sitk, path)
    at = chosen(places.shape[:3])
    return places[at], np.moveaxis(values.reshape(-1, *places.shape[:3]), 0, -1)[at]


def by_octave(path: Path, program: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
    out = path.with_suffix(".bin")
    script = f"""
        s = load('{path}'); A = s.A; n = size(A); if numel(n) < 3, n(3) = 1; end
        rand('twister', 0); r = ceil(rand(1, {COUNT}) * n(1)); c = ceil(rand(1, {COUNT}) * n(2));
        k = ceil(rand(1, {COUNT}) * n(3)); p = s.imagedata_xr.affine * [r - 1; c - 1; k - 1; ones(1, {COUNT})];
        v = reshape(double(A), prod(n(1:3)), []); v = v(sub2ind(n(1:3), r, c, k), :);
        f = fopen('{out}', 'w'); fwrite(f, p(1:3, :), 'double'); fwrite(f, v, 'double'); fclose(f);
    """
    subprocess.run([str(program), "--no-gui", "--norc", "--eval", script], check=True, capture_output=True, timeout=300)
    numbers = np.fromfile(out)
    return numbers[: 3 * COUNT].reshape(COUNT, 3), numbers[3 * COUNT :].reshape(-1, COUNT).T


@pytest.mark.parametrize("name", [*CASES, *CLASSIC])
def test_other_programs_find_each_voxel(
    name: str,
    case: Callable[[str], Path],
    tmp_path: Path,
    require_module: Callable[[str], ModuleType],
    require_program: Callable[[str], Path],
) -> None:
    folder = case(name)
    truth = Truth(folder)
    image = xr.open_dataarray(str(folder), engine="imagedata")
    sitk, octave = require_module("SimpleITK"), require_program("octave-cli")
    judges: Mapping[str, Callable[[Path], Any]] = {
        ".nii": by_nibabel, ".mgz": by_nibabel, ".mat": lambda p: by_octave(p, octave),
        ".mha": lambda p: by_simpleitk(p, sitk), ".nrrd": lambda p: by_simpleitk(p, sitk),
    }  # fmt: skip
    for extension in FORMATS:
        path = tmp_path / f"a{extension}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImagedataWarning)  # labels that MGH has no word for
            image.imd.write(str(path))
        places, values = judges[extension](path)
        truth.check(places, values, WITHIN.get(extension, 1e-4))


@pytest.mark.parametrize("name", ["ge_dwi_r2", "imd_time", "phi_cl_fmri"])
def test_a_chain_of_formats_ends_where_it_began(name: str, case: Callable[[str], Path], tmp_path: Path) -> None:
    source = str(case(name))
    start = xr.open_dataarray(source, engine="imagedata")
    last = start
    for link in ("a.nii.gz", "b.mha", "c.nrrd", "d.mat"):
        last.imd.write(str(tmp_path / link))
        last = xr.open_dataarray(str(tmp_path / link), engine="imagedata")
    last.imd.write(str(tmp_path / "dicom"), template=source)
    back = xr.open_dataarray(str(tmp_path / "dicom"), engine="imagedata")
    np.testing.assert_array_equal(back.values, start.values)
    for axis in ("slice", "row", "col"):
        np.testing.assert_allclose(back[axis], start[axis], atol=1e-3)  # NIfTI's affine has 32 bits
    assert [int(back[n]) for n in ("patient", "study")] == [int(start[n]) for n in ("patient", "study")]
    assert back.tag.attrs["order"] == start.tag.attrs["order"]
    np.testing.assert_allclose(back.tag, start.tag, atol=2e-3)
    for label in ("b_value", "b_vector_x", "b_vector_y", "b_vector_z", "echo_time"):
        assert (label in back.coords) == (label in start.coords)
        if label in start.coords:
            np.testing.assert_allclose(back[label], start[label], atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_other_programs_find_each_voxel_of_derived_dicom(
    name: str,
    case: Callable[[str], Path],
    tmp_path: Path,
    require_module: Callable[[str], ModuleType],
    require_program: Callable[[str], Path],
) -> None:
    sitk, dcm2niix = require_module("SimpleITK"), require_program("dcm2niix")
    folder = case(name)
    truth = Truth(folder)
    image = xr.open_dataarray(str(folder), engine="imagedata")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)  # what the source lacks
        written = (image + 1).imd.write(str(tmp_path / "dicom"), format="dicom")
    slopes = [float(pydicom.dcmread(path, stop_before_pixels=True).get("RescaleSlope", 1)) for path in written.paths]
    near = 0.0 if max(slopes) == 1 else max(slopes) / 2 * 1.0001
    places, values = zip(*(plane_by_simpleitk(path, sitk) for path in written.paths), strict=True)
    at = np.random.default_rng(0).integers(0, sum(len(p) for p in places), COUNT)
    truth.check_one(np.concatenate(places)[at], np.concatenate(values)[at] - 1, near)
    (tmp_path / "nifti").mkdir()
    command: list[str | Path] = [
        dcm2niix,
        "-z",
        "n",
        "-b",
        "n",
        "-f",
        "%s",
        "-o",
        tmp_path / "nifti",
        tmp_path / "dicom",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    found = sorted((tmp_path / "nifti").glob("*.nii"))
    assert found
    for path in found:
        places_, values_ = by_nibabel(path)
        for v in range(values_.shape[1]):
            truth.check_one(places_, values_[:, v] - 1, near, 2e-4)


def plane_by_simpleitk(path: str, sitk: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
    places, values = by_sitk(sitk, Path(path))
    return places.reshape(-1, 3), values.reshape(-1).astype(float)


WEIGHTED = ("ge_dwi_r2", "phi_cl_dwi_vanderbilt", "sie_hfs_dwi", "imd_rsi_dwi")


@pytest.mark.parametrize("change", ["none", "rows", "slices", "RAS", "LIP", "PIR"])
@pytest.mark.parametrize("name", WEIGHTED)
def test_directions_are_those_of_dcm2niix_whatever_the_axes(
    name: str, change: str, case: Callable[[str], Path], tmp_path: Path, require_program: Callable[[str], Path]
) -> None:
    program = require_program("dcm2niix")
    folder = case(name)
    (tmp_path / "theirs").mkdir()
    command: list[str | Path] = [program, "-z", "n", "-b", "n", "-f", "a", "-o", tmp_path / "theirs", folder]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    theirs = [p for p in (tmp_path / "theirs").glob("*.nii") if p.with_suffix(".bvec").exists()]
    assert len(theirs) == 1
    image = xr.open_dataarray(str(folder), engine="imagedata")
    flip = slice(None, None, -1)
    image = {"none": image, "rows": image.isel(row=flip), "slices": image.isel(slice=flip)}.get(
        change, image if len(change) > 3 else image.imd.to_orientation(change)
    )
    image.imd.write(str(tmp_path / "ours.nii"))
    np.testing.assert_allclose(world_directions(tmp_path / "ours.nii"), world_directions(theirs[0]), atol=1e-4)


def world_directions(path: Path) -> NDArray[np.float64]:
    """Directions of FSL's file beside an image, in RAS: x runs against the first axis of a right-handed affine."""
    vectors, b_values = np.loadtxt(path.with_suffix(".bvec")), np.loadtxt(path.with_suffix(".bval"))
    length = np.linalg.norm(vectors, axis=0)
    trace = (b_values > 0) & (length == 0)  # dcm2niix puts it into a file of its own
    vectors = (vectors / np.where(length > 0, length, 1))[:, ~trace]
    image: Any = nib.load(path)
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    if np.linalg.det(axes) > 0:
        vectors = vectors * [[-1], [1], [1]]
    return np.asarray((axes @ vectors).T)

"""Places that are none, or nearly none, and elements that name the volumes of an image."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from series import Elements, open_image, places, save, series, straight
from series import image as made

from imagedata_xr.errors import FormatError, GeometryError, ImagedataWarning


def turned(degrees: float) -> np.ndarray:
    """Orientation of an axial plane turned about x and then z."""
    a = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return np.asarray((z @ x)[:, :2].T.ravel())


@pytest.mark.parametrize(("decimals", "said"), [(3, False), (2, True)])
def test_rounded_directions_are_said_where_they_matter(decimals: int, said: bool, tmp_path: Path) -> None:
    exact = turned(35)
    normal = np.cross(exact[:3], exact[3:])

    def vary(v: int, k: int) -> Elements:
        rounded = [float(x) for x in exact.round(decimals)]
        return {
            "ImageOrientationPatient": rounded,
            "ImagePositionPatient": [float(x) for x in (4 * k * normal).round(4)],
        }

    folder = series(tmp_path, 1, 4, vary)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        a = open_image(folder)
    assert bool([w for w in caught if "taken for rounded" in str(w.message)]) == said
    np.testing.assert_allclose(a.imd.affine[:3, 0], 4 * normal, atol=1e-3)
    if not said:  # a copy is unchanged, though the directions of the labels are unit vectors
        a.imd.write(tmp_path / "copy", keep_uid=True)


@pytest.mark.parametrize("orientation", [[2, 0, 0, 0, 2, 0], [1, 0, 0, 0.3, 0.954, 0]])
def test_directions_of_no_image_give_no_place(orientation: list[float], tmp_path: Path) -> None:
    folder = series(tmp_path, 1, 3, lambda v, k: {"ImageOrientationPatient": orientation})
    with pytest.warns(ImagedataWarning, match="that is none"):
        a = open_image(folder)
    with pytest.raises(GeometryError, match="no place"):
        a.imd.affine  # noqa: B018


@pytest.mark.parametrize("lost", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_half_a_place_is_said(lost: str, tmp_path: Path) -> None:
    folder = series(tmp_path, 1, 3, lambda v, k: {lost: None})
    with pytest.warns(ImagedataWarning, match=f"3 of 3 images of series 7 have .* but no {lost}"):
        assert "geometry" not in open_image(folder).coords


def test_a_slice_that_has_no_place_among_others_is_said(tmp_path: Path) -> None:
    nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    folder = series(tmp_path, 1, 5, lambda v, k: nowhere if k == 2 else {})
    with pytest.warns(ImagedataWarning, match="1 of 5 images of series 7 have no place in the patient, though others"):
        xr.open_datatree(folder, engine="imagedata")


@pytest.mark.parametrize(("off", "said"), [(0.004, False), (0.03, True), (0.09, True)])
def test_slices_a_little_beside_their_line_are_said(off: float, said: bool, tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"ImagePositionPatient": [-10 + off * (k % 2), 5.0, 3.0 * k]}

    folder = series(tmp_path, 1, 5, vary)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        a = open_image(folder)
    assert a.sizes["slice"] == 5
    assert bool([w for w in caught if "beside their line" in str(w.message)]) == said


def rounded(v: int, k: int) -> Elements:
    """A slice of an oblique volume whose positions were rounded to a tenth of a millimetre."""
    return {"ImageOrientationPatient": OBLIQUE, "ImagePositionPatient": np.round(grid(k), 1).tolist()}


OBLIQUE = [1.0, 0.0, 0.0, 0.0, 0.990960, 0.134158]


def grid(k: int) -> NDArray[np.float64]:
    """Where the slices of that volume lie, LPS mm."""
    return np.asarray(np.array([-110.5, -78.3, -72.7]) + 7.0 * k * np.cross(OBLIQUE[:3], OBLIQUE[3:]))


def test_a_volume_of_rounded_positions_is_one(tmp_path: Path, require_module: Callable[[str], ModuleType]) -> None:
    sitk: Any = require_module("SimpleITK")
    folder = series(tmp_path / "a", 1, 20, rounded)
    with pytest.warns(ImagedataWarning, match="beside their line and .* from even steps"):
        a = open_image(folder)
    corner = (a.imd.affine @ np.stack([np.arange(20), *np.zeros((2, 20)), np.ones(20)]))[:3].T
    assert np.abs(corner - [grid(k) for k in range(20)]).max() < 0.1
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    np.testing.assert_allclose(a.values[0], sitk.GetArrayFromImage(sitk.ReadImage(names)))
    written = a.imd.write(str(tmp_path / "b"), keep_uid=True)  # unchanged: every position as it was
    there = sorted(float(pydicom.dcmread(p).ImagePositionPatient[1]) for p in written.paths)
    assert there == sorted(float(np.round(grid(k), 1)[1]) for k in range(20))
    with pytest.raises(FormatError, match="ImagePositionPatient differs"):
        a.assign_coords(row=a.row + 0.05).imd.write(str(tmp_path / "c"), keep_uid=True)


def test_a_missing_slice_is_no_rounding(tmp_path: Path) -> None:
    folder = series(tmp_path, 1, 20, lambda v, k: rounded(v, k + (k > 9)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = open_image(folder)
    with pytest.raises(GeometryError, match="not evenly spaced"):
        _ = a.imd.affine


def test_slices_farther_beside_their_line_are_two_images(tmp_path: Path) -> None:
    folder = series(tmp_path, 1, 6, lambda v, k: {"ImagePositionPatient": [-10 + 3 * (k % 2), 5.0, 3.0 * k]})
    tree = xr.open_datatree(folder, engine="imagedata")
    assert [n["image"].shape[1] for n in tree.leaves] == [3, 3]


# --- elements that name the volumes -----------------------------------------------------------------------------------


def gated(folder: Path, element: str, phases: int = 4, slices: int = 3) -> Path:
    """A gated CT: at each position the cycle begins at another phase, which is the volume of the image made."""
    for k in range(slices):
        for n in range(phases):
            v = (n + k) % phases
            words = {"ImageComments": f"phase {25 * v}%"} if element == "ImageComments" else {element: 25.0 * v}
            when = {"AcquisitionDate": "20240102", "AcquisitionTime": f"1015{10 * k + n:02d}"}
            save(made(v, k, {**when, **words, "InstanceNumber": 10 * k + n + 1}), folder / f"{k}{n}.dcm")
    return folder


@pytest.mark.parametrize("element", ["NominalPercentageOfRespiratoryPhase", "NominalPercentageOfCardiacPhase"])
def test_phases_come_before_times_that_mix_them(element: str, tmp_path: Path) -> None:
    folder = gated(tmp_path, element)
    a = open_image(folder)
    assert (a.tag.attrs["order"], a.tag.attrs["units"]) == (element, "%")
    assert a.tag.values.tolist() == [0, 25, 50, 75]
    assert places(a) == straight(4, 3)
    with pytest.warns(ImagedataWarning, match=f"order='{element}' keeps to it"):
        open_image(folder, order="time")


def test_words_that_name_volumes_are_said(tmp_path: Path) -> None:
    folder = gated(tmp_path, "ImageComments")
    with pytest.warns(ImagedataWarning, match="split='ImageComments' makes images of them"):
        open_image(folder)
    tree = xr.open_datatree(folder, engine="imagedata", split="ImageComments")
    assert [n["image"].shape[:2] for n in tree.leaves] == [(1, 3)] * 4


def test_times_that_keep_to_the_phases_stay_the_order(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"AcquisitionTime": f"10150{v}", "TemporalPositionIdentifier": v + 1}

    assert open_image(series(tmp_path, 3, 3, vary)).tag.attrs["order"] == "time"


@pytest.mark.parametrize("element", ["AcquisitionNumber", "TemporalPositionIndex"])
def test_numbers_of_volumes_come_before_instance_numbers_that_mix_them(element: str, tmp_path: Path) -> None:
    """Exports number the instances anew, in any sequence."""
    anew = [5, 9, 1, 8, 3, 7, 2, 4, 6]
    vary = lambda v, k: {element: v + 1, "InstanceNumber": anew[3 * v + k]}  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        a = open_image(series(tmp_path, 3, 3, vary))
    assert (a.tag.attrs["order"], a.tag.values.tolist()) == (element, [1, 2, 3])
    assert places(a) == straight(3, 3)


def test_instances_without_numbers_keep_to_the_numbers_of_volumes(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a = open_image(series(tmp_path, 3, 3, lambda v, k: {"AcquisitionNumber": v + 1, "InstanceNumber": None}))
    assert places(a) == straight(3, 3)


def test_tube_voltages_of_one_time_are_the_order(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 2, 3, lambda v, k: {"KVP": [140, 80][v], "AcquisitionTime": "101500"}))
    assert (a.tag.attrs["order"], a.tag.values.tolist()) == ("KVP", [80, 140])
    assert places(a) == straight(2, 3)[::-1]

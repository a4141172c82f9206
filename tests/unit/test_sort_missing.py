"""Series of which images are missing."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from series import Elements, image, open_image, places, save, straight, timed

from imagedata_xr.errors import ImagedataWarning, SeriesError, SortError


def with_hole(folder: Path, vary: Any, holes: set[tuple[int, int]]) -> Path:
    """Four volumes of three slices without some images."""
    for v in range(4):
        for k in range(3):
            if (v, k) not in holes:
                save(image(v, k, vary(v, k)), folder / f"{v}{k}.dcm")
    return folder


def numbered(v: int, k: int) -> Elements:
    return {**timed(v, k), "TemporalPositionIdentifier": v + 1}


def test_a_missing_image_raises_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        SortError, match=r"between 3 and 4 images \(1 positions with 4, 1 positions with 3, 1 pos.*fill"
    ):
        open_image(with_hole(tmp_path, numbered, {(1, 1)}), order="time")


@pytest.mark.parametrize("order", ["time", "none"])
@pytest.mark.parametrize("element", ["TemporalPositionIdentifier", "AcquisitionNumber"])
def test_incomplete_volumes_are_dropped(tmp_path: Path, order: str, element: str) -> None:
    vary = lambda v, k: {**timed(v, k), element: v + 1}  # noqa: E731
    with pytest.warns(ImagedataWarning, match="1 incomplete volumes are left out"):
        a = open_image(with_hole(tmp_path, vary, {(1, 1)}), order=order, missing="drop")
    assert places(a) == [straight(4, 3)[v] for v in (0, 2, 3)]
    assert a.tag.values.tolist() == ([0, 4, 6] if order == "time" else [0, 2, 3])


def test_missing_images_are_filled(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="2 missing images are filled with NaN"):
        a = open_image(with_hole(tmp_path, numbered, {(1, 0), (3, 2)}), order="time", missing="fill")
    assert a.tag.values.tolist() == [0, 2, 4, 6]  # the first slice of volume 1 is not there to say its time
    assert np.isnan(a.values[1, 0]).all()
    assert np.isnan(a.values).sum() == 2 * 20
    assert (a.instance.values == 0).sum() == 2
    assert a.instance.values[1, 0] == 0
    assert np.isnan(a.slice_time.values[1, 0])
    assert a.slice_time.values[1, 1] == 0.5
    assert places(a.isel(tag=[0, 2])) == [straight(4, 3)[v] for v in (0, 2)]


def test_as_many_images_missing_at_each_position(tmp_path: Path) -> None:
    holes = {(1, 0), (2, 1), (0, 2)}
    with pytest.raises(SortError, match="images are missing"):
        open_image(with_hole(tmp_path / "a", numbered, holes), order="none")
    with pytest.warns(ImagedataWarning, match="3 missing images"):
        a = open_image(tmp_path / "a", order="time", missing="fill")
    assert [v for v, row in enumerate(places(a.fillna(9000))) if (9, 0) in row] == [0, 1, 2]
    with pytest.warns(ImagedataWarning, match=r"slices of volume 1 were measured up to 1.5 s earlier or later"):
        open_image(with_hole(tmp_path / "b", timed, {(1, 0), (2, 1), (1, 2)}), order="time")


def aborted(folder: Path, lost: set[tuple[int, int]], first: int = 1) -> Path:
    for v in range(4):
        for k in range(3):
            if (v, k) not in lost:
                elements = {**timed(v, k), "InstanceNumber": first + 3 * v + k}
                save(image(v, k, elements), folder / f"{v}_{k}.dcm")
    return folder


@pytest.mark.parametrize("order", ["auto", "time", "none"])
def test_a_scan_that_was_aborted_within_its_last_volume(tmp_path: Path, order: str) -> None:
    folder = aborted(tmp_path, {(3, 1), (3, 2)})
    with pytest.raises(SortError, match="missing='drop' leaves incomplete volumes out"):
        open_image(folder, order=order)
    with pytest.warns(ImagedataWarning, match="1 incomplete volumes are left out"):
        assert places(open_image(folder, order=order, missing="drop")) == straight(3, 3)
    with pytest.warns(ImagedataWarning, match="2 missing images are filled with NaN"):
        filled = open_image(folder, order=order, missing="fill")
    assert np.isnan(filled.values[3, 1:]).all()
    assert not np.isnan(filled.values[3, 0]).any()


@pytest.mark.parametrize(("lost", "first"), [({(1, 1)}, 1), ({(0, 0)}, 1), ({(3, 2)}, 2), ({(1, 0), (3, 2)}, 1)])
def test_it_is_not_taken_for_aborted_where_others_may_be_missing(
    tmp_path: Path, lost: set[tuple[int, int]], first: int
) -> None:
    with pytest.raises(SortError, match="says to which volume each belongs"):
        open_image(aborted(tmp_path, lost, first), missing="drop")


def test_nothing_says_where_an_image_belongs(tmp_path: Path) -> None:
    with pytest.raises(SortError, match=r"no element .* says to which volume each belongs"):
        open_image(with_hole(tmp_path, timed, {(1, 1)}), order="time", missing="drop")


def test_nothing_is_left_to_drop(tmp_path: Path) -> None:
    holes = {(v, v % 3) for v in range(4)}
    with pytest.raises(SortError, match="every volume is incomplete"):
        open_image(with_hole(tmp_path, numbered, holes), order="time", missing="drop")


def test_a_grid_with_a_missing_combination(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"EchoTime": 5 + v % 2, "FlipAngle": 10 + v // 2, "AcquisitionNumber": v, "DiffusionBValue": 100 * v}

    folder = with_hole(tmp_path, lambda v, k: {**vary(v, k), "DiffusionBValue": None}, {(3, 0), (3, 1), (3, 2)})
    with pytest.raises(SortError, match=r"3 of 12 places of the grid \(2, 2, 3\)"):
        open_image(folder, order="fa,te")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", ImagedataWarning)
        a = open_image(folder, order="fa,te", missing="fill")
    assert np.isnan(a.values[1, 1]).all()
    assert a.acquisition_number.values[:, 0].tolist() == [0, 2]
    assert np.isnan(a.acquisition_number.values[1, 1])


def test_integers_can_not_be_filled(tmp_path: Path) -> None:
    folder = with_hole(tmp_path, numbered, {(1, 1)})
    with pytest.raises(ValueError, match="can't be filled with NaN"), pytest.warns(ImagedataWarning):
        open_image(folder, order="time", missing="fill", mask_and_scale=False)


def test_overlapping_acquisitions_name_the_cure(tmp_path: Path) -> None:
    for v in range(2):
        for k in range(3):
            elements = {"AcquisitionNumber": v + 1, "ImagePositionPatient": [0, 0, 3.0 * (k + v)]}
            save(image(v, k, elements), tmp_path / f"{v}{k}.dcm")
    with pytest.raises(SeriesError, match=r"stack=0: .*\(acquisition 1\)\n.*stack=1: .*\(acquisition 2\)"):
        open_image(tmp_path)
    assert places(open_image(tmp_path, acquisition=2)) == [[(1, 0), (1, 1), (1, 2)]]

"""Series that say how many images they have, and have fewer; slices that are missing between others."""

from __future__ import annotations

import warnings
from pathlib import Path

import phantoms
import pytest
import series as plain
from phantoms import Series, opened
from pydicom import dcmread

from imagedata_xr.errors import ImagedataWarning


def counted(count: int, **changes: object) -> Series:
    return phantoms.mr(shape=(1, 6, 6, 8), elements={"ImagesInAcquisition": count, **changes})


def made(folder: Path, series: Series, without: list[int]) -> Path:
    """Write a series without some of its files."""
    paths = phantoms.make(folder, series)
    for k in without:
        paths[k].unlink()
    return folder


def said(folder: Path, **options: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ImagedataWarning)
        opened(folder, **options)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("lost", [[0], [5], [4, 5]])
def test_fewer_images_than_their_acquisition_has(lost: list[int], tmp_path: Path) -> None:
    (text,) = said(made(tmp_path, counted(6), lost))
    assert f"has {6 - len(lost)} images, where ImagesInAcquisition says 6" in text


def test_as_many_images_as_announced_or_derived_ones_or_one_alone(tmp_path: Path) -> None:
    assert said(made(tmp_path / "a", counted(6), [])) == []
    assert said(made(tmp_path / "b", counted(9, ImageType=["DERIVED", "SECONDARY", "AXIAL"]), [])) == []
    assert said(made(tmp_path / "c", counted(6), [1, 2, 3, 4, 5])) == []


def test_images_chosen_by_an_element_are_meant_to_be_fewer(tmp_path: Path) -> None:
    folder = made(tmp_path, counted(6), [])
    assert said(folder, format_options={"where": {"InstanceNumber": [1, 2]}}) == []


@pytest.mark.parametrize("lost", [[2], [2, 3]])
def test_a_slice_is_missing_between_others(lost: list[int], tmp_path: Path) -> None:
    (text,) = said(made(tmp_path, phantoms.ct(shape=(1, 8, 6, 8)), lost))
    assert f"slices 1 and 2 are {3 * (len(lost) + 1)} mm apart, where others are 3 mm" in text


def test_a_slice_is_missing_at_the_end_of_pet(tmp_path: Path) -> None:
    (text,) = said(made(tmp_path, phantoms.pet(shape=(2, 4, 6, 8)), [3, 7]))
    assert "has 3 slices, where NumberOfSlices says 4" in text


@pytest.mark.parametrize("first", [0, 8])
def test_a_volume_is_missing_at_either_end(first: int, tmp_path: Path) -> None:
    numbers = [{"TemporalPositionIdentifier": k + 1, "NumberOfTemporalPositions": 3} for k in range(3)]
    series = phantoms.mr(shape=(3, 4, 6, 8), volumes=numbers)
    (text,) = said(made(tmp_path, series, list(range(first, first + 4))))
    assert "has 2 temporal positions, where NumberOfTemporalPositions says 3" in text


def test_volumes_are_missing_that_only_their_images_count(tmp_path: Path) -> None:
    series = phantoms.mr(shape=(3, 4, 6, 8), elements={"NumberOfTemporalPositions": 3})
    assert said(made(tmp_path / "whole", series, [])) == []
    (text,) = said(made(tmp_path / "part", series, list(range(4))))
    assert "has 2 images at each position, where NumberOfTemporalPositions says 3" in text


def test_two_spacings_are_no_hole(tmp_path: Path) -> None:
    folder = made(tmp_path, phantoms.ct(shape=(1, 8, 6, 8)), [])
    for k, path in enumerate(sorted(folder.iterdir())):
        ds = dcmread(path)
        ds.ImagePositionPatient[2] = float(k if k < 4 else 3 + 3 * (k - 3))
        ds.save_as(path)
    assert said(folder) == []


@pytest.mark.parametrize(("apart", "kept"), [(5.0, True), (0.0, True), (5.0, False)])
def test_positions_that_slice_locations_contradict(apart: float, kept: bool, tmp_path: Path) -> None:
    """Slices whose positions were lost would be taken for a time course."""

    def vary(v: int, k: int) -> dict[str, object]:
        place = {"SliceLocation": apart * k, "AcquisitionTime": f"1015{k:02d}"}
        return place if kept is False else {**place, "ImagePositionPatient": [1, 2, 3]}

    folder = plain.series(tmp_path, 1, 4, vary)
    texts = said(folder)
    assert [t for t in texts if "SliceLocation up to 15 mm apart" in t] or not (apart and kept)
    assert not texts or (apart and kept)

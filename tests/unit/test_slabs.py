"""Acquisitions that overlap at their ends are images of their own; volumes of a series in time are not parted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from series import image, open_image, save

from imagedata_xr.errors import SeriesError, SortError


def scan_of(folder: Path, acquisitions: Iterable[tuple[int, Iterable[float]]], **elements: Any) -> Path:
    """Write a CT series: for each acquisition its number and the z of its slices, which are their pixel values too."""
    n = 0
    for number, positions in acquisitions:
        for z in positions:
            n += 1
            own = {
                "SOPInstanceUID": f"1.2.9.{n}", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT",
                "AcquisitionNumber": number, "AcquisitionTime": f"1015{number:02d}", "InstanceNumber": n,
                "ImagePositionPatient": [-10, 5, z], "PixelData": np.full((4, 5), 100 + z, "<u2").tobytes(),
            }  # fmt: skip
            save(image(0, 0, own | elements), folder / f"{n:03d}.dcm")
    return folder


def images(folder: Path, **options: Any) -> list[xr.DataArray]:
    found = xr.open_datatree(folder, engine="imagedata", **options)
    return [node.to_dataset()["image"] for node in found.subtree if "image" in node.data_vars]


@pytest.mark.parametrize(
    "slabs",
    [
        [(1, range(0, 18, 3)), (2, range(12, 30, 3))],  # two shared slices
        [(1, range(0, 18, 3)), (2, range(15, 30, 3)), (3, range(27, 42, 3))],  # one, and again one
        [(1, range(0, 18, 3)), (2, np.arange(13.5, 30, 3))],  # slices between those of the other
    ],
)
def test_overlapping_slabs_are_parted(tmp_path: Path, slabs: list[tuple[int, Iterable[float]]]) -> None:
    found = images(scan_of(tmp_path, slabs))
    assert [a.sizes["tag"] for a in found] == [1] * len(slabs)
    for a, (_, positions) in zip(found, slabs, strict=True):
        np.testing.assert_allclose(a["slice"], list(positions))
        np.testing.assert_array_equal(a[0, :, 0, 0], (100 + np.array(list(positions))).astype(int))
        assert a.imd.spacing[0] == pytest.approx(3)
    with pytest.raises(SeriesError, match=r"series=7, stack=1: .*\(acquisition 2\)"):
        open_image(tmp_path)
    assert open_image(tmp_path, stack=1).equals(found[1])
    assert open_image(tmp_path, acquisition=2).equals(found[1])
    assert len(images(tmp_path, acquisition=[1, 2])) == 2


@pytest.mark.parametrize("spread", [range(0, 12, 3), range(0, 3, 3)])
def test_phases_of_one_slab_are_volumes(tmp_path: Path, spread: range) -> None:
    (a,) = images(scan_of(tmp_path, [(1, spread), (2, spread), (3, spread)]))
    assert a.sizes["tag"] == 3
    assert a["tag"].attrs["order"] == "time"


def test_slabs_that_follow_each_other_are_one_image(tmp_path: Path) -> None:
    (a,) = images(scan_of(tmp_path, [(1, range(0, 12, 3)), (2, range(12, 24, 3))]))
    np.testing.assert_allclose(a["slice"], range(0, 24, 3))


def test_an_incomplete_volume_is_no_slab(tmp_path: Path) -> None:
    scan_of(tmp_path, [(1, range(0, 12, 3)), (2, range(0, 12, 3)), (3, range(0, 9, 3))])
    with pytest.raises(SortError, match="missing='drop'"):
        open_image(tmp_path)
    assert open_image(tmp_path, missing="drop").sizes["tag"] == 2


def test_interleaved_acquisitions_stay_together(tmp_path: Path) -> None:
    (a,) = images(scan_of(tmp_path / "whole", [(1, range(0, 24, 6)), (2, range(3, 24, 6))]))
    np.testing.assert_allclose(a["slice"], range(0, 24, 3))
    (b,) = images(scan_of(tmp_path / "hole", [(1, range(0, 24, 6)), (2, range(3, 18, 6))]))
    assert b.sizes["slice"] == 7


def test_split_by_hand(tmp_path: Path) -> None:
    scan_of(tmp_path, [(1, range(0, 12, 3)), (2, range(0, 12, 3))])
    found = images(tmp_path, split="AcquisitionNumber")
    assert [a.sizes["tag"] for a in found] == [1, 1]
    assert [a.attrs["AcquisitionNumber"] for a in found] == [1, 2]

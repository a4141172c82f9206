"""United Imaging: grids of tiles, b-values, and directions in axes of the image."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from mosaics import OBLIQUE, SAGITTAL, Volume, grid, number, picture, places, scanned, tiles
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from imagedata_xr.dicom.vendors import uih
from imagedata_xr.errors import FormatError

HEAD = "Image Private Header"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("orientation", [OBLIQUE, SAGITTAL])
@pytest.mark.parametrize(("n", "shape"), [(7, (4, 6)), (4, (3, 5)), (1, (4, 4)), (5, (6, 6)), (20, (5, 4))])
def test_every_voxel_is_at_its_place(
    tmp_path: Path, n: int, shape: tuple[int, int], orientation: tuple[float, ...], sign: int
) -> None:
    volume = Volume(n, shape, orientation=orientation, sign=sign)
    columns = uih.grid_columns(scanned(tmp_path, grid(volume)), 0)
    found = tiles(columns, volume.picture(square=False))
    where = places(columns, volume.spacing[1:])
    assert found.tolist() == [[[number(p) for p in row] for row in tile] for tile in where]
    assert columns.image_type == ("ORIGINAL", "PRIMARY", "M")
    assert np.isnan(columns.slice_time).all()


def test_implicit_files(tmp_path: Path) -> None:
    ds = grid(Volume(n=5))
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    columns = uih.grid_columns(scanned(tmp_path, ds), 0)
    np.testing.assert_allclose(columns.position[4], Volume(n=5).place(4, 0, 0))


def test_tiles_of_unknown_vr_hold_implicit_items(tmp_path: Path) -> None:
    ds = grid(Volume(n=2))
    raw = b""
    for t in range(2):
        value = "\\".join(f"{x:.8g}" for x in Volume(n=2).place(t, 0, 0)).encode()
        value += b" " * (len(value) % 2)
        item = struct.pack("<HHI", 0x20, 0x32, len(value)) + value
        raw += struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    ds.private_block(0x65, HEAD).add_new(0x51, "UN", raw)
    columns = uih.grid_columns(scanned(tmp_path, ds), 0)
    np.testing.assert_allclose(columns.position[1], Volume(n=2).place(1, 0, 0))


def test_many_tiles_in_files_that_differ(tmp_path: Path) -> None:
    volumes = [Volume(n=100), Volume(n=100, first=(1.0, 2.0, 3.0))]  # a list this long is only marked by the scan
    scan = scanned(tmp_path, *(grid(volume) for volume in volumes))
    for k, volume in enumerate(volumes):
        np.testing.assert_allclose(uih.grid_columns(scan, k).position[99], volume.place(99, 0, 0))


def test_slice_times(tmp_path: Path) -> None:
    columns = uih.grid_columns(scanned(tmp_path, grid(Volume(n=3), seconds=[10.5, 12.25, 11.0])), 0)
    np.testing.assert_allclose(columns.slice_time, [0, 1750, 500])


def test_the_orientation_may_stand_in_the_tiles(tmp_path: Path) -> None:
    ds = grid(Volume(n=3))
    del ds.ImageOrientationPatient
    for item in ds[0x00651051].value:
        item.ImageOrientationPatient = list(OBLIQUE)
    assert uih.grid_columns(scanned(tmp_path, ds), 0).orientation.tolist() == list(OBLIQUE)


def test_which_files_are_grids(tmp_path: Path) -> None:
    plain = picture(Volume(n=1), ["ORIGINAL", "PRIMARY", "M"], "UIH")
    lost = picture(Volume(n=1), ["ORIGINAL", "PRIMARY", "M", "VFRAME"], "UIH")
    slice_ = picture(Volume(n=1), ["ORIGINAL", "PRIMARY", "M", "VFRAME"], "UIH")
    slice_.ImagePositionPatient = [1, 2, 3]
    found = uih.is_grid(scanned(tmp_path, grid(Volume()), plain, lost, slice_)).tolist()
    assert found == [True, False, True, False]  # a grid that lost its list has no place, and is refused as one


def spoil_number(ds: Dataset) -> None:
    ds[0x00651050].value = 8


def spoil_list(ds: Dataset) -> None:
    del ds[0x00651051]


def spoil_position(ds: Dataset) -> None:
    del ds[0x00651051].value[2].ImagePositionPatient


def spoil_place(ds: Dataset) -> None:
    ds[0x00651051].value[2].ImagePositionPatient = ds[0x00651051].value[1].ImagePositionPatient


def spoil_orientation(ds: Dataset) -> None:
    del ds.ImageOrientationPatient


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_number, "8 slices by .* lists 7"),
        (spoil_list, "lists 0"),
        (spoil_position, "have no ImagePositionPatient"),
        (spoil_place, "two slices in one place"),
        (spoil_orientation, "no ImageOrientationPatient in common"),
    ],
)
def test_what_is_missing_is_not_guessed(tmp_path: Path, spoil: object, message: str) -> None:
    ds = grid(Volume(n=7))
    assert callable(spoil)
    spoil(ds)
    with pytest.raises(FormatError, match=message):
        uih.grid_columns(scanned(tmp_path, ds), 0)


def weighted(
    b: float | None, direction: list[float] | None, orientation: tuple[float, ...] | None = OBLIQUE
) -> Dataset:
    ds = picture(Volume(n=1), ["ORIGINAL", "PRIMARY", "M"], "UIH")
    if orientation is None:
        del ds.ImageOrientationPatient
    block = ds.private_block(0x65, HEAD, create=True)
    if b is not None:
        block.add_new(0x09, "FD", b)
    if direction is not None:
        block.add_new(0x37, "FD", direction)
    return ds


def test_diffusion(tmp_path: Path) -> None:
    images = [(0.0, None), (929.75, [1.0, 0.0, 0.0]), (930.0, [0.0, 1.0, 0.0]), (931.0, [0.0, 0.6, -0.8])]
    found = uih.diffusion(scanned(tmp_path, *(weighted(b, v) for b, v in images), weighted(None, None))).finish()
    r, c = np.array(OBLIQUE[:3]), np.array(OBLIQUE[3:])
    np.testing.assert_array_equal(found.b_value, [0, 929.75, 930, 931, np.nan])
    np.testing.assert_allclose(found.vector[:4], [0 * r, r, c, 0.6 * c - 0.8 * np.cross(r, c)], atol=1e-12)
    np.testing.assert_array_equal(found.directionality, [0, 1, 1, 1, np.nan])


def test_an_image_without_orientation_has_no_direction(tmp_path: Path) -> None:
    found = uih.diffusion(scanned(tmp_path, weighted(1000, [1, 0, 0], orientation=None)))
    assert np.isnan(found.vector).all()


def test_no_weighting_says_nothing(tmp_path: Path) -> None:
    assert np.isnan(uih.diffusion(scanned(tmp_path, weighted(0.0, None))).b_value).all()


@pytest.mark.parametrize(("name", "claimed"), [("UIH", True), ("UNITED IMAGING HEALTHCARE", True), ("SIEMENS", False)])
def test_claims(name: str, claimed: bool) -> None:
    assert uih.claims(name) is claimed

"""Real mosaics: every voxel of the tiles against the NIfTI file of dcm2niix, CSA headers against nibabel."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from mosaics import places, tiles
from numpy.typing import NDArray

from imagedata_xr.dicom.framing.csa import csa_diffusion, parse_csa
from imagedata_xr.dicom.framing.mosaic import is_mosaic, tile_columns
from imagedata_xr.dicom.scanning.scan import Scan, scan
from imagedata_xr.dicom.vendors import siemens
from imagedata_xr.stores.url import file_name, find

CASES = [
    "sie_mos_ax_asc35", "sie_mos_sag_asc35", "sie_mos_jpegll", "sie_skyra_ap", "sie_b13", "sie_e11_rest", "sie_hfs_dwi",
    "ts_rle", "ts_jpegls", "bits_12bitunsigned_0x0f0f",
]  # fmt: skip
NOT_IN_PYDICOM = ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80")


def by_number(folder: Path) -> Scan:
    got = scan(find(str(folder)))
    return got.take(np.argsort(got.numbers("InstanceNumber"), kind="stable"))


def stored(path: str, require_module: Callable[[str], ModuleType]) -> NDArray[Any]:
    """The stored picture, without the bits above Bits Stored."""
    ds = pydicom.dcmread(path)
    if ds.file_meta.TransferSyntaxUID in NOT_IN_PYDICOM:
        sitk = require_module("SimpleITK")
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(path))[0])
    pixels = ds.pixel_array
    return pixels & ((1 << ds.BitsStored) - 1) if ds.BitsStored < 16 else pixels


@pytest.mark.parametrize("name", CASES)
def test_values_and_places(name: str, case: Callable[[str], Path], require_module: Callable[[str], ModuleType]) -> None:
    nib = require_module("nibabel")
    folder = case(name)
    (truth,) = (folder.parent / "truth").glob("*.nii.gz")
    image = nib.load(truth)
    values = np.asarray(image.dataobj).reshape(*image.shape[:3], -1)
    to_index = np.linalg.inv(image.affine)
    mosaics = by_number(folder)
    assert is_mosaic(mosaics).all()
    assert len(mosaics) == values.shape[3]
    for v in range(len(mosaics)):
        columns = tile_columns(mosaics, v)
        where = places(columns, mosaics.numbers("PixelSpacing", 2)[v]) * [-1, -1, 1]  # RAS
        exact = where @ to_index[:3, :3].T + to_index[:3, 3]
        index = np.rint(exact).astype(int)
        assert np.abs(exact - index).max() < 1e-3  # of a voxel
        found = tiles(columns, stored(file_name(mosaics.files[v]), require_module))
        np.testing.assert_array_equal(found, values[(*np.moveaxis(index, -1, 0), v)])
        assert found.size == values[..., v].size
        flat = np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), values.shape[:3])
        assert len(np.unique(flat)) == found.size


@pytest.mark.parametrize("name", CASES)
def test_slice_times(name: str, case: Callable[[str], Path]) -> None:
    folder = case(name)
    (sidecar,) = (folder.parent / "truth").glob("*.json")
    truth = np.array(json.loads(sidecar.read_text())["SliceTiming"])
    mosaics = by_number(folder)
    times = np.array([tile_columns(mosaics, v).slice_time for v in range(len(mosaics))]) * 1e-3
    # one of the volumes is the sidecar's; it counts from its first slice
    apart = [np.abs(t - t.min() - truth).max() for t in times]
    assert min(apart) < 2e-3


def test_diffusion_of_the_csa_header_is_that_of_group_19(case: Callable[[str], Path]) -> None:
    mosaics = by_number(case("sie_hfs_dwi"))
    csa, direct = csa_diffusion(mosaics).finish(), siemens.diffusion(mosaics).finish()
    assert (csa.b_value > 0).any()
    np.testing.assert_array_equal(csa.b_value, direct.b_value)
    np.testing.assert_allclose(csa.vector, direct.vector, atol=1e-7)
    np.testing.assert_array_equal(csa.directionality, direct.directionality)


@pytest.mark.parametrize("element", [0x10, 0x20])
@pytest.mark.parametrize("name", CASES)
def test_csa_as_nibabel_reads_it(name: str, element: int, case: Callable[[str], Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its reader experimental
        from nibabel.nicom import csareader
    path = min(case(name).iterdir())
    data = pydicom.dcmread(path, stop_before_pixels=True).private_block(0x29, "SIEMENS CSA HEADER")[element].value
    ours, theirs = parse_csa(data), csareader.read(data)["tags"]  # type: ignore[no-untyped-call]
    assert list(ours) == list(theirs)
    for tag, judged in theirs.items():
        numbers = judged["items"] and not isinstance(judged["items"][0], str)
        wanted = [v if numbers else v.strip() for v in judged["items"]]
        found = [float(v) for v in ours[tag]] if numbers else ours[tag]
        while wanted and wanted[-1] in ("", b""):
            wanted.pop()
        assert found == wanted, tag

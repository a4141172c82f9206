"""GE's sequence epi_pepolar, which stores volumes of reversed polarity with reversed rows; dcm2niix is the judge."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from series import COLS, ROWS, Elements, series

from imagedata_xr.errors import ImagedataWarning

ACQU = "GEMS_ACQU_01"


def vary(scheme: int, encoded: str = "COL") -> Callable[[int, int], Elements]:
    """Volumes of which some are stored upside down; each voxel holds a number of its place."""
    upside_down = {1: (0, 1, 2, 3), 2: (0, 2), 3: (1, 3)}.get(scheme, ())

    def one(v: int, k: int) -> Elements:
        plane = np.array([[number(-10 + 1.5 * j, 5 + 2 * i, 3 * k) for j in range(COLS)] for i in range(ROWS)], "<u2")
        return {
            "Manufacturer": "GE MEDICAL SYSTEMS",
            "PatientPosition": "HFS",
            "InPlanePhaseEncodingDirection": encoded,
            "ScanningSequence": ["EP", "SE"],
            "MRAcquisitionType": "2D",
            "RepetitionTime": 2000,
            "EchoTime": 30,
            "SpacingBetweenSlices": 3,
            "TemporalPositionIdentifier": v + 1,
            "NumberOfTemporalPositions": 4,
            "PixelData": (plane[::-1] if v in upside_down else plane).tobytes(),
            (ACQU, 0x19, 0x9C): "/research/ABCD/epi_pepolar",
            (ACQU, 0x19, 0xB3): str(scheme),
        }

    return one


def number(x: float, y: float, z: float) -> int:
    return round(1000 + 4 * x + 20 * y + 200 * z)


def expected(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers of places, by an affine in LPS."""
    at = np.indices(shape).reshape(3, -1)
    x, y, z = affine[:3, :3] @ at + affine[:3, 3:]
    return np.asarray(np.round(1000 + 4 * x + 20 * y + 200 * z).reshape(shape))


@pytest.mark.parametrize(("scheme", "stacks"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_each_voxel_lies_where_it_was_measured(
    tmp_path: Path, scheme: int, stacks: int, require_program: Callable[[str], str]
) -> None:
    folder = series(tmp_path / "in", 4, 3, vary(scheme))
    if scheme:
        with pytest.warns(ImagedataWarning, match=f"{12 // stacks} images of GE's sequence epi_pepolar are stored"):
            tree = xr.open_datatree(folder, engine="imagedata")
    else:
        tree = xr.open_datatree(folder, engine="imagedata")
    images = [node.dataset["image"] for node in tree.subtree if "image" in node.data_vars]
    assert len(images) == stacks
    for image in images:
        assert image.sizes["tag"] == 4 // stacks
        for volume in image:
            np.testing.assert_array_equal(volume, expected(image.imd.affine, volume.shape))
    (tmp_path / "nii").mkdir()
    command = [require_program("dcm2niix"), "-b", "n", "-o", str(tmp_path / "nii"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    found = [nib.Nifti1Image.from_filename(path) for path in (tmp_path / "nii").glob("*.nii")]
    assert len(found) == stacks
    for judge in found:
        lps = np.diag([-1, -1, 1, 1]) @ judge.affine
        np.testing.assert_array_equal(judge.get_fdata()[..., 0], expected(lps, judge.shape[:3]))


def test_what_was_put_in_place_stays_there(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="reversed rows"):
        a = xr.open_dataarray(series(tmp_path / "in", 2, 3, vary(1)), engine="imagedata")
    a.imd.write(str(tmp_path / "out"))
    b = xr.open_dataarray(tmp_path / "out", engine="imagedata")
    np.testing.assert_array_equal(b.imd.affine, a.imd.affine)
    np.testing.assert_array_equal(b, a)


def test_where_it_can_not_be_told_this_is_said(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="12 images of GE's sequence epi_pepolar may be stored upside down"):
        a = xr.open_dataarray(series(tmp_path, 4, 3, vary(2, "ROW")), engine="imagedata")
    assert a.sizes["tag"] == 4

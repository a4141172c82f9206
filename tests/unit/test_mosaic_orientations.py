"""Siemens mosaics of all orientations, patient positions and orders of slices: places, directions, slice times.

Each voxel holds a number of its own place; dcm2niix is asked for the same series.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from mosaics import Volume, mosaic, number
from numpy.typing import NDArray
from pydicom.uid import UID
from series import open_image, save

TR = 2000.0
TURNED = np.deg2rad(25)
C, S = float(np.cos(TURNED)), float(np.sin(TURNED))
PLANES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "feet first": (-1, 0, 0, 0, 1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "decubitus": (0, 1, 0, -1, 0, 0),
    "tra > cor": (1, 0, 0, 0, C, S),
    "tra > sag": (C, 0, S, 0, 1, 0),
    "tra > cor > sag": (C, S, 0, -S * C, C * C, S),
    "sag > cor": (-S, C, 0, 0, 0, -1),
    "cor > tra": (1, 0, 0, 0, -S, -C),
}
ORDERS = {
    "ascending": [0, 1, 2, 3, 4, 5, 6],
    "descending": [6, 5, 4, 3, 2, 1, 0],
    "interleaved": [0, 4, 1, 5, 2, 6, 3],
    "interleaved down": [3, 6, 2, 5, 1, 4, 0],
    "two at once": [0, 2, 1, 3, 0, 2, 1],
}
DIRECTION = np.array([0.36, 0.48, 0.8])


def course(folder: Path, plane: str, sign: int, order: str = "ascending", position: str = "HFS") -> Volume:
    """Write a time course of two mosaics, of which the second is weighted by diffusion."""
    volume = Volume(orientation=PLANES[plane], sign=sign)
    rank = ORDERS[order]
    times = [TR / (max(rank) + 1) * k for k in rank]
    for v in range(2):
        weighting = {"B_value": [str(1000 * v)], "DiffusionDirectionality": ["DIRECTIONAL" if v else "NONE"]}
        direction = {"DiffusionGradientDirection": [f"{x:.8f}" for x in DIRECTION]} if v else {}
        csa = {"MosaicRefAcqTimes": [f"{t:.6f}" for t in times], **weighting, **direction}
        ds = mosaic(volume, csa, n=volume.n)
        block = ds.private_block(0x19, "SIEMENS MR HEADER", create=True)
        block.add_new(0x29, "FD", times)
        block.add_new(0x0C, "IS", 1000 * v)
        if v:
            block.add_new(0x0E, "FD", DIRECTION.tolist())
        ds.SOPInstanceUID = UID(f"1.2.826.0.1.3680043.8.498.77.{v}")
        ds.InstanceNumber = ds.AcquisitionNumber = v + 1
        ds.AcquisitionTime, ds.PatientPosition, ds.SeriesNumber = f"10150{2 * v}.000000", position, 4
        ds.RepetitionTime, ds.EchoTime, ds.MRAcquisitionType, ds.ScanningSequence = TR, 30, "2D", "EP"
        ds.SequenceName, ds.InPlanePhaseEncodingDirection = ("*ep_b0", "*ep_b1000#1")[v], "COL"
        ds.SoftwareVersions, ds.SliceThickness = "syngo MR E11", volume.spacing[0]
        save(ds, folder / f"{v}.dcm")
    return volume


def in_place(values: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Hold a volume to its affine in LPS."""
    at = np.moveaxis(np.indices(values.shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    expected = [number(p) for p in at.reshape(-1, 3)]
    assert np.abs(values.ravel().astype(np.float64) - expected).max() <= 1  # of a number that ends in a half


def by_place(affine: NDArray[np.float64], n: int, axis: int, along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place of each slice along a direction, mm."""
    return np.asarray(np.arange(n) * (affine[:3, axis] @ along) + affine[:3, 3] @ along)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("plane", PLANES)
def test_every_voxel_of_every_orientation(tmp_path: Path, plane: str, sign: int) -> None:
    course(tmp_path, plane, sign)
    a = open_image(tmp_path)
    assert a.shape == (2, 7, 4, 6)
    for one in a.values:
        in_place(one, a.imd.affine)
    found = [float(a[f"b_vector_{n}"][1]) for n in "xyz"]
    np.testing.assert_allclose(found, DIRECTION, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_slices_have_the_times_of_their_tiles(tmp_path: Path, order: str, sign: int) -> None:
    volume = course(tmp_path, "tra > cor > sag", sign, order)
    a = open_image(tmp_path)
    seconds = dict(enumerate(np.array(ORDERS[order]) * 1e-3 * TR / (max(ORDERS[order]) + 1)))
    tile = np.rint(by_place(a.imd.affine, 7, 0, volume.normal) - volume.place(0, 0, 0) @ volume.normal) / 5
    for one in a.slice_time.values:
        np.testing.assert_allclose(one, [seconds[round(float(t))] for t in tile], atol=1e-6)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(
    ("sign", "order", "position"),
    [(1, "interleaved", "HFS"), (-1, "interleaved down", "FFS"), (1, "two at once", "FFP")],
)
def test_dcm2niix_says_the_same(
    tmp_path: Path, require_program: Callable[[str], Path], plane: str, sign: int, order: str, position: str
) -> None:
    volume = course(tmp_path / "in", plane, sign, order, position)
    (tmp_path / "nii").mkdir()
    program, out, folder = require_program("dcm2niix"), tmp_path / "nii", tmp_path / "in"
    command = [str(program), "-b", "y", "-f", "x", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    judge = nib.Nifti1Image.from_filename(tmp_path / "nii" / "x.nii")
    theirs = np.diag([-1.0, -1.0, 1.0, 1.0]) @ judge.affine
    a = open_image(tmp_path / "in")
    in_place(np.asarray(judge.dataobj)[..., 0], theirs)
    in_place(a.values[0], a.imd.affine)
    # times of the same places
    said = json.loads((tmp_path / "nii" / "x.json").read_text())["SliceTiming"]
    their_place, our_place = by_place(theirs, 7, 2, volume.normal), by_place(a.imd.affine, 7, 0, volume.normal)
    np.testing.assert_allclose(np.sort(their_place), np.sort(our_place), atol=1e-3)
    ours = a.slice_time.values[0][np.argsort(our_place)]
    np.testing.assert_allclose(ours, np.array(said)[np.argsort(their_place)], atol=1e-3)
    # directions: FSL's are along the axes of the image, x reversed where these are right-handed
    x = np.loadtxt(tmp_path / "nii" / "x.bvec")[:, 1]
    axes = theirs[:3, :3] / np.linalg.norm(theirs[:3, :3], axis=0)
    x[0] *= -1 if np.linalg.det(judge.affine) > 0 else 1
    ours = np.array([float(a[f"b_vector_{n}"][1]) for n in "xyz"])
    np.testing.assert_allclose(abs(axes @ x @ ours), 1, atol=1e-3)  # a direction and its opposite weight alike

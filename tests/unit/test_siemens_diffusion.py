"""Siemens images that say how they are weighted by diffusion in other places than group 0019."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray as xr
from mosaics import csa1, csa2
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from series import image, open_image, save

from imagedata_xr.errors import ImagedataWarning

B = (0, 1000, 1000, 1000)
DIRECTIONS = np.array([[0, 0, 0], [1, 0, 0], [0, 0.6, 0.8], [0.6, 0, -0.8]])
HEADER = "SIEMENS MR HEADER"
Say = Callable[[Dataset, int], None]


def series(folder: Path, say: Say, volumes: int = 4) -> Path:
    """Two slices of each volume, of which `say` tells the weighting."""
    for v in range(volumes):
        for k in range(2):
            ds = image(v, k, {"Manufacturer": "SIEMENS", "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "ND"]})
            say(ds, v)
            save(ds, folder / f"{v}{k}.dcm")
    return folder


def six(v: int) -> list[float]:
    """b-matrix of a volume: xx, xy, xz, yy, yz, zz; with what the imaging gradients add."""
    matrix = (B[v] - 4) * np.outer(DIRECTIONS[v], DIRECTIONS[v]) + np.diag([2.0, 1.0, 0.5])
    return [float(x) for x in matrix[np.triu_indices(3)]]


def vectors(a: xr.DataArray) -> NDArray[np.float64]:
    return np.stack([a[f"b_vector_{c}"].values for c in "xyz"], axis=1)


def in_csa(encode: Callable[[Any], bytes], matrix: bool = False) -> Say:
    def say(ds: Dataset, v: int) -> None:
        tags = {"B_value": [str(B[v])], "DiffusionDirectionality": ["DIRECTIONAL" if v else "NONE"]}
        if v and matrix:
            tags["B_matrix"] = [f"{x:.8f}" for x in six(v)]
        elif v:
            tags["DiffusionGradientDirection"] = [f"{x:.8f}" for x in DIRECTIONS[v]]
        tags["Filling"] = [str(v) * 5000]  # real ones are long, and differ from file to file
        ds.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", encode(tags))

    return say


@pytest.mark.parametrize("encode", [csa1, csa2])
def test_single_slices_whose_csa_header_alone_tells(tmp_path: Path, encode: Callable[[Any], bytes]) -> None:
    a = open_image(series(tmp_path, in_csa(encode)))
    assert a.tag.attrs["order"] == "dti"
    assert a.b_value.values.tolist() == list(B)
    np.testing.assert_allclose(vectors(a), DIRECTIONS, atol=1e-6)
    assert a.diffusion_directionality.values.tolist() == [0, 1, 1, 1]


def test_they_are_unchanged_when_written(tmp_path: Path) -> None:
    a = open_image(series(tmp_path / "in", in_csa(csa2)))
    a.imd.write(str(tmp_path / "out"))
    b = open_image(tmp_path / "out")
    assert b.ImageType[0] == "ORIGINAL"  # not derived
    np.testing.assert_allclose(vectors(b), DIRECTIONS, atol=1e-6)


def test_a_damaged_csa_header_does_not_cost_the_image(tmp_path: Path) -> None:
    def say(ds: Dataset, v: int) -> None:
        ds.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"SV10\4\3\2\1\1\0\0\0M\0\0\0ab")

    with pytest.warns(ImagedataWarning, match="whether it is weighted by diffusion is not known"):
        a = open_image(series(tmp_path, say, volumes=1))
    assert a.sizes["slice"] == 2


@pytest.mark.parametrize("named", [True, False])
def test_the_direction_is_the_axis_of_the_b_matrix(
    tmp_path: Path, named: bool, require_module: Callable[[str], ModuleType]
) -> None:
    judge: Any = require_module("nibabel.nicom.dwiparams")

    def say(ds: Dataset, v: int) -> None:
        ds.private_block(0x19, HEADER, create=True).add_new(0x27, "FD", six(v))
        if named:
            ds.SequenceName = f"*ep_b{B[v]}#{v}" if v else "*ep_b0"

    a = open_image(series(tmp_path, say))
    assert a.tag.attrs["order"] == "dti"
    np.testing.assert_allclose(a.b_value, B if named else [sum(np.array(six(v))[[0, 3, 5]]) for v in range(4)])
    for v in range(1, 4):
        xx, xy, xz, yy, yz, zz = six(v)
        q = judge.B2q(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
        assert abs(vectors(a)[v] @ q) == pytest.approx(np.linalg.norm(q))


def test_the_csa_header_s_b_matrix(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, in_csa(csa2, matrix=True)))
    np.testing.assert_allclose(abs((vectors(a)[1:] * DIRECTIONS[1:]).sum(axis=1)), 1, atol=1e-4)


def test_sequence_names_alone_give_b_values_and_lose_directions_aloud(tmp_path: Path) -> None:
    def say(ds: Dataset, v: int) -> None:
        ds.SequenceName = ("*ep_b0", "*ep_b500#1", "*ep_b500#2", "*re_b1000t")[v]

    with pytest.warns(ImagedataWarning, match="2 of 4 volumes are weighted by diffusion in a direction"):
        a = open_image(series(tmp_path, say))
    assert a.b_value.values.tolist() == [0, 500, 500, 1000]
    assert a.diffusion_directionality.values.tolist() == [0, 1, 1, 3]
    assert (vectors(a) == 0).all()


@pytest.mark.parametrize("kind", ["ADC", "FA"])
@pytest.mark.parametrize("name", ["*ep_b0_1000", "*ep_b1000t"])
def test_maps_have_no_b_value(tmp_path: Path, kind: str, name: str) -> None:
    def say(ds: Dataset, v: int) -> None:
        ds.ImageType, ds.SequenceName = ["DERIVED", "PRIMARY", "DIFFUSION", kind, "ND"], name
        ds.private_block(0x19, HEADER, create=True).add_new(0x27, "FD", six(1))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "b_value" not in open_image(series(tmp_path, say, volumes=1)).coords


def test_names_of_other_sequences_are_no_b_values(tmp_path: Path) -> None:
    def say(ds: Dataset, v: int) -> None:
        ds.ImageType, ds.SequenceName = ["ORIGINAL", "PRIMARY", "M", "ND"], ("*fl2d1", "*tse2d1_b3")[v]

    assert "b_value" not in open_image(series(tmp_path, say, volumes=2), order="none").coords


def test_an_unweighted_image_has_no_directionality_whatever_its_elements_say(tmp_path: Path) -> None:
    def say(ds: Dataset, v: int) -> None:
        block = ds.private_block(0x19, HEADER, create=True)
        block.add_new(0x0C, "IS", B[v])
        block.add_new(0x0D, "CS", "DIRECTIONAL")  # release VB13 says so of b = 0, too
        if v:
            block.add_new(0x0E, "FD", DIRECTIONS[v].tolist())

    a = open_image(series(tmp_path / "a", say))
    assert a.diffusion_directionality.values.tolist() == [0, 1, 1, 1]
    assert vectors(a)[0].tolist() == [0, 0, 0]
    a.imd.write(str(tmp_path / "b"), keep_uid=True)  # still unchanged: else it raises

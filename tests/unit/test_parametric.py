"""Parametric maps: kinds of pixels, quantities, units, and the grid of the series that they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from parametric import KNOWN, made, mapping, parametric_map, places, save
from phantoms import opened

from imagedata_xr.errors import SeriesError


@pytest.fixture(autouse=True)
def _highdicom(require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")


def judged(path: Path, real_world: bool = False) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Values and affine by highdicom: affine from index (slice, row, col), LPS mm."""
    import highdicom as hd

    volume = hd.imread(path).get_volume(apply_real_world_transform=real_world, apply_modality_transform=False)
    return volume.array, volume.affine


def same_place(got: xr.DataArray, affine: NDArray[np.float64]) -> None:
    """Both say the same place of each voxel; highdicom may number slices the other way round."""
    last = np.array([got.sizes["slice"] - 1, 0, 0, 1])
    first = np.array([0, 0, 0, 1])
    ends = [got.imd.affine @ first, got.imd.affine @ last]
    theirs = [affine @ first, affine @ last]
    if not np.allclose(ends[0], theirs[0], atol=1e-6):
        theirs.reverse()
    np.testing.assert_allclose(ends, theirs, atol=1e-6)
    np.testing.assert_allclose(got.imd.affine[:3, 1:3], affine[:3, 1:3], atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "limits", "add"), [("f4", (-1e30, 1e30), 0), ("f8", (-1e30, 1e30), 0), ("u2", (0, 65535), 500),
                                 ("u1", (0, 255), 100)],
)  # fmt: skip
def test_values_and_places_are_those_of_highdicom(dtype: str, limits: Any, add: float, tmp_path: Path) -> None:
    of, files = made(tmp_path / "ct")
    want = (places(of)[..., 0] * np.pi / 2 + add).astype(dtype)
    path = save(parametric_map(files, want, [mapping("ADC", limits, 0.5, 3)]), tmp_path / "map" / "a.dcm")
    got = opened(path.parent)
    values, affine = judged(path)
    assert got.dtype == (np.float64 if dtype == "f8" else np.float32)
    assert got.shape == (1, *want.shape)
    order = slice(None) if np.allclose(affine[:3, 3], got.imd.affine[:3, 3], atol=1e-6) else slice(None, None, -1)
    np.testing.assert_array_equal(got.values[0], values[order])
    same_place(got, affine)
    mapped = got.imd.real_world()
    by_formula = dtype[0] == "f"  # highdicom 0.28 fails to map float pixels
    theirs = values * 0.5 + 3 if by_formula else judged(path, real_world=True)[0]
    np.testing.assert_allclose(mapped.values[0], theirs[order], rtol=1e-6)
    assert mapped.attrs["units"] == "um2/s"


def test_units_are_said_only_where_values_are_in_them(tmp_path: Path) -> None:
    of, files = made(tmp_path / "ct")
    want = places(of)[..., 0].astype("f4")
    for slope, add, units in ((1, 0, "um2/s"), (2, 0, None), (1, 5, None)):
        save(parametric_map(files, want, [mapping("ADC", slope=slope, intercept=add)]), tmp_path / "map" / "a.dcm")
        got = opened(tmp_path / "map")
        np.testing.assert_array_equal(got.values[0], want)
        assert got.attrs.get("units") == units
        assert got.attrs["quantity"] == KNOWN["ADC"][0][2]
        assert "units" not in opened(tmp_path / "map", mask_and_scale=False).attrs


def test_quantities_of_one_file_are_images_of_their_own(tmp_path: Path) -> None:
    of, files = made(tmp_path / "ct")
    x, y = places(of)[..., 0], places(of)[..., 1]
    pixels = np.stack([x, y], -1).astype("f4")
    save(parametric_map(files, pixels, [[mapping("ADC")], [mapping("Ktrans")]]), tmp_path / "map" / "a.dcm")
    with pytest.raises(SeriesError, match="Ktrans in /min"):
        opened(tmp_path / "map")
    tree = xr.open_datatree(tmp_path / "map", engine="imagedata")
    images = [n.to_dataset()["image"] for n in tree.subtree if "image" in n.data_vars]
    found = {a.attrs["quantity"]: a for a in images}
    assert {k: a.attrs["units"] for k, a in found.items()} == {code[2]: unit[0] for code, unit in KNOWN.values()}
    np.testing.assert_array_equal(found["Apparent Diffusion Coefficient"].values[0], pixels[..., 0])
    np.testing.assert_array_equal(found["Ktrans"].values[0], pixels[..., 1])


def test_a_map_lies_on_the_slices_of_its_series(tmp_path: Path) -> None:
    """Positions that a program rounded do not keep a map from being combined with its series."""
    of, files = made(tmp_path / "ct")
    ds = parametric_map(files[1:4], places(of)[1:4, ..., 0].astype("f4"), [mapping("ADC")])
    for frame in ds.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [round(float(v), 2) for v in place.ImagePositionPatient]
    save(ds, tmp_path / "map" / "a.dcm")
    tree = xr.open_datatree(tmp_path, engine="imagedata")
    images = {str(n.dataset["image"].attrs["Modality"]): n.to_dataset()["image"]
              for n in tree.subtree if "image" in n.data_vars}  # fmt: skip
    ct = images.pop("CT")
    (map_,) = images.values()
    np.testing.assert_array_equal(map_.slice, ct.slice[1:4])
    np.testing.assert_array_equal(map_.row, ct.row)
    product = (ct.isel(slice=slice(1, 4), tag=0, drop=True) * map_.isel(tag=0, drop=True)).values
    np.testing.assert_allclose(product, ct.values[0, 1:4] * places(of)[1:4, ..., 0], rtol=1e-5)


def test_a_map_without_places_takes_those_of_its_sources(tmp_path: Path) -> None:
    of, files = made(tmp_path / "ct")
    ds = parametric_map(files, places(of)[..., 0].astype("f4"), [mapping("ADC")])
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence
    del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    save(ds, tmp_path / "map" / "a.dcm")
    tree = xr.open_datatree(tmp_path, engine="imagedata")
    (map_,) = (n.to_dataset()["image"] for n in tree.subtree
               if "image" in n.data_vars and "quantity" in n.dataset["image"].attrs)  # fmt: skip
    np.testing.assert_allclose(map_.imd.affine[:3, 3], of.positions(0)[0, 0], atol=1e-6)
    np.testing.assert_allclose(map_.values[0], places(of)[..., 0], rtol=1e-6)
    alone = opened(tmp_path / "map")
    assert "geometry" not in alone.coords


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
def test_an_unchanged_map_is_written_as_it_was(dtype: str, tmp_path: Path) -> None:
    of, files = made(tmp_path / "ct")
    pixels = (places(of)[..., 0] * np.pi + 500).astype(dtype)
    if dtype != "u2":
        pixels[2, 3, 4] = np.nan
    limits = (0, 65535) if dtype == "u2" else (-1e30, 1e30)
    path = save(parametric_map(files, pixels, [mapping("ADC", limits)]), tmp_path / "map" / "a.dcm")
    opened(path.parent).imd.write(tmp_path / "out", keep_uid=True)
    (written,) = (p for p in (tmp_path / "out").rglob("*") if p.is_file())
    np.testing.assert_array_equal(judged(written)[0], judged(path)[0])
    np.testing.assert_allclose(judged(written)[1], judged(path)[1])


def test_a_computed_map_is_written_as_an_image_of_its_values(tmp_path: Path) -> None:
    """It is classic images without the mapping of the source, which is no longer true."""
    of, files = made(tmp_path / "ct")
    save(parametric_map(files, places(of)[..., 0].astype("f4"), [mapping("ADC")]), tmp_path / "map" / "a.dcm")
    got = opened(tmp_path / "map")
    (got * 2).imd.write(tmp_path / "out")
    back = opened(tmp_path / "out")
    np.testing.assert_allclose(back.values, 2 * got.values, atol=1e-3)
    np.testing.assert_allclose(back.imd.affine, got.imd.affine, atol=1e-9)
    assert "quantity" not in back.attrs
    assert "RealWorldValueMappingSequence" not in back.attrs

"""Every voxel of what was written lies where it lay, as SimpleITK sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make, opened

from imagedata_xr.dicom.writing.write import write
from imagedata_xr.errors import GeometryError
from imagedata_xr.formats.seam import WriteOptions
from imagedata_xr.model.image import canonical, space_of

SERIES = {
    "axial": phantoms.mr(),
    "oblique": phantoms.mr(orientation=phantoms.OBLIQUE, spacing=(3.3, 220 / 512, 1.7)),
    "coronal": phantoms.mr(orientation=(1, 0, 0, 0, 0, -1)),
    "sagittal": phantoms.mr(orientation=(0, 1, 0, 0, 0, -1), origin=(1234.56789, -0.000123, 9.87654321)),
    "ct": phantoms.ct(),
}
PARTS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "whole": lambda a: a,
    "slices": lambda a: a.isel(slice=slice(1, 3)),
    "rows": lambda a: a.isel(row=slice(2, 5)),
    "cols": lambda a: a.isel(col=slice(3, None)),
    "every second slice": lambda a: a.isel(slice=slice(None, None, 2)),
    "every second row": lambda a: a.isel(row=slice(1, None, 2)),
    "flipped": lambda a: a.isel(slice=slice(None, None, -1), row=slice(None, None, -1), col=slice(None, None, -1)),
    "one slice": lambda a: a.isel(slice=[2]),
    "a slice selected": lambda a: a.isel(slice=2),
    "one volume": lambda a: a.isel(tag=0),
    "coarser": lambda a: a.coarsen(row=2, col=2).mean(),
}
ALL_PARTS = PARTS | {"a row": lambda a: a.isel(row=[3])}  # of which SimpleITK makes a stack of another shape


def expected(image: xr.DataArray) -> tuple[Any, Any]:
    """Positions, shape (slices, rows, cols, 3), and values from the labels."""
    image = canonical(image)
    space = space_of(image)
    assert space is not None
    grid = np.meshgrid(*(image[n].values for n in ("slice", "row", "col")), indexing="ij")
    return np.stack(grid, axis=-1) @ space.direction.T, image.values[0]


def by_itk(sitk: Any, paths: tuple[str, ...]) -> tuple[Any, Any]:
    """Positions and values as SimpleITK has them."""
    positions = sorted(
        paths,
        key=lambda p: float(
            np.dot(
                pydicom.dcmread(p).ImagePositionPatient,
                np.cross(*np.array(pydicom.dcmread(p).ImageOrientationPatient, dtype=float).reshape(2, 3)),
            )
        ),
    )
    image = sitk.ReadImage(positions) if len(positions) > 1 else sitk.ReadImage(positions[0])
    values = sitk.GetArrayFromImage(image)
    index = np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), axis=-1)[..., ::-1]
    matrix = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    return index @ matrix.T + image.GetOrigin(), values


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("scale", [1.0, 0.37])
def test_each_voxel_lies_where_it_lay(
    kind: str, part: str, scale: float, tmp_path: Path, require_module: Callable[[str], ModuleType]
) -> None:
    sitk = require_module("SimpleITK")
    make(tmp_path / "in", SERIES[kind])
    image = PARTS[part](opened(tmp_path / "in")) * scale
    done = write(image, str(tmp_path / "out"), WriteOptions())
    places, values = expected(image)
    itk_places, itk_values = by_itk(sitk, done.paths)
    assert itk_places.shape == places.shape
    if places.shape[0] > 1 or part == "one slice":
        assert np.abs(itk_places - places).max() < 1e-4
    step = np.ptp(values) / 65535
    assert np.abs(itk_values - values).max() <= 0.51 * step + 1e-3


@pytest.mark.parametrize("kind", [*SERIES, "tilted"])
@pytest.mark.parametrize("part", ALL_PARTS)
def test_the_labels_come_back(kind: str, part: str, tmp_path: Path) -> None:
    series = phantoms.ct(travel=(0.0, 0.8, 3.0)) if kind == "tilted" else SERIES[kind]
    make(tmp_path / "in", series)
    image = canonical(ALL_PARTS[part](opened(tmp_path / "in")) * 0.37)
    write(image, str(tmp_path / "out"), WriteOptions())
    back = opened(tmp_path / "out")
    if kind == "tilted" and image.sizes["slice"] == 1:
        # the direction of a single slice is its normal: its labels are others, its place is the same
        assert np.allclose(expected(back)[0], expected(image)[0], atol=1e-4)
        return
    for name in ("slice", "row", "col"):
        assert np.allclose(back[name].values, image[name].values, atol=1e-6)
    assert np.allclose(back.values, image.values, atol=np.ptp(image.values) / 65535)


def test_uneven_slices_keep_their_places(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(1, 5, 6, 8)))
    image = opened(tmp_path / "in").isel(slice=[0, 1, 4]) * 0.37
    done = write(image, str(tmp_path / "out"), WriteOptions())
    heads = [pydicom.dcmread(p) for p in done.paths]
    assert [float(d.ImagePositionPatient[2]) for d in heads] == pytest.approx([42.125, 45.125, 54.125])
    assert all("SpacingBetweenSlices" not in d for d in heads)


def test_uneven_rows_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr())
    with pytest.raises(GeometryError, match="row"):
        write(opened(tmp_path / "in").isel(row=[0, 1, 4]), str(tmp_path / "out"), WriteOptions())
    assert not (tmp_path / "out").exists()


def test_a_reduced_axis_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr())
    with pytest.raises(GeometryError, match="slice"):
        write(opened(tmp_path / "in").mean("slice"), str(tmp_path / "out"), WriteOptions())
    assert not (tmp_path / "out").exists()

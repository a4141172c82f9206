"""Images whose voxel values are their patient coordinates, made of numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from fsspec import AbstractFileSystem
from numpy.typing import ArrayLike, NDArray

from imagedata_xr.formats.nifti import Nifti
from imagedata_xr.formats.seam import ReadOptions, WriteOptions, Written
from imagedata_xr.model import geometry
from imagedata_xr.model.image import Axis, Volumes, build
from imagedata_xr.model.indexes import Space
from imagedata_xr.stores.url import File, find

AXIAL = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
"""Columns slice, row, col: z, y, x."""
SAGITTAL = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
CORONAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])


def rotation(seed: int) -> NDArray[np.float64]:
    """Random rotation matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q * np.array([1, 1, np.sign(np.linalg.det(q))]))


OBLIQUE = rotation(7) @ AXIAL
SHEARED = OBLIQUE.copy()
SHEARED[:, 0] = np.cos(0.25) * OBLIQUE[:, 0] + np.sin(0.25) * OBLIQUE[:, 1]

DIRECTIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": OBLIQUE, "sheared": SHEARED}


def positions(da: xr.DataArray, direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """LPS of each voxel, shape (slice, row, col, 3), from the labels."""
    labels = np.stack(np.meshgrid(*(np.atleast_1d(da[n].values) for n in geometry.AXES), indexing="ij"), axis=-1)
    return geometry.positions_of(direction, labels)


def axes(
    shape: Sequence[int] = (4, 5, 6),
    spacing: Sequence[float] = (3.0, 1.25, 0.75),
    first: Sequence[float] = (11, -40, 25),
) -> dict[str, Axis]:
    """Labels of slice, row and col."""
    return {n: Axis(f + s * np.arange(c), s) for n, c, s, f in zip(geometry.AXES, shape, spacing, first, strict=True)}


def coordinates(direction: NDArray[np.float64] = AXIAL, **how: Any) -> xr.DataArray:
    """Image of three volumes: x, y and z (LPS, mm) of each voxel; float64, so that files hold them exactly."""
    grid = axes(**how)
    space = Space(direction, "1.2.3.4")
    labels = np.stack(np.meshgrid(*(np.asarray(a.labels) for a in grid.values()), indexing="ij"), axis=-1)
    data = np.moveaxis(geometry.positions_of(direction, labels), -1, 0)
    volumes = Volumes(np.arange(3.0), {"order": "none", "units": "1"})
    image: xr.DataArray = build(np.ascontiguousarray(data), volumes=[volumes], axes=grid, space=space).image
    return image


def series(
    values: ArrayLike = (0.0, 2.5, 5.0, 7.5),
    order: str = "time",
    units: str = "s",
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
    direction: NDArray[np.float64] | None = OBLIQUE,
    dtype: Any = np.float32,
    stored: str | None = "int16",
    shape: tuple[int, int, int] = (3, 4, 5),
    **place: Any,
) -> xr.DataArray:
    """Image with one dim of volumes and whole numbers as values."""
    data = np.random.default_rng(3).integers(0, 1000, (np.size(values), *shape)).astype(dtype)
    image: xr.DataArray = build(
        data,
        volumes=[Volumes(values, {"order": order, "units": units})],
        axes=axes(shape, **place),
        space=None if direction is None else Space(direction, "1.2.3.4"),
        coords=coords,
        attrs=attrs,
        encoding={} if stored is None else {"stored_dtype": stored},
    ).image
    return image


def write(image: xr.DataArray, path: Path, **options: Any) -> Written:
    """Write with the format alone."""
    out = Nifti().write(image, str(path), WriteOptions(**options))
    assert isinstance(out, Written)
    return out


def read(path: Path | str | File, **options: Any) -> xr.DataArray:
    """Read the one image with the format alone."""
    files = [path] if isinstance(path, File) else find(str(path))
    (node,) = Nifti().read(files, ReadOptions(**options))
    image: xr.DataArray = node.open().image
    return image


class Counting(AbstractFileSystem):  # type: ignore[misc]
    """Files that are local, but not known to be, and a count of the bytes read by range."""

    protocol = "counting"
    cachable = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bytes = 0

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Size and kind."""
        return {"name": path, "size": Path(path).stat().st_size, "type": "file"}

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        """Open the local file."""
        return Path(path).open(mode)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Read and count."""
        data = bytes(super().cat_file(path, start, end, **kwargs))
        self.bytes += len(data)
        return data

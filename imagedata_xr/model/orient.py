"""Axes along the patient: how an image lies, in letters, and the same image with other axes, without resampling."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..errors import GeometryError
from .geometry import AXES
from .image import axis_of, canonical, repair, space_of
from .indexes import SPACING_ATTRS, Space
from .query import direction
from .repair import TRAILING
from .turned import turned_attrs

LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "H": (2, 1), "I": (2, -1), "F": (2, -1)}
"""Axis of the patient (x, y, z of LPS) and sign to which a letter points; H and F are DICOM's words for S and I."""

_OF_PLANES = ("instance", "slice_time")  # said of whole planes, which are others where the slices are


def orientation(image: xr.DataArray) -> str:
    """Letters to which col, row and slice index grow, as nearly as an oblique image can say: ``"LPS"`` is axial.

    Raises
    ------
    GeometryError
        Where the image has no place in the patient.
    """
    d = direction(image)
    axes = _patient_axes(d)
    signs = np.sign(d[axes, range(3)])
    names = {v: k for k, v in reversed(LETTERS.items())}
    return "".join(names[axes[k], int(signs[k])] for k in (2, 1, 0))


def to_orientation(image: xr.DataArray, code: str) -> xr.DataArray:
    """Permute and flip the axes of an image, so that they point where a code says, as nearly as they can.

    No voxel moves in the patient and no value changes. As the axes are others, so are the labels along them: the
    result does not align with the image, but `interp_like` and files do.

    Parameters
    ----------
    image : xarray.DataArray
        With a place in the patient.
    code : str
        Three letters of L/R, P/A and S/I (or H/F), one of each: where col, row and slice index grow, as in ITK's and
        NIfTI's codes. ``"LPS"`` and ``"RAS"`` are axial, ``"LIP"`` and ``"LSA"`` coronal, ``"PIR"`` and ``"AIL"``
        sagittal.

    Returns
    -------
    xarray.DataArray
        Itself where it lies so. With ascending labels; where the code is left-handed (``"LAS"``), those of ``row``
        descend. `instance` and `slice_time` are of planes: they are dropped where the slices are others.

    Raises
    ------
    GeometryError
        For a code that is none, and an image without a place in the patient or without one of its axes.
    """
    wanted = _parse(code)
    if orientation(image) == _normal(code):
        return image
    image = _whole(image)
    space = space_of(image)
    if space is None:
        raise GeometryError("the image has no place in the patient: it has no orientation")
    axes = _patient_axes(space.direction)
    source = [axes.index(axis) for axis, _ in wanted]  # number of the old axis for each new one
    signs = np.array([np.sign(space.direction[wanted[k][0], source[k]]) * wanted[k][1] for k in range(3)])
    turned = space.direction[:, source] * signs
    labels = [signs[k] * axis_of(image, AXES[source[k]])[0] for k in range(3)]
    coords = {}
    for k, name in enumerate(AXES):
        values = labels[k][:: int(signs[k])]
        coords[name] = xr.Variable((name,), values, _plain_attrs(image.coords[AXES[source[k]]]))
    if np.linalg.det(turned[:, ::-1]) < 0:  # the data model is right-handed: rows run against their direction
        turned[:, 1] *= -1
        coords["row"] = coords["row"].copy(data=-coords["row"].values)
    coords["geometry"] = Space(turned, space.frame_of_reference).to_variable()
    moved = _moved(image, source, signs)
    moved.attrs = turned_attrs(moved.attrs, space.direction, turned)
    return repair(moved.assign_coords(xr.Coordinates(coords, indexes={})))  # type: ignore[no-any-return]


def _moved(image: xr.DataArray, source: list[int], signs: NDArray[np.float64]) -> xr.DataArray:
    """Values and other coords on their new dims, in their new sequence; without labels of the axes."""
    lost = [*AXES, "geometry", *(_OF_PLANES if source[0] != 0 else ())]
    plain = image.drop_indexes([n for n in AXES if n in image.xindexes])
    plain = plain.drop_vars([n for n in lost if n in plain.coords])
    plain = plain.isel({AXES[source[k]]: slice(None, None, -1) for k in range(3) if signs[k] < 0})
    aside = plain.rename({AXES[source[k]]: f"__{name}" for k, name in enumerate(AXES)})
    out = aside.rename({f"__{name}": name for name in AXES})
    return out.transpose(..., *AXES, *[d for d in TRAILING if d in out.dims])


def _whole(image: xr.DataArray) -> xr.DataArray:
    """Image with all three axes, labels ascending, and the volume dims that it had."""
    out = canonical(image)
    if "tag" in out.dims and "tag" not in image.dims:
        out = out.isel(tag=0, drop="tag" not in image.coords)
    return out


def _plain_attrs(coord: xr.DataArray) -> dict[str, float]:
    """Spacing of a single label; that of several is their own difference."""
    if coord.size > 1 or "spacing" not in coord.attrs:
        return {k: v for k, v in coord.attrs.items() if k not in SPACING_ATTRS}
    return {k: v for k, v in coord.attrs.items() if k not in ("count", "first")}


def _patient_axes(d: NDArray[np.float64]) -> list[int]:
    """Axis of the patient (0, 1, 2) along which each image axis lies: the assignment with the largest cosines.

    Of equal ones, as at 45 degrees, the one that does not depend on the sequence and signs of the image axes: else the
    letters of an image would not lead back to it.
    """

    def rank(axes: tuple[int, ...]) -> tuple[float, ...]:
        x, y, z = along = d[:, [axes.index(axis) for axis in range(3)]]
        size = np.abs(np.diag(along))
        return tuple(np.round([size.sum(), *size, *(x * y), *(y * z), *(x * z)], 9).tolist())

    best = max(permutations(range(3)), key=rank)
    return list(best)


def _parse(code: str) -> list[tuple[int, int]]:
    """Patient axis and sign of slice, row and col (the sequence of `AXES`; the code has the reverse)."""
    found = [LETTERS.get(letter) for letter in str(code).upper()]
    axes = {f[0] for f in found if f}
    if len(found) != 3 or len(axes) != 3:
        raise GeometryError(
            f"orientation {code!r}: three letters, one each of L/R, P/A and S/I, say where col, row and slice index "
            "grow, such as 'LPS' or 'RAS'"
        )
    return [f for f in reversed(found) if f]


def _normal(code: str) -> str:
    return code.upper().replace("H", "S").replace("F", "I")

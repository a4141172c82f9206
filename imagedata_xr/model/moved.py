"""What labels and attrs say in terms of the patient, where a registration has moved the patient."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .orders import VECTOR
from .phase_encoding import BANDWIDTH, DIRECTION, bandwidth_attr, direction_attr
from .tag_index import TagIndex

_RIGID = 1e-3
"""Part by which lengths may change in a motion that is rigid."""


def rotation_of(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation in an affine, shape (3, 3): the nearest one, of its polar decomposition.

    Directions of diffusion turn by it, as they have no length that scaling or shear could change (finite strain;
    Alexander et al., IEEE Trans Med Imaging 20:1131, 2001).
    """
    u, _, v = np.linalg.svd(transform[:3, :3])
    return np.asarray(u @ v)


def moved(image: xr.DataArray, transform: NDArray[np.float64]) -> xr.DataArray:
    """Image whose directions are those of another space.

    Parameters
    ----------
    image : xarray.DataArray
        Its indexes of volumes that compare directions are dropped, for `repair` to make them anew.
    transform : ndarray, shape (4, 4)
        Takes points of the other space to those of the image, LPS mm.

    Returns
    -------
    xarray.DataArray
        With the directions of diffusion and of phase encoding turned back by the rotation in `transform`. The bandwidth
        of phase encoding follows the scale along it, or goes where the direction is not known.
    """
    back = rotation_of(transform).T
    if np.abs(back - np.eye(3)).max() > 1e-12 and all(name in image.coords for name in VECTOR):
        old = [image.coords[name].variable for name in VECTOR]
        new = np.tensordot(back, np.stack([np.asarray(v.values, dtype=np.float64) for v in old]), 1)
        compared = [d for d, index in image.xindexes.items() if isinstance(index, TagIndex) and index.keys is not None]
        image = image.drop_indexes(compared).assign_coords(
            {name: v.copy(data=values) for name, v, values in zip(VECTOR, old, new, strict=True)}
        )
    attrs = dict(image.attrs)
    if DIRECTION in attrs:
        vector = back @ np.asarray(attrs[DIRECTION], dtype=np.float64)
        attrs[DIRECTION] = direction_attr(vector)
    if BANDWIDTH in attrs:
        lengths = np.linalg.svd(transform[:3, :3], compute_uv=False)
        if DIRECTION in attrs:
            scale = np.linalg.norm(transform[:3, :3] @ vector) / np.linalg.norm(vector)
            attrs[BANDWIDTH] = bandwidth_attr(float(attrs[BANDWIDTH] * scale))
        elif np.abs(lengths - 1).max() > _RIGID:
            del attrs[BANDWIDTH]
    out = image.copy(deep=False)
    out.attrs = attrs
    return out

"""Phase encoding as BIDS says it: of the axes and the grid of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model.phase_encoding import AXIS, BANDWIDTH, DIRECTION, bandwidth_attr, direction_attr

_ALONG = 0.99
"""Cosine to an axis from which a direction is along it."""
_TO_RAS = np.array([-1.0, -1.0, 1.0])


def of_file(attrs: Mapping[Any, Any], affine_ras: ArrayLike, shape: Sequence[int]) -> dict[str, Any]:
    """What BIDS says of it.

    Parameters
    ----------
    attrs : mapping
        Of the image.
    affine_ras : array_like, shape (4, 4)
        Of the file.
    shape : sequence of int
        Number of columns, rows and slices in the file.

    Returns
    -------
    dict
        ``PhaseEncodingDirection``, where the direction is along an axis; ``EffectiveEchoSpacing`` and
        ``TotalReadoutTime``, s, where the bandwidth is known. With n pixels of width d along the axis, the spacing is
        ``1 / (bandwidth d n)`` and the time that of n - 1 spacings, as FSL and BIDS define them on the size of the
        image: a program that undistorts the file by them moves its voxels rightly, also those of a crop.
    """
    matrix = np.asarray(affine_ras, dtype=np.float64)[:3, :3]
    width = np.linalg.norm(matrix, axis=0)
    out: dict[str, Any] = {}
    axis = _axis_of(str(attrs.get("InPlanePhaseEncodingDirection", "")))
    vector = _numbers(attrs.get(DIRECTION), 3)
    if vector is not None:
        along = (vector * _TO_RAS) @ (matrix / width)
        axis = int(np.abs(along).argmax())
        if not abs(along[axis]) > _ALONG * np.linalg.norm(vector) > 0:
            return {}
        out["PhaseEncodingDirection"] = "ijk"[axis] + ("-" if along[axis] < 0 else "")
    bandwidth = _numbers(attrs.get(BANDWIDTH), 1)
    if axis is None or bandwidth is None or not bandwidth[0] > 0 or not shape[axis] > 1:
        return out
    spacing = 1 / (float(bandwidth[0]) * float(width[axis]) * shape[axis])
    return out | {"EffectiveEchoSpacing": spacing, "TotalReadoutTime": spacing * (shape[axis] - 1)}


def from_file(content: Mapping[str, Any], affine_ras: ArrayLike, shape: Sequence[int]) -> dict[str, Any]:
    """Attrs of what BIDS says; the way back from `of_file`, with the same parameters.

    ``content`` is that of the sidecar. The time counts where only it is given.
    """
    matrix = np.asarray(affine_ras, dtype=np.float64)[:3, :3]
    width = np.linalg.norm(matrix, axis=0)
    word = content.get("PhaseEncodingDirection")
    known = isinstance(word, str) and word[:1] in ("i", "j", "k") and word[1:] in ("", "-")
    out: dict[str, Any] = {}
    axis = _axis_of(str(content.get("InPlanePhaseEncodingDirectionDICOM", "")))
    if known:
        axis = "ijk".index(str(word)[0])
        vector = matrix[:, axis] / width[axis] * _TO_RAS * (-1 if str(word).endswith("-") else 1)
        out[DIRECTION] = direction_attr(vector)
    if axis is None or not shape[axis] > 1:
        return out
    spacing, time = (_numbers(content.get(key), 1) for key in ("EffectiveEchoSpacing", "TotalReadoutTime"))
    each = spacing[0] if spacing is not None else time[0] / (shape[axis] - 1) if time is not None else 0.0
    if each > 0:
        out[BANDWIDTH] = bandwidth_attr(1 / (each * width[axis] * shape[axis]))
    return out


def _axis_of(word: str) -> int | None:
    letter = AXIS.get(word.strip().upper())
    return None if letter is None else "ijk".index(letter)


def _numbers(value: Any, count: int) -> NDArray[np.float64] | None:
    """Return `count` finite numbers; None for anything else."""
    try:
        found = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        return None
    return found if found.shape == (count,) and bool(np.isfinite(found).all()) else None

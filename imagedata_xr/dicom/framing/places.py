"""Which frames have a place in the patient, and what is said of those whose place is none, or only nearly one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import warn
from .frames import Frames

_ROUNDED, _WRONG = 2e-3, 2e-2
"""How far direction cosines may be from unit length, and from right angles: three decimals are this far off at most;
beyond the second they are no directions of an image."""


def placed(frames: Frames) -> NDArray[np.bool_]:
    """Whether each frame has a position, an orientation and a spacing that are some, shape (n,).

    Warns
    -----
    ImagedataWarning
        Where they claim a place that is none, say only a part of it, or have directions that are not quite unit
        vectors at right angles; and where images of one kind have a place and others have none.
    """
    iop, spacing = frames.orientation, frames.spacing
    known = np.asarray(np.isfinite(np.hstack([frames.position, iop, spacing])).all(axis=1))
    known &= np.asarray(np.nan_to_num(spacing) > 0).all(axis=1)
    off = _off(iop)
    known &= np.nan_to_num(off, nan=np.inf) <= _WRONG
    position = np.asarray(np.isfinite(frames.position).any(axis=1))
    orientation = np.asarray(np.isfinite(iop).any(axis=1))
    _warn_of_none(frames, position & orientation & ~known)
    _warn_of_parts(frames, position, orientation)
    rounded = known & (off > _ROUNDED)
    if rounded.any():
        k = int(np.flatnonzero(rounded)[0])
        warn(
            f"ImageOrientationPatient of {int(rounded.sum())} of {len(frames)} images, e.g. {iop[k].tolist()}, is no "
            f"pair of unit vectors at right angles, by {off[rounded].max():.2g}: it is taken for rounded, and voxels "
            "far from the first one lie elsewhere by this share of their distance"
        )
    _warn_of_some(frames, known)
    return known


def _off(iop: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far two directions are from unit vectors at right angles, shape (n,)."""
    row, column = np.linalg.norm(iop[:, :3], axis=1), np.linalg.norm(iop[:, 3:], axis=1)
    cosine = np.abs((iop[:, :3] * iop[:, 3:]).sum(axis=1))
    return np.asarray(np.max([np.abs(row - 1), np.abs(column - 1), cosine], axis=0))


def _series(frames: Frames, k: int) -> str:
    return frames.text("SeriesNumber")[k] or "?"


def _warn_of_none(frames: Frames, bad: NDArray[np.bool_]) -> None:
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        warn(
            f"{int(bad.sum())} of {len(frames)} images of series {_series(frames, k)} have an "
            f"ImagePositionPatient, ImageOrientationPatient or PixelSpacing that is none, e.g. "
            f"{frames.position[k].tolist()}, {frames.orientation[k].tolist()} and {frames.spacing[k].tolist()}: "
            "they are read without a place in the patient"
        )


def _warn_of_parts(frames: Frames, position: NDArray[np.bool_], orientation: NDArray[np.bool_]) -> None:
    for have, lack, names in (
        (position, orientation, ("ImagePositionPatient", "ImageOrientationPatient")),
        (orientation, position, ("ImageOrientationPatient", "ImagePositionPatient")),
    ):
        part = have & ~lack
        if part.any():
            warn(
                f"{int(part.sum())} of {len(frames)} images of series {_series(frames, int(part.argmax()))} have "
                f"{names[0]} but no {names[1]}: they are read without a place in the patient"
            )


def _warn_of_some(frames: Frames, known: NDArray[np.bool_]) -> None:
    """Say where the slices of a stack would be without those of their kind that have no place."""
    if known.all() or not known.any():
        return
    columns = (frames.text("SOPClassUID"), frames.text("ImageType"), frames.text("SamplesPerPixel"))
    kinds = list(zip(*columns, map(tuple, frames.matrix.tolist()), strict=True))
    apart = {kind for kind, k in zip(kinds, known.tolist(), strict=True) if k}
    lost = sum(kind in apart and not k for kind, k in zip(kinds, known.tolist(), strict=True))
    if lost:
        warn(
            f"{lost} of {len(frames)} images of series {_series(frames, 0)} have no place in the patient, though "
            "others of their kind have one: they are an image of their own, and slices may be missing in that of the "
            "others"
        )

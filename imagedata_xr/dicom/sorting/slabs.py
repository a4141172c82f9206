"""Positions along the normal, and what is parted along it: acquisitions that overlap there, and parallel stacks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...model import geometry
from ...model.geometry import normal
from ..framing.frames import Frames

POSITION_TOLERANCE = 1e-2  # mm: nearer along the normal is one position, further off the line is another stack
UNEVEN = 0.05  # of a step: more is not the same distance


def position_tolerance(frames: Frames) -> float:
    """How far positions may differ and be the same, mm: less where pixels are so small that slices may be as near."""
    finest = float(np.nanmin(frames.spacing, initial=np.inf))
    return min(POSITION_TOLERANCE, 0.1 * finest)


def rounding(frames: Frames) -> float:
    """How far positions may lie beside their line because they were rounded, mm."""
    return geometry.rounding(float(np.nanmin(frames.spacing, initial=np.inf)))


def cluster(values: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """Number of the cluster of each value, ascending; a gap larger than the tolerance begins a new one."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order]) > tolerance
    out = np.empty(len(values), dtype=np.intp)
    out[order] = np.concatenate([[0], np.cumsum(steps)])
    return out


def slabs_of(frames: Frames) -> list[tuple[Frames, dict[str, str]]]:
    """Part the frames of one line by stack, and by acquisition where these overlap as slabs do.

    A long body part is scanned in several acquisitions (AcquisitionNumber) that share some slices at their ends, at the
    same positions or between each other's. They are parted if as one image they would have positions with more images
    than others, or uneven slices; if each alone has neither; if none has all positions, as each volume of a series
    in time has; and if their ends overlap. Others are left together.

    Frames of one line may also be of several stacks of parallel planes (StackID, PS3.3 C.7.6.16.2.2), which need not
    overlap; else the same holds for them.

    Parameters
    ----------
    frames : Frames
        Of one line and orientation.

    Returns
    -------
    list of (Frames, dict)
        With the feature that tells them apart; one and no feature where nothing is parted.
    """
    for keyword, what, overlap in (("StackID", "stack", False), ("AcquisitionNumber", "acquisition", True)):
        words = np.array(frames.text(keyword))
        rows = _parts(frames, words, overlap) if len(np.unique(words)) > 1 and (words != "").all() else []
        if rows:
            return [(frames.take(r), {what: str(words[r[0]])}) for r in rows]
    return [(frames, {})]


def _parts(frames: Frames, words: NDArray[np.str_], overlap: bool) -> list[NDArray[np.intp]]:
    """Rows of the frames of each word, the lowest number first, if that parts them rightly; else none."""
    along = frames.position @ normal(frames.orientation[0])
    near = position_tolerance(frames)
    place = cluster(along, near)
    if _regular(along, place):
        return []
    names = sorted(set(words.tolist()), key=lambda w: (not w.strip().isdecimal(), w.strip().zfill(16)))
    rows = [np.flatnonzero(words == name).astype(np.intp) for name in names]
    if any(not _regular(along[r], cluster(along[r], near)) for r in rows):
        return []
    if any(len(np.unique(place[r])) == place.max() + 1 for r in rows):
        return []
    return rows if not overlap or _overlap([along[r] for r in rows]) else []


def _regular(along: NDArray[np.float64], place: NDArray[np.intp]) -> bool:
    """Whether all positions have equally many images and are equally far apart."""
    counts = np.bincount(place)
    steps = np.diff(np.bincount(place, weights=along) / counts)
    even = len(steps) < 2 or bool(np.ptp(steps) <= UNEVEN * np.median(steps))
    return even and bool((counts == counts[0]).all())


def _overlap(parts: list[NDArray[np.float64]]) -> bool:
    """Whether the ranges of any two overlap, and no two by more than half; acquisitions that interleave do so whole."""
    ranges = sorted((float(p.min()), float(p.max())) for p in parts)
    pairs = list(pairwise(ranges))
    shared = [min(a[1], b[1]) - b[0] for a, b in pairs]
    shorter = [min(a[1] - a[0], b[1] - b[0]) for a, b in pairs]
    return max(shared) >= 0 and all(one <= half / 2 for one, half in zip(shared, shorter, strict=True) if one > 0)

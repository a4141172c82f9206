"""What the manufacturers' modules say of frames besides: places, intervals, slice times, numbers of volumes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..vendors import Misplaced, Numbered, Timed
from .frames import Frames


def interval(frames: Frames) -> NDArray[np.float64]:
    """Time from one volume to the next of a 2-D time course, ms, shape (n,); NaN where it is not known.

    It is Repetition Time, unless the manufacturer's module says otherwise.
    """
    out = frames.numbers("RepetitionTime")
    for rows, part, vendor in frames.by_vendor:
        if isinstance(vendor, Timed):
            out[rows] = vendor.interval(part)
    return out


def slice_times(volume: Frames) -> NDArray[np.float64] | None:
    """Start of each plane of a volume by the manufacturer's protocol, s, shape (n,); None where it does not tell."""
    known = volume.by_vendor
    if len(known) != 1 or len(known[0][0]) != len(volume) or not isinstance(known[0][2], Timed):
        return None
    return known[0][2].slice_times(volume)


def volume_numbers(frames: Frames) -> list[NDArray[np.float64]]:
    """Numbers that sort the planes of one position, the most significant first; an empty list where none are known."""
    out: list[NDArray[np.float64]] = []
    for rows, part, vendor in frames.by_vendor:
        for level, own in enumerate(vendor.volume_numbers(part) if isinstance(vendor, Numbered) else ()):
            if level == len(out):
                out.append(np.zeros(len(frames)))
            out[level][rows] = own
    return out


def put_in_place(frames: Frames) -> Frames:
    """Place the frames anew of which the manufacturer's module knows that their headers place them wrongly."""
    for rows, part, vendor in frames.by_vendor:
        found = vendor.places(part) if isinstance(vendor, Misplaced) else None
        if found is None:
            continue
        for keyword, values in zip(("ImagePositionPatient", "ImageOrientationPatient"), found, strict=True):
            own = frames.own.numbers.setdefault(keyword, np.full((len(frames), values.shape[1]), np.nan))
            own[rows] = np.where(np.isnan(values), own[rows], values)
        frames.forget()
    return frames

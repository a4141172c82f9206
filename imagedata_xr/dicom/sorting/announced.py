"""What images say of how many they are: fewer than that are read, but not in silence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import warn
from ...model.geometry import normal
from ..framing.frames import Frames
from .slabs import UNEVEN
from .stacks import Series, Stack

_SAME_LOCATION = 0.5
"""mm: more than any rounding of Slice Location."""
_PET = "1.2.840.10008.5.1.4.1.1.128"


def warn_of_fewer_images(series: Series) -> None:
    """Say so where a series of an acquisition has fewer instances than Images in Acquisition (0020,1002).

    That is the number of images that resulted from it (PS3.3 C.7.6.1): only original images are counted, since those
    made from them may be fewer. A single image was most likely meant to be opened alone.
    """
    frames = series.frames
    there = len(frames.scan)
    said = frames.numbers("ImagesInAcquisition")
    original = all(words and words[0] == "ORIGINAL" for words in set(frames.strings("ImageType")))
    if there > 1 and original and not np.isnan(said).any() and said.min() > there:
        warn(
            f"series {series.number or '?'} has {there} images, where ImagesInAcquisition says {said.min():g}: "
            "some may be missing, at its ends too"
        )


def warn_of_holes(stack: Stack, slot: NDArray[np.intp]) -> None:
    """Say so where slices or volumes of a stack are likely to be missing.

    Slices: a step that is a multiple of all others; fewer than Number of Slices (0054,0081) of PET, which counts those
    of each volume (PS3.3 C.8.9.1). Volumes: fewer temporal positions than their number (0020,0105).

    Parameters
    ----------
    stack : Stack
    slot : ndarray, shape (n,)
        Number of the slice of each frame.
    """
    frames = stack.frames
    slices = int(slot.max()) + 1
    where = f"series {stack.series.number or '?'}"
    if stack.place and (hole := _hole(frames, slot)):
        warn(f"{where}: {hole}: a slice may be missing")
    if stack.place and (span := _lost_positions(frames, slot)):
        warn(
            f"{where}: images of one ImagePositionPatient have SliceLocation up to {span:.4g} mm apart: their "
            "positions may have been lost, so that slices are taken for volumes of one place. Read the originals"
        )
    pet = set(frames.text("SOPClassUID")) == {_PET}
    said = frames.numbers("NumberOfSlices")
    if pet and slices > 1 and not np.isnan(said).any() and said.min() > slices:
        warn(f"{where} has {slices} slices, where NumberOfSlices says {said.min():g}: some may be missing")
    number, said = frames.numbers("TemporalPositionIdentifier"), frames.numbers("NumberOfTemporalPositions")
    counted = np.isnan(number).all()  # by the images of each position, where nothing numbers their volumes
    there = int(np.bincount(slot).max()) if counted else len(np.unique(number))
    if there > 1 and (counted or not np.isnan(number).any()) and not np.isnan(said).any() and said.min() > there:
        what = "images at each position" if counted else "temporal positions"
        warn(f"{where} has {there} {what}, where NumberOfTemporalPositions says {said.min():g}: volumes may be missing")


def _lost_positions(frames: Frames, slot: NDArray[np.intp]) -> float:
    """How far images of one position are apart by their Slice Location (0020,1041), mm; 0 where that is no sign."""
    location = frames.numbers("SliceLocation")
    if np.isnan(location).any() or len(slot) == int(slot.max()) + 1:
        return 0.0
    low, high = np.full(int(slot.max()) + 1, np.inf), np.full(int(slot.max()) + 1, -np.inf)
    np.minimum.at(low, slot, location)
    np.maximum.at(high, slot, location)
    span = float((high - low).max())
    return span if span > _SAME_LOCATION else 0.0


def _hole(frames: Frames, slot: NDArray[np.intp]) -> str:
    """Where one slice or more is missing between others that are evenly spaced; empty for none."""
    along = frames.position @ normal(frames.orientation[0])
    place = np.bincount(slot, weights=along) / np.bincount(slot)
    steps = np.diff(place)
    if len(steps) < 3:
        return ""
    step = float(np.median(steps))
    ratio = steps / step
    wide = np.abs(ratio - 1) > UNEVEN
    times = np.rint(ratio[wide])
    if not wide.any() or wide.sum() > len(steps) // 4 or (times < 2).any():
        return ""
    if (np.abs(ratio[wide] - times) > UNEVEN).any():
        return ""
    k = int(np.flatnonzero(wide)[0])
    return f"slices {k} and {k + 1} are {steps[k]:.4g} mm apart, where others are {step:.4g} mm"

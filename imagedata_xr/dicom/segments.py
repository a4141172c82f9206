"""Segmentations: which images are some, and that segments are never taken for volumes."""

from __future__ import annotations

import numpy as np

from ..errors import FormatError
from .frames import Frames

CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage, and Label Map Segmentation Storage: the value is the number of the segment."""


def segmentations(frames: Frames) -> list[str]:
    """Number of the segmentation that each plane belongs to, as text; empty for other images."""
    out = []
    for uid, file in zip(frames.text("SOPClassUID"), frames.file.tolist(), strict=True):
        out.append(str(file) if uid in CLASSES else "")
    return out


def is_segmentation(frames: Frames) -> bool:
    """Whether the images are segmentations, whose values are no measurements and stay integers."""
    return set(frames.text("SOPClassUID")) <= set(CLASSES)


def refuse_several_segments(frames: Frames) -> None:
    """Refuse frames of several segments, which may lie at the same position.

    Raises
    ------
    FormatError
        With the numbers of the segments, Referenced Segment Number (0062,000B).
    """
    if not is_segmentation(frames):
        return
    numbers = np.unique(frames.numbers("ReferencedSegmentNumber"))
    numbers = numbers[~np.isnan(numbers)]
    if len(numbers) > 1:
        some = ", ".join(f"{n:g}" for n in numbers[:10]) + (", ..." if len(numbers) > 10 else "")
        raise FormatError(
            f"the segmentation holds {len(numbers)} segments ({some}), each with frames of its own: segmentations of "
            "more than one segment are not read, since their frames are no volumes of one image. Save each segment "
            "as a segmentation of its own"
        )

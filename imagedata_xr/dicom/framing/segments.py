"""Which images are segmentations, and what their values mean (PS3.3 A.51, A.90, C.8.20)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import FormatError
from ..scanning.coded import Coded
from .frames import Frames
from .sequences import sequence_of

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage: the value of a pixel is the number of its segment."""
CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", LABEL_MAP)
"""Segmentation Storage, whose frames are of one segment each; and label maps."""


def segmentations(frames: Frames) -> Coded[str]:
    """Number of the segmentation that each plane belongs to, as text; empty for other images."""
    classes = frames.coded_text("SOPClassUID")
    if not set(classes.values).intersection(CLASSES):
        return Coded.same("", len(frames))
    files = frames.file.tolist()
    return Coded.of(str(file) if uid in CLASSES else "" for uid, file in zip(classes.rows(), files, strict=True))


def is_segmentation(frames: Frames) -> bool:
    """Whether the images are segmentations, whose values are no measurements."""
    return bool(len(frames)) and set(frames.coded_text("SOPClassUID").values) <= set(CLASSES)


def is_label_map(frames: Frames) -> bool:
    """Whether the pixels of a segmentation hold the number of their segment."""
    kinds = (*frames.coded_text("SOPClassUID").values, *frames.coded_text("SegmentationType").values)
    return LABEL_MAP in kinds or "LABELMAP" in kinds


def fractions(frames: Frames) -> NDArray[np.float64] | None:
    """Value of a stored 1 in each frame of a fractional segmentation, shape (n,); None for others (PS3.3 C.8.20.2.3).

    Raises
    ------
    FormatError
        Maximum Fractional Value (0062,000E), which stands for 1, is missing.
    """
    if not is_segmentation(frames) or set(frames.text("SegmentationType")) != {"FRACTIONAL"}:
        return None
    top = frames.numbers("MaximumFractionalValue")
    if not (top > 0).all():
        raise FormatError(
            "the fractional segmentation does not say which stored value stands for 1 (MaximumFractionalValue): "
            "mask_and_scale=False gives the stored integers"
        )
    return np.asarray(1.0 / top)


def described(frames: Frames) -> list[Dataset]:
    """Items of the Segment Sequence (0062,0002) of the first instance; none where it is absent."""
    return sequence_of(frames.scan, int(frames.file[0]), "SegmentSequence")

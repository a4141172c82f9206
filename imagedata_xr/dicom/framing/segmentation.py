"""Frames of a segmentation on a grid of segments and slices (PS3.3 A.51, C.8.20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ...errors import FormatError, SortError
from ...model.geometry import normal
from ...model.image import Axis
from ...stores.url import file_name
from ..sorting.sort import slice_numbers
from ..sorting.stacks import Stack
from .frames import Frames
from .group_table import SOURCE_FRAME, SOURCE_INSTANCE
from .references import first_frames
from .segments import described, is_label_map

_BACKGROUND = ("125040", "DCM")
MOST_GAPS = 4096  # slices without a frame between those that have one


@dataclass(frozen=True)
class SegmentGrid:
    """Where the frames of a segmentation belong.

    Attributes
    ----------
    numbers : ndarray of int64, shape (segments,)
        Segment numbers, ascending: those described, whether or not they have frames.
    index : ndarray, shape (segments, slices)
        Row of the frame; -1 for none, which is a plane of zeros.
    first : ndarray, shape (slices,)
        A frame of each slice.
    """

    numbers: NDArray[np.int64]
    index: NDArray[np.intp]
    first: NDArray[np.intp]


def segment_grid(stack: Stack) -> SegmentGrid:
    """Arrange the frames of a segmentation by segment and slice, in whichever order they are stored.

    Raises
    ------
    FormatError
        A frame does not say which segment it is of.
    SortError
        Two frames of a segment lie at one position, or frames without a position do not say what they were made from.
    """
    frames = stack.frames
    items = described(frames)
    known = {int(n) for item in items if (n := item.get("SegmentNumber")) is not None}
    if is_label_map(frames):
        numbers = np.array(sorted(known - _background(frames, items)), dtype=np.int64)
        if not len(numbers):
            raise FormatError(
                f"{_name(frames)} is a label map that describes no segment; mask_and_scale=False gives its values"
            )
        own = np.repeat(numbers[None], len(frames), axis=0)
    else:
        said = _segments(frames, known)
        numbers = np.array(sorted(known | {int(n) for n in said}), dtype=np.int64)
        own = said[:, None]
    slot = slice_numbers(stack) if stack.place else _slots_without_place(frames, own[:, 0])
    index = np.full((len(numbers), int(slot.max()) + 1), -1, dtype=np.intp)
    for k, mine in enumerate(own):
        at = np.searchsorted(numbers, mine)
        if (index[at, slot[k]] >= 0).any():
            raise SortError(
                f"{_name(frames)} has two frames of segment {int(mine[0])} at one position. Where an element tells "
                "them apart, such as the time, split='KEYWORD' makes an image of each"
            )
        index[at, slot[k]] = k
    return SegmentGrid(numbers, index, first_frames(slot))


def _background(frames: Frames, items: Sequence[Dataset]) -> set[int]:
    """Values of a label map that stand for no segment: Pixel Padding Value, and what is described as background."""
    out = {int(v) for v in frames.numbers("PixelPaddingValue") if v == v}
    for item in items:
        codes = item.get("SegmentedPropertyTypeCodeSequence") or ()
        if any((c.get("CodeValue"), c.get("CodingSchemeDesignator")) == _BACKGROUND for c in codes):
            out.add(int(item.get("SegmentNumber") or 0))
    return out


def _name(frames: Frames) -> str:
    return file_name(frames.scan.files[int(frames.file[0])])


def _segments(frames: Frames, known: set[int]) -> NDArray[np.int64]:
    """Referenced Segment Number (0062,000B) of each frame; that of the only segment where a frame says none."""
    said = frames.numbers("ReferencedSegmentNumber")
    unsaid = np.isnan(said)
    if unsaid.any() and len(known) != 1:
        raise FormatError(
            f"{_name(frames)}: {int(unsaid.sum())} of {len(frames)} frames do not say which of the {len(known)} "
            "segments they are of (ReferencedSegmentNumber)"
        )
    return np.asarray(np.where(unsaid, next(iter(known), 0), said)).astype(np.int64)


def _slots_without_place(frames: Frames, segment: NDArray[np.int64]) -> NDArray[np.intp]:
    """Slice of each frame without a position: those made from one image are one, in the order that they are stored."""
    _, counts = np.unique(segment, return_counts=True)
    if counts.max() == 1:
        return np.zeros(len(frames), dtype=np.intp)
    source = frames.own.texts.get(SOURCE_INSTANCE, [])
    if not source or not all(source):
        raise SortError(
            f"{_name(frames)} has several frames of a segment that neither have a position nor say which image they "
            "were made from: which slice each one is can't be told"
        )
    number = np.nan_to_num(frames.own.numbers.get(SOURCE_FRAME, np.zeros(len(frames))))
    met: dict[tuple[str, float], int] = {}
    keys = zip(source, number.tolist(), strict=True)
    return np.array([met.setdefault(key, len(met)) for key in keys], dtype=np.intp)


def with_gaps(grid: SegmentGrid, frames: Frames, tolerance: float) -> NDArray[np.intp]:
    """Place of each slice on the even grid that the instance announces; as they come where it announces none.

    Frames in which a segment has no pixel need not be stored (PS3.3 A.51.3.1), so that slices may be missing in
    between. Where Spacing Between Slices is said, and all positions lie on multiples of it, those are planes of zeros.

    Parameters
    ----------
    grid : SegmentGrid
    frames : Frames
    tolerance : float
        mm.

    Returns
    -------
    ndarray, shape (slices,)
        Ascending, from 0.
    """
    along = frames.position[grid.first] @ normal(frames.orientation[grid.first[0]])
    near = np.arange(len(along), dtype=np.intp)
    step = float(frames.numbers("SpacingBetweenSlices")[grid.first[0]])
    if not step > 0 or len(along) < 2:
        return near
    places = (along - along[0]) / step
    whole = np.rint(places)
    if np.abs(places - whole).max() * step > tolerance or whole[-1] > len(along) + MOST_GAPS:
        return near
    return whole.astype(np.intp) if (np.diff(whole) > 0).all() else near


def spread(index: NDArray[np.intp], places: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Frames of each slice on a grid of more slices, -1 where there is none."""
    out = np.full((*index.shape[:-1], count), -1, dtype=np.intp)
    out[..., places] = index
    return out


def fill_labels(axis: Axis, places: NDArray[np.intp]) -> Axis:
    """Labels of slices in between."""
    labels = np.asarray(axis.labels, dtype=np.float64)
    if len(labels) == int(places[-1]) + 1:
        return axis
    return Axis(np.interp(np.arange(int(places[-1]) + 1), places, labels), axis.spacing)


def labels_of_segments(frames: Frames, numbers: NDArray[np.int64]) -> NDArray[Any]:
    """Segment Label (0062,0005) of each segment; empty where it has none."""
    names = {
        int(n): str(i.get("SegmentLabel") or "") for i in described(frames) if (n := i.get("SegmentNumber")) is not None
    }
    return np.array([names.get(n, "") for n in numbers.tolist()], dtype=np.dtypes.StringDType())

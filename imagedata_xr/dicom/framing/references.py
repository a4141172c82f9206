"""Images that segmentations and parametric maps were made from: which they are, and where these put them.

A segmentation stores the slices only that hold a segment, and rounds positions in its own way. Beside the series that
it refers to, it lies on that series' grid: by positions that agree, never by the mere reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...model.image import Axis
from ...model.indexes import POSITION_TOLERANCE, Space
from ...model.lattice import Lattice
from ..sorting.labels import geometry_of
from ..sorting.sort import Grid, slice_numbers
from ..sorting.stacks import Series, Stack, stacks_of
from .frames import Frames
from .group_table import SOURCE_FRAME, SOURCE_INSTANCE
from .quantities import PARAMETRIC_MAP
from .segments import CLASSES
from .sequences import sequence_of

_DERIVED = (*CLASSES, PARAMETRIC_MAP)
_PLACE = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}


def refers(frames: Frames) -> bool:
    """Whether the images are of a kind that lies on the grid of another."""
    return bool(len(frames)) and set(frames.text("SOPClassUID")) <= set(_DERIVED)


# --- what is referred to ----------------------------------------------------------------------------------------------


def referenced(frames: Frames) -> tuple[set[str], set[str]]:
    """UIDs of the series, and of the instances, that images say they were made from (PS3.3 C.12.2, C.7.6.16.2.6)."""
    series: set[str] = set()
    instances = set(frames.own.texts.get(SOURCE_INSTANCE, ())) - {""}
    for k in np.unique(frames.file).tolist():
        groups = sequence_of(frames.scan, k, "ReferencedSeriesSequence")
        for study in sequence_of(frames.scan, k, "StudiesContainingOtherReferencedInstancesSequence"):
            groups += list(study.get("ReferencedSeriesSequence") or ())
        for item in groups:
            series.add(str(item.get("SeriesInstanceUID") or ""))
            instances |= _uids(item.get("ReferencedInstanceSequence") or ())
        instances |= _uids(sequence_of(frames.scan, k, "SourceImageSequence"))
    return series - {""}, instances - {""}


def _uids(items: Sequence[pydicom.Dataset]) -> set[str]:
    return {str(item.get("ReferencedSOPInstanceUID") or "") for item in items}


def stacks_referred_to(stack: Stack, found: Sequence[Series]) -> list[Stack]:
    """Stacks of a source that a segmentation or parametric map may lie on; those that it names come first.

    Where it names none that is there, all images of its frame of reference.
    """
    uids, instances = referenced(stack.frames)
    others = [s for s in found if s.patient == stack.series.patient and not refers(s.frames)]
    named = [s for s in others if s.uid in uids or instances & set(s.frames.text("SOPInstanceUID"))]
    if named:
        stacks = [one for s in named for one in stacks_of(s) if one.place]
        return sorted(stacks, key=lambda one: not instances & set(one.frames.text("SOPInstanceUID")))
    frame = stack.frames.text("FrameOfReferenceUID")[0]
    same = [s for s in others if frame and frame in s.frames.text("FrameOfReferenceUID")]
    return [one for s in same for one in stacks_of(s) if one.place]


# --- positions from the source ----------------------------------------------------------------------------------------


def with_source_places(frames: Frames) -> Frames:
    """Frames where those of segmentations and maps that have no position of their own have that of their source.

    Some programs write frames that only say which image they were made from: they have its rows and columns, and lie
    where it lies.
    """
    source = frames.own.texts.get(SOURCE_INSTANCE)
    if not source:  # also where there is no frame at all
        return frames
    lost = np.isnan(frames.position).any(axis=1) & np.array([bool(uid) for uid in source])
    lost &= np.isin(frames.text("SOPClassUID"), _DERIVED)
    if not lost.any():
        return frames
    number = frames.own.numbers.get(SOURCE_FRAME, np.full(len(frames), np.nan))
    known: dict[tuple[str, int], list[int]] = {}
    for k, uid in enumerate(frames.text("SOPInstanceUID")):
        known.setdefault((uid, int(frames.number[k])), []).append(k)
    pairs = []
    for k in np.flatnonzero(lost).tolist():
        twins = known.get((source[k], 1 if np.isnan(number[k]) else int(number[k])), [])
        if len(twins) == 1 and (frames.matrix[twins[0]] == frames.matrix[k]).all():
            pairs.append((k, twins[0]))
    if pairs:
        to, of = (np.array(rows, dtype=np.intp) for rows in zip(*pairs, strict=True))
        _take_places(frames, to, of)
    return frames


def _take_places(frames: Frames, to: NDArray[np.intp], of: NDArray[np.intp]) -> None:
    """Let frames lie where others lie."""
    own = frames.own
    for keyword, width in _PLACE.items():
        values = frames.numbers(keyword, width)
        values[to] = values[of]
        own.numbers[keyword] = values
    frame = frames.text("FrameOfReferenceUID")
    texts = [""] * len(frames)
    for a, b in zip(to.tolist(), of.tolist(), strict=True):
        texts[a] = frame[b]
    own.texts["FrameOfReferenceUID"] = texts
    frames.forget()


# --- on the grid of another -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Among:
    """Where a stack lies on the grid of the image that it was made from.

    Attributes
    ----------
    which : ndarray, shape (slices,)
        Slices of the other image that the stack's are.
    axes : dict
        `Axis` of slice, row and col of the other image.
    space : Space
    """

    which: NDArray[np.intp]
    axes: dict[str, Axis]
    space: Space

    @property
    def slices(self) -> NDArray[np.float64]:
        """Labels of the other's slices."""
        return np.asarray(self.axes["slice"].labels, dtype=np.float64)

    def own_axes(self, axes: dict[str, Axis]) -> dict[str, Axis]:
        """Axes of the stack alone, with the other's labels."""
        step = axes["slice"].spacing or self.axes["slice"].spacing
        return {**self.axes, "slice": Axis(self.slices[self.which], step)}


def _grid_of(stack: Stack, first: NDArray[np.intp]) -> tuple[dict[str, Axis], Space | None]:
    return geometry_of(stack, Grid(first[None], [], []))


def _lattice(axes: dict[str, Axis], space: Space | None) -> Lattice:
    slices, rows, cols = (np.asarray(axes[n].labels, dtype=np.float64) for n in ("slice", "row", "col"))
    return Lattice(slices, rows, cols, space)


def first_frames(slot: NDArray[np.intp]) -> NDArray[np.intp]:
    """First frame of each slice, by the slice of each frame."""
    out = np.zeros(int(slot.max()) + 1, dtype=np.intp)
    out[slot[::-1]] = np.arange(len(slot), dtype=np.intp)[::-1]
    return out


def place_among(stack: Stack, first: NDArray[np.intp], found: Sequence[Series]) -> Among | None:
    """Grid of the image that a stack was made from, and which of its slices are the stack's.

    Parameters
    ----------
    stack : Stack
        With a place in the patient.
    first : ndarray, shape (slices,)
        A frame of each slice.
    found : sequence of Series
        All of the source.

    Returns
    -------
    Among or None
        None where all slices lie on the grid of no image of the source; and where the stack names none, and several
        that differ would do.
    """
    named, instances = referenced(stack.frames)
    own = _lattice(*_grid_of(stack, first))
    fitting: list[Among] = []
    for other in stacks_referred_to(stack, found):
        axes, space = _grid_of(other, first_frames(slice_numbers(other)))
        which = own.places_on(_lattice(axes, space))
        if space is None or isinstance(which, str):
            continue
        fitting.append(Among(which, axes, space))
        if other.series.uid in named or instances & set(other.frames.text("SOPInstanceUID")):
            return fitting[0]
    if not fitting:
        return None
    one = fitting[0].slices
    same = all(len(f.slices) == len(one) and np.abs(f.slices - one).max() <= POSITION_TOLERANCE for f in fitting)
    return fitting[0] if same else None

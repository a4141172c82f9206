"""Frames of nuclear medicine: the vectors that number them, where their detectors are, and when they were measured.

Each vector (PS3.3 C.8.4.8) has one number per frame, from 1: of the detector, the slice, the phase, ...
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError, warn
from ...model.geometry import normal
from ...stores.url import file_name
from ..scanning.elements import numbers_of, to_dataset
from ..scanning.reread import _garbage
from ..scanning.scan import Scan

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Numbers = dict[str, NDArray[np.float64]]

VECTORS = {
    "EnergyWindowVector": 0x00540010,
    "DetectorVector": 0x00540020,
    "PhaseVector": 0x00540030,
    "RotationVector": 0x00540050,
    "RRIntervalVector": 0x00540060,
    "TimeSlotVector": 0x00540070,
    "SliceVector": 0x00540080,
    "AngularViewVector": 0x00540090,
    "TimeSliceVector": 0x00540100,
}
_DETECTORS, _PHASES, _ROTATIONS, _GATING = 0x00540022, 0x00540032, 0x00540052, 0x00540062
SPACING = 0x00180088


def frame_vectors(scan: Scan, k: int, count: int) -> Numbers:
    """Read the vectors that number the frames (PS3.3 C.8.4.8), keyword -> shape (count,).

    Raises
    ------
    SourceError
        A vector has not as many numbers as there are frames, or one that is not a number from 1.
    """
    out: Numbers = {}
    for keyword, tag in VECTORS.items():
        raw = scan.value(k, tag)
        if raw is None or not raw[1]:
            continue
        values = np.array(numbers_of(tag, raw), dtype=np.float64)
        if len(values) != count or not (values >= 1).all():
            raise SourceError(
                f"{file_name(scan.files[k])} has {count} frames, but its {keyword} has {len(values)} numbers, which "
                "are not all counts from 1"
            )
        out[keyword] = values
    return out


def detector_geometry(scan: Scan, k: int, vectors: Numbers) -> Numbers:
    """Find where the frames are: their detector's position, and for slices the steps from it.

    Where no detector has a position, that of the instance stands in, which some write instead.

    Slice j lies at ``position + (j - 1) * spacing * normal``: Spacing Between Slices has a sign here, that of the step
    along ``cross(row, column)`` (PS3.3 C.8.4.11 and C.8.4.15).

    Returns
    -------
    dict
        ``ImagePositionPatient`` (n, 3) and ``ImageOrientationPatient`` (n, 6), LPS, mm; nothing if their detectors
        do not say, and for projections.

    Warns
    -----
    ImagedataWarning
        There are several slices, but no spacing to place them by: none of them has a place then.
    """
    if not vectors or not vectors.keys().isdisjoint(("RotationVector", "AngularViewVector")):
        return {}  # a turning detector makes projections, which lie nowhere in the patient
    detectors, frames = _items(scan, k, _DETECTORS), len(next(iter(vectors.values())))
    one = scan.take([k])
    position = np.tile(one.numbers("ImagePositionPatient", 3), (frames, 1))
    orientation = np.tile(one.numbers("ImageOrientationPatient", 6), (frames, 1))
    if detectors:
        which = _pick(scan, k, vectors.get("DetectorVector", np.ones(frames)), len(detectors), "detectors")
        if any("ImagePositionPatient" in d for d in detectors):
            position = np.array([_values(d, "ImagePositionPatient", 3) for d in detectors])[which]
            orientation = np.array([_values(d, "ImageOrientationPatient", 6) for d in detectors])[which]
    if np.isnan(orientation).any() or np.isnan(position).any():
        return {}
    slices = vectors.get("SliceVector", np.ones(frames))
    if (slices != 1).any():
        raw = scan.value(k, SPACING)
        spacing = np.array(numbers_of(SPACING, raw) if raw is not None else ())
        if len(spacing) != 1 or not np.isfinite(spacing[0]) or spacing[0] == 0:
            warn(
                f"{file_name(scan.files[k])} has several slices, but no Spacing Between Slices: they are read without "
                "a place in the patient"
            )
            return {}
        steps = (slices - 1) * spacing[0]
        position = position + steps[:, None] * np.array([normal(one) for one in orientation])
    return {"ImagePositionPatient": position, "ImageOrientationPatient": orientation}


def rotation_angles(scan: Scan, k: int, vectors: Numbers) -> Numbers:
    """Find the angle of the detector in each projection (PS3.3 C.8.4.12, and C.8.4.11 for several detectors).

    It starts at the Start Angle of the rotation, or of each detector where there are several, and goes on by Angular
    Step: up for counter-clockwise rotations, 0 at the patient's back, seen from the feet.

    Returns
    -------
    dict
        ``AngularPosition`` (degree, from 0 to 360), (n,); nothing where the elements do not tell.
    """
    rotations, views = _items(scan, k, _ROTATIONS), vectors.get("AngularViewVector")
    if not rotations or views is None:
        return {}
    which = _pick(scan, k, vectors.get("RotationVector", np.ones(len(views))), len(rotations), "rotations")
    start, step = np.array([[_values(r, word, 1)[0] for word in ("StartAngle", "AngularStep")] for r in rotations]).T
    sign = np.array([{"CC": 1.0, "CW": -1.0}.get(str(r.get("RotationDirection") or ""), np.nan) for r in rotations])
    begin = start[which]
    detector = vectors.get("DetectorVector", np.ones(len(views)))
    if (detector != detector[0]).any():
        if len(rotations) > 1:
            return {}  # where the other detectors are in the later rotations is nowhere said
        heads = _items(scan, k, _DETECTORS)
        begin = np.array([_values(d, "StartAngle", 1)[0] for d in heads])[
            _pick(scan, k, detector, len(heads), "detectors")
        ]
    angles = begin + sign[which] * step[which] * (views - 1)
    return {} if np.isnan(angles).any() else {"AngularPosition": angles % 360.0}


def phase_times(scan: Scan, k: int, vectors: Numbers) -> Numbers:
    """Find when the frames of a dynamic study begin (PS3.3 C.8.4.14).

    Each phase begins with its delay; its frames last for the frame duration, with the pause between them.

    Returns
    -------
    dict
        ``FrameTime`` (s since the start of the first phase) and ``ActualFrameDuration`` (ms), (n,); nothing for
        studies without phases.
    """
    phases = _items(scan, k, _PHASES)
    if not phases or not {"PhaseVector", "TimeSliceVector"} <= vectors.keys():
        return {}
    which = _pick(scan, k, vectors["PhaseVector"], len(phases), "phases")
    keywords = ("PhaseDelay", "ActualFrameDuration", "PauseBetweenFrames", "NumberOfFramesInPhase")
    delay, duration, pause, number = np.array([[_values(p, word, 1)[0] for word in keywords] for p in phases]).T
    delay, pause = np.nan_to_num(delay), np.nan_to_num(pause)
    ends = np.cumsum(delay + number * duration + (number - 1) * pause)
    starts = np.concatenate([[0.0], ends[:-1]]) + delay
    times = starts[which] + (vectors["TimeSliceVector"] - 1) * (duration + pause)[which]
    return {"FrameTime": times * 1e-3, "ActualFrameDuration": duration[which]}


def gated_times(scan: Scan, k: int, vectors: Numbers) -> Numbers:
    """Find the time since the trigger of the frames of a gated study (PS3.3 C.8.4.13).

    Returns
    -------
    dict
        ``TriggerTime`` (ms, start of the time slot), (n,); nothing for studies that are not gated, or whose
        intervals have time slots of several lengths.
    """
    slots = vectors.get("TimeSlotVector")
    if slots is None:
        return {}
    data = [d for gate in _items(scan, k, _GATING) for d in gate.get("DataInformationSequence") or ()]
    lengths = {_values(d, "FrameTime", 1)[0] for d in data}
    if len(lengths) != 1 or not (length := lengths.pop()) > 0:
        return {}
    return {"TriggerTime": (slots - 1) * length}


def _pick(scan: Scan, k: int, number: NDArray[np.float64], count: int, what: str) -> NDArray[np.intp]:
    """Turn numbers from 1 into indices, which must exist."""
    if number.max() > count:
        raise SourceError(
            f"{file_name(scan.files[k])} has frames of {what} up to number {number.max():g}, but describes {count}"
        )
    return number.astype(np.intp) - 1


def _items(scan: Scan, k: int, tag: int) -> list[Dataset]:
    """Read a top-level sequence by pydicom, decoded."""
    raw = scan.value(k, tag)
    if raw is None:
        return []
    try:
        items: Any = to_dataset({tag: raw}, scan.syntax[k], bool(scan.implicit[k]))[tag].value
        for item in items:
            item.decode()
        return list(items)
    except _garbage() as error:
        raise SourceError(
            f"{file_name(scan.files[k])} can't be read: a sequence in it can't be parsed ({type(error).__name__})"
        ) from error


def _values(item: Dataset, keyword: str, width: int) -> list[float]:
    """Give the numbers of an element; NaN unless there are as many as wanted."""
    value = item.get(keyword)
    if value is None or value == "":
        return [np.nan] * width
    several = isinstance(value, Iterable) and not isinstance(value, str)
    values = [_number(v) for v in (value if several else [value])]
    return values if len(values) == width else [np.nan] * width


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):  # another kind of element than the dictionary says
        return float("nan")

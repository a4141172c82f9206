"""Multi-frame instances of every kind as columns, one row per frame.

Enhanced instances describe their frames in functional groups (`groups`). Older kinds have one rule each for where and
when their frames are: the planes of a dose grid, the vectors of nuclear medicine, the frame times of a cine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import GeometryError, SourceError, warn
from ...model.geometry import normal
from ...stores.url import file_name
from ..scanning.elements import LongValue, key_name, numbers_of, text
from ..scanning.scan import Scan
from ..scanning.vr import Key
from .frames import NOWHERE
from .gamma import SPACING, VECTORS, detector_geometry, frame_vectors, gated_times, phase_times, rotation_angles
from .groups import FrameColumns, group_columns, has_groups

_OFFSETS, _POINTER = 0x3004000C, 0x00280009
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_FRAME_TIME, _TIME_VECTOR, _CINE_RATE = 0x00181063, 0x00181065, 0x00180040
_PLACES_AND_TIMES = frozenset((
    "ImagePositionPatient", "ImagePositionVolume", "InStackPositionNumber", "AcquisitionDateTime", "AcquisitionTime",
    "FrameReferenceDateTime", "TemporalPositionIdentifier", "TemporalPositionTimeOffset", "TriggerTime",
    "FrameReferenceTime",
))  # fmt: skip
"""Columns of functional groups, beside which the frames of an instance are no mere cine."""
_NM = ("1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.5")
"""Nuclear Medicine Image Storage, and its retired predecessor."""


def frame_columns(scan: Scan, k: int) -> FrameColumns:
    """Read what is known of each frame of one multi-frame instance.

    Parameters
    ----------
    scan : Scan
        Its headers.
    k : int
        Row of the instance.

    Returns
    -------
    FrameColumns
        One row per frame, in the order in which they are stored. Columns of the functional groups, or those that a rule
        gives: ``ImagePositionPatient`` and ``ImageOrientationPatient`` (dose grids and nuclear medicine),
        ``FrameTime`` (s since the first frame), ``TriggerTime`` (ms), ``ActualFrameDuration`` (ms),
        ``AngularPosition`` (degree), and the vectors of nuclear medicine (``SliceVector``, ``DetectorVector``, ...),
        which count from 1.

    Raises
    ------
    SourceError
        The instance is damaged: what it says of its frames does not fit their number.
    GeometryError
        The planes of a dose grid have no place, since their offsets follow neither way of the standard.

    Warns
    -----
    ImagedataWarning
        Frame times that do not fit the number of frames are left out, and slices of nuclear medicine without spacing
        have no place.
    """
    if has_groups(scan, k):
        out = group_columns(scan, k)
        if not _PLACES_AND_TIMES & (out.numbers.keys() | out.texts.keys()) and (
            (times := frame_times(scan, k, out.count)) is not None
        ):
            out.numbers["FrameTime"] = times
        return out
    out = FrameColumns(_count(scan, k))
    if out.count > 1 and (_has(scan, k, _OFFSETS) or "GridFrameOffsetVector" in _pointers(scan, k)):
        out.numbers["ImagePositionPatient"] = grid_positions(scan, k, out.count)
    elif _sop_class(scan, k) in _NM:
        _nuclear(out, scan, k)
    elif (times := frame_times(scan, k, out.count)) is not None:
        out.numbers["FrameTime"] = times
    else:
        out.numbers.update(one_place(scan, k, out.count))
    return out


def _nuclear(out: FrameColumns, scan: Scan, k: int) -> None:
    vectors = frame_vectors(scan, k, out.count)
    out.numbers.update(vectors)
    for rule in (detector_geometry, phase_times, gated_times, rotation_angles):
        out.numbers.update(rule(scan, k, vectors))
    lost = [word for word in sorted(_pointers(scan, k)) if word in VECTORS and word not in vectors]
    if lost and out.count > 1:
        warn(
            f"{file_name(scan.files[k])} has frames that are numbered by {', '.join(lost)}, which is missing: what "
            "each of them is of can't be told"
        )
    if "ImagePositionPatient" not in out.numbers:
        # what an instance says itself is no place of projections, nor of slices without spacing
        out.numbers.update(nowhere(scan, k, out.count) if vectors else one_place(scan, k, out.count))


def _has(scan: Scan, k: int, tag: int) -> bool:
    cell = scan.column(tag)[k]
    return isinstance(cell, LongValue) or (cell is not None and len(cell[1]) > 0)


def _sop_class(scan: Scan, k: int) -> str:
    cell = scan.column("SOPClassUID")[k]
    return next(iter(text(0x00080016, cell)), "") if isinstance(cell, tuple) else ""


def _numbers(scan: Scan, k: int, key: Key) -> NDArray[np.float64]:
    """Give all numbers of one element; none if it is absent."""
    raw = scan.value(k, key)
    return np.array(numbers_of(key, raw) if raw is not None else (), dtype=np.float64)


def _count(scan: Scan, k: int) -> int:
    """Give Number of Frames (PS3.3 C.7.6.6.1.1), 1 if it is absent; refuse more than the pixel data can hold."""
    stated = _numbers(scan, k, 0x00280008)
    count = stated[0] if len(stated) else 1.0
    length = int(scan.pixel_length[k])
    pixels = max(1, int(np.prod([max(_numbers(scan, k, tag).max(initial=1), 1) for tag in (0x00280010, 0x00280011)])))
    # a pixel has one bit at least; compressed frames are counted by who decodes them
    most = 8 * length // pixels if length >= 0 and scan.pixel_tag[k] else 2**20
    if not (count >= 1 and count == int(count) and count <= most):
        raise SourceError(f"{file_name(scan.files[k])} says that it has {count:g} frames, which can't be")
    return int(count)


def _pointers(scan: Scan, k: int) -> set[str]:
    """Keywords of what Frame Increment Pointer (0028,0009) points at."""
    from pydicom.datadict import keyword_for_tag

    raw = scan.value(k, _POINTER)
    if raw is None:
        return set()
    pairs = np.frombuffer(raw[1][: len(raw[1]) // 4 * 4], "<u2").reshape(-1, 2).tolist()
    return {keyword_for_tag(group << 16 | element) for group, element in pairs}


# --- one position for all frames --------------------------------------------------------------------------------------


def nowhere(scan: Scan, k: int, count: int) -> dict[str, NDArray[np.float64]]:
    """Column of frames without a place in the patient, where their instance has a position all the same."""
    return {NOWHERE: np.ones(count)} if _has(scan, k, _POSITION) else {}


def one_place(scan: Scan, k: int, count: int) -> dict[str, NDArray[np.float64]]:
    """Places of several frames whose instance has one position, and neither functional groups nor frame times.

    No kind of image of the standard is so, but converters write volumes in this way. Spacing Between Slices is
    measured along the normal of the first image (PS3.3 C.7.6.2.1): where it is said, frame j lies at
    ``position + j * spacing * normal``, as other programs read such files.

    Returns
    -------
    dict
        ``ImagePositionPatient`` (count, 3) and ``ImageOrientationPatient`` (count, 6), LPS, mm, or the column
        `NOWHERE`; nothing for a single frame, and for an instance without a position.

    Warns
    -----
    ImagedataWarning
        Of both.
    """
    position, orientation = _numbers(scan, k, _POSITION), _numbers(scan, k, _ORIENTATION)
    if count < 2 or len(position) != 3 or len(orientation) != 6 or np.isnan([*position, *orientation]).any():
        return {}
    what = f"{file_name(scan.files[k])} has {count} frames, but one image position, and says nothing of their times"
    step = _numbers(scan, k, SPACING)
    if len(step) != 1 or not 0 < step[0] < np.inf:
        warn(f"{what}: which place each frame has can't be told, they are read without a place in the patient")
        return nowhere(scan, k, count)
    warn(f"{what}: they are taken for slices, {step[0]:g} mm (SpacingBetweenSlices) apart along their normal")
    return {
        "ImagePositionPatient": position + np.arange(count)[:, None] * step[0] * normal(orientation),
        "ImageOrientationPatient": np.tile(orientation, (count, 1)),
    }


# --- dose grids -------------------------------------------------------------------------------------------------------


def grid_positions(scan: Scan, k: int, count: int) -> NDArray[np.float64]:
    """Positions of the planes of a dose grid by Grid Frame Offset Vector (PS3.3 C.8.8.3.2).

    Parameters
    ----------
    scan, k
        The instance.
    count : int
        Number of its frames.

    Returns
    -------
    ndarray, shape (count, 3)
        Image Position (Patient) of each plane, LPS, mm. Offsets that begin with zero are along the normal of the first
        plane; else they are z coordinates, in a transverse grid only whose first offset is the z of its position.

    Raises
    ------
    SourceError
        There are not as many offsets as frames.
    GeometryError
        The offsets are of neither kind, or position or orientation are absent.
    """
    name = file_name(scan.files[k])
    offsets = _numbers(scan, k, _OFFSETS)
    if len(offsets) != count or np.isnan(offsets).any():
        raise SourceError(f"{name} has {count} frames, but its Grid Frame Offset Vector has {len(offsets)} numbers")
    position, orientation = _numbers(scan, k, _POSITION), _numbers(scan, k, _ORIENTATION)
    if len(position) != 3 or len(orientation) != 6 or np.isnan([*position, *orientation]).any():
        raise GeometryError(f"{name} has no image position or orientation, without which its planes have no place")
    if offsets[0] == 0:
        return np.asarray(position + offsets[:, None] * normal(orientation))
    upright = np.allclose(orientation, (1, 0, 0, 0, 1, 0), atol=1e-4)
    if not upright or abs(offsets[0] - position[2]) > 1e-2:
        raise GeometryError(
            f"{name}: Grid Frame Offset Vector begins with {offsets[0]:g}. It should begin with 0, or, where the "
            f"orientation is 1, 0, 0, 0, 1, 0 (here {', '.join(f'{x:g}' for x in orientation)}), with the z of the "
            f"image position, {position[2]:g}: where its planes lie can't be told"
        )
    return np.column_stack([np.tile(position[:2], (count, 1)), offsets])


# --- cine -------------------------------------------------------------------------------------------------------------


def frame_times(scan: Scan, k: int, count: int) -> NDArray[np.float64] | None:
    """Time of each frame of a cine by Frame Time, Frame Time Vector or Cine Rate (PS3.3 C.7.6.5), s since the first.

    Recommended Display Frame Rate is about showing them, and no time of theirs.

    Returns
    -------
    ndarray, shape (count,), or None
        None for a single frame, and where no element tells.

    Warns
    -----
    ImagedataWarning
        The vector does not fit the number of frames, or holds what is no time.
    """
    if count < 2:
        return None
    pointers = _pointers(scan, k)
    vector, step = _numbers(scan, k, _TIME_VECTOR), _numbers(scan, k, _FRAME_TIME)
    if len(vector) and (tag := _TIME_VECTOR) and ("FrameTimeVector" in pointers or not len(step)):
        if len(vector) == count and not np.isnan(vector).any() and (vector >= 0).all():
            return np.asarray(np.cumsum(np.concatenate([[0.0], vector[1:]])) * 1e-3)
    elif len(step) and "FrameTimeVector" not in pointers:
        tag = _FRAME_TIME
        if len(step) == 1 and step[0] > 0 and np.isfinite(step[0]):
            return np.asarray(np.arange(count) * step[0] * 1e-3)
    else:
        rate = _numbers(scan, k, _CINE_RATE)
        if pointers or len(rate) != 1 or not 0 < rate[0] < np.inf:
            return None
        return np.asarray(np.arange(count) / rate[0])
    warn(f"{file_name(scan.files[k])}: {key_name(tag)} gives no times for its {count} frames, they are left out")
    return None

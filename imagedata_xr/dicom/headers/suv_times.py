"""The decay of a tracer from its administration to the moment that a PET series is corrected to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pydicom

from ...errors import LabelError
from ..sorting.clock import DAY, iso, seconds_of_datetime, seconds_of_time
from ..writing.fields import numbers
from .private import raw_private

_LONG_LIVED = 12 * 3600.0  # s: such a tracer is often imaged on a later day
_DOUBT = 0.01  # decay that two ways to find a moment may differ by
_ADVICE = "; decay_start='YYYY-MM-DDTHH:MM:SS' says it"


@dataclass(frozen=True)
class Frame:
    """When one image was measured: begin, length, and the moment that its values belong to after the reference, s."""

    start: float
    duration: float
    reference: float


@dataclass(frozen=True)
class Moments:
    """When the images of each series were measured.

    Attributes
    ----------
    frames : dict
        Series Instance UID -> its images.
    start : float, optional
        The moment that decay is corrected to, as the user says.
    """

    frames: dict[str, list[Frame]]
    start: float | None = None

    @classmethod
    def of(cls, headers: Sequence[pydicom.Dataset], start: str | None = None) -> Moments:
        """Read them from the headers of all images.

        Raises
        ------
        LabelError
            `start` is no date and time.
        """
        frames: dict[str, list[Frame]] = {}
        for header in headers:
            own = frames.setdefault(str(header.get("SeriesInstanceUID", "")), [])
            length, reference = (_milliseconds(header, k) for k in ("ActualFrameDuration", "FrameReferenceTime"))
            own.append(Frame(acquired(header), length, reference))
        return cls(frames, None if start is None else _asked(start))


def _asked(text: str) -> float:
    try:
        when = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise LabelError(f"decay_start={text!r} is no date and time such as '2024-03-05T10:00:00'") from None
    return (when.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()


def _milliseconds(header: pydicom.Dataset, keyword: str) -> float:
    value = numbers(header, keyword, 1)
    return np.nan if value is None or value[0] <= 0 else float(value[0]) * 1e-3


def _moment(header: pydicom.Dataset, date: str, time: str) -> float:
    """Seconds since 1970 of a date and a time; NaN where either is missing."""
    day = seconds_of_datetime(str(header.get(date) or ""))
    return day + seconds_of_time(str(header.get(time) or ""))


def acquired(header: pydicom.Dataset) -> float:
    """Start of the acquisition of an image, s since 1970; NaN where it is not said."""
    found = _moment(header, "AcquisitionDate", "AcquisitionTime")
    return found if np.isfinite(found) else seconds_of_datetime(str(header.get("AcquisitionDateTime") or ""))


def decay_seconds(header: pydicom.Dataset, info: pydicom.Dataset, half_life: float, moments: Moments) -> float:
    """Time from the administration to the moment that decay is corrected to, s.

    Parameters
    ----------
    header, info : pydicom.Dataset
        Of the image, and its item of Radiopharmaceutical Information Sequence.
    half_life : float
        s.
    moments : Moments

    Raises
    ------
    LabelError
        Either can't be told, with what is missing or contradicts.
    """
    frames = moments.frames.get(str(header.get("SeriesInstanceUID", "")), [])
    reference = corrected_to(header, half_life, frames) if moments.start is None else moments.start
    ends = [f.start + np.nan_to_num(f.duration) for f in frames if np.isfinite(f.start)]
    return reference - administered(info, half_life, reference, max(ends, default=reference))


# --- the moment that decay is corrected to ----------------------------------------------------------------------------


def corrected_to(header: pydicom.Dataset, half_life: float, frames: Sequence[Frame]) -> float:
    """Find the moment that the decay of a series is corrected to, s since 1970.

    Decay Correction DateTime says it. Else it is Series Date and Time (PS3.3 C.8.9.1.1.2), unless that is after the
    first acquisition: then the series was made later, and the moment is GE's scan date and time (0009,xx0D), or found
    back from each acquisition and its Frame Reference Time, which must agree.
    """
    said = seconds_of_datetime(str(header.get("DecayCorrectionDateTime") or ""))
    if np.isfinite(said):
        return said
    starts = [f.start for f in frames]
    if not starts or np.isnan(starts).any():
        raise LabelError(
            "AcquisitionDate or AcquisitionTime is missing in some images, so that whether SeriesTime is the moment "
            "that decay is corrected to can't be told" + _ADVICE
        )
    series, first = _moment(header, "SeriesDate", "SeriesTime"), min(starts)
    if series <= first:
        _check_reference(series, half_life, frames)
        return series
    when = iso(series) if np.isfinite(series) else "missing"
    scanner = seconds_of_datetime(str(raw_private(header, "GEMS_PETD_01", 0x0009, 0x0D) or ""))
    if np.isfinite(scanner) and scanner <= first:
        return scanner
    found = np.array([f.start - f.reference + mean_moment(f.duration, half_life) for f in frames])
    if np.isnan(found).any():
        raise LabelError(
            f"SeriesDate and SeriesTime ({when}) are after the first acquisition ({iso(first)}), so that the decay is "
            "corrected to another moment, and FrameReferenceTime or ActualFrameDuration, which would tell it, are "
            "missing or zero" + _ADVICE
        )
    if np.ptp(found) * np.log(2) / half_life > _DOUBT:
        raise LabelError(
            f"SeriesDate and SeriesTime ({when}) are after the first acquisition ({iso(first)}), and the moments found "
            f"back from FrameReferenceTime differ by {np.ptp(found):.3g} s" + _ADVICE
        )
    return float(np.median(found))


def mean_moment(duration: float, half_life: float) -> float:
    """When in a frame the count rate is its average, s since its start (PS3.3 C.8.9.4.1.5)."""
    decay = np.log(2) / half_life * duration
    return float(duration * np.log(decay / -np.expm1(-decay)) / decay)


def _check_reference(series: float, half_life: float, frames: Sequence[Frame]) -> None:
    """Refuse a Series Time that the images contradict: each Frame Reference Time lies in its frame."""
    for f in frames:
        moment = series + f.reference
        off = max(f.start - moment, moment - f.start - f.duration)
        if np.isfinite(off) and off * np.log(2) / half_life > _DOUBT:
            raise LabelError(
                f"SeriesTime ({iso(series)}) can't be the moment that decay is corrected to: a FrameReferenceTime of "
                f"{f.reference:g} s after it is not within the acquisition, which began at {iso(f.start)} and took "
                f"{f.duration:g} s" + _ADVICE
            )


# --- administration ---------------------------------------------------------------------------------------------------


def administered(info: pydicom.Dataset, half_life: float, reference: float, end: float) -> float:
    """Find the start of the administration, s since 1970.

    Parameters
    ----------
    info : pydicom.Dataset
        Item of Radiopharmaceutical Information Sequence.
    half_life : float
        s.
    reference, end : float
        The moment that decay is corrected to, and the end of the last acquisition.

    Raises
    ------
    LabelError
        It is missing, after the scan, or on a day that can't be told.
    """
    stamp, text = (str(info.get(f"RadiopharmaceuticalStart{k}") or "").strip() for k in ("DateTime", "Time"))
    clock = seconds_of_time(text)
    if stamp:
        return _by_date(stamp, clock, text, end)
    if not np.isfinite(clock):
        raise LabelError(
            "RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime are missing or none: how much of the "
            "dose had decayed can't be told"
        )
    if half_life > _LONG_LIVED:
        raise LabelError(
            f"RadiopharmaceuticalStartTime has no date, and a tracer with a half-life of {half_life / 3600:.3g} h may "
            "have been given on an earlier day: RadiopharmaceuticalStartDateTime is needed"
        )
    day = np.floor(reference / DAY) * DAY
    same = float(day + clock)
    if same <= end:  # a dynamic scan may begin before the administration
        return same
    if reference - (same - DAY) > _LONG_LIVED:
        raise LabelError(
            f"RadiopharmaceuticalStartTime ({text}) is after the scan, which ended at {iso(end)}, or "
            f"{(reference - same + DAY) / 3600:.3g} h before it"
        )
    return same - DAY  # before midnight


def _by_date(stamp: str, clock: float, text: str, end: float) -> float:
    start = seconds_of_datetime(stamp) if len(stamp) > 8 else np.nan
    if not np.isfinite(start):
        raise LabelError(f"RadiopharmaceuticalStartDateTime is {stamp!r}, which is no date and time")
    if np.isfinite(clock) and abs((start - clock + DAY / 2) % DAY - DAY / 2) > 1:
        raise LabelError(
            f"RadiopharmaceuticalStartDateTime ({stamp}) and RadiopharmaceuticalStartTime ({text}) contradict each "
            "other"
        )
    if not np.isfinite(clock) and any(sign in stamp[8:] for sign in "+-"):
        raise LabelError(
            f"RadiopharmaceuticalStartDateTime ({stamp}) has an offset from UTC, and no RadiopharmaceuticalStartTime "
            "says whether it is of the clock of the scanner"
        )
    if start > end:
        raise LabelError(f"RadiopharmaceuticalStartDateTime ({stamp}) is after the scan, which ended at {iso(end)}")
    return start

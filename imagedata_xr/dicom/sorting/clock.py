"""When an image was measured: the first clock of a series that tells its volumes apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..framing.frames import FRAME_TIME, SLICE_TIME, Frames
from ..scanning.coded import groups_of

DAY = 86400.0
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Clock:
    """Seconds of each frame on one clock.

    Attributes
    ----------
    seconds : ndarray, shape (n,)
        Since 1970 where `absolute`, else since an unknown moment.
    source : str
        The element or elements that they come from.
    absolute : bool
        Whether they are dates and times.
    """

    seconds: NDArray[np.float64]
    source: str
    absolute: bool


def find_clocks(frames: Frames) -> list[Clock]:
    """Find the clocks that the frames have, each complete, the most trustworthy first."""
    found: list[Clock] = []
    late = _late(frames)
    stamps = frames.coded_text("AcquisitionDateTime").map(seconds_of_datetime).array(np.float64)
    stamps = np.where(_differ_within_instances(frames, stamps), stamps, stamps + late)
    stamps[_untimed_beside_others(frames)] = np.nan
    found.append(Clock(stamps, "AcquisitionDateTime", True))
    timed = _date_and_time(frames)
    found.append(Clock(timed.seconds + late, timed.source, timed.absolute))
    found.append(Clock(frames.vendor_clock, "vendor's timer", False))
    found.append(Clock(frames.numbers("TriggerTime") * 1e-3, "TriggerTime", False))
    found.append(Clock(frames.numbers(FRAME_TIME), _cine(frames), False))
    offset = frames.numbers("TemporalPositionTimeOffset")  # s, in the Temporal Position group
    found.append(Clock(offset, "TemporalPositionTimeOffset", False))
    reference = frames.numbers("FrameReferenceTime") * 1e-3  # PET (PS3.3 C.8.9.4.1.5)
    found.append(Clock(reference, "FrameReferenceTime", False))
    position, resolution = frames.numbers("TemporalPositionIdentifier"), frames.numbers("TemporalResolution")
    found.append(Clock((position - 1) * resolution * 1e-3, "TemporalPositionIdentifier x TemporalResolution", False))
    return [c for c in found if len(c.seconds) and not np.isnan(c.seconds).any()]


def _late(frames: Frames) -> NDArray[np.float64]:
    """Start of each plane within its instance, s: as it says, or by the vendor's timer; 0 where nothing is known."""
    late, timer = frames.numbers(SLICE_TIME), frames.vendor_clock
    first = np.full(len(frames.scan), np.inf)
    np.minimum.at(first, frames.file, np.where(np.isnan(timer), np.inf, timer))
    with np.errstate(invalid="ignore"):
        late = np.where(np.isnan(late), timer - first[frames.file], late)
    return np.nan_to_num(late)


def _cine(frames: Frames) -> str:
    """Name of the element that the times of frames come from."""
    known = frames.keywords()
    return next((k for k in ("FrameTimeVector", "FrameTime", "CineRate") if k in known), "FrameTime")


def _untimed_beside_others(frames: Frames) -> NDArray[np.bool_]:
    """Which planes, shape (n,), have no time, but others of their instance: that of the instance is not theirs."""
    own = frames.own.texts.get("AcquisitionDateTime")
    if own is None:
        return np.zeros(len(frames), dtype=np.bool_)
    said = np.array([bool(text) for text in own], dtype=np.bool_)
    timed = np.zeros(len(frames.scan), dtype=np.bool_)
    timed[frames.file[said]] = True
    return ~said & timed[frames.file]


def _differ_within_instances(frames: Frames, stamps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which planes, shape (n,), are of an instance whose planes have times of their own."""
    one = np.full(len(frames.scan), np.nan)
    one[frames.file] = stamps
    own = np.zeros(len(frames.scan), dtype=np.bool_)
    own[frames.file[one[frames.file] != stamps]] = True
    return own[frames.file]


def _date_and_time(frames: Frames) -> Clock:
    """Acquisition Date and Time; a clock that passes midnight without its date does so rolls the day."""
    times = frames.coded_text("AcquisitionTime").map(seconds_of_time).array(np.float64)
    dates = frames.coded_text("AcquisitionDate").map(_date).array(np.float64)
    if np.isnan(dates).any():
        other, which = groups_of(*(frames.coded_text(k) for k in ("ContentDate", "SeriesDate", "StudyDate")))
        fallback = np.array([_date(next((d for d in days if d), "")) for days in other])
        days = np.nan_to_num(fallback[which])
        dates = np.where(np.isnan(dates), days.min() if len(days) else 0.0, dates)
    known = not (dates == 0).any()
    return Clock(dates + _past_midnight(times, dates), "AcquisitionTime", known)


def _past_midnight(times: NDArray[np.float64], dates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times of one date that belong to a night on both sides of midnight: those of the morning a day later.

    Only where the images lie within six hours then: others may really be of the morning and the evening of a day.
    """
    if len(times) == 0 or np.isnan(times).any() or len(np.unique(dates)) > 1 or np.ptp(times) <= DAY / 2:
        return times
    rolled = np.where(times < DAY / 2, times + DAY, times)
    return rolled if np.ptp(rolled) <= DAY / 4 else times


def tells_apart(seconds: NDArray[np.float64], slot: NDArray[np.intp]) -> bool:
    """Whether no two frames of one slot (position, echo, ...) have the same time."""
    order = np.lexsort((seconds, slot))
    same_slot = np.diff(slot[order]) == 0
    return bool((np.diff(seconds[order])[same_slot] > 1e-6).all())


def starts(seconds: NDArray[np.float64], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """When each volume began.

    Parameters
    ----------
    seconds : ndarray, shape (n,)
        Of each frame.
    index : ndarray, shape (volumes..., slice)
        Frame in each place; -1 for none.

    Returns
    -------
    ndarray, shape (volumes...)
        The least time of each volume; where its first slice is missing, what the others and the delays in complete
        volumes tell. NaN for a volume without any image.
    """
    table = np.where(index >= 0, seconds[index], np.inf)
    first = table.min(axis=-1)
    complete = (index >= 0).all(axis=-1)
    if complete.any() and not complete.all():
        delay = np.median(table[complete] - first[complete][..., None], axis=0)
        first = np.where(complete, first, (table - delay).min(axis=-1))
    return np.where(np.isinf(first), np.nan, first)


@lru_cache(maxsize=65536)
def seconds_of_time(text: str) -> float:
    """Seconds since midnight of a TM value (PS3.5 6.2), also with colons (ACR-NEMA); NaN if it is none."""
    digits = text.strip().replace(":", "")
    whole, _, fraction = digits.partition(".")
    if not whole.isdigit() or len(whole) not in (2, 4, 6) or (fraction and not fraction.isdigit()):
        return float("nan")
    whole = whole.ljust(6, "0")
    hours, minutes, seconds = int(whole[:2]), int(whole[2:4]), int(whole[4:])
    if hours > 23 or minutes > 59 or seconds > 60:
        return float("nan")
    return hours * 3600 + minutes * 60 + seconds + (float(f"0.{fraction}") if fraction else 0.0)


@lru_cache(maxsize=4096)
def _date(text: str) -> float:
    """Seconds since 1970 of a DA value at midnight; NaN if it is none."""
    try:
        day = datetime.strptime(text.strip().replace(".", ""), "%Y%m%d")
    except ValueError:
        return float("nan")
    return (day - _EPOCH).total_seconds()


@lru_cache(maxsize=65536)
def seconds_of_datetime(text: str) -> float:
    """Seconds since 1970 of a DT value, local time; an offset from UTC is kept apart, since a series has one."""
    text = text.strip()
    plain = text
    for sign in "+-":
        if sign in plain[4:]:
            plain = plain[: 4 + plain[4:].index(sign)]
    if len(plain) < 8:
        return float("nan")
    return _date(plain[:8]) + (seconds_of_time(plain[8:]) if len(plain) > 8 else 0.0)


def iso(seconds: float) -> str:
    """ISO text (microseconds, no zone) of seconds since 1970."""
    return (_EPOCH + timedelta(microseconds=round(seconds * 1e6))).isoformat(timespec="microseconds")


def datetime64(seconds: NDArray[np.float64]) -> NDArray[np.datetime64]:
    """Seconds since 1970 as datetime64[us]; NaN becomes NaT."""
    out = np.full(np.shape(seconds), np.datetime64("NaT", "us"))
    known = ~np.isnan(seconds)
    out[known] = np.round(np.asarray(seconds)[known] * 1e6).astype(np.int64).astype("datetime64[us]")
    return out

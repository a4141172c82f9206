"""Series joined on request: some scanners export each time point or echo as a series of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...errors import SeriesError
from ..framing.frames import Frames
from .stacks import Series

POSITION_TOLERANCE = 1e-2
"""How far apart equal positions may lie in two series, mm."""


def joined(series: Sequence[Series], frames: Frames) -> Series:
    """Join series that lie at the same places into one, its images in the sequence of the series.

    Parameters
    ----------
    series : sequence of Series
        In order of their numbers.
    frames : Frames
        All frames of the source.

    Returns
    -------
    Series
        With the name, number and description of the first.

    Raises
    ------
    SeriesError
        There is only one; or they are of several patients, studies or frames of reference, or do not lie at the same
        places, so that joined they would look like a volume that nobody measured.
    """
    if len(series) < 2:
        raise SeriesError("join: one series alone is selected. Leave join out, or select several by series=")
    if without := [s for s in series if not s.pixels]:
        raise SeriesError(f"join: {without[0]} has no images. Select series of images by series=")
    first = series[0]
    for other in series[1:]:
        if why := _difference(first, other):
            raise SeriesError(f"join: {why}:\n  {first}\n  {other}\nseries= selects those that belong together")
    place = {(s.uid, s.number): k for k, s in enumerate(series)}
    names = zip(frames.text("SeriesInstanceUID"), (n.strip() for n in frames.text("SeriesNumber")), strict=True)
    which = np.array([place.get(name, -1) for name in names])
    rows = np.flatnonzero(which >= 0).astype(np.intp)
    whole = frames.take(rows)
    # where clocks do not tell the images apart, the sequence of the series does
    number = np.nan_to_num(whole.numbers("InstanceNumber"))
    part = replace(whole, own=replace(whole.own, numbers=dict(whole.own.numbers)))
    part.own.numbers["InstanceNumber"] = which[rows] * (np.ptp(number) + 1) + number
    return replace(first, frames=part)


def _difference(a: Series, b: Series) -> str:
    """Say why two series can't be parts of one image; empty if they can."""
    if a.patient != b.patient:
        return "the series are of several patients"
    for keyword, what in (("StudyInstanceUID", "studies"), ("FrameOfReferenceUID", "frames of reference")):
        if set(a.frames.text(keyword)) != set(b.frames.text(keyword)):
            return f"the series are of several {what}"
    from scipy.spatial import cKDTree

    places = [np.unique(np.nan_to_num(s.frames.position), axis=0) for s in (a, b)]
    for one, other in (places, reversed(places)):
        far = float(np.max(cKDTree(one).query(other)[0]))
        if far > POSITION_TOLERANCE:
            return f"an image of one series lies {far:.3g} mm from the nearest of the other"
    return ""

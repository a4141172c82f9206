"""Images without a place in the patient that are never volumes of one another: runs of a cine, views of a breast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..scanning.coded import Coded
from .frames import Frames

_VIEW = ("ImageLaterality", "ViewPosition")


def runs(frames: Frames, placed: NDArray[np.bool_]) -> Coded[str]:
    """Number of the run that each frame belongs to, as text; empty for frames that are in none.

    A run is a multi-frame instance without a place: its frames are numbered, or timed, from its own first one. The
    instances of a concatenation are one run.

    Parameters
    ----------
    frames : Frames
    placed : ndarray of bool, shape (n,)
        Which frames have a place in the patient.
    """
    if placed.all():
        return Coded.same("", len(frames))
    several = np.bincount(frames.file, minlength=len(frames.scan)) > 1
    joined = frames.text("ConcatenationUID")
    names = [
        "" if placed[k] or not (several[f] or joined[k]) else joined[k] or str(f)
        for k, f in enumerate(frames.file.tolist())
    ]
    return Coded.of(_counted(names))


def views(frames: Frames, placed: NDArray[np.bool_]) -> Coded[str]:
    """View of each image without a place, such as ``R CC`` of a mammogram; empty where nothing is said."""
    if placed.all():
        return Coded.same("", len(frames))
    words = [frames.text(keyword) for keyword in _VIEW]
    each = zip(placed.tolist(), zip(*words, strict=True), strict=True)
    return Coded.of("" if at else " ".join(filter(None, word)) for at, word in each)


def _counted(names: Sequence[str]) -> list[str]:
    """Names as numbers from 1, in the order in which they come: UIDs are identifiers."""
    numbers = {name: str(n) for n, name in enumerate(dict.fromkeys(filter(None, names)), 1)}
    return [numbers.get(name, "") for name in names]

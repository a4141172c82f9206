"""Images without a place in the patient that are never volumes of one another: runs of a cine, views of a breast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .frames import Frames

_VIEW = ("ImageLaterality", "ViewPosition")


def runs(frames: Frames, placed: NDArray[np.bool_]) -> list[str]:
    """Number of the run that each frame belongs to, as text; empty for frames that are in none.

    A run is a multi-frame instance without a place: its frames are numbered, or timed, from its own first one. The
    instances of a concatenation are one run.

    Parameters
    ----------
    frames : Frames
    placed : ndarray of bool, shape (n,)
        Which frames have a place in the patient.
    """
    several = np.bincount(frames.file, minlength=len(frames.scan)) > 1
    joined = frames.text("ConcatenationUID")
    names = [
        "" if placed[k] or not (several[f] or joined[k]) else joined[k] or str(f)
        for k, f in enumerate(frames.file.tolist())
    ]
    return _counted(names)


def views(frames: Frames, placed: NDArray[np.bool_]) -> list[str]:
    """View of each image without a place, such as ``R CC`` of a mammogram; empty where nothing is said."""
    words = [frames.text(keyword) for keyword in _VIEW]
    return [
        "" if at else " ".join(filter(None, each)) for at, each in zip(placed, zip(*words, strict=True), strict=True)
    ]


def _counted(names: Sequence[str]) -> list[str]:
    """Names as numbers from 1, in the order in which they come: UIDs are identifiers."""
    numbers = {name: str(n) for n, name in enumerate(dict.fromkeys(filter(None, names)), 1)}
    return [numbers.get(name, "") for name in names]

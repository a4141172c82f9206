"""What is missing from the labels of an image, and is said, since nobody would see it: volumes that nothing names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...errors import warn
from ...model.image import Volumes
from ..framing.frames import Frames

Labels = Mapping[str, tuple[tuple[str, ...], Any]]

_WEIGHTED = re.compile(r"(?<![a-z])(dwi|dti|dki|dsi|hardi|noddi|diff|diffusion|tensor)(?![a-z])", re.IGNORECASE)
"""Words by which people and scanners call a series of diffusion weighted images."""
_MAPS = re.compile(r"(?<![a-z])(adc|eadc|fa|colfa|md|trace map|map)(?![a-z])", re.IGNORECASE)


def warn_of_unnamed(frames: Frames, volumes: list[Volumes], coords: Labels) -> None:
    """Say that volumes have no label that tells what they are, or that a diffusion series has no b-values.

    Private elements name the volumes of many series, and anonymization removes them: what is left looks like
    repetitions.

    Parameters
    ----------
    frames : Frames
    volumes : list of Volumes
        Labels of the volume dims.
    coords : mapping
        The other labels: name -> (dims, values).
    """
    count = int(np.prod([np.size(v.values) for v in volumes]))
    if count < 2:
        return
    unnamed = [v for v in volumes if v.attrs["order"] == "none" and np.size(v.values) > 1]
    known = all(_all_differ(v, coords) for v in unnamed)
    lost = "b_value" not in coords and np.isnan(frames.diffusion.b_value).all() and _looks_weighted(frames)
    if lost:
        warn(
            f"a series of {count} volumes is called one of diffusion, but no element that is known here gives its "
            "b-values and directions: it is read without. Anonymization often loses them; read the original"
        )
    elif not known:
        warn(
            f"{count} volumes lie at the same places, and no label that is known here (echo, phase, "
            "label, b-value, time, number) tells all apart: they follow InstanceNumber, and may be of several kinds. "
            "Anonymization often loses what tells; read the original, or split='KEYWORD' where an element differs"
        )


def warn_of_gaps(frames: Frames, keywords: Iterable[str]) -> None:
    """Say that only some images of a stack have a number that would name their volumes.

    Parameters
    ----------
    frames : Frames
    keywords : iterable of str
        Elements of MR that are numbers of a volume.
    """
    for keyword in keywords:
        lost = np.isnan(frames.numbers(keyword))
        if lost.any() and not lost.all():
            warn(
                f"{int(lost.sum())} of {lost.size} images have no {keyword}, the others do: all are read without. "
                "Anonymization may have lost it; read the originals"
            )


def _all_differ(volumes: Volumes, coords: Labels) -> bool:
    """Whether the labels of any two volumes of one dim differ."""
    on = [np.unique(values, return_inverse=True)[1] for dims, values in coords.values() if dims == (volumes.dim,)]
    return bool(on) and len(np.unique(np.stack(on), axis=1).T) == np.size(volumes.values)


def _looks_weighted(frames: Frames) -> bool:
    """Whether the words of a series of MR say diffusion, and not that it is a map made of such images."""
    said = {k: set(frames.text(k)) for k in ("SeriesDescription", "SequenceName", "ImageType", "AcquisitionContrast")}
    texts = [text.replace("_", " ") for each in said.values() for text in each]
    mr = set(frames.text("Modality")) == {"MR"}
    return mr and any(_WEIGHTED.search(t) for t in texts) and not any(_MAPS.search(t) for t in texts)

"""Comparing images with the instances that they were read from, before they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray

from .images import At, Images
from .own_headers import OwnHeaders
from .unchanged import header_differs, same_pixels


class Source(NamedTuple):
    """An instance that images lie in.

    Attributes
    ----------
    place : tuple of int
        Volume and slice of its first image.
    met : int
        How many of its frames are images.
    frames : int
        How many it has.
    series : str
        Its Series Instance UID.
    """

    place: At
    met: int
    frames: int
    series: str


@dataclass(frozen=True)
class Compared:
    """What was found.

    Attributes
    ----------
    change : str or None
        What makes the first changed image another than its source; None if all are unchanged.
    sources : dict
        SOP Instance UID -> the source of the images before that one.
    """

    change: str | None
    sources: dict[str, Source]

    @property
    def multiframe(self) -> bool:
        """Whether some instance has several frames."""
        return max((source.frames for source in self.sources.values()), default=1) > 1

    @property
    def series(self) -> dict[str, str]:
        """Series Instance UID of each SOP Instance UID."""
        return {uid: source.series for uid, source in self.sources.items()}


def compare(images: Images, multiframe: bool) -> Compared:
    """Compare until an image is found that is changed, so that a computed image is not computed twice.

    Parameters
    ----------
    images : Images
    multiframe : bool
        Whether they are to become one multi-frame instance.
    """
    sources: dict[str, Source] = {}
    return Compared(_first_change(images, sources) or _incomplete(images, sources, multiframe), sources)


def _first_change(images: Images, sources: dict[str, Source]) -> str | None:
    instances = images.instances
    if images.series.edits:
        return "elements were assigned"
    if images.own is None:
        computed = "instance" not in images.image.coords
        return "its images were computed" if computed else "its source is not known or not reachable"
    if not instances.all() or len(np.unique(instances)) != instances.size:
        return "some of its images have no source instance of their own (they were computed)"
    for v, k, values in images.planes():
        header = images.header(v, k)
        if header is None:
            return "its patient is another than that of its source"
        if (why := _differs(images, images.own, header, v, k, values)) is not None:
            return f"image {k + 1} of volume {v + 1}: {why}"
        uid = str(header.SOPInstanceUID)
        place, met, frames, _ = sources.get(uid) or Source((v, k), 0, images.own.count(int(instances[v, k])), "")
        sources[uid] = Source(min(place, (v, k)), met + 1, frames, str(header.get("SeriesInstanceUID")))
    return None


def _incomplete(images: Images, sources: dict[str, Source], multiframe: bool) -> str | None:
    """Say that multi-frame instances can't be written as they are, where frames of them are missing."""
    if any(source.met != source.frames for source in sources.values()):
        return "frames of its multi-frame instances, or tiles of its mosaics, are not in the image"
    several = max(source.frames for source in sources.values()) > 1
    if several and images.original(0, 0) is None:
        return "its multi-frame instances or mosaics can't be reached"
    tiles = several and images.own is not None and images.own.is_tile(int(images.instances.flat[0]))
    return "its images are tiles of mosaics, not of one instance" if tiles and multiframe else None


def _differs(
    images: Images, own: OwnHeaders, header: pydicom.Dataset, v: int, k: int, values: NDArray[Any]
) -> str | None:
    series, instance = images.series, int(images.instances[v, k])
    why = header_differs(header, series.place, series.labels, series.identity, v, k, own.delay(instance))
    if why is not None and (other := _mended_delay(images, own, v, k)) is not None:
        why = header_differs(header, series.place, series.labels, series.identity, v, k, other)
    if why is not None:
        return why
    assert images.headers is not None
    same = same_pixels(values, header, images.headers, instance, images.stored_values)
    return None if same else "its pixels are others than those of its source"


def _mended_delay(images: Images, own: OwnHeaders, v: int, k: int) -> float | None:
    """Delay of a tile of the first mosaic as those of the second say, of which reading takes impossible ones."""
    instances = images.instances
    if v or len(instances) < 2 or not instances[1, k] or not own.is_tile(int(instances[0, k])):
        return None
    return own.delay(int(instances[1, k]))

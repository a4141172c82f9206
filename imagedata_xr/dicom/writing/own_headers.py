"""Headers of the single images of a series that is written."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pydicom

from ...errors import SourceError
from ...model.identity import instance_digest
from ..headers.header import Headers
from .classic import frame_digests, frame_header, is_multiframe, tile_digests
from .fields import put

_BY_RULE = ("GridFrameOffsetVector", "DetectorVector", "SliceVector", "AngularViewVector")
_KEPT = 4  # instances of several images; each may take some ten MB


@dataclass(frozen=True)
class _Instance:
    header: pydicom.Dataset
    frames: dict[int, int]

    @property
    def tiled(self) -> bool:
        return len(self.frames) > 1 and not is_multiframe(self.header)


class OwnHeaders:
    """Headers of images as classic single-frame ones; an instance of many frames or tiles is read once, not for each.

    Parameters
    ----------
    headers : Headers
        Of the source.
    """

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._read: OrderedDict[str, _Instance] = OrderedDict()
        self._last: tuple[int, int, bool] | None = None

    def of(self, instance: int) -> pydicom.Dataset:
        """Header of an image, by its digest: not to be changed in its sequences, which others share.

        Raises
        ------
        SourceError
            Where the source holds another image by now.
        """
        whole = self._instance(instance)
        self._last = instance, len(whole.frames), whole.tiled
        if (number := whole.frames.get(instance)) is None:
            raise SourceError(
                "the source of an image holds another image by now: its files were replaced since they were opened. "
                "Open them again"
            )
        header = frame_header(_shallow(whole.header) if len(whole.frames) > 1 else whole.header, number)
        if whole.tiled or any(keyword in whole.header for keyword in _BY_RULE):
            self._put_place(header, instance, whole.tiled)
        return header

    def count(self, instance: int) -> int:
        """How many images the instance of an image holds: frames, or tiles of a mosaic."""
        return self._about(instance)[0]

    def is_tile(self, instance: int) -> bool:
        """Whether an image is a tile of a mosaic or grid."""
        return self._about(instance)[1]

    def _about(self, instance: int) -> tuple[int, bool]:
        if self._last is None or self._last[0] != instance:  # else its header was the last one asked for
            whole = self._instance(instance)
            self._last = instance, len(whole.frames), whole.tiled
        return self._last[1:]

    def delay(self, instance: int) -> float:
        """Seconds from the time that its header says to that of a tile; 0 for other images, and where it is unknown."""
        place = self._headers.place(instance) if self.is_tile(instance) else None
        return 0.0 if place is None or np.isnan(place.delay) else place.delay

    def _put_place(self, header: pydicom.Dataset, instance: int, tile: bool) -> None:
        """Say where an image lies whose place follows from a rule: of a dose grid, of nuclear medicine, or a tile."""
        place = self._headers.place(instance)
        if place is None or np.isnan(place.position).any() or np.isnan(place.orientation).any():
            return
        put(header, "ImagePositionPatient", place.position)
        put(header, "ImageOrientationPatient", place.orientation)
        if tile:
            header.Rows, header.Columns = place.matrix

    def _instance(self, instance: int) -> _Instance:
        for uid, known in self._read.items():
            if instance in known.frames:
                self._read.move_to_end(uid)
                return known
        header = self._headers.dataset(instance)
        out = _Instance(header, self._images(header, instance))
        if len(out.frames) > 1:
            for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
                header.get(groups)  # decoded here, once: each frame's header finds its own among all of them
            self._read[str(header.get("SOPInstanceUID") or "")] = out
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return out

    def _images(self, header: pydicom.Dataset, instance: int) -> dict[int, int]:
        """Digests of the images of an instance, and the number of each: of tiles, of those that were read."""
        frames = frame_digests(header)
        if len(frames) > 1:
            return frames
        tiled = instance not in frames
        if not tiled:
            second = instance_digest(str(header.get("SOPInstanceUID") or ""), 2)
            tiled = self._headers.has(second)
        return {d: n for d, n in tile_digests(header).items() if self._headers.has(d)} if tiled else frames


def _shallow(header: pydicom.Dataset) -> pydicom.Dataset:
    """Return another data set of the same elements."""
    out = pydicom.Dataset()
    # the elements are still encoded as in the file
    implicit, little = header.original_encoding
    out.set_original_encoding(implicit, little, header.original_character_set)
    for tag in header.keys():  # noqa: SIM118 - iterating decodes
        out[tag] = header.get_item(tag)
    if (meta := getattr(header, "file_meta", None)) is not None:
        out.file_meta = meta
    return out

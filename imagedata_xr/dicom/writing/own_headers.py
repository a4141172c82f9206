"""Headers of the single images of a series that is written."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pydicom

from ...errors import SourceError
from ..headers.header import Headers
from .classic import frame_digests, frame_header
from .fields import put

_BY_RULE = ("GridFrameOffsetVector", "DetectorVector", "SliceVector", "AngularViewVector")
_KEPT = 4  # instances of several images; each may take some ten MB


@dataclass(frozen=True)
class _Instance:
    header: pydicom.Dataset
    frames: dict[int, int]


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

    def of(self, instance: int) -> pydicom.Dataset:
        """Header of an image, by its digest: not to be changed in its sequences, which others share.

        Raises
        ------
        SourceError
            Where the source holds another image by now.
        """
        whole = self._instance(instance)
        if (number := whole.frames.get(instance)) is None:
            raise SourceError(
                "the source of an image holds another image by now: its files were replaced since they were opened. "
                "Open them again"
            )
        header = frame_header(_shallow(whole.header) if len(whole.frames) > 1 else whole.header, number)
        if any(keyword in whole.header for keyword in _BY_RULE):
            self._put_place(header, instance)
        return header

    def _put_place(self, header: pydicom.Dataset, instance: int) -> None:
        """Say where a frame lies whose place follows from a rule: a plane of a dose grid, or of nuclear medicine."""
        place = self._headers.place(instance)
        if place is None or np.isnan(place.position).any() or np.isnan(place.orientation).any():
            return
        put(header, "ImagePositionPatient", place.position)
        put(header, "ImageOrientationPatient", place.orientation)

    def _instance(self, instance: int) -> _Instance:
        for uid, known in self._read.items():
            if instance in known.frames:
                self._read.move_to_end(uid)
                return known
        header = self._headers.dataset(instance)
        out = _Instance(header, frame_digests(header))
        if len(out.frames) > 1:
            for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
                header.get(groups)  # decoded here, once: each frame's header finds its own among all of them
            self._read[str(header.get("SOPInstanceUID") or "")] = out
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return out


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

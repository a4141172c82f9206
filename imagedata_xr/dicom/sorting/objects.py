"""Series without pixels: structured reports, documents, raw data, presentation states. They are their headers."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ...formats.seam import ReadOptions
from ...model.identity import patient_digest, study_digest
from ..framing.frames import Frames
from ..headers.header import Headers
from ..headers.joined import JoinedHeaders
from ..headers.lookup import remember
from ..scanning.dicomdir import DIRECTORY
from ..scanning.scan import Scan
from .assemble import headers_of_frames
from .attrs import attrs_of
from .stacks import Series, series_of


def objects_of(scanned: Scan) -> Frames:
    """Instances without pixel data, one row for each; directories are none."""
    directory = scanned.words(0x00020002).map(lambda words: (words or ("",))[0] == DIRECTORY).array(bool)
    return Frames.of(scanned.take(np.flatnonzero((scanned.pixel_tag == 0) & ~directory)))


def series_without_pixels(scanned: Scan) -> list[Series]:
    """Series of the instances without pixel data."""
    objects = objects_of(scanned)
    found = series_of(objects) if len(objects) else []
    for series in found:
        series.pixels = False
    return found


def dataset_of(series: Series, options: ReadOptions) -> xr.Dataset:
    """Dataset of a series without pixels.

    It has no variables; attrs hold the elements that all its objects share, and the dim ``instance`` the digests by
    which `imd.header` finds the header of each.
    """
    frames = series.frames
    attrs = attrs_of(frames, set(), place=False)
    coords: dict[str, Any] = {
        "instance": ("instance", np.asarray(frames.instance, dtype=np.int64)),
        "patient": ((), np.int64(patient_digest(attrs))),
        "study": ((), np.int64(study_digest(attrs))),
    }
    if options.source:
        coords["source"] = ((), np.array(options.source, dtype=np.dtypes.StringDType()))
        remember(options.source, headers_of_frames(frames))
    return xr.Dataset(coords=coords, attrs=attrs)


def all_headers(frames: Frames, scanned: Scan) -> Headers | None:
    """Headers of images and of objects without pixels; None where there are none."""
    parts: list[Headers] = [headers_of_frames(f) for f in (frames, objects_of(scanned)) if len(f)]
    return JoinedHeaders(parts) if parts else None

"""Writing a segmentation: as it was read, or anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...errors import FormatError
from ...formats.seam import WriteOptions, Written
from ...model.identity import instance_digest
from ..framing.segments import CLASSES, LABEL_MAP
from ..headers.header import Headers, is_renamed
from .asked import Asked
from .identity_out import Identity
from .objects_out import Origin, write_one
from .own_headers import OwnHeaders
from .place_out import Place
from .uids import new_uid
from .unchanged import renamed


def write_segmentation(
    image: xr.DataArray, origin: Origin, target: str, options: WriteOptions, asked: Asked,
    anew: Callable[[], Written],
) -> Written:  # fmt: skip
    """Write a segmentation as the instance that it was, where it is what its source says; anew otherwise.

    Parameters
    ----------
    image : xarray.DataArray
        Canonical, with the dims (segment, slice, row, col), or a part of one.
    origin : Origin
        Its ``instances`` have shape (segments, slices): digest of the frame of each plane; 0 for none.
    target : str
    options : WriteOptions
    asked : Asked
    anew : callable
        Writes it as a new segmentation.

    Raises
    ------
    FormatError
        ``keep_uid`` is asked for and it was changed; or it can't be written anew.
    """
    headers, instances, series = origin.headers, origin.instances, origin.series
    original = _original(headers, instances)
    why: str | None = "its source is not known or not reachable"
    if original is not None and headers is not None:
        why = _change(image, original, headers, instances, series.place, series.identity)
    if asked.segments is not None or asked.segmentation_type or asked.fractional_type:
        why = "its segments are described anew"
    if original is None or why is not None:
        if options.keep_uid:
            raise FormatError(
                f"keep_uid=True, but the segmentation is not what its source says: {why}. Without keep_uid it becomes "
                "a new one"
            )
        return anew()
    new = is_renamed(headers, int(instances[instances != 0][0]))
    other = options.series_number is not None or options.series_description is not None
    if not options.keep_uid and (other or not new):
        original = renamed(original, new_uid(), new_uid(), options.series_number, options.series_description)
    return write_one(original, target, options, asked, keep_meta=options.keep_uid and not new)


def is_of_segmentation(image: xr.DataArray) -> bool:
    """Whether an image is a segmentation or a part of one, by what it says of itself."""
    return "segment" in image.dims or str(image.attrs.get("SOPClassUID", "")) in CLASSES


def _original(headers: Headers | None, instances: NDArray[np.int64]) -> pydicom.Dataset | None:
    own = instances[instances != 0]
    return None if headers is None or not own.size else headers.original(int(own[0]))


def _change(
    image: xr.DataArray, original: pydicom.Dataset, headers: Headers, instances: NDArray[np.int64], place: Place,
    identity: Identity,
) -> str | None:  # fmt: skip
    """Say how a segmentation differs from its source; None if it does not."""
    uid, frames = str(original.SOPInstanceUID), int(original.get("NumberOfFrames") or 1)
    numbers = {instance_digest(uid, n): n for n in range(1, frames + 1)}
    if "segment" not in image.dims:
        return "it is a part of it or was stored as a map of labels (mask_and_scale=False)"
    if image.attrs.get("assigned_elements"):
        return "elements were assigned"
    if set(instances[instances != 0].tolist()) != set(numbers):
        return "frames of its source are missing, or are others"
    if not identity.holds(original):
        return "its patient or study is another than that of its source, or not known for certain"
    segments = [int(n) for n in image.coords["segment"].values]
    top = float(original.get("MaximumFractionalValue") or 1)
    scale = top if image.dtype.kind == "f" and original.get("SegmentationType") == "FRACTIONAL" else 1.0
    own = OwnHeaders(headers)
    mapped = str(original.SOPClassUID) == LABEL_MAP
    for k in range(instances.shape[1]):
        values = np.asarray(image.isel(slice=k).values, dtype=np.float64)
        if values[instances[:, k] == 0].any():
            return f"slice {k + 1} has pixels of a segment that its source has no frame of"
        planes: dict[int, NDArray[Any]] = {}
        for s in np.flatnonzero(instances[:, k]).tolist():
            digest = int(instances[s, k])
            stored = np.rint(values[s] * scale)
            if np.abs(stored - values[s] * scale).max() > 1e-3:
                return f"slice {k + 1} has values that its source can't have"
            header = own.of(digest)
            if (why := place.differs(header, k)) is not None:
                return f"slice {k + 1}: {why}"
            said = header.get("ReferencedSegmentNumber")
            if not mapped and said is not None and int(said) != segments[s]:
                return f"slice {k + 1}: segment {segments[s]} is {said} in its source"
            if mapped:
                stored = stored * segments[s] + planes.get(digest, 0)
            planes[digest] = stored
        if not all(headers.same_pixels(digest, stored) for digest, stored in planes.items()):
            return f"the pixels of slice {k + 1} are others than those of its source"
    return None

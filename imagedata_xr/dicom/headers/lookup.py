"""Headers of the sources that were opened lately, found again by the name of the source or by an image."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import cast

import numpy as np
import xarray as xr

from ...stores.url import File, file_name
from .header import Headers
from .joined import JoinedHeaders

_KEPT = 16  # sources whose headers are remembered
_sources: OrderedDict[str, Headers] = OrderedDict()
_met: dict[str, dict[tuple[str, str], File]] = {}
"""Files of sources that another process opened, by source, whose headers were not asked for yet."""
_lock = Lock()
PROCESS = uuid.uuid4().hex
"""Names this process, and those that are forked from it: what it has opened they know too."""


def remember(source: str, headers: Headers) -> None:
    """Keep the headers of a source that was opened, for as long as it is among the last ones."""
    with _lock:
        before = _sources.pop(source, None)
        if before is not None and before is not headers:
            # a folder with several series, or opened again with other options, knows other images
            joined = before if isinstance(before, JoinedHeaders) else JoinedHeaders([before])
            joined.put_first(headers)
            headers = joined
        _sources[source] = headers
        while len(_sources) > _KEPT:
            _sources.popitem(last=False)


def remembered(source: str) -> Headers | None:
    """Headers of a source that was opened in this process; None for one that was not."""
    with _lock:
        return _sources.get(source)


def met(source: str, files: Iterable[File]) -> None:
    """Keep the files of a source that another process opened: their headers are read when they are asked for."""
    with _lock:
        _met.setdefault(source, {}).update({(file_name(f), f.path): f for f in files})


def _read_met(sources: Iterable[str]) -> None:
    """Read the headers of files that other processes opened, for good."""
    from ...formats.seam import format_named

    for source in sources:
        with _lock:
            files = list(_met.pop(source, {}).values())
        if files:
            found = format_named("dicom").headers_in(files)  # type: ignore[attr-defined]
            if found is not None:
                remember(source, found)


def remembered_with(instances: set[int]) -> list[Headers]:
    """Sources opened in this process, or by who sent it images, that know any of these images."""
    _read_met(list(_met))
    with _lock:
        return [h for h in _sources.values() if any(h.has(i) for i in instances)]


def headers_of(image: xr.DataArray | xr.Dataset) -> Headers | None:
    """Headers of an image, through its coord ``source``: those remembered, else found by reading the source again.

    Parameters
    ----------
    image : xarray.DataArray or xarray.Dataset
        The latter for a series without pixels.

    Returns
    -------
    Headers or None
        None where the source is unknown or gone.
    """
    from ...formats.seam import formats

    if "source" not in image.coords or image.coords["source"].ndim:
        return None
    source = str(image.coords["source"].values.item())
    _read_met([source])
    found = remembered(source)
    if found is not None or not source:
        return found
    for form in formats().values():
        opener = getattr(form, "headers", None)
        found = cast("Headers | None", opener(source)) if opener is not None else None
        if found is not None:
            remember(source, found)
            return found
    return None


def headers_of_planes(image: xr.DataArray) -> Headers | None:
    """Headers of an image: those of its source, and of other sources that were opened for what that does not know."""
    first, others = headers_by_source(image), headers_elsewhere(image)
    parts = [h for h in (first, *others) if h is not None]
    return first if not others else JoinedHeaders(parts)


def headers_elsewhere(image: xr.DataArray) -> list[Headers]:
    """Other sources opened in this process that know images which the image's own source does not."""
    first, coord = headers_by_source(image), image.coords.get("instance")
    if coord is None or coord.dtype.kind != "i":
        return []
    wanted = {int(d) for d in np.unique(coord.values) if d and not (first is not None and first.has(int(d)))}
    return [h for h in remembered_with(wanted) if h is not first] if wanted else []


def headers_by_source(image: xr.DataArray) -> Headers | None:
    """Headers of the sources that the coord ``source`` names, one or several."""
    source = image.coords.get("source")
    if source is None or not source.ndim:
        return headers_of(image)
    each = {str(s) for s in source.values.ravel().tolist()}
    found = [headers_of(image.assign_coords(source=xr.Variable((), s))) for s in sorted(each)]
    known = [h for h in found if h is not None]
    return JoinedHeaders(known) if known else None

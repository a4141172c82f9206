"""Headers of an image: those of its source, and of other sources that were opened in this process."""

from __future__ import annotations

import numpy as np
import xarray as xr

from .header import Headers, JoinedHeaders, headers_of, remembered_with


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

"""An image without what identifies the patient: lazy as before, with headers that are made when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ...errors import IdentityError, SourceError, warn
from ...model.identity import patient_digest, study_digest
from ...model.image import in_memory
from ...model.orders import VECTOR
from ...stores.originals import also_called
from ..headers.header import Headers
from ..headers.lookup import headers_of_planes, remember
from .cleaning import Cleaner
from .headers import DeidentifiedHeaders, new_instances
from .labels import attrs_without, days_of, relabelled
from .policy import Policy
from .private_kept import Weighting
from .shown import check_pixels

SOURCE = "deidentified:"
"""Begins the coord ``source`` of an image whose headers are made anew in this process."""


def deidentify(image: xr.DataArray, policy: Policy) -> xr.DataArray:
    """De-identify an image by the profile of PS3.15 Annex E.

    Parameters
    ----------
    image : xarray.DataArray
        Repaired.
    policy : Policy

    Returns
    -------
    xarray.DataArray
        Lazy as before. Its patient, study, instances and frame of reference are new ones, equal for all images that
        are de-identified with the same key.

    Raises
    ------
    IdentityError
        Where the pixels may show identifiers and nothing was said of them, or images of several patients were combined.
    """
    image = in_memory(image)
    cleaner = Cleaner(policy)
    headers = _reachable(headers_of_planes(image), image)
    check_pixels(image, headers, policy)
    _check_one_patient(image, headers)
    days = days_of(image, cleaner)
    out = relabelled(image, cleaner, days)
    out.attrs = attrs_without(image, cleaner)
    coords: dict[str, Any] = {}
    for name, digest in (("patient", patient_digest), ("study", study_digest)):
        coord = image.coords.get(name)
        # a label that was lost, or belongs to others than the attrs, stays lost
        if coord is not None and not coord.ndim and int(coord) == digest(image.attrs):
            coords[name] = ((), np.int64(digest(out.attrs)))
    coords |= _instances(image, headers, cleaner)
    coords["source"] = ((), np.array(called(image.coords, policy), dtype=np.dtypes.StringDType()))
    out = out.assign_coords(coords)
    return blanked(out, policy) if policy.regions else out


def called(coords: Any, policy: Policy) -> str:
    """What the source of de-identified images is called, in place of that of the images with those coords."""
    name = f"{SOURCE}{policy.name}"
    if "source" in coords:
        for source in coords["source"].values.ravel().tolist():
            also_called(str(source), name)
    return name


def _reachable(headers: Headers | None, image: xr.DataArray) -> Headers | None:
    """Headers whose files are still there; without them an image is written from its labels and attrs."""
    coord = image.coords.get("instance")
    if headers is None or coord is None or coord.dtype.kind != "i":
        return None
    first = next((int(d) for d in np.ravel(coord.values) if d and headers.has(int(d))), None)
    try:
        return None if first is None or headers.dataset(first) is None else headers
    except SourceError:
        warn("the source of this image can't be reached: only its labels and attributes are de-identified and written")
        return None


def _check_one_patient(image: xr.DataArray, headers: Headers | None) -> None:
    if headers is None:
        return
    digests = np.unique(image.coords["instance"].values)
    if len({headers.identity(int(d))[0] for d in digests if d and headers.has(int(d))}) > 1:
        raise IdentityError(
            "the images are of several patients: de-identify each before they are combined, with the same seed"
        )


def _instances(image: xr.DataArray, headers: Headers | None, cleaner: Cleaner) -> dict[str, Any]:
    """Coord ``instance`` with the digests of the new instances, whose headers are remembered."""
    coord = image.coords.get("instance")
    if coord is None or coord.dtype.kind != "i":
        return {}
    values = coord.values
    new: dict[int, int] = {} if headers is None else new_instances(headers, values, cleaner)
    if headers is not None and new:
        old = {fresh: before for before, fresh in new.items()}
        known = DeidentifiedHeaders(headers, cleaner.policy, old, _weighted(image))
        remember(f"{SOURCE}{cleaner.policy.name}", known)
    renamed = np.array([new.get(int(d), 0) for d in np.ravel(values)], dtype=np.int64).reshape(values.shape)
    return {"instance": (coord.dims, renamed)}


def _weighted(image: xr.DataArray) -> dict[int, Weighting]:
    """b-value and direction of each image by its digest, as the labels say them."""
    parts = [image.coords.get(name) for name in ("b_value", *VECTOR)]
    instance, b_value = image.coords["instance"], parts[0]
    if b_value is None or not set(b_value.dims) <= set(instance.dims):
        return {}
    spread = [
        np.zeros(instance.shape) if p is None else np.asarray(p.broadcast_like(instance).transpose(*instance.dims))
        for p in parts
    ]
    table = np.stack([np.ravel(s) for s in spread], axis=1)
    return {
        int(digest): (float(b), np.array(direction))
        for digest, (b, *direction) in zip(np.ravel(instance.values), table.tolist(), strict=True)
        if digest and np.isfinite([b, *direction]).all()
    }


def blanked(image: xr.DataArray, policy: Policy) -> xr.DataArray:
    """Image with zeros in the regions of a policy, lazily."""
    data = image if image.chunks is not None else image.chunk(image.encoding.get("preferred_chunks", {}))
    keep = np.ones([n if d in ("row", "col") else 1 for d, n in data.sizes.items()], dtype=bool)
    for rows, columns in policy.regions:
        where: dict[Any, slice] = {"row": rows, "col": columns}
        keep[tuple(where.get(d, slice(None)) for d in data.dims)] = False
    import dask.array as da

    out = data.copy(data=da.where(keep, data.data, np.zeros((), dtype=image.dtype)))
    out.encoding = dict(image.encoding)
    return out

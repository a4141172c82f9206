"""Values of an image that are still those of its source, plane by plane: found, compared, and mapped where they lie.

What a header says of its image (a mapping, a factor) is true of the values that were read, and of no others. Each image
is known by its digest, its pixels by their labels, so that a part of an image finds its own ones in the source.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...errors import GeometryError, LabelError, SourceError
from ...model.assign import ASSIGNED
from ...model.image import volume_dims
from ...model.repair import space_of
from ..writing.fields import from_attrs
from ..writing.own_headers import OwnHeaders
from ..writing.unchanged import same_pixels
from .header import Headers
from .lookup import headers_of
from .rescale import Rescale

Change = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""From (values, stored values) of a plane, or a part of it, to others; both are NaN where the values are."""

_CHANGED = (
    "values are not those that were read from the source (computed with, masked by a number, or resampled since, or "
    "opened with mask_and_scale=False): what the source's headers say does not hold for them. Do this first and "
    "compute then; check=False takes the values as they are"
)


class ChangedError(SourceError):
    """The values of an image are not those of its source any more."""


@dataclass(frozen=True)
class Planes:
    """The planes of an image, as its source knows them.

    Attributes
    ----------
    dims : tuple of str
        Dims of the image but row and col.
    row : ndarray, int
        On `dims`: number of each plane among those below; -1 where there is no image.
    instances : list of int
        Digests.
    headers : list of pydicom.Dataset
        As classic ones, with the elements that the user set.
    source : Headers
    """

    dims: tuple[str, ...]
    row: NDArray[np.intp]
    instances: list[int]
    headers: list[pydicom.Dataset]
    source: Headers

    def of_source(self) -> list[pydicom.Dataset]:
        """Headers of all images of the source, those of the image and others."""
        known = dict(zip(self.instances, self.headers, strict=True))
        own = OwnHeaders(self.source)
        lister = getattr(self.source, "instances", None)
        everyone = lister() if lister is not None else []
        return [*self.headers, *(own.of(i) for i in everyone if i not in known)]


def planes_of_image(image: xr.DataArray) -> Planes:
    """Planes of an image and their headers.

    Raises
    ------
    SourceError
        The image has no instances of its own, or its source is gone.
    LabelError
        A row or column alone, or more dims than those of an image.
    """
    dims = tuple(str(d) for d in image.dims if d not in ("row", "col"))
    strange = [d for d in dims if d != "slice" and d not in volume_dims(image)]
    if strange or "row" not in image.dims or "col" not in image.dims:
        raise LabelError(
            f"an image on {tuple(image.dims)} has no planes of grey values: select a row or a column, or stack images, "
            "afterwards"
        )
    if "instance" not in image.coords:
        raise SourceError(
            "the images are not those of a source any more (a mean, arithmetic between images, or another format than "
            "DICOM), so that their headers can't be found: do this first and compute then"
        )
    digests = image.coords["instance"].variable.set_dims({d: image.sizes[d] for d in dims}).values
    if digests.dtype.kind == "f" and not (np.isnan(digests) | (digests == np.round(digests))).all():
        raise SourceError("images lie between those of the source (interpolated, averaged): do this first")
    digests = np.nan_to_num(digests).astype(np.int64)
    source = headers_of(image)
    found, row = np.unique(digests, return_inverse=True)
    missing = [i for i in found.tolist() if i > 0 and (source is None or not source.has(i))]
    if source is None or missing:
        raise SourceError(
            f"the headers of {len(missing) or len(found)} images can't be found: their source is gone, or they were "
            "computed. Open it again, or save images with their headers as zarr or netCDF by imd.write"
        )
    own, said = OwnHeaders(source), _assigned(image)
    instances = [i for i in found.tolist() if i > 0]
    if not instances:
        raise SourceError("no image has an instance of its own, so that no header can be found")
    headers = [_with(own.of(i), said) for i in instances]
    return Planes(dims, row.reshape(digests.shape) - int((found <= 0).sum()), instances, headers, source)


def _assigned(image: xr.DataArray) -> pydicom.Dataset:
    """Elements that the user set, which come before those of the source."""
    words = image.attrs.get(ASSIGNED, [])
    names = [words] if isinstance(words, str) else list(words)
    return from_attrs({n: image.attrs[n] for n in names if n in image.attrs})


def _with(header: pydicom.Dataset, said: pydicom.Dataset) -> pydicom.Dataset:
    for element in said:
        header[element.tag] = element
    return header


# --- mapping ----------------------------------------------------------------------------------------------------------


def mapped(
    image: xr.DataArray, planes: Planes, changes: Sequence[Change], dtype: np.dtype[Any], check: bool
) -> xr.DataArray:
    """Map the values of each plane; lazily where the image is not in memory.

    Parameters
    ----------
    image : DataArray
    planes : Planes
    changes : sequence of Change
        One for each of the planes.
    dtype : dtype
        Of the result.
    check : bool
        Compare the values with those of the source first, block by block.

    Returns
    -------
    DataArray
        A new one, with the labels and attrs of the image.

    Raises
    ------
    GeometryError
        The image's rows and columns are none of the source (with `check`).
    SourceError
        The values are not those of the source: at once for values in memory, else when they are computed.
    """
    lead = image.transpose(*planes.dims, "row", "col")
    in_memory, lazily = lead.variable._in_memory, lead.chunks is not None
    if not in_memory and not lazily:
        # what was not read yet can't have been changed, but integers may be the stored values
        check = check and lead.dtype.kind != "f"
        lead = lead.chunk(_chunks(lead))
    elif lazily and check:
        lead = lead.chunk({"row": -1, "col": -1})  # so that each plane of the source is read once
    mapper = _Mapper(planes, list(changes), np.dtype(dtype), check, _windows(lead, planes) if check else None)
    if in_memory and not lazily:
        data = mapper(lead.values, [(0, n) for n in lead.shape])
    else:
        data = lead.data.map_blocks(
            _block, dtype=mapper.dtype, meta=np.empty((0,) * lead.ndim, mapper.dtype), mapper=mapper,
            token=f"imd-real-world-{uuid.uuid4().hex}",
        )  # fmt: skip
    out: xr.DataArray = lead.copy(data=data).transpose(*image.dims)
    return out


def _chunks(image: xr.DataArray) -> dict[Any, int]:
    wanted = image.encoding.get("preferred_chunks", {})
    usual = {d: n if d in ("slice", "row", "col") else 1 for d, n in image.sizes.items()}
    return {d: min(int(wanted.get(d, usual[d])), n) for d, n in image.sizes.items()}


def _block(block: NDArray[Any], mapper: _Mapper, block_info: Any = None) -> NDArray[Any]:
    return mapper(block, block_info[0]["array-location"])


@dataclass(frozen=True)
class _Mapper:
    planes: Planes
    changes: list[Change]
    dtype: np.dtype[Any]
    check: bool
    windows: tuple[NDArray[np.intp], NDArray[np.intp]] | None

    def __call__(self, block: NDArray[Any], place: Sequence[tuple[int, int]]) -> NDArray[Any]:
        """Map a block, which lies at [(first, last + 1) per axis] of the image."""
        out = np.empty(block.shape, dtype=self.dtype)
        rows = self.planes.row[tuple(slice(*ends) for ends in place[:-2])]
        window = None
        if self.windows is not None:
            window = np.ix_(*(w[slice(*ends)] for w, ends in zip(self.windows, place[-2:], strict=True)))
        for at in np.ndindex(*rows.shape):
            out[at] = self._plane(np.asarray(block[at]), int(rows[at]), window)
        return out

    def _plane(self, values: NDArray[Any], k: int, window: Any) -> NDArray[np.float64]:
        numbers_ = values.astype(np.float64)
        known = ~np.isnan(numbers_)
        if not known.any():
            return numbers_
        if k < 0:
            raise ChangedError(f"an image has no instance in the source, so that its {_CHANGED}")
        rescale = Rescale.of(self.planes.headers[k])
        stored = self._same(values, numbers_, known, k, window, rescale) if self.check else None
        if stored is None:
            stored = self._found(numbers_, k, window, rescale)
        return self.changes[k](numbers_, np.where(known, stored, np.nan))

    def _found(self, values: NDArray[np.float64], k: int, window: Any, rescale: Rescale) -> NDArray[np.float64]:
        if rescale.lut is None:
            return rescale.stored(values)
        every, first = np.unique(rescale.lut.values, return_index=True)
        near = np.clip(np.searchsorted(every, values), 0, len(every) - 1)
        unique = len(every) == len(rescale.lut.values)
        if not unique or not (np.isnan(values) | (every[near] == values)).all():
            raise SourceError("the stored values can't be told from the values, whose Modality LUT has no inverse")
        return np.asarray(first[near] + float(rescale.lut.first))

    def _same(
        self, values: NDArray[Any], numbers_: NDArray[np.float64], known: NDArray[np.bool_], k: int, window: Any,
        rescale: Rescale,
    ) -> NDArray[np.float64] | None:  # fmt: skip
        """Stored values in the source, which must be those of the values; None where only a digest is kept of them."""
        instance, source = self.planes.instances[k], self.planes.source
        stored = source.stored(instance)
        if stored is None:
            if not same_pixels(values, self.planes.headers[k], source, instance, False):
                raise ChangedError(
                    f"the source is gone, and of its pixels only a digest is kept, which tells that {_CHANGED}. A part "
                    "of an image can't be compared by it"
                )
            return None
        stored = stored[window]
        wanted = rescale.values(stored)
        # values were rounded to their type when they were read
        slack = rescale.tolerance + 2.0**-22 * np.abs(wanted)
        if not (np.abs(numbers_ - wanted) <= slack)[known].all():
            raise ChangedError(f"the {_CHANGED}")
        return np.asarray(stored, dtype=np.float64)


# --- where the pixels lie in the source -------------------------------------------------------------------------------


def _windows(image: xr.DataArray, planes: Planes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the source that the image has, by their labels."""
    places = [planes.source.place(i) for i in planes.instances]
    space, out = space_of(image), []
    for axis, name in ((1, "row"), (2, "col")):
        labels = image[name].values.astype(np.float64) if name in image.coords else None
        if labels is None:
            raise GeometryError(f"the labels of {name} are lost, so that its pixels can't be found in the source")
        if any(p is None for p in places):  # of a table, which compares whole planes
            out.append(np.arange(len(labels)))
            continue
        first, step = 0.0, 1.0
        if space is not None:
            known = [p for p in places if p is not None]
            origins = np.array([np.linalg.solve(space.direction, p.position)[axis] for p in known])
            steps = np.array([p.spacing[axis - 1] for p in known])
            along = np.array([p.orientation.reshape(2, 3)[2 - axis] for p in known])
            same = np.abs(along - space.direction[:, axis]).max() < 1e-3
            if not (same and np.ptp(origins) < 1e-2 and np.ptp(steps) < 1e-4):
                raise GeometryError(f"the image lies otherwise in the patient than its source: {_ELSEWHERE}")
            first, step = float(origins[0]), float(steps[0])
        index = (labels - first) / step
        if not (np.abs(index - np.rint(index)) < 2e-2).all() or index.min(initial=0) < -0.5:
            raise GeometryError(f"the {name} labels lie between those of the source: {_ELSEWHERE}")
        out.append(np.rint(index).astype(np.intp))
    return out[0], out[1]


_ELSEWHERE = "do this before resampling, or moving it; check=False takes the values as they are"

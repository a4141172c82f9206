"""Write an image as a DICOM series: unchanged images as they were, others as valid derived ones.

Images are made one after the other, from blocks of the array that fit in memory, into a folder that appears when all are whole.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ..errors import FormatError, ImagedataWarning
from ..formats.seam import WriteOptions, Written
from ..model.image import canonical, volume_dims
from .blocks import blocks
from .derived import Series, rgb
from .fields import from_attrs
from .files_out import Folder, check_target, encode, open_folder
from .header import Headers, headers_of
from .identity_out import identity_of
from .labels_out import check_b_values, labels_of
from .pixels_out import Coded, coding_of, may_lose
from .pixels_out import encode as encode_pixels
from .place_out import place_of
from .sop_classes import PET, SC, class_for, may_rescale, sixteen_bits, warn_neutral
from .uids import new_uid
from .unchanged import header_differs, renamed, same_pixels, stored_of, with_pixels

FORMAT_OPTIONS = {"sop_class": ("MR", "CT", "PT", "PET", "SC")}


def write(image: xr.DataArray, target: str, options: WriteOptions) -> Any:
    """Write an image as a new DICOM series, one file per image.

    Parameters
    ----------
    image : xarray.DataArray
        With the dims of the data model, in any order.
    target : str
        Folder, local or of any fsspec file system.
    options : WriteOptions
        ``format_options={"sop_class": "MR" | "CT" | "PT" | "SC"}`` chooses the class of derived images.

    Returns
    -------
    Written, or dask.delayed.Delayed that yields it where ``options.compute`` is false

    Raises
    ------
    FormatError
        Where DICOM can't hold the image, or ``keep_uid`` is asked for and an image is not unchanged; before anything is
        written.
    GeometryError
        Where the place of the pixels is lost.
    FileExistsError
        Where the target is there and ``options.overwrite`` is false.
    """
    _check_options(options)
    check_target(target, options.overwrite, options.storage_options)
    job = _job(canonical(image), str(target), options)
    if options.compute:
        return job()
    import dask

    return dask.delayed(job, pure=False, traverse=False)()


def _check_options(options: WriteOptions) -> None:
    for name, value in options.format_options.items():
        allowed = FORMAT_OPTIONS.get(name)
        if allowed is None or value not in allowed:
            raise FormatError(f"format_options {name}={value!r}: DICOM knows {FORMAT_OPTIONS}")
    changes = {"series_number": options.series_number, "series_description": options.series_description}
    asked = [name for name, value in {**changes, "image_type": options.image_type}.items() if value is not None]
    if options.keep_uid and asked:
        raise FormatError(f"keep_uid=True leaves every element as it is, so {', '.join(asked)} can't be given with it")


def _job(image: xr.DataArray, target: str, options: WriteOptions) -> Job:
    if "segment" in image.dims:
        raise FormatError("segments can't be written as a series of images: select one with sel(segment=...)")
    if image.dtype.kind not in "biuf":
        advice = ": write abs(image) and the phase as two series" if image.dtype.kind == "c" else ""
        raise FormatError(f"values of type {image.dtype} are none of a DICOM image{advice}")
    if not image.size:
        raise FormatError(f"the image is empty: its sizes are {dict(image.sizes)}")
    headers, instances = _own_headers(image)
    attrs = from_attrs(image.attrs)
    place, labels = place_of(image), labels_of(image)
    if headers is not None:
        check_b_values(labels, _source_b_values(headers))
    keep = {tag_for_keyword(k) for k in _words(image.attrs.get("assigned_elements"))} - {None}
    assigned = pydicom.Dataset()
    for element in attrs:
        if element.tag in keep:
            assigned[element.tag] = element
    series = Series(
        place=place,
        labels=labels,
        identity=identity_of(image, attrs, image.attrs),
        uid=new_uid(),
        frame_of_reference=place.frame_of_reference or new_uid(),
        now=datetime.now(),
        number=options.series_number if options.series_number is not None else _next_number(attrs, headers, instances),
        description=options.series_description,
        image_type=_words(options.image_type) or None,
        units=options.units if options.units is not None else str(image.attrs.get("units", "") or ""),
        assigned=assigned,
    )
    return Job(image, target, options, headers, instances, attrs, series)


def _words(value: Any) -> list[str]:
    if value is None:
        return []
    return [w for w in value.split("\\") if w] if isinstance(value, str) else [str(v) for v in value]


def _own_headers(image: xr.DataArray) -> tuple[Headers | None, NDArray[np.int64]]:
    """Where the headers of the images are, and the digest of each image's own one; 0 for none."""
    dims = [*volume_dims(image), "slice"]
    sizes = [image.sizes[d] for d in dims]
    none = np.zeros((int(np.prod(sizes[:-1])), sizes[-1]), dtype=np.int64)
    coord = image.coords.get("instance")
    if coord is None or not set(coord.dims) <= set(dims):
        return None, none
    values = coord.variable.set_dims(dict(zip(dims, sizes, strict=True))).transpose(*dims).values.reshape(none.shape)
    if values.dtype.kind == "f":
        values = np.where(values % 1 == 0, values, 0)  # an averaged digest is none
    digests = values.astype(np.int64)
    headers = headers_of(image)
    if headers is None:
        if digests.any():
            warnings.warn(
                "the source of this image can't be reached: what is written comes from its labels and attributes, without the "
                "elements that only the whole headers have",
                ImagedataWarning,
                stacklevel=5,
            )
        return None, none
    known = {d: headers.has(int(d)) for d in np.unique(digests) if d}
    return headers, np.vectorize(lambda d: d if known.get(d) else 0, otypes=[np.int64])(digests)


def _source_b_values(headers: Headers) -> set[float] | None:
    known = getattr(headers, "b_values", None)
    return known() if callable(known) else None


def _next_number(attrs: pydicom.Dataset, headers: Headers | None, instances: NDArray[np.int64]) -> int | None:
    """Series number of a derived series: 1000 more than that of the source."""
    own = instances[instances > 0]
    source = attrs if "SeriesNumber" in attrs or headers is None or not own.size else headers.dataset(int(own[0]))
    try:
        return int(str(source.get("SeriesNumber") or 0)) + 1000
    except ValueError:
        return 1000


@dataclass
class Job:
    """A series to be written; calling it writes."""

    image: xr.DataArray
    target: str
    options: WriteOptions
    headers: Headers | None
    instances: NDArray[np.int64]
    attrs: pydicom.Dataset
    series: Series
    neutral: set[str] = field(default_factory=set)
    lossy: bool = False

    def __call__(self) -> Written:
        """Write the series."""
        why = self.first_change()
        if why is not None and self.options.keep_uid:
            raise FormatError(
                f"keep_uid=True, but the image is not what its source instances say: {why}. Without keep_uid it becomes a "
                "new series"
            )
        folder = open_folder(self.target, self.options.overwrite, self.options.storage_options)
        try:
            uids, size = self._write_all(folder, why is None)
            paths = folder.finish()
        except BaseException:
            folder.abandon()
            raise
        self._warn()
        order = sorted(range(len(paths)), key=lambda i: paths[i])
        return Written("dicom", tuple(paths[i] for i in order), len(paths), size, tuple(uids[i] for i in order), self._series_uid())

    def _series_uid(self) -> str:
        if self.options.keep_uid and self.headers is not None:
            return str(self.headers.dataset(int(self.instances.flat[0])).SeriesInstanceUID)
        return self.series.uid

    # --- unchanged or derived --------------------------------------------------------------------------------------
    @property
    def stored_values(self) -> bool:
        """Whether the values are stored integers: the reader says so, and only where nothing was computed."""
        kind = np.dtype(self.image.encoding.get("stored_dtype", "f4")).kind
        return kind in "iu" and self.image.dtype.kind in "iu"

    def first_change(self) -> str | None:
        """Say what makes the first changed image another than its source; None if all are unchanged.

        It stops there, so that a computed image is not computed twice.
        """
        if self.series.assigned:
            return "elements were assigned"
        if self.headers is None:
            return "its source is not known or not reachable"
        if not self.instances.all() or len(np.unique(self.instances)) != self.instances.size:
            return "some of its images have no source instance of their own (they were computed)"
        for v, k, values in self._planes():
            header = self._header(v, k)
            assert header is not None
            if (why := self._differs(header, v, k, values)) is not None:
                return f"image {k + 1} of volume {v + 1}: {why}"
        return None

    def _differs(self, header: pydicom.Dataset, v: int, k: int, values: NDArray[Any]) -> str | None:
        assert self.headers is not None
        s = self.series
        if (why := header_differs(header, s.place, s.labels, s.identity, v, k)) is not None:
            return why
        same = same_pixels(values, header, self.headers, int(self.instances[v, k]), self.stored_values)
        return None if same else "its pixels are others than those of its source"

    def _header(self, v: int, k: int) -> pydicom.Dataset | None:
        """Own header of an image, where it has one that may be used."""
        instance = int(self.instances[v, k])
        if self.headers is None or not instance:
            return None
        header = self.headers.dataset(instance)
        return header if self.series.identity.trusts(header) else None

    # --- writing ---------------------------------------------------------------------------------------------------
    def _planes(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield (volume, slice, values) of all images, block by block."""
        dims = volume_dims(self.image)
        shape = [self.image.sizes[d] for d in dims]
        for block in blocks(self.image.variable, len(dims) + 1):
            values = self.image.variable[block].values
            for place in np.ndindex(values.shape[: len(dims) + 1]):
                at = tuple(b.start + i for b, i in zip(block, place, strict=True))
                yield int(np.ravel_multi_index(at[:-1], shape)), at[-1], values[place]

    def _write_all(self, folder: Folder, unchanged: bool) -> tuple[list[str], int]:
        total, size, uids = self.instances.size, 0, []
        from_files = unchanged and self._original(0, 0) is not None
        planes = self._places() if from_files else self._planes()
        for done, (v, k, values) in enumerate(planes, 1):
            ds = self._unchanged(v, k, values, True) if unchanged else self._changed(v, k, values)
            data = encode(ds, keep_meta=self.options.keep_uid)
            folder.add(f"IM_{v * self.instances.shape[1] + k + 1:05d}.dcm", data)
            uids.append(str(ds.SOPInstanceUID))
            size += len(data)
            if self.options.progress is not None:
                self.options.progress(done, total)
        return uids, size

    def _places(self) -> Iterator[tuple[int, int, None]]:
        for v, k in np.ndindex(self.instances.shape):
            yield v, k, None

    def _original(self, v: int, k: int) -> pydicom.Dataset | None:
        return None if self.headers is None else self.headers.original(int(self.instances[v, k]))

    def _unchanged(self, v: int, k: int, values: NDArray[Any] | None, whole: bool) -> pydicom.Dataset:
        """Own instance under new identifiers; `whole` where all of the series is unchanged."""
        ds = self._original(v, k)
        if ds is None:
            header = self._header(v, k)
            assert header is not None and values is not None
            stored = stored_of(values, header, self.stored_values)
            assert stored is not None
            ds = with_pixels(header, stored)
        if self.options.keep_uid:
            return ds
        o, number = self.options, None if whole else self._number(v, k)
        series_number = o.series_number if whole else self.series.number
        return renamed(ds, new_uid(), self.series.uid, series_number, o.series_description, number)

    def _number(self, v: int, k: int) -> int:
        return v * self.instances.shape[1] + k + 1

    def _changed(self, v: int, k: int, values: NDArray[Any]) -> pydicom.Dataset:
        """Instance of a series that is not unchanged as a whole: each image is judged by itself."""
        own = self._header(v, k)
        if own is not None and not self.series.assigned and self._differs(own, v, k, values) is None:
            return self._unchanged(v, k, values, False)
        base = self.attrs if own is None else own
        colour = values.ndim == 3
        asked = str(self.options.format_options.get("sop_class", ""))
        uid = class_for(base, colour, asked)
        coded = self._code(values, own, uid)
        if not colour and not may_rescale(uid) and not coded.coding.identity:
            uid = SC
        ds, neutral = self.series.header(base, own is not None, v, k, uid)
        self.neutral |= set(neutral)
        ds.InstanceNumber = self._number(v, k)
        self.series.put_pixels(ds, coded, uid, colour)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return ds

    def _code(self, values: NDArray[Any], own: pydicom.Dataset | None, uid: str) -> Coded:
        if values.ndim == 3:
            return rgb(values)
        coding = None if own is None or self.stored_values else coding_of(own)
        coded = encode_pixels(values, coding, pet=uid == PET, bytes_allowed=not sixteen_bits(uid))
        self.lossy |= may_lose(values, coded)
        return coded

    def _warn(self) -> None:
        warn_neutral(self.neutral)
        if self.lossy:
            warnings.warn(
                "integers that span more than 16 bits were written in steps: they come back rounded. Formats such as NIfTI "
                "or zarr keep them",
                ImagedataWarning,
                stacklevel=4,
            )



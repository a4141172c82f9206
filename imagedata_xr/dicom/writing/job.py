"""A series being written: which images are unchanged, and one instance after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ...errors import FormatError, warn
from ...formats.seam import WriteOptions, Written
from ...model.image import volume_dims
from ...model.loading import values_of
from ...stores.sinks import Sink
from ..headers.header import Headers, is_renamed
from .asked import Asked
from .blocks import blocks
from .charset_out import holds
from .compress import compress
from .copied import Copy, copy_of
from .derived import Series, rgb
from .dicomdir_out import NAME as DICOMDIR
from .dicomdir_out import Entry, directory, entry_of
from .files_out import encode, open_target
from .multiframe_out import alike, converted
from .own_headers import OwnHeaders
from .pixels_out import Coded, as_bytes, coding_of, encode_alike, may_lose
from .pixels_out import encode as encode_pixels
from .sop_classes import PET, SC, may_rescale, only_bytes, sixteen_bits, warn_neutral
from .uids import new_uid
from .unchanged import header_differs, renamed, same_pixels, stored_of, with_pixels


@dataclass
class Job:
    """A series to be written; calling it writes."""

    image: xr.DataArray
    target: str
    options: WriteOptions
    asked: Asked
    headers: Headers | None
    instances: NDArray[np.int64]
    attrs: pydicom.Dataset
    series: Series
    sources: dict[str, tuple[tuple[int, int], int, int]] = field(default_factory=dict)
    neutral: set[str] = field(default_factory=set)
    lossy: bool = False
    overlays: bool = False
    kept_syntax: set[str] = field(default_factory=set)
    own: OwnHeaders | None = field(default=None, init=False)
    captures: bool = field(default=False, init=False)
    alike: bool = field(default=False, init=False)
    converts: bool = field(default=False, init=False)
    source_series: dict[str, str] = field(default_factory=dict, init=False)

    def __call__(self) -> Written:
        """Write the series."""
        self.sources, self.neutral, self.lossy, self.overlays, self.kept_syntax = {}, set(), False, False, set()
        self.alike, self.source_series = False, {}
        self.__dict__.pop("_named", None)
        self.own = None if self.headers is None else OwnHeaders(self.headers)
        why = self.first_change()
        # instances that are multi-frame already stay as they are
        whole = why is None and max((frames for _, _, frames in self.sources.values()), default=1) > 1
        self.converts = self.asked.multiframe and not whole
        if self.converts and self.options.keep_uid:
            raise FormatError("keep_uid=True keeps instances as they are, and multiframe=True makes a new one of them")
        if why is not None and self.options.keep_uid:
            raise FormatError(
                f"keep_uid=True, but the image is not what its source instances say: {why}. Without keep_uid it "
                "becomes a new series"
            )
        self.captures = why is not None and self._beyond_class()
        folder = open_target(self.target, self.options.overwrite, self.options.storage_options)
        try:
            uids, size = self._write_all(folder, why is None)
            paths = folder.finish()
        except BaseException:
            folder.abandon()
            raise
        self._warn()
        if why is None and self._joined and not self._own_uids:
            warn(
                f"the images of {len(set(self.source_series.values()))} series are written as one, under the number "
                "and description of the first, where no others are given"
            )
        order = sorted(range(len(uids)), key=lambda i: paths[i])  # a DICOMDIR comes last, and is no image
        ordered = tuple(paths[i] for i in order), tuple(uids[i] for i in order)
        report = getattr(folder, "report", None)
        return Written("dicom", ordered[0], len(uids), size, ordered[1], self._series_uid(why is None), report)

    def _series_uid(self, unchanged: bool) -> str:
        if unchanged and self._own_uids and self.headers is not None:
            return str(self.headers.dataset(int(self.instances.flat[0])).SeriesInstanceUID)
        return self.series.uid

    @property
    def _renamed(self) -> bool:
        """Whether the instances of the source have got new UIDs already: they were de-identified."""
        return bool(self.instances.size) and is_renamed(self.headers, int(self.instances.flat[0]))

    @property
    def _own_uids(self) -> bool:
        """Whether unchanged images are written under the UIDs that their headers have."""
        other = self.options.series_number is not None or self.options.series_description is not None
        one = "SeriesInstanceUID" in self.image.attrs
        return self.options.keep_uid or (self._renamed and one and not other)

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
        if self.series.edits:
            return "elements were assigned"
        if self.headers is None:
            computed = "instance" not in self.image.coords
            return "its images were computed" if computed else "its source is not known or not reachable"
        if not self.instances.all() or len(np.unique(self.instances)) != self.instances.size:
            return "some of its images have no source instance of their own (they were computed)"
        for v, k, values in self._planes():
            header = self._header(v, k)
            if header is None:
                return "its patient is another than that of its source"
            if (why := self._differs(header, v, k, values)) is not None:
                return f"image {k + 1} of volume {v + 1}: {why}"
            self._count(header, v, k)
        return self._incomplete()

    def _count(self, header: pydicom.Dataset, v: int, k: int) -> None:
        """Note the instance that an image lies in, and how many of its frames were met."""
        uid = str(header.SOPInstanceUID)
        assert self.own is not None
        place, met, frames = self.sources.get(uid, ((v, k), 0, self.own.count(int(self.instances[v, k]))))
        self.sources[uid] = (min(place, (v, k)), met + 1, frames)
        self.source_series[uid] = str(header.get("SeriesInstanceUID"))

    def _incomplete(self) -> str | None:
        """Say that multi-frame instances can't be written as they are, where frames of them are missing."""
        if any(met != frames for _, met, frames in self.sources.values()):
            return "frames of its multi-frame instances, or tiles of its mosaics, are not in the image"
        several = max(frames for _, _, frames in self.sources.values()) > 1
        if several and self._original(0, 0) is None:
            return "its multi-frame instances or mosaics can't be reached"
        assert self.own is not None
        tiles = several and self.own.is_tile(int(self.instances.flat[0]))
        return "its images are tiles of mosaics, not of one instance" if tiles and self.asked.multiframe else None

    def _differs(self, header: pydicom.Dataset, v: int, k: int, values: NDArray[Any]) -> str | None:
        assert self.headers is not None
        s = self.series
        assert self.own is not None
        delay = self.own.delay(int(self.instances[v, k]))
        why = header_differs(header, s.place, s.labels, s.identity, v, k, delay)
        if why is not None and (other := self._mended_delay(v, k)) is not None:
            why = header_differs(header, s.place, s.labels, s.identity, v, k, other)
        if why is not None:
            return why
        same = same_pixels(values, header, self.headers, int(self.instances[v, k]), self.stored_values)
        return None if same else "its pixels are others than those of its source"

    def _mended_delay(self, v: int, k: int) -> float | None:
        """Delay of a tile of the first mosaic as those of the second say, of which reading takes impossible ones."""
        assert self.own is not None
        if v or len(self.instances) < 2 or not self.instances[1, k] or not self.own.is_tile(int(self.instances[0, k])):
            return None
        return self.own.delay(int(self.instances[1, k]))

    def _header(self, v: int, k: int) -> pydicom.Dataset | None:
        """Own header of an image, where it has one that may be used."""
        instance = int(self.instances[v, k])
        if self.own is None or not instance:
            return None
        header = self.own.of(instance)
        return header if self.series.identity.trusts(header) else None

    # --- writing ---------------------------------------------------------------------------------------------------
    def _planes(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield (volume, slice, values) of all images, block by block."""
        dims = volume_dims(self.image)
        shape = [self.image.sizes[d] for d in dims]
        for block in blocks(self.image.variable, len(dims) + 1):
            values = values_of(self.image.variable[block])
            places = list(np.ndindex(values.shape[: len(dims) + 1]))
            for place in places:
                at = tuple(b.start + i for b, i in zip(block, place, strict=True))
                plane = values[place]
                if place == places[-1]:  # who holds it shall not hold the block while the next is read
                    plane = plane.copy()
                    del values
                yield int(np.ravel_multi_index(at[:-1], shape)), at[-1], plane

    def _write_all(self, folder: Sink, unchanged: bool) -> tuple[list[str], int]:
        size, uids = 0, []
        from_files = unchanged and self._original(0, 0) is not None
        total = len(self.sources) if from_files else self.instances.size
        names = self.asked.names.all_of(*self.instances.shape)
        entries: list[Entry] = []
        images: Iterator[tuple[tuple[int, int], pydicom.Dataset | Copy]]
        images = self._originals() if from_files else self._made(unchanged)
        if self.converts:
            whole = [(place, ds) for place, ds in images if isinstance(ds, pydicom.Dataset)]
            images, total = iter([((0, 0), self._one_instance(whole, unchanged))]), 1
            names = self.asked.names.all_of(1, 1)
        keep_meta = self.options.keep_uid and not self._renamed
        for done, ((v, k), ds) in enumerate(images, 1):
            data = ds.encoded(keep_meta) if isinstance(ds, Copy) else self._encoded(ds, keep_meta)
            folder.add(names[v][k], data)
            uids.append(str(ds.SOPInstanceUID))
            size += len(data)
            if self.asked.dicomdir:
                assert isinstance(ds, pydicom.Dataset)
                entries.append(entry_of(ds, names[v][k]))
            if self.options.progress is not None:
                self.options.progress(done, total)
        if self.asked.dicomdir:
            folder.add(DICOMDIR, directory(entries))
        return uids, size

    def _encoded(self, ds: pydicom.Dataset, keep_meta: bool) -> bytes:
        if self.asked.transfer_syntax and not compress(ds, self.asked.transfer_syntax):
            self.kept_syntax.add(str(ds.file_meta.get("TransferSyntaxUID", "")))
        return encode(ds, keep_meta)

    def _originals(self) -> Iterator[tuple[tuple[int, int], pydicom.Dataset | Copy]]:
        """Yield the source's own instances, all unchanged; the pixels of the image are not needed."""
        for uid, (place, _, _) in sorted(self.sources.items(), key=lambda item: item[1][0]):
            yield place, self._copy(uid, *place) or self._unchanged(*place, None)

    def _copy(self, uid: str, v: int, k: int) -> Copy | None:
        """Bytes of an instance under new identifiers; None where pydicom has to read and write it."""
        if self.converts or self.asked.dicomdir or self.asked.transfer_syntax:
            return None
        read = getattr(self.headers, "content", None)
        content = None if read is None else read(int(self.instances[v, k]))
        copy = None if content is None else copy_of(content)
        if copy is None or copy.SOPInstanceUID != uid:  # another one by now: who reads it as a whole says so
            return None
        if not holds(copy.header, self._named[1] or ""):  # all texts get another character set
            return None
        self._rename(copy.header, v, k)
        return copy

    def _made(self, unchanged: bool) -> Iterator[tuple[tuple[int, int], pydicom.Dataset]]:
        for v, k, values in self._planes():
            yield (v, k), self._unchanged(v, k, values) if unchanged else self._changed(v, k, values)

    def _one_instance(self, images: list[tuple[tuple[int, int], pydicom.Dataset]], unchanged: bool) -> pydicom.Dataset:
        """All images as the frames of one; those of which pixels are stored in several ways are stored anew."""
        if not unchanged and not alike([ds for _, ds in images]):
            self.alike = True
            images = list(self._made(unchanged))
        return converted([ds for _, ds in images], self.series, not unchanged, self.source_series)

    def _original(self, v: int, k: int) -> pydicom.Dataset | None:
        return None if self.headers is None else self.headers.original(int(self.instances[v, k]))

    def _unchanged(self, v: int, k: int, values: NDArray[Any] | None) -> pydicom.Dataset:
        """Own instance under new identifiers."""
        ds = self._original(v, k)
        if ds is None:
            header = self._header(v, k)
            stored = None if header is None or values is None else stored_of(values, header, self.stored_values)
            if header is None or stored is None:
                raise FormatError(f"image {k + 1} of volume {v + 1} changed while it was written")
            ds = with_pixels(header, stored)
        return self._rename(ds, v, k)

    def _rename(self, ds: pydicom.Dataset, v: int, k: int) -> pydicom.Dataset:
        """Give an unchanged instance its new identifiers."""
        if self._own_uids or self.converts:
            return ds
        if self._joined:  # instance numbers may not repeat
            ds.InstanceNumber = self._number(v, k)
        number, description = self._named
        return renamed(ds, new_uid(), self.series.uid, number, description)

    @property
    def _joined(self) -> bool:
        """Whether unchanged images come from several series."""
        return len(set(self.source_series.values())) > 1

    @cached_property
    def _named(self) -> tuple[int | None, str | None]:
        """Number and description for unchanged images; None to leave them: of several series those of the first."""
        number, description = self.options.series_number, self.options.series_description
        if not self._joined or self.headers is None:
            return number, description
        first = self.headers.dataset(int(self.instances.flat[0]))
        number = int(first.get("SeriesNumber") or 0) if number is None else number
        return number, str(first.get("SeriesDescription") or "") if description is None else description

    def _number(self, v: int, k: int) -> int:
        return v * int(self.instances.shape[1]) + k + 1

    def _changed(self, v: int, k: int, values: NDArray[Any]) -> pydicom.Dataset:
        """Instance of a series of which not all images are unchanged: all are derived.

        Unchanged ones among them would part the series for its readers: by Image Type, and by private elements that
        the others no longer have.
        """
        own = self._header(v, k)
        base = self.attrs if own is None else own
        if own is not None:
            self.source_series[str(own.get("SOPInstanceUID"))] = str(own.get("SeriesInstanceUID"))
        colour = values.ndim == 3
        uid = self.series.sop_class(base, colour, self.asked.sop_class)
        coded = self._code(values, own, uid)
        if not colour and self.captures:
            uid = SC
        elif not colour and only_bytes(uid):
            coded = as_bytes(coded)
        ds, neutral = self.series.header(base, own is not None, v, k, uid)
        self.neutral |= set(neutral)
        self.overlays |= any(0x6000 <= tag.group <= 0x60FF for tag in base.keys())  # noqa: SIM118 - iterating decodes
        ds.InstanceNumber = self._number(v, k)
        self.series.put_pixels(ds, coded, uid, colour)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return ds

    def _beyond_class(self) -> bool:
        """Whether some image has values that its class can't hold, so that all become secondary captures.

        A series has one class, and ultrasound and projections hold whole numbers alone: their values are looked at.
        """
        first = self._header(0, 0)
        base = self.attrs if first is None else first
        uid = self.series.sop_class(base, "rgb" in self.image.dims, self.asked.sop_class)
        if "rgb" in self.image.dims or may_rescale(uid):
            return False
        for v, k, values in self._planes():
            own = self._header(v, k)
            coded = self._code(values, own, uid)
            bits = as_bytes(coded).coding.bits_allocated if only_bytes(uid) else 8
            if not coded.coding.identity or bits != 8:
                return True
        return False

    def _code(self, values: NDArray[Any], own: pydicom.Dataset | None, uid: str) -> Coded:
        if values.ndim == 3:
            return rgb(values)
        if self.alike:
            return encode_alike(values, pet=uid == PET)
        coding = None if own is None or self.stored_values else coding_of(own)
        coded = encode_pixels(values, coding, pet=uid == PET, bytes_allowed=not sixteen_bits(uid))
        self.lossy |= may_lose(values, coded)
        return coded

    def _warn(self) -> None:
        warn_neutral(self.neutral)
        if self.overlays:
            warn("the overlays of the source are left out of derived images: they may no longer lie where they belong")
        if self.kept_syntax:
            warn(
                "the pixels of unchanged images that are compressed already, or not of 8 or 16 bits, stay as they are "
                "stored: transfer_syntax was not used for them"
            )
        if self.lossy:
            warn(
                "integers that span more than 16 bits were written in steps: they come back rounded. NIfTI and zarr "
                "keep them"
            )

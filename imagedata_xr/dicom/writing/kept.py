"""Instances of a series of which every image is unchanged: those of the source, under new identifiers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pydicom
from numpy.typing import NDArray

from ...errors import FormatError, warn
from ...formats.seam import WriteOptions
from .charset_out import holds
from .compared import Compared
from .copied import Copy, copy_of
from .images import At, Images
from .multiframe_out import converted
from .uids import new_uid
from .unchanged import renamed, stored_of, with_pixels


class Kept:
    """Makes the instances.

    Parameters
    ----------
    images : Images
        All unchanged.
    compared : Compared
    options : WriteOptions
    decoded : bool
        Whether files are not to be copied byte by byte, since their elements or pixels are needed.
    converts : bool
        Whether they become one multi-frame instance, which alone gets new identifiers.
    """

    def __init__(
        self, images: Images, compared: Compared, options: WriteOptions, decoded: bool, converts: bool
    ) -> None:
        self._images, self._sources, self._options = images, compared.sources, options
        self._source_series = compared.series
        self._decoded, self._converts = decoded, converts
        self._joined = len(set(self._source_series.values())) > 1

    @cached_property
    def _reachable(self) -> bool:
        """Whether the instances of the source are there as a whole; else values are put into their headers."""
        return self._images.original(0, 0) is not None

    @property
    def count(self) -> int:
        """How many instances there are."""
        return len(self._sources) if self._reachable else self._images.instances.size

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        if self._own_uids and self._images.headers is not None:
            return str(self._images.headers.dataset(int(self._images.instances.flat[0])).SeriesInstanceUID)
        return self._images.series.uid

    def instances(self) -> Iterator[tuple[At, pydicom.Dataset | Copy]]:
        """Yield each with the place of its first image; values are not needed where it can be reached as a whole."""
        if self._reachable:
            for uid, source in sorted(self._sources.items(), key=lambda item: item[1].place):
                yield source.place, self._copy(uid, *source.place) or self._unchanged(*source.place, None)
            return
        for v, k, values in self._images.planes():
            yield (v, k), self._unchanged(v, k, values)

    def one_instance(self) -> pydicom.Dataset:
        """All images as the frames of one."""
        whole = [ds for _, ds in self.instances() if isinstance(ds, pydicom.Dataset)]
        return converted(whole, self._images.series, False, self._source_series)

    def warn(self) -> None:
        """Say that several series became one."""
        if self._joined and not self._own_uids:
            warn(
                f"the images of {len(set(self._source_series.values()))} series are written as one, under the number "
                "and description of the first, where no others are given"
            )

    @property
    def _own_uids(self) -> bool:
        """Whether they are written under the UIDs that their headers have."""
        other = self._options.series_number is not None or self._options.series_description is not None
        one = "SeriesInstanceUID" in self._images.image.attrs
        return self._options.keep_uid or (self._images.renamed and one and not other)

    @cached_property
    def _named(self) -> tuple[int | None, str | None]:
        """Number and description of the series; None to leave them: of several series those of the first."""
        number, description = self._options.series_number, self._options.series_description
        if not self._joined or self._images.headers is None:
            return number, description
        first = self._images.headers.dataset(int(self._images.instances.flat[0]))
        number = int(first.get("SeriesNumber") or 0) if number is None else number
        return number, str(first.get("SeriesDescription") or "") if description is None else description

    def _copy(self, uid: str, v: int, k: int) -> Copy | None:
        """Bytes of an instance under new identifiers; None where pydicom has to read and write it."""
        if self._decoded:
            return None
        read = getattr(self._images.headers, "content", None)
        content = None if read is None else read(int(self._images.instances[v, k]))
        copy = None if content is None else copy_of(content)
        if copy is None or copy.SOPInstanceUID != uid:  # another one by now: who reads it as a whole says so
            return None
        if not holds(copy.header, self._named[1] or ""):  # all texts get another character set
            return None
        self._rename(copy.header, v, k)
        return copy

    def _unchanged(self, v: int, k: int, values: NDArray[Any] | None) -> pydicom.Dataset:
        """Own instance under new identifiers."""
        ds = self._images.original(v, k)
        if ds is None:
            header = self._images.header(v, k)
            stored = None if header is None or values is None else stored_of(values, header, self._images.stored_values)
            if header is None or stored is None:
                raise FormatError(f"image {k + 1} of volume {v + 1} changed while it was written")
            ds = with_pixels(header, stored)
        return self._rename(ds, v, k)

    def _rename(self, ds: pydicom.Dataset, v: int, k: int) -> pydicom.Dataset:
        """Give an instance its new identifiers."""
        if self._own_uids or self._converts:
            return ds
        if self._joined:  # instance numbers may not repeat
            ds.InstanceNumber = self._images.number(v, k)
        number, description = self._named
        return renamed(ds, new_uid(), self._images.series.uid, number, description)

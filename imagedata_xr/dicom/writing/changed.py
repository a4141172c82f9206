"""Instances of a series of which not every image is unchanged: all are derived.

Unchanged ones among them would part the series for its readers: by Image Type, and by private elements that the others
no longer have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ...errors import warn
from .compared import Compared
from .derived import rgb
from .images import At, Images
from .multiframe_out import alike, converted
from .pixels_out import Coded, as_bytes, coding_of, encode, encode_alike, may_lose
from .sop_classes import PET, SC, may_rescale, only_bytes, sixteen_bits, warn_neutral


class Changed:
    """Makes the instances, and notes what `warn` is to say.

    Parameters
    ----------
    images : Images
    compared : Compared
    sop_class : str
        The class that is asked for; empty for that of the source, or one that fits.
    """

    def __init__(self, images: Images, compared: Compared, sop_class: str) -> None:
        self._images, self._asked = images, sop_class
        self._source_series = compared.series
        self._neutral: set[str] = set()
        self._lossy = self._overlays = False
        self._captures = self._beyond_class()

    @property
    def count(self) -> int:
        """How many instances there are."""
        return int(self._images.instances.size)

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        return self._images.series.uid

    def instances(self) -> Iterator[tuple[At, pydicom.Dataset]]:
        """Yield each with its place."""
        return self._made(alike_pixels=False)

    def one_instance(self) -> pydicom.Dataset:
        """All images as the frames of one; those of which pixels are stored in several ways are stored anew."""
        made = [ds for _, ds in self._made(alike_pixels=False)]
        if not alike(made):
            made = [ds for _, ds in self._made(alike_pixels=True)]
        return converted(made, self._images.series, True, self._source_series)

    def warn(self) -> None:
        """Say what was left out, made up or rounded."""
        warn_neutral(self._neutral)
        if self._overlays:
            warn("the overlays of the source are left out of derived images: they may no longer lie where they belong")
        if self._lossy:
            warn(
                "integers that span more than 16 bits were written in steps: they come back rounded. NIfTI and zarr "
                "keep them"
            )

    def _made(self, alike_pixels: bool) -> Iterator[tuple[At, pydicom.Dataset]]:
        for v, k, values in self._images.planes():
            yield (v, k), self._changed(v, k, values, alike_pixels)

    def _changed(self, v: int, k: int, values: NDArray[Any], alike_pixels: bool) -> pydicom.Dataset:
        own = self._images.header(v, k)
        base = self._images.attrs if own is None else own
        if own is not None:
            self._source_series[str(own.get("SOPInstanceUID"))] = str(own.get("SeriesInstanceUID"))
        series, colour = self._images.series, values.ndim == 3
        uid = series.sop_class(base, colour, self._asked)
        coded = self._code(values, own, uid, alike_pixels)
        if not colour and self._captures:
            uid = SC
        elif not colour and only_bytes(uid):
            coded = as_bytes(coded)
        ds, neutral = series.header(base, own is not None, v, k, uid)
        self._neutral |= set(neutral)
        self._overlays |= any(0x6000 <= tag.group <= 0x60FF for tag in base.keys())  # noqa: SIM118 - iterating decodes
        ds.InstanceNumber = self._images.number(v, k)
        series.put_pixels(ds, coded, uid, colour)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return ds

    def _beyond_class(self) -> bool:
        """Whether some image has values that its class can't hold, so that all become secondary captures.

        A series has one class, and ultrasound and projections hold whole numbers alone: their values are looked at.
        """
        images = self._images
        first, colour = images.header(0, 0), "rgb" in images.image.dims
        uid = images.series.sop_class(images.attrs if first is None else first, colour, self._asked)
        if colour or may_rescale(uid):
            return False
        for v, k, values in images.planes():
            coded = self._code(values, images.header(v, k), uid)
            bits = as_bytes(coded).coding.bits_allocated if only_bytes(uid) else 8
            if not coded.coding.identity or bits != 8:
                return True
        return False

    def _code(self, values: NDArray[Any], own: pydicom.Dataset | None, uid: str, alike_pixels: bool = False) -> Coded:
        """Stored values: by the rescale of the source where it holds them, or by one that all images share."""
        if values.ndim == 3:
            return rgb(values)
        if alike_pixels:
            return encode_alike(values, pet=uid == PET)
        coding = None if own is None or self._images.stored_values else coding_of(own)
        coded = encode(values, coding, pet=uid == PET, bytes_allowed=not sixteen_bits(uid))
        self._lossy |= may_lose(values, coded)
        return coded

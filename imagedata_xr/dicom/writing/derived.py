"""Header of a derived image: from its own source's header, or from the attrs, with what is no longer true taken out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword

from ...errors import FormatError
from .charset_out import UTF8, set_charset
from .classic import put_gating
from .fields import code_item, drop, drop_groups, put, put_moment
from .identity_out import Identity
from .labels_out import Labels
from .marks import NAN_MARK
from .pixels_out import Coded
from .place_out import Place
from .sop_classes import MR, PET, class_for, complete, is_projection, may_rescale
from .stale import STALE
from .uids import new_uid

_STALE_TAGS = frozenset(map(tag_for_keyword, STALE))
_PURPOSE = ("121322", "DCM", "Source Image for Image Processing Operation")  # PS3.16 CID 7202
_UNITS_OF_PET = {
    "Bq/ml": "BQML", "g/ml": "GML", "cm2/ml": "CM2ML", "counts": "CNTS", "counts/s": "CPS", "%": "PCNT",
    "proportional to counts": "PROPCNTS", "proportional to counts/s": "PROPCPS",
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """What all derived images of a write share.

    Attributes
    ----------
    place : Place
    labels : Labels
    identity : Identity
    now : datetime
    number : int, optional
        Series number asked for.
    description : str, optional
    image_type : sequence of str, optional
    units : str
        Of the values; empty where unknown.
    assigned : pydicom.Dataset
        Elements set by the user, which win over the image's own header.
    edits : frozenset of str
        Keywords of all elements that the user set or removed; those of single images are among the labels.
    keep_private : bool
        Keep the private elements of the image's own header.
    character_set : str
        Of all texts.
    """

    place: Place
    labels: Labels
    identity: Identity
    now: datetime
    number: int | None
    description: str | None
    image_type: Sequence[str] | None
    units: str
    assigned: pydicom.Dataset
    edits: frozenset[str]
    keep_private: bool = False
    character_set: str = UTF8

    @cached_property
    def uid(self) -> str:
        """Series Instance UID, a new one."""
        return new_uid("series")

    @cached_property
    def frame_of_reference(self) -> str:
        """Frame of Reference UID; a new one where none is known."""
        return self.place.frame_of_reference or new_uid("frame of reference")

    def header(
        self, base: pydicom.Dataset, own: bool, v: int, k: int, sop_class: str
    ) -> tuple[pydicom.Dataset, list[str]]:
        """Header of a derived image without its pixels, and what was filled in with neutral values.

        Parameters
        ----------
        base : pydicom.Dataset
            The image's own header, as a classic single-frame one, or elements of the attrs.
        own : bool
            Which of these it is.
        v, k : int
            Number of the volume and the slice.
        sop_class : str
        """
        ds = cleaned(base, own, self.keep_private)
        if own:
            drop(ds, self.edits)
        for element in self.assigned:
            ds[element.tag] = copy.deepcopy(element)
        self.identity.apply(ds, base if own else None)
        self.place.put(ds, k, self.frame_of_reference)
        self.labels.put(ds, v, k)
        if "TriggerTime" in ds and "TriggerTime" not in base:
            _put_trigger(ds, sop_class)
        self._name(ds, base, sop_class)
        if own and self.identity.holds(base):
            put(ds, "SourceImageSequence", [_reference(base)])
        volumes, slices = self.labels.shape
        if sop_class == PET:
            put(ds, "ImageIndex", v * slices + k + 1)
            if ds.get("FrameReferenceTime") in (None, "") and (t := self._seconds(v, k)) is not None:
                put(ds, "FrameReferenceTime", 1e3 * t)
        neutral = complete(ds, sop_class, slices, volumes, self.place.positions is not None)
        times = self.labels.numbers.get("InversionTime")
        if times is not None and times.max() > times.min():  # of a series of them 0 is one
            put(ds, "InversionTime", times[v, k])
        set_charset(ds, self.character_set)
        return ds, neutral

    def _seconds(self, v: int, k: int) -> float | None:
        moments = self.labels.moments
        if moments is None or np.isnat(moments[v, k]):
            return None
        return float((moments[v, k] - np.nanmin(moments)) / np.timedelta64(1, "s"))

    def _name(self, ds: pydicom.Dataset, base: pydicom.Dataset, sop_class: str) -> None:
        """Series, instance, image type, description and dates of creation."""
        put(ds, "SOPInstanceUID", new_uid())
        put(ds, "SeriesInstanceUID", self.uid)
        number = self.number
        if number is None:
            number = _whole(base.get("SeriesNumber")) + 1000
        put(ds, "SeriesNumber", number)
        if self.description is not None:
            put(ds, "SeriesDescription", self.description)
        if self.image_type or not self._edited(ds, "ImageType"):
            put(ds, "ImageType", list(self.image_type) if self.image_type else image_type(base, sop_class))
        if not self._edited(ds, "DerivationDescription"):
            put(ds, "DerivationDescription", "Computed with imagedata_xr.")
        if not self._edited(ds, "DerivationCodeSequence"):
            drop(ds, ["DerivationCodeSequence"])
        self.put_dates(ds, series=sop_class != PET or not ds.get("SeriesDate"))  # of PET decay is corrected to it

    def _edited(self, ds: pydicom.Dataset, *keywords: str) -> bool:
        """Whether a header has one of these elements from the user."""
        return any(k in self.edits and ds.get(k) not in (None, "") for k in keywords)

    def sop_class(self, base: pydicom.Dataset, colour: bool, asked: str) -> str:
        """Classic SOP class of an image; a modality that was assigned to it is that of its class."""
        modality = str(self.assigned.get("Modality") or "")
        if asked or not modality or modality == str(base.get("Modality") or ""):
            return class_for(base, colour, asked)
        return class_for(self.assigned, colour)

    def put_dates(self, ds: pydicom.Dataset, series: bool = True) -> None:
        """Set when an instance, its content and its series were made."""
        put_moment(ds, self.now, "InstanceCreationDate", "InstanceCreationTime")
        if not self._edited(ds, "ContentDate", "ContentTime"):
            put_moment(ds, self.now, "ContentDate", "ContentTime")
        if series and not self._edited(ds, "SeriesDate", "SeriesTime"):
            put_moment(ds, self.now, "SeriesDate", "SeriesTime")

    def put_pixels(self, ds: pydicom.Dataset, coded: Coded, sop_class: str, colour: bool) -> None:
        """Set the pixels of a derived image and what describes them (PS3.3 C.7.6.3, C.11.1)."""
        coding = coded.coding
        ds.SamplesPerPixel = 3 if colour else 1
        photometric = str(ds.get("PhotometricInterpretation") or "")
        if colour:
            ds.PhotometricInterpretation, ds.PlanarConfiguration = "RGB", 0
        elif photometric not in ("MONOCHROME1", "MONOCHROME2"):
            ds.PhotometricInterpretation = "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = coding.bits_allocated, coding.bits_stored, coding.bits_stored - 1
        ds.PixelRepresentation = int(coding.signed)
        if coding.padding is not None:
            put(ds, "PixelPaddingValue", coding.padding, "SS" if coding.signed else "US")
            put(ds, "DerivationDescription", f"{ds.DerivationDescription} {NAN_MARK}")
        if not colour:
            self._put_rescale(ds, coded, sop_class)
        data = np.ascontiguousarray(coded.stored).tobytes()
        ds.add_new("PixelData", "OW" if coding.bits_allocated > 8 else "OB", data + b"\0" * (len(data) % 2))

    def _put_rescale(self, ds: pydicom.Dataset, coded: Coded, sop_class: str) -> None:
        coding = coded.coding
        if sop_class == PET:
            put(ds, "Units", _UNITS_OF_PET.get(self.units, self.units) or "NONE")
        if not may_rescale(sop_class):
            if not coding.identity:
                raise FormatError("images of this SOP class can't be rescaled: sop_class='SC' in format_options")
            if is_projection(sop_class):
                _put_grey_scale(ds, coded)
            return
        if coding.identity and sop_class not in _ALWAYS_RESCALED:
            return
        put(ds, "RescaleSlope", coding.slope)
        put(ds, "RescaleIntercept", coding.intercept)
        if sop_class != PET:
            put(ds, "RescaleType", (self.units or "US")[:16])
        if sop_class == MR:
            put(ds, "RealWorldValueMappingSequence", [_real_world(coded, self.units)])


_ALWAYS_RESCALED = ("1.2.840.10008.5.1.4.1.1.2", PET)


def _put_trigger(ds: pydicom.Dataset, sop_class: str) -> None:
    """Say a time since a trigger that labels tell as its class does, which the source did not say."""
    if sop_class == MR:
        put_gating(ds)
    elif sop_class == PET:  # of which gated series alone have it (PS3.3 C.8.9.4)
        if ds.get("FrameReferenceTime") in (None, ""):
            put(ds, "FrameReferenceTime", ds.TriggerTime)
        drop(ds, ["TriggerTime"])


def _put_grey_scale(ds: pydicom.Dataset, coded: Coded) -> None:
    """Say that stored values are the values, and how to show all of them, as projections have to (PS3.3 C.8.11.3)."""
    put(ds, "RescaleSlope", "1")
    put(ds, "RescaleIntercept", "0")
    put(ds, "RescaleType", "US")
    if "WindowCenter" in ds and "WindowWidth" in ds:  # from the user: those of the source are stale
        return
    low, high = (int(coded.stored.min()), int(coded.stored.max())) if coded.stored.size else (0, 0)
    put(ds, "WindowCenter", (low + high + 1) / 2)
    put(ds, "WindowWidth", high - low + 1)


def _whole(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0


def cleaned(base: pydicom.Dataset, encoded: bool, keep_private: bool = False) -> pydicom.Dataset:
    """Copy of a header without what is stale in a derived image: text in UTF-8, no private elements, no overlays.

    Parameters
    ----------
    base : pydicom.Dataset
    encoded : bool
        Whether its text is bytes in the character set that it names (of a file), not yet text.
    keep_private : bool
        Keep private elements of groups that have a creator.
    """
    ds = pydicom.Dataset()
    for tag in base.keys():  # noqa: SIM118 - iterating decodes
        keep = (keep_private or not tag.is_private) and 0x0008 <= tag.group < 0x7FE0 and tag.element != 0
        if keep and tag not in _STALE_TAGS and tag.group >> 8 not in (0x50, 0x60):
            ds[tag] = copy.copy(base.get_item(tag))
    if (charset := base.get("SpecificCharacterSet")) is not None:
        ds.SpecificCharacterSet = charset
    sequences = [element for element in ds if element.VR == "SQ"]
    for element in sequences:  # whose items are those of the base; other values are never changed in place
        ds[element.tag] = copy.deepcopy(element)
    if encoded:
        ds.decode()
    if not keep_private:
        for element in sequences:
            for item in ds[element.tag].value or []:
                item.remove_private_tags()
    _forget_charsets(ds)
    ds.SpecificCharacterSet = "ISO_IR 192"
    drop_groups(ds, 0x0004, 0x0004)
    return ds


def _forget_charsets(ds: pydicom.Dataset) -> None:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value or []:
                drop(item, ["SpecificCharacterSet"])
                _forget_charsets(item)


def image_type(base: pydicom.Dataset, sop_class: str) -> list[str]:
    """Image Type of a derived image: that of its source with the first two values changed (PS3.3 C.7.6.1.1.2)."""
    own = base.get("ImageType")
    values = [str(v) for v in own] if own is not None and not isinstance(own, str) else [str(own)] if own else []
    rest = [v for v in values[2:] if v != "MOSAIC"]
    if not rest or not rest[0]:
        rest[:1] = {MR: ["OTHER"], "1.2.840.10008.5.1.4.1.1.2": ["AXIAL"]}.get(sop_class, [])
    return ["DERIVED", "PRIMARY" if sop_class == PET else "SECONDARY", *rest]


def _reference(base: pydicom.Dataset) -> pydicom.Dataset:
    item = pydicom.Dataset()
    put(item, "ReferencedSOPClassUID", base.get("SOPClassUID"))
    put(item, "ReferencedSOPInstanceUID", base.get("SOPInstanceUID"))
    if (frame := base.get("ReferencedFrameNumber")) is not None:
        put(item, "ReferencedFrameNumber", frame)
    item.PurposeOfReferenceCodeSequence = [code_item(*_PURPOSE)]
    return item


def _real_world(coded: Coded, units: str) -> pydicom.Dataset:
    """Item that says the rescale once more, since the MR class has no modality rescale (PS3.3 C.7.6.16.2.11)."""
    item = pydicom.Dataset()
    coding = coded.coding
    vr = "SS" if coding.signed else "US"
    low, high = coding.limits
    put(item, "RealWorldValueFirstValueMapped", low, vr)
    put(item, "RealWorldValueLastValueMapped", high, vr)
    put(item, "RealWorldValueSlope", float(coding.slope))
    put(item, "RealWorldValueIntercept", float(coding.intercept))
    put(item, "LUTExplanation", "values of the image")
    put(item, "LUTLabel", "RESCALE")
    item.MeasurementUnitsCodeSequence = [code_item("1", "UCUM", "no units")]
    return item


def rgb(values: NDArray[np.generic]) -> Coded:
    """Colour values as they are stored.

    Raises
    ------
    FormatError
        Where they are not uint8.
    """
    from .pixels_out import Coding

    if values.dtype != np.uint8:
        raise FormatError(f"colours are written with 8 bits each: convert these {values.dtype} values to uint8 first")
    return Coded(values, Coding(bits_allocated=8, bits_stored=8), True)

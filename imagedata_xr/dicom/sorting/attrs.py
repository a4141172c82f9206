"""Attrs of an image: the elements that all its instances share, by DICOM keyword."""

from __future__ import annotations

import json
import warnings
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.multival import MultiValue

from ...model.identity import PATIENT_KEYS, clean
from ...model.orders import label_for
from ..framing.frames import FRAME_TIME, NOWHERE, Frames, is_element
from ..headers.whole_file import trouble
from ..scanning.elements import CHARACTER_SET, to_dataset
from ..scanning.scan import Scan
from ..scanning.vr import Raw

NUMERIC = {"DS", "IS", "FD", "FL", "US", "SS", "UL", "SL", "UV", "SV"}
_SKIPPED_VR = {"OB", "OW", "OF", "OD", "OL", "OV", "UN", "OB or OW", "US or OW", "AT"}

OF_PLACE = frozenset(
    [
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceLocation",
        "SpacingBetweenSlices",
        "FrameOfReferenceUID",
    ]
)
"""Elements that the geometry says. Without a place in the patient nothing else does: they are like others then."""

SAID_ELSEWHERE = OF_PLACE | frozenset(
    [
        "FileMetaInformationGroupLength",
        "LengthToEnd",
        "SOPInstanceUID",
        "InstanceNumber",
        "SpecificCharacterSet",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "SamplesPerPixel",
        "PlanarConfiguration",
        "NumberOfFrames",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
        "DoseGridScaling",
        "WindowCenter",
        "WindowWidth",
        "WindowCenterWidthExplanation",
        "VOILUTFunction",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "SmallestPixelValueInSeries",
        "LargestPixelValueInSeries",
        "AcquisitionDate",
        "AcquisitionTime",
        "AcquisitionDateTime",
        "ContentDate",
        "ContentTime",
        "DiffusionBValue",
        "DiffusionGradientOrientation",
        "DiffusionDirectionality",
        "PixelData",
        "FloatPixelData",
        "DoubleFloatPixelData",
        "DataSetTrailingPadding",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "DimensionOrganizationSequence",
        "DimensionIndexSequence",
        "DimensionIndexValues",
        "StackID",
        "InStackPositionNumber",
    ]
)
"""Elements that a label, the geometry or the pixel format says, and those of one image only: never attrs."""

_POSITION = frozenset(("ImagePositionPatient", "ImageOrientationPatient", "SliceLocation"))
_OF_CINE = frozenset(("FrameTime", "FrameTimeVector"))


def said_elsewhere(frames: Frames, place: bool) -> frozenset[str]:
    """Keywords that are neither attrs nor labels by their own name."""
    timed = _OF_CINE if FRAME_TIME in frames.own.numbers else frozenset()
    if place:
        return SAID_ELSEWHERE | timed
    # the position of an instance is none of frames that lie nowhere
    lost = _POSITION if NOWHERE in frames.own.numbers else frozenset()
    return (SAID_ELSEWHERE - OF_PLACE) | lost | timed


def attrs_of(frames: Frames, labelled: set[str], place: bool) -> dict[str, Any]:
    """Elements that all instances share, by keyword; text decoded, sequences as DICOM JSON.

    Parameters
    ----------
    frames : Frames
    labelled : set of str
        Names of the coords: their elements are no attrs.
    place : bool
        Whether the images have a place in the patient.
    """
    scan = frames.scan
    elsewhere = said_elsewhere(frames, place)
    out: dict[str, Any] = {}
    constants = _own_constants(frames, elsewhere)
    charset = scan.column(CHARACTER_SET)[0]
    implicit = bool(scan.implicit[0])
    whole: pydicom.Dataset | None = None
    for tag in sorted(k for k in scan.columns if isinstance(k, int)):
        keyword = _keyword(tag)
        if not keyword or tag < 0x00080000 or keyword in elsewhere or label_for(keyword).coord in labelled:
            continue
        cell = scan.column(tag)[0]
        if tag & 0xFFFF == 0 or not isinstance(cell, tuple) or keyword in constants or _varies(scan, tag, keyword):
            continue
        if cell[0] in _ALONE:
            decode = _remembered if len(cell[1]) <= _SHORT else _alone
            value = decode(tag, cell, charset if isinstance(charset, tuple) else None, implicit)
        else:
            whole = whole or scan.dataset(0)
            value = _value_of(whole, tag)
        if value is not None:
            out[keyword] = list(value) if isinstance(value, list) else value
    return out | {k: v for k, v in constants.items() if v is not None and label_for(k).coord not in labelled}


def _varies(scan: Scan, tag: int, keyword: str) -> bool:
    """Whether instances differ in an element; in those that identify, by more than how it is written."""
    if keyword not in _IDENTIFY or not scan.varies(tag):
        return scan.varies(tag)
    return len(set(scan.words(tag).map(lambda words: clean("\\".join(words or ()))).values)) > 1


_IDENTIFY = frozenset((*PATIENT_KEYS, "StudyInstanceUID", "SeriesInstanceUID"))
_ALONE = NUMERIC | {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "SQ", "ST", "TM", "UC", "UI", "UR", "UT"}
_SHORT = 256  # bytes; longer values are seldom met again


@cache
def _keyword(tag: int) -> str:
    return keyword_for_tag(tag)


def _alone(tag: int, raw: Raw, charset: Raw | None, implicit: bool) -> Any:
    """Value of an element that no other but the character set bears upon."""
    return _value_of(to_dataset({CHARACTER_SET: charset, tag: raw}, "", implicit), tag)


_remembered = lru_cache(4096)(_alone)  # the series of a cohort share most values


def _own_constants(frames: Frames, elsewhere: frozenset[str]) -> dict[str, Any]:
    """Elements that stand with every plane of a multi-frame instance, and are equal in all."""
    out: dict[str, Any] = {}
    for keyword in (*frames.own.numbers, *frames.own.texts):
        if not isinstance(keyword, str) or not is_element(keyword) or keyword in elsewhere:
            continue
        if frames.varies(keyword):
            out[keyword] = None
        elif keyword in frames.own.texts:
            words = frames.strings(keyword)[0] or ()
            out[keyword] = words[0] if len(words) == 1 else list(words)
        else:
            values = frames.own.numbers[keyword][0]
            said = np.atleast_1d(frames.numbers(keyword, np.size(values))[0])
            plain = None if np.isnan(said).any() else [_plain(v, dictionary_VR(keyword)) for v in said.tolist()]
            out[keyword] = plain[0] if plain is not None and len(plain) == 1 else plain
    return out


def _value_of(ds: pydicom.Dataset, tag: int) -> Any:
    """Value of an element for attrs; its bytes as text where they are none that its VR allows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom finds fault with the form of values that are kept as they are
            return attr_value(ds[tag])
    except trouble():
        value = getattr(ds.get_item(tag), "value", None)
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        return text.rstrip("\0 ") if isinstance(text, str) else None


def attr_value(element: pydicom.DataElement) -> Any:
    """Return an element as str, number or flat list; None for binary ones."""
    if element.VR in _SKIPPED_VR:
        return None
    if element.VR == "SQ":
        return json.dumps([item.to_json_dict() for item in element.value])
    value: Any = element.value
    if value is None:
        return ""
    if isinstance(value, (MultiValue, list, tuple)):
        return [_plain(v, element.VR) for v in value]
    return _plain(value, element.VR)


_WHOLE = frozenset(("IS", "US", "SS", "UL", "SL", "UV", "SV"))


def _plain(value: Any, vr: str) -> Any:
    if value is None or value == "":
        return ""
    if vr in _WHOLE and value == int(value):
        return int(value)
    return float(value) if vr in NUMERIC else str(value)


_PET_UNITS = {
    "BQML": "Bq/ml",
    "GML": "g/ml",
    "CM2ML": "cm2/ml",
    "CNTS": "counts",
    "CPS": "counts/s",
    "PROPCNTS": "proportional to counts",
    "PROPCPS": "proportional to counts/s",
    "NONE": "",
    "PCNT": "%",
}


def units_of(frames: Frames) -> str:
    """Units of the values after the modality rescale, where the elements say them (PS3.3 C.11.1.1.2, C.8.9.1)."""
    rescale, modality = set(frames.text("RescaleType")), set(frames.text("Modality"))
    if modality == {"PT"}:
        units = set(frames.text("Units"))
        return _PET_UNITS.get(next(iter(units)), next(iter(units))) if len(units) == 1 else ""
    if modality == {"RTDOSE"}:
        return "Gy" if set(frames.text("DoseUnits")) == {"GY"} else ""
    if modality == {"CT"} and rescale <= {"", "HU"}:
        localizer = any("LOCALIZER" in (t or ()) for t in frames.strings("ImageType"))
        unscaled = bool(np.isnan(frames.numbers("RescaleIntercept")).any()) or set(frames.text("SamplesPerPixel")) == {
            "3"
        }
        return "" if rescale == {""} and (localizer or unscaled) else "HU"
    if len(rescale) == 1 and not rescale & {"", "US", "NORMALIZED", "normalized"}:
        return next(iter(rescale))
    return ""

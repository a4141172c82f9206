"""Elements of a Dataset from plain values: attrs of an image, and numbers with the precision that DICOM has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import pydicom
from pydicom import config
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword  # type: ignore[attr-defined]
from pydicom.dataelem import DataElement
from pydicom.valuerep import format_number_as_ds

from ...errors import FormatError
from ...model.orders import LABELS, snake

_FLOATS = ("FD", "FL")
_WHOLE = ("US", "SS", "UL", "SL", "UV", "SV")
_NOT_LABELS = (0x0002, 0x0010, 0x0012, 0x0028, 0x0040, 0x5200, 0x7FE0)  # groups that no coord speaks for
_NOT_LABEL_KEYWORDS = frozenset(
    """
    InstanceNumber SeriesNumber ImagePositionPatient ImageOrientationPatient SliceLocation
    SpacingBetweenSlices TemporalPositionIdentifier TemporalPositionIndex NumberOfTemporalPositions ImageIndex
    NumberOfSlices NumberOfTimeSlices ImagesInAcquisition InStackPositionNumber StackID
    """.split()  # noqa: SIM905
)


def decimal(value: float) -> str:
    """Return a number as Decimal String: at most 16 characters, as exact as they allow (PS3.5 6.2).

    Raises
    ------
    FormatError
        If it is not finite.
    """
    number = float(value)
    if not np.isfinite(number):
        raise FormatError(f"{number} can't be written as a decimal string: DICOM has none that is not finite")
    whole = str(int(number)) if number == int(number) and abs(number) < 1e15 else ""
    text = whole or format_number_as_ds(number)
    digits = 16
    while len(text) > 16:  # of numbers just below a power of ten: 9.999999999999996 is rounded to one digit more
        digits -= 1
        text = f"{number:.{digits}G}"
    return text


def put(ds: pydicom.Dataset, keyword: str, value: Any, vr: str | None = None) -> None:
    """Set an element by keyword, its numbers formatted as its value representation demands.

    Parameters
    ----------
    ds : pydicom.Dataset
    keyword : str
    value : str, number or sequence of these
    vr : str, optional
        For elements that may have several.
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise FormatError(f"{keyword!r} is no DICOM keyword")
    vr = vr or dictionary_VR(tag)
    # values of a source that break a rule of DICOM are handed on, not refused: they came so
    ds[tag] = DataElement(tag, vr, _formatted(value, vr), validation_mode=config.IGNORE)


def _formatted(value: Any, vr: str) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and vr != "SQ":
        return [_formatted(v, vr) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bytes)):
        return value
    if vr == "DS":
        return decimal(value)
    if vr == "IS":
        return str(round(float(value)))
    if vr in _FLOATS:
        return float(value)
    if vr in _WHOLE:
        return round(float(value))
    return value if vr in ("SQ", "AT") else str(value)


def from_attrs(attrs: Mapping[str, Any]) -> pydicom.Dataset:
    """Dataset of the attrs that are DICOM keywords; sequences are DICOM JSON (PS3.18 F).

    Raises
    ------
    FormatError
        Where a sequence's text is no DICOM JSON, or a value does not suit its element.
    """
    ds = pydicom.Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    for name, value in attrs.items():
        tag = tag_for_keyword(str(name))
        if tag is None or tag <= 0x00080005:  # the text of attrs is decoded
            continue
        vr = dictionary_VR(tag)
        if " or " in vr:
            vr = "SS" if np.min(np.asarray(value, dtype=np.float64), initial=0) < 0 else "US"
        try:
            put(ds, str(name), _items(value) if vr == "SQ" else value, vr)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise FormatError(
                f"the attribute {name!r} can't be written as DICOM ({vr}): {type(error).__name__}. Correct or drop it"
            ) from error
    return ds


def _items(value: Any) -> list[pydicom.Dataset]:
    items = json.loads(value) if isinstance(value, str) and value else (value or [])
    if isinstance(items, dict):
        items = items.get("Value", [])
    return [pydicom.Dataset.from_json(item) for item in items]


def drop(ds: pydicom.Dataset, keywords: Iterable[str]) -> None:
    """Remove elements, where they are there."""
    for keyword in keywords:
        if keyword in ds:
            del ds[keyword]


def drop_groups(ds: pydicom.Dataset, first: int, last: int) -> bool:
    """Remove the elements of a range of groups; return whether there were some."""
    found = [tag for tag in ds.keys() if first <= tag.group <= last]  # noqa: SIM118 - iterating decodes
    for tag in found:
        del ds[tag]
    return bool(found)


@cache
def _by_snake_name() -> dict[str, str]:
    keywords = (entry[4] for entry in DicomDictionary.values() if entry[4])
    return {snake(k): k for k in keywords}


@cache
def element_of(coord: str) -> tuple[str, float] | None:
    """Keyword of a per-volume coord, and the factor by which the coord is the element; None if it has no element."""
    label = LABELS.get(coord)
    if label is not None and not label.keyword:
        return None
    keyword = label.keyword if label is not None else _by_snake_name().get(coord)
    if keyword is None or keyword in _NOT_LABEL_KEYWORDS:
        return None
    tag = tag_for_keyword(keyword)
    if tag is None or tag >> 16 in _NOT_LABELS or dictionary_VR(tag) not in ("DS", "IS", *_FLOATS, *_WHOLE):
        return None
    return keyword, 1.0 if label is None else label.factor


def moment(ds: pydicom.Dataset, date: str, time: str) -> datetime | None:
    """Date and time of two elements; None where one is missing or malformed."""
    day, clock = str(ds.get(date, "") or "").strip(), str(ds.get(time, "") or "").strip().replace(":", "")
    whole, _, fraction = clock.partition(".")
    try:
        return datetime.strptime(f"{day} {whole:0<6.6} {fraction:0<6.6}", "%Y%m%d %H%M%S %f")
    except ValueError:
        return None


def put_moment(ds: pydicom.Dataset, when: datetime, date: str, time: str) -> None:
    """Set a date and a time element, to the microsecond."""
    put(ds, date, when.strftime("%Y%m%d"))
    put(ds, time, when.strftime("%H%M%S.%f"))


def numbers(ds: pydicom.Dataset, keyword: str, count: int) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return an element as `count` floats, None where it is missing or malformed."""
    value = ds.get(keyword)
    if value is None or value == "":
        return None
    try:
        out = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (ValueError, TypeError):
        return None
    return out if out.shape == (count,) and np.isfinite(out).all() else None


def code_item(value: str, scheme: str, meaning: str) -> pydicom.Dataset:
    """Item of a code sequence (PS3.3 8.8)."""
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code

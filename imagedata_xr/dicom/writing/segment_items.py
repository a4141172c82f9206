"""Descriptions of the segments that are written: given, from the source, from coords, or neutral (PS3.3 C.8.20.4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from pydicom.sr.coding import Code

from ...errors import FormatError
from ..headers.whole_file import trouble
from .fields import code_item
from .uids import new_uid

KEYS = (
    "number", "label", "description", "category", "type", "modifier", "region", "algorithm_type", "algorithm_name",
    "tracking_id", "tracking_uid", "color",
)  # fmt: skip
ALGORITHMS = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")
_NEUTRAL = {
    "SegmentedPropertyCategoryCodeSequence": ("309825002", "SCT", "Spatial and Relational Concept"),  # PS3.16 CID 7150
    "SegmentedPropertyTypeCodeSequence": ("261665006", "SCT", "Unknown"),
}
"""A place in space of which nobody said what it is."""
_FROM_COORDS = ("label", "category", "type", "color", "colour")


def segment_items(image: xr.DataArray, numbers: Sequence[int], given: Any) -> list[pydicom.Dataset]:
    """Items of the Segment Sequence, one for each number.

    Parameters
    ----------
    image : xarray.DataArray
        Its attr SegmentSequence and its coords along ``segment`` describe segments too.
    numbers : sequence of int
        Of the segments as the image knows them.
    given : sequence of mapping, or mapping
        What the user says: in the order of the numbers, or each with its ``number``; or by number.

    Raises
    ------
    FormatError
        A description has a key or value that there is not, or speaks of a segment that the image does not have.
    """
    said, known = _by_number(given, numbers), _of_source(image)
    items = []
    for number in numbers:
        item = known.get(number, pydicom.Dataset())
        for name, value in {**_of_coords(image, number), **said.get(number, {})}.items():
            if value is not None:
                _set(item, name, value, number)
        _complete(item, number)
        item.SegmentNumber = number
        items.append(item)
    return items


def _by_number(given: Any, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    if given is None:
        return {}
    if isinstance(given, Mapping):
        given = [{"number": n, **(one if isinstance(one, Mapping) else {"label": one})} for n, one in given.items()]
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise FormatError(f"format_options segments={given!r}: a list of mappings with the keys {', '.join(KEYS)}")
    listed = [dict(one) if isinstance(one, Mapping) else {"label": one} for one in given]
    if any("number" not in one for one in listed):
        if len(listed) != len(numbers) or any("number" in one for one in listed):
            raise FormatError(
                f"format_options segments describe {len(listed)} segments, and the image has {len(numbers)}, of the "
                f"numbers {_some(numbers)}: describe each in this order, or say the number of each"
            )
        listed = [{"number": n, **one} for n, one in zip(numbers, listed, strict=True)]
    out: dict[int, dict[str, Any]] = {}
    for one in listed:
        if strange := sorted(set(one) - set(KEYS)):
            raise FormatError(f"format_options segments: {', '.join(strange)} are none of the keys {', '.join(KEYS)}")
        number = one.pop("number")
        if number not in numbers:
            raise FormatError(
                f"format_options segments describe the segment {number!r}, and the image has {_some(numbers)}"
            )
        if int(number) in out:
            raise FormatError(f"format_options segments describe the segment {number} twice")
        out[int(number)] = one
    return out


def _some(numbers: Sequence[int]) -> str:
    text = ", ".join(str(n) for n in numbers[:8])
    return text if len(numbers) <= 8 else f"{text}, ... {numbers[-1]}"


def _of_source(image: xr.DataArray) -> dict[int, pydicom.Dataset]:
    text = image.attrs.get("SegmentSequence")
    if not isinstance(text, str):
        return {}
    try:
        items = [pydicom.Dataset.from_json(item) for item in json.loads(text)]
    except trouble() as error:
        raise FormatError(f"the attr SegmentSequence is no DICOM JSON: {error}. Correct or drop it") from error
    return {int(i.SegmentNumber): i for i in items if "SegmentNumber" in i}


def _of_coords(image: xr.DataArray, number: int) -> dict[str, Any]:
    if "segment" not in image.coords:
        return {}
    numbers = np.atleast_1d(image.coords["segment"].values).astype(np.int64).tolist()
    if number not in numbers:
        return {}
    found: dict[str, Any] = {}
    for name in _FROM_COORDS:
        coord = image.coords.get(name)
        if coord is None or not coord.dims or coord.dims[0] != "segment":
            if coord is None or coord.dims or len(numbers) > 1:
                continue
            value = coord.values
        else:
            value = coord.values[numbers.index(number)]
        plain = value.tolist() if hasattr(value, "tolist") else value
        if plain not in ("", None):
            found["color" if name == "colour" else name] = plain
    return found


# --- one value --------------------------------------------------------------------------------------------------------


def _set(item: pydicom.Dataset, name: str, value: Any, number: int) -> None:
    _SETTERS[name](item, value, f"segment {number}: {name}={value!r}")


def _text(keyword: str, most: int) -> Callable[[pydicom.Dataset, Any, str], None]:
    def put(item: pydicom.Dataset, value: Any, what: str) -> None:
        text = str(value).strip()
        if not text or len(text) > most or "\\" in text:
            raise FormatError(f"{what}: a text of 1 to {most} characters without backslash")
        setattr(item, keyword, text)

    return put


def _coded(keyword: str) -> Callable[[pydicom.Dataset, Any, str], None]:
    def put(item: pydicom.Dataset, value: Any, what: str) -> None:
        before = item.get(keyword)
        code = code_of(value, what)
        if before and (before[0].get("CodeValue"), before[0].get("CodingSchemeDesignator")) == code[:2]:
            return  # the same, which may have modifiers
        setattr(item, keyword, [code_item(*code)])

    return put


def _modifier(item: pydicom.Dataset, value: Any, what: str) -> None:
    kinds = item.get("SegmentedPropertyTypeCodeSequence")
    if not kinds:
        raise FormatError(f"{what}: give the type that it modifies")
    kinds[0].SegmentedPropertyTypeModifierCodeSequence = [code_item(*code_of(value, what))]


def _algorithm(item: pydicom.Dataset, value: Any, what: str) -> None:
    if str(value).upper() not in ALGORITHMS:
        raise FormatError(f"{what}: one of {', '.join(ALGORITHMS)}")
    item.SegmentAlgorithmType = str(value).upper()


def _uid(item: pydicom.Dataset, value: Any, what: str) -> None:
    if not pydicom.uid.UID(str(value)).is_valid:
        raise FormatError(f"{what}: no UID")
    item.TrackingUID = str(value)


def _color(item: pydicom.Dataset, value: Any, what: str) -> None:
    rgb = np.asarray(value)
    if rgb.shape != (3,) or rgb.dtype.kind not in "iu" or rgb.min() < 0 or rgb.max() > 255:
        raise FormatError(f"{what}: red, green and blue, whole numbers from 0 to 255")
    item.RecommendedDisplayCIELabValue = cielab(rgb)


_SETTERS: dict[str, Callable[[pydicom.Dataset, Any, str], None]] = {
    "label": _text("SegmentLabel", 64),
    "description": _text("SegmentDescription", 1024),
    "category": _coded("SegmentedPropertyCategoryCodeSequence"),
    "type": _coded("SegmentedPropertyTypeCodeSequence"),
    "modifier": _modifier,
    "region": _coded("AnatomicRegionSequence"),
    "algorithm_type": _algorithm,
    "algorithm_name": _text("SegmentAlgorithmName", 64),
    "tracking_id": _text("TrackingID", 1024),
    "tracking_uid": _uid,
    "color": _color,
}


def code_of(value: Any, what: str) -> tuple[str, str, str]:
    """Code value, scheme and meaning of a code as users write it.

    Parameters
    ----------
    value : str, tuple, pydicom Code, or an item of a code sequence
        ``("10200004", "SCT", "Liver")``; ``"SCT:10200004"`` or ``"Liver"``, where pydicom knows the code.
    what : str
        Begins the error.

    Raises
    ------
    FormatError
        It is no code, or pydicom does not know it.
    """
    if isinstance(value, Code):
        return str(value.value), str(value.scheme_designator), str(value.meaning)
    if isinstance(value, pydicom.Dataset):
        return str(value.CodeValue), str(value.CodingSchemeDesignator), str(value.CodeMeaning)
    if not isinstance(value, str):
        parts = [str(part) for part in value] if isinstance(value, Sequence) else []
        if len(parts) != 3 or not all(parts) or len(parts[0]) > 16 or len(parts[1]) > 16 or len(parts[2]) > 64:
            raise FormatError(f"{what}: a code is (value, scheme, meaning), such as ('10200004', 'SCT', 'Liver')")
        return parts[0], parts[1], parts[2]
    found = _known(value)
    if found is None:
        raise FormatError(
            f"{what}: pydicom knows no such code, neither as 'scheme:value' nor as a word; (value, scheme, meaning) "
            "says any, such as ('10200004', 'SCT', 'Liver')"
        )
    return found


def _known(text: str) -> tuple[str, str, str] | None:
    from pydicom.sr._concepts_dict import concepts

    scheme, colon, value = text.partition(":")
    words: Mapping[str, Any] = concepts.get(scheme, {}) if colon else concepts["SCT"]
    plain = text.replace(" ", "").casefold()
    for word, codes in words.items():
        for code, (meaning, _) in codes.items():
            if (colon and code == value) or (
                not colon and plain in (word.casefold(), meaning.replace(" ", "").casefold())
            ):
                return str(code), scheme if colon else "SCT", str(meaning)[:64]
    return None


def _complete(item: pydicom.Dataset, number: int) -> None:
    """Fill in what is demanded and was not said: a label, neutral codes, and how the segment was made.

    Segment Algorithm Type has no value for what is not known: semi-automatic, by an algorithm that is not stated,
    claims least.
    """
    if not str(item.get("SegmentLabel") or "").strip():
        item.SegmentLabel = f"segment {number}"
    for keyword, neutral in _NEUTRAL.items():
        if not item.get(keyword):
            setattr(item, keyword, [code_item(*neutral)])
    if not item.get("SegmentAlgorithmType"):
        item.SegmentAlgorithmType = "SEMIAUTOMATIC"
    if item.SegmentAlgorithmType != "MANUAL" and not item.get("SegmentAlgorithmName"):
        item.SegmentAlgorithmName = "not stated"
    if item.get("TrackingID") and not item.get("TrackingUID"):
        item.TrackingUID = new_uid()
    if item.get("TrackingUID") and not item.get("TrackingID"):
        item.TrackingID = str(item.SegmentLabel)


def cielab(rgb: Any) -> list[int]:
    """Recommended Display CIELab Value of an sRGB colour: 16 bits each, white of D50 (PS3.3 C.10.7.1.1, IEC 61966-2-1).

    Parameters
    ----------
    rgb : array_like of int, shape (3,)
        0 to 255.
    """
    share = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    # sRGB to XYZ, adapted to D50 by the method of Bradford
    xyz = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
                    [0.0139322, 0.0971045, 0.7141733]]) @ linear  # fmt: skip
    t = xyz / np.array([0.9642, 1.0, 0.8251])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    stored = np.array([lab[0] / 100, (lab[1] + 128) / 255, (lab[2] + 128) / 255]) * 65535
    return [int(v) for v in np.clip(np.rint(stored), 0, 65535)]

"""Whole headers as DICOM JSON (PS3.18 F.2) and back, without loss.

Values are taken from their bytes, not from what pydicom makes of them, and come back as undecoded elements, as pydicom
has them after reading a file. What distinguishes our JSON from that of others:

- decimal and integer strings are JSON strings, which the standard allows, so that "1.50" does not become 1.5;
- text is decoded; Specific Character Set stays, and the text is encoded with it again when a header is made;
- a value that its VR does not allow (not finite, of a wrong length, text that can't be decoded) is kept as
  ``InlineBinary`` under its own VR;
- the file meta information is a JSON object of its own;
- group lengths (gggg,0000) and pixel data are left out.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..scanning.vr import PIXEL_TAGS
from .json_text import DEFAULT_ENCODINGS, TEXT, Encodings, bytes_of, encodings_of, texts_of

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

Items = list[dict[str, Any]]

_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

_DAMAGED = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
"""What pydicom raises where the bytes of a sequence can't be parsed."""


# --- to JSON ----------------------------------------------------------------------------------------------------------


class HeaderEncoder:
    """Turns headers into JSON; equal elements of several headers are encoded once and share memory."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], str] = {}

    def elements(self, ds: Dataset) -> dict[str, str]:
        """Encode the elements of a header.

        Parameters
        ----------
        ds : pydicom.Dataset
            May be changed: sequences are decoded.

        Returns
        -------
        dict
            Tag as 8 hexadecimal digits -> JSON text of the element.
        """
        out = {}
        encodings = encodings_of(ds, DEFAULT_ENCODINGS)
        for tag, elem in _kept(ds):
            key = _identity(tag, elem, ds, encodings)
            text = self._known.get(key) if key is not None else None
            if text is None:
                text = json.dumps(_element(tag, elem, [ds], encodings), separators=(",", ":"))
                # without a key, equal texts still share memory
                text = self._known.setdefault(key if key is not None else ("text", text), text)
            out[f"{tag:08X}"] = text
        return out


def json_text(elements: Mapping[str, str]) -> str:
    """Join encoded elements into one JSON object."""
    return "{" + ",".join(f'"{tag}":{elements[tag]}' for tag in sorted(elements)) + "}"


def _kept(ds: Dataset) -> list[tuple[int, RawDataElement | DataElement]]:
    return sorted((int(t), e) for t, e in ds.items() if t not in PIXEL_TAGS and int(t) & 0xFFFF)


def _identity(tag: int, elem: Any, ds: Dataset, encodings: Encodings) -> tuple[Any, ...] | None:
    """What an undecoded element's JSON depends on; None where it is more than its bytes."""
    if not elem.is_raw or elem.VR in (None, "SQ"):
        return None
    return tag, elem.VR, elem.value, elem.is_little_endian, encodings


def _element(tag: int, elem: Any, ancestors: list[Dataset], encodings: Encodings) -> dict[str, Any]:
    """JSON object of one element; `ancestors` begins with the data set that it lies in."""
    vr = str(elem.VR) if elem.VR else _implicit_vr(tag, ancestors)
    if " or " in vr:
        vr = _one_of(vr, ancestors)
    if vr == "SQ":
        items = _items(tag, elem, ancestors, encodings)
        if items is not None:
            return {"vr": vr, "Value": items} if items else {"vr": vr}
        vr = "UN"  # a sequence that can't be parsed is kept as bytes
    value, little = _bytes(elem, vr, encodings)
    return _with_value(vr, value, little, encodings)


def _items(tag: int, elem: Any, ancestors: list[Dataset], encodings: Encodings) -> Items | None:
    try:
        sequence = ancestors[0][tag] if elem.is_raw else elem
        if sequence.VR != "SQ":
            return None
        return [_item(item, ancestors, encodings) for item in sequence.value or ()]
    except _DAMAGED:
        if elem.is_raw:
            return None
        raise


def _item(item: Dataset, ancestors: list[Dataset], inherited: Encodings) -> dict[str, Any]:
    encodings = encodings_of(item, inherited)
    return {f"{tag:08X}": _element(tag, elem, [item, *ancestors], encodings) for tag, elem in _kept(item)}


def _implicit_vr(tag: int, ancestors: list[Dataset]) -> str:
    """VR of an element that was stored without one (PS3.5 7.1.3)."""
    from pydicom.datadict import dictionary_VR, private_dictionary_VR

    group, element = tag >> 16, tag & 0xFFFF
    try:
        if not group & 1:
            return dictionary_VR(tag)
        if 0x10 <= element <= 0xFF:
            return "LO"
        return private_dictionary_VR(tag, str(ancestors[0][group, element >> 8].value))
    except KeyError:
        return "UN"


def _one_of(vrs: str, ancestors: list[Dataset]) -> str:
    """Choose one of several VRs as PS3.5 A.1 does: by Pixel Representation, else words of 16 bits."""
    if "OW" in vrs:
        return "OW"
    for ds in ancestors:
        if "PixelRepresentation" in ds:
            return "SS" if ds.PixelRepresentation == 1 else "US"
    return "US"


def _bytes(elem: Any, vr: str, encodings: Encodings) -> tuple[bytes, bool]:
    """Bytes of an element, and whether they are little endian."""
    if elem.is_raw:
        return elem.value or b"", bool(elem.is_little_endian)
    from pydicom import config
    from pydicom.dataelem import DataElement
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    fp = DicomBytesIO()
    fp.is_little_endian, fp.is_implicit_VR = True, True
    write_data_element(fp, DataElement(elem.tag, vr, elem.value, validation_mode=config.IGNORE), list(encodings))
    return fp.getvalue()[8:], True


def _with_value(vr: str, value: bytes, little: bool, encodings: Encodings) -> dict[str, Any]:
    if not value:
        return {"vr": vr}
    if vr in _NUMBERS:
        values: list[Any] | None = _numbers(vr, value, little)
    elif vr == "AT":
        words = struct.unpack(f"{'<' if little else '>'}{len(value) // 2}H", value) if len(value) % 4 == 0 else ()
        values = [f"{a:04X}{b:04X}" for a, b in zip(words[::2], words[1::2], strict=True)] or None
    elif vr in TEXT:
        values = texts_of(vr, value, encodings)
    else:
        values = None
    if values is not None:
        return {"vr": vr, "Value": values}
    return {"vr": vr, "InlineBinary": b64encode(value if little else _swapped(vr, value)).decode("ascii")}


def _numbers(vr: str, value: bytes, little: bool) -> list[Any] | None:
    code = _NUMBERS[vr]
    count, rest = divmod(len(value), struct.calcsize(code))
    if rest:
        return None
    numbers = struct.unpack(f"{'<' if little else '>'}{count}{code}", value)
    return list(numbers) if all(map(math.isfinite, numbers)) else None


def _swapped(vr: str, value: bytes) -> bytes:
    width = _WORDS.get(vr) or (struct.calcsize(_NUMBERS[vr]) if vr in _NUMBERS else 2 if vr == "AT" else 1)
    if width == 1 or len(value) % width:
        return value
    return b"".join(value[i : i + width][::-1] for i in range(0, len(value), width))


# --- from JSON --------------------------------------------------------------------------------------------------------


def header_from(elements: Mapping[str, Any], encodings: Encodings = DEFAULT_ENCODINGS) -> Dataset:
    """Make a header of a parsed JSON object.

    Parameters
    ----------
    elements : mapping
        Tag as 8 hexadecimal digits -> element, as `json.loads` gives it.
    encodings : tuple of str
        Python encodings of the data set that this one lies in.

    Returns
    -------
    pydicom.Dataset
        Explicit VR little endian, its elements undecoded.
    """
    from pydicom.charset import convert_encodings
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items
    from pydicom.tag import Tag

    charset = elements.get("00080005", {}).get("Value")
    if charset:
        encodings = tuple(convert_encodings([c or "" for c in charset]))
    found: dict[Any, Any] = {}
    for name in sorted(elements):
        tag, element = Tag(int(name, 16)), elements[name]
        if element["vr"] == "SQ":
            items = [header_from(item, encodings) for item in element.get("Value", ())]
            found[tag] = DataElement(tag, "SQ", Items(items))
        else:
            found[tag] = _raw(tag, element, encodings)
    ds = Dataset(found)
    ds.set_original_encoding(False, True, list(encodings))
    return ds


def file_meta_from(elements: Mapping[str, Any]) -> Any:
    """Make file meta information (`pydicom.dataset.FileMetaDataset`) of a parsed JSON object."""
    from pydicom.dataset import FileMetaDataset

    return FileMetaDataset(header_from(elements))


def _raw(tag: Any, element: Mapping[str, Any], encodings: Encodings) -> RawDataElement:
    from pydicom.dataelem import RawDataElement

    vr = str(element["vr"])
    if "InlineBinary" in element:
        value = b64decode(element["InlineBinary"])
    else:
        value = _value(vr, element.get("Value", ()), encodings)
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def _value(vr: str, values: Sequence[Any], encodings: Encodings) -> bytes:
    if vr in _NUMBERS:
        return struct.pack(f"<{len(values)}{_NUMBERS[vr]}", *values)
    if vr == "AT":
        return b"".join(struct.pack("<HH", int(v[:4], 16), int(v[4:], 16)) for v in values)
    if values and vr not in TEXT:
        raise ValueError(f"an element of VR {vr} has values where it should have InlineBinary")
    return bytes_of(vr, values, encodings)

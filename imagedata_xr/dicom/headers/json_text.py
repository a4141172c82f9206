"""Text of header elements, decoded for JSON and encoded again: all bytes that matter come back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Encodings = tuple[str, ...]

DEFAULT_ENCODINGS: Encodings = ("iso8859",)
ASCII = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI")
TEXT = (*ASCII, "LO", "SH", "UC", "PN", "LT", "ST", "UT", "UR")
_ONE_TEXT = ("LT", "ST", "UT", "UR")
_PN_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_ESCAPE = 0x1B


def encodings_of(ds: Dataset, inherited: Encodings) -> Encodings:
    """Python encodings of a data set by its Specific Character Set, else those of the one that it lies in."""
    from pydicom.charset import convert_encodings

    if "SpecificCharacterSet" not in ds:
        return inherited
    return tuple(convert_encodings(ds.SpecificCharacterSet))


def texts_of(vr: str, value: bytes, encodings: Encodings) -> list[Any] | None:
    """Values of a text element as JSON has them (PS3.18 F.2.3); None where they would not come back without loss."""
    text = _decoded(value, DEFAULT_ENCODINGS if vr in ASCII else encodings, vr)
    if text is None:
        return None
    if len(value) % 2 == 0 and text[-1:] in (" ", "\0"):
        text = text[:-1]  # the padding to an even length, which comes back when a header is made
    parts = [text] if vr in _ONE_TEXT else text.split("\\")
    if vr == "PN":
        if any(part.count("=") > 2 for part in parts):
            return None
        return [_name(part) if part else None for part in parts]
    return [part or None for part in parts]


def _name(text: str) -> dict[str, str]:
    groups = dict(zip(_PN_GROUPS, text.split("="), strict=False))
    # trailing "=" come back as they were: an empty last group is kept
    last = text.count("=")
    return {name: part for k, (name, part) in enumerate(groups.items()) if part or k == last}


def _decoded(value: bytes, encodings: Encodings, vr: str) -> str | None:
    """Text of a value; None where it can't be decoded and encoded again without loss."""
    if _ESCAPE not in value and value.isascii():
        return value.decode("ascii")
    try:
        text = _decode(value, encodings, vr)
        return text if _decode(_encode(text, encodings, vr), encodings, vr) == text else None
    except (UnicodeError, LookupError, ValueError):
        return None


def _delimiters(vr: str) -> str:
    # PS3.5 6.1.2.5.3: what ends the effect of an escape sequence
    return "\\=^" if vr == "PN" else "\\\r\n\t\f"


def _decode(value: bytes, encodings: Encodings, vr: str) -> str:
    from pydicom.charset import decode_bytes

    if _ESCAPE not in value:
        return value.decode(encodings[0])
    text = decode_bytes(value, list(encodings), set(map(ord, _delimiters(vr))))
    if "\ufffd" in text:
        raise UnicodeError("characters were replaced")
    return text


def _encode(text: str, encodings: Encodings, vr: str) -> bytes:
    from pydicom.charset import encode_string

    if text.isascii():
        return text.encode("ascii")
    if len(encodings) == 1:
        return encode_string(text, list(encodings))
    parts = re.split(f"([{re.escape(_delimiters(vr))}])", text)
    return b"".join(p.encode("ascii") if p.isascii() else encode_string(p, list(encodings)) for p in parts)


def bytes_of(vr: str, values: Any, encodings: Encodings) -> bytes:
    """Bytes of a text element, of even length."""
    if not values:
        return b""
    if vr == "PN":
        values = ["" if v is None else _name_text(v) for v in values]
    text = "\\".join("" if v is None else str(v) for v in values)
    data = _encode(text, DEFAULT_ENCODINGS if vr in ASCII else encodings, vr)
    return data + (b"\0" if vr == "UI" else b" ") * (len(data) % 2)


def _name_text(name: Mapping[str, str]) -> str:
    last = max((k for k, group in enumerate(_PN_GROUPS) if group in name), default=0)
    return "=".join(name.get(group, "") for group in _PN_GROUPS[: last + 1])

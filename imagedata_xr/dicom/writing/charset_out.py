"""Character sets of written files: a text that one can't hold is refused, not written with question marks."""

from __future__ import annotations

from typing import Any

import pydicom
from pydicom.charset import convert_encodings
from pydicom.valuerep import PersonName

from ...errors import FormatError

UTF8 = "ISO_IR 192"
_DEFAULT = "ISO_IR 6"
_SINGLE = (_DEFAULT, "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126",
           "ISO_IR 138", "ISO_IR 148", "ISO_IR 203", "ISO_IR 13", "ISO_IR 166", UTF8, "GB18030", "GBK")  # fmt: skip
_TEXTS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")


def check_charset(name: Any) -> str:
    """Return a defined term of Specific Character Set (PS3.3 C.12.1.1.2), one without code extensions."""
    term = str(name).strip().replace("ISO-IR", "ISO_IR").upper()
    if term not in _SINGLE:
        raise FormatError(f"format_options character_set={name!r}: one of {', '.join(_SINGLE)}")
    return term


def set_charset(ds: pydicom.Dataset, term: str) -> None:
    """Say in which character set a header is written.

    Raises
    ------
    FormatError
        A text has characters that it does not know; the text itself is not told.
    """
    ds.SpecificCharacterSet = term
    if term == UTF8:
        return
    if term == _DEFAULT:  # pydicom takes it for Latin-1, and no element says it (PS3.3 C.12.1.1.2)
        _check(ds, "ascii", term)
        del ds.SpecificCharacterSet
        return
    (codec,) = convert_encodings(term)
    _check(ds, codec, term)


def holds(ds: pydicom.Dataset, text: str) -> bool:
    """Whether a header's character set knows all characters of a text."""
    said = ds.get("SpecificCharacterSet") or _DEFAULT
    terms = [said] if isinstance(said, str) else list(said)
    for codec in ["ascii"] if terms == [_DEFAULT] else convert_encodings(terms):
        try:
            text.encode(codec)
        except (UnicodeEncodeError, LookupError):
            continue
        return True
    return False


def _check(ds: pydicom.Dataset, codec: str, term: str) -> None:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value or []:
                _check(item, codec, term)
        elif element.VR in _TEXTS:
            values = element.value if element.VM > 1 else [element.value]
            for value in values:
                _check_text(str(value) if isinstance(value, PersonName | str) else "", element, codec, term)


def _check_text(text: str, element: pydicom.DataElement, codec: str, term: str) -> None:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        raise FormatError(
            f"{element.keyword or element.tag} has characters that {term} does not know: {UTF8!r} holds all"
        ) from None

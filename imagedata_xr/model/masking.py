"""Texts without what identifies the patient: descriptions that people typed often hold a name or a number."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"
_NAMES = ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName")
_NUMBERS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "PatientBirthDate")
NAMING = (*_NAMES, *_NUMBERS)
"""Keywords of the elements that name a patient."""
_UID = re.compile(r"\b\d+(\.\d+){4,}\b")
_STROKES = str.maketrans({"ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "ß": "ss", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"})
_SPELLED = str.maketrans({c: f"{c}e" for c in "äöüÄÖÜøØ"} | {"å": "aa", "Å": "AA"})  # as where keys lack the letter
_LONG = 4  # letters: a part of a name this long is masked within words too, a shorter one as a word


def mask(text: str, elements: Mapping[str, Any]) -> str:
    """Replace a patient's names and IDs in a text.

    Parameters
    ----------
    text : str
    elements : mapping
        Elements by DICOM keyword; several values are a list, or joined by backslashes. Those that name the patient are
        looked at: names part by part, and patient ID, birth date and accession number as a whole, however they are
        separated. Upper and lower case are one, and letters with and without accents or spelled out (ø, o, oe).

    Returns
    -------
    str
        With ``***`` for each.

    Examples
    --------
    >>> mask("t1 DOE_jane knee", {"PatientName": "Doe^Jane"})
    't1 ***_*** knee'
    """
    patterns = [_name_pattern(part) for value in _values(elements, _NAMES) for part in re.findall(r"[^\W_]+", value)]
    patterns += [_number_pattern(value) for value in _values(elements, _NUMBERS)]
    # the longest first, so that no rest of a longer one is left
    for pattern in sorted(filter(None, patterns), key=len, reverse=True):
        text = re.sub(pattern, MASK, text, flags=re.IGNORECASE)
    return text


def mask_identity(text: str, elements: Mapping[str, Any]) -> str:
    """Replace a patient's names and IDs in a text, as `mask` does, and all UIDs."""
    return _UID.sub(MASK, mask(text, elements))


def _values(elements: Mapping[str, Any], keywords: Iterable[str]) -> list[str]:
    out: list[str] = []
    for keyword in keywords:
        value = elements.get(keyword)
        for one in value if isinstance(value, list | tuple) else str(value or "").split("\\"):
            text = str(one).strip()
            out += dict.fromkeys((text, _plain(text), _plain(text.translate(_SPELLED)))) if text else ()
    return out


def _plain(text: str) -> str:
    """Text without accents and strokes."""
    parts = unicodedata.normalize("NFKD", text.translate(_STROKES))
    return "".join(c for c in parts if not unicodedata.combining(c))


def _name_pattern(part: str) -> str:
    if part.isdigit() or (len(part) < 2 and unicodedata.category(part) != "Lo"):  # one ideograph is a whole name
        return ""
    if len(part) >= _LONG or not part.isascii():
        return re.escape(part)
    return rf"(?<![^\W\d_]){re.escape(part)}(?![^\W\d_])"


def _number_pattern(value: str) -> str:
    pieces = re.findall(r"[^\W_]+", value)
    if not pieces:
        return ""
    return r"(?<![^\W_])" + r"[\W_]*".join(map(re.escape, pieces)) + r"(?![^\W_])"

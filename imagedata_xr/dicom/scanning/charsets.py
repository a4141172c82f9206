"""Text that does not fit the character set of its file (PS3.3 C.12.1.1.2, PS3.5 section 6.1)."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from ...errors import warn
from .coded import groups_of, is_plain
from .elements import CHARACTER_SET, LongValue, key_name, known_vr, text
from .pydicom_charsets import mend_pydicom
from .vr import Raw

if TYPE_CHECKING:
    from .scan import Scan

_TEXT = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_ASCII = frozenset(("", "ISO_IR 6", "ISO 2022 IR 6"))


def warn_of_odd_text(scanned: Scan) -> None:
    """Say once which elements hold text that their files' character set does not allow, or whose set is unknown."""
    sets = scanned.column(CHARACTER_SET).cells()
    odd: dict[str, str] = {}
    for key, column in scanned.columns.items():
        if column.table.plain:
            continue
        cells = column.cells()
        raws = [cell for cell in cells.values if isinstance(cell, tuple)]
        if not any(known_vr(key, vr) in _TEXT for vr in {vr for vr, _ in raws}):
            continue
        for cell, charset in groups_of(cells, sets)[0]:
            if not isinstance(cell, tuple) or known_vr(key, cell[0]) not in _TEXT or is_plain(cell[1]):
                continue
            known = None if isinstance(charset, LongValue) else charset
            if why := _trouble(known_vr(key, cell[0]), cell[1], known):
                odd.setdefault(_name(key), why)
    if odd:
        names = ", ".join(sorted(odd)[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
        whys = "; ".join(dict.fromkeys(odd.values()))
        warn(f"text of {names} may be wrong in some files: {whys}")


def _name(key: object) -> str:
    from pydicom.datadict import keyword_for_tag

    if isinstance(key, int):
        return keyword_for_tag(key) or key_name(key)
    return key_name(key)  # type: ignore[arg-type]


def _trouble(vr: str, value: bytes, charset: Raw | None) -> str:
    """Why bytes beyond ASCII can't be text of a character set; empty if they can."""
    from pydicom.charset import convert_encodings, decode_bytes, python_encoding
    from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

    mend_pydicom()
    names = text(CHARACTER_SET, charset) if charset else ()
    if not any(names) or set(names) <= _ASCII:
        return "SpecificCharacterSet is missing or plain ASCII, so that it is read as ISO_IR 100 (Latin)"
    if unknown := [name for name in names if name not in python_encoding]:
        return f"SpecificCharacterSet has {unknown[0]!r}, which DICOM does not know, so that it is read as another one"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        string = decode_bytes(value, convert_encodings(list(names)), PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS)
    if caught or "\ufffd" in string:
        return f"it is not encoded in {'/'.join(names)} as SpecificCharacterSet says; what can't be read is \ufffd"
    if names[0] in _ASCII and _unannounced(value, vr):
        return f"it changes to none of the sets of {'/'.join(names)} by an escape sequence, and is read as Latin"
    return ""


def _unannounced(value: bytes, vr: str) -> bool:
    """Whether bytes beyond ASCII stand where no escape sequence has come (PS3.5 6.1.2.5.3).

    Each line, and each component and group of a name, begins anew with the first set.
    """
    ends = rb"[\r\n\f\t^=\\]" if vr == "PN" else rb"[\r\n\f\t\\]"
    return any(max(part.partition(b"\x1b")[0], default=0) > 0x7F for part in re.split(ends, value))

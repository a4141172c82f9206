"""Values that elements may have, by their value representation and multiplicity (PS3.5 6.2, 6.4)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from pydicom import config
from pydicom.datadict import dictionary_VM
from pydicom.valuerep import MAX_VALUE_LEN, validate_value

from ...errors import LabelError

NUMERIC = ("DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "UV", "SV")
TEXT = ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
_LONG = ("LT", "ST", "UT")  # texts of several lines
_CLOCK = ("DA", "TM", "DT")
_RANGES = {"US": (0, 2**16), "SS": (-(2**15), 2**15), "UL": (0, 2**32), "SL": (-(2**31), 2**31), "UV": (0, 2**64),
           "SV": (-(2**63), 2**63), "IS": (-(2**31), 2**31)}  # fmt: skip


def checked(keyword: str, vr: str, value: Any) -> Any:
    """Return a value that its VR allows, as text or number; raise `LabelError` for another."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise LabelError(f"{keyword} must be a text, a number or a flat list of these, not {type(value).__name__}")
    if vr in NUMERIC:
        return _number(keyword, vr, value)
    if not isinstance(value, str):
        raise LabelError(f"{keyword} is a text ({vr}), and {value!r} is a number")
    if any(ord(c) < 32 and not (c in "\t\n\f\r" and vr in _LONG) for c in value):
        raise LabelError(f"{keyword} has a control character, such as the end of a line, which {vr} does not allow")
    if value and vr in _CLOCK:
        _check_moment(keyword, vr, value)
    longest = MAX_VALUE_LEN.get(vr)
    if longest is not None and len(value) > longest:
        raise LabelError(f"{keyword} has {len(value)} characters, of which {vr} allows {longest}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            validate_value(vr, value, config.RAISE)
    except ValueError as error:
        raise LabelError(f"{keyword} can't have this value ({vr}): {error}") from None
    return value


def _check_moment(keyword: str, vr: str, value: str) -> None:
    """Raise `LabelError` for a day or an hour that there is not; the form is checked elsewhere."""
    digits = value.strip().partition(".")[0] if vr != "DT" else re.split(r"[.+-]", value.strip())[0]
    days = {"DA": 8, "TM": 0, "DT": 8}[vr]
    day, clock = digits[:days], digits[days:]
    try:
        datetime.strptime(day + clock, "%Y%m%d"[: max(len(day) - 2, 0)] + "%H%M%S"[: len(clock)])
    except ValueError:
        raise LabelError(f"{keyword} can't be {value!r} ({vr}): there is no such day or time") from None


def _number(keyword: str, vr: str, value: Any) -> int | float | str:
    if value == "":
        return ""
    try:
        number = float(value)
    except ValueError:
        raise LabelError(f"{keyword} is a number ({vr}), and {value!r} is none") from None
    if not np.isfinite(number):
        raise LabelError(f"{keyword} must be finite, not {number}")
    if vr == "FL" and abs(number) > float(np.finfo(np.float32).max):
        raise LabelError(f"{keyword} has 32 bits (FL), of which {number:g} is beyond")
    if vr in _RANGES:
        low, high = _RANGES[vr]
        if number != round(number) or not low <= number < high:
            raise LabelError(f"{keyword} is a whole number from {low} to {high - 1} ({vr}), not {value}")
        return int(number)
    return value if isinstance(value, int) else number


def check_count(keyword: str, values: Sequence[Any]) -> None:
    """Raise `LabelError` where an element does not allow so many values (PS3.6, value multiplicity)."""
    allowed = str(dictionary_VM(keyword))
    low, _, high = allowed.partition("-")
    if not low.isdigit() or values == [""]:
        return
    n, most = len(values), int(high) if high.isdigit() else None if high else int(low)
    step = int(high[:-1]) if high.endswith("n") and high[:-1].isdigit() else 1
    if n < int(low) or (most is not None and n > most) or n % step:
        raise LabelError(f"{keyword} has {allowed} values by the standard, and {n} were given")

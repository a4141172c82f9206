"""Days as people and devices write them in texts, in figures and with the names of months."""

from __future__ import annotations

import re
from functools import cache

_MONTHS = (
    "jan", "feb|fev|fév", "mar|mär|mrz|mrt", "apr|avr|abr", "may|mai|maj|mei|mag", "jun|juin|giu", "jul|juil|lug",
    "aug|août|aou|ago", "sep|set", "oct|okt|out|ott", "nov", "dec|dez|des|déc|dic",
)  # fmt: skip
"""First letters of the names of months in the languages of western Europe."""
_TIME = r"(?:[T _-]?[0-2]\d:?[0-5]\d(?::?[0-5]\d(?:\.\d+)?)?)?"
_GAP = r"[\s.,/_-]*"

DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d([-./_ ]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|1[0-2])\2(?:19|20)?\d\d)(?!\d)"
)
"""What looks like a day, in figures."""


def forms_of_date(day: str) -> list[str]:
    """Patterns, without regard to case, of the ways to write one day.

    Parameters
    ----------
    day : str
        YYYYMMDD.
    """
    y, m, d = day[:4], day[4:6], day[6:]
    if not 1 <= int(m) <= 12:
        return []
    mm, dd = rf"0?{int(m)}", rf"0?{int(d)}"
    name = rf"(?:{_MONTHS[int(m) - 1]})[^\W\d_]*"
    th = r"(?:st|nd|rd|th)?"
    figures = [
        rf"{y}{m}{d}{_TIME}", rf"{y}[-./_ ]{mm}[-./_ ]{dd}{_TIME}", f"{d}{m}{y}", f"{m}{d}{y}",
        rf"{dd}[-./_ ]{mm}[-./_ ]{y}", rf"{mm}[-./_ ]{dd}[-./_ ]{y}",
        rf"{dd}[-/]{mm}[-/]{y[2:]}", rf"{mm}[-/]{dd}[-/]{y[2:]}",
    ]  # fmt: skip
    spelled = [
        rf"{dd}{th}{_GAP}{name}{_GAP}{y}", rf"{name}{_GAP}{dd}{th}{_GAP}{y}", rf"{y}{_GAP}{name}{_GAP}{dd}",
    ]  # fmt: skip
    return [rf"(?<!\d){p}(?!\d)" for p in (*figures, *spelled)]


@cache
def spelled_date() -> re.Pattern[str]:
    """What looks like a day with the name of its month."""
    name = rf"(?:{'|'.join(_MONTHS)})[^\W\d_]*"
    day = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
    year = r"(?:19|20)\d\d"
    forms = (rf"{day}{_GAP}{name}{_GAP}{year}", rf"{name}{_GAP}{day}{_GAP}{year}", rf"{year}{_GAP}{name}{_GAP}{day}")
    return re.compile("|".join(rf"(?<![\w]){f}(?!\d)" for f in forms), re.IGNORECASE)

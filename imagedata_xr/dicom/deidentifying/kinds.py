"""Objects without pixels: which kinds can be cleaned by the profile, and which are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pydicom.uid import UID

from .policy import Policy

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CLEANED = {
    "481.": "radiotherapy: structure sets, plans, treatment records",
    "11.": "presentation states",
    "66.": "registrations, fiducials, surfaces, tracts",
    "67": "real world value mapping",
    "4.2": "spectroscopy",
    "9.1.": "electrocardiograms",
    "9.2.1": "hemodynamic curves",
    "9.3.1": "electrophysiology",
    "9.5.1": "arterial pulse",
    "9.6.": "respiratory curves",
}
_CODED = "88."
"""Structured reports and key object selections: their content is cleaned by the option ``clean_structured`` only."""
_WAVEFORMS = tuple(_STORAGE + k for k in _CLEANED if k.startswith("9."))
_FOR_CODED = "clean_structured"


def has_waveforms(sop_class: str) -> bool:
    """Whether waveforms of a class are measurements; those of others may be speech."""
    return sop_class.startswith(_WAVEFORMS)


def of_radiotherapy(sop_class: str) -> bool:
    """Whether a class demands dates of plans and treatments, which may be empty."""
    return sop_class.startswith(f"{_STORAGE}481.")


def may_stay(sop_class: str, policy: Policy) -> bool:
    """Whether an object without pixels can be cleaned element by element.

    Encapsulated documents, raw data and private classes can't: what they say stands in bytes that nobody here can
    read. Structured reports say it in texts, and are kept with their codes and numbers where that is asked for.
    """
    if sop_class.startswith(_STORAGE + _CODED):
        return _FOR_CODED in policy.options
    if sop_class.startswith(f"{_STORAGE}11.") and not sop_class.removeprefix(f"{_STORAGE}11.").isdigit():
        return False
    return sop_class.startswith(tuple(_STORAGE + k for k in _CLEANED))


def kind_of(sop_class: str) -> str:
    """Name of a class, which says nothing of a patient: that of the standard, or none."""
    uid = UID(sop_class)
    if sop_class.startswith("1.2.840.10008.") and uid.name != sop_class:
        return str(uid.name).removesuffix(" Storage")
    return "object of a private class" if sop_class else "object without a class"


def told(counts: Mapping[str, int]) -> str:
    """Kinds and their numbers, as a warning says them."""
    return ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))


def left_out(counts: Counter[str], policy: Policy) -> str:
    """Sentence on objects that are left out, with the option that would keep some of them."""
    text = (
        f"{sum(counts.values())} objects without pixels are left out ({told(counts)}): what they say of the patient "
        "stands in texts and bytes that can't be cleaned for certain"
    )
    coded = any(k.endswith(" SR") or "Key Object" in k or "Report" in k for k in counts)
    if coded and _FOR_CODED not in policy.options:
        text += f". The option {_FOR_CODED} keeps the codes and numbers of structured reports"
    return text

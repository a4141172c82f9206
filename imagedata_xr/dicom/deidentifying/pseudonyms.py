"""What stands in place of identifiers: made with a secret key, so that equal ones stay equal and no list is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydicom._uid_dict import UID_dictionary

from ...errors import LabelError
from ...model.identity import clean, patient_digest
from ..headers.made_uids import MadeUids, keyed_digest, uid_of_digest
from .policy import Policy

STANDARD = "1.2.840.10008."
"""Root of the UIDs that the standard itself defines: they identify nobody."""
_SPAN = 3650, 365
"""Dates move back by a number of days in this range: at least a year, so that no date stays near its own."""
UID_IN_TEXT = re.compile(r"(?<!\d)(?<!\d\.)[0-2](?:\.\d+){5,}(?!\d|\.\d)")
"""UIDs as they stand in texts, also those with leading zeros, which are none, and before the end of a sentence."""


class Pseudonyms:
    """Pseudonyms of one policy.

    Parameters
    ----------
    policy : Policy
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def _digest(self, kind: str, text: str, size: int) -> bytes:
        return keyed_digest(self._policy.secret, kind, text, size)

    def uid(self, uid: str) -> str:
        """Return the new UID in place of one, unless UIDs are retained; see `new_uid`."""
        return uid.strip(" \0") if "retain_uids" in self._policy.options else self.new_uid(uid)

    def new_uid(self, uid: str) -> str:
        """Return the new UID in place of one: below 2.25 (PS3.5 B.2), from the key alone; the standard's own stay."""
        uid = uid.strip(" \0")
        if not uid:
            return uid
        if uid.startswith(STANDARD) and uid in UID_dictionary:  # others below it were made by a device that may not
            return uid
        return uid_of_digest(self._digest("uid", uid, 16))

    @property
    def made(self) -> MadeUids:
        """Maker of the UIDs of what is computed."""
        return MadeUids(self._digest("key", "of what is made", 32))

    def uids_in(self, text: str) -> str:
        """Text with new UIDs in place of those that stand in it."""
        return UID_IN_TEXT.sub(lambda m: self.uid(m[0]), text)

    def patient(self, elements: Mapping[str, Any]) -> str:
        """Return the new ID, which is the new name as well, of the patient that elements describe."""
        asked = self._policy.patients
        if isinstance(asked, str):
            return asked
        if asked is not None:
            old = str(elements.get("PatientID") or "").strip()
            if old not in asked:
                raise LabelError("patient= names no new ID for one of the patients: give one for each old Patient ID")
            return str(asked[old])
        number = int.from_bytes(self._digest("patient", str(patient_digest(elements)), 6), "big")
        return f"ANON{number % 10**10:010d}"

    def days(self, elements: Mapping[str, Any]) -> int:
        """Days by which the dates of a patient are moved; negative.

        They come from the new ID that was asked for, else from the Patient ID alone, where there is one: objects that
        lack the birth date or spell the name in another way, as those of other devices, keep their intervals.
        """
        longest, shortest = _SPAN
        own = clean(elements.get("PatientID"))
        who = self.patient(elements) if self._policy.patients is not None else own or str(patient_digest(elements))
        number = int.from_bytes(self._digest("days", who, 8), "big")
        return -(shortest + number % (longest - shortest))


def shifted_date(text: str, days: int) -> str:
    """Date of PS3.5 6.2 (DA, also as yyyy.mm.dd) moved by days; empty where it is none."""
    digits = text.strip(" \0").replace(".", "").replace("-", "")
    try:
        return (datetime.strptime(digits, "%Y%m%d") + timedelta(days=days)).strftime("%Y%m%d")
    except (ValueError, OverflowError):
        return ""


def shifted_datetime(text: str, days: int) -> str:
    """Date and time of PS3.5 6.2 (DT) moved by days; empty where the day is not said."""
    text = text.strip(" \0")
    day = shifted_date(text[:8], days) if text[:8].isdigit() else ""
    return day + text[8:] if day else ""

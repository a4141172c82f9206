"""Texts that stay, without what identifies somebody: names, numbers, dates and UIDs that a header has elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pydicom

from ...model.masking import MASK, mask
from .dates_in_text import DATE, forms_of_date, spelled_date
from .policy import Policy
from .pseudonyms import STANDARD, UID_IN_TEXT, Pseudonyms

_IDS = frozenset(
    """
    PatientID OtherPatientIDs AccessionNumber StudyID AdmissionID RequestedProcedureID ScheduledProcedureStepID
    PerformedProcedureStepID ServiceEpisodeID InsurancePlanIdentification MedicalRecordLocator
    DeviceSerialNumber PlacerOrderNumberImagingServiceRequest FillerOrderNumberImagingServiceRequest
    ClinicalTrialSubjectID ClinicalTrialSubjectReadingID PatientTelephoneNumbers
    ReferringPhysicianTelephoneNumbers PersonTelephoneNumbers OrderCallbackPhoneNumber PatientTelecomInformation
    ResultsID InterpretationID SpecimenAccessionNumber SpecimenIdentifier ContainerIdentifier SlideIdentifier
    BarcodeValue UniqueDeviceIdentifier SourceSerialNumber
    """.split()  # noqa: SIM905
)
_PLACES = frozenset(
    """
    InstitutionName InstitutionAddress InstitutionalDepartmentName StationName PatientAddress
    CurrentPatientLocation PatientInstitutionResidence ReferringPhysicianAddress ResponsibleOrganization
    PerformedStationName ScheduledStationName PerformedLocation ClinicalTrialSiteName RequestingService
    PersonAddress
    """.split()  # noqa: SIM905
)
_LONG_NUMBER = re.compile(r"\d{5,}")
_TITLE = re.compile(r"\b(?:dr|prof|mr|mrs|ms|herr|frau|dott|mme|med)\b\.?(?:\s+(?:dr|med|prof)\.?)*\s+[^\W\d_]+", re.I)
_LONG = 5  # letters and digits: a number this long is found within words too


@dataclass(frozen=True)
class Identifiers:
    """What a header says of people, places and days; all that texts must not repeat.

    Attributes
    ----------
    names, numbers, places, days : tuple of str
        Parts of names of persons; IDs and telephones; institutions and addresses; days as YYYYMMDD.
    uids : tuple of str
        UIDs so short that they can't be told from other numbers with dots by their look.
    """

    names: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    uids: tuple[str, ...] = ()


def identifiers_in(ds: pydicom.Dataset, policy: Policy) -> Identifiers:
    """Names of all persons (elements of VR PN, at every depth), numbers, places and UIDs; days that are not kept."""
    found: dict[str, list[str]] = {"names": [], "numbers": [], "places": [], "days": [], "uids": []}
    for element in _all(ds):
        keyword, vr = element.keyword, element.VR
        if vr == "PN":
            for value in _values(element.value):
                found["names"] += _names(value)
        elif keyword in _IDS and not _kept(element.tag, vr, policy):
            found["numbers"] += [v for v in _values(element.value) if len(v) > 2]
        elif keyword in _PLACES and not _kept(element.tag, vr, policy):
            found["places"] += [v for v in _values(element.value) if len(v) > 3]
        elif vr in ("DA", "DT") and "full_dates" not in policy.options:
            days = (v.replace("-", "").replace(".", "")[:8] for v in _values(element.value))
            found["days"] += [d for d in days if len(d) == 8 and d.isdigit()]
        elif vr == "UI" and "retain_uids" not in policy.options:
            short = (v for v in _values(element.value) if v.count(".") > 1 and not UID_IN_TEXT.fullmatch(v))
            found["uids"] += [v for v in short if not v.startswith(STANDARD)]
    return Identifiers(**{kind: tuple(dict.fromkeys(several)) for kind, several in found.items()})


def _names(value: str) -> list[str]:
    """Parts of a name of a person, and two of them as one word: `AnnDoe` holds no part that stands alone."""
    parts = [p for p in re.split(r"[\^= ]+", value) if len(p) > 1 or not p.isascii()]
    joined = (a + b for a in parts for b in parts if a != b and len(a + b) >= _LONG)
    return [*parts, *joined] if len(parts) < 8 else parts


def _all(ds: pydicom.Dataset) -> Iterable[pydicom.DataElement]:
    for element in ds:
        yield element
        if element.VR == "SQ":
            for item in element.value or []:
                yield from _all(item)


def _kept(tag: Any, vr: str, policy: Policy) -> bool:
    return policy.action(tag, vr) in ("K", "C")


def _values(value: Any) -> list[str]:
    several = value if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
    return [t for v in several if (t := str(v if v is not None else "").strip(" \0"))]


def _within_words(number: str) -> str:
    """Pattern of an ID that is found within words; empty for one that is too short, or has no digit."""
    pieces = re.findall(r"[^\W_]+", number)
    letters = "".join(pieces)
    if len(letters) < _LONG or not any(c.isdigit() for c in letters):
        return ""
    before = r"(?<!\d)" if letters[0].isdigit() else ""
    after = r"(?!\d)" if letters[-1].isdigit() else ""
    return before + r"[\W_]*".join(map(re.escape, pieces)) + after


class Texts:
    """Cleans texts of one header.

    Parameters
    ----------
    identifiers : Identifiers
    pseudonyms : Pseudonyms
    """

    def __init__(self, identifiers: Identifiers, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self._names = {"PatientName": list(identifiers.names)}
        self._words = {"PatientID": [*identifiers.numbers, *identifiers.places]}
        exact = [_within_words(n) for n in identifiers.numbers] + [
            f for d in identifiers.days for f in forms_of_date(d)
        ]
        exact = sorted(filter(None, exact), key=len, reverse=True)
        self._exact = re.compile("|".join(exact), re.IGNORECASE) if exact else None
        self._whole = {d for d in (*identifiers.numbers, *identifiers.days) if len(d) > _LONG}
        short = "|".join(map(re.escape, sorted(identifiers.uids, key=len, reverse=True)))
        self._uids = re.compile(rf"(?<![\d.])(?:{short})(?!\d|\.\d)") if short else None
        self._known: dict[tuple[str, bool], str] = {}

    def clean(self, text: str, typed: bool = False) -> str:
        """Text without the header's identifiers.

        Parameters
        ----------
        text : str
        typed : bool
            Whether people type such texts freely: then whatever looks like a date, a long number, or a person with a
            title goes as well.
        """
        known = self._known.get((text, typed))
        if known is None:
            known = self._known[text, typed] = self._cleaned(text, typed)
        return known

    def _cleaned(self, text: str, typed: bool) -> str:
        out = self.without_numbers(text, MASK)
        out = mask(out, self._names | self._words)
        if typed:
            for pattern in (DATE, spelled_date(), _TITLE, _LONG_NUMBER):
                out = pattern.sub(MASK, out)
        return out

    def without_numbers(self, text: str, instead: str = "") -> str:
        """Text without IDs, days and UIDs; names stay, as in words of the standard that may be somebody's name."""
        out = self._pseudonyms.uids_in(text)
        if self._uids is not None:
            out = self._uids.sub(lambda m: self._pseudonyms.uid(m[0]), out)
        return out if self._exact is None else self._exact.sub(instead, out)

    def without_names(self, text: str) -> str:
        """Text without names of five letters and more."""
        return mask(text, {"PatientName": [n for n in self._names["PatientName"] if len(n) >= _LONG]})

    def is_number(self, text: str) -> bool:
        """Whether a whole number is an ID, or a day, of this header."""
        return text in self._whole

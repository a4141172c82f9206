"""Texts that stay, without what identifies somebody: names, numbers, dates and UIDs that a header has elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pydicom

from ...model.masking import mask
from .policy import Policy
from .pseudonyms import Pseudonyms
from .table import ACTIONS

_IDS = """
    PatientID OtherPatientIDs AccessionNumber StudyID AdmissionID RequestedProcedureID ScheduledProcedureStepID
    PerformedProcedureStepID ServiceEpisodeID InsurancePlanIdentification MedicalRecordLocator DeviceSerialNumber
    PlacerOrderNumberImagingServiceRequest FillerOrderNumberImagingServiceRequest ClinicalTrialSubjectID
    """.split()  # noqa: SIM905
_PLACES = "InstitutionName InstitutionAddress InstitutionalDepartmentName StationName PatientAddress".split()  # noqa: SIM905
_DATE = re.compile(r"(?<!\d)(?:(?:19|20)\d\d([-./_ ]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
                   r"|(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|1[0-2])\2(?:19|20)?\d\d)(?!\d)")  # fmt: skip
_LONG_NUMBER = re.compile(r"\d{5,}")
_TITLE = re.compile(r"\b(?:dr|prof|mr|mrs|ms|herr|frau|dott|mme|med)\b\.?(?:\s+(?:dr|med|prof)\.?)*\s+[^\W\d_]+", re.I)


def identifiers_in(ds: pydicom.Dataset, policy: Policy) -> dict[str, list[str]]:
    """Names and numbers of a header, as `imagedata_xr.model.masking.mask` wants them.

    Names of persons are those of all elements of VR PN, at every depth; dates are those that are not kept.
    """
    names: list[str] = []
    numbers: list[str] = []
    for element in _all(ds):
        keyword, vr = element.keyword, element.VR
        if vr == "PN":
            names += [part for value in _values(element.value) for part in re.split(r"[\^= ]+", value)]
        elif keyword in _IDS and not _kept(element.tag, vr, policy):
            numbers += [v for v in _values(element.value) if len(v) > 2]
        elif keyword in _PLACES and not _kept(element.tag, vr, policy):
            numbers += [v for v in _values(element.value) if len(v) > 3]
        elif vr in ("DA", "DT") and keyword in ACTIONS and "full_dates" not in policy.options:
            numbers += [v for value in _values(element.value) for v in _forms_of_date(value)]
    return {
        "PatientName": [n for n in dict.fromkeys(names) if len(n) > 1],
        "PatientID": list(dict.fromkeys(numbers)),
    }


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
    return [t for v in several if (t := str(v if v is not None else "").strip())]


def _forms_of_date(text: str) -> list[str]:
    day = text[:8]
    if not (len(day) == 8 and day.isdigit()):
        return []
    y, m, d = day[:4], day[4:6], day[6:]
    return [day, f"{y}-{m}-{d}", f"{d}-{m}-{y}", f"{m}-{d}-{y}", f"{d}{m}{y}"]


class Texts:
    """Cleans texts of one header.

    Parameters
    ----------
    identifiers : dict
        Of `identifiers_in`.
    pseudonyms : Pseudonyms
    """

    def __init__(self, identifiers: dict[str, list[str]], pseudonyms: Pseudonyms) -> None:
        self._identifiers, self._pseudonyms = identifiers, pseudonyms
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
        out = mask(self._pseudonyms.uids_in(text), self._identifiers)
        if typed:
            for pattern in (_DATE, _TITLE, _LONG_NUMBER):
                out = pattern.sub("***", out)
        return out

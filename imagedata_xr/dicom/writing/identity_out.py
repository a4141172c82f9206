"""Who the patient is and which study: what a file says of them, and only where the labels vouch for it.

The labels ``patient`` and ``study`` are digests that xarray drops or makes an array of where operands differ. Elements
of the patient are written only where the label is there, scalar, and their digest; likewise for the study.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pydicom
import xarray as xr

from ...errors import warn
from ...model.assign import ASSIGNED
from ...model.identity import PATIENT_KEYS, patient_digest, study_digest
from .fields import drop, drop_groups, put
from .uids import new_uid

_PATIENT_GROUPS = ((0x0010, 0x0010), (0x0012, 0x0012), (0x0038, 0x0038))  # patient, clinical trial, visit
_PATIENT_ELSEWHERE = """
    ReferencedPatientSequence ReferencedPatientPhotoSequence PatientSizeCodeSequence
    SourcePatientGroupIdentificationSequence OriginalAttributesSequence
    """.split()  # noqa: SIM905

STUDY_KEYWORDS = frozenset(
    """
    StudyInstanceUID StudyDate StudyTime StudyID StudyDescription AccessionNumber
    IssuerOfAccessionNumberSequence ReferringPhysicianName ReferringPhysicianAddress
    ReferringPhysicianTelephoneNumbers ReferringPhysicianIdentificationSequence ConsultingPhysicianName
    ConsultingPhysicianIdentificationSequence PhysiciansOfRecord PhysiciansOfRecordIdentificationSequence
    NameOfPhysiciansReadingStudy PhysiciansReadingStudyIdentificationSequence RequestingServiceCodeSequence
    ReferencedStudySequence ProcedureCodeSequence ReasonForPerformedProcedureCodeSequence
    AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence ReferencedPerformedProcedureStepSequence
    ReferencedVisitSequence StudyComments StudyStatusID
    PerformedProcedureStepID PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedProcedureStepDescription
    PerformedProtocolCodeSequence PerformedStationAETitle PerformedStationName PerformedLocation
    PerformedProcedureStepStatus PerformedProcedureTypeDescription CommentsOnThePerformedProcedureStep
    RequestAttributesSequence ScheduledStepAttributesSequence RequestedProcedureID
    FillerOrderNumberImagingServiceRequest PlacerOrderNumberImagingServiceRequest
    """.split()  # noqa: SIM905
)
_STUDY_GROUPS = ((0x0032, 0x0032),)

_PATIENT_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")  # type 2 (PS3.3 C.7.1.1)
_STUDY_EMPTY = ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")  # type 2 (C.7.2.1)


@dataclass
class Identity:
    """Patient and study that an image is vouched to belong to.

    Attributes
    ----------
    patient, study : int
        Digests; 0 where lost.
    attrs : pydicom.Dataset
        Elements of the image's attrs.
    known_uid : str
        Study Instance UID; empty where the study is lost.
    """

    patient: int
    study: int
    attrs: pydicom.Dataset
    known_uid: str

    @cached_property
    def study_uid(self) -> str:
        """Study Instance UID of the files to be written; a new one where the study is lost."""
        return self.known_uid or new_uid("study")

    def holds(self, header: pydicom.Dataset) -> bool:
        """Whether a header is of this patient and this study."""
        return bool(self.patient and self.study) and self.patient == _patient(header) and self.study == _study(header)

    def trusts(self, header: pydicom.Dataset) -> bool:
        """Whether other elements of a header may be used: it is of no other patient than this one."""
        return not self.patient or self.patient == _patient(header)

    def apply(self, ds: pydicom.Dataset, own: pydicom.Dataset | None) -> None:
        """Give a derived header its patient and study.

        Parameters
        ----------
        ds : pydicom.Dataset
            To change; made from `own` or from the attrs.
        own : pydicom.Dataset, optional
            The image's own header, of which a copy became `ds`.
        """
        if not self.patient:
            forget_patient(ds)
        elif own is not None and self.patient != _patient(own):
            forget_patient(ds)
            _copy_patient(self.attrs, ds)
        if not self.study:
            forget_study(ds)
        elif own is not None and self.study != _study(own):
            forget_study(ds)
            _copy_study(self.attrs, ds)
        ds.StudyInstanceUID = self.study_uid
        for keyword in (*_PATIENT_EMPTY, *_STUDY_EMPTY):
            if keyword not in ds:
                put(ds, keyword, "")


def _elements(header: pydicom.Dataset) -> dict[str, Any]:
    return {k: header.get(k) for k in (*PATIENT_KEYS, "StudyInstanceUID")}


def _patient(header: pydicom.Dataset) -> int:
    return patient_digest(_elements(header))


def _study(header: pydicom.Dataset) -> int:
    return study_digest(_elements(header))


def _label(image: xr.DataArray, name: str) -> int:
    """Value of a scalar digest coord; 0 where it is missing, an array, or averaged."""
    if name not in image.coords or image.coords[name].ndim:
        return 0
    value = image.coords[name].values.item()
    return int(value) if value == value and int(value) == value else 0


def identity_of(
    image: xr.DataArray, attrs: pydicom.Dataset, plain: Mapping[str, Any], lineage: set[tuple[int, int]]
) -> Identity:
    """Identity of an image; what is lost is said in a warning.

    Parameters
    ----------
    image : xarray.DataArray
    attrs : pydicom.Dataset
        Elements made from the attrs.
    plain : mapping
        The attrs themselves, of which the labels are digests.
    lineage : set of (int, int)
        Patient and study that each image's own header names: others than the labels' make those unbelievable, unless
        they were assigned on purpose.
    """
    patient, study = _label(image, "patient"), _label(image, "study")
    words = plain.get(ASSIGNED, [])
    assigned = {words} if isinstance(words, str) else set(words)
    if patient != patient_digest(plain):
        patient = 0
    if not assigned & set(PATIENT_KEYS) and any(p != patient for p, _ in lineage):
        patient = 0
    if "StudyInstanceUID" not in assigned and any(s != study for _, s in lineage):
        study = 0
    if not patient or study != study_digest(plain):
        study = 0
    if not patient:
        warn(
            "the patient of this image is not known for certain (it comes from several patients or no file, or its "
            "label 'patient' was dropped): elements of patient and study are left empty, and the study is a new one. "
            "assign_header(template) says whose it is"
        )
    elif not study:
        warn(
            "the study of this image is not known for certain (it comes from several studies, or its label 'study' was "
            "dropped): the files get a new study of the same patient. assign_header(template) names a known one"
        )
    uid = str(attrs.get("StudyInstanceUID", "") or "") if study else ""
    return Identity(patient, study, attrs, uid)


def forget_patient(ds: pydicom.Dataset) -> None:
    """Remove everything about the patient, and with it about the study, at every depth (PS3.3 C.7.1, C.7.2.2)."""
    for part in _with_items(ds):
        for first, last in _PATIENT_GROUPS:
            drop_groups(part, first, last)
        drop(part, _PATIENT_ELSEWHERE)
    forget_study(ds)


def forget_study(ds: pydicom.Dataset) -> None:
    """Remove everything about the study, at every depth (PS3.3 C.7.2.1, C.4.13 and the like)."""
    for part in _with_items(ds):
        drop(part, STUDY_KEYWORDS)
        for first, last in _STUDY_GROUPS:
            drop_groups(part, first, last)


def _with_items(ds: pydicom.Dataset) -> list[pydicom.Dataset]:
    """Return a Dataset and all items of its sequences, however deep; decodes what it meets."""
    found = [ds]
    for element in ds:
        if element.VR == "SQ":
            for item in element.value or []:
                found += _with_items(item)
    return found


def _copy_patient(source: pydicom.Dataset, ds: pydicom.Dataset) -> None:
    for element in source:
        if any(first <= element.tag.group <= last for first, last in _PATIENT_GROUPS):
            ds[element.tag] = element
    _copy_study(source, ds)


def _copy_study(source: pydicom.Dataset, ds: pydicom.Dataset) -> None:
    for element in source:
        if element.keyword in STUDY_KEYWORDS or any(a <= element.tag.group <= b for a, b in _STUDY_GROUPS):
            ds[element.tag] = element

"""The store of DICOM archives: ``dicom://host:port/AET/patient/study/series``."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset
from pydicom.uid import UID

from ...errors import SourceError
from ..files import File, local
from ..registry import StorageOptions
from .address import FORM, SCHEMES, Address, parse
from .association import pynetdicom
from .query import Series, ask, finding, images_of, series_of
from .retrieve import fetch, paths_of
from .send import ArchiveSink, send
from .settings import Settings, settings_for


class Dimse:
    """Archives of images that speak DIMSE: C-FIND, C-GET or C-MOVE, and C-STORE."""

    schemes = tuple(SCHEMES)
    forms = (FORM,)
    identified = True

    def find(self, url: str, storage_options: StorageOptions) -> list[File]:
        """Fetch the series of an address, as far as they are not here; their files are local ones."""
        address, settings = connection(url, storage_options)
        return [File(local(), path) for path in paths_of(fetch(address, settings), address.image)]

    def name(self, url: str) -> str:
        """Address without the patient where the study says it too."""
        address = parse(url)
        return address.below("" if address.study else address.patient, address.study, address.series, address.image)

    def listing(self, url: str, storage_options: StorageOptions, identifiers: bool) -> list[dict[str, Any]]:
        """List what is directly below an address; see `listing`."""
        return listing(url, storage_options, identifiers)

    def sink(self, url: str, overwrite: bool, storage_options: StorageOptions) -> ArchiveSink:
        """Begin to send; the address names the archive, and images are filed by their headers."""
        return ArchiveSink(*connection(url, storage_options), send)


def connection(url: str, storage_options: StorageOptions) -> tuple[Address, Settings]:
    """Address and settings of a connection; pynetdicom is there."""
    pynetdicom()
    address = parse(url)
    fixed = {"tls": True} if address.tls else {}
    settings = settings_for(f"{address.host}:{address.port}", storage_options, **fixed)
    if settings.lazy:
        raise SourceError("lazy=True is for dicomweb addresses: DIMSE sends images whole")
    return address, settings


def listing(url: str, storage_options: StorageOptions = None, identifiers: bool = False) -> list[dict[str, Any]]:
    """What an archive holds directly below an address; nothing is fetched.

    Parameters
    ----------
    url : str
        Of the archive (its patients), a patient (studies), a study (series) or a series (images).
    storage_options : mapping, optional
    identifiers : bool
        Whether names, IDs, dates and UIDs are told; addresses hold UIDs, and are told always but for patients.

    Returns
    -------
    list of dict
        ``level``, ``address``, ``text`` and ``count``.
    """
    address, settings = connection(url, storage_options)
    with finding(address, settings) as assoc:
        if not address.patient and not address.study:
            return [_patient(address, row, identifiers) for row in ask(assoc, "PATIENT", {})]
        if not address.study:
            keys = {"PatientID": address.patient}
            return [_study(address, row, identifiers) for row in ask(assoc, "STUDY", keys)]
        found = series_of(assoc, address)
        if not address.series:
            return [_line_of(address, series) for series in found]
        return [
            {"level": "image", "address": address.below("", s.study, s.uid, uid), "text": UID(kind).name, "count": 1}
            for s in found
            for uid, kind in images_of(assoc, s).items()
        ]


def _patient(address: Address, row: Dataset, identifiers: bool) -> dict[str, Any]:
    known = str(row.get("PatientID", "") or "")
    where = address.below(known) if identifiers else address.below("***")
    text = str(row.get("PatientName", "") or "") if identifiers else "***"
    return {"level": "patient", "address": where, "text": text, "count": _count(row, "NumberOfPatientRelatedStudies")}


def _study(address: Address, row: Dataset, identifiers: bool) -> dict[str, Any]:
    modalities = row.get("ModalitiesInStudy", "") or ""
    parts = [
        modalities if isinstance(modalities, str) else " ".join(modalities),
        str(row.get("StudyDescription", "") or ""),
    ]
    if identifiers:
        parts.insert(0, str(row.get("StudyDate", "") or ""))
    where = address.below("", str(row.get("StudyInstanceUID", "")))
    text = " ".join(part for part in parts if part)
    return {"level": "study", "address": where, "text": text, "count": _count(row, "NumberOfStudyRelatedInstances")}


def _line_of(address: Address, series: Series) -> dict[str, Any]:
    text = " ".join(part for part in (series.number, series.modality, series.description) if part)
    where = address.below("", series.study, series.uid)
    return {"level": "series", "address": where, "text": text, "count": series.count}


def _count(row: Dataset, keyword: str) -> int | None:
    value = row.get(keyword)
    return None if value in (None, "") else int(value)

"""What an archive holds, by C-FIND (PS3.4 annex C), and which study and series an address means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pydicom

from ...errors import NotFoundError, SourceError, warn
from .address import Address, is_number
from .association import associated, comment, context, status_of
from .settings import Settings

if TYPE_CHECKING:
    from pynetdicom.association import Association

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"

KEYS = {
    "PATIENT": ("PatientID", "PatientName", "NumberOfPatientRelatedStudies"),
    "STUDY": ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "StudyDate", "StudyTime",
              "StudyDescription", "StudyID", "ModalitiesInStudy", "NumberOfStudyRelatedInstances"),
    "SERIES": ("SeriesInstanceUID", "SeriesNumber", "Modality", "SeriesDescription",
               "NumberOfSeriesRelatedInstances"),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}  # fmt: skip
"""What is asked at each level."""


@dataclass(frozen=True)
class Series:
    """A series of an archive.

    Attributes
    ----------
    study, uid : str
        UIDs of its study and of itself.
    number : str
        Series number; empty where unknown.
    modality, description : str
    count : int or None
        Images, as the archive says.
    """

    study: str
    uid: str
    number: str = ""
    modality: str = ""
    description: str = ""
    count: int | None = None


def finding(address: Address, settings: Settings) -> Any:
    """Associate for questions."""
    return associated(address, settings, [context(STUDY_ROOT_FIND), context(PATIENT_ROOT_FIND)])


def ask(assoc: Association, level: str, keys: dict[str, str]) -> list[pydicom.Dataset]:
    """Ask for everything at a level that matches.

    Parameters
    ----------
    assoc : Association
    level : str
        ``PATIENT``, ``STUDY``, ``SERIES`` or ``IMAGE``.
    keys : dict
        Values to match; every key of the levels above has to be among them.

    Raises
    ------
    SourceError
        The archive fails, or answers no questions.
    """
    query = pydicom.Dataset()
    query.QueryRetrieveLevel = level
    with pydicom.config.disable_value_validation():  # whose warnings would show the values
        for keyword in (*KEYS[level], *keys):
            setattr(query, keyword, keys.get(keyword, ""))
    if any(not value.isascii() for value in keys.values()):
        query.SpecificCharacterSet = "ISO_IR 192"
    model = PATIENT_ROOT_FIND if level == "PATIENT" else STUDY_ROOT_FIND
    if not any(c.abstract_syntax == model for c in assoc.accepted_contexts):
        raise SourceError(f"the archive {assoc.acceptor.ae_title!r} answers no questions (C-FIND is not accepted)")
    found: list[pydicom.Dataset] = []
    last: Any = None
    for last, identifier in assoc.send_c_find(query, model):
        code = status_of(last)
        if code in (0xFF00, 0xFF01) and identifier is not None:
            found.append(_decoded(identifier))
    if status_of(last) != 0x0000:
        raise SourceError(f"the archive {assoc.acceptor.ae_title!r} fails to answer a question: {comment(last)}")
    return found


def _decoded(row: pydicom.Dataset) -> pydicom.Dataset:
    """Decode an answer, without a warning that shows its values; what can't be decoded is as if it was not told."""
    with pydicom.config.disable_value_validation():
        for tag in list(row.keys()):
            try:
                row[tag]
            except (ValueError, TypeError, NotImplementedError, LookupError):
                del row[tag]
    return row


def series_of(assoc: Association, address: Address) -> list[Series]:
    """Series that an address means.

    Raises
    ------
    NotFoundError
        There is none.
    SourceError
        The accession or series number means several; they are listed.
    """
    studies = _studies(assoc, address)
    found: list[Series] = []
    for study in studies:
        keys = {"StudyInstanceUID": study}
        if address.series_is_uid:
            keys["SeriesInstanceUID"] = address.series
        rows = ask(assoc, "SERIES", keys)
        found += [_series(study, row) for row in rows]
    if address.series and not address.series_is_uid:
        found = numbered(found, address.series)
    if not found:
        raise NotFoundError(f"{address.server} holds no such {'series' if address.series else 'study or series'}")
    return found


def numbered(found: list[Series], number: str) -> list[Series]:
    """The one series of a number.

    Raises
    ------
    NotFoundError
        There is none.
    SourceError
        There are several; they are listed.
    """
    # by number here, since archives differ in how they match numbers such as 7 and 007
    chosen = [s for s in found if is_number(s.number) and int(s.number) == int(number)]
    if len(chosen) > 1:
        uids = ", ".join(f"{s.uid} ({s.modality}, {s.count} images)" for s in chosen[:10])
        raise SourceError(f"{len(chosen)} series have the number {number}; name one by its UID: {uids}")
    if not chosen:
        numbers = ", ".join(sorted({s.number or "none" for s in found}, key=lambda n: (len(n), n)))
        raise NotFoundError(f"no series has the number {number}; there are {numbers or 'none'}")
    return chosen


def _studies(assoc: Association, address: Address) -> list[str]:
    """UIDs of the studies that an address means."""
    keys: dict[str, str] = {}
    if address.patient:
        keys["PatientID"] = address.patient
    if address.study_is_uid:
        keys["StudyInstanceUID"] = address.study
    elif address.study:
        keys["AccessionNumber"] = address.study
    if not keys:
        raise SourceError(
            f"{address.server} is a whole archive: name a patient, a study or an accession number (imd ls lists them)"
        )
    rows = _told(address, ask(assoc, "STUDY", keys), keys)
    if not rows and address.study_is_uid:  # accession numbers may have the form of a UID
        keys["AccessionNumber"] = keys.pop("StudyInstanceUID")
        rows = _told(address, ask(assoc, "STUDY", keys), keys)
    uids = list(dict.fromkeys(str(r.StudyInstanceUID) for r in rows if "StudyInstanceUID" in r))
    if "AccessionNumber" in keys and len(uids) > 1:
        raise SourceError(
            f"{len(uids)} studies have this accession number; name one by its UID: {', '.join(sorted(uids)[:10])}"
        )
    if not uids:
        what = "study" if address.study else "patient"
        raise NotFoundError(f"{address.server} holds no such {what}")
    return uids


def _told(address: Address, rows: list[pydicom.Dataset], keys: dict[str, str]) -> list[pydicom.Dataset]:
    """Rows that are what was asked for: some archives match parts of an ID, or pass over keys they do not know."""
    told = [{k: str(row.get(k, "") or "") for k in keys} for row in rows]
    return [row for row, right in zip(rows, exact(address.server, told, keys), strict=True) if right]


def exact(server: str, told: Sequence[Mapping[str, str]], keys: Mapping[str, str]) -> list[bool]:
    """Whether each answer is what was asked for.

    Raises
    ------
    SourceError
        No answer is, and some do not tell what was asked for.
    """
    right = [all(row[k].strip() == v.strip() for k, v in keys.items()) for row in told]
    silent = sorted({k for row in told for k, v in keys.items() if not row[k] and v})
    if silent and not any(right):
        raise SourceError(
            f"{server} answers without telling {' and '.join(silent)}, so that what is meant can't be told: name the "
            "study by its UID, and leave the patient out"
        )
    return right


def _series(study: str, row: pydicom.Dataset) -> Series:
    count = row.get("NumberOfSeriesRelatedInstances")
    return Series(
        study,
        str(row.get("SeriesInstanceUID", "")),
        str(row.get("SeriesNumber", "") or ""),
        str(row.get("Modality", "") or ""),
        str(row.get("SeriesDescription", "") or ""),
        None if count in (None, "") else int(count),
    )


def images_of(assoc: Association, series: Series) -> dict[str, str]:
    """SOP Instance UID and class of each image of a series; the class is empty where the archive does not tell it."""
    rows = ask(assoc, "IMAGE", {"StudyInstanceUID": series.study, "SeriesInstanceUID": series.uid})
    return {str(r.SOPInstanceUID): str(r.get("SOPClassUID", "") or "") for r in rows if "SOPInstanceUID" in r}


def warn_if_short(server: str, series: Series, there: int) -> None:
    """Warn where an archive counts more images than it has given."""
    if series.count is not None and there < series.count:
        warn(
            f"{server} counts {series.count} images in a series, and lists {there}: some may be missing. It may limit "
            "the number of its answers, or count what it does not give"
        )


def held_already(assoc: Association, uids: Iterable[tuple[str, str, str]]) -> set[str]:
    """Which of some images, as (study, series, image), the archive holds."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for study, series, image in uids:
        wanted.setdefault((study, series), set()).add(image)
    found: set[str] = set()
    for (study, series), images in wanted.items():
        found |= images & set(images_of(assoc, Series(study, series)))
    return found


def listed_now(assoc: Association, images: Sequence[Any]) -> set[str]:
    """Which of some images the archive lists; one by one where it limits the number of its answers."""
    found = held_already(assoc, [(i.study, i.series, i.uid) for i in images])
    for image in images:
        if image.uid not in found:
            keys = {"StudyInstanceUID": image.study, "SeriesInstanceUID": image.series, "SOPInstanceUID": image.uid}
            found |= {str(row.get("SOPInstanceUID", "")) for row in ask(assoc, "IMAGE", keys)} & {image.uid}
    return found

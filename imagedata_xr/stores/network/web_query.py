"""Which series an address of DICOMweb means, and which images it has (QIDO-RS, PS3.18 section 10.6)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ...errors import NotFoundError, SourceError
from .address import is_uid
from .query import Series, exact, numbered
from .web_address import WebAddress
from .web_client import Client, value

FIELDS = ("StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedInstances")
_SERIES = ("SeriesNumber", "SeriesDescription", "Modality", "NumberOfSeriesRelatedInstances")


def series_of(client: Client, address: WebAddress) -> list[Series]:
    """Series that an address means.

    Raises
    ------
    NotFoundError
        There is none.
    SourceError
        The accession or series number means several; they are listed.
    """
    found: list[Series] = []
    for study in _studies(client, address):
        keys = {"SeriesInstanceUID": address.series} if is_uid(address.series) else {}
        rows = client.ask(f"/studies/{study}/series", keys, _SERIES, count=1 if keys else None)
        found += [_series(study, row) for row in rows]
    if address.series and is_uid(address.series):
        found = [s for s in found if s.uid == address.series]
    elif address.series:
        found = numbered(found, address.series)
    if not found:
        raise NotFoundError(f"{address.server} holds no such {'series' if address.series else 'study or series'}")
    return found


def _series(study: str, row: dict[str, object]) -> Series:
    count = value(row, "00201209")
    return Series(
        study, value(row, "0020000E"), value(row, "00200011"), value(row, "00080060"), value(row, "0008103E"),
        int(count) if count.isdigit() else None,
    )  # fmt: skip


def _studies(client: Client, address: WebAddress) -> list[str]:
    keys = {"PatientID": address.patient} if address.patient else {}
    if is_uid(address.study):
        keys["StudyInstanceUID"] = address.study
    elif address.study:
        keys["AccessionNumber"] = address.study
    if not keys:
        raise SourceError(
            f"{address.server} is a whole archive: name a study, an accession number or a patient (imd ls lists them)"
        )
    rows = _told(client, keys)
    if not rows and "StudyInstanceUID" in keys:  # accession numbers may have the form of a UID
        keys["AccessionNumber"] = keys.pop("StudyInstanceUID")
        rows = _told(client, keys)
    uids = list(dict.fromkeys(value(row, "0020000D") for row in rows))
    if "AccessionNumber" in keys and len(uids) > 1:
        raise SourceError(
            f"{len(uids)} studies have this accession number; name one by its UID: {', '.join(sorted(uids)[:10])}"
        )
    if not uids:
        raise NotFoundError(f"{address.server} holds no such {'study' if address.study else 'patient'}")
    return [quote(uid, safe=".") for uid in uids]


def _told(client: Client, keys: dict[str, str]) -> list[dict[str, Any]]:
    """Studies that are what was asked for: some services match parts, or pass over keys they do not know."""
    tags = {"PatientID": "00100020", "StudyInstanceUID": "0020000D", "AccessionNumber": "00080050"}
    rows = client.ask("/studies", keys, FIELDS, count=1 if "StudyInstanceUID" in keys else None)
    told = [{k: value(row, tags[k]) for k in keys} for row in rows]
    return [row for row, right in zip(rows, exact(client.address.server, told, keys), strict=True) if right]


def images_of(client: Client, series: Series) -> dict[str, str]:
    """SOP Instance UID and class of each image of a series."""
    rows = client.ask(f"/studies/{series.study}/series/{series.uid}/instances", {}, (), series.count)
    return {value(row, "00080018"): value(row, "00080016") for row in rows if value(row, "00080018")}

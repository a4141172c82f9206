"""The store of DICOMweb: ``dicomweb+https://host/path/studies/UID/series/UID``."""

from __future__ import annotations

from typing import Any

from pydicom.uid import UID

from ..files import File, local
from ..registry import StorageOptions
from .retrieve import paths_of
from .send import ArchiveSink
from .settings import Settings, settings_for
from .web_address import FORM, SCHEMES, WebAddress, parse
from .web_client import Client, value, values
from .web_files import lazy_files
from .web_query import FIELDS, images_of, series_of
from .web_retrieve import fetch
from .web_send import send


class DicomWeb:
    """Archives of images that speak DICOMweb: QIDO-RS, WADO-RS and STOW-RS."""

    schemes = tuple(SCHEMES)
    forms = (FORM,)
    identified = True

    def find(self, url: str, storage_options: StorageOptions) -> list[File]:
        """Fetch the series of an address, as far as they are not here; their files are local ones."""
        address, settings = connection(url, storage_options)
        if settings.lazy:
            return lazy_files(address, settings)
        return [File(local(), path) for path in paths_of(fetch(address, settings), address.image)]

    def name(self, url: str) -> str:
        """Address without the patient where the study says it too."""
        address = parse(url)
        return address.below("" if address.study else address.patient, address.study, address.series, address.image)

    def listing(self, url: str, storage_options: StorageOptions, identifiers: bool) -> list[dict[str, Any]]:
        """List what is directly below an address: studies of the service or a patient, series, images."""
        address, settings = connection(url, storage_options)
        with Client(address, settings) as client:
            if not address.study:
                keys = {"PatientID": address.patient} if address.patient else {}
                rows = client.ask("/studies", keys, FIELDS)
                return [_study(address, row, identifiers) for row in rows]
            found = series_of(client, address)
            if not address.series:
                return [
                    {"level": "series", "address": address.below("", s.study, s.uid), "count": s.count,
                     "text": " ".join(p for p in (s.number, s.modality, s.description) if p)}
                    for s in found
                ]  # fmt: skip
            return [
                {
                    "level": "image",
                    "address": address.below("", s.study, s.uid, uid),
                    "text": UID(kind).name,
                    "count": 1,
                }
                for s in found
                for uid, kind in images_of(client, s).items()
            ]

    def sink(self, url: str, overwrite: bool, storage_options: StorageOptions) -> ArchiveSink:
        """Begin to send; the address names the service, and images are filed by their headers."""
        address, settings = connection(url, storage_options)
        return ArchiveSink(address, settings, send)


def connection(url: str, storage_options: StorageOptions) -> tuple[WebAddress, Settings]:
    """Address and settings of a connection."""
    address = parse(url)
    return address, settings_for(address.host, storage_options)


def _study(address: WebAddress, row: dict[str, Any], identifiers: bool) -> dict[str, Any]:
    parts = [" ".join(values(row, "00080061")), value(row, "00081030")]
    if identifiers:
        parts[:0] = [value(row, "00100020"), value(row, "00100010"), value(row, "00080020")]
    count = value(row, "00201208")
    return {
        "level": "study",
        "address": address.below("", value(row, "0020000D")),
        "text": " ".join(part for part in parts if part),
        "count": int(count) if count.isdigit() else None,
    }

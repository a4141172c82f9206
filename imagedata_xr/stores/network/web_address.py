"""Addresses of DICOMweb: ``dicomweb+https://host/path/studies/UID/series/UID``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from ...errors import SourceError
from .address import is_number, is_uid

FORM = (
    "dicomweb+https://host/path[/patients/ID][/studies/UID or accession number[/series/UID or number[/instances/UID]]]"
)
SCHEMES = {"dicomweb+https": "https", "dicomweb+http": "http"}


@dataclass(frozen=True)
class WebAddress:
    """What an address says; parts that it leaves out are empty.

    Attributes
    ----------
    base : str
        URL of the service, such as ``https://host/dicom-web``.
    patient : str
        Patient ID.
    study : str
        Study Instance UID, or an accession number.
    series : str
        Series Instance UID, or a series number.
    image : str
        SOP Instance UID.
    """

    base: str
    patient: str = ""
    study: str = ""
    series: str = ""
    image: str = ""

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.base).netloc

    @property
    def server(self) -> str:
        """Address of the service itself."""
        return f"dicomweb+{self.base}"

    def below(self, patient: str = "", study: str = "", series: str = "", image: str = "") -> str:
        """Address of something in the archive."""
        named = {"patients": patient, "studies": study, "series": series, "instances": image}
        return "/".join([self.server, *(f"{k}/{quote(v, safe='')}" for k, v in named.items() if v)])


def parse(url: str) -> WebAddress:
    """Parse an address.

    Raises
    ------
    SourceError
        It is not of the form `FORM`; the text does not repeat what may name a patient.
    """
    scheme, _, rest = url.partition("://")
    try:
        found = urlsplit(f"{SCHEMES.get(scheme.lower(), 'none')}://{rest}")
        host, _ = found.hostname, found.port
    except ValueError as error:
        raise SourceError(f"an address of DICOMweb has the form {FORM}: {error}") from None
    if scheme.lower() not in SCHEMES or not host:
        raise SourceError(f"an address of DICOMweb has the form {FORM}")
    if found.username or found.password:
        raise SourceError(
            "an address of DICOMweb holds no user or password: give them as storage_options, in the environment, or in "
            "the file of settings"
        )
    if found.query or found.fragment:
        raise SourceError(f"an address of DICOMweb has the form {FORM}; ? and # in a part are %3F and %23")
    parts = [p for p in found.path.split("/") if p]
    words = ("patients", "studies", "series", "instances")
    first = next((k for k, p in enumerate(parts) if p in words), len(parts))
    base = "/".join([f"{found.scheme}://{found.netloc}", *parts[:first]])
    below = parts[first:]
    named = dict(zip(below[::2], (unquote(p) for p in below[1::2]), strict=False))
    order = [words.index(k) if k in words else -1 for k in below[::2]]
    if len(below) % 2 or -1 in order or order != sorted(set(order)):
        raise SourceError(f"an address of DICOMweb has the form {FORM}")
    address = WebAddress(base, *(named.get(word, "") for word in words))
    if address.series and not address.study:
        raise SourceError(f"an address of DICOMweb has the form {FORM}: a series needs its study")
    if address.series and not is_number(address.series) and not is_uid(address.series):
        raise SourceError("the series is neither a UID nor a series number")
    if address.image and not (is_uid(address.image) and address.series):
        raise SourceError("an image is named by its UID, below its study and series")
    if any(c in part for part in (address.patient, address.study) for c in "*?\\"):
        raise SourceError("wildcards in the address of an archive are not possible: leave the part out for all")
    return address

"""Addresses of what an archive holds: ``dicom://host:port/AET/patient/study/series``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from ...errors import SourceError

FORM = "dicom://host:port/AET[/patient[/study or accession number[/series or its number[/image]]]]"
SCHEMES = {"dicom": False, "dicom+tls": True}
"""Schemes, and whether they mean an encrypted connection."""

_NUMBER = re.compile(r"\s*[-+]?[0-9]{1,11}\s*")
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


@dataclass(frozen=True)
class Address:
    """What an address says; parts that it leaves out are empty.

    Attributes
    ----------
    host : str
    port : int
    aet : str
        Application entity title of the archive.
    patient : str
        Patient ID.
    study : str
        Study Instance UID, or an accession number.
    series : str
        Series Instance UID, or a series number.
    image : str
        SOP Instance UID.
    tls : bool
        Whether the scheme demands an encrypted connection.
    """

    host: str
    port: int
    aet: str
    patient: str = ""
    study: str = ""
    series: str = ""
    image: str = ""
    tls: bool = False

    @property
    def server(self) -> str:
        """Address of the archive itself."""
        scheme = "dicom+tls" if self.tls else "dicom"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}/{quote(self.aet, safe='')}"

    def below(self, patient: str = "", study: str = "", series: str = "", image: str = "") -> str:
        """Address of something in the archive; trailing parts that are empty are left out."""
        parts = [patient, study, series, image]
        while parts and not parts[-1]:
            parts.pop()
        return "/".join([self.server, *(quote(part, safe="") for part in parts)])

    @property
    def study_is_uid(self) -> bool:
        """Whether the study is named by its UID; all else, also plain digits, is an accession number."""
        return is_uid(self.study)

    @property
    def series_is_uid(self) -> bool:
        """Whether the series is named by its UID; plain digits are a series number."""
        return is_uid(self.series)


def is_uid(text: str) -> bool:
    """Whether a text has the form of a UID with more than one component."""
    return _UID.fullmatch(text) is not None and len(text) <= 64


def is_number(text: str) -> bool:
    """Whether a text is a number of a series (VR IS), which may be negative."""
    return _NUMBER.fullmatch(text) is not None


def parse(url: str) -> Address:
    """Parse an address.

    Raises
    ------
    SourceError
        It is not of the form `FORM`; the text does not repeat what may name a patient.
    """
    scheme = url.partition("://")[0].lower()
    try:
        found = urlsplit(url)
        host, port = found.hostname, found.port
    except ValueError as error:
        raise SourceError(f"the address of an archive has the form {FORM}: {error}") from None
    if scheme not in SCHEMES or not host or port is None:
        raise SourceError(f"the address of an archive has the form {FORM}: host and port are needed")
    if found.username or found.password:
        raise SourceError(
            "the address of an archive holds no user or password: give them as storage_options, in the environment, or "
            "in the file of settings"
        )
    if found.query or found.fragment:
        raise SourceError(
            f"the address of an archive has the form {FORM}; ? and # in a part are written as %3F and %23"
        )
    parts = [unquote(part) for part in found.path.removeprefix("/").split("/")]
    if parts and parts[-1] == "":
        parts.pop()
    if not parts or not parts[0].strip():
        raise SourceError(f"the address of an archive has the form {FORM}: its application entity title is missing")
    if len(parts) > 5:
        raise SourceError(
            f"the address of an archive has the form {FORM}: {len(parts)} parts after the port are too many"
        )
    if len(parts[0].strip()) > 16:
        raise SourceError("an application entity title has at most 16 characters")
    aet, patient, study, series, image = [*parts, "", "", "", ""][:5]
    if any(c in part for part in (patient, study, series) for c in "*?\\"):
        raise SourceError("wildcards in the address of an archive are not possible: leave the part empty for all")
    if series and not is_number(series) and not is_uid(series):
        raise SourceError("the series is neither a UID nor a series number")
    if series and not study:
        raise SourceError(f"the address of an archive has the form {FORM}: a series needs its study")
    if image and not (is_uid(image) and series):
        raise SourceError("an image is named by its UID, below its study and series")
    return Address(host, port, aet.strip(), patient, study, series.strip(), image, SCHEMES[scheme])

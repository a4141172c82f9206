"""Addresses of XNAT: ``xnat://host/project/subject/experiment/scan/resource``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from ....errors import SourceError

FORM = "xnat://host[:port]/project[/subject[/experiment[/scan[/resource[/path of a file]]]]]"
SCHEMES = {"xnat": "https", "xnat+http": "http"}
LEVELS = ("project", "subject", "experiment", "scan", "resource")


@dataclass(frozen=True)
class XnatAddress:
    """What an address says; parts that it leaves out are empty.

    Attributes
    ----------
    scheme : str
        ``xnat``, or ``xnat+http`` for a connection that is not encrypted.
    host : str
        Host, and port where one is given.
    project : str
        ID.
    subject, experiment : str
        ID or label.
    scan : str
        ID, else type, else series description.
    resource : str
        Label or ID.
    path : str
        File or folder in the resource.
    """

    scheme: str
    host: str
    project: str = ""
    subject: str = ""
    experiment: str = ""
    scan: str = ""
    resource: str = ""
    path: str = ""

    @property
    def server(self) -> str:
        """Address of the server itself."""
        return f"{self.scheme}://{self.host}"

    def below(self, *parts: str) -> str:
        """Address of something on the server, such as ``below(project, subject)``; the last part may be a path."""
        quoted = [quote(part, safe="/" if k >= len(LEVELS) else "") for k, part in enumerate(parts)]
        while quoted and not quoted[-1]:
            quoted.pop()
        return "/".join([self.server, *quoted])

    @property
    def named(self) -> str:
        """Address without the subject where the experiment says it too."""
        subject = "" if self.experiment else self.subject
        return self.below(self.project, subject, self.experiment, self.scan, self.resource, self.path)


def parse(url: str) -> XnatAddress:
    """Parse an address.

    Raises
    ------
    SourceError
        It is not of the form `FORM`; the text does not repeat what may name a patient.
    """
    try:
        found = urlsplit(url)
        host, _ = found.hostname, found.port
    except ValueError as error:
        raise SourceError(f"an address of XNAT has the form {FORM}: {error}") from None
    if found.scheme not in SCHEMES or not host:
        raise SourceError(f"an address of XNAT has the form {FORM}")
    if found.username is not None or found.password is not None:
        raise SourceError(
            "an address of XNAT holds no user or password: give them as storage_options, in the environment, in "
            "~/.netrc, or in the file of settings"
        )
    if found.query or found.fragment:
        raise SourceError(f"an address of XNAT has the form {FORM}; ? and # in a part are written as %3F and %23")
    parts = [unquote(part) for part in found.path.removeprefix("/").rstrip("/").split("/")]
    parts = parts if any(parts) else []
    if any(part in (".", "..") or "/" in part or "\\" in part or not part.isprintable() for part in parts):
        raise SourceError(f"an address of XNAT has the form {FORM}, without '.', '..' and control characters")
    fixed = [*parts[: len(LEVELS)], *[""] * len(LEVELS)][: len(LEVELS)]
    project, subject, experiment, scan, resource = fixed
    path = "/".join(part for part in parts[len(LEVELS) :] if part)
    address = XnatAddress(found.scheme, found.netloc.lower(), project, subject, experiment, scan, resource, path)
    given = [bool(part) for part in (*fixed, address.path)]
    without_subject = [given[0], *given[2:]]
    if without_subject != sorted(without_subject, reverse=True) or (address.subject and not address.project):
        raise SourceError(f"an address of XNAT has the form {FORM}: of its parts only the subject may be left empty")
    return address

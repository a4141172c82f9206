"""What an address of XNAT means: scans, their resources and files, by listings alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote

from ....errors import NotFoundError, SourceError
from .address import XnatAddress
from .client import Client

_SCANS = "ID,type,series_description,quality,xsiType,frames"
_PICTURES = "SNAPSHOTS"
"""Resource with pictures that the server makes of a scan."""
_LISTED = 4
"""Listings that are asked for at once."""


@dataclass(frozen=True)
class Remote:
    """A file on the server.

    Attributes
    ----------
    name : str
        Path in its resource.
    size : int or None
        Bytes, as listed.
    digest : str
        MD5, as listed; empty where the site does not compute it.
    """

    name: str
    size: int | None
    digest: str


@dataclass(frozen=True)
class Resource:
    """A resource of a scan: its path below ``/data``, and files of it."""

    path: tuple[str, ...]
    files: tuple[Remote, ...]
    whole: bool


def experiment_path(client: Client, address: XnatAddress) -> tuple[str, ...]:
    """Path of an experiment below ``/data``; one that is named without its subject is looked up in its project."""
    if address.subject:
        return ("projects", address.project, "subjects", address.subject, "experiments", address.experiment)
    rows = client.rows(("projects", address.project, "experiments"), "ID,label")
    found = [row["ID"] for row in rows if address.experiment in (row.get("ID"), row.get("label"))]
    if not found:
        raise NotFoundError(
            f"{client.address.server}: the project shows {len(rows)} experiments, none of this ID or label "
            f"(imd ls lists them)"
        )
    if len(set(found)) > 1:
        raise SourceError(f"several experiments have this label; name one by its ID: {', '.join(sorted(set(found)))}")
    return ("experiments", found[0])


def scans_of(client: Client, experiment: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of the scans of an experiment."""
    return client.rows((*experiment, "scans"), _SCANS)


def chosen(rows: Sequence[dict[str, str]], scan: str, server: str) -> dict[str, str]:
    """Scan of an ID, else of a type, else of a series description.

    Raises
    ------
    NotFoundError
        There is none.
    SourceError
        There are several; they are listed.
    """
    for key in ("ID", "type", "series_description"):
        found = [row for row in rows if row.get(key) == scan]
        if len(found) > 1:
            listed = ", ".join(sorted(row["ID"] for row in found))
            raise SourceError(f"{server}: {len(found)} scans have this {key}; name one by its ID: {listed}")
        if found:
            return found[0]
    listed = ", ".join(row["ID"] for row in rows[:30]) or "none"
    raise NotFoundError(f"{server} holds no such scan in this experiment; there are {listed}")


def contents_of(client: Client, address: XnatAddress) -> list[Resource]:
    """Resources that an address means, with their files.

    Raises
    ------
    NotFoundError
        There is no such thing, or no file.
    SourceError
        A whole server or project, or a scan with several resources of which none is DICOM.
    """
    if not (address.subject or address.experiment):
        raise SourceError(
            f"{address.server}: name an experiment or a subject to read (imd ls {address.named} lists them)"
        )
    places = [place for experiment in _experiments(client, address) for place in _scans(client, address, experiment)]
    with ThreadPoolExecutor(_LISTED) as pool:
        found = [one for one in pool.map(lambda place: _resource(client, address, *place), places) if one is not None]
    if not any(one.files for one in found):
        raise NotFoundError(f"{address.server} lists no file of images there")
    return [one for one in found if one.files]


def _experiments(client: Client, address: XnatAddress) -> list[tuple[str, ...]]:
    if address.experiment:
        return [experiment_path(client, address)]
    subject = ("projects", address.project, "subjects", address.subject)
    rows = client.rows((*subject, "experiments"), "ID,label,xsiType")
    return [(*subject, "experiments", row["ID"]) for row in rows]


def _scans(client: Client, address: XnatAddress, experiment: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Paths of scans, and whether each was asked for by itself."""
    rows = scans_of(client, experiment)
    if address.scan:
        yield (*experiment, "scans", chosen(rows, address.scan, address.server)["ID"]), True
        return
    for row in rows:
        yield (*experiment, "scans", row["ID"]), False


def _resource(client: Client, address: XnatAddress, scan: tuple[str, ...], alone: bool) -> Resource | None:
    rows = client.rows((*scan, "resources"))
    row = _of_images(rows, address.resource, address.server, scan[-1], alone)
    if row is None:
        return None
    path = (*scan, "resources", row.get("xnat_abstractresource_id") or row["label"])
    files = files_of(client, path)
    if not address.path:
        return Resource(path, tuple(files), True)
    inside = tuple(f for f in files if f.name == address.path or f.name.startswith(f"{address.path}/"))
    if not inside:
        raise NotFoundError(f"{address.server}: the resource has {len(files)} files, none of this path")
    return Resource(path, inside, False)


def _of_images(
    rows: Sequence[dict[str, str]], wanted: str, server: str, scan: str, alone: bool
) -> dict[str, str] | None:
    """Resource that is asked for, else DICOM, else secondary, else the only one; None where a scan has none."""
    if wanted:
        found = [r for r in rows if wanted in (r.get("label"), r.get("xnat_abstractresource_id"))]
        if not found and not alone:
            return None
    else:
        found = next((f for k in ("DICOM", "secondary") if (f := [r for r in rows if r.get("label") == k])), [])
        found = found or [r for r in rows if r.get("label") != _PICTURES]
        if not found and not alone:
            return None
    listed = ", ".join(r.get("label") or r.get("xnat_abstractresource_id", "") for r in rows) or "none"
    if not found:
        raise NotFoundError(f"{server}: scan {scan} has no such resource; there are {listed}")
    if len(found) > 1:
        raise SourceError(f"{server}: scan {scan} has several resources; name one after the scan: {listed}")
    return found[0]


def files_of(client: Client, resource: tuple[str, ...]) -> list[Remote]:
    """Files of a resource; hidden ones are left out, as in a folder."""
    out = []
    for row in client.rows((*resource, "files")):
        name, size = _name(row), row.get("Size", "")
        if not any(part.startswith(".") or not part for part in name.split("/")):
            out.append(Remote(name, int(size) if size.isdigit() else None, row.get("digest", "").lower()))
    return out


def _name(row: dict[str, str]) -> str:
    """Path in the resource, from the URI; whether it is quoted there, the plain name tells."""
    plain = row.get("Name", "")
    inside = row.get("URI", "").partition("/files/")[2]
    if not inside.endswith(plain) and unquote(inside).endswith(plain):
        inside = unquote(inside)
    return inside if inside.endswith(plain) and inside else plain

"""Write files of any format into a new resource of a scan that is there."""

from __future__ import annotations

import shutil
import tempfile
from io import BytesIO
from pathlib import Path

from ....errors import SourceError, warn
from ...progress import Meter
from ..settings import Settings
from .address import XnatAddress, parse
from .client import Client
from .contents import chosen, experiment_path, scans_of
from .put import put_file

_FORM = "xnat://host/project/subject/experiment/scan/resource/name of the file"


class ResourceSink:
    """Where files for a new resource go: kept aside until all are there, then sent and compared with the listing.

    Parameters
    ----------
    url : str
        Address of the main file. The scan has to be there, the resource must not be.
    address : XnatAddress
        The same, taken apart.
    settings : Settings

    Raises
    ------
    FileExistsError
        The resource is there: existing ones are never touched.
    NotFoundError
        There is no such scan.
    SourceError
        The address does not name a file in a resource, or the server refuses.
    """

    def __init__(self, url: str, address: XnatAddress, settings: Settings) -> None:
        if not address.path:
            raise SourceError(f"{address.server}: files that are not DICOM are written into a new resource: {_FORM}")
        self.folder_url, self.address, self.settings = url.rpartition("/")[0], address, settings
        self.folder: Path | None = None
        self.files: dict[str, Path] = {}
        with Client(address, settings) as client:
            self._scan(client)

    def _scan(self, client: Client) -> tuple[str, ...]:
        """Path of the scan, which has no such resource yet."""
        at = self.address
        experiment = experiment_path(client, at)
        scan = (*experiment, "scans", chosen(scans_of(client, experiment), at.scan, at.server)["ID"])
        rows = client.rows((*scan, "resources"))
        there = [row.get("label") or row.get("xnat_abstractresource_id", "") for row in rows]
        if at.resource.casefold() in (label.casefold() for label in there):
            raise self._exists()
        return scan

    def _exists(self) -> FileExistsError:
        at = self.address
        return FileExistsError(
            f"{at.server}: scan {at.scan} has the resource {at.resource} already, and existing ones are never touched, "
            "overwrite=True or not: name another"
        )

    def add(self, name: str, data: bytes | Path) -> None:
        """Keep a file aside; `name` is quoted as in an address."""
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="imagedata_xr-"))
        path = self.folder / f"{len(self.files):06d}"
        if isinstance(data, Path):
            shutil.copyfile(data, path)
        else:
            path.write_bytes(data)
        self.files[parse(f"{self.folder_url}/{name}").path] = path

    def finish(self) -> tuple[str, ...]:
        """Make the resource and send the files; after trouble it is removed again."""
        at = self.address
        with Client(at, self.settings) as client, Meter("sent", len(self.files)) as meter:
            scan = self._scan(client)
            resource = (*scan, "resources", at.resource)
            with client.request("PUT", resource, {"format": at.resource}, accept=(409,)) as answer:
                if answer.status_code == 409:  # of somebody who was quicker
                    raise self._exists()
            try:
                for name, path in self.files.items():
                    put_file(client, resource, name, BytesIO(path.read_bytes()), True)
                    meter.add(1, path.stat().st_size)
            except BaseException as error:
                if not _removed(client, resource):
                    told = f"what was made could not be removed again: resource {at.resource} is incomplete"
                    if isinstance(error, SourceError):
                        raise SourceError(f"{error}. {told}") from None
                    warn(f"{at.server}: {told}")
                raise
        self.abandon()
        return tuple(at.below(at.project, at.subject, at.experiment, scan[-1], at.resource, n) for n in self.files)

    def abandon(self) -> None:
        """Forget the files."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _removed(client: Client, resource: tuple[str, ...]) -> bool:
    try:
        with client.request("DELETE", resource, {"removeFiles": "true"}, again=True, accept=(404,)):
            return True
    except SourceError:
        return False

"""The store of XNAT: ``xnat://host/project/subject/experiment/scan/resource``."""

from __future__ import annotations

from typing import Any

from ...files import File, local
from ...registry import StorageOptions
from ..settings import Settings, settings_for
from .address import FORM, SCHEMES, XnatAddress, parse
from .client import Client
from .fetch import fetch
from .levels import listing
from .resource import ResourceSink
from .send import XnatSink


class Xnat:
    """Servers of XNAT."""

    schemes = tuple(SCHEMES)
    forms = (FORM,)
    identified = True

    def find(self, url: str, storage_options: StorageOptions) -> list[File]:
        """Fetch what an address means, as far as it is not here; the files are local ones."""
        address, settings = connection(url, storage_options)
        return [File(local(), str(path)) for held in fetch(address, settings) for path in held.values()]

    def name(self, url: str) -> str:
        """Address without the subject where the experiment says it too."""
        return parse(url).named

    def listing(self, url: str, storage_options: StorageOptions, identifiers: bool) -> list[dict[str, Any]]:
        """List what is directly below an address."""
        address, settings = connection(url, storage_options)
        with Client(address, settings) as client:
            return listing(client, address, identifiers)

    def sink(self, url: str, overwrite: bool, storage_options: StorageOptions) -> XnatSink:
        """Begin to write: each series becomes a new scan of the experiment."""
        return XnatSink(*connection(url, storage_options))

    def files_sink(self, url: str, storage_options: StorageOptions) -> ResourceSink:
        """Begin to write files of any format, into a new resource of a scan that is there."""
        return ResourceSink(url, *connection(url, storage_options))


def connection(url: str, storage_options: StorageOptions) -> tuple[XnatAddress, Settings]:
    """Address and settings of a connection."""
    address = parse(url)
    return address, settings_for(address.host, storage_options)

"""Fetch files of XNAT: only those that are not here unchanged, many as one zip, few at once; each is checked."""

from __future__ import annotations

import logging
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, md5
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote

from ....errors import SourceError
from ...progress import Meter
from ..settings import Settings
from ..transfers import Held, Incoming, held, key_of, versions
from .address import XnatAddress
from .client import WORKERS, Client
from .contents import Remote, Resource, contents_of

_log = logging.getLogger(__name__)
_FEW = 10
"""Files up to which each is fetched by itself; more come as one zip, which costs the server one request."""
_PIECE = 1 << 20
_LONG = 120


def fetch(address: XnatAddress, settings: Settings) -> list[Held]:
    """Fetch every resource that an address means, as far as it is not here already and unchanged.

    Returns
    -------
    list of Held
        For each resource its files.

    Raises
    ------
    NotFoundError
        There is no such thing.
    SourceError
        A server that can't be reached or refuses, or files that did not arrive as they are listed: nothing is kept.
    """
    with Client(address, settings) as client:
        wanted = contents_of(client, address)
        with Meter("fetched", sum(len(resource.files) for resource in wanted)) as meter:
            return [_one(client, resource, meter) for resource in wanted]


def fetch_files(client: Client, resource: tuple[str, ...], files: Sequence[Remote]) -> dict[str, Path]:
    """Fetch files of a resource, as far as they are not here already and unchanged.

    Parameters
    ----------
    client : Client
    resource : tuple of str
        Path of the resource below ``/data``.
    files : sequence of Remote

    Returns
    -------
    dict
        Places here, by the names of the files.

    Raises
    ------
    SourceError
        As for `fetch`.
    """
    with Meter("fetched", len(files)) as meter:
        here = _one(client, Resource(resource, tuple(files), False), meter)
    return {uid.partition(" ")[2]: place for uid, place in here.items()}


def _one(client: Client, resource: Resource, meter: Meter) -> Held:
    settings = client.settings
    prefix = key_of(client.address.server, settings.username, "\0".join(resource.path))
    files = {_uid(file): file for file in resource.files}
    sure = all(file.digest for file in resource.files)  # else only the content tells whether a file has changed
    here = held(_key(prefix, files), settings.keep) if sure else {}
    if here and set(here) == set(files):
        meter.add(len(files))
        return here
    with Incoming(_key(prefix, files), settings.keep) as incoming:
        taking = _Taking(incoming, resource.files, meter)
        for key in versions(prefix, settings.keep):
            known = {u: p for u, p in held(key, settings.keep).items() if u in files and files[u].digest}
            taking.share({u: p for u, p in known.items() if u not in incoming.names})
        missing = taking.missing()
        if len(missing) > _FEW and resource.whole and len(missing) > len(files) // 2:
            _as_zip(client, resource, taking)
        _singly(client, resource, taking)
        if not sure:
            incoming.key = _key(prefix, incoming.names)
        return incoming.finish()


def _uid(file: Remote, digest: str = "") -> str:
    return f"{file.digest or digest} {file.name}"


def _key(prefix: str, uids: Iterable[str]) -> str:
    """Name of the folder of a resource as it is now: another content is another folder, so that readers keep theirs."""
    return f"{prefix}-{blake2b(chr(0).join(sorted(uids)).encode(), digest_size=12).hexdigest()}"


class _Taking:
    """Files of a resource that are being fetched, by name; each counts when it is what the listing says."""

    def __init__(self, incoming: Incoming, files: Iterable[Remote], meter: Meter) -> None:
        self.incoming, self.meter = incoming, meter
        self.files = {file.name: file for file in files}
        self.places = _local_names(self.files)
        self.done: set[str] = set()

    def share(self, known: Held) -> None:
        """Take over files that are here already."""
        for uid, path in known.items():
            name = uid.partition(" ")[2]
            if self.places[name] == path.name:
                self.incoming.share({uid: path}, named=True)
                self.done.add(name)
                self.meter.add(1)

    def missing(self) -> list[Remote]:
        """Files that are still to come."""
        return [file for name, file in self.files.items() if name not in self.done]

    def take(self, file: Remote, pieces: Iterable[bytes], counted: bool = False) -> str:
        """Write a file, whose bytes may be counted already; returns what is wrong with it, or nothing."""
        path = self.incoming.path("", self.places[file.name])
        digest, size = md5(usedforsecurity=False), 0
        with open(path, "wb") as out:
            for piece in pieces:
                size += len(piece)
                if file.size is not None and size > file.size:
                    break
                digest.update(piece)
                out.write(piece)
        if file.size is not None and size != file.size:
            return f"{size} bytes arrived of {file.size}" if size < file.size else "it is longer than listed"
        if file.digest and digest.hexdigest() != file.digest:
            return "its digest is not the listed one"
        self.incoming.took(_uid(file, digest.hexdigest()), path)
        self.done.add(file.name)
        self.meter.add(1, 0 if counted else size)
        return ""


def _local_names(names: Iterable[str]) -> dict[str, str]:
    """Names of the files here, all in one folder: their own as far as any system can hold them side by side."""
    listed = sorted(names)
    folders = sorted({str(PurePosixPath(name).parent) for name in listed})
    out: dict[str, str] = {}
    used: set[str] = {"complete.json"}
    for number, name in enumerate(listed):
        at = PurePosixPath(name)
        prefix = f"{folders.index(str(at.parent))}_" if len(folders) > 1 else ""
        mine = prefix + quote(at.name, safe=" +,=@()[]{}!&'")
        suffix = re.sub(r"[^A-Za-z0-9.]", "", "".join(at.suffixes[-2:]))
        if len(mine) > _LONG or mine.lower() in used or re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", mine):
            mine = f"{number:06d}-file{suffix[-20:]}"
        used.add(mine.lower())
        out[name] = mine
    return out


def _as_zip(client: Client, resource: Resource, taking: _Taking) -> None:
    """Fetch a resource as one zip; what does not arrive whole is left for another way."""
    pack = taking.incoming.stage / "incoming.zip"
    try:
        with (
            client.request("GET", (*resource.path, "files"), {"format": "zip"}, pages=False) as answer,
            open(pack, "wb") as out,
        ):
            for piece in answer.iter_content(_PIECE):
                out.write(piece)
                taking.meter.add(0, len(piece))
        with zipfile.ZipFile(pack) as archive:
            for entry in archive.infolist():
                file = _file_of(entry.filename, taking.files)
                if file is not None and file.name not in taking.done:
                    with archive.open(entry) as stream:
                        why = taking.take(file, _pieces(stream), True)
                    if why:
                        _log.info("%s: a file of a zip is fetched again: %s", client.address.server, why)
    except _NO_ZIP as error:
        # a server that makes none, or one that was damaged on its way: each file tells for itself what is wrong
        _log.info("%s: no whole zip (%s)", client.address.server, type(error).__name__)
    finally:
        pack.unlink(missing_ok=True)


# errors of requests and of this library are OSErrors
_NO_ZIP = (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def _file_of(entry: str, files: Mapping[str, Remote]) -> Remote | None:
    """File of an entry such as ``SESSION/scans/ID-TYPE/resources/LABEL/files/NAME``."""
    at = entry.find("/files/")
    while at >= 0:
        if entry[at + 7 :] in files:
            return files[entry[at + 7 :]]
        at = entry.find("/files/", at + 1)
    return None


def _pieces(stream: IO[bytes]) -> Iterable[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _singly(client: Client, resource: Resource, taking: _Taking) -> None:
    """Fetch what is missing file by file, several at once."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        for _ in pool.map(lambda file: _file(client, resource, taking, file), taking.missing()):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _file(client: Client, resource: Resource, taking: _Taking, file: Remote) -> None:
    import requests

    why = ""
    page = file.name.lower().endswith((".html", ".htm", ".xhtml"))
    for _ in range(client.settings.retries + 1):
        try:
            path = (*resource.path, "files", *file.name.split("/"))
            with client.request("GET", path, pages=page, headers=_IDENTITY) as answer:
                why = taking.take(file, answer.iter_content(_PIECE))
        except requests.exceptions.RequestException:
            why = "the connection was cut"
        if not why:
            return
    raise SourceError(f"{client.address.server}: a file does not arrive as it is listed: {why}. Nothing of it is kept")


_IDENTITY: dict[str, Any] = {"Accept-Encoding": "identity"}

"""Fetch series by WADO-RS (PS3.18 section 10.4): one stream, written to disk as it comes, images as they are stored."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import pydicom

from ...errors import SourceError
from ..progress import Meter
from .multipart import boundary_of, parts
from .query import Series, warn_if_short
from .settings import Settings
from .transfers import Held, Incoming, held, is_whole, key_of
from .web_address import WebAddress
from .web_client import Client
from .web_query import images_of, series_of

_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PIECE = 1 << 20
_SMALL = 8 << 20
"""Bytes of an image that is kept in memory until it is filed."""
_AHEAD = 8
"""Images that may wait to be filed."""
_META = 1024
_INSTANCE = b"\x02\x00\x03\x00UI"
"""Tag and VR of Media Storage SOP Instance UID, as every file has them (PS3.10 section 7.1)."""


def fetch(address: WebAddress, settings: Settings) -> list[Held]:
    """Fetch every series that an address means, as far as it is not here already and unchanged.

    Raises
    ------
    NotFoundError
        There is no such series.
    SourceError
        A service that can't be reached or refuses, or a series that did not arrive whole: nothing of it is kept.
    """
    with Client(address, settings) as client:
        wanted = [(series, images_of(client, series)) for series in series_of(client, address)]
        with Meter("fetched", sum(len(images) for _, images in wanted)) as meter:
            out = [_one(client, series, set(images), meter) for series, images in wanted if images]
    if not out:
        raise SourceError(f"{address.server}: the series holds no images, as the service says")
    return out


def _one(client: Client, series: Series, images: set[str], meter: Meter) -> Held:
    settings = client.settings
    key = key_for(client, series)
    here = held(key, settings.keep)
    if is_whole(here, images, series.count):
        meter.add(len(images))
        return here
    known = {uid: path for uid, path in here.items() if uid in images}
    with Incoming(key, settings.keep) as incoming:
        incoming.share(known)
        meter.add(len(known))
        place = f"/studies/{series.study}/series/{series.uid}"
        for path in [f"{place}/instances/{uid}" for uid in sorted(images - set(known))] if known else [place]:
            _stream(client, path, incoming, meter, images)
        if lost := images - set(incoming.names):
            raise SourceError(
                f"{client.address.server}: {len(lost)} of the {len(images)} images of a series did not arrive. Nothing "
                "of it is kept"
            )
        incoming.keep_of(series.uid, images)
        warn_if_short(client.address.server, series, len(incoming.names))
        return incoming.finish()


def key_for(client: Client, series: Series) -> str:
    """Name of the folder of a series: what one user fetched is not given to another."""
    settings = client.settings
    return key_of(client.address.server, f"{settings.username}\0{settings.token}", series.uid)


def _stream(client: Client, path: str, incoming: Incoming, meter: Meter, images: set[str]) -> None:
    import requests

    with client.request("GET", path, headers={"Accept": _ACCEPT}) as answer, _Filing(incoming, meter, images) as filing:
        boundary = boundary_of(answer.headers.get("Content-Type", ""))
        try:
            for part in parts(answer.iter_content(_PIECE), boundary):
                filing.take(part)
        except requests.exceptions.RequestException:
            raise SourceError(f"{client.address.server}: the connection was cut within a series") from None


class _Filing:
    """Files images while the next ones arrive: to make a file may take as long as to receive it."""

    def __init__(self, incoming: Incoming, meter: Meter, images: set[str]) -> None:
        self._incoming, self._meter, self._images = incoming, meter, images
        self._pool = ThreadPoolExecutor(1, "imagedata_xr")
        self._waiting: deque[Future[int]] = deque()

    def __enter__(self) -> _Filing:
        """Give itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wait for all; after an error what waits is given up."""
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            self._end(0)

    def take(self, part: Iterator[memoryview]) -> None:
        """Take one image: a small one is kept in memory until its turn comes, a large one written as it arrives."""
        pieces: list[memoryview] = []
        for piece in part:
            pieces.append(piece)
            if sum(map(len, pieces)) > _SMALL:
                self._end(0)
                self._count(_filed(itertools.chain(pieces, part), self._incoming, self._images))
                return
        self._waiting.append(self._pool.submit(_filed, iter(pieces), self._incoming, self._images))
        self._end(_AHEAD)

    def _end(self, left: int) -> None:
        """Wait until no more than so many wait."""
        while len(self._waiting) > left:
            self._count(self._waiting.popleft().result())

    def _count(self, size: int) -> None:
        if size:
            self._meter.add(1, size)


def _filed(part: Iterator[memoryview], incoming: Incoming, images: set[str]) -> int:
    """Write one file, then ask it who it is; give its length, and 0 for one that came before."""
    path = incoming.path("")
    head, size = b"", 0
    with open(path, "xb") as file:
        for piece in part:
            head = head or bytes(piece[:_META])
            size += file.write(piece)
    try:
        uid = _uid(head)
        if uid not in images:  # the data set decides, of which the file meta information may be another's
            ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
            uid = str(ds.get("SOPInstanceUID", "") or uid or ds.file_meta.MediaStorageSOPInstanceUID)
    except (pydicom.errors.InvalidDicomError, AttributeError, OSError, ValueError):
        path.unlink()
        raise SourceError("what the service sends is no DICOM file") from None
    if uid in incoming.names:
        return 0
    incoming.took(uid, path)
    return size


def _uid(head: bytes) -> str:
    """UID in the first bytes of a file; empty where it has to be looked for."""
    at = head.find(_INSTANCE)
    if head[128:132] != b"DICM" or at < 0:
        return ""
    size = int.from_bytes(head[at + 6 : at + 8], "little")
    text = head[at + 8 : at + 8 + size]
    return text.rstrip(b"\0 ").decode("ascii", "replace") if len(text) == size else ""

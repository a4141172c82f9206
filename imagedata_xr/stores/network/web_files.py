"""Images of DICOMweb as files of which only headers were fetched: a filesystem that reads frames by their number."""

from __future__ import annotations

import io
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from threading import Lock
from typing import IO, Any

from fsspec import AbstractFileSystem

from ...errors import NotFoundError, SourceError
from ..files import File, local
from .multipart import boundary_of, parts
from .query import Series, warn_if_short
from .settings import Settings, settings_for
from .transfers import held, is_whole
from .web_address import WebAddress
from .web_client import Client
from .web_frames import NATIVE, fetch_frames
from .web_lazy import Instance, digest_of, instances_of
from .web_metadata import AT_ONCE, stored_header
from .web_query import images_of, series_of
from .web_retrieve import key_for

_KEPT = 64 << 20
"""Bytes of frames that are kept, since other rows of them are often wanted next."""
_MOST = 64
"""Frames in one request."""
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class WebFiles(AbstractFileSystem):  # type: ignore[misc]
    """The images of a series.

    What is pickled has neither secrets nor headers: another process finds its secrets in its environment, or in the
    file of settings, and fetches headers when it is asked for them.

    Parameters
    ----------
    address : WebAddress
    settings : Settings
    series : Series
    instances : sequence of Instance
    """

    cachable = False
    protocol = "dicomweb"
    names_are_safe = True

    def __init__(self, address: WebAddress, settings: Settings, series: Series, instances: Sequence[Instance]) -> None:
        super().__init__(address.base, series.uid)
        self.address, self.settings, self.series = address, settings, series
        self.instances = {f"{address.base}{one.place}": one for one in instances}
        self._frames: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._client_: Client | None = None
        self._lock = Lock()

    def __reduce__(self) -> Any:
        """What opens them again."""
        bare = [one._replace(head=b"") for one in self.instances.values()]
        return _again, (self.address, self.settings, self.series, bare)

    def __repr__(self) -> str:
        return f"<{len(self.instances)} images of {self.address.server}>"

    @property
    def client(self) -> Client:
        """The connection, which threads share."""
        with self._lock:
            if self._client_ is None:
                self._client_ = Client(self.address, self.settings)
            return self._client_

    # --- what is there -----------------------------------------------------------------------------------------------

    def unstrip_protocol(self, name: str) -> str:
        """Address of an image."""
        return f"dicomweb+{name}"

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        """Name and length."""
        return {"name": path, "size": self._one(path).length, "type": "file"}

    def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
        """List all images."""
        return [self.info(p) if detail else p for p in self.instances]

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """Lengths."""
        return [self._one(path).length for path in paths]

    def _one(self, path: str) -> Instance:
        if path not in self.instances:
            raise NotFoundError(f"{self.address.server}: the series has no such image")
        return self.instances[path]

    # --- reading -----------------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        """Read a range of bytes."""
        return self._range(path, start or 0, self._one(path).length if end is None else end)

    def cat_ranges(
        self, paths: Sequence[str], starts: Any, ends: Any,
        max_gap: Any = None, on_error: str = "return", **more: Any,
    ) -> list[Any]:  # fmt: skip
        """Read ranges of bytes, several at once."""
        firsts = [starts] * len(paths) if isinstance(starts, int) else list(starts)
        lasts = [ends] * len(paths) if isinstance(ends, int) else list(ends)

        def read(k: int) -> bytes | Exception:
            try:
                return self._range(paths[k], firsts[k], lasts[k])
            except SourceError as error:
                if on_error != "return":
                    raise
                return error

        far = [k for k, path in enumerate(paths) if path not in self.instances or lasts[k] > self.instances[path].size]
        if len(far) < 2:
            return [read(k) for k in range(len(paths))]
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            return list(pool.map(read, range(len(paths))))
        finally:
            pool.shutdown(cancel_futures=True)

    def _range(self, path: str, start: int, end: int) -> bytes:
        one = self._one(path)
        end = min(end, one.length)
        out = self._head(path)[start:end] if start < one.size else b""
        first, last = max(start, one.size) - one.size, end - one.size
        if last <= first or not one.frame_bytes:
            return out
        size = one.frame_bytes
        numbers = range(first // size + 1, min(-(-last // size), one.frames) + 1)
        data = b"".join(self._native(path, numbers)) + b"\0"  # the last byte makes an odd length even
        begin = first - (first // size) * size
        return out + data[begin : begin + last - first]

    def _native(self, path: str, numbers: range) -> list[bytes]:
        with self._lock:
            held = {n: self._frames[path, n] for n in numbers if (path, n) in self._frames}
        missing = [n for n in numbers if n not in held]
        for at in range(0, len(missing), _MOST):
            some = missing[at : at + _MOST]
            held |= zip(some, self._fetched(path, some), strict=True)
        with self._lock:
            for n in numbers[-1:]:  # bands of rows go on in the last one
                self._frames[path, n] = held[n]
            while sum(map(len, self._frames.values())) > _KEPT and len(self._frames) > 1:
                self._frames.popitem(last=False)
        return [held[n] for n in numbers]

    def header_size(self, path: str) -> int:
        """How many bytes of a file come before its frames."""
        return self._one(path).size

    def frame(self, path: str, number: int) -> bytes:
        """Compressed bytes of a frame, counted from 1."""
        return self._fetched(path, [number])[0]

    def _fetched(self, path: str, numbers: Sequence[int]) -> list[bytes]:
        one = self._one(path)
        out = []
        for got in fetch_frames(self.client, one.place, numbers):
            if got.syntax != one.syntax and not (got.syntax in NATIVE and one.syntax in NATIVE):
                raise SourceError(
                    f"{self.address.server} gives a frame in transfer syntax {got.syntax or '(none)'}, those before it "
                    f"came in {one.syntax}: open the series without lazy=True"
                )
            data = got.data
            if one.frame_bytes and len(data) == one.frame_bytes + 1 and one.frame_bytes % 2:
                data = data[:-1]
            if not data or (one.frame_bytes and len(data) != one.frame_bytes):
                raise SourceError(
                    f"{self.address.server} gives {len(data)} bytes as a frame of {one.frame_bytes or 'some'}: open "
                    "the series without lazy=True"
                )
            out.append(data)
        return out

    def _head(self, path: str) -> bytes:
        one = self._one(path)
        if not one.head:  # of another process
            images = {place.rpartition("/")[2] for place in self.instances}
            known = set(images_of(self.client, self.series))
            fresh = {f"{self.address.base}{i.place}": i for i in instances_of(self.client, self.series, images & known)}
            for name, old in self.instances.items():
                if name not in fresh or digest_of(fresh[name].head) != old.digest:
                    raise SourceError(f"{self.address.server}: an image has changed since it was opened: open it again")
            self.instances = fresh
            one = fresh[path]
        return one.head

    def open_header(self, path: str) -> IO[bytes]:
        """Open the header of an image as it is stored; the connection ends where its pixel data begin."""
        return io.BytesIO(stored_header(self.client, self._one(path).place).head)

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        """Open an image as it is stored, which is fetched whole."""
        import requests

        if mode != "rb":
            raise ValueError(f"mode {mode!r}: images of a service are read")
        out = tempfile.SpooledTemporaryFile(_KEPT)  # noqa: SIM115  # who opens it closes it
        with self.client.request("GET", self._one(path).place, headers={"Accept": _ACCEPT}) as answer:
            try:
                for part in parts(answer.iter_content(1 << 20), boundary_of(answer.headers.get("Content-Type", ""))):
                    for piece in part:
                        out.write(piece)
            except requests.exceptions.RequestException:
                raise SourceError(f"{self.address.server}: the connection was cut within an image") from None
        out.seek(0)
        return out


def _again(address: WebAddress, settings: Settings, series: Series, instances: Sequence[Instance]) -> WebFiles:
    """Open in another process, with the secrets that its environment has."""
    given = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in ("password", "token")}
    return WebFiles(address, settings_for(address.host, given), series, instances)


def lazy_files(address: WebAddress, settings: Settings) -> list[File]:
    """Files of every series that an address means: headers are fetched, frames are not.

    A series that is here already, whole, is read from here.

    Raises
    ------
    NotFoundError
        There is no such series or image.
    SourceError
        A service that can't be reached or refuses, or whose metadata or frames can't be relied on.
    """
    out: list[File] = []
    with Client(address, settings) as client:
        for series in series_of(client, address):
            images = set(images_of(client, series))
            here = held(key_for(client, series), settings.keep)
            if is_whole(here, images, series.count):
                out += [File(local(), str(path)) for uid, path in here.items() if address.image in ("", uid)]
                continue
            warn_if_short(address.server, series, len(images))
            if address.image:
                images &= {address.image}
            if images:
                fs = WebFiles(address, settings, series, instances_of(client, series, images))
                out += [File(fs, path) for path in fs.instances]
    if not out:
        raise NotFoundError(f"{address.server} holds no such image")
    return out

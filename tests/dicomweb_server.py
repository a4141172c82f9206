"""A service of DICOMweb on the loopback: exact as pydicom makes its JSON, or wrong in a way that is asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

Json = dict[str, Any]


def _unchanged(row: Json) -> Json | None:
    return row


def _sent(kind: str, data: bytes) -> tuple[str, bytes]:
    return kind, data


@dataclass
class Service:
    """What a service holds, what it does wrong, and what it was asked.

    Attributes
    ----------
    files : dict
        Content of each image by SOP Instance UID.
    change : callable
        Changes the metadata of an image (JSON), or drops it by returning None.
    frame : callable
        Changes what is sent as a frame: Content-Type and content.
    bulk : str
        Where binary values are said to be; empty for the service itself.
    fail : dict
        By a part of a path: states of HTTP, or "cut", that its next requests get.
    most : int
        Rows that it gives at once.
    pages : bool
        Whether it gives the others when it is asked for them.
    asked : list of str
        Paths, without the service.
    who : list of str
        Who asked, as ``Authorization`` says.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    change: Callable[[Json], Json | None] = _unchanged
    frame: Callable[[str, bytes], tuple[str, bytes]] = _sent
    bulk: str = ""
    fail: dict[str, list[int | str]] = field(default_factory=dict)
    most: int = 1000
    pages: bool = True
    asked: list[str] = field(default_factory=list)
    who: list[str] = field(default_factory=list)
    root: str = ""

    @property
    def url(self) -> str:
        """Address of the service."""
        return f"dicomweb+{self.root}"

    def add(self, folder: Path) -> None:
        """Take the images of a folder."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            self.files[str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)] = path.read_bytes()

    def frames_asked(self) -> list[str]:
        """Frames that were asked for, as the numbers of each request."""
        return [path.rpartition("/")[2] for path in self.asked if "/frames/" in path]

    def dataset(self, uid: str) -> pydicom.Dataset:
        """One image."""
        return pydicom.dcmread(BytesIO(self.files[uid]))

    def metadata(self, uid: str) -> Json | None:
        """Its header as JSON, with binary values under addresses."""
        ds = self.dataset(uid)
        place = f"{self.bulk or self.root}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{uid}"
        return self.change(
            ds.to_json_dict(1, lambda elem: f"{place}/bulk/{int(elem.tag):08x}", suppress_invalid_tags=True)
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def do_GET(self) -> None:
        service = self.service
        path = self.path.partition("?")[0].removeprefix("/web")
        service.asked.append(path)
        service.who.append(self.headers.get("Authorization", ""))
        what = next((states.pop(0) for part, states in service.fail.items() if part in path and states), None)
        if isinstance(what, int):
            return self.reply(b"", "text/plain", what)
        kind, content = self.answer(path)
        return self.reply(content, kind, 200 if content else 404, cut=what == "cut")

    def answer(self, path: str) -> tuple[str, bytes]:
        service, words = self.service, path.strip("/").split("/")
        datasets = {uid: service.dataset(uid) for uid in service.files}
        named = dict(zip(words[::2], words[1::2], strict=False))
        mine = {uid: ds for uid, ds in datasets.items() if named.get("series", "") in ("", ds.SeriesInstanceUID)}
        if words[-1] == "metadata":
            rows = [row for uid in mine if (row := service.metadata(uid)) is not None]
            return "application/dicom+json", json.dumps(rows).encode()
        if len(words) % 2:
            keys = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}
            found = {str(ds[keys[words[-1]]].value): ds for ds in mine.values()}
            offset = int(parse_qs(urlsplit(self.path).query).get("offset", ["0"])[0])
            found = dict(list(found.items())[offset if service.pages else 0 :][: service.most])
            wanted = (*keys.values(), "SOPClassUID", "SeriesNumber", "Modality")
            return "application/dicom+json", json.dumps([_row(ds, wanted) for ds in found.values()]).encode()
        if "instances" not in named:
            return _multipart("application/dicom", [("application/dicom", service.files[uid]) for uid in mine])
        uid = named["instances"]
        if "frames" in named:
            kind, frames = _frames(datasets[uid])
            sent = [service.frame(kind, frames[int(n) - 1]) for n in named["frames"].split(",")]
            return _multipart("application/octet-stream", [one for one in sent if one[1]])
        if "bulk" in named:
            return _multipart("application/octet-stream", [("", bytes(datasets[uid][int(named["bulk"], 16)].value))])
        return _multipart("application/dicom", [("application/dicom", service.files[uid])])

    def reply(self, content: bytes, kind: str, code: int, cut: bool = False) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content[: len(content) // 2] if cut else content)
        except ConnectionError:  # who asked has seen enough
            cut = True
        self.close_connection = self.close_connection or cut

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def _row(ds: pydicom.Dataset, keywords: tuple[str, ...]) -> Json:
    some = pydicom.Dataset()
    for keyword in keywords:
        some[keyword] = ds[keyword]
    return some.to_json_dict()


def _frames(ds: pydicom.Dataset) -> tuple[str, list[bytes]]:
    """Frames as they are stored, and their Content-Type (PS3.18 table 8.7.3-5)."""
    syntax, count = ds.file_meta.TransferSyntaxUID, int(ds.get("NumberOfFrames", 1))
    if syntax.is_encapsulated:
        kind = {"1.2.840.10008.1.2.5": "image/dicom-rle", "1.2.840.10008.1.2.4.80": "image/jls"}.get(
            syntax, "image/jp2"
        )
        return f"{kind}; transfer-syntax={syntax}", list(generate_frames(ds.PixelData, number_of_frames=count))
    size = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    kind = f"application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}"
    return kind, [ds.PixelData[k * size : (k + 1) * size] for k in range(count)]


def _multipart(kind: str, contents: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    out = b""
    for own, content in contents:
        head = f"Content-Type: {own}\r\n" if own else ""
        out += b"--b0undary\r\n" + head.encode() + b"\r\n" + content + b"\r\n"
    return f'multipart/related; type="{kind}"; boundary=b0undary', out + b"--b0undary--\r\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that were closed."""


@contextmanager
def service() -> Iterator[Service]:
    """Serve while the context lasts."""
    state = Service()
    handler = type("Handler", (_Handler,), {"service": state})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    state.root = f"http://127.0.0.1:{server.server_port}/web"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()

"""A web server on the loopback: with ranges or without, slow, failing at times, and telling what it was asked."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Web:
    """What a server does, and what it has done."""

    url: str = ""
    ranges: bool = True
    tags: bool = False
    """Whether it tells an ETag, a digest of the content."""
    dates: bool = True
    """Whether it tells when files were changed."""
    lead: Callable[[Any], bool] | None = None
    """Answers a request in place of the server, where it returns true."""
    wait: float = 0.0
    fail: dict[str, list[int | str]] = field(default_factory=dict)
    """By the name of a file: what its next requests get, a status, or "reset" for a connection that breaks."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, and range of each request."""
    sent: int = 0
    """Bytes of files."""
    at_once: int = 0
    """Most requests that were being answered at one time."""
    busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Forget what it was asked."""
        self.asked, self.sent, self.at_once = [], 0, 0


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, web: Web, **kwargs: Any) -> None:
        self.web = web
        super().__init__(*args, **kwargs)

    def _begin(self) -> bool:
        web, asked = self.web, self.headers.get("Range", "")
        with web.lock:
            web.asked.append((self.command, self.path, asked))
            web.busy += 1
            web.at_once = max(web.at_once, web.busy)
            todo = web.fail.get(self.path.rpartition("/")[2].partition("?")[0])
            what = todo.pop(0) if todo else None
        time.sleep(web.wait)
        with web.lock:
            web.busy -= 1
        if what == "reset":
            self.close_connection = True
            self.connection.close()
            return False
        if isinstance(what, int):
            self.send_response(what)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        return True

    def do_GET(self) -> None:
        if not self._begin():
            return
        if self.web.lead is not None and self.web.lead(self):
            return
        path, asked = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not asked or not path.is_file() or not self.web.ranges:
            super().do_GET()
            return
        data = path.read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
        if begin >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        part = data[begin : end + 1]
        with self.web.lock:
            self.web.sent += len(part)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
        self.end_headers()
        self.wfile.write(part)

    def do_HEAD(self) -> None:
        if self._begin():
            super().do_HEAD()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Last-Modified" or self.web.dates:
            super().send_header(keyword, value)

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if self.web.tags and path.is_file():
            self.send_header("ETag", f'"{hashlib.md5(path.read_bytes()).hexdigest()}"')
        if self.web.ranges:
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, ValueError):  # it was closed on purpose, or by a client that had enough
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that broke."""


@contextmanager
def served(folder: Path, **how: Any) -> Iterator[Web]:
    """Serve a folder while the context lasts."""
    web = Web(**how)
    server = _Server(("127.0.0.1", 0), partial(_Handler, web=web, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()

"""Files on a web server that answers each request after 20 ms; needs aiohttp, which fsspec reads http with."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import contenders as by
import fsspec
import xarray as xr
from harness import compare, environment, goal, series

import imagedata_xr

WAIT = 0.02
"""Seconds before each answer."""


class Ranges(SimpleHTTPRequestHandler):
    """Serve a folder, late, and ranges of its files; connections stay open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a range of a file, where one is asked for."""
        time.sleep(WAIT)
        asked, path = self.headers.get("Range"), Path(self.translate_path(self.path))
        if not asked or not path.is_file():
            super().do_GET()
            return
        size = path.stat().st_size
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or size - 1), size - 1)
        with open(path, "rb") as stream:
            stream.seek(begin)
            data = stream.read(max(0, end - begin + 1))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end}/{size}")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.wfile.write(data)

    def do_HEAD(self) -> None:
        """Answer late, too."""
        time.sleep(WAIT)
        super().do_HEAD()

    def end_headers(self) -> None:
        """Say that ranges are possible."""
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """One thread for each connection, of which many may come at once."""

    request_queue_size = 512
    daemon_threads = True


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder while the context lasts; its address."""
    server = Server(("127.0.0.1", 0), partial(Ranges, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def opened(source: Any, cache_folder: Path | None = None) -> xr.DataArray:
    """Open files; with a folder for it, with the cache."""
    options: dict[str, Any] = {"cache": "on", "cache_folder": cache_folder} if cache_folder else {"cache": "off"}
    with imagedata_xr.set_options(**options):
        return xr.open_dataarray(source, engine="imagedata")


def main(words: list[str]) -> None:
    """Compare with one request after another; the argument is the number of files."""
    warnings.simplefilter("ignore")
    if importlib.util.find_spec("aiohttp") is None:
        print("aiohttp is not installed: nothing is read by http")
        return
    print(environment())
    count = int(words[0]) if words else 520
    with tempfile.TemporaryDirectory() as made:
        folder = series(Path(made) / "made", count)
        with served(folder) as url:
            names: Any = [url + p.name for p in by.paths(folder)]
            fs = fsspec.filesystem("http")
            kept = Path(made) / "cache"
            image = opened(url)
            taken = compare(
                f"{count} files by http, 20 ms for each request",
                {
                    "open, the address of the folder": lambda: opened(url),
                    "open, a list of addresses": lambda: opened(names),
                    "again, with the cache: each file is asked for its state": lambda: opened(url, kept),
                    "load what is open": lambda: image.copy(deep=False).values,
                    "one request after another": lambda: [fs.cat_file(name, 0, 16384) for name in names],
                },
            )
            times = taken["one request after another"] / taken["open, the address of the folder"]
            goal(f"{count} files by http opened, times faster than one request after another", times, at_least=8)


if __name__ == "__main__":
    main(sys.argv[1:])

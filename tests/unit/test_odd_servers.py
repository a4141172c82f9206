"""Web servers that do what they may, and what they may not: the right bytes, or an error that says what is wrong."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from remote import big_series
from series import open_image
from web import Web, served

from imagedata_xr import set_options
from imagedata_xr.errors import NotFoundError, SourceError
from imagedata_xr.stores import patience
from imagedata_xr.stores.url import find


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return big_series(tmp_path / "in", 3)


@pytest.fixture
def web(folder: Path, require_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    require_module("aiohttp")
    monkeypatch.setattr(patience, "PAUSE", 0.01)
    with served(folder) as web, set_options(cache_folder=tmp_path / "cache"):
        yield web


class Asked:
    """A request for a part of a file, and its answer."""

    def __init__(self, handler: Any, folder: Path) -> None:
        self.handler = handler
        self.data = (folder / handler.path.rpartition("/")[2].partition("?")[0]).read_bytes()
        first, _, last = handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        self.first, self.last = int(first), min(int(last or len(self.data)), len(self.data) - 1)

    def answer(self, code: int, content: bytes, **headers: str) -> bool:
        self.handler.send_response(code)
        headers = {"Content_Length": str(len(content)), **headers}
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()
        try:
            self.handler.wfile.write(content)
        except OSError:  # the client had enough
            self.handler.close_connection = True
        return True

    def part(self, last: int, sent: bytes | None = None, total: str = "", **headers: str) -> bool:
        content = self.data[self.first : last + 1] if sent is None else sent
        told = f"bytes {self.first}-{last}/{total or len(self.data)}"
        return self.answer(206, content, Content_Range=told, **headers)


def chunked(asked: Asked) -> bool:
    asked.handler.send_response(200)
    asked.handler.send_header("Transfer-Encoding", "chunked")
    asked.handler.end_headers()
    asked.handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(asked.data), asked.data))
    return True


def redirected(asked: Asked) -> bool:
    if "?moved" in asked.handler.path:
        return asked.part(asked.last)
    return asked.answer(302, b"", Location=asked.handler.path + "?moved")


def cut(asked: Asked) -> bool:
    asked.handler.close_connection = True
    return asked.part(asked.last, Content_Length=str(10**9))


RIGHT = {
    "packed as a whole": lambda a: a.answer(200, gzip.compress(a.data), Content_Encoding="gzip"),
    "less at a time": lambda a: a.part(min(a.last, a.first + 4999)),
    "more than asked": lambda a: a.part(len(a.data) - 1),
    "length not told": lambda a: a.part(a.last, total="*"),
    "no length at all": chunked,
    "redirected": redirected,
}
WRONG = {
    "packed in parts": (lambda a: a.part(a.last, gzip.compress(a.data), Content_Encoding="gzip"), "packs parts"),
    "another range": (lambda a: a.answer(206, a.data, Content_Range=f"bytes 5-{len(a.data)}/9999"), "another range"),
    "no range": (lambda a: a.answer(206, a.data[a.first : a.last + 1]), "another range"),
    "several ranges": (lambda a: a.answer(206, b"--x", Content_Type="multipart/byteranges"), "another range"),
    "other bytes": (lambda a: a.part(a.last, a.data[a.first : a.last + 2]), "another number of bytes"),
    "in circles": (lambda a: a.answer(302, b"", Location=a.handler.path), "leads in circles"),
    "401": (lambda a: a.answer(401, b""), "the server answers 401"),
    "451": (lambda a: a.answer(451, b""), "the server answers 451"),
    "410": (lambda a: a.answer(410, b""), "does not exist"),
    "cut": (cut, "connection"),
}


def lead(web: Web, folder: Path, how: Any) -> list[str]:
    web.lead = lambda handler: bool(how(Asked(handler, folder))) if ".dcm" in handler.path else False
    return [f"{web.url}{p.name}" for p in sorted(folder.glob("*.dcm"))]


@pytest.mark.parametrize("how", RIGHT)
def test_what_a_server_may_do(how: str, folder: Path, web: Web) -> None:
    sources: Any = lead(web, folder, RIGHT[how])
    np.testing.assert_array_equal(open_image(sources), open_image(str(folder)))


@pytest.mark.parametrize("how", WRONG)
def test_what_a_server_may_not_do(how: str, folder: Path, web: Web) -> None:
    answer, said = WRONG[how]
    sources: Any = lead(web, folder, answer)
    with set_options(retries=1), pytest.raises(SourceError, match=said):
        open_image(sources).load()


def test_a_server_that_asks_for_a_pause_gets_it(folder: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("imagedata_xr.stores.patience.time.sleep", waited.append)
    left = [429, 503]

    def busy(asked: Asked) -> bool:
        return asked.answer(left.pop(), b"", Retry_After="7") if left else asked.part(asked.last)

    (source, *_) = lead(web, folder, busy)
    assert open_image(source).values.size
    assert [wait for wait in waited if wait >= 1] == [7.0, 7.0]


@pytest.mark.parametrize(
    "page",
    [
        "<A HREF='{url}{name}'>x</A>",
        '<a class=q href="/{name}">x</a>',
        "<a href={name}>unquoted</a>",
        '<a href="./">here</a><a href="">here</a><a href="./{name}">x</a><a href="{name}#part">x</a>',
        '<a href="?C=N;O=D">by name</a><a href="../">up</a><a href="/">root</a><a href="{name}">x</a>',
        '<a href="http://elsewhere.example/x">x</a><a href="mailto:a@b">m</a><a href="http://[">b</a><a href="{name}">',
        '<a href="{name}">x</a><a href=".hidden.dcm">x</a>',
    ],
)
def test_pages_that_list_a_folder(page: str, folder: Path, web: Web) -> None:
    names = [p.name for p in sorted(folder.iterdir())]
    content = "".join(page.format(url=web.url, name=name) for name in names).encode()

    def listed(handler: Any) -> bool:
        if handler.path != "/":
            return False
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        return True

    web.lead = listed
    assert [file.path for file in find(web.url)] == [f"{web.url}{name}" for name in names]


def test_a_folder_that_is_not_there(web: Web) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        find(f"{web.url}none/")

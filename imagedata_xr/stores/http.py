"""Ranges of files on web servers, of which some do not know ranges: fsspec would take the whole for the part."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from .told import Told, note, of_headers

SILENCE = 60.0
"""Seconds without a byte after which a request is given up."""


def is_http(fs: AbstractFileSystem) -> bool:
    """Tell whether a filesystem is fsspec's of the web."""
    return "http" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol) and hasattr(fs, "set_session")


def http_ranges(
    fs: Any, urls: Sequence[str], starts: Sequence[int], stops: Sequence[int]
) -> list[tuple[bytes, Told | None] | BaseException]:
    """Read ranges, all at once; fewer bytes where a file ends, the error of what fails.

    Each with the state that the server tells of the file. A server that answers with the whole file is read up to the
    end of the range.
    """

    async def together() -> list[tuple[bytes, Told | None] | BaseException]:
        import aiohttp

        session = await fs.set_session()
        limit = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
        asked = [_range(fs, session, limit, *one) for one in zip(urls, starts, stops, strict=True)]
        return await asyncio.gather(*asked, return_exceptions=True)

    result: list[tuple[bytes, Told | None] | BaseException] = sync(fs.loop, together)
    return result


async def _range(fs: Any, session: Any, limit: Any, url: str, start: int, stop: int) -> tuple[bytes, Told | None]:
    parts, at, known = [], start, None
    while at < stop:
        data, told, more = await _piece(fs, session, limit, url, at, stop)
        if known is not None and told is not None and known.differs(told):
            raise OSError(5, "it has changed while it was read")
        parts.append(data)
        known, at = told, at + len(data)
        if not more or not data:
            break
    return b"".join(parts), known


async def _piece(fs: Any, session: Any, limit: Any, url: str, start: int, stop: int) -> tuple[bytes, Told | None, bool]:
    """Range, or its beginning where the server gives no more at a time (RFC 9110 section 15.3.7), which is told."""
    given = {"timeout": limit, **fs.kwargs}
    given["headers"] = {
        **given.get("headers", {}),
        "Range": f"bytes={start}-{stop - 1}",
        "Accept-Encoding": "identity",
    }
    async with session.get(fs.encode_url(url), **given) as answer:
        said = answer.headers.get("Content-Range", "").strip()
        if answer.status == 416:  # the file ends before the range begins
            size = re.fullmatch(r"bytes \*/(\d+)", said)
            return b"", note(fs, url, of_headers(answer.headers, int(size[1]) if size else None)), False
        if answer.status == 410:
            raise FileNotFoundError(url)
        fs._raise_not_found_for_status(answer, url)
        packed = answer.headers.get("Content-Encoding", "identity") not in ("identity", "")
        if answer.status != 206:  # the whole file; one that was packed on its way is unpacked here
            length = "" if packed else answer.headers.get("Content-Length", "")
            told = note(fs, url, of_headers(answer.headers, int(length) if length.isdigit() else None))
            return await _passing(answer, start, stop), told, False
        if packed:
            raise OSError(5, "the server packs parts of files, though it was asked not to: they can't be read")
        place = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", said)
        if place is None or int(place[1]) != start:
            raise OSError(5, "the server answers with another range than it was asked for")
        total = None if place[3] == "*" else int(place[3])
        told = note(fs, url, of_headers(answer.headers, total))
        data: bytes = await answer.read()
        if len(data) != int(place[2]) - start + 1:
            raise OSError(5, "the server sends another number of bytes than it says")
        return data[: stop - start], told, start + len(data) < min(stop, total or stop)


class _Links(HTMLParser):
    """Addresses that a page leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what an anchor leads to."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def http_files(fs: Any, top: str) -> list[str]:
    """List the files below a folder of a web server, by the pages that it makes of folders.

    Links to elsewhere, to folders above and to the same page in another order are passed over.
    """
    folders, seen, files = [top], {top}, dict[str, None]()
    while folders:
        folder = folders.pop()
        page = _Links()
        page.feed(fs.cat_file(folder).decode("utf-8", "replace"))
        for link in page.found:
            try:
                url = urldefrag(urljoin(folder, link.strip())).url
            except ValueError:  # no address at all
                continue
            path = url.partition("?")[0]
            if not path.startswith(folder) or path == folder or url in seen:
                continue
            seen.add(url)
            if path.endswith("/"):
                folders.append(url)
            else:
                files[url] = None
    return sorted(files)


async def _passing(answer: Any, start: int, stop: int) -> bytes:
    """Range of a file that comes as a whole; nothing is read behind it."""
    parts, at = [], 0
    async for block in answer.content.iter_chunked(1 << 16):
        parts.append(block[max(0, start - at) : max(0, stop - at)])
        at += len(block)
        if at >= stop:
            answer.close()
            break
    return b"".join(parts)

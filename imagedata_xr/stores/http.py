"""Ranges of files on web servers, of which some do not know ranges: fsspec would take the whole for the part."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

SILENCE = 60.0
"""Seconds without a byte after which a request is given up."""

_sizes: WeakKeyDictionary[AbstractFileSystem, dict[str, int]] = WeakKeyDictionary()


def is_http(fs: AbstractFileSystem) -> bool:
    """Tell whether a filesystem is fsspec's of the web."""
    return "http" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol) and hasattr(fs, "set_session")


def http_ranges(
    fs: Any, urls: Sequence[str], starts: Sequence[int], stops: Sequence[int]
) -> list[bytes | BaseException]:
    """Read ranges, all at once; fewer bytes where a file ends, the error of what fails.

    A server that answers with the whole file is read up to the end of the range.
    """

    async def together() -> list[bytes | BaseException]:
        import aiohttp

        session = await fs.set_session()
        limit = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
        asked = [_range(fs, session, limit, *one) for one in zip(urls, starts, stops, strict=True)]
        return await asyncio.gather(*asked, return_exceptions=True)

    result: list[bytes | BaseException] = sync(fs.loop, together)
    return result


def known_size(fs: AbstractFileSystem, url: str) -> int | None:
    """Length of a file, as the server told it with the last range that was read; None if none was."""
    return _sizes.get(fs, {}).get(url)


async def _range(fs: Any, session: Any, limit: Any, url: str, start: int, stop: int) -> bytes:
    if stop <= start:
        return b""
    given = {"timeout": limit, **fs.kwargs}
    given["headers"] = {
        **given.get("headers", {}),
        "Range": f"bytes={start}-{stop - 1}",
        "Accept-Encoding": "identity",
    }
    async with session.get(fs.encode_url(url), **given) as answer:
        if answer.status == 416:  # the file ends before the range begins
            return b""
        fs._raise_not_found_for_status(answer, url)
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", "").strip())
        if answer.status != 206:
            return await _passing(answer, start, stop)
        if told is None or int(told[1]) != start:
            raise OSError(5, "the server answers with another range than it was asked for")
        _sizes.setdefault(fs, {})[url] = int(told[2])
        data: bytes = await answer.read()
        return data[: stop - start]


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

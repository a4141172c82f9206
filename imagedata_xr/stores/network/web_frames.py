"""Frames of images by their number (PS3.18 section 10.4.1.1.6): asked for, checked in form and length, tried again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import SourceError
from ..patience import pause
from .multipart import boundary_of, headed_parts
from .web_client import Client

EXPLICIT_LE = "1.2.840.10008.1.2.1"
NATIVE = ("1.2.840.10008.1.2", EXPLICIT_LE)
_ACCEPT = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
_SYNTAX = re.compile(r'transfer-syntax="?([0-9.]+)')
_TYPE = re.compile(r'type="?([^";]+)')
_JPEG = "1.2.840.10008.1.2.4."
_USUAL = {
    "application/octet-stream": EXPLICIT_LE, "image/jpeg": _JPEG + "70", "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": _JPEG + "80", "image/x-jls": _JPEG + "80", "image/jp2": _JPEG + "90", "image/jpx": _JPEG + "92",
    "image/jphc": _JPEG + "201", "image/jxl": _JPEG + "110",
}  # fmt: skip
"""Transfer syntax of a media type that does not tell it (PS3.18 table 8.7.3-5)."""
_PIECE = 1 << 16


class Got(NamedTuple):
    """A frame as it came, and its transfer syntax."""

    syntax: str
    data: bytes


def fetch_frames(client: Client, place: str, numbers: Sequence[int]) -> list[Got]:
    """Fetch frames of one image, in one request.

    Parameters
    ----------
    client : Client
    place : str
        Path of the image below the service.
    numbers : sequence of int
        From 1.

    Raises
    ------
    SourceError
        The service does not give them, or not in full, after `retries` further tries.
    """
    path = f"{place}/frames/{','.join(str(n) for n in numbers)}"
    found = parts_of(client, path, _ACCEPT)
    if len(found) != len(numbers):
        raise SourceError(
            f"{client.address.server}: {len(found)} frames came of the {len(numbers)} that were asked for"
        )
    return [Got(_syntax(kind), data) for kind, data in found]


def parts_of(client: Client, path: str, accept: str) -> list[tuple[str, bytes]]:
    """Content-Type and content of each part of an answer; an answer that has no parts is one.

    Raises
    ------
    SourceError
        The service refuses, or its answer is cut each time.
    """
    import requests

    for left in range(client.settings.retries, -1, -1):
        with client.request("GET", path, headers={"Accept": accept}) as answer:
            kind = answer.headers.get("Content-Type", "")
            try:
                if "multipart" not in kind.lower():
                    return [(kind, answer.content)]
                found = headed_parts(answer.iter_content(_PIECE), boundary_of(kind))
                return [(own or kind, b"".join(content)) for own, content in found]
            except (requests.exceptions.RequestException, SourceError):
                pass  # not chained: it may hold the request, and with it a password
        if left:
            pause(client.settings.retries - left)
    raise SourceError(
        f"{client.address.server}: the connection was cut within the frames of an image, or they are damaged"
    )


def _syntax(kind: str) -> str:
    """Transfer syntax that a Content-Type names or means; empty for one that holds no frames as they are stored."""
    if found := _SYNTAX.search(kind):
        return found.group(1)
    inner = _TYPE.search(kind) if kind.lower().startswith("multipart") else None
    return _USUAL.get((inner.group(1) if inner else kind.partition(";")[0]).strip().lower(), "")

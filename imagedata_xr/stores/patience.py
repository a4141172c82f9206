"""Which errors of a store may pass, and asking again after a pause that doubles."""

from __future__ import annotations

import asyncio
import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from ..options import options

T = TypeVar("T")

PAUSE = 0.2
"""Seconds before asking for the second time."""

LONGEST = 10.0
"""Seconds that a server may have us wait before we ask again."""

_NUMBERS = (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EBUSY)
_PASSING = {  # families of aiohttp, botocore and fsspec, which need not be installed
    "ClientConnectionError", "ClientPayloadError", "ConnectionClosedError", "ReadTimeoutError", "ConnectTimeoutError",
    "ConnectionError", "FSTimeoutError", "IncompleteReadError",
}  # fmt: skip
_LASTING = {"ClientConnectorError", "EndpointConnectionError", "ClientConnectorCertificateError"}
"""No server there, no such host, no trust: asking again is of no use."""
_STATUS = (408, 425, 429)


def may_pass(error: object) -> bool:
    """Tell whether asking again may help: the server was busy or failed (5xx), the connection broke, time ran out."""
    while isinstance(error, BaseException):
        status = getattr(error, "status", None)
        if isinstance(status, int):
            return status >= 500 or status in _STATUS
        family = {kind.__name__ for kind in type(error).__mro__}
        if family & _LASTING:
            return False
        if isinstance(error, asyncio.TimeoutError | TimeoutError) or family & _PASSING:
            return not isinstance(error, ConnectionRefusedError)
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        error = error.__cause__
    return False


def real_error(error: Exception) -> Exception:
    """Give what really happened: fsspec calls whatever fails on the web a file that is not found."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        status = getattr(cause, "status", None)
        family = {kind.__name__ for kind in type(cause).__mro__}
        if (isinstance(status, int) and status not in (404, 410)) or family & (_PASSING | _LASTING):
            return cause
    return error


def pause(attempt: int, asked: float = 0.0) -> None:
    """Wait before asking again, after the attempt of this number (from 0): each time twice as long, somewhat at random.

    Many that failed together then do not come back together. A server that asks for a longer wait, in seconds, gets
    it, up to ten of them.
    """
    time.sleep(max(PAUSE * 2**attempt * random.uniform(0.7, 1.3), min(asked, LONGEST)))


def patiently(ask: Callable[[], T]) -> T:
    """Return what a call gives; after an error that may pass it is tried again, `options().retries` times."""
    for attempt in range(options().retries):
        try:
            return ask()
        except Exception as error:  # stores have their own families of errors
            if not may_pass(error):
                raise
            pause(attempt)
    return ask()

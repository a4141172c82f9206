"""One request by HTTP, for all stores that speak it: tried again where trouble may pass, errors in our words."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import SourceError
from .settings import Settings

if TYPE_CHECKING:
    import requests

PASSING = (429, 500, 502, 503, 504)
"""Answers of HTTP after which another try may help."""
_LONGEST = 10.0
"""Seconds that a server may have us wait before we try again."""


def new_session(settings: Settings, at_once: int = 10) -> requests.Session:
    """Session of HTTP with our certificate, where there is one; who asks is up to the caller.

    Parameters
    ----------
    settings : Settings
    at_once : int
        Connections that are kept open.
    """
    import requests

    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=at_once)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    if settings.cert:
        session.cert = (settings.cert, settings.key) if settings.key else settings.cert
    return session


def exchange(
    session: requests.Session, settings: Settings, server: str, method: str, url: str, *,
    again: bool, body: Callable[[], Any] | None = None, **options: Any,
) -> requests.Response:  # fmt: skip
    """Send a request and return its answer, whatever its state; the body of the answer is not read yet.

    Parameters
    ----------
    session : requests.Session
    settings : Settings
    server : str
        Its address, for errors.
    method, url : str
    again : bool
        Whether sending it twice does no harm; else it is sent once.
    body : callable, optional
        Gives what is sent, anew for each try.
    **options
        For `requests.Session.request`.

    Raises
    ------
    SourceError
        The server can't be reached, or is not whom it should be. No error of requests is behind it: these carry the
        request, which may hold a password.
    """
    import requests

    for left in range(settings.retries if again else 0, -1, -1):
        why, wait = "", ""
        try:
            answer = session.request(
                method, url, timeout=(settings.connect, settings.timeout), stream=True,
                # with each request, since a variable of the environment would win over that of the session
                verify=settings.ca or True, data=None if body is None else body(), **options,
            )  # fmt: skip
        except requests.exceptions.SSLError as error:
            why, left = f"no encrypted connection: {tls_reason(error)}", 0
        except requests.exceptions.RequestException as error:
            why = f"the server can't be reached: {network_reason(error)}"
        except OSError as error:
            why, left = _unsent(error, settings), 0
        if why and not left:
            raise SourceError(f"{server}: {why}")  # not within the except, which would add what it holds
        if not why:
            if answer.status_code not in PASSING or not left:
                return answer
            wait = answer.headers.get("Retry-After", "")
            answer.close()
        tried = settings.retries + 1 - left
        time.sleep(min(float(wait) if wait.isdigit() else 0.2 * 2**tried * random.uniform(0.5, 1), _LONGEST))
    raise AssertionError("the loop returns or raises")


def _unsent(error: OSError, settings: Settings) -> str:
    """Say why a request did not even leave."""
    if "certificate" not in str(error).lower():
        return f"the request can't be sent: {error.strerror or type(error).__name__}"
    files = ", ".join(f for f in (settings.ca, settings.cert, settings.key) if f)
    return f"the certificates in {files or 'the environment'} can't be used"


def tls_reason(error: Exception) -> str:
    """Say why there is no encrypted connection."""
    text = str(error)
    if "Hostname mismatch" in text or "doesn't match" in text or "IP address mismatch" in text:
        return "its certificate is for another host"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not accepted; ca= names a file of trusted ones"
    return "the handshake fails; the service may want a certificate of ours (cert=, key=)"


def network_reason(error: Exception) -> str:
    """Say why there is no connection."""
    kind = type(error).__name__
    return {"ConnectTimeout": "no answer in time", "ReadTimeout": "no answer in time"}.get(
        kind, "the connection is refused or was cut"
    )

"""Requests of XNAT: logged in once, out in the end, tried again where trouble may pass, errors in our words."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ....errors import NotFoundError, SourceError
from ..exchange import exchange, new_session
from ..settings import Settings
from .address import SCHEMES, XnatAddress
from .credentials import is_alias, with_credentials

if TYPE_CHECKING:
    import requests

WORKERS = 8
"""Files that are fetched at once."""


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """Log of the client library, which also wants a level of its own."""

    def verbose(self, message: str, *args: object, **more: Any) -> None:
        """Log with little weight."""
        self.debug(message, *args, **more)


_log = _Logger(logging.getLogger(__name__), {})


class Client:
    """A session with a server, logged in on entering and logged out on leaving.

    Parameters
    ----------
    address : XnatAddress
    settings : Settings
        Completed with the user and password that the environment or ``.netrc`` holds.
    """

    def __init__(self, address: XnatAddress, settings: Settings) -> None:
        try:
            import requests  # noqa: F401
            import xnat  # noqa: F401
        except ImportError:
            raise SourceError("addresses of XNAT need the package xnat: pip install 'imagedata-xr[xnat]'") from None
        self.address, self.settings = address, with_credentials(address, settings)
        self.base = f"{_transport(address, self.settings)}://{address.host}"
        self.session: Any = None
        self.http: Any = None
        self._logins = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Client:
        """Log in: two requests."""
        self._login()
        return self

    def __exit__(self, *exc: object) -> None:
        """Log out."""
        session, self.session = self.session, None
        self._logout(session)

    def rows(self, path: Sequence[str], columns: str = "") -> list[dict[str, str]]:
        """Ask for a listing: rows of texts."""
        found = self.json(path, {"columns": columns} if columns else {})
        try:
            return [{k: str(v) for k, v in row.items()} for row in found["ResultSet"]["Result"]]
        except (KeyError, TypeError, AttributeError):
            raise SourceError(f"{self.address.server} does not answer with a listing: is it XNAT?") from None

    def json(self, path: Sequence[str], query: Mapping[str, str] | None = None) -> Any:
        """Ask for JSON."""
        import requests

        asked, text = {**(query or {}), "format": "json"}, None
        for _ in range(self.settings.retries + 1):
            with (
                self.request("GET", path, asked, pages=False) as answer,
                contextlib.suppress(requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError),
            ):
                text = answer.content
                break
        if text is None:
            raise SourceError(f"{self.address.server}: the connection was cut within a listing")
        with contextlib.suppress(ValueError):
            return json.loads(text)
        raise SourceError(f"{self.address.server} does not answer with JSON: is it XNAT?")

    @contextmanager
    def request(
        self, method: str, path: Sequence[str], query: Mapping[str, str] | None = None, *,
        accept: tuple[int, ...] = (), again: bool | None = None, pages: bool = True,
        body: Callable[[], Any] | None = None, **options: Any,
    ) -> Iterator[requests.Response]:  # fmt: skip
        """Send a request; the answer is of success, or one of `accept`.

        Parameters
        ----------
        method : str
        path : sequence of str
            Parts below ``/data``.
        query : mapping, optional
        accept : tuple of int
            States that are no errors.
        again : bool, optional
            Whether sending it twice does no harm; by default for GET.
        pages : bool
            Whether a web page may be what was asked for; where not, it is taken for that of the login.
        body : callable, optional
            Gives what is sent.

        Raises
        ------
        NotFoundError
            For 404.
        SourceError
            For another failure; nothing that the server wrote is repeated, since it may name a patient.
        """
        again = method == "GET" if again is None else again
        before = self._logins
        answer = self._send(method, path, query, again, body, options)
        if self._wants_login(answer, pages) and self.settings.username and (again or answer.status_code == 401):
            answer.close()
            _log.info("%s: the session has ended; logging in again", self.address.server)
            self._login(before)
            answer = self._send(method, path, query, again, body, options)
        try:
            self._judge(answer, accept, pages)
            yield answer
        finally:
            answer.close()

    def _wants_login(self, answer: requests.Response, pages: bool) -> bool:
        page = not pages and "html" in answer.headers.get("Content-Type", "").lower() and answer.ok
        return answer.status_code == 401 or 300 <= answer.status_code < 400 or page

    def _judge(self, answer: requests.Response, accept: tuple[int, ...], pages: bool) -> None:
        code, server = answer.status_code, self.address.server
        if code in accept:
            return
        if code == 404:
            raise NotFoundError(
                f"{server} holds no such project, subject, experiment, scan or resource, or does not show it to "
                f"{'this user' if self.settings.username else 'guests'}"
            )
        if 300 <= code < 400:
            target = urlsplit(answer.headers.get("Location", "")).netloc
            to = f" to {target.rpartition('@')[2]}" if target and target != self.address.host else ""
            raise SourceError(f"{server} leads elsewhere{to} (HTTP {code}): its login page, or another address")
        if not answer.ok:
            raise SourceError(f"{server}: {_meaning(code, self.settings)}")
        if self._wants_login(answer, pages):
            raise SourceError(f"{server} answers with a web page in place of data: the user may have to log in")

    def _send(
        self, method: str, path: Sequence[str], query: Mapping[str, str] | None, again: bool,
        body: Callable[[], Any] | None, options: dict[str, Any],
    ) -> requests.Response:  # fmt: skip
        below = f"/data/{'/'.join(quote(part, safe='') for part in path)}"
        return self._exchange(self.http, method, below, again, body, params=query, **options)

    def _exchange(
        self, http: requests.Session, method: str, below: str, again: bool = True,
        body: Callable[[], Any] | None = None, **options: Any,
    ) -> requests.Response:  # fmt: skip
        return exchange(
            http, self.settings, self.address.server, method, f"{self.base}{below}", again=again, body=body,
            allow_redirects=False, **options,
        )  # fmt: skip

    def _login(self, before: int = 0) -> None:
        """Log in, unless another thread did so since `before`."""
        with self._lock:
            if self._logins != before:
                return
            import requests
            from xnat.session import XNATSession
            from xnat.utils import JSessionAuth

            http = new_session(self.settings, WORKERS)
            user = self._authenticate(http)
            http.auth = JSessionAuth()  # else requests looks for passwords by itself
            # in the requests of the client library too a variable of the environment must not win over ca=
            http.request = partial(http.request, verify=self.settings.ca or True)  # type: ignore[method-assign]
            why = ""
            try:
                session = XNATSession(
                    server=self.base, logger=_log, interface=http, logged_in_user=user, keepalive=False,
                    default_timeout=(self.settings.connect, self.settings.timeout),
                )  # fmt: skip
            except (requests.exceptions.RequestException, ValueError, OSError) as error:
                why = type(error).__name__
            if why:
                with contextlib.suppress(SourceError):  # what was logged in is not left behind
                    self._exchange(http, "DELETE", "/data/JSESSION", False).close()
                http.close()
                raise SourceError(f"{self.address.server}: no session can be opened ({why})")
            # other threads may be using the session that has ended, until they notice it too
            before_it, self.session, self.http = self.session, session, http
            self._logins += 1
            self._logout(before_it)

    def _authenticate(self, http: requests.Session) -> str:
        user, password = self.settings.username, self.settings.password
        if not user or is_alias(user):
            from requests.auth import HTTPBasicAuth
            from xnat.utils import JSessionAuth

            http.auth = HTTPBasicAuth(user, password) if user else JSessionAuth()
            answer = self._exchange(http, "GET", "/data/JSESSION")
        else:
            from xnat.utils import JSessionAuth

            http.auth = JSessionAuth()
            form = {"username": user, "password": password}
            answer = self._exchange(http, "PUT", "/data/services/auth", True, lambda: form)
        code, page = answer.status_code, answer.headers.get("Content-Type", "").lower()
        text = answer.text if "html" not in page else ""
        answer.close()
        if code in (401, 403) or (code == 200 and "html" in page):
            raise SourceError(f"{self.address.server}: the user and the password are not accepted ({code})")
        if code != 200 or not text.strip():
            raise SourceError(
                f"{self.address.server}: no login, the server answers with HTTP status {code}: is it XNAT?"
            )
        if not http.cookies.get("JSESSIONID"):
            http.cookies.set("JSESSIONID", text.strip())
        return user or "guest"

    def _logout(self, session: Any) -> None:
        if session is None:
            return
        import requests

        try:
            session.disconnect()
        except (requests.exceptions.RequestException, ValueError, OSError) as error:
            # the session has ended already, or ends by itself
            _log.info("%s: no logout (%s)", self.address.server, type(error).__name__)
            if session.interface is not None:
                session.interface.close()


def _meaning(code: int, settings: Settings) -> str:
    who = "this user" if settings.username else "a guest; give username= and password=, or a line in ~/.netrc"
    return {
        401: f"the server wants to know who asks (401), and does not accept {who}",
        403: f"the server does not allow this (403) to {who}",
        409: "something of this name is there already (409)",
        413: "the server refuses so much data at once (413)",
    }.get(code, f"the server fails with HTTP status {code}")


def _transport(address: XnatAddress, settings: Settings) -> str:
    """``https``; on this machine itself ``http`` where a server does not encrypt."""
    found = urlsplit(f"//{address.host}")
    host = found.hostname or ""
    if address.scheme != "xnat" or found.port is None or not _is_loopback(host):
        return SCHEMES[address.scheme]
    context = ssl.create_default_context()
    try:
        with socket.create_connection((host, found.port), settings.connect) as plain:
            plain.settimeout(settings.connect)
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError:
        return "https"  # judged with the certificates of the settings later
    except ssl.SSLError as error:
        return "http" if error.reason in _NO_TLS else "https"
    except OSError:
        return "https"
    return "https"


_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

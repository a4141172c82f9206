"""Requests of DICOMweb (PS3.18): questions, whole series as a stream, and storing; errors in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...errors import NotFoundError, SourceError
from .exchange import exchange, new_session
from .settings import Settings
from .web_address import WebAddress

if TYPE_CHECKING:
    import requests

_JSON = {"Accept": "application/dicom+json"}
_PAGE = 1000


class Client:
    """A connection to a service, to be closed."""

    def __init__(self, address: WebAddress, settings: Settings) -> None:
        try:
            import requests  # noqa: F401
        except ImportError:
            raise SourceError("addresses of DICOMweb need requests: pip install 'imagedata-xr[net]'") from None
        self.address, self.settings = address, settings
        self.session = new_session(settings)
        self.session.trust_env = not (settings.token or settings.username)  # no other secrets from ~/.netrc
        if settings.token:
            self.session.headers["Authorization"] = f"Bearer {settings.token}"
        elif settings.username:
            self.session.auth = (settings.username, settings.password)

    def __enter__(self) -> Client:
        """Give itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connection."""
        self.session.close()

    def ask(
        self, path: str, keys: Mapping[str, str], fields: Iterable[str], count: int | None = None
    ) -> list[dict[str, Any]]:
        """Ask (QIDO-RS) for everything below a path that matches; rows are DICOM JSON.

        A service may give fewer rows at once than it is asked for. So it is asked for more until there are `count`,
        or none is left.
        """
        rows: list[dict[str, Any]] = []
        while True:
            query: list[tuple[str, str]] = [*keys.items(), *(("includefield", f) for f in fields)]
            query += [("limit", str(_PAGE)), ("offset", str(len(rows)))]
            with self.request("GET", path, params=query, headers=_JSON) as answer:
                if answer.status_code == 204 or not answer.content:
                    return rows
                page = self._json(answer)
            # a service without pages gives all each time
            known = {repr(row) for row in rows}
            new = [row for row in page if repr(row) not in known]
            rows += new
            if not new or (count is not None and len(rows) >= count):
                return rows

    def _json(self, answer: requests.Response) -> list[dict[str, Any]]:
        try:
            page = answer.json()
        except ValueError:
            page = None
        if not isinstance(page, list):
            raise SourceError(f"{self.address.server} does not answer a question with DICOM JSON: is it DICOMweb?")
        return page

    @contextmanager
    def request(
        self, method: str, path: str, *,
        accept: tuple[int, ...] = (), body: Callable[[], Any] | None = None, **more: Any,
    ) -> Iterator[requests.Response]:  # fmt: skip
        """Send a request, again where the trouble may pass; the answer is of success, or one of `accept`.

        Raises
        ------
        NotFoundError
            For 404.
        SourceError
            For another failure; nothing that the service wrote is repeated, since it may name a patient.
        """
        import requests

        answer = exchange(
            self.session, self.settings, self.address.server, method, f"{self.address.base}{path}",
            again=method == "GET", body=body, allow_redirects=method == "GET", **more,
        )  # fmt: skip
        try:
            if answer.status_code == 404 and 404 not in accept:
                raise NotFoundError(f"{self.address.server} holds no such study, series or image")
            if not answer.ok and answer.status_code not in accept:
                raise SourceError(f"{self.address.server}: {_meaning(answer.status_code)}")
            yield answer
        except requests.exceptions.RequestException:
            # not chained: it holds the request, and with it a password
            raise SourceError(f"{self.address.server}: the connection was cut within an answer") from None
        finally:
            answer.close()


def _meaning(code: int) -> str:
    return {
        400: "the service does not understand the request (400)",
        401: "the service wants to know who asks (401): username= and password=, or token=",
        403: "the service does not allow this (403)",
        406: "the service can't give images as they are stored (406)",
        413: "the service refuses so much data at once (413)",
    }.get(code, f"the service fails with HTTP status {code}")


def value(row: Mapping[str, Any], tag: str) -> str:
    """First value of an element of DICOM JSON as a text; empty where there is none."""
    found = (row.get(tag) or {}).get("Value") or [""]
    first = found[0]
    if isinstance(first, dict):  # a name
        return str(first.get("Alphabetic", ""))
    return "" if first is None else str(first)


def values(row: Mapping[str, Any], tag: str) -> list[str]:
    """All values of an element."""
    return [str(v) for v in (row.get(tag) or {}).get("Value") or []]

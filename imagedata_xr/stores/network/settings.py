"""Settings of a connection: as arguments, else from the environment, else from a file of the user."""

from __future__ import annotations

import os
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...errors import SourceError

VARIABLE = "IMAGEDATA_XR_"
"""What the name of an environment variable begins with: ``IMAGEDATA_XR_AET``, ``IMAGEDATA_XR_CA``, ..."""
FILE_VARIABLE = "IMAGEDATA_XR_NETWORK"
"""Environment variable with the path of the file of settings."""

_SECRET = ("password", "token")


@dataclass(frozen=True)
class Settings:
    """How to connect to an archive of images.

    Attributes
    ----------
    aet : str
        Own application entity title, at most 16 characters.
    port : int
        Own port, on which an archive without C-GET can send by C-MOVE, and confirm what it keeps; 0 for none.
    connect, timeout : float
        Seconds to wait for a connection, and for an answer.
    retries : int
        How often a connection is tried again that could not be made.
    tls : bool
        Encrypt; the host is verified always.
    ca, cert, key : str
        Files (PEM): certificates that are trusted, in place of those of the system; own certificate and its key.
    username, password, token : str
        Who asks: user identity of DIMSE; basic or bearer authentication of DICOMweb.
    resend : bool
        Allow images under UIDs that the archive holds already.
    commit : bool
        Ask the archive to confirm that it keeps what it got (storage commitment).
    verify : bool
        Ask, after images were sent, whether the archive lists them.
    keep : bool
        Keep what was fetched in the cache folder of the user, in place of one that is gone when the process ends.
    lazy : bool
        Of DICOMweb: fetch headers only, and frames when they are asked for.
    """

    aet: str = "IMAGEDATA_XR"
    port: int = 0
    connect: float = 10.0
    timeout: float = 60.0
    retries: int = 2
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    username: str = ""
    password: str = ""
    token: str = ""
    resend: bool = False
    commit: bool = False
    verify: bool = True
    keep: bool = False
    lazy: bool = False

    def __repr__(self) -> str:
        """All but the secrets."""
        shown = ", ".join(
            f"{f.name}={'***' if f.name in _SECRET and getattr(self, f.name) else getattr(self, f.name)!r}"
            for f in fields(self)
        )
        return f"Settings({shown})"

    def __reduce__(self) -> Any:
        """Secrets are not pickled: whoever needs them has them in the environment or the file."""
        state = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _SECRET}
        return _made, (state,)

    def context(self) -> ssl.SSLContext:
        """TLS context that verifies the certificate and the name of the host.

        Raises
        ------
        SourceError
            A file of certificates can't be used.
        """
        return self._context(ssl.Purpose.SERVER_AUTH)

    def own_context(self) -> ssl.SSLContext:
        """TLS context for a server of ours, which shows our certificate and wants one of who connects.

        Raises
        ------
        SourceError
            There is no certificate to show, or a file of certificates can't be used.
        """
        if not self.cert:
            raise SourceError(
                f"the archive is to connect to our port={self.port}, which with encryption needs a certificate of ours "
                "(cert=, key=)"
            )
        context = self._context(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(purpose, cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(f for f in (self.ca, self.cert, self.key) if f)
            raise SourceError(f"the certificates in {files} can't be used: {error.strerror or error}") from error
        return context


def _made(state: Mapping[str, Any]) -> Settings:
    return Settings(**state)


def settings_for(host: str, given: Mapping[str, Any] | None, **fixed: Any) -> Settings:
    """Settings of a host.

    Parameters
    ----------
    host : str
        ``host`` or ``host:port``, by which the file has a table of its own.
    given : mapping, optional
        ``storage_options``, which win.
    **fixed
        What the address says, such as ``tls``.

    Raises
    ------
    SourceError
        For an unknown setting or one of another type.
    """
    values: dict[str, Any] = {}
    stored = _file()
    for name in ("default", host.rpartition(":")[0] or host, host):
        values |= stored.get(name, {})
    values |= {f.name: os.environ[n] for f in fields(Settings) if (n := VARIABLE + f.name.upper()) in os.environ}
    values |= fixed
    values |= dict(given or {})
    known = {f.name: f for f in fields(Settings)}
    if strange := sorted(set(values) - set(known)):
        raise SourceError(f"unknown settings of a connection: {', '.join(strange)}; there are {', '.join(known)}")
    out = replace(Settings(), **{name: _typed(name, value) for name, value in values.items()})
    if not 1 <= len(out.aet.strip()) <= 16 or not out.aet.isascii():
        raise SourceError(f"aet={out.aet!r}: an application entity title has 1 to 16 ASCII characters")
    return out


def _typed(name: str, value: Any) -> Any:
    kind = type(getattr(Settings(), name))
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("0", "1", "true", "false", "yes", "no", ""):
            raise SourceError(f"{name}={value!r}: it is true or false")
        return value.lower() in ("1", "true", "yes")
    if kind is not bool and isinstance(value, bool):
        raise SourceError(f"{name}: a {kind.__name__} is wanted, not a bool")
    try:
        return kind(os.fspath(value) if isinstance(value, os.PathLike) else value)
    except (TypeError, ValueError):
        shown = "" if name in _SECRET else f"={value!r}"
        raise SourceError(f"{name}{shown}: a {kind.__name__} is wanted") from None


def _file() -> dict[str, dict[str, Any]]:
    """Tables of the file of settings, by host; ``default`` holds for all."""
    named = os.environ.get(FILE_VARIABLE)
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    path = Path(named).expanduser() if named else Path(base).expanduser() / "imagedata_xr" / "network.toml"
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if named:
            raise SourceError(f"{path}, which {FILE_VARIABLE} names, does not exist") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourceError(f"{path}, the settings of connections, can't be read: {type(error).__name__}") from error
    return {name: table for name, table in found.items() if isinstance(table, dict)}

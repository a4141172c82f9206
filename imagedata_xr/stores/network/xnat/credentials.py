"""Who asks: from the settings, the environment, or ``.netrc``; nobody is ever prompted."""

from __future__ import annotations

import netrc
import os
import re
from dataclasses import replace
from pathlib import Path

from ....errors import SourceError
from ..settings import Settings
from .address import XnatAddress

_ALIAS = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def with_credentials(address: XnatAddress, settings: Settings) -> Settings:
    """Settings with the user and password for a server, both empty for a guest.

    What the settings say comes first, then ``XNAT_USER`` and ``XNAT_PASS``, then ``.netrc`` (``$NETRC``, else that of
    the home folder) by ``host:port`` and by ``host``.

    Raises
    ------
    SourceError
        A user without password, or a ``.netrc`` that others can read or that is damaged.
    """
    if settings.token:
        raise SourceError(
            "XNAT has no bearer tokens: an alias token is given as username= (alias) and password= (secret)"
        )
    if settings.commit:
        raise SourceError("XNAT has no storage commitment: what is sent is compared with its listing in any case")
    user, password = settings.username, settings.password
    if not user and not password and os.environ.get("XNAT_USER"):
        user, password = os.environ["XNAT_USER"], os.environ.get("XNAT_PASS", "")
    if not (user and password):
        found = _from_netrc(address.host)
        if found is not None and user in ("", found[0]):
            user, password = found
    if bool(user) != bool(password):
        raise SourceError(
            f"{address.server}: {'a user without a password' if user else 'a password without a user'}: give both as "
            "storage_options (username=, password=), as XNAT_USER and XNAT_PASS, or in ~/.netrc"
        )
    return replace(settings, username=user, password=password)


def is_alias(user: str) -> bool:
    """Whether a user is an alias token, which XNAT accepts by basic authentication only."""
    return _ALIAS.fullmatch(user) is not None


def _from_netrc(host: str) -> tuple[str, str] | None:
    named = os.environ.get("NETRC")
    path = Path(named).expanduser() if named else Path.home() / ".netrc"
    try:
        status = path.stat()
    except OSError:
        return None
    # Python looks at who may read the file only where it finds it by itself
    if hasattr(os, "getuid") and status.st_mode & 0o077:
        raise SourceError(f"{path} can be read by others, so its passwords are not used: chmod 600 {path}")
    why = ""
    try:
        entries = netrc.netrc(str(path))
    except (OSError, UnicodeDecodeError):
        why = "it can't be read"
    except netrc.NetrcParseError as error:
        why = f"line {error.lineno} is not understood"  # its text may hold a password
    if why:
        raise SourceError(f"{path}: {why}")
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    for one in (host, name, name.strip("[]")):
        if one in entries.hosts:
            break
    found = entries.authenticators(one)
    return (found[0], found[2] or "") if found is not None and found[0] else None

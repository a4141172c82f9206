"""A session with a server that is shared by all file systems of a process, logged in when it is needed first."""

from __future__ import annotations

import os
import threading
import weakref

from ..settings import Settings
from .address import XnatAddress
from .client import Client

_open: weakref.WeakValueDictionary[tuple[str, Settings, int], Connection] = weakref.WeakValueDictionary()
_guard = threading.Lock()


class Connection:
    """Logs in on the first request, and out when nobody needs it any more, or the process ends."""

    def __init__(self, address: XnatAddress, settings: Settings) -> None:
        self._at = address, settings
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._end: weakref.finalize[[Client, int], Connection] | None = None

    def client(self) -> Client:
        """Client that is logged in."""
        with self._lock:
            if self._client is None:
                client = Client(*self._at).__enter__()
                self._client, self._end = client, weakref.finalize(self, _leave, client, os.getpid())
            return self._client

    def close(self) -> None:
        """Log out; the next request logs in again."""
        with self._lock:
            end, self._client, self._end = self._end, None, None
        if end is not None:
            end()


def shared(address: XnatAddress, settings: Settings) -> Connection:
    """Connection of this process to a server for a user."""
    # not those of the process that this one was forked from: their sockets are its
    key = (address.server, settings, os.getpid())
    with _guard:
        found = _open.get(key)
        if found is None:
            found = _open[key] = Connection(address, settings)
        return found


def _leave(client: Client, owner: int) -> None:
    if os.getpid() == owner:
        client.__exit__()

"""What XNAT holds as a tree of folders: its paths and listings, for the file system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

from fsspec import AbstractFileSystem

from ....errors import NotFoundError, SourceError
from ..settings import settings_for
from .address import LEVELS, SCHEMES, XnatAddress
from .client import Client
from .connection import Connection, shared
from .contents import experiment_path, files_of, scans_of
from .credentials import with_credentials

_SECRET = ("username", "password", "token")
_LISTING = ("use_listings_cache", "listings_expiry_time", "max_paths")
_NAMES = {0: ("ID",), 1: ("label", "ID"), 2: ("label", "ID"), 3: ("ID",), 4: ("label", "xnat_abstractresource_id")}
"""Columns of a listing below so many parts of a path that name what is listed, the first that has a value."""


class XnatTree(AbstractFileSystem):  # type: ignore[misc]
    """Paths and listings; parameters as for `XnatFileSystem`."""

    protocol = tuple(SCHEMES)
    root_marker = ""
    names_are_safe = True  # no user, password or query is part of them

    def __init__(self, host: str, scheme: str = "xnat", **options: Any) -> None:
        super().__init__(**{k: v for k, v in options.items() if k in _LISTING})
        given = {k: v for k, v in options.items() if k not in _LISTING}
        self.at = XnatAddress(scheme, host.lower())
        self._settings = settings_for(self.at.host, given)
        self._own: Connection | None = None

    @property
    def storage_options(self) -> dict[str, Any]:
        """Options without secrets: those that are pickled and made JSON."""
        return self._told

    @storage_options.setter
    def storage_options(self, given: Mapping[str, Any]) -> None:
        self._told = {k: v for k, v in given.items() if k not in _SECRET}

    @property
    def _client(self) -> Client:
        # who asks is looked up each time: what was missing may be in the environment by now
        self._own = shared(self.at, with_credentials(self.at, self._settings))
        return self._own.client()

    def close(self) -> None:
        """Log out; the next request logs in again."""
        if self._own is not None:
            self._own.close()

    # --- paths -------------------------------------------------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = str(path)
        scheme, mark, rest = text.partition("://")
        if mark and scheme in SCHEMES:
            return "/".join(unquote(part) for part in rest.partition("/")[2].split("/")).rstrip("/")
        return text.strip("/")

    @staticmethod
    def _get_kwargs_from_urls(url: str) -> dict[str, Any]:
        scheme, _, rest = url.partition("://")
        host = rest.partition("/")[0]
        if "@" in host:
            raise SourceError(
                "an address of XNAT holds no user or password: give them as storage_options, in the environment, in "
                "~/.netrc, or in the file of settings"
            )
        return {"host": host, "scheme": scheme}

    def unstrip_protocol(self, name: str) -> str:
        """Address of a path."""
        return f"{self.at.server}/{quote(self._strip_protocol(name))}"

    def _place(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Path below ``/data`` of what the first parts of a path name, down to a resource."""
        if any(part in (".", "..") for part in parts):
            raise NotFoundError(f"{self.at.server}: '.' and '..' are no names")
        below = ("projects", "subjects", "experiments", "scans", "resources")
        some = list(zip(below, parts, strict=False))
        if len(some) > 2 and not parts[1]:
            address = XnatAddress(self.at.scheme, self.at.host, parts[0], "", parts[2])
            head, some = experiment_path(self._client, address), some[3:]
        else:
            head = ()
        return (*head, *(word for pair in some for word in pair))

    # --- listings ----------------------------------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, refresh: bool = False, **more: Any) -> list[Any]:
        """List what is directly below a path; one request for each folder, and for all files of a resource."""
        path = self._strip_protocol(path)
        if refresh:
            self.invalidate_cache(path)
        rows = self.dircache[path] if path in self.dircache else self._listed(path)
        return rows if detail else sorted(row["name"] for row in rows)

    def _listed(self, path: str) -> list[dict[str, Any]]:
        parts = path.split("/") if path else []
        if len(parts) >= len(LEVELS):
            return self._files(path, parts)
        client = self._client
        if len(parts) == 3:
            found = scans_of(client, self._place(parts))
        else:
            word = ("projects", "subjects", "experiments", "", "resources")[len(parts)]
            columns = ("ID,name", "ID,label", "ID,label,date,xsiType", "", "")[len(parts)]
            found = client.rows((*self._place(parts), word), columns)
        rows = []
        for row in found:
            names = [row[k] for k in _NAMES[len(parts)] if row.get(k) and "/" not in row[k]]
            if names:
                name = "/".join([*parts, names[0]])
                rows.append({"name": name, "size": 0, "type": "directory", "ids": tuple(names), "xnat": row})
        self.dircache[path] = rows
        return rows

    def _files(self, path: str, parts: list[str]) -> list[dict[str, Any]]:
        """List all files of a resource; returns what is directly below a path of it."""
        top = "/".join(parts[: len(LEVELS)])
        folders: dict[str, dict[str, dict[str, Any]]] = {top: {}}
        for file in files_of(self._client, self._place(parts[: len(LEVELS)])):
            name = f"{top}/{file.name}"
            inside = file.name.split("/")
            for depth in range(1, len(inside)):
                folder = "/".join([top, *inside[:depth]])
                folders.setdefault(folder, {})
                row = {"name": folder, "size": 0, "type": "directory"}
                folders[self._parent(folder)].setdefault(folder, row)
            row = {"name": name, "size": file.size, "type": "file", "md5": file.digest, "file": file.name}
            folders[self._parent(name)][name] = row
        for folder, rows in folders.items():
            self.dircache[folder] = list(rows.values())
        if path in folders:
            return list(folders[path].values())
        one = folders.get(self._parent(path), {}).get(path)
        if one is None:
            raise NotFoundError(f"{self.at.server}: the resource has no such file or folder")
        return [one]

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        """Tell the type of a path, and the size and MD5 of a file, from the listing of its folder or resource."""
        path = self._strip_protocol(path)
        parts = path.split("/")
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        if len(parts) == 3 and not parts[1]:  # an experiment without its subject
            self._place(parts)
            return {"name": path, "size": 0, "type": "directory"}
        for row in self.ls(self._parent(path)):
            if row["name"] == path or parts[-1] in row.get("ids", ()):
                return {**row, "name": path}
        raise NotFoundError(f"{self.at.server} has nothing of this name there, or does not show it")

    def walk(
        self, path: str, maxdepth: int | None = None, topdown: bool = True, on_error: Any = None, **more: Any
    ) -> Any:
        """Walk as all file systems do; but trouble with a listing is an error, where others pass over it."""
        return super().walk(path, maxdepth, topdown, on_error=on_error or _unless_missing, **more)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Ask anew for listings: all, or that of a path with those below, and that in which it stands."""
        if path is None:
            self.dircache.clear()
            return
        path = self._strip_protocol(path)
        for known in list(self.dircache):
            if known in (path, self._parent(path)) or known.startswith(f"{path}/"):
                self.dircache.pop(known, None)

    def ukey(self, path: str) -> str:
        """Text that changes with a file: its MD5, where the site computes it."""
        info = self.info(path)
        return str(info.get("md5") or sha256(str(info).encode()).hexdigest())

    def checksum(self, path: str) -> int:
        """Give `ukey` as a number."""
        return int(sha256(self.ukey(path).encode()).hexdigest(), 16)

    def _there(self, path: str) -> bool:
        """Whether something is there; unlike `exists`, trouble is an error and does not mean no."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error

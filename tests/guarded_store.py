"""A store of fsspec that gives files only to who has its token."""

from __future__ import annotations

from typing import Any

from fsspec.implementations.dirfs import DirFileSystem


class Guarded(DirFileSystem):  # type: ignore[misc]
    """Files of a local folder, behind a token."""

    protocol = "guarded"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix("guarded://").rpartition("@")[2].partition("?")[0].rstrip("/")

    def __init__(self, root: str = "", token: str = "", key: str = "", **options: Any) -> None:
        if token != "very-secret-value" or not key:
            raise PermissionError("no token")
        super().__init__(path=root, target_protocol="file")

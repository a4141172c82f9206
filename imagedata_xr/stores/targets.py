"""Where a target lies: its file system and path there."""

from __future__ import annotations

import os
from typing import Any

from fsspec.core import url_to_fs

from ..errors import SourceError
from .files import strip_credentials
from .registry import StorageOptions


def place_of_target(target: str, storage_options: StorageOptions = None) -> tuple[Any, str]:
    """Filesystem and path of a target; `SourceError` for an address that leads nowhere."""
    try:
        fs, path = url_to_fs(os.fspath(target), **dict(storage_options or {}))
    except (ValueError, ImportError) as error:
        raise SourceError(f"{strip_credentials(str(target))} can't be written: {error}") from error
    return fs, path

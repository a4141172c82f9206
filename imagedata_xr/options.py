"""Settings of the whole process: the cache of scans, what archives may unpack to, how often stores are asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from .errors import LabelError

FOLDER_VARIABLE = "IMAGEDATA_XR_CACHE"
"""Environment variable with the folder of the cache."""


@dataclass(frozen=True)
class Options:
    """What can be set; see `set_options`."""

    cache: Literal["auto", "on", "off"] = "auto"
    cache_folder: str | None = None
    cache_size: int = 256 * 1024 * 1024
    transfer_size: int = 20 * 1024**3
    progress: Callable[[str, int, int, int], None] | None = None
    archive_size: int = 100 * 10**9
    archive_ratio: int = 200
    retries: int = 3


_current = Options()


def options() -> Options:
    """Settings that hold now."""
    return _current


class set_options:  # noqa: N801  (as in xarray: it is called like a function)
    """Change settings, for good or, as a context manager, for a while.

    Parameters
    ----------
    cache : {"auto", "on", "off"}
        Whether what was scanned of DICOM headers is kept on disk, so that opening the same files again is faster.
        "auto" keeps it for stores that are not local and for network file systems, and for local folders of
        1000 files or more.
    cache_folder : str or path, optional
        Where; by default what the environment variable ``IMAGEDATA_XR_CACHE`` says, else ``imagedata_xr`` in the
        user's folder for caches (``XDG_CACHE_HOME``, ``~/.cache``). None goes back to that.
    cache_size : int
        Bytes that the cache may hold, 256 MB by default; what was used longest ago goes first.
    transfer_size : int
        Bytes that series fetched from archives may take, where they are kept beyond the process; 20 GB by default.
        Those that were used in the last hour stay.
    progress : callable, optional
        Called with ("fetched" or "sent", done, total, bytes) while images come from or go to an archive, perhaps from
        another thread.
    archive_size : int
        Bytes that an archive may unpack to, 100 GB by default; others are refused.
    archive_ratio : int
        How many times its own length an archive may unpack to, 200 by default; up to 1 GB it is not asked.
    retries : int
        How often a store is asked again after an error that may pass, 3 by default: a server that fails or is busy, a
        connection that breaks, time that runs out. Before each attempt is a pause, twice as long as the one before.

    Raises
    ------
    LabelError
        There is no such setting, or it can't have this value.

    Examples
    --------
    >>> with set_options(cache="off"):
    ...     options().cache
    'off'
    """

    def __init__(self, **changes: Any) -> None:
        global _current
        names = [f.name for f in fields(Options)]
        for name, value in changes.items():
            if name not in names:
                raise LabelError(f"there is no option {name!r}: there are {', '.join(names)}")
            changes[name] = _checked(name, value)
        self._before = _current
        _current = replace(_current, **changes)

    def __enter__(self) -> None:
        """Keep the change until the block ends."""

    def __exit__(self, *exc: object) -> None:
        """Go back to what was set before."""
        global _current
        _current = self._before


def _checked(name: str, value: Any) -> Any:
    if name == "cache" and value not in ("auto", "on", "off"):
        raise LabelError(f"cache={value!r}: it is 'auto', 'on' or 'off'")
    if name in ("cache_size", "transfer_size") and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise LabelError(f"{name}={value!r}: it is a number of bytes")
    if name == "progress" and value is not None and not callable(value):
        raise LabelError(f"progress={value!r}: it is a function of (what, done, total, bytes), or None")
    number = isinstance(value, int) and not isinstance(value, bool)
    if name in ("archive_size", "archive_ratio") and not (number and value >= 1):
        raise LabelError(f"{name}={value!r}: it is a number, 1 or more")
    if name == "retries" and not (number and value >= 0):
        raise LabelError(f"retries={value!r}: it is a number, 0 or more")
    if name == "cache_folder" and value is not None:
        if not isinstance(value, str | os.PathLike):
            raise LabelError(f"cache_folder={value!r}: it is a path, or None")
        return os.path.abspath(os.path.expanduser(os.fspath(value)))
    return value


def cache_folder() -> Path:
    """Return the folder of the cache; it need not exist."""
    if _current.cache_folder is not None:
        return Path(_current.cache_folder)
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "imagedata_xr"

"""In what state files are, so that a later look tells whether one has changed, and what names a store."""

from __future__ import annotations

import os
import posixpath
import re
import time
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from .far import states_far
from .files import File, is_local, state_now
from .http import is_http
from .s3 import is_s3
from .told import Told, of_info

STATE_BYTES = 20
"""Length of the digest of a state."""

RECENT = 2.0
"""Seconds: a file changed later than that before it was looked at may change again without a new time of change."""

_NETWORK = ("nfs", "cifs", "smb", "fuse.", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "9p", "davfs")
_SECRET = (
    "password", "passwd", "secret", "token", "sas_token", "account_key", "connection_string", "credential",
    "session_token", "passphrase", "pkey", "key_filename", "private_key", "access_token", "asynchronous", "loop",
    "skip_instance_cache", "use_listings_cache", "listings_expiry_time", "max_paths", "batch_size", "timeout",
)  # fmt: skip
"""Options of stores that say nothing of which file a path means: credentials, and how it is fetched."""
_NAMING = (
    "host", "port", "user", "username", "key", "anon", "profile", "project", "account_name", "share", "domain",
    "endpoint_url", "region_name", "path", "org", "repo", "sha", "ref", "bucket", "requester_pays", "ssl", "protocol",
)  # fmt: skip
"""Options that do."""
_ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
"""Variables that say who asks which server, where the options don't."""


def state_of(files: Sequence[File]) -> bytes | None:
    """Digest of the state of files: size, time of change and whatever else the store tells of it.

    Parameters
    ----------
    files
        Of one store. Local ones cost one call each, those of another store one listing, which is never taken from
        memory.

    Returns
    -------
    bytes or None
        None where a change might go unseen: a file that is not there or was changed within the last two seconds (or in
        the future), or a store that tells neither when files were changed nor a tag of their content.
    """
    return look_at(files)[0]


def look_at(files: Sequence[File]) -> tuple[bytes | None, list[File]]:
    """Give `state_of` files, and these with the state that each has now, as far as it is told."""
    return _local_state(files) if is_local(files[0]) else _remote_state(files)


def _local_state(files: Sequence[File]) -> tuple[bytes | None, list[File]]:
    limit = (time.time() - RECENT) * 1e9
    try:
        # times of change of the inode too: they tell of other permissions, and nobody can set them back
        stats = [os.stat(file.path) for file in files]
        numbers = np.array([(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats], np.int64)
        inodes = np.array([s.st_ino for s in stats], np.uint64)
    except (OSError, OverflowError):
        return None, list(files)
    now = [File(f.fs, f.path, state_now(s)) for f, s in zip(files, stats, strict=True)]
    if numbers[:, 1:].max() > limit:
        return None, now
    return blake2b(numbers.tobytes() + inodes.tobytes(), digest_size=STATE_BYTES).digest(), now


def _remote_state(files: Sequence[File]) -> tuple[bytes | None, list[File]]:
    told = [file.state if isinstance(file.state, Told) else None for file in files]
    if None in told:
        told = _told_now(files)
    now = [file._replace(state=one) for file, one in zip(files, told, strict=True)]
    digest = blake2b(digest_size=STATE_BYTES)
    for one in told:
        if one is None or one.size is None or not one.sure:
            return None, now
        digest.update(one.text.encode("utf-8", "surrogateescape") + b"\0")
    return digest.digest(), now


def _told_now(files: Sequence[File]) -> list[Told | None]:
    """Ask a store anew: by one listing, or, on the web, for each file."""
    fs, paths = files[0].fs, [file.path for file in files]
    if is_http(fs):
        return [one if isinstance(one, Told) else None for one in states_far(fs, paths)]
    top = posixpath.commonpath(paths) if len({p.startswith("/") for p in paths}) == 1 else ""
    top = posixpath.dirname(top) if top in paths else top
    if not top.strip("/"):
        return [None] * len(files)  # files of several buckets or hosts
    try:
        fs.invalidate_cache()
        known = fs.find(top, detail=True)
    except (OSError, NotImplementedError, ValueError):
        return [None] * len(files)
    return [of_info(known[path]) if path in known else None for path in paths]


def store_name(fs: AbstractFileSystem) -> str | None:
    """Name a store: protocol, server, user and whatever else chooses what a path means, without credentials.

    Returns
    -------
    str or None
        None for a store whose options are not all known: they may be secrets, or choose other files. So it is for
        what is only in memory or inside an archive, whose state no listing tells.
    """
    if isinstance(fs, LocalFileSystem):
        return "file"
    protocol = fs.protocol if isinstance(fs.protocol, str) else "|".join(fs.protocol)
    if protocol in ("memory", "zip", "tar", "reference", "gzip", "archive") or fs.storage_args:
        return None
    parts = _naming(fs.storage_options)
    if parts is not None and is_s3(fs):
        parts += [[name, os.environ[name]] for name in _ENVIRONMENT if os.environ.get(name)]
    return None if parts is None else f"{protocol}:{type(fs).__name__}:{parts}"


def named_path(file: File) -> str:
    """Path of a file for a name of it; without the password that a web address may have, which could be guessed."""
    return re.sub(r"(?<=://)([^/?#:@]*):[^/?#]*@", r"\1@", file.path) if is_http(file.fs) else file.path


def _naming(given: Mapping[str, Any]) -> list[Any] | None:
    """Sort out options that name a store; None if one is unknown."""
    parts: list[Any] = []
    for name, value in sorted(given.items()):
        if name == "auth" and value is not None:  # aiohttp's has a login; others are a pair
            value = getattr(value, "login", value[0] if isinstance(value, tuple) and value else None)
            if not isinstance(value, str):
                return None
            parts.append([name, value])
            continue
        if name in _SECRET or value is None:
            continue
        if isinstance(value, AbstractFileSystem):
            inner: Any = store_name(value)
        elif name == "client_kwargs" and isinstance(value, Mapping):
            inner = _naming(value)
        else:
            inner = str(value) if name in _NAMING and isinstance(value, str | int | bool) else None
        if inner is None:
            return None
        parts.append([name, inner])
    return parts


def is_slow(path: str) -> bool:
    """Tell whether a local path lies on a file system that is reached through a network, as far as the system says."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as f:
            mounts = [line.split()[1:3] for line in f]
    except OSError:
        return path.startswith("\\\\")  # a share of Windows; elsewhere nothing is known
    best, kind = "", ""
    for place, what in mounts:
        place = place.replace("\\040", " ")
        if len(place) >= len(best) and (path == place or path.startswith(place.rstrip("/") + "/")):
            best, kind = place, what
    return kind.startswith(_NETWORK)

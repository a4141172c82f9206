"""The scan of a source, kept: opening again costs a look at the state of each file, not at its header."""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import numpy as np

from ...options import options
from ...stores.states import STATE_BYTES, is_slow, look_at, named_path, state_of, store_name
from ...stores.told import Told
from ...stores.url import File, is_local
from . import cache_folder, lately
from .cache_entry import Entry, pack
from .scan import Scan, collect, report, scan
from .vr import WANTED_PRIVATE

FORMAT = 2
"""Of the entries; another number makes all older ones unknown."""

MANY = 1000
"""Local files from which on a scan is kept by itself: fewer are scanned before anybody notices."""

_SCANNER = (
    "walk", "runs", "nested", "columns", "coded", "bulk", "collect", "reread", "elements", "vr", "sniff",
    "strangers", "scan", "patient_cells", "cache_entry",
)  # fmt: skip


def kept_scan(files: Sequence[File], errors: Literal["warn", "raise"] = "warn") -> Scan:
    """Scan files, or give what an earlier scan of the very same files found.

    Parameters, results, errors and warnings are those of `scan.scan`. An entry is believed only if each of its files
    is still in the same state: size, times of change and inode, or what a store says in place of them. Nothing of the
    patient's group and no name of a person is in an entry on disk: one file for each combination of these is read
    again. The process that made a scan holds it for a while as it is (`lately`).
    """
    name = _entry_name(files)
    if name is None:
        return scan(files, errors)
    found = _held(name, files) or _recall(name, files)
    if found is None:
        state = state_of(files)  # before the scan: what changes meanwhile is of another state
        found, sure = collect(files)
        if state is not None and sure:
            lately.hold(name, state, found)
            if (content := pack(found, files)) is not None:
                cache_folder.save(name, state + content)
    report(found.damaged, len(files), errors)
    return found


def _held(name: str, files: Sequence[File]) -> Scan | None:
    """Give what this process holds; None if there is nothing, or it is no longer true."""
    return lately.recall(name, *look_at(files)) if lately.holds(name) else None


def _recall(name: str, files: Sequence[File]) -> Scan | None:
    """Give what was kept on disk; None if there is nothing, or it is no longer true."""
    content = cache_folder.load(name)
    if content is None:
        return None
    try:
        entry = Entry(content[STATE_BYTES:], files)
        some = _packed_files(entry.stand_ins(), files)
        # a stand-in that changes between the look at all files and its reading is not what the others are equal to
        before = state_of(some) if some and is_local(some[0]) else None
        state, now = look_at(files)
        if state != content[:STATE_BYTES]:
            return None
        seen = collect(some)[0]
        found = entry.fill(seen, now)
        if _changed_meanwhile(seen.files, now):
            return None
        if some and is_local(some[0]) and state_of(some) != before:
            return None
    except (ValueError, KeyError, IndexError, TypeError):
        found = None  # written by something else than `pack`
    if found is None:
        cache_folder.forget(name)
    else:
        lately.hold(name, state, found)
    return found


def _changed_meanwhile(seen: Sequence[File], now: Sequence[File]) -> bool:
    """Whether remote files that were read again are others than were looked at before."""
    before = {file.path: file.state for file in now if isinstance(file.state, Told)}
    pairs = ((before.get(file.path), file.state) for file in seen)
    return any(isinstance(a, Told) and isinstance(b, Told) and a.differs(b) for a, b in pairs)


def _packed_files(some: Sequence[File], files: Sequence[File]) -> list[File]:
    """Stand-ins as they were given: a scan unpacks by itself."""
    return [File(files[0].fs, file.path) for file in some]


def _entry_name(files: Sequence[File]) -> str | None:
    """Name of the entry of these files: a digest, since paths may name the patient. None if it is not to be kept."""
    mode = options().cache
    if mode == "off" or not files or options().cache_size == 0:
        return None
    fs = files[0].fs
    if any(file.fs is not fs for file in files):
        return None
    if mode == "auto" and is_local(files[0]) and len(files) < MANY and not is_slow(files[0].path):
        return None
    store = store_name(fs)
    if store is None:
        return None
    digest = blake2b(f"{_version()}\0{store}\0{len(files)}\0".encode("utf-8", "surrogateescape"), digest_size=20)
    digest.update("\0".join([named_path(file) for file in files]).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


@functools.cache
def _version() -> str:
    """What decides the content of a scan besides the files: the code that scans, and pydicom."""
    import pydicom

    from ... import __version__

    digest = blake2b(digest_size=16)
    for module in _SCANNER:
        try:
            digest.update(pkgutil.get_data(__package__ or "", f"{module}.py") or b"")
        except OSError:
            continue  # installed without sources: the version says enough
    private = blake2b(repr(sorted(WANTED_PRIVATE.items())).encode(), digest_size=8).hexdigest()
    return f"{FORMAT} {__version__} {pydicom.__version__} {np.little_endian} {private} {digest.hexdigest()}"

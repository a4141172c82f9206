"""Originals: what an image was read from is never replaced by what is written of it.

Who opens a source notes its files (`opened`). Who writes an image names what is to be spared (`sparing`), and
whatever lets files appear asks, before it begins, whether it would replace any of that (`spare`).
"""

from __future__ import annotations

import glob
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

import fsspec

from ..errors import OriginalError
from .address import archive_address, local_places
from .files import File, is_local, strip_credentials

Place: TypeAlias = tuple[str, ...]
"""Store (empty for this computer), folders, and name; of a member of an archive those of the archive, ``?``, and its
own. What begins with the whole of another place lies within it."""

_KEPT = 64  # sources whose files are remembered
_opened: OrderedDict[str, dict[Hashable, Callable[[], Iterable[Place]]]] = OrderedDict()
_lock = Lock()
_spared: ContextVar[tuple[_Spared, ...]] = ContextVar("spared", default=())


# --- places ---------------------------------------------------------------------------------------------------------


def places_of_files(files: Iterable[File]) -> list[Place]:
    """Places of files; links are followed, so that each spelling of a path gives the same."""
    folders: dict[str, str] = {}
    bases: dict[int, Place] = {}
    out: list[Place] = []
    for file in files:
        if is_local(file):
            folder, name = os.path.split(os.path.abspath(file.path))
            real = folders.get(folder) or folders.setdefault(folder, os.path.realpath(folder))
            path = os.path.join(real, name)
            out.append(_local(os.path.realpath(path) if os.path.islink(path) else path))
        elif hasattr(file.fs, "packed"):
            out += places_of_files([file.fs.packed(file.path)])
        else:
            base = bases.get(id(file.fs)) or bases.setdefault(id(file.fs), _base(file.fs))
            out.append((*base, *_parts(file.path)))
    return out


def places_of_address(address: str) -> list[Place]:
    """Places that an address means: of a pattern the folder, or the archive, in which it looks."""
    archive = archive_address(address)
    if archive is not None and archive.base != address:  # a part of it, or an archive within another
        bases = places_of_address(archive.base)
        members = [_parts(_without_pattern(m)) for m in archive.members] or [()]
        return [(*base, "?", *member) for base in bases for member in members]
    if places := local_places(address):
        return [_local(os.path.realpath(_without_pattern(place))) for place in places]
    url = strip_credentials(address.rpartition("::")[2])
    scheme, mark, rest = url.partition("://")
    try:
        kind = fsspec.get_filesystem_class(scheme if mark else "file")
    except (ValueError, ImportError):  # of a store of our own
        return [(scheme, *_parts(rest))]
    host = kind._get_kwargs_from_urls(url).get("host", "")
    return [(_scheme(kind, host), *_parts(str(kind._strip_protocol(url))))]


def _without_pattern(path: str) -> str:
    while glob.has_magic(path) and not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _local(path: str) -> Place:
    return ("", *_parts(os.path.normcase(path).replace(os.sep, "/")))


def _parts(path: str) -> Place:
    return tuple(filter(None, path.split("/")))


def _base(fs: Any) -> Place:
    """Where the paths of a filesystem begin: its scheme, or the archive that it shows."""
    archive = getattr(fs, "file", None)
    if isinstance(archive, File):
        return (*places_of_files([archive])[0], "?")
    return (_scheme(type(fs), fs.storage_options.get("host", "")),)


def _scheme(kind: Any, host: str) -> str:
    protocol = kind.protocol
    return f"{protocol if isinstance(protocol, str) else protocol[0]}://{host}"


# --- what was opened ------------------------------------------------------------------------------------------------


def opened(source: str, key: Hashable, places: Callable[[], Iterable[Place]]) -> None:
    """Note that an image of a source was opened.

    Parameters
    ----------
    source : str
        The coord ``source`` of the image.
    key
        Which of the images of the source it is.
    places : callable
        Gives the places of its files, when they are asked for.
    """
    with _lock:
        _opened.setdefault(source, {})[key] = places
        _opened.move_to_end(source)
        while len(_opened) > _KEPT:
            _opened.popitem(last=False)


def also_called(source: str, name: str) -> None:
    """Note that images of a source are known by another name now, which is no address."""
    opened(name, source, partial(originals_of, source))


def originals_of(source: str) -> list[Place]:
    """Places of the originals of a source: files that this process opened, else all that lies at the address."""
    if not source:
        return []
    with _lock:
        known = list(_opened.get(source, {}).values())
    found = [place for places in known for place in places()]
    return found or places_of_address(source)


# --- what is spared -------------------------------------------------------------------------------------------------


@contextmanager
def sparing(originals: Iterable[Place]) -> Iterator[None]:
    """Let nothing in the block, in this thread, replace any of these places, beside those spared already."""
    token = _spared.set((*_spared.get(), _Spared.of(originals)))
    try:
        yield
    finally:
        _spared.reset(token)


class _Spared(NamedTuple):
    """Places that are spared, and all that they lie within."""

    places: frozenset[Place]
    above: set[Place]

    @classmethod
    def of(cls, originals: Iterable[Place]) -> _Spared:
        places, above = frozenset(originals), set[Place]()
        for place in places:
            end = len(place)
            while end > 1 and place[:end] not in above:
                above.add(place[:end])
                end -= 1
        return cls(places, above)

    def would_be_lost(self, replaced: Place) -> bool:
        """Whether one of them is, holds, or lies within what is replaced."""
        return replaced in self.above or any(replaced[:end] in self.places for end in range(2, len(replaced)))


def spare(replaced: Iterable[Place], shown: str) -> None:
    """Raise `OriginalError` where something spared is, holds, or lies within what is to be replaced.

    Parameters
    ----------
    replaced : iterable of Place
        Files and folders that are there, and would be gone.
    shown : str
        What is written, as an error may show it.
    """
    if any(spared.would_be_lost(place) for place in replaced for spared in _spared.get()):
        raise OriginalError(
            f"{shown} is not replaced: the image, or its template, was read from there, and the originals would be "
            "lost. Write to another place; what is written can be moved there once it is checked"
        )


def spare_files(fs: Any, paths: Iterable[str], shown: str) -> None:
    """Raise `OriginalError` where files or folders of a filesystem, which are to be replaced, hold or are originals."""
    if _spared.get():
        spare(places_of_files(File(fs, path) for path in paths), shown)

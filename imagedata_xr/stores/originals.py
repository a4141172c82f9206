"""Originals: what an image was read from is never replaced by what is written of it.

Who opens a source notes its files (`opened`). Who writes an image names what is to be spared (`sparing`), and
whatever lets files appear asks, before it begins, whether it would replace any of that (`spare`).
"""

from __future__ import annotations

import glob
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property, partial
from threading import Lock
from typing import Any, TypeAlias

import fsspec

from ..errors import OriginalError
from .address import archive_address, local_places
from .files import File, is_local, strip_credentials

Place: TypeAlias = tuple[str, ...]
"""Store (empty for this computer), folders, and name; of a member of an archive those of the archive, ``?``, and its
own. What begins with the whole of another place lies within it."""

_KEPT, _KEPT_FILES = 64, 200_000
"""Sources that are remembered, and files of all of them; of others, all that lies at their address is spared."""
_opened: OrderedDict[str, SourceOriginals] = OrderedDict()
_lock = Lock()
_spared: ContextVar[tuple[Originals | SourceOriginals, ...]] = ContextVar("spared", default=())


# --- places ---------------------------------------------------------------------------------------------------------


def places_of_files(files: Iterable[File]) -> list[Place]:
    """Places of files, in any order; links are followed, so that each spelling of a path gives the same."""
    folders: dict[str, list[str]] = {}
    bases: dict[int, Place] = {}
    out: list[Place] = []
    for file in files:
        if is_local(file):
            folder, name = os.path.split(file.path)
            folders.setdefault(folder, []).append(name)
        elif hasattr(file.fs, "packed"):
            out += places_of_files([file.fs.packed(file.path)])
        else:
            base = bases.get(id(file.fs)) or bases.setdefault(id(file.fs), _base(file.fs))
            out.append((*base, *_parts(file.path)))
    for folder, names in folders.items():
        base, links = _local(os.path.realpath(folder)), _links(folder, names)
        out += [(*base, os.path.normcase(name)) for name in names if name not in links]
        out += [_local(os.path.realpath(os.path.join(folder, name))) for name in names if name in links]
    return out


def _links(folder: str, names: list[str]) -> set[str]:
    """Those of the names in a folder that may be links; a look at the folder is cheaper than one at each file."""
    try:
        with os.scandir(folder or os.curdir) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return set(names)


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


class Originals:
    """Files that an image was read from; where they are is looked up when something is to be replaced, and not before.

    Parameters
    ----------
    places : callable
        Gives their places.
    count : int
        How many there are.
    """

    def __init__(self, places: Callable[[], Iterable[Place]], count: int = 0) -> None:
        self._places, self.count = places, count

    @cached_property
    def _folders(self) -> frozenset[Place]:
        return frozenset(place[:-1] for place in self._places())

    @cached_property
    def _above(self) -> frozenset[Place]:
        return frozenset(folder[:end] for folder in self._folders for end in range(2, len(folder) + 1))

    def would_be_lost(self, replaced: Collection[Place]) -> bool:
        """Whether one of them is, holds, or lies within what is replaced."""
        if not self._above.isdisjoint(replaced):
            return True
        near = [place for place in replaced if not self._folders.isdisjoint(_over(place))]
        places = set(self._places()) if near else set()
        return any(place in places or not places.isdisjoint(_over(place)) for place in near)


def _over(place: Place) -> list[Place]:
    return [place[:end] for end in range(1, len(place))]


class SourceOriginals:
    """Those of all images of a source that this process opened; where it opened none, all that lies at the address."""

    def __init__(self, source: str) -> None:
        self._address = Originals(partial(places_of_address, source))
        self.images: dict[Hashable, Originals] = {}

    def __len__(self) -> int:
        return sum(files.count for files in list(self.images.values()))

    def __bool__(self) -> bool:
        return True

    def would_be_lost(self, replaced: Collection[Place]) -> bool:
        """Whether one of them is, holds, or lies within what is replaced."""
        return any(files.would_be_lost(replaced) for files in list(self.images.values()) or [self._address])


def opened(source: str, key: Hashable, files: Sequence[File]) -> None:
    """Note that an image of a source was opened.

    Parameters
    ----------
    source : str
        The coord ``source`` of the image.
    key
        Which of the images of the source it is.
    files : sequence of File
        What it was read from.
    """
    _note(source, {key: Originals(partial(places_of_files, files), len(files))})


def also_called(source: str, name: str) -> None:
    """Note that images of a source are known by another name now, which is no address."""
    if known := _opened.get(source):
        _note(name, {(source, key): files for key, files in list(known.images.items())})


def _note(source: str, files: Mapping[Hashable, Originals]) -> None:
    with _lock:
        (_opened.get(source) or _opened.setdefault(source, SourceOriginals(source))).images.update(files)
        _opened.move_to_end(source)
        while len(_opened) > 1 and (len(_opened) > _KEPT or sum(map(len, _opened.values())) > _KEPT_FILES):
            _opened.popitem(last=False)


def originals_of(source: str) -> list[SourceOriginals]:
    """Originals of a source; none where it has no name."""
    return [_opened.get(source) or SourceOriginals(source)] if source else []


# --- what is spared -------------------------------------------------------------------------------------------------


@contextmanager
def sparing(originals: Iterable[Originals | SourceOriginals]) -> Iterator[None]:
    """Let nothing in the block, in this thread, replace any of these, beside those spared already."""
    token = _spared.set((*_spared.get(), *originals))
    try:
        yield
    finally:
        _spared.reset(token)


def spare(replaced: Iterable[Place], shown: str) -> None:
    """Raise `OriginalError` where something spared is, holds, or lies within what is to be replaced.

    Parameters
    ----------
    replaced : iterable of Place
        Files and folders that are there, and would be gone.
    shown : str
        What is written, as an error may show it.
    """
    gone = frozenset(replaced)
    if gone and any(files.would_be_lost(gone) for files in dict.fromkeys(_spared.get())):
        raise OriginalError(
            f"{shown} is not replaced: the image, or its template, was read from there, and the originals would be "
            "lost. Write to another place; what is written can be moved there once it is checked"
        )


def spare_files(fs: Any, paths: Iterable[str], shown: str) -> None:
    """Raise `OriginalError` where files or folders of a filesystem, which are to be replaced, hold or are originals."""
    if _spared.get():
        spare(places_of_files(File(fs, path) for path in paths), shown)

"""The seam between an address and a store: what a store of our own offers.

Whatever fsspec knows is a source and a target already. A store is needed for addresses that mean more than a file, such
as a series in an archive of images. It is a class with the members of `Store`, named by an entry point of the group
``imagedata_xr.stores``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ..errors import warn
from .files import File

StorageOptions: TypeAlias = "Mapping[str, Any] | None"


FORMS = (
    "path/of/file", "path/of/folder", "pattern*.dcm", "file:///path", "https://host/file", "s3://bucket/folder",
    "a.zip", "a.tar.gz?folder", "a.zip?first&second*", "s3://bucket/a.tar?member", "zip://member::https://host/a.zip?key=x",
)  # fmt: skip
"""Addresses as a user may type them; stores of our own add theirs."""


class Sink(Protocol):
    """Where finished files go. They appear when all are there, or not at all, as far as the place allows."""

    def add(self, name: str, data: bytes | Path) -> None:
        """Take one finished file: its content, or a local file that holds it and may be gone after the call."""
        ...

    def finish(self) -> tuple[str, ...]:
        """Let the files appear; return their addresses, without credentials, in the order they were added."""
        ...

    def abandon(self) -> None:
        """Remove everything that was taken; called instead of `finish`, or after it has failed."""
        ...


@runtime_checkable
class Lists(Protocol):
    """What a store offers beside, if it can tell what it holds without fetching it."""

    def listing(self, url: str, storage_options: StorageOptions, identifiers: bool) -> list[dict[str, Any]]:
        """List what is directly below an address: dicts with ``level``, ``address``, ``text`` and ``count``.

        Names, IDs and dates of patients only with `identifiers`.
        """
        ...


@runtime_checkable
class TakesFiles(Protocol):
    """What a store offers beside, if it takes files of formats other than DICOM."""

    def files_sink(self, url: str, storage_options: StorageOptions) -> Sink:
        """Begin to write files that belong together; `url` names the main one, the names that are added its folder's.

        Raises `FileExistsError` where it is there, and before anything is sent where it can't be written.
        """
        ...


@runtime_checkable
class Store(Protocol):
    """What a store offers.

    Attributes
    ----------
    schemes : tuple of str
        What stands before ``://`` in its addresses, such as ``("dicom",)``.
    forms : tuple of str
        Addresses as a user may type them, for error messages.
    identified : bool
        Whether images without a patient are refused: an archive of images would file them anywhere.
    """

    schemes: tuple[str, ...]
    forms: tuple[str, ...]
    identified: bool

    def find(self, url: str, storage_options: StorageOptions) -> list[File]:
        """List the files that an address stands for, without reading them.

        Their filesystem (``File.fs``) is one of fsspec's: it offers ``info``, ``cat_file``, ``cat_ranges``
        (``on_error="return"``), ``sizes`` and ``open`` for reading, and can be pickled, credentials included only
        where a worker needs them. Raises `NotFoundError` where there is nothing, `SourceError` for what is refused.
        """
        ...

    def name(self, url: str) -> str:
        """Give the address without credentials, under which `find` finds the same again."""
        ...

    def sink(self, url: str, overwrite: bool, storage_options: StorageOptions) -> Sink:
        """Begin to write to an address; raises before anything is sent where it can't be written."""
        ...


@cache
def stores() -> dict[str, Store]:
    """Return the stores that are installed, by scheme; a broken one is named in a warning and left out."""
    found: dict[str, Store] = {}
    for point in sorted(entry_points(group="imagedata_xr.stores"), key=lambda p: p.name):
        try:
            store = point.load()()
            found |= dict.fromkeys(store.schemes, store)
        except Exception as error:  # noqa: BLE001  # whatever the code of another package raises must not stop the others
            warn(f"the store {point.name!r} ({point.value}) can't be used: {type(error).__name__}: {error}")
    return found


def store_of(address: str) -> Store | None:
    """Store of an address by its scheme; None for paths, and for what fsspec opens."""
    scheme, mark, _ = address.partition("://")
    return stores().get(scheme.lower()) if mark and "::" not in address else None


def forms() -> str:
    """Tell in a few words which addresses there are."""
    own = [form for store in dict.fromkeys(stores().values()) for form in store.forms]
    return "an address is " + ", ".join([*FORMS, *own]) + ", or a list of these"

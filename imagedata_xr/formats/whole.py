"""Files that appear under their names only when they are whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from ..errors import FormatError, SourceError
from ..stores.sinks import place_of_target, special_sink
from ..stores.url import local, reason, strip_credentials


def check_room(place: Path, need: int) -> None:
    """Raise `SourceError` where a disk has less room than needed.

    For libraries that end the whole process, instead of raising, where the disk is full, as HDF5 does.
    """
    free = shutil.disk_usage(place.parent).free
    if free < need:
        raise SourceError(
            f"No space left on device: {free / 2**20:.1f} MiB are free, and up to {need / 2**20:.1f} MiB are needed"
        )


class Whole:
    """A set of files that belong together, written elsewhere first.

    Local files are written beside their target and renamed, others in a temporary folder and uploaded.

    Parameters
    ----------
    target : str
        Path or URL of the main file.
    names : sequence of str
        Names (last parts of paths) of the files to write, the main one last: they appear in this order.
    also : sequence of str
        Names of files that would be taken as belonging to the main one: removed when it is overwritten.
    overwrite : bool
        Whether what exists is replaced.
    storage_options : mapping, optional
        For fsspec.

    Raises
    ------
    FileExistsError
        If one of the files exists and `overwrite` is false.
    """

    def __init__(
        self,
        target: str,
        names: Sequence[str],
        also: Sequence[str] = (),
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if special_sink(str(target)) is not None:
            raise FormatError(f"{strip_credentials(str(target))} takes DICOM only: format='dicom' writes it")
        fs, path = place_of_target(str(target), storage_options)
        self.fs = local() if isinstance(fs, LocalFileSystem) else fs
        self.local = isinstance(fs, LocalFileSystem)
        self.folder = os.path.dirname(path) if self.local else path.rpartition("/")[0]
        self.names, self.also, self.overwrite = tuple(names), tuple(also), overwrite
        self.check()

    def path(self, name: str) -> str:
        """Path of a file inside its filesystem."""
        if self.local:
            return os.path.join(self.folder, name)
        return f"{self.folder}/{name}" if self.folder else name

    def shown(self, name: str) -> str:
        """Path or URL of a file, without credentials."""
        return self.path(name) if self.local else strip_credentials(str(self.fs.unstrip_protocol(self.path(name))))

    def check(self) -> None:
        """Raise `FileExistsError` if a file exists that may not be replaced."""
        if not self.overwrite:
            for name in (*reversed(self.names), *self.also):
                if self.fs.exists(self.path(name)):
                    raise FileExistsError(
                        f"{self.shown(name)} exists: overwrite=True replaces it, with the files that belong to it"
                    )

    @contextlib.contextmanager
    def files(self) -> Iterator[dict[str, Path]]:
        """Give a temporary path for each name; when the block ends well, the files appear, else none is left."""
        with self._places() as places:
            yield places
            self.check()
            try:
                self._publish(places)
            except OSError as error:
                raise SourceError(f"{self.shown(self.names[-1])} can't be written: {reason(error)}") from error

    @contextlib.contextmanager
    def _places(self) -> Iterator[dict[str, Path]]:
        if not self.local:
            with tempfile.TemporaryDirectory(prefix="imagedata_xr_") as scratch:
                yield {n: Path(scratch) / n for n in self.names}
            return
        try:
            os.makedirs(self.folder or ".", exist_ok=True)
        except OSError as error:
            raise SourceError(f"the folder {self.folder} can't be made: {reason(error)}") from error
        mark = uuid.uuid4().hex[:8]
        places = {n: Path(self.folder) / f".{n}.{mark}.part" for n in self.names}
        try:
            yield places
        finally:
            for place in places.values():
                place.unlink(missing_ok=True)

    def _publish(self, places: Mapping[str, Path]) -> None:
        put = self._rename if self.local else self._upload
        put(places, [n for n in (*self.names, *self.also) if self.fs.exists(self.path(n))])

    def _rename(self, places: Mapping[str, Path], old: Sequence[str]) -> None:
        """Give the files their names; put the old ones back if that fails."""
        mark = uuid.uuid4().hex[:8]
        aside = {n: os.path.join(self.folder, f".{n}.{mark}.old") for n in old}
        moved: list[str] = []
        done: list[str] = []
        try:
            for name, place in aside.items():
                os.replace(self.path(name), place)
                moved.append(name)
            for name in self.names:
                os.replace(places[name], self.path(name))
                done.append(name)
        except BaseException:
            for name in done:
                os.unlink(self.path(name))
            for name in moved:
                os.replace(aside[name], self.path(name))
            raise
        for place in aside.values():
            os.unlink(place)

    def _upload(self, places: Mapping[str, Path], old: Sequence[str]) -> None:
        for name in reversed(old):
            self.fs.rm_file(self.path(name))
        done: list[str] = []
        try:
            for name in self.names:
                done.append(name)
                self.fs.put_file(str(places[name]), self.path(name))
        except BaseException:
            for name in done:
                if self.fs.exists(self.path(name)):
                    self.fs.rm_file(self.path(name))
            raise

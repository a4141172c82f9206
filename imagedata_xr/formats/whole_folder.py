"""A folder of many files, such as a zarr store, that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from ..errors import FormatError, SourceError, warn
from ..stores.originals import spare_files
from ..stores.sinks import special_sink
from ..stores.targets import place_of_target
from ..stores.uploads import AT_ONCE, called, remove, upload
from ..stores.url import reason, strip_credentials
from .whole import Whole


class WholeFolder:
    """A folder that is written elsewhere first.

    A local one is written beside its target and renamed. For other stores it is written to a temporary folder of this
    machine and uploaded, the main file last, without which it is nothing; so a broken upload leaves nothing that opens.
    One that replaces another is uploaded beside it first.

    Parameters
    ----------
    target : str
        Path or URL.
    main : str
        Name of the file that makes the folder one of its format.
    overwrite : bool
        Whether a folder of this format is replaced. Others never are.
    storage_options : mapping, optional
        For fsspec.

    Raises
    ------
    FileExistsError
        If the target is there and may not be replaced.
    """

    def __init__(
        self, target: str, main: str, overwrite: bool, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self.main, self.overwrite = main, overwrite
        if special_sink(str(target)) is not None:
            raise FormatError(
                f"{strip_credentials(str(target))} takes no folders of files: DICOM or NIfTI can be written"
            )
        fs, path = place_of_target(str(target), storage_options)
        self.fs, self.local = fs, isinstance(fs, LocalFileSystem)
        self.path = os.path.realpath(path) if self.local else path.rstrip("/")
        self.check()

    @property
    def shown(self) -> str:
        """Path or URL, without credentials."""
        return self.path if self.local else strip_credentials(str(self.fs.unstrip_protocol(self.path)))

    def check(self) -> bool:
        """Return whether there is a folder to replace; raise `FileExistsError` if it may not be."""
        self.fs.invalidate_cache()
        if not self.fs.exists(self.path):
            return False
        if self.fs.isfile(self.path):
            raise FileExistsError(f"{self.shown} is a file, where a folder would be written: choose another name")
        empty = not self.fs.ls(self.path, detail=False)
        if not self.overwrite and not empty:
            raise FileExistsError(f"{self.shown} exists: overwrite=True replaces it")
        if not empty and not self.fs.exists(f"{self.path}/{self.main}"):
            raise FileExistsError(f"{self.shown} has no {self.main}: a folder of another kind is never replaced")
        spare_files(self.fs, [self.path], self.shown)
        return True

    @contextlib.contextmanager
    def stage(self) -> Iterator[Path]:
        """Give the path of a local folder to write; when the block ends well it appears, else nothing is left."""
        if self.local:
            try:
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
            except OSError as error:
                raise SourceError(f"the folder of {self.shown} can't be made: {reason(error)}") from error
        parent = os.path.dirname(self.path) if self.local else tempfile.gettempdir()
        place = Path(parent) / f".{os.path.basename(self.path)}.{uuid.uuid4().hex[:8]}.part"
        try:
            yield place
            self._publish(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _publish(self, place: Path) -> None:
        replaces = self.check()
        put: Callable[[Path, bool], None] = self._rename if self.local else self._upload
        try:
            put(place, replaces)
        except SourceError:
            raise
        except OSError as error:
            raise SourceError(f"{self.shown} can't be written: {reason(error)}") from error

    def _rename(self, place: Path, replaces: bool) -> None:
        old = place.with_suffix(".old")
        if replaces:
            os.rename(self.path, old)
        try:
            os.rename(place, self.path)
        except OSError:
            if replaces:
                os.rename(old, self.path)
            raise
        if replaces:
            shutil.rmtree(old)

    def _upload(self, place: Path, replaces: bool) -> None:
        names = sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file())
        names.sort(key=lambda name: name == self.main)
        if not replaces:
            self._put(place, names, self.path)
            return
        above, _, own = self.path.rpartition("/")
        aside = f"{above}/{own}.{uuid.uuid4().hex[:8]}.new" if above else f"{own}.{uuid.uuid4().hex[:8]}.new"
        self._put(place, names, aside)
        self._swap(aside, names)

    def _put(self, place: Path, names: list[str], path: str) -> None:
        """Upload all files, the main one last; after trouble nothing of them is left."""
        for group in (names[:-1], names[-1:]):
            try:
                if group:
                    upload(self.fs, {f"{path}/{name}": place / name for name in group})
            except BaseException:
                remove(self.fs, [f"{path}/{name}" for name in names])
                with contextlib.suppress(OSError):  # empty folders, on stores that have them
                    self.fs.rm(path, recursive=True)
                raise

    def _swap(self, aside: str, names: list[str]) -> None:
        """Put a new folder, which is whole, in the place of the old one.

        Few stores rename folders, so that each file is copied on the store itself. Until all are, the new folder stays
        where it is.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(f"{self.path}/{self.main}")
            self.fs.rm(self.path, recursive=True)
            for folder in sorted({f"{self.path}/{name}".rpartition("/")[0] for name in names}):
                self.fs.makedirs(folder, exist_ok=True)
            copies = [(f"{aside}/{name}", f"{self.path}/{name}") for name in names]
            for first in range(0, len(copies) - 1, AT_ONCE):
                called(self.fs, "cp_file", copies[first : min(first + AT_ONCE, len(copies) - 1)])
            called(self.fs, "cp_file", copies[-1:])
        except BaseException as error:
            left = strip_credentials(str(self.fs.unstrip_protocol(aside)))
            told = f"{self.shown} could not be replaced; the new one is whole, and lies at {left}: copy it from there"
            if not isinstance(error, Exception):
                warn(f"{told} (interrupted)")
                raise
            raise SourceError(f"{told} ({reason(error)})") from error
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(aside, recursive=True)


class WholePack:
    """A folder that becomes one zip file, not compressed, when it is whole; takes the place of a `WholeFolder`.

    Parameters
    ----------
    target : str
        Path.
    overwrite : bool
    storage_options : mapping, optional

    Raises
    ------
    FileExistsError
        If the target is there and may not be replaced.
    """

    def __init__(self, target: str, overwrite: bool, storage_options: Mapping[str, Any] | None = None) -> None:
        self.name = os.path.basename(str(target))
        self.whole = Whole(str(target), [self.name], (), overwrite, storage_options)

    @property
    def shown(self) -> str:
        """Path."""
        return self.whole.shown(self.name)

    @contextlib.contextmanager
    def stage(self) -> Iterator[Path]:
        """Give the path of a local folder to write; when the block ends well the file appears, else nothing is left."""
        with self.whole.files() as places:
            folder = places[self.name].with_suffix(".folder")
            try:
                yield folder
                with zipfile.ZipFile(places[self.name], "w") as pack:
                    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                        pack.write(path, path.relative_to(folder).as_posix())
            finally:
                shutil.rmtree(folder, ignore_errors=True)

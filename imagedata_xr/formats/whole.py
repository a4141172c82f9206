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

from ..errors import SourceError
from ..stores.archives_out import archive_target
from ..stores.originals import spare_files
from ..stores.sinks import files_sink
from ..stores.targets import place_of_target
from ..stores.uploads import remove, upload
from ..stores.url import local, reason, strip_credentials


def check_room(place: Path, need: int) -> None:
    """Raise `SourceError` where a disk has less room than needed, or files may not grow so large.

    For libraries that end the whole process, instead of raising, where the disk is full, as HDF5 does.
    """
    free = shutil.disk_usage(place.parent).free
    if free < need:
        raise SourceError(
            f"No space left on device: {free / 2**20:.1f} MiB are free, and up to {need / 2**20:.1f} MiB are needed"
        )
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY and most < need:
        raise SourceError(f"File too large: this process may write {most} bytes to a file, and up to {need} are needed")


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
        If one of the files exists and `overwrite` is false, or it is one that the image was read from.
    """

    def __init__(
        self,
        target: str,
        names: Sequence[str],
        also: Sequence[str] = (),
        overwrite: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.fs: Any = None
        self.special = files_sink(str(target), storage_options)
        self.archive = archive_target(str(target), storage_options, of_file=True) if self.special is None else None
        if self.special is not None:
            self.local, self.fs, self.folder = False, None, str(target).rpartition("/")[0]
        elif self.archive is None:
            fs, path = place_of_target(str(target), storage_options)
            self.local = isinstance(fs, LocalFileSystem)
            self.fs = local() if self.local else fs
            self.folder = os.path.dirname(path) if self.local else path.rpartition("/")[0]
        else:
            self.local, self.fs, self.folder = False, None, self.archive.folder
        self.names, self.also, self.overwrite = tuple(names), tuple(also), overwrite
        self.check()

    def path(self, name: str) -> str:
        """Path of a file inside its filesystem."""
        if self.local:
            return os.path.join(self.folder, name)
        return f"{self.folder}/{name}" if self.folder else name

    def shown(self, name: str) -> str:
        """Path or URL of a file, without credentials."""
        if self.archive is not None:
            return self.archive.show(name)
        if self.special is not None:
            return self.path(name)
        return self.path(name) if self.local else strip_credentials(str(self.fs.unstrip_protocol(self.path(name))))

    def there(self, name: str) -> bool:
        """Whether a file exists."""
        if self.archive is not None:
            return self.archive.path(name) in self.archive.names
        if self.special is not None:
            return False  # the store has looked, and looks again
        return bool(self.fs.exists(self.path(name)))

    def beside(self) -> list[str]:
        """Names of what is in the folder already."""
        if self.special is not None:
            return []
        if self.archive is not None:
            paths = [p for p in self.archive.names if p.rpartition("/")[0] == self.folder]
        else:
            there = self.fs.isdir(self.folder or ".")
            paths = [str(p) for p in self.fs.ls(self.folder or ".", detail=False)] if there else []
        return [os.path.basename(path) for path in paths]

    def check(self) -> None:
        """Raise `FileExistsError` if a file exists that may not be replaced."""
        for name in (*reversed(self.names), *self.also):
            if not self.there(name):
                continue
            if not self.overwrite:
                raise FileExistsError(
                    f"{self.shown(name)} exists: overwrite=True replaces it, with the files that belong to it"
                )
            if self.archive is not None:
                self.archive.spare([self.archive.path(name)], self.shown(name))
            else:
                spare_files(self.fs, [self.path(name)], self.shown(name))

    @contextlib.contextmanager
    def files(self) -> Iterator[dict[str, Path]]:
        """Give a temporary path for each name; when the block ends well, the files appear, else none is left."""
        with self._places() as places:
            yield places
            self.check()
            try:
                self._publish(places)
            except OSError as error:
                if self.special is not None and isinstance(error, SourceError | FileExistsError):
                    raise
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
        put = self._rename if self.local else self._upload if self.fs is not None else self._hand_over
        put(places, [n for n in (*self.names, *self.also) if self.there(n)])

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

    def _hand_over(self, places: Mapping[str, Path], old: Sequence[str]) -> None:
        """Give the files to an archive or a store of our own, which let them appear together."""
        sink = self.special
        if sink is None:
            assert self.archive is not None
            sink = self.archive.sink([self.archive.path(name) for name in old])
        try:
            for name in self.names:
                sink.add(name, places[name])
            sink.finish()
        except BaseException:
            sink.abandon()
            raise

    def _upload(self, places: Mapping[str, Path], old: Sequence[str]) -> None:
        """Put the files on a store, each whole: new ones over old ones of the same names, the main one last."""
        files = {self.path(name): places[name] for name in self.names}
        if old:
            upload(self.fs, files, replaces=True)
            remove(self.fs, [self.path(name) for name in old if name not in self.names])
            return
        try:
            for path, place in files.items():
                upload(self.fs, {path: place})
        except BaseException:
            remove(self.fs, list(files))
            raise

"""Writing into archives: a new one, or one that is there, which is written anew beside itself and then replaced."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tarfile
import tempfile
import time
import uuid
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Protocol

from fsspec.implementations.local import LocalFileSystem

from ..errors import NotFoundError, SourceError
from .address import ArchiveAddress, archive_address
from .archives import Archive, open_archive
from .files import File, file_name, local
from .gzip_out import gzip_stream
from .members import checked_name
from .originals import spare_files
from .registry import StorageOptions
from .targets import place_of_target

_LEVEL = 1  # of deflate: for images more costs several times as long, and saves a few per cent


class ArchiveTarget:
    """A place in an archive that is to be written: its top, or a folder in it.

    Parameters
    ----------
    file : File
        The archive, which need not be there.
    address : ArchiveAddress
        With one member at most, the folder.

    Raises
    ------
    SourceError
        An archive is there that can't be read, is damaged or is refused: nothing is added to such a one.
    """

    def __init__(self, file: File, address: ArchiveAddress) -> None:
        self.file, self.kind = file, address.kind
        self.shown = file_name(file)
        if len(address.members) > 1 or any(glob.has_magic(m) for m in address.members):
            raise SourceError(f"{self.shown}?{'&'.join(address.members)}: what is written needs one name, no pattern")
        self.folder = checked_name(address.members[0], self.shown) if address.members else ""
        try:
            self.before: Archive | None = open_archive(file, address.kind)
        except NotFoundError:
            self.before = None

    @property
    def names(self) -> Collection[str]:
        """Names of what is there."""
        return () if self.before is None else self.before.members

    def path(self, name: str) -> str:
        """Name in the archive of a file of this folder."""
        return f"{self.folder}/{name}" if self.folder else name

    def show(self, name: str) -> str:
        """Address of a file of this folder."""
        return f"{self.shown}?{self.path(name)}"

    def check_folder(self, overwrite: bool) -> set[str]:
        """Return what is in the folder and would be replaced; raise `FileExistsError` if it may not be."""
        place = f"{self.shown}?{self.folder}" if self.folder else self.shown
        self._check_parents(self.folder)
        prefix = f"{self.folder}/" if self.folder else ""
        there = {n for n in self.names if n.startswith(prefix)}
        if there and not overwrite:
            more = "" if self.folder else f"; {self.shown}?FOLDER adds a folder to what it holds"
            raise FileExistsError(f"{place} is there already and not empty: overwrite=True replaces it{more}")
        within = [n.removeprefix(prefix).split("/") for n in there]
        deep = any(len(parts) > 2 or (len(parts) == 2 and not parts[1].startswith("IM")) for parts in within)
        if deep or (not self.folder and any(len(parts) > 1 for parts in within)):
            raise FileExistsError(
                f"{place} holds more than files: overwrite=True replaces an archive of files alone, or a folder in one "
                f"({self.shown}?FOLDER) that holds files and folders of images written here"
            )
        self.spare(there, place)
        return there

    def spare(self, gone: Iterable[str], shown: str) -> None:
        """Raise `OriginalError` where one of the files of the archive that are replaced is one that an image is of."""
        if self.before is not None:
            spare_files(self.before, gone, shown)

    def _check_parents(self, path: str) -> None:
        while path:
            if path in self.names:
                raise FileExistsError(f"{self.shown}?{path} is a file, where a folder would be written")
            path = path.rpartition("/")[0]

    def sink(self, gone: Collection[str]) -> ArchiveSink:
        """Begin to write, without those files of the archive."""
        self._check_parents(self.folder)
        return ArchiveSink(self, gone)


def archive_target(target: str, storage_options: StorageOptions = None, of_file: bool = False) -> ArchiveTarget | None:
    """Take a target for a place in an archive: a folder, or that of a file (`of_file`); None for other targets."""
    address = archive_address(target)
    if address is None:
        return None
    if of_file:
        folders = (member.rpartition("/")[0] for member in address.members)
        address = address._replace(members=tuple(filter(None, folders)))
    fs, path = place_of_target(address.base, storage_options)
    return ArchiveTarget(File(local() if isinstance(fs, LocalFileSystem) else fs, path), address)


class ArchiveSink:
    """Files go into a copy of the archive, which takes its place when it is whole."""

    def __init__(self, target: ArchiveTarget, gone: Collection[str]) -> None:
        self.target, self.done = target, list[str]()
        self.local = isinstance(target.file.fs, LocalFileSystem)
        folder, name = os.path.split(target.file.path)
        try:
            if self.local:
                os.makedirs(folder, exist_ok=True)
            place = folder if self.local else tempfile.gettempdir()
            self.stage = Path(place) / f".{name}.{uuid.uuid4().hex[:8]}.part"
            self.writer: _Writer = (_Zip if target.kind == "zip" else _Tar)(self.stage, target.kind == "tar.gz")
            try:
                if target.before is not None:
                    self._copy(target.before, set(gone))
            except BaseException:
                self.abandon()
                raise
        except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
            if isinstance(error, SourceError | FileExistsError):
                raise
            raise SourceError(f"{target.shown} can't be written: {error}") from error

    def _copy(self, before: Archive, gone: set[str]) -> None:
        if self.local:
            self.writer.copy(before.file.path, gone)
            return
        with tempfile.TemporaryDirectory(prefix="imagedata_xr_") as scratch:
            path = os.path.join(scratch, "before")
            before.file.fs.get_file(before.file.path, path)
            self.writer.copy(path, gone)

    def add(self, name: str, data: bytes | Path) -> None:
        """Take one file."""
        self.writer.add(self.target.path(name), data)
        self.done.append(name)

    def finish(self) -> tuple[str, ...]:
        """Let the archive take its place."""
        self.writer.close()
        target = self.target
        if target.before is not None:
            target.before.check()
        elif target.file.fs.exists(target.file.path):
            raise FileExistsError(f"{target.shown} was written by somebody else meanwhile")
        if self.local:
            os.replace(self.stage, target.file.path)
        else:
            from .uploads import upload

            upload(target.file.fs, {target.file.path: self.stage}, replaces=target.before is not None)
            target.file.fs.invalidate_cache()
            self.stage.unlink()
        return tuple(map(target.show, self.done))

    def abandon(self) -> None:
        """Leave the archive as it was."""
        with contextlib.suppress(OSError, ValueError):  # of a disk that is full, when the writer ends its file
            self.writer.close()
        self.stage.unlink(missing_ok=True)


class _Writer(Protocol):
    def copy(self, path: str, gone: set[str]) -> None: ...

    def add(self, name: str, data: bytes | Path) -> None: ...

    def close(self) -> None: ...


class _Zip:
    """Writes zip archives."""

    def __init__(self, stage: Path, packed: bool) -> None:
        self.stage = stage
        self.zip = zipfile.ZipFile(stage, "x", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)

    def copy(self, path: str, gone: set[str]) -> None:
        """Take over what an archive holds: byte by byte, unless something is left out."""
        if not gone:
            self.zip.close()
            shutil.copyfile(path, self.stage)
            self.zip = zipfile.ZipFile(self.stage, "a", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
            return
        with zipfile.ZipFile(path) as before:
            self.zip.comment = before.comment
            for entry in before.infolist():
                if checked_name(entry.orig_filename.replace("\\", "/"), path) in gone:
                    continue
                with before.open(entry) as source, self.zip.open(entry, "w") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)

    def add(self, name: str, data: bytes | Path) -> None:
        """Pack one file."""
        method = zipfile.ZIP_STORED if name.lower().endswith(".gz") else zipfile.ZIP_DEFLATED
        if isinstance(data, bytes):
            self.zip.writestr(name, data, method, _LEVEL)
        else:
            self.zip.write(data, name, method, _LEVEL)
        self.zip.getinfo(name).external_attr = 0o100644 << 16

    def close(self) -> None:
        """Write the table of contents."""
        self.zip.close()


class _Tar:
    """Writes tar archives, packed or not. The names of users of this machine are not in them."""

    def __init__(self, stage: Path, packed: bool) -> None:
        self.raw = open(stage, "xb")  # noqa: SIM115 - closed by close
        self.out: Any = gzip_stream(self.raw, _LEVEL) if packed else self.raw
        self.tar = tarfile.open(fileobj=self.out, mode="w:")  # noqa: SIM115

    def copy(self, path: str, gone: set[str]) -> None:
        """Take over what an archive holds."""
        with tarfile.open(path) as before:
            for entry in before:
                if checked_name(entry.name, path) not in gone:
                    self.tar.addfile(entry, before.extractfile(entry) if entry.isreg() else None)

    def add(self, name: str, data: bytes | Path) -> None:
        """Append one file."""
        from io import BytesIO

        entry = tarfile.TarInfo(name)
        entry.size = len(data) if isinstance(data, bytes) else data.stat().st_size
        entry.mtime = int(time.time())
        with BytesIO(data) if isinstance(data, bytes) else open(data, "rb") as source:
            self.tar.addfile(entry, source)

    def close(self) -> None:
        """Write the mark of the end."""
        self.tar.close()
        if self.out is not self.raw:
            self.out.close()
        self.raw.close()

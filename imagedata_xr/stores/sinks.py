"""Where finished files go: folders here and on other stores. They appear when all are whole, or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from ..errors import FormatError, SourceError, warn
from .archives_out import archive_target
from .files import File, file_name, local, strip_credentials
from .originals import spare_files
from .progress import Meter
from .registry import Sink, StorageOptions, TakesFiles, store_of
from .targets import place_of_target
from .uploads import AT_ONCE, AT_ONCE_BYTES, remove, upload

__all__ = ["Sink", "check_target", "files_sink", "open_sink", "special_sink"]


def special_sink(target: str) -> Callable[[bool, StorageOptions], Sink] | None:
    """Give what begins writing to a store of our own; None for paths and what fsspec writes."""
    store = store_of(target)
    if store is None:
        return None
    return lambda overwrite, options: store.sink(target, overwrite, options)


def files_sink(target: str, storage_options: StorageOptions = None) -> Sink | None:
    """Begin to write a file of any format to a store of our own, with those that belong to it; None for other targets.

    Raises
    ------
    FormatError
        The store takes DICOM only.
    """
    store = store_of(target)
    if store is None:
        return None
    if not isinstance(store, TakesFiles):
        raise FormatError(f"{strip_credentials(target)} takes DICOM only: format='dicom' writes it")
    return store.files_sink(target, storage_options)


def open_sink(target: str, overwrite: bool, storage_options: StorageOptions = None) -> Sink:
    """Begin a folder of files.

    Parameters
    ----------
    target : str
        Path or fsspec URL.
    overwrite : bool
        Replace a folder of files that is there, once the new files are whole.
    storage_options : mapping, optional

    Raises
    ------
    FileExistsError
        Where something is there and `overwrite` is false, or it is more than a folder of files.
    """
    if (special := special_sink(target)) is not None:
        return special(overwrite, storage_options)
    if (archive := archive_target(target, storage_options)) is not None:
        return archive.sink(archive.check_folder(overwrite))
    fs, path = place_of_target(target, storage_options)
    if isinstance(fs, LocalFileSystem):
        return _LocalFolder(Path(path), overwrite)
    return _RemoteFolder(fs, path.rstrip("/"), overwrite)


def check_target(target: str, overwrite: bool, storage_options: StorageOptions = None) -> None:
    """Raise `FileExistsError` where a target may not be written, without touching it."""
    if special_sink(target) is not None:
        return  # it tells when writing begins, before anything is sent
    if (archive := archive_target(target, storage_options)) is not None:
        archive.check_folder(overwrite)
        return
    fs, path = place_of_target(target, storage_options)
    if isinstance(fs, LocalFileSystem):
        _check_local(Path(path), overwrite)
    else:
        _check_remote(fs, path.rstrip("/"), overwrite)


def content(data: bytes | Path) -> bytes:
    """Give the content of a finished file."""
    return data if isinstance(data, bytes) else data.read_bytes()


def _exists(path: object) -> FileExistsError:
    return FileExistsError(f"{path} is there already and not empty: overwrite=True replaces it")


def _check_local(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file: DICOM images are written into a folder, one file each")
    entries = list(path.iterdir()) if path.is_dir() else []
    if entries and not overwrite:
        raise _exists(path)
    if any(not _replaceable(e) for e in entries):
        raise FileExistsError(
            f"{path} holds more than files: overwrite=True replaces a folder of files, and within it only folders of "
            "images written here"
        )
    if entries:
        spare_files(local(), [str(path)], str(path))


def _replaceable(entry: Path) -> bool:
    if entry.is_symlink() or not entry.is_dir():
        return entry.is_file() and not entry.is_symlink()
    within = list(entry.iterdir())
    return bool(within) and all(not e.is_symlink() and e.is_file() and e.name.startswith("IM") for e in within)


class _LocalFolder:
    """Files go to a hidden folder beside the target, which then takes the target's name."""

    def __init__(self, path: Path, overwrite: bool) -> None:
        _check_local(path, overwrite)
        self.path = path.resolve()  # a link keeps pointing to the folder
        self.inside = self.path.is_dir() and not any(self.path.iterdir())
        # an empty folder may be a mount point, that can't be renamed over: the files are then moved within it
        beside = self.path if self.inside else self.path.parent
        self._made: Path | None = None
        first = next((p for p in (self.path.parent, *self.path.parent.parents) if p.exists()), None)
        if first != self.path.parent:
            self._made = next(p for p in (self.path.parent, *self.path.parent.parents) if p.parent == first)
            self.path.parent.mkdir(parents=True, exist_ok=True)  # another worker may make it too
        self.stage = beside / f".{self.path.name}.{uuid.uuid4().hex[:8]}.part"
        self.stage.mkdir()
        self.names: list[str] = []

    def add(self, name: str, data: bytes | Path) -> None:
        """Write one file."""
        place = self.stage / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content(data))
        self.names.append(name)

    def finish(self) -> tuple[str, ...]:
        """Let the files appear."""
        if self.inside:
            for entry in sorted(self.stage.iterdir()):
                entry.rename(self.path / entry.name)
            self.stage.rmdir()
        elif self.path.exists():
            self._swap()
        else:
            self.stage.rename(self.path)
        return tuple(str(self.path / name) for name in self.names)

    def _swap(self) -> None:
        old = self.stage.with_suffix(".old")
        self.path.rename(old)
        try:
            self.stage.rename(self.path)
        except OSError:
            old.rename(self.path)
            raise
        shutil.rmtree(old)

    def abandon(self) -> None:
        """Remove everything that was written."""
        if self.inside:
            for name in self.names:
                (self.path / name).unlink(missing_ok=True)
            for name in {name.split("/")[0] for name in self.names if "/" in name}:
                shutil.rmtree(self.path / name, ignore_errors=True)  # a folder of ours: the target was empty
        shutil.rmtree(self.stage, ignore_errors=True)
        if self._made is not None:
            for folder in (self.path.parent, *self.path.parent.parents):
                if any(folder.iterdir()):
                    break  # somebody else uses it by now
                folder.rmdir()
                if folder == self._made:
                    break


def _listing(fs: Any, path: str) -> list[dict[str, Any]]:
    fs.invalidate_cache()
    try:
        return [e for e in fs.ls(path, detail=True) if e["name"].rstrip("/") != path]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _check_remote(fs: Any, path: str, overwrite: bool) -> list[str]:
    if fs.isfile(path):
        raise FileExistsError(f"{path} is a file: DICOM images are written into a folder, one file each")
    entries = _listing(fs, path)
    if entries and not overwrite:
        raise _exists(path)
    if any(e.get("type") == "directory" for e in entries):
        raise FileExistsError(
            f"{path} holds more than files: overwrite=True replaces no folder that has folders within"
        )
    spare_files(fs, [e["name"] for e in entries], str(path))
    return [e["name"] for e in entries]


class _RemoteFolder:
    """Files are uploaded many at once; all are removed if one fails. Old files go when the new ones are there."""

    def __init__(self, fs: Any, path: str, overwrite: bool) -> None:
        self.fs, self.path = fs, path
        self.old = _check_remote(fs, path, overwrite)
        # beside old files of the same names, new ones get names of their own
        self.prefix = f"{uuid.uuid4().hex[:8]}_" if self.old else ""
        self.waiting: dict[str, bytes | Path] = {}
        self.waiting_bytes = 0
        self.folders: set[str] = set()
        self.done: list[str] = []
        self.meter = Meter("uploaded", 0)  # how many there will be is not known here
        fs.makedirs(path, exist_ok=True)

    def add(self, name: str, data: bytes | Path) -> None:
        """Take one file; it is uploaded with others."""
        data = content(data)
        *folders, last = name.split("/")
        place = "/".join([self.path, *folders])
        if folders and place not in self.folders:
            self.fs.makedirs(place, exist_ok=True)
            self.folders.add(place)
        self.waiting[f"{place}/{self.prefix}{last}"] = data
        self.waiting_bytes += len(data)
        if len(self.waiting) >= AT_ONCE or self.waiting_bytes >= AT_ONCE_BYTES:
            self._send()

    def _send(self) -> None:
        self.done += self.waiting
        group, self.waiting, self.waiting_bytes = self.waiting, {}, 0
        if group:
            upload(self.fs, group, meter=self.meter)

    def finish(self) -> tuple[str, ...]:
        """Upload the rest, and remove the old files."""
        self._send()
        if left := remove(self.fs, self.old):
            raise SourceError(
                f"the new files of {file_name(File(self.fs, self.path))} are whole, but old ones could not be removed: "
                f"{', '.join(left)}"
            )
        return tuple(file_name(File(self.fs, name)) for name in self.done)

    def abandon(self) -> None:
        """Remove everything that was uploaded."""
        if left := remove(self.fs, self.done):
            warn(f"writing was given up, and these files could not be removed: {', '.join(left)}")

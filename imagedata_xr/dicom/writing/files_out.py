"""Files of a series in a folder: they appear when all of them are whole, or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import fsspec
import pydicom
from fsspec.implementations.local import LocalFileSystem
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from .uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME


class Folder(Protocol):
    """A folder being written."""

    def add(self, name: str, data: bytes) -> None:
        """Write one file."""
        ...

    def finish(self) -> tuple[str, ...]:
        """Let the files appear; return their paths."""
        ...

    def abandon(self) -> None:
        """Remove everything that was written."""
        ...


def encode(ds: pydicom.Dataset, keep_meta: bool = False) -> bytes:
    """Return an instance as a DICOM file (PS3.10 7.1).

    Parameters
    ----------
    ds : pydicom.Dataset
        With the transfer syntax of its pixel data in ``file_meta``, else it becomes Explicit VR Little Endian.
    keep_meta : bool
        Leave the file meta information of a source as it is.
    """
    meta = getattr(ds, "file_meta", None)
    if meta is None:
        meta = ds.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        implicit, little = ds.original_encoding
        meta.TransferSyntaxUID = _SYNTAX.get((bool(implicit), bool(little)), ExplicitVRLittleEndian)
    if not keep_meta:
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
        meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
        meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
        for gone in (
            "SourceApplicationEntityTitle",
            "SendingApplicationEntityTitle",
            "ReceivingApplicationEntityTitle",
        ):
            if gone in meta:
                del meta[gone]
    out = BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


_SYNTAX = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}


def open_folder(target: str, overwrite: bool, storage_options: Mapping[str, Any] | None = None) -> Folder:
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
    fs, path = fsspec.core.url_to_fs(os.fspath(target), **dict(storage_options or {}))
    if isinstance(fs, LocalFileSystem):
        return _LocalFolder(Path(path), overwrite)
    return _RemoteFolder(fs, path.rstrip("/"), overwrite)


def check_target(target: str, overwrite: bool, storage_options: Mapping[str, Any] | None = None) -> None:
    """Raise `FileExistsError` where a target may not be written, without touching it."""
    fs, path = fsspec.core.url_to_fs(os.fspath(target), **dict(storage_options or {}))
    if isinstance(fs, LocalFileSystem):
        _check_local(Path(path), overwrite)
    else:
        _check_remote(fs, path.rstrip("/"), overwrite)


def _exists(path: object) -> FileExistsError:
    return FileExistsError(f"{path} is there already and not empty: overwrite=True replaces it")


def _check_local(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file: DICOM images are written into a folder, one file each")
    entries = list(path.iterdir()) if path.is_dir() else []
    if entries and not overwrite:
        raise _exists(path)
    if any(not e.is_file() or e.is_symlink() for e in entries):
        raise FileExistsError(
            f"{path} holds more than files: overwrite=True replaces no folder that has folders within"
        )


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
            self.path.parent.mkdir(parents=True)
        self.stage = beside / f".{self.path.name}.{uuid.uuid4().hex[:8]}.part"
        self.stage.mkdir()
        self.names: list[str] = []

    def add(self, name: str, data: bytes) -> None:
        """Write one file."""
        (self.stage / name).write_bytes(data)
        self.names.append(name)

    def finish(self) -> tuple[str, ...]:
        """Let the files appear."""
        if self.inside:
            for name in self.names:
                (self.stage / name).rename(self.path / name)
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
    return [e["name"] for e in entries]


class _RemoteFolder:
    """Whole files are uploaded one by one; all are removed if one fails. Old files go when the new ones are there."""

    def __init__(self, fs: Any, path: str, overwrite: bool) -> None:
        self.fs, self.path = fs, path
        self.old = _check_remote(fs, path, overwrite)
        # beside old files of the same names, new ones get names of their own
        self.prefix = f"{uuid.uuid4().hex[:8]}_" if self.old else ""
        self.done: list[str] = []
        fs.makedirs(path, exist_ok=True)

    def add(self, name: str, data: bytes) -> None:
        """Upload one file."""
        full = f"{self.path}/{self.prefix}{name}"
        self.done.append(full)
        self.fs.pipe_file(full, data)

    def finish(self) -> tuple[str, ...]:
        """Remove the old files."""
        for name in self.old:
            self.fs.rm_file(name)
        return tuple(self.fs.unstrip_protocol(name) for name in self.done)

    def abandon(self) -> None:
        """Remove everything that was uploaded."""
        for name in self.done:
            if self.fs.exists(name):
                self.fs.rm_file(name)

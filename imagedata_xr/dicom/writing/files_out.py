"""Instances as DICOM files."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from fsspec.implementations.local import LocalFileSystem
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ...errors import FormatError
from ...stores.archives_out import archive_target
from ...stores.files import File, file_name, strip_credentials
from ...stores.originals import spare_files
from ...stores.sinks import Sink, content, open_sink, special_sink
from ...stores.sinks import check_target as check_folder
from ...stores.targets import place_of_target
from ...stores.uploads import upload
from .uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME


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


def open_target(target: str, overwrite: bool, storage_options: Mapping[str, Any] | None = None) -> Sink:
    """Begin what a target means: the one file that it names, or a folder of files."""
    begin = OneFile if is_file_name(target) else open_sink
    return begin(target, overwrite, storage_options)


def check_target(target: str, overwrite: bool, storage_options: Mapping[str, Any] | None = None) -> None:
    """Raise `FileExistsError` where a target may not be written, without touching it."""
    if is_file_name(target):
        OneFile(target, overwrite, storage_options)
    else:
        check_folder(target, overwrite, storage_options)


def is_file_name(target: str) -> bool:
    """Whether a target is the name of one DICOM file, unless it is a folder already."""
    return target.lower().endswith((".dcm", ".ima")) and special_sink(target) is None and not os.path.isdir(target)


class OneFile:
    """A single file under the name that was asked for; it appears when it is whole."""

    def __init__(self, target: str, overwrite: bool, storage_options: Mapping[str, Any] | None = None) -> None:
        self.archive = archive_target(target, storage_options, of_file=True)
        if self.archive is not None:
            self.fs, self.path = None, self.archive.path(target.rpartition("/")[2].rpartition("?")[2])
            self.there = self.path in self.archive.names
        else:
            self.fs, self.path = place_of_target(target, storage_options)
            self.there = bool(self.fs.exists(self.path))
        if self.there and not overwrite:
            raise FileExistsError(f"{strip_credentials(target)} is there already: overwrite=True replaces it")
        if self.there and self.archive is not None:
            self.archive.spare([self.path], strip_credentials(target))
        elif self.there:
            spare_files(self.fs, [self.path], strip_credentials(target))
        self.data: bytes | None = None

    def add(self, name: str, data: bytes | Path) -> None:
        """Keep the file until it is known that there is no other."""
        if self.data is not None:
            raise FormatError(
                f"{os.path.basename(self.path)} is the name of one file, and there are several images: name a folder, "
                "or give a pattern such as 'im_%05d.dcm'"
            )
        self.data = content(data)

    def finish(self) -> tuple[str, ...]:
        """Let the file appear."""
        data = self.data or b""
        if self.archive is not None:
            sink = self.archive.sink([self.path] if self.there else [])
            try:
                sink.add(os.path.basename(self.path), data)
                return sink.finish()
            except BaseException:
                sink.abandon()
                raise
        if not isinstance(self.fs, LocalFileSystem):
            upload(self.fs, {self.path: data}, replaces=self.there)
            return (file_name(File(self.fs, self.path)),)
        place = Path(self.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        stage = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            stage.write_bytes(data)
            stage.replace(place)
        except BaseException:
            stage.unlink(missing_ok=True)
            raise
        return (str(place),)

    def abandon(self) -> None:
        """Forget the file."""
        self.data = None

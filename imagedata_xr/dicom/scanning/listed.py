"""The files that a source stands for: those that were found, and those that DICOMDIRs among them list."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from fsspec import AbstractFileSystem

from ...errors import NotFoundError, SourceError, warn
from ...stores.url import File, file_name, is_local, read_available, reason
from .cache import kept_scan
from .dicomdir import DIRECTORY, Directory, Record, read_directory
from .scan import NAMED, Scan
from .sniff import looks_like_dicom
from .trouble import DamagedError
from .where import Criterion, Where

_ADDED = ("", ".dcm", ".ima", ".gz", ".dcm.gz")
"""What may have been appended to the name of a file since its DICOMDIR was written."""

_HEAD = 512
"""Bytes that hold the file meta information, which says what a file is."""


def scan_listed(files: Sequence[File], where: Where, errors: str) -> Scan:
    """Scan files and those that DICOMDIRs among them list.

    Parameters
    ----------
    files : sequence of File
    where : Where
        Which files are wanted. Files that are only known through a DICOMDIR are not opened where its records, or those
        above them, rule them out. Otherwise a file's header decides; where it lacks an element, the records do.
    errors : {"warn", "raise"}

    Raises
    ------
    SourceError
        With ``errors="raise"``: a DICOMDIR is damaged, or lists files that are not there or not what it says.
    NotFoundError
        `where` leaves nothing.

    Warns
    -----
    ImagedataWarning
        Of the same with ``errors="warn"``, once for each DICOMDIR; of DICOM files beside the listed ones that it does
        not list, which are not read then.
    """
    strict: Literal["raise", "warn"] = "raise" if errors == "raise" else "warn"
    scanned = kept_scan(files, strict)
    disks = [_Disk.read(f) for f in [*(scanned.files[k] for k in _directories(scanned)), *_damaged(files, scanned)]]
    if disks:
        given = {file_name(f) for f in files}
        more = {n: f for d in disks for n, f in d.wanted(where).items() if n not in given}
        if more:
            scanned = kept_scan([*files, *more.values()], strict)
        for disk in disks:
            _tell(disk, scanned, given, where, errors)
    return _chosen(scanned, where, {n: r for d in disks for n, r in d.records.items()}) if where else scanned


def _directories(scanned: Scan) -> list[int]:
    """Rows that are DICOMDIRs."""
    columns = [scanned.words(keyword) for keyword in (0x00020002, "SOPClassUID")]
    meta, own = (column.map(lambda uids: DIRECTORY in (uids or ())).array(bool) for column in columns)
    return [int(k) for k in np.flatnonzero(meta | own)]


def _damaged(files: Sequence[File], scanned: Scan) -> list[File]:
    """DICOMDIRs that are too damaged for the scan: their first records may still be read."""
    bad = {name for name, _ in scanned.damaged}
    mine = [f for f in files if file_name(f) in bad] if bad else []
    heads = read_available(mine, [0] * len(mine), [_HEAD] * len(mine))
    return [f for f, head in zip(mine, heads, strict=True) if isinstance(head, bytes) and DIRECTORY.encode() in head]


def _chosen(scanned: Scan, where: Where, records: dict[str, Record]) -> Scan:
    names = [file_name(f) for f in scanned.files]

    def by_record(k: int, criterion: Criterion) -> bool:
        record = records.get(names[k])
        return record is not None and _by_record(record, criterion) is True

    kept = where.mask(scanned, by_record)
    kept[_directories(scanned)] = False
    if len(scanned) and not kept.any():
        raise NotFoundError(f"{where} is met by none of the {len(scanned)} DICOM files")
    return scanned.take(np.flatnonzero(kept))


def _by_record(record: Record, criterion: Criterion) -> bool | None:
    """Whether a record, or the nearest one above it that has the element, meets a criterion; None if none has it."""
    for one in (record, *record.above):
        if values := one.text(criterion.tag):
            return criterion.accepts(values)
    return None


# --- a DICOMDIR and the disk it describes -----------------------------------------------------------------------------


@dataclass
class _Disk:
    """A DICOMDIR and the files that it lists.

    Attributes
    ----------
    file : File
        The DICOMDIR.
    found : dict
        Files that are there, by name.
    records : dict
        Their records, by the same names.
    missing : list of str
        Those that are not, with their folders, as they are listed.
    problems : list of str
    """

    file: File
    found: dict[str, File] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, file: File) -> _Disk:
        """Read a DICOMDIR and look for its files."""
        disk = cls(file)
        try:
            directory = read_directory(bytes(file.fs.cat_file(file.path)))
        except DamagedError as error:
            disk.problems.append(str(error))
            return disk
        except OSError as error:
            disk.problems.append(reason(error))
            return disk
        disk.problems += directory.problems
        disk._locate(directory)
        return disk

    def _locate(self, directory: Directory) -> None:
        folders = _Folders(self.file.fs)
        top = _parent(self.file)
        for record in directory.records:
            if not record.parts:
                continue
            path = folders.find(top, record.parts)
            if path is None:
                self.missing.append("/".join(record.parts))
                continue
            file = File(self.file.fs, path)
            self.found[file_name(file)] = file
            self.records[file_name(file)] = record

    def wanted(self, where: Where) -> dict[str, File]:
        """Files that the records do not rule out."""
        if not where:
            return self.found
        ruled_out = {n for n, r in self.records.items() if any(_by_record(r, c) is False for c in where.criteria)}
        return {n: f for n, f in self.found.items() if n not in ruled_out}


def _parent(file: File) -> str:
    return os.path.dirname(file.path) if is_local(file) else file.path.rpartition("/")[0]


class _Folders:
    """Names of the files in folders, each listed once: a DICOMDIR may write them otherwise than the disk does."""

    def __init__(self, fs: AbstractFileSystem) -> None:
        self.fs = fs
        self._known: dict[str, tuple[dict[str, str], dict[str, str]]] = {}

    def find(self, top: str, parts: Sequence[str]) -> str | None:
        """Path of a listed file; None where there is none."""
        path = top
        for part in parts[:-1]:
            inner = self._entry(path, part)
            if inner is None:
                return None
            path = inner
        return next((p for added in _ADDED if (p := self._entry(path, parts[-1] + added)) is not None), None)

    def _entry(self, folder: str, name: str) -> str | None:
        """Path of an entry: by its name, else whatever the letter case and the version that ISO 9660 appends."""
        if folder not in self._known:
            exact = {p.rstrip("/").replace("\\", "/").rpartition("/")[2]: p for p in self._paths(folder)}
            self._known[folder] = exact, {_plain(n): p for n, p in sorted(exact.items(), reverse=True)}
        exact, plain = self._known[folder]
        return exact.get(name) or plain.get(_plain(name))

    def _paths(self, folder: str) -> list[str]:
        try:
            if is_local(File(self.fs, folder)):
                with os.scandir(folder) as entries:
                    return [e.path for e in entries]
            return [str(p) for p in self.fs.ls(folder, detail=False)]
        except OSError:
            return []  # whose files are then missing, and named


def _plain(name: str) -> str:
    return re.sub(r";\d*$", "", name.casefold()).rstrip(".")


# --- what is said of it -----------------------------------------------------------------------------------------------


def _tell(disk: _Disk, scanned: Scan, given: set[str], where: Where, errors: str) -> None:
    """Say once what is wrong with a DICOMDIR."""
    problems = list(disk.problems)
    if disk.missing:
        problems.append(f"{len(disk.missing)} of the files that it lists are not there: {_some(disk.missing)}")
    row = {file_name(f): k for k, f in enumerate(scanned.files)}
    damaged = {name for name, _ in scanned.damaged}
    read = [n for n in disk.wanted(where) if n not in damaged]
    if strange := [n for n in read if n not in row]:
        problems.append(f"{len(strange)} of the files that it lists are not DICOM: {_some(strange)}")
    uids = scanned.strings("SOPInstanceUID")
    other = [n for n in read if n in row and disk.records[n].uid and disk.records[n].uid not in (uids[row[n]] or ())]
    if other:
        problems.append(f"{len(other)} of its files hold another instance than it says: {_some(other)}")
    name = file_name(disk.file)
    if problems:
        text = f"{name}: {'; '.join(problems)}"
        if errors == "raise":
            raise SourceError(text + '. errors="warn" reads what is there')
        warn(text + ". What is there is read")
    if beside := _beside(disk, given):
        warn(
            f"{name} does not list {len(beside)} DICOM files beside those that it lists, which are not read: "
            f"{_some(beside)}. Open the folder to have them"
        )


def _beside(disk: _Disk, given: set[str]) -> list[str]:
    """DICOM files in the folders of the listed ones that are neither listed nor given."""
    folders, known = _Folders(disk.file.fs), given | set(disk.found)
    tops = dict.fromkeys(_parent(f) for n, f in disk.found.items() if n not in given)
    files = [File(disk.file.fs, p) for top in tops for p in folders._paths(top)]
    strange = [f for f in files if file_name(f) not in known]
    heads = read_available(strange, [0] * len(strange), [_HEAD] * len(strange))
    return [file_name(f) for f, head in zip(strange, heads, strict=True) if _is_image(head)]


def _is_image(head: bytes | OSError) -> bool:
    return isinstance(head, bytes) and looks_like_dicom(head) and DIRECTORY.encode() not in head


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

"""Files that are no DICOM where DICOM is expected: named as such, or like the DICOM files beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...stores.url import File, file_name, is_archive
from .sniff import plausible

_NAMED = (".dcm", ".ima", ".dcm.gz", ".ima.gz")
_SEARCHED = 512
"""Bytes in which a data set that lost its beginning is looked for."""
_TEXT = frozenset(range(32, 127)) | {9, 10, 13}


def named_as_dicom(path: str) -> bool:
    """Tell whether a file is named as DICOM files are."""
    return path.lower().endswith(_NAMED)


def what_it_is(head: bytes) -> str:
    """Say in a few words what a file is that is not DICOM, by its first bytes."""
    if not head:
        return "it is empty"
    if not any(head[:_SEARCHED]):
        return "it holds zeros only where a header should begin"
    start = head[:_SEARCHED].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a web page"
    if start.startswith(b"<?xml"):
        return "it is XML"
    if all(byte in _TEXT for byte in head[:_SEARCHED]):
        return "it is text"
    begins = (k for k in range(1, min(_SEARCHED, len(head))) if head[k : k + 2] == b"\x08\0" and plausible(head, k))
    if at := next(begins, 0):
        return f"a data set begins at byte {at} only: what came before is not that of a DICOM file"
    return "it begins neither with a preamble nor with elements"


def misplaced(strangers: Sequence[tuple[File, str]], dicom: Iterable[File]) -> list[tuple[str, str]]:
    """Find the strangers that are probably damaged DICOM files: those named like DICOM files of the same folder.

    Scanners write names without an extension, or number them in its place (``IM0003``, ``1.2.840.5``); what has no
    digit in such a name is a note, not an image.

    Parameters
    ----------
    strangers : sequence of (File, str)
        Files that are no DICOM, and what they are.
    dicom : iterable of File

    Returns
    -------
    list of (str, str)
        Name and reason.
    """
    if not strangers:
        return []
    places = {_form(file.path) for file in dicom}
    return [
        (file_name(file), f"it is named like the DICOM files beside it, but it is none: {what}")
        for file, what in strangers
        if _form(file.path) in places and not is_archive(file.path) and _numbered(file.path)
    ]


def _split(path: str) -> tuple[str, str, str]:
    """Folder, name and extension; a number is no extension."""
    folder, _, name = path.replace("\\", "/").rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not dot or extension.isdigit() or not extension.isalnum():
        return folder, name, ""
    return folder, stem, extension.lower()


def _form(path: str) -> tuple[str, str]:
    folder, _, extension = _split(path)
    return folder, extension


def _numbered(path: str) -> bool:
    _, stem, extension = _split(path)
    return bool(extension) or any(c.isdigit() for c in stem)

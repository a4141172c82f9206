"""Files that are written as they are, but for a few elements: their bytes are copied, not decoded and encoded again.

What is not laid out plainly is called odd (`copy_of` gives None), and pydicom reads and writes that file as a whole.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from io import BytesIO
from struct import Struct

import pydicom

from ..scanning.nested import skip_sequence
from ..scanning.pydicom_charsets import mend_pydicom
from ..scanning.trouble import MoreError, OddError
from ..scanning.vr import (
    DEFLATED_LE,
    EXPLICIT_BE,
    IMPLICIT_LE,
    LONG_VR,
    SHORT_VR,
    STANDARD_SYNTAXES,
    TRANSFER_SYNTAX,
    UNDEFINED,
)
from .files_out import encode

_TAG = Struct("<HH").unpack_from
_LENGTH = Struct("<I").unpack_from
_SHORT = Struct("<H").unpack_from
_PIXEL_DATA = 0x7FE00010

CHANGING = (0x00080005, 0x00080016, 0x00080018, 0x0008103E, 0x0020000E, 0x00200011, 0x00200013)
"""What gets new values: class, UIDs, numbers and description of the series; and the character set of the latter."""


@dataclass(frozen=True)
class _Layout:
    """Where the elements of a file begin.

    Attributes
    ----------
    syntax : str
        Transfer syntax.
    begin : int
        Length of preamble and file meta information.
    tags, starts : list of int
        Ascending; the last start is the end of the file.
    """

    syntax: str
    begin: int
    tags: list[int]
    starts: list[int]

    def span(self, tag: int) -> tuple[int, int]:
        """Where an element begins and ends; where it would stand, if there is none."""
        k = bisect_left(self.tags, tag)
        there = k < len(self.tags) and self.tags[k] == tag
        return self.starts[k], self.starts[k + 1] if there else self.starts[k]


@dataclass
class Copy:
    """An instance that is written as it is.

    Attributes
    ----------
    header : pydicom.Dataset
        The elements of `CHANGING` that it has, and its file meta information: they may be changed.
    """

    header: pydicom.Dataset
    _content: bytes
    _layout: _Layout

    @property
    def SOPInstanceUID(self) -> str:  # noqa: N802 - as in pydicom
        """SOP Instance UID."""
        return str(self.header.SOPInstanceUID)

    def encoded(self, keep_meta: bool) -> bytes:
        """Return the file; see `imagedata_xr.dicom.writing.files_out.encode`."""
        new = encode(self.header, keep_meta)
        layout, old = _layout(new), memoryview(self._content)
        parts, at = [memoryview(new)[: layout.begin]], self._layout.begin
        for tag in CHANGING:
            start, end = self._layout.span(tag)
            parts += [old[at:start], memoryview(new)[slice(*layout.span(tag))]]
            at = end
        return b"".join([*parts, old[at:]])


def copy_of(content: bytes) -> Copy | None:
    """Copy of an instance, from the bytes of its file; None for a file that pydicom has to read.

    A file is plain where it has preamble and file meta information, its elements ascend and have the VRs of DICOM and
    even lengths, and nothing follows them; little endian, neither deflated nor with group lengths (PS3.5 7.1, 7.2).
    """
    try:
        layout = _layout(content)
    except (OddError, MoreError):
        return None
    few = [content[slice(*layout.span(tag))] for tag in CHANGING]
    mend_pydicom()
    header = pydicom.dcmread(BytesIO(b"".join([content[: layout.begin], *few])), force=True)
    plain = "SOPInstanceUID" in header and "SOPClassUID" in header
    return (
        Copy(header, content, layout) if plain and not (keys := set(header.keys())) - set(CHANGING) and keys else None
    )


def _layout(content: bytes) -> _Layout:
    if content[128:132] != b"DICM":
        raise OddError
    begin, syntax, group_end = 132, "", -1
    while begin + 4 <= len(content) and _TAG(content, begin)[0] == 2:
        tag, start, end = _element(content, begin, implicit=False)
        if tag == TRANSFER_SYNTAX:
            syntax = content[start:end].rstrip(b"\0 ").decode("ascii", "replace")
        elif tag == 0x00020000:
            group_end = end + _LENGTH(content, start)[0] if end - start == 4 else -1
        begin = end
    standard = syntax.startswith(STANDARD_SYNTAXES) or syntax == IMPLICIT_LE
    if begin != group_end or not standard or syntax in (DEFLATED_LE, EXPLICIT_BE):
        raise OddError
    tags, starts, at, implicit = [7 << 16], [], begin, syntax == IMPLICIT_LE
    while at < len(content):
        tag, _, end = _element(content, at, implicit)
        if tag <= tags[-1] or not tag & 0xFFFF or tag >> 16 == 7:
            raise OddError
        tags.append(tag)
        starts.append(at)
        at = end
    return _Layout(syntax, begin, tags[1:], [*starts, at])


def _element(content: bytes, at: int, implicit: bool) -> tuple[int, int, int]:
    """Tag of an element, where its value begins, and where the next element does."""
    if at + 8 > len(content):
        raise OddError
    group, element = _TAG(content, at)
    tag, vr = group << 16 | element, content[at + 4 : at + 6]
    if implicit:
        start, (length,) = at + 8, _LENGTH(content, at + 4)
    elif vr in SHORT_VR:
        start, (length,) = at + 8, _SHORT(content, at + 6)
    elif vr in LONG_VR and at + 12 <= len(content):
        start, (length,) = at + 12, _LENGTH(content, at + 8)
    else:
        raise OddError
    if length == UNDEFINED:
        if not implicit and vr != b"SQ" and tag != _PIXEL_DATA:
            raise OddError
        return tag, start, skip_sequence(content, start, implicit)
    if length % 2 or start + length > len(content):
        raise OddError
    return tag, start, start + length

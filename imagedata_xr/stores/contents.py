"""Tables of contents of zip and tar archives; what is truncated, damaged or hostile is refused."""

from __future__ import annotations

import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ..errors import SourceError
from .files import File, file_name, reason
from .members import CURE, Member, by_name, check_size, checked_name
from .ranges import Gzip
from .streams import PassingStream, RangeStream

LOCAL_HEADER = 30
"""Length of what stands before the name of a zip member (APPNOTE 4.3.7)."""


def zip_contents(file: File, size: int) -> dict[str, Member]:
    """Read the central directory of a zip archive, which ends it.

    Raises
    ------
    SourceError
        It is truncated, damaged, encrypted, or refused; see `imagedata_xr.stores.members`.
    """
    name = file_name(file)
    try:
        stream = RangeStream(file, size)
        with zipfile.ZipFile(stream) as opened:
            entries, start = opened.infolist(), opened.start_dir
        _check_end(stream, size, name)
        first = min((e.header_offset for e in entries), default=0)
        stream.seek(0)
        if first and stream.read(4) == b"PK\3\4":
            raise SourceError(
                f"{name} is refused: it begins with files that its table of contents does not have, as where two "
                f"archives were joined; {CURE}"
            )
    except _NO_ZIP as error:
        raise SourceError(
            f"{name} has no readable table of contents at its end: it is truncated, damaged, or no zip archive "
            f"({error})"
        ) from error
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{name} can't be read: {reason(error)}") from error
    members = by_name((_zip_member(e, name) for e in entries if not _is_folder(e, name)), name)
    _check_places(entries, start, name)
    check_size(sum(m.size for m in members.values()), size, name)
    return members


_NO_ZIP = (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, struct.error, ValueError)
"""What the standard library raises on damaged tables of contents."""
_END, _END_LENGTH = b"PK\5\6", 22
"""What marks the end of a zip archive, and its length without the comment (APPNOTE 4.3.16)."""


def _check_end(stream: RangeStream, size: int, archive: str) -> None:
    """Refuse a zip archive with two ends, of which each reader may believe another; a comment can hold one."""
    tail = _END_LENGTH + 0xFFFF
    first = max(0, size - tail)
    stream.seek(first)
    data = _read(stream, size - first)
    ends, at = 0, data.find(_END)
    while at >= 0:
        comment = int.from_bytes(data[at + 20 : at + 22], "little")
        ends += at + _END_LENGTH + comment == len(data)
        at = data.find(_END, at + 1)
    if ends > 1:
        raise SourceError(f"{archive} is refused: it has {ends} tables of contents; {CURE}")


def _is_folder(entry: zipfile.ZipInfo, archive: str) -> bool:
    """Whether an entry is a folder; raise `SourceError` for one that holds bytes, which would be lost."""
    folder = entry.orig_filename.endswith(("/", "\\"))
    if folder and entry.file_size:
        raise SourceError(f"{archive} is refused: {entry.orig_filename!r} is a folder in it, and holds bytes; {CURE}")
    return folder


def _zip_member(entry: zipfile.ZipInfo, archive: str) -> Member:
    name = checked_name(entry.orig_filename.replace("\\", "/"), archive)
    if entry.flag_bits & 0x2041:
        raise SourceError(f"{archive} is encrypted ({name!r}): unpack it with its password")
    kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == 3 else 0
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no file"
        raise SourceError(f"{archive} is refused: {name!r} in it is {what}; {CURE}")
    method = entry.compress_type
    if method == 0 and entry.compress_size != entry.file_size:
        raise SourceError(f"{archive} is damaged: the two lengths of {name!r} differ")
    label = entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")
    return Member(name, entry.header_offset, entry.compress_size, entry.file_size, method, entry.CRC, label)


def _check_places(entries: list[zipfile.ZipInfo], start: int, archive: str) -> None:
    """Members follow each other: where they share bytes, a few kB can unpack to petabytes."""
    places = sorted((e.header_offset, e.header_offset + LOCAL_HEADER + e.compress_size) for e in entries)
    places.append((start, start))
    for (_, stop), (first, _) in pairwise(places):
        if stop > first:
            raise SourceError(f"{archive} is refused: its files overlap, or reach into its table of contents; {CURE}")


def tar_contents(file: File, size: int) -> dict[str, Member]:
    """Read the headers of a tar archive, which stand before each of its files.

    Raises
    ------
    SourceError
        It is truncated, damaged, or refused.
    """
    return _tar_members(RangeStream(file, size), file_name(file), size)


def packed_tar_contents(gzip: Gzip, size: int) -> dict[str, Member]:
    """Read the headers of a tar archive that is packed by gzip, in one pass to its end, which tests its checksum."""
    name = file_name(gzip.file)

    def blocks() -> Iterator[tuple[int, bytes]]:
        for place, data in gzip.blocks():
            check_size(place + len(data), size, name)
            yield place, data

    stream = PassingStream(blocks())
    return _tar_members(stream, name, None)


def _tar_members(stream: RangeStream | PassingStream, name: str, size: int | None) -> dict[str, Member]:
    found = []
    try:
        with tarfile.open(fileobj=stream, mode="r:") as opened:
            while (entry := opened.next()) is not None:
                if (member := _tar_member(entry, name)) is not None:
                    found.append(member)
            stream.seek(opened.offset)
            mark = _read(stream, 512)
        if isinstance(stream, PassingStream):
            stream.drain()
    except SourceError:
        raise
    except (tarfile.TarError, ValueError, EOFError, zlib.error) as error:
        raise SourceError(f"{name} is truncated, damaged, or no tar archive: {error}") from error
    except OSError as error:
        raise SourceError(f"{name} can't be read: {reason(error)}") from error
    end = stream.length if isinstance(stream, PassingStream) else size
    if mark != bytes(512) or any(m.offset + m.size > (end or 0) for m in found):
        raise SourceError(
            f"{name} is truncated or damaged: after {len(found)} files it ends without the mark of its end. What is "
            "there can be unpacked with tar, and opened as a folder"
        )
    return by_name(found, name)


def _read(stream: Any, length: int) -> bytes:
    parts = []
    while length and (part := stream.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _tar_member(entry: tarfile.TarInfo, archive: str) -> Member | None:
    name = checked_name(entry.name, archive)
    if entry.isdir():
        return None
    if not entry.isreg() or entry.issparse():
        what = "a link" if entry.issym() or entry.islnk() else "no plain file"
        raise SourceError(f"{archive} is refused: {name!r} in it is {what}; {CURE}")
    return Member(name, entry.offset_data, entry.size, entry.size)

"""Reading the members of a zip archive: stored ones in place, packed ones unpacked in memory."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from ..errors import SourceError
from .contents import LOCAL_HEADER
from .files import File, read_available
from .members import Member
from .ranges import BARE, Gzip
from .streams import RangeStream

WHOLE = 16 << 20
"""Bytes of content up to which a packed member is unpacked as a whole."""

HEAD = 1 << 18
"""Bytes: ranges that end before are unpacked from the beginning alone, as is enough for headers."""

_CACHE = 64 << 20
_STORED, _DEFLATED = 0, 8
_OTHER = 1 << 30
"""Bytes of content up to which members of other methods (bzip2, LZMA) are unpacked."""


class ZipMembers:
    """Ranges of the members of a zip archive.

    Parameters
    ----------
    file : File
        The archive.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self._begins: dict[str, int] = {}
        self._large: dict[str, Gzip] = {}
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def read(self, members: Sequence[Member], begin: Sequence[int], count: Sequence[int]) -> list[bytes | OSError]:
        """Read ranges within members; one that is damaged gives its error."""
        out: list[bytes | OSError] = [b""] * len(members)
        wrong = self._find_begins(members)
        rows: dict[str, list[int]] = {}
        for k, member in enumerate(members):
            if member.name in wrong:
                out[k] = wrong[member.name]
            elif count[k]:
                rows.setdefault(member.name, []).append(k)
        stored = [k for mine in rows.values() for k in mine if members[k].method == _STORED]
        begins = [self._begins[members[k].name] + begin[k] for k in stored]
        data = read_available([self.file] * len(stored), begins, [count[k] for k in stored])
        for k, got in zip(stored, data, strict=True):
            out[k] = self._tested(members[k], got) if count[k] == members[k].size else got
        packed = {name: mine for name, mine in rows.items() if members[mine[0]].method != _STORED}
        for name, content in self._contents({n: members[m[0]] for n, m in packed.items()}, packed, begin, count):
            for k in packed[name]:
                out[k] = content if isinstance(content, OSError) else content[begin[k] : begin[k] + count[k]]
        for mine in packed.values():
            member = members[mine[0]]
            if _is_large(member):
                try:
                    parts = self._reader(member).available([begin[k] for k in mine], [count[k] for k in mine])
                except SourceError as error:
                    parts = [error] * len(mine)  # type: ignore[list-item]
                for k, part in zip(mine, parts, strict=True):
                    out[k] = part
        return out

    # --- where members begin ---------------------------------------------------------------------------------------
    def _find_begins(self, members: Sequence[Member]) -> dict[str, OSError]:
        """Look up where the content of members begins; returns what is wrong with those that are damaged."""
        new = list({m.name: m for m in members if m.name not in self._begins}.values())
        lengths = [LOCAL_HEADER + len(m.label) for m in new]
        heads = read_available([self.file] * len(new), [m.offset for m in new], lengths)
        wrong: dict[str, OSError] = {}
        for member, head in zip(new, heads, strict=True):
            if isinstance(head, OSError):
                wrong[member.name] = head
            elif len(head) < LOCAL_HEADER or head[:4] != b"PK\3\4":
                wrong[member.name] = _damaged("there is no header where the table of contents says")
            elif not _alike(head, member):
                wrong[member.name] = _damaged("its header and the table of contents differ")
            else:
                name, extra = struct.unpack("<HH", head[26:30])
                self._begins[member.name] = member.offset + LOCAL_HEADER + name + extra
        return wrong

    # --- packed members --------------------------------------------------------------------------------------------
    def _contents(
        self, members: dict[str, Member], rows: dict[str, list[int]], begin: Sequence[int], count: Sequence[int]
    ) -> Iterator[tuple[str, bytes | OSError]]:
        """Give the content of packed members that are not large, or its beginning where that is enough."""
        ask: list[tuple[Member, int]] = []
        for name, member in members.items():
            if _is_large(member):
                continue
            with self._lock:
                known = self._cache.get(name)
                if known is not None:
                    self._cache.move_to_end(name)
            if known is not None:
                yield name, known
            elif member.method != _DEFLATED:
                yield name, self._other(member)
            else:
                stop = max(begin[k] + count[k] for k in rows[name])
                ask.append((member, stop if stop <= min(HEAD, member.size // 2) else member.size))
        for group in _groups(ask):
            yield from self._inflated(group)

    def _inflated(self, group: list[tuple[Member, int]]) -> Iterator[tuple[str, bytes | OSError]]:
        # deflate makes nothing longer by more than 5 bytes in 16 kB, apart from a table of codes
        lengths = [m.packed if stop == m.size else min(m.packed, stop + stop // 1024 + 1024) for m, stop in group]
        raws = read_available([self.file] * len(group), [self._begins[m.name] for m, _ in group], lengths)

        def unpack(one: tuple[tuple[Member, int], bytes | OSError]) -> bytes | OSError:
            (member, stop), raw = one
            return raw if isinstance(raw, OSError) else self._inflate(member, stop, raw)

        pairs = list(zip(group, raws, strict=True))
        if sum(stop for _, stop in group) > 1 << 20 and len(group) > 1:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                done = list(pool.map(unpack, pairs))
        else:
            done = [unpack(one) for one in pairs]
        for (member, _), content in zip(group, done, strict=True):
            yield member.name, content

    def _inflate(self, member: Member, stop: int, raw: bytes) -> bytes | OSError:
        """Unpack a member up to a byte, or as a whole; no more than the archive says that it holds."""
        state = zlib.decompressobj(BARE)
        try:
            content = state.decompress(raw, stop + 1 if stop == member.size else stop)
        except zlib.error as error:
            return _damaged(f"it can't be unpacked: {error}")
        if stop < member.size:
            return content if len(content) == stop else _damaged(f"{len(content)} of {stop} bytes could be unpacked")
        if not state.eof and len(content) <= stop:
            content += state.flush()
        tested = self._tested(member, content)
        if isinstance(tested, bytes):
            self._keep(member.name, tested)
        return tested

    def _tested(self, member: Member, content: bytes | OSError) -> bytes | OSError:
        if isinstance(content, OSError):
            return content
        if len(content) != member.size:
            return _damaged(f"{len(content)} bytes are there where {member.size} should be")
        return content if zlib.crc32(content) == member.crc else _damaged("its checksum is wrong")

    def _keep(self, name: str, content: bytes) -> None:
        with self._lock:
            self._cache[name] = content
            total = sum(map(len, self._cache.values()))
            while total > _CACHE and len(self._cache) > 1:
                total -= len(self._cache.popitem(last=False)[1])

    def _reader(self, member: Member) -> Gzip:
        with self._lock:
            if member.name not in self._large:
                begin = self._begins[member.name]
                self._large[member.name] = Gzip(self.file, member.size, begin, BARE, begin + member.packed)
                while len(self._large) > 4:
                    del self._large[next(iter(self._large))]
            return self._large[member.name]

    def _other(self, member: Member) -> bytes | OSError:
        """Unpack a member of a method other than deflate."""
        if member.size > _OTHER:
            return _damaged(f"it is packed by method {member.method} and has {member.size} bytes: unpack it first")
        size = self._begins[member.name] + member.packed
        info = self.file.fs.info(self.file.path)
        try:
            with zipfile.ZipFile(RangeStream(self.file, int(info["size"]))) as opened:
                entry = next(e for e in opened.infolist() if e.header_offset == member.offset)
                with opened.open(entry) as stream:
                    content = stream.read(member.size + 1)
        except (NotImplementedError, RuntimeError):
            return _damaged(f"it is packed by method {member.method}, which can't be unpacked here: unpack it first")
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, StopIteration) as error:
            return _damaged(f"its {size - member.offset} bytes can't be unpacked: {error}")
        tested = self._tested(member, content)
        if isinstance(tested, bytes):
            self._keep(member.name, tested)
        return tested


def _alike(head: bytes, member: Member) -> bool:
    """Whether the header before a member says what the table of contents does: method, checksum, name (APPNOTE 4.3.7).

    With bit 3 of its flags the checksum follows the content.
    """
    flags, method = struct.unpack("<HH", head[6:10])
    (crc,) = struct.unpack("<L", head[14:18])
    same = method == member.method and head[LOCAL_HEADER:] == member.label
    return same and (crc == member.crc or bool(flags & 8))


def _is_large(member: Member) -> bool:
    return member.method == _DEFLATED and member.size > WHOLE


def _damaged(text: str) -> OSError:
    return OSError(5, f"it is damaged in its archive: {text}")


def _groups(ask: list[tuple[Member, int]]) -> Iterator[list[tuple[Member, int]]]:
    """Part what is to be unpacked at once, so that it does not take more than some 64 MB."""
    group: list[tuple[Member, int]] = []
    total = 0
    for member, stop in ask:
        group.append((member, stop))
        total += stop
        if total > _CACHE:
            yield group
            group, total = [], 0
    if group:
        yield group

"""The records of a DICOMDIR (PS3.3 annex F): which files it lists, and what it says of each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError  # noqa: N812

from .elements import CHARACTER_SET, text
from .nested import skip_sequence
from .trouble import DamagedError, MoreError, OddError
from .vr import EXPLICIT_BE, IMPLICIT_LE, LONG_VR, SHORT_VR, TRANSFER_SYNTAX, UNDEFINED, Raw, public_vr

DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage, the SOP class of a DICOMDIR."""

_FIRST, _RECORDS = 0x00041200, 0x00041220
_NEXT, _IN_USE, _LOWER, _KIND = 0x00041400, 0x00041410, 0x00041420, 0x00041430
_FILE_ID, _UID = 0x00041500, 0x00041511
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


_LITTLE, _BIG = (tuple(Struct(order + form).unpack_from for form in ("HH", "H", "I")) for order in "<>")


@dataclass
class Record:
    """A directory record.

    Attributes
    ----------
    offset : int
        Where it begins in the DICOMDIR, bytes.
    elements : dict
        VR and value (numbers little endian) by tag.
    above : list of Record
        The records that it belongs to, nearest first; empty where no offset leads to it.
    reached : bool
        Whether the offsets lead to it.
    """

    offset: int
    elements: dict[int, Raw]
    above: list[Record] = field(default_factory=list)
    reached: bool = False

    def text(self, tag: int) -> tuple[str, ...]:
        """Values of an element, decoded by the character set of the record; empty where it is empty or missing."""
        raw = self.elements.get(tag)
        return text(tag, raw, self.elements.get(CHARACTER_SET)) if raw is not None else ()

    def number(self, tag: int) -> int:
        """Value of an unsigned integer; 0 where it is missing."""
        return int.from_bytes(self.elements.get(tag, ("", b""))[1], "little")

    @property
    def active(self) -> bool:
        """Whether it is in use; 0 was the mark of a deleted one in former editions of the standard."""
        return _IN_USE not in self.elements or self.number(_IN_USE) != 0

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders and name of the file that it lists; empty where it lists none."""
        words = "\\".join(self.text(_FILE_ID)).replace("/", "\\").split("\\")  # some writers use slashes
        return tuple(word for word in words if word not in ("", "."))

    @property
    def uid(self) -> str:
        """SOP Instance UID of the file that it lists; empty where unknown."""
        return "".join(self.text(_UID)[:1])

    def __str__(self) -> str:
        return f"the {'/'.join(self.text(_KIND)) or 'nameless'} record at byte {self.offset}"


@dataclass
class Directory:
    """What a DICOMDIR holds.

    Attributes
    ----------
    records : list of Record
        Those in use, in the order of the file, whether offsets lead to them or not.
    problems : list of str
        What is broken, naming the records.
    """

    records: list[Record]
    problems: list[str]


def read_directory(data: bytes) -> Directory:
    """Read a DICOMDIR.

    The records stand one after the other, and are all found by that; the offsets in them, which may be broken, only
    say which belongs to which.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    DamagedError
        It is no DICOMDIR, or damaged before its first record.
    """
    problems: list[str] = []
    try:
        first, found = _parse(data, problems)
    except (StructError, OddError, MoreError) as error:
        raise DamagedError("its directory records can't be read") from error
    problems += _connect(first, found)
    dead = {id(r) for r in found if not r.active or any(not a.active for a in r.above)}
    return Directory([r for r in found if id(r) not in dead], problems)


# --- bytes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bytes:
    """Bytes with their encoding, and the elements in them."""

    data: bytes
    implicit: bool
    big: bool

    def elements(self, pos: int, stop: int) -> Iterator[tuple[int, str, int, int]]:
        """Yield (tag, VR, start, length) of elements, until `stop` or a delimiter; length UNDEFINED for one without."""
        tags, short, long = _BIG if self.big else _LITTLE
        while pos < stop:
            group, element = tags(self.data, pos)
            tag = group << 16 | element
            if group == 0xFFFE:
                yield tag, "", pos + 8, long(self.data, pos + 4)[0]
                return
            if self.implicit:
                vr, start, length = public_vr(tag), pos + 8, long(self.data, pos + 4)[0]
            else:
                code = self.data[pos + 4 : pos + 6]
                if code in SHORT_VR:
                    vr, start, length = SHORT_VR[code], pos + 8, short(self.data, pos + 6)[0]
                elif code in LONG_VR:
                    vr, start, length = LONG_VR[code], pos + 12, long(self.data, pos + 8)[0]
                else:
                    raise OddError("unknown VR")
            yield tag, vr, start, length
            if length == UNDEFINED:
                if self.big:
                    raise OddError("sequences of undefined length in big endian")
                pos = skip_sequence(self.data, start, self.implicit or vr == "UN")
            else:
                pos = start + length

    def value(self, vr: str, start: int, length: int) -> bytes:
        """Give a value with its numbers in little endian."""
        value = self.data[start : start + length]
        width = {"US": 2, "SS": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8}.get(vr, 1) if self.big else 1
        if width == 1:
            return value
        return b"".join(value[k : k + width][::-1] for k in range(0, len(value), width))


def _parse(data: bytes, problems: list[str]) -> tuple[int, list[Record]]:
    """Offset of the first record of the top level, and all records."""
    pos = 132 if data[128:132] == b"DICM" else 0
    syntax, meta = "", _Bytes(data, False, False)
    while data[pos : pos + 2] == b"\2\0":
        tag, vr, start, length = next(meta.elements(pos, len(data)))
        pos = start + length
        if tag == TRANSFER_SYNTAX:
            syntax = meta.value(vr, start, length).decode("latin-1").strip("\0 ")
    source = _Bytes(data, syntax == IMPLICIT_LE, syntax == EXPLICIT_BE)
    first = 0
    for tag, vr, start, length in source.elements(pos, len(data)):
        if tag == _FIRST:
            first = int.from_bytes(source.value(vr, start, length), "little")
        if tag == _RECORDS:
            return first, _records(source, start, len(data) if length == UNDEFINED else start + length, problems)
    raise OddError("no sequence of records")


def _records(source: _Bytes, pos: int, stop: int, problems: list[str]) -> list[Record]:
    out: list[Record] = []
    try:
        while pos < stop:
            tag, _, start, length = next(source.elements(pos, stop))
            if tag == _SEQUENCE_END:
                return out
            if tag != _ITEM:
                raise OddError("no item")
            record = Record(pos, {})
            out.append(record)  # before it is read, so that what a damaged one holds is there
            pos = _fill(source, record, start, length)
    except (OddError, MoreError, StructError):
        where = f"in {out[-1]}, which is number {len(out)}" if out else "at the first record"
        problems.append(f"it is damaged or truncated {where}")
    return [r for r in out if r.elements]


def _fill(source: _Bytes, record: Record, start: int, length: int) -> int:
    """Read the elements of an item; gives where the next begins."""
    stop = len(source.data) if length == UNDEFINED else start + length
    for tag, vr, at, size in source.elements(start, stop):
        if tag == _ITEM_END:
            return at
        if size != UNDEFINED and at + size > len(source.data):
            raise OddError("a value that is cut")
        if vr != "SQ" and size != UNDEFINED:
            record.elements[tag] = vr, source.value(vr, at, size)
    return stop


# --- which belongs to which -------------------------------------------------------------------------------------------


def _connect(first: int, records: list[Record]) -> list[str]:
    """Follow the offsets from record to record; gives what is wrong with them."""
    at = {r.offset: r for r in records}
    problems: list[str] = []
    todo: list[tuple[int, list[Record], str]] = [(first, [], "its header")]
    while todo:
        offset, above, who = todo.pop()
        if not offset:
            continue
        record = at.get(offset)
        if record is None:
            problems.append(f"{who} points to byte {offset}, where no record begins")
        elif record.reached:
            problems.append(f"{who} points to {record}, to which another leads already")
        else:
            record.reached, record.above = True, above
            todo.append((record.number(_NEXT), above, f"{record} (as the next one)"))
            todo.append((record.number(_LOWER), [record, *above], f"{record} (as the first one below it)"))
    lost = [r for r in records if not r.reached and r.active]
    if lost:
        problems.append(f"no offset leads to {len(lost)} of its {len(records)} records, the first is {lost[0]}")
    return problems

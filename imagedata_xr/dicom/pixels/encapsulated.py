"""Encapsulated pixel data (PS3.5 section A.4): where each frame lies, found and read without the others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError, warn
from ...stores.files import Framed
from ...stores.url import File, file_name, is_local, read_available

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_BLOCK = 64 * 1024
_END_OF_IMAGE = b"\xff\xd9"
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
"""First bytes of a frame of JPEG and JPEG-LS, and of JPEG 2000."""


@dataclass
class Encapsulated:
    """The frames of one file.

    Attributes
    ----------
    file : File
    offset : int
        Where the value of the pixel data begins: at the item of the Basic Offset Table.
    count : int
        Number of Frames.
    extended : tuple of bytes, optional
        Extended Offset Table and its lengths (PS3.3 section C.7.6.3.1.8).
    """

    file: File
    offset: int
    count: int
    extended: tuple[bytes, bytes] | None = None
    _table: NDArray[np.int64] | None = field(default=None, init=False, repr=False)
    _items: list[list[tuple[int, int]]] | None = field(default=None, init=False, repr=False)
    _held: tuple[int, bytes] = field(default=(0, b""), init=False, repr=False)

    def frame(self, number: int) -> bytes:
        """Read the compressed bytes of one frame.

        Parameters
        ----------
        number : int
            From 1.

        Raises
        ------
        SourceError
            It is not there, or the fragments of the frames can't be told from each other.
        """
        if not 1 <= number <= self.count:
            raise self._error(f"frame {number} was asked for, of {self.count}")
        if isinstance(self.file.fs, Framed):
            return self.file.fs.frame(self.file.path, number)
        table = self._frame_table()
        if len(table) == self.count:
            whole = self._by_table(number, table)
            if whole is not None:
                return whole
        if self._items is None:
            self._items = self._walked(len(table))
        return b"".join(self._bytes(at, length) for at, length in self._items[number - 1])

    # --- by a table ------------------------------------------------------------------------------------------------
    def _frame_table(self) -> NDArray[np.int64]:
        """Where the first item of each frame begins in the file, by the offset tables; empty without one."""
        if self._table is None:
            length = self._item(self.offset)
            if length is None:
                raise self._error("they do not begin with an item")
            first = self.offset + 8 + length
            if self._item(first) is None:
                raise self._error("no fragment follows their offset table")
            if self.extended and len(self.extended[0]) >= 8 * self.count:
                said = np.frombuffer(self.extended[0][: 8 * self.count], dtype="<u8").astype(np.int64)
            else:
                basic = self._bytes(self.offset + 8, length)
                said = np.frombuffer(basic[: len(basic) // 4 * 4], dtype="<u4").astype(np.int64)
            self._table = first + said
        return self._table

    def _by_table(self, number: int, table: NDArray[np.int64]) -> bytes | None:
        """Return the bytes of a frame whose place a table says; None where the table is wrong."""
        start = int(table[number - 1])
        if self.count == 1:
            return None  # all fragments are the frame's, whatever a table says
        later = table[table > start]
        if (np.diff(table) <= 0).any():
            return None
        parts: list[tuple[int, int]] = []
        at, stop = start, int(later[0]) if later.size else -1
        while at != stop:
            length = self._item(at)
            if length is None:
                if stop < 0 and parts and self._is_end(at):
                    break
                return None
            parts.append((at + 8, length))
            at += 8 + length
            if 0 <= stop < at:
                return None
        if self.extended and len(self.extended[1]) >= 8 * number and len(parts) == 1:
            said = int.from_bytes(self.extended[1][8 * number - 8 : 8 * number], "little")
            parts = [(parts[0][0], min(said, parts[0][1]) or parts[0][1])]
        return b"".join(self._bytes(at, length) for at, length in parts)

    # --- by walking over all fragments ------------------------------------------------------------------------------
    def _walked(self, said: int) -> list[list[tuple[int, int]]]:
        """Fragments of each frame, told from their lengths and their last bytes alone."""
        length = self._item(self.offset)
        at = self.offset + 8 + (length or 0)
        items: list[tuple[int, int]] = []
        while (length := self._item(at)) is not None:
            items.append((at + 8, length))
            at += 8 + length
        if not self._is_end(at):
            raise self._error("they are cut off, or have no end")
        if len(items) == self.count:
            return [[item] for item in items]
        if len(items) > self.count:
            frames = self._parted(items)
            if len(frames) > self.count or said > self.count:
                warn(
                    f"{file_name(self.file)} announces {self.count} frames, but its pixel data hold "
                    f"{max(len(frames), said)}: those that are not announced are not read"
                )
                frames = frames[: self.count]
            if len(frames) == self.count:
                return frames
            if self.count == 1:
                return [items]
        table = f", and an offset table of {said}" if said else ""
        raise self._error(
            f"they hold {len(items)} fragments{table}, which can't be told apart as the {self.count} frames announced"
        )

    def _parted(self, items: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        """Part fragments into frames: where one ends as every JPEG does, or where one begins as a frame does."""
        by_end: list[list[tuple[int, int]]] = [[]]
        by_start: list[list[tuple[int, int]]] = []
        for start, size in items:
            head, tail = self._bytes(start, min(8, size)), min(10, size)
            by_end[-1].append((start, size))
            if _END_OF_IMAGE in self._bytes(start + size - tail, tail):
                by_end.append([])
            if not by_start or head.startswith(_STARTS) or _starts_rle(head):
                by_start.append([])
            by_start[-1].append((start, size))
        if not by_end[-1]:
            by_end.pop()
        # the marker of an end may stand in any fragment by chance: no sign that there are more frames than one
        return by_end if len(by_end) == self.count > 1 else by_start

    # --- bytes -----------------------------------------------------------------------------------------------------
    def _item(self, at: int) -> int | None:
        """Length of the item whose header stands at a byte; None where there is none."""
        head = self._bytes(at, 8, short=True)
        return int.from_bytes(head[4:], "little") if len(head) == 8 and head[:4] == _ITEM else None

    def _is_end(self, at: int) -> bool:
        # fragments whose length is said end with the file: the scan has seen that all of them are there
        return self._bytes(at, 4, short=True) in (_END, b"")

    def _bytes(self, at: int, length: int, short: bool = False) -> bytes:
        """Read bytes; from a remote store more at a time, since each request is slow."""
        begin, held = self._held
        if not begin <= at <= at + length <= begin + len(held):
            block = length if is_local(self.file) else max(length, _BLOCK)
            got = read_available([self.file], [at], [block])[0]
            if isinstance(got, OSError):
                raise SourceError(f"{file_name(self.file)} can't be read: {got}") from got
            begin, held = at, got
            if not is_local(self.file):
                self._held = begin, held
        data = held[at - begin : at - begin + length]
        if len(data) < length and not short:
            raise self._error(f"they are cut off: {len(data)} of {length} bytes are there from byte {at} on")
        return data

    def _error(self, why: str) -> SourceError:
        return SourceError(f"the pixel data of {file_name(self.file)} can't be read: {why}")


def _starts_rle(head: bytes) -> bool:
    """Whether a fragment begins as an RLE frame: up to 15 segments, the first at byte 64 (PS3.5 section G.5)."""
    return 1 <= int.from_bytes(head[:4], "little") <= 15 and head[4:8] == b"\x40\0\0\0"

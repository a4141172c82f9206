"""A scan as bytes, and back: columns with equal cells kept once, without what names the patient.

What may not be kept (`patient_cells`) is left open, together with the number of a file that has it: each such file
stands for all that are equal to it there, and is read again.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stores.unpacked import Unpacked, unpacked
from ...stores.url import File, file_name
from .coded import Column, Table, groups_of, is_plain
from .elements import Cell, LongValue
from .patient_cells import withheld
from .scan import Scan
from .vr import Key, Raw

_MISSING, _OPEN, _FIRST = 0, 1, 2
"""Codes of a cell: the file lacks the element; it is not kept; from here on distinct values, then marks."""


class _Blob:
    """Arrays and bytes, one after the other."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.end = 0

    def put(self, data: bytes) -> list[int]:
        """Append bytes; returns where they are."""
        place = [self.end, len(data)]
        self.parts.append(data)
        self.end += len(data)
        return place

    def array(self, values: Any, dtype: Any) -> list[Any]:
        """Append numbers; returns where they are and of what type."""
        array = np.ascontiguousarray(values, dtype=dtype)
        return [array.dtype.str, *self.put(array.tobytes())]


def pack(scan: Scan, given: Sequence[File]) -> bytes | None:
    """Turn a scan into bytes.

    Parameters
    ----------
    scan
        Of `given`, all of one store.
    given
        All files that were looked at, those that are no DICOM or damaged included.

    Returns
    -------
    bytes or None
        None where nearly every file would have to be read again.
    """
    count = len(scan)
    open_cells = withheld(scan.columns)
    stand_ins = _stand_ins(scan, open_cells)
    if stand_ins is None:
        return None
    which, files = stand_ins
    number = {file.path: k for k, file in enumerate(given)}
    blob = _Blob()
    names = {file_name(file): k for k, file in enumerate(given)}
    meta: dict[str, Any] = {
        "count": count,
        "files": blob.array([number[file.path] for file in scan.files], np.int64),
        "unpacked": [k for k, file in enumerate(scan.files) if isinstance(file.fs, Unpacked)],
        "syntaxes": (syntaxes := list(dict.fromkeys(scan.syntax))),
        "syntax": blob.array([syntaxes.index(one) for one in scan.syntax], np.int32),
        "implicit": blob.array(scan.implicit, np.bool_),
        "pixel_tag": blob.array(scan.pixel_tag, np.int64),
        "pixel_offset": blob.array(scan.pixel_offset, np.int64),
        "pixel_length": blob.array(scan.pixel_length, np.int64),
        "damaged": [[names[name], why] for name, why in scan.damaged],
        "stand_ins": files,
        "stand_in": blob.array(which, np.int32),
        "columns": [_packed(key, column, open_cells.get(key, set()), blob) for key, column in scan.columns.items()],
    }
    text = json.dumps(meta, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(blob.parts)


def _stand_ins(scan: Scan, open_cells: Mapping[Key, set[Raw]]) -> tuple[NDArray[np.int32], list[int]] | None:
    """For each row the number of the file that stands for it, and the rows of these files; None for too many."""
    varying = [
        scan.columns[key].cells().map(lambda cell, own=own: cell if cell in own else None)  # type: ignore[misc]
        for key, own in open_cells.items()
        if not scan.columns[key].constant
    ]
    if not varying or not len(scan):
        return np.zeros(len(scan), dtype=np.int32), [0][: len(scan)]
    which = groups_of(*varying)[1]
    files = np.unique(which, return_index=True)[1].tolist()
    return (which.astype(np.int32), files) if len(files) <= max(4, len(scan) // 8) else None


def _packed(key: Key, column: Column, not_kept: set[Raw], blob: _Blob) -> list[Any]:
    """Describe a column: its key, distinct VRs, places of lengths, values and codes, marks."""
    cells = column.cells()
    raws = [cell for cell in cells.values if isinstance(cell, tuple) and cell not in not_kept]
    marks = [cell for cell in cells.values if isinstance(cell, LongValue)]
    number: dict[Cell, int] = dict(zip([*raws, *marks], itertools.count(_FIRST)))
    kind = np.uint8 if len(number) < 250 else np.int32
    codes = cells.map(lambda cell: _MISSING if cell is None else number.get(cell, _OPEN)).array(kind)
    if len(cells.values) == 1:
        codes = codes[:1]
    vrs = list(dict.fromkeys(vr for vr, _ in raws))
    own = "" if len(vrs) == 1 else [vrs.index(vr) for vr, _ in raws]
    lengths = blob.array([len(value) for _, value in raws], np.int64)
    values = blob.put(b"".join([value for _, value in raws]))
    offsets = blob.array(column.places, np.int64) if marks and column.places is not None else None
    told = [[m.vr, m.length, m.digest.hex()] for m in marks]
    in_order = not marks and bool((codes == np.arange(_FIRST, _FIRST + len(codes))).all())  # where all differ
    return [key, vrs, own, lengths, values, None if in_order else blob.array(codes, kind), told, offsets]


class Entry:
    """A scan that was kept, some cells of which are still open.

    Parameters
    ----------
    data
        What `pack` gave.
    given
        The files that were looked at then.

    Raises
    ------
    ValueError, KeyError, IndexError, TypeError
        The bytes are none that `pack` gives.
    """

    def __init__(self, data: bytes, given: Sequence[File]) -> None:
        start = 8 + int.from_bytes(data[:8], "little")
        self._meta: dict[str, Any] = json.loads(data[8:start])
        self._blob = memoryview(data)[start:]
        self._given = given
        self.files = self._chosen(given)

    def _chosen(self, given: Sequence[File]) -> list[File]:
        """Those of the files that were looked at which the scan holds, unpacked where they are to be."""
        numbers = self._array(self._meta["files"]).tolist()
        # most often they are all of them, in their order
        files = list(given) if numbers == list(range(len(given))) else [given[n] for n in numbers]
        for k in self._meta["unpacked"]:
            files[k] = unpacked(files[k])
        return files

    def _array(self, place: Sequence[Any]) -> NDArray[Any]:
        dtype, start, length = place
        if start + length > len(self._blob):
            raise ValueError("it is cut short")
        return np.frombuffer(self._blob[start : start + length], dtype=np.dtype(dtype))

    def _bytes(self, place: Sequence[int]) -> bytes:
        return bytes(self._blob[place[0] : place[0] + place[1]])

    def stand_ins(self) -> list[File]:
        """Files that have to be read again for the cells that were not kept."""
        return [self.files[k] for k in self._meta["stand_ins"]]

    def fill(self, fresh: Scan, now: Sequence[File]) -> Scan | None:
        """Give the whole scan.

        Parameters
        ----------
        fresh
            Scan of the stand-ins, in their order.
        now
            The files that were looked at, with their states.

        Returns
        -------
        Scan or None
            None where a stand-in is not what it was.
        """
        meta = self._meta
        syntaxes = meta["syntaxes"]
        scan = Scan(
            files=self._chosen(now),
            columns=_Kept(self, fresh),
            syntax=[syntaxes[k] for k in self._array(meta["syntax"]).tolist()],
            implicit=self._array(meta["implicit"]).copy(),
            pixel_tag=self._array(meta["pixel_tag"]).copy(),
            pixel_offset=self._array(meta["pixel_offset"]).copy(),
            pixel_length=self._array(meta["pixel_length"]).copy(),
            damaged=[(file_name(self._given[k]), why) for k, why in meta["damaged"]],
        )
        return scan if self._fits(scan, fresh) else None

    def _fits(self, scan: Scan, fresh: Scan) -> bool:
        """Tell whether the stand-ins are still what was kept of them."""
        rows = self._meta["stand_ins"]
        if len(fresh) != len(rows) or [f.path for f in fresh.files] != [self.files[k].path for k in rows]:
            return False
        for mine, theirs in (
            (scan.pixel_offset, fresh.pixel_offset),
            (scan.pixel_length, fresh.pixel_length),
            (scan.pixel_tag, fresh.pixel_tag),
            (scan.implicit, fresh.implicit),
        ):
            if not np.array_equal(mine[rows], theirs):
                return False
        if [scan.syntax[k] for k in rows] != fresh.syntax:
            return False
        names = {_key(column[0]) for column in self._meta["columns"]}
        if not names.issuperset(fresh.columns):
            return False
        for name in ("SOPInstanceUID", "SeriesInstanceUID", "ImagePositionPatient"):
            mine_cells = scan.column(name)
            if [mine_cells[k] for k in rows] != fresh.column(name):
                return False
        return True


class _Kept(Mapping[Key, Column]):
    """Columns of an entry, each made when it is first asked for."""

    def __init__(self, entry: Entry, fresh: Scan) -> None:
        self._entry, self._fresh = entry, fresh
        self._packed = {_key(column[0]): column for column in entry._meta["columns"]}
        self._made: dict[Key, Column] = {}
        self._row = entry._array(entry._meta["stand_in"])

    def __getitem__(self, key: Key) -> Column:
        if key not in self._made:
            self._made[key] = self._make(key, *self._packed[key][1:])
        return self._made[key]

    def _make(
        self, key: Key, vrs: list[str], own: list[int], lengths: Any, values: Any, codes: Any, marks: Any, offsets: Any
    ) -> Column:
        entry, count = self._entry, len(self._row)
        sizes = entry._array(lengths)
        words = [vrs[k] for k in own] if own else vrs * len(sizes)
        long = [LongValue(vr, n, bytes.fromhex(digest), -1) for vr, n, digest in marks]
        table: Table = _PackedTable(key, entry._bytes(values), sizes, words, long)
        if codes is None:
            rows = np.arange(1, len(table), dtype=np.int32)
        else:
            kept = entry._array(codes)
            rows = np.where(kept >= _FIRST, kept.astype(np.int32) - (_FIRST - 1), 0)
        if len(rows) == 1:
            rows = np.broadcast_to(rows, (count,))
        if len(rows) != count or (count and int(rows.max()) >= len(table)):
            raise ValueError("it has not one cell for each file")
        places = None if offsets is None else entry._array(offsets)
        if codes is None or not (is_open := kept == _OPEN).any():
            return Column(table, rows, places)
        fresh = self._fresh.column(key)
        rows = np.where(is_open, fresh.codes[self._row] + np.int32(len(table)), rows)
        return Column.of(key, table.cells + fresh.table.cells, rows, places)  # some are in both

    def __iter__(self) -> Iterator[Key]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class _PackedTable(Table):
    """Cells of an entry, taken apart when they are first asked for: of most only whether they are plain is."""

    __slots__ = ("_count", "_data", "_marks", "_sizes", "_vrs")

    def __init__(self, key: Key, data: bytes, sizes: NDArray[Any], vrs: list[str], marks: list[LongValue]) -> None:
        if len(vrs) != len(sizes) or int(sizes.sum()) != len(data):
            raise ValueError("its values are not those that it announces")
        super().__init__(key, [])
        self._data, self._sizes, self._vrs, self._marks = data, sizes, vrs, marks
        self._count = 1 + len(sizes) + len(marks)
        self._plain = is_plain(data)

    def __len__(self) -> int:
        return self._count

    @property
    def cells(self) -> list[Cell]:
        """The distinct cells, None as the first."""
        if not self._cells:
            data, ends = self._data, np.cumsum(self._sizes).tolist()
            starts = [0, *ends][: len(ends)]
            own: list[Cell] = [(vr, data[a:b]) for vr, a, b in zip(self._vrs, starts, ends, strict=True)]
            self._cells = [None, *own, *self._marks]
        return self._cells


def _key(written: Any) -> Key:
    return tuple(written) if isinstance(written, list) else written

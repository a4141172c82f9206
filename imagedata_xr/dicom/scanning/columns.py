"""What the walks of many files found, as one column per element."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .coded import Column, Table
from .elements import Cell, LongValue
from .runs import Run
from .vr import Key, Raw, swap
from .walk import Walked


class Columns:
    """Gathers walks; runs that files share stand once, however many files have them."""

    def __init__(self) -> None:
        self.count = 0
        self._runs: list[Run] = []
        self._single: dict[Key, tuple[list[int], list[Cell]]] = {}
        self._first: dict[Key, Raw] = {}
        """The first of the long values of an element that are in no run."""
        self._places: dict[Key, list[tuple[int, int]]] = {}
        """Where the long values that are equal to the first one begin, by file."""

    def add(self, walked: Walked) -> None:
        """Append one file."""
        k = self.count
        for run, place in walked.runs:
            if run.met(k, place):
                self._runs.append(run)
        single, offsets = self._single, walked.offsets
        for key, raw in walked.found.items():
            cell: Cell = self._long(key, raw, offsets[key]) if key in offsets else raw
            files, cells = single.get(key) or single.setdefault(key, ([], []))
            files.append(k)
            cells.append(cell)
        self.count = k + 1

    def _long(self, key: Key, raw: Raw, offset: int) -> Cell:
        """Keep one long value; of those that differ only a mark, since all of them may not fit in memory."""
        first = self._first.setdefault(key, raw)
        if raw != first:
            return LongValue.of(raw, offset)
        self._places.setdefault(key, []).append((self.count, offset))
        return first

    def build(self) -> dict[Key, Column]:
        """Give the columns, by the tags that people know."""
        drafts: dict[Key, _Draft] = {}
        for run in self._runs:
            files = _files(run.spans)
            for key, raw in run.cells.items():
                draft = drafts.get(key) or drafts.setdefault(key, _Draft(self.count))
                draft.codes[files] = draft.code(raw)
        for key, (rows, cells) in self._single.items():
            draft = drafts.get(key) or drafts.setdefault(key, _Draft(self.count))
            known = draft.known
            draft.codes[rows] = [known.setdefault(cell, len(known)) for cell in cells]
        columns: dict[Key, Column] = {}
        long = {*self._first, *(key for run in self._runs for key in run.long)}
        for key, draft in drafts.items():
            name = swap(key) if isinstance(key, int) else key
            marked = self._marked(name, key, draft) if key in long else None
            columns[name] = marked or Column(Table(name, list(draft.known)), draft.codes).slim()
        return columns

    def _marked(self, name: Key, key: Key, draft: _Draft) -> Column | None:
        """Put marks for all long values of an element; None where they do not differ."""
        places = np.full(self.count, -1, dtype=np.int64)
        for k, place in self._places.get(key, ()):
            places[k] = place
        for run in self._runs:
            if key in run.long:
                places[_files(run.spans)] = np.array(run.places, dtype=np.int64) + run.long[key]
        cells: list[Cell] = list(draft.known)
        long = {code for code in draft.codes[places >= 0].tolist() if isinstance(cells[code], tuple)}
        if len(long) + any(isinstance(cell, LongValue) for cell in cells) < 2:
            return None
        for code in long:
            cell = cells[code]
            cells[code] = LongValue.of(cell, -1) if isinstance(cell, tuple) else cell
        rows, singles = self._single.get(key, ((), ()))
        for k, cell in zip(rows, singles, strict=True):
            if isinstance(cell, LongValue):
                places[k] = cell.offset
        return Column.of(name, cells, draft.codes, places)


class _Draft:
    """A column that is being filled: which code stands for which cell, and the code of each file."""

    __slots__ = ("codes", "known")

    def __init__(self, count: int) -> None:
        self.known: dict[Cell, int] = {None: 0}
        self.codes = np.zeros(count, dtype=np.int32)

    def code(self, cell: Cell) -> int:
        return self.known.setdefault(cell, len(self.known))


def _files(spans: list[list[int]]) -> slice | NDArray[np.intp]:
    """Give the numbers of files in ranges as an index."""
    if len(spans) == 1:
        return slice(*spans[0])
    return np.concatenate([np.arange(start, stop, dtype=np.intp) for start, stop in spans])

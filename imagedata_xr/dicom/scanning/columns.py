"""What the walks of many files found, as one column per element."""

from __future__ import annotations

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

    def build(self) -> dict[Key, list[Cell]]:
        """Give the columns: for each element one cell per file, None where a file lacks it."""
        columns: dict[Key, list[Cell]] = {}
        for run in self._runs:
            for start, stop in run.spans:
                for key, raw in run.cells.items():
                    column = columns.get(key)
                    if column is None:
                        column = columns[key] = [None] * self.count
                    column[start:stop] = [raw] * (stop - start)
        for key, (files, cells) in self._single.items():
            column = columns.get(key)
            if column is None:
                column = columns[key] = [None] * self.count
            for k, cell in zip(files, cells, strict=True):
                column[k] = cell
        for key in {*self._first, *(key for run in self._runs for key in run.long)}:
            self._mark(key, columns[key])
        return {swap(key) if isinstance(key, int) else key: column for key, column in columns.items()}

    def _mark(self, key: Key, column: list[Cell]) -> None:
        """Put marks for all long values of an element once they differ."""
        places = dict(self._places.get(key, ()))
        for run in self._runs:
            if key in run.long:
                files = (k for start, stop in run.spans for k in range(start, stop))
                places |= {k: place + run.long[key] for k, place in zip(files, run.places, strict=True)}
        values = {cell for k in places if isinstance(cell := column[k], tuple)}
        if len(values) + any(isinstance(cell, LongValue) for cell in column) < 2:
            return
        marks = {raw: LongValue.of(raw, -1) for raw in values}
        for k, place in places.items():
            cell = column[k]
            if isinstance(cell, tuple):
                mark = marks[cell]
                column[k] = LongValue(mark.vr, mark.length, mark.digest, place)

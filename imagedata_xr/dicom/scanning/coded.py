"""Columns as distinct values and codes: what many files have in common is compared, decoded and judged once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .bulk import numbers_of_all, texts_of_all
from .elements import Cell, LongValue
from .vr import Key, Raw

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Coded(Generic[T]):
    """Values of many rows, of which few differ.

    Attributes
    ----------
    values : list
        Each belongs to one row at least; some may be equal.
    codes : ndarray, shape (n,), int32
        Which of the values each row has.
    """

    values: list[T]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, rows: Iterable[T]) -> Coded[T]:
        """Make it of the value of each row; they must be hashable."""
        known: dict[T, int] = {}
        codes = np.array([known.setdefault(row, len(known)) for row in rows], dtype=np.int32)
        return cls(list(known), codes)

    @classmethod
    def same(cls, value: T, n: int) -> Coded[T]:
        """Make it of one value that all of `n` rows have."""
        return cls([value][:n], np.zeros(n, dtype=np.int32))

    @staticmethod
    def of_numbers(rows: NDArray[Any]) -> Coded[Any]:
        """Make it of numbers: tuples of those of each row, or the numbers of a single column."""
        if len(rows) and bool((rows == rows[0]).all()):
            return Coded.of(map(_hashable, rows[:1].tolist())).take(np.zeros(len(rows), dtype=np.intp))
        return Coded.of(map(_hashable, rows.tolist()))

    def __len__(self) -> int:
        return len(self.codes)

    def map(self, function: Callable[[T], U]) -> Coded[U]:
        """Give the results of a function, called once for each of the values."""
        return Coded([function(value) for value in self.values], self.codes)

    def array(self, dtype: DTypeLike) -> NDArray[Any]:
        """Give the values of all rows as an array of their own; for numbers."""
        return np.array(self.values, dtype=dtype)[self.codes] if self.values else np.zeros(0, dtype)

    def rows(self) -> list[T]:
        """Give the value of each row."""
        if len(self.values) == 1:
            return self.values * len(self)
        values = self.values
        return [values[code] for code in self.codes.tolist()]

    def take(self, rows: NDArray[np.intp]) -> Coded[T]:
        """Give some of the rows."""
        used, codes = used_codes(self.codes[rows], len(self.values))
        return Coded([self.values[k] for k in used.tolist()], codes)


def _hashable(row: Any) -> Any:
    return tuple(row) if isinstance(row, list) else row


def groups_of(*columns: Coded[Any]) -> tuple[list[tuple[Any, ...]], NDArray[np.intp]]:
    """Group rows whose values are equal in all columns.

    Parameters
    ----------
    *columns
        Of the same length; their values must be hashable.

    Returns
    -------
    list of tuple
        What each group has in common, in the order of the first row of each.
    ndarray, shape (n,), intp
        Number of the group of each row.
    """
    varying = [column.codes for column in columns if len(column.values) > 1]
    n = len(columns[0])
    if not varying or not n:
        first, which = np.zeros(min(n, 1), dtype=np.intp), np.zeros(n, dtype=np.intp)
    else:
        joint = varying[0].astype(np.int64)
        for codes in varying[1:]:
            joint = np.unique(joint, return_inverse=True)[1] * (int(codes.max()) + 1) + codes
        _, first, which = np.unique(joint, return_index=True, return_inverse=True)
    number: dict[tuple[Any, ...], int] = {}
    final = np.zeros(len(first), dtype=np.intp)
    for k in np.argsort(first, kind="stable").tolist():  # different codes may stand for equal values
        key = tuple(column.values[column.codes[first[k]]] for column in columns)
        final[k] = number.setdefault(key, len(number))
    return list(number), final[which]


def used_codes(codes: NDArray[np.int32], count: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Tell which of `count` codes occur, and number them anew without the others."""
    found = np.zeros(count, dtype=np.bool_)
    found[codes] = True
    used = np.flatnonzero(found)
    if len(used) == count:
        return used, codes
    anew = np.zeros(count, dtype=np.int32)
    anew[used] = np.arange(len(used), dtype=np.int32)
    return used, anew[codes]


def is_plain(data: bytes) -> bool:
    """Whether bytes mean the same in every character set."""
    return data.isascii() and b"\x1b" not in data


class Table:
    """The distinct cells of an element, and what they mean once that was asked; columns taken of one share it.

    Parameters
    ----------
    key
        Of the element.
    cells
        No two of them equal; the first is None.
    """

    __slots__ = ("_cells", "_numbers", "_plain", "_texts", "key")

    def __init__(self, key: Key, cells: list[Cell]) -> None:
        self.key = key
        self._cells: list[Cell] = cells
        self._plain: bool | None = None
        self._numbers: dict[int, NDArray[np.float64]] = {}
        self._texts: dict[Raw | None, dict[int, tuple[str, ...] | None]] = {}

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def cells(self) -> list[Cell]:
        """The distinct cells, None as the first."""
        return self._cells

    @property
    def plain(self) -> bool:
        """Whether all values that are kept mean the same in every character set: ASCII without escape sequences."""
        if self._plain is None:
            self._plain = is_plain(b"".join([cell[1] for cell in self.cells if isinstance(cell, tuple)]))
        return self._plain

    def numbers(self, width: int) -> NDArray[np.float64]:
        """Give the first `width` numbers of each cell, shape (cells, width); NaN where there are fewer."""
        if width not in self._numbers:
            self._numbers[width] = numbers_of_all(self.key, self.cells, width)
        return self._numbers[width]

    def texts(self, wanted: list[int], charset: Raw | None) -> list[tuple[str, ...] | None]:
        """Decode some of the cells, given by their codes, as text of a character set."""
        known = self._texts.setdefault(charset, {})
        new = [code for code in wanted if code not in known]
        if new:
            known.update(zip(new, texts_of_all(self.key, [self.cells[code] for code in new], charset), strict=True))
        return [known[code] for code in wanted]


class Column(Sequence[Cell]):
    """One element of many files, undecoded; as a sequence it holds the cell of each file.

    Parameters
    ----------
    table
        The distinct cells.
    codes
        Which of them each file has, shape (n,); 0 where it lacks the element.
    places
        Where the long values (`LongValue`) begin in each file, shape (n,); None where there are none.
    """

    __slots__ = ("_constant", "codes", "places", "table")

    def __init__(self, table: Table, codes: NDArray[np.int32], places: NDArray[np.int64] | None = None) -> None:
        self.table, self.codes, self.places = table, codes, places
        self._constant: bool | None = None

    @property
    def constant(self) -> bool:
        """Whether all files have the same, or all lack it."""
        if self._constant is None:
            self._constant = len(self.codes) > 0 and bool((self.codes == self.codes[0]).all())
        return self._constant

    def slim(self) -> Column:
        """Give this column, its codes without memory of their own for each file where all are equal."""
        if self.constant:
            self.codes = np.broadcast_to(self.codes[:1].copy(), self.codes.shape)
        return self

    @classmethod
    def missing(cls, key: Key, n: int) -> Column:
        """Give the column of an element that none of `n` files has."""
        return cls(Table(key, [None]), np.zeros(n, dtype=np.int32))

    @classmethod
    def of(
        cls, key: Key, cells: Sequence[Cell], codes: NDArray[np.int32], places: NDArray[np.int64] | None = None
    ) -> Column:
        """Make it of cells some of which may be equal."""
        known: dict[Cell, int] = {None: 0}
        anew = [known.setdefault(cell, len(known)) for cell in cells]
        same = anew == list(range(len(cells)))
        return cls(Table(key, list(known)), codes if same else np.array(anew, dtype=np.int32)[codes], places)

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, k: int) -> Cell: ...

    @overload
    def __getitem__(self, k: slice) -> list[Cell]: ...

    def __getitem__(self, k: int | slice) -> Cell | list[Cell]:
        if isinstance(k, slice):
            return [self[j] for j in range(*k.indices(len(self)))]
        cell: Cell = self.table.cells[int(self.codes[k])]
        if isinstance(cell, LongValue) and self.places is not None:
            return LongValue(cell.vr, cell.length, cell.digest, int(self.places[k]))
        return cell

    def __iter__(self) -> Iterator[Cell]:
        if self.places is None:
            cells = self.table.cells
            return iter([cells[code] for code in self.codes.tolist()])
        return (self[k] for k in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Column, list)) and len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Column of {len(self)} files, {len(self.table) - 1} values>"  # they may name the patient

    def take(self, rows: NDArray[np.intp]) -> Column:
        """Give the column of some of the files."""
        out = Column(self.table, self.codes[rows], None if self.places is None else self.places[rows])
        if self._constant and len(rows):
            out._constant = True
        return out

    @property
    def present(self) -> NDArray[np.bool_]:
        """Whether each file has the element, shape (n,)."""
        return np.asarray(self.codes != 0)

    @property
    def first(self) -> Cell:
        """The cell of the first file that has the element; None where none has."""
        return self[int(np.argmax(self.codes != 0))] if len(self) else None

    def cells(self) -> Coded[Cell]:
        """Give the distinct cells and the codes of the files; marks of long values without their places."""
        used, codes = used_codes(self.codes, len(self.table))
        return Coded([self.table.cells[k] for k in used.tolist()], codes)

    def numbers(self, width: int) -> NDArray[np.float64]:
        """Decode as numbers, shape (n,) for width 1, else (n, width); NaN where there are none. The caller's own."""
        table = self.table.numbers(width)
        return table[self.codes, 0] if width == 1 else table[self.codes]

    def texts(self, charsets: Column) -> Coded[tuple[str, ...] | None]:
        """Decode as texts of the files' character sets; None where a file lacks the element."""
        if charsets.constant or not len(self):
            used, codes = used_codes(self.codes, len(self.table))
            return Coded(self.table.texts(used.tolist(), _known(charsets[0]) if len(self) else None), codes)
        known: dict[tuple[int, int], int] = {}
        pairs = zip(self.codes.tolist(), charsets.codes.tolist(), strict=True)
        both = np.array([known.setdefault(pair, len(known)) for pair in pairs], dtype=np.int32)
        sets = charsets.table.cells
        return Coded([self.table.texts([code], _known(sets[charset]))[0] for code, charset in known], both)


def _known(charset: Cell) -> Raw | None:
    return None if isinstance(charset, LongValue) else charset

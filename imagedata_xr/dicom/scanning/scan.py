"""Headers of many files, read fast and undecoded, as one column per element."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import LabelError, SourceError, warn
from ...stores.url import BATCH, File, file_name, is_local, read_range
from .coded import Coded, Column
from .collect import Collector
from .elements import CHARACTER_SET, Cell, LongValue, key_of, keyword_of, to_dataset
from .vr import WANTED_PRIVATE, Key, Raw

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from .lately import Known

__all__ = ["WANTED_PRIVATE", "Cell", "Column", "Key", "LongValue", "Raw", "Scan", "scan"]

NAMED = 10
"""How many damaged files the warning names."""


class _Taken(Mapping[Key, Column]):
    """The columns of some files of a scan, each made when it is first asked for: most are not."""

    def __init__(self, whole: Mapping[Key, Column], rows: NDArray[np.intp]) -> None:
        self._whole: Mapping[Key, Column] = whole
        self._rows = rows
        if isinstance(whole, _Taken):  # a part of a part is a part of the whole
            self._whole, self._rows = whole._whole, whole._rows[rows]
        self._made: dict[Key, Column | None] = {}

    def _make(self, key: Key) -> Column | None:
        if key not in self._made:
            column = self._whole.get(key)
            part = None if column is None else column.take(self._rows)
            self._made[key] = part if part is not None and part.codes.any() else None
        return self._made[key]

    def __getitem__(self, key: Key) -> Column:
        part = self._make(key)
        if part is None:
            raise KeyError(key)
        return part

    def __iter__(self) -> Iterator[Key]:
        return (key for key in self._whole if self._make(key) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass
class Scan:
    """The headers of DICOM instances, by column. Files without pixel data are among them (`pixel_tag` 0)."""

    files: list[File]
    """Readable instances only, in the order they were given."""
    columns: Mapping[Key, Column]
    """Each top-level element below the pixel data: (VR, value bytes, little endian), None where a file lacks it."""
    syntax: list[str]
    """Transfer Syntax UID."""
    implicit: NDArray[np.bool_]
    """Whether items of sequences in `columns` hold implicit VR elements."""
    pixel_tag: NDArray[np.int64]
    """0x7FE00010, 0x7FE00008 or 0x7FE00009; 0 without pixel data."""
    pixel_offset: NDArray[np.int64]
    """Byte in the file where the value begins; -1 if it has no place there (deflated) or is missing."""
    pixel_length: NDArray[np.int64]
    """Bytes; -1 if encapsulated."""
    damaged: list[tuple[str, str]]
    """(name, reason) of the files left out."""
    known: Known | None = field(default=None, init=False, repr=False, compare=False)
    """What was found out from it, where this process holds it; see `lately`."""

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def syntaxes(self) -> Coded[str]:
        """The distinct transfer syntaxes, and which of them each file has."""
        return Coded.of(self.syntax)

    def take(self, index: ArrayLike | slice) -> Scan:
        """Select files by numbers, by a mask or by a slice; `damaged` stays as it is."""
        where = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index, dtype=_kind(index))]
        rows: NDArray[np.intp] = np.atleast_1d(where)
        chosen: list[int] = rows.tolist()
        return Scan(
            files=[self.files[k] for k in chosen],
            columns=_Taken(self.columns, rows),
            syntax=[self.syntax[k] for k in chosen],
            implicit=self.implicit[rows],
            pixel_tag=self.pixel_tag[rows],
            pixel_offset=self.pixel_offset[rows],
            pixel_length=self.pixel_length[rows],
            damaged=self.damaged,
        )

    def column(self, keyword: str | Key) -> Column:
        """Give the undecoded column of a DICOM keyword, tag or private key; all None if no file has it."""
        key = key_of(keyword)
        found = self.columns.get(key)
        return Column.missing(key, len(self)) if found is None else found

    def keywords(self) -> list[str]:
        """List the DICOM keywords of the public columns, in the order of their tags; unknown tags are left out.

        So are those of repeating groups (overlays, curves), whose keyword stands for several tags.
        """
        return [
            word for tag in sorted(key for key in self.columns if isinstance(key, int)) if (word := keyword_of(tag))
        ]

    def creators(self, files: Iterable[int]) -> dict[int, frozenset[str]]:
        """Give the private creators of some files, by the number of each: of top-level elements that are kept."""
        found: dict[int, set[str]] = {k: set() for k in files}
        if found:
            for key in [key for key in self.columns if isinstance(key, tuple)]:
                present = self.columns[key].present
                for k, words in found.items():
                    if present[k]:
                        words.add(key[0])
        return {k: frozenset(words) for k, words in found.items()}

    def varies(self, keyword: str | Key) -> bool:
        """Tell whether any two files differ in an element, one that lacks it from one that has it included."""
        return len(self) > 0 and not self.column(keyword).constant

    def words(self, keyword: str | Key) -> Coded[tuple[str, ...] | None]:
        """Decode a column as text: its distinct values, as `strings` gives them, and which of them each file has.

        Raises
        ------
        LabelError
            The keyword is unknown or its VR holds no text.
        """
        return self.column(keyword).texts(self.column(CHARACTER_SET))

    def strings(self, keyword: str | Key) -> list[tuple[str, ...] | None]:
        """Decode a column as text.

        Parameters
        ----------
        keyword
            DICOM keyword, tag, or (creator, group, element byte).

        Returns
        -------
        list
            For each file the values without padding, an empty tuple for an empty element, None where it is missing.

        Raises
        ------
        LabelError
            The keyword is unknown or its VR holds no text.
        """
        return self.words(keyword).rows()

    def numbers(self, keyword: str | Key, width: int = 1) -> NDArray[np.float64]:
        """Decode a column as numbers.

        Parameters
        ----------
        keyword
            DICOM keyword, tag, or (creator, group, element byte).
        width
            How many values of each file are wanted.

        Returns
        -------
        array
            (n,) for width 1, else (n, width): the first `width` values, NaN where missing or not a number.
        """
        return self.column(keyword).numbers(width)

    def value(self, k: int, keyword: str | Key) -> Raw | None:
        """Give the VR and value of an element of file `k`; what is kept as `LongValue` is read from the file.

        Raises
        ------
        SourceError
            The file can't be read any more, or it has changed.
        """
        key = key_of(keyword)
        cell = self.column(key)[k]
        if not isinstance(cell, LongValue):
            return cell
        file = self.files[k]
        if cell.offset >= 0:
            raw: Cell = (cell.vr, read_range(file, cell.offset, cell.length))
        else:
            raw = scan([file], errors="raise").column(key)[0]
        if not isinstance(raw, tuple) or LongValue.of(raw, -1) != cell:
            raise SourceError(f"{file_name(file)} has changed since it was scanned: open the source again")
        return raw

    def data(self, k: int, keyword: str | Key) -> bytes:
        """Give the value bytes of an element of file `k`; empty where it is absent. Raises as `value` does."""
        raw = self.value(k, keyword)
        return raw[1] if raw is not None else b""

    def dataset(self, k: int) -> Dataset:
        """Build a data set of what was kept of file `k`, decoded lazily; no file is read.

        Private elements stand in blocks from 10 on, whatever their block was; what is kept as `LongValue` and all
        private elements that are not in `WANTED_PRIVATE` are absent.
        """
        cells = {key: column[k] for key, column in self.columns.items()}
        return to_dataset(cells, self.syntax[k], bool(self.implicit[k]))


def _kind(index: object) -> type | None:
    return np.intp if np.size(index) == 0 else None  # type: ignore[arg-type]


def scan(files: Sequence[File], errors: Literal["warn", "raise"] = "warn") -> Scan:
    """Read the headers of files, without their pixel data.

    Parameters
    ----------
    files
        What `stores.url.find` gives. Files that are not DICOM are skipped.
    errors
        "warn" names the damaged files in one warning and leaves them out; "raise" refuses them.

    Returns
    -------
    Scan
        One row per instance, in the given order.

    Raises
    ------
    SourceError
        With ``errors="raise"``: a file is DICOM, but truncated or damaged, or it can't be read.

    Warns
    -----
    ImagedataWarning
        Up to ten of the damaged files and their number.
    """
    found, _ = collect(files)
    report(found.damaged, len(files), errors)
    return found


def collect(files: Sequence[File]) -> tuple[Scan, bool]:
    """Scan files without a word of the damaged ones.

    Returns
    -------
    Scan
    bool
        Whether it tells what the files hold: not if the system or a store has refused to give one, which it may do
        later on.
    """
    collector = Collector()
    start = 0
    while start < len(files):
        if is_local(files[start]):
            collector.local(files[start])
            start += 1
            continue
        batch = [files[start]]
        for file in files[start + 1 : start + BATCH]:
            if file.fs is not batch[0].fs:
                break
            batch.append(file)
        collector.remote(batch)
        start += len(batch)
    collector.finish()
    return _result(collector), not collector.refused


def report(damaged: list[tuple[str, str]], total: int, errors: Literal["warn", "raise"]) -> None:
    """Name the damaged ones of `total` files in a warning, or raise `SourceError`; nothing if there are none."""
    if errors not in ("warn", "raise"):
        raise LabelError(f"errors is 'warn' or 'raise', not {errors!r}")
    if damaged:
        message = _damage(damaged, total)
        if errors == "raise":
            raise SourceError(message + '. errors="warn" leaves them out')
        warn(message + ". They are left out")


def _damage(damaged: list[tuple[str, str]], total: int) -> str:
    named = "; ".join(f"{path}: {why}" for path, why in damaged[:NAMED])
    more = f"; and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    return f"{len(damaged)} of {total} files can't be read: {named}{more}"


def _result(got: Collector) -> Scan:
    syntax, implicit, tag, offset, length = zip(*got.rows, strict=True) if got.rows else ((), (), (), (), ())
    return Scan(
        files=got.files,
        columns=got.columns.build(),
        syntax=[str(one) for one in syntax],
        implicit=np.array(implicit, bool),
        pixel_tag=np.array(tag, np.int64),
        pixel_offset=np.array(offset, np.int64),
        pixel_length=np.array(length, np.int64),
        damaged=got.damaged,
    )

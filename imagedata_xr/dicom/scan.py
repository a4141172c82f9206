"""Headers of many files, read fast and undecoded, as one column per element."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imagedata_xr.dicom.elements import CHARACTER_SET, Cell, LongValue, key_of, table, text, to_dataset
from imagedata_xr.dicom.reread import Damaged, reread
from imagedata_xr.dicom.walk import (
    WANTED_PRIVATE,
    Key,
    Memo,
    More,
    Odd,
    Raw,
    Walked,
    looks_like_dicom,
    swap,
    walk,
)
from imagedata_xr.errors import ImagedataWarning, LabelError, SourceError
from imagedata_xr.stores.url import BATCH, File, file_name, is_local, read_available, read_range, reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["WANTED_PRIVATE", "Cell", "Key", "LongValue", "Raw", "Scan", "scan"]

FIRST_READ = 16 * 1024
LARGEST_FIRST_READ = 256 * 1024
NAMED = 10
"""How many damaged files the warning names."""

_Steps: TypeAlias = "Generator[tuple[int, int], bytes, Walked | None]"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


@dataclass
class Scan:
    """The headers of DICOM instances, by column. Files without pixel data are among them (`pixel_tag` 0)."""

    files: list[File]
    """Readable instances only, in the order they were given."""
    columns: dict[Key, list[Cell]]
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

    def __len__(self) -> int:
        return len(self.files)

    def take(self, index: ArrayLike | slice) -> Scan:
        """Select files by numbers, by a mask or by a slice; `damaged` stays as it is."""
        where = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index, dtype=_kind(index))]
        chosen: list[int] = np.atleast_1d(where).tolist()
        columns = {key: [cells[k] for k in chosen] for key, cells in self.columns.items()}
        return Scan(
            files=[self.files[k] for k in chosen],
            columns={key: cells for key, cells in columns.items() if any(cell is not None for cell in cells)},
            syntax=[self.syntax[k] for k in chosen],
            implicit=self.implicit[chosen],
            pixel_tag=self.pixel_tag[chosen],
            pixel_offset=self.pixel_offset[chosen],
            pixel_length=self.pixel_length[chosen],
            damaged=self.damaged,
        )

    def column(self, keyword: str | Key) -> list[Cell]:
        """Give the undecoded column of a DICOM keyword, tag or private key; all None if no file has it."""
        return self.columns.get(key_of(keyword)) or [None] * len(self)

    def keywords(self) -> list[str]:
        """List the DICOM keywords of the public columns, in the order of their tags; unknown tags are left out."""
        from pydicom.datadict import keyword_for_tag

        tags = sorted(key for key in self.columns if isinstance(key, int))
        return [keyword for tag in tags if (keyword := keyword_for_tag(tag))]

    def varies(self, keyword: str | Key) -> bool:
        """Tell whether any two files differ in an element, one that lacks it from one that has it included."""
        cells = self.column(keyword)
        return any(cell is not cells[0] and cell != cells[0] for cell in cells)

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
        key = key_of(keyword)
        known: dict[tuple[Cell, Cell], tuple[str, ...]] = {}
        out: list[tuple[str, ...] | None] = []
        for cell, charset in zip(self.column(key), self.column(CHARACTER_SET), strict=True):
            if cell is None:
                out.append(None)
                continue
            if (cell, charset) not in known:
                if isinstance(cell, LongValue):
                    raise LabelError(f"{keyword!r} has VR {cell.vr}, which holds no text")
                known[cell, charset] = text(key, cell, None if isinstance(charset, LongValue) else charset)
            out.append(known[cell, charset])
        return out

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
        key = key_of(keyword)
        return table(key, self.column(key), width)

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
    if errors not in ("warn", "raise"):
        raise LabelError(f"errors is 'warn' or 'raise', not {errors!r}")
    collector = _Collector()
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
    if collector.damaged:
        message = _damage(collector.damaged, len(files))
        if errors == "raise":
            raise SourceError(message + '. errors="warn" leaves them out')
        warnings.warn(message + ". They are left out", ImagedataWarning, stacklevel=2)
    return collector.result()


def _damage(damaged: list[tuple[str, str]], total: int) -> str:
    named = "; ".join(f"{path}: {why}" for path, why in damaged[:NAMED])
    more = f"; and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    return f"{len(damaged)} of {total} files can't be read: {named}{more}"


class _Collector:
    """Gathers walks as columns; equal values share memory."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.columns: dict[Key, list[Cell]] = {}
        self.rows: list[tuple[str, bool, int, int, int]] = []
        self.damaged: list[tuple[str, str]] = []
        self.memo: Memo = {}
        self.implicit_memo: Memo = {}
        self.first_read = FIRST_READ
        self.long: dict[Key, tuple[Raw, list[tuple[int, int]]] | None] = {}

    def local(self, file: File) -> None:
        """Read one local file."""
        try:
            fd = os.open(file.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
            try:
                size = os.fstat(fd).st_size
                buf = os.read(fd, self.first_read)
            finally:
                os.close(fd)
        except OSError as error:
            self.damaged.append((file_name(file), reason(error)))
            return
        self.drive([(file, buf, size)])

    def remote(self, batch: list[File]) -> None:
        """Read files of one store, all at once in each step."""
        n = self.first_read
        heads = read_available(batch, [0] * len(batch), [n] * len(batch))
        full = [f for f, head in zip(batch, heads, strict=True) if isinstance(head, bytes) and len(head) >= n]
        sizes = _sizes(full)
        ready = []
        for file, head in zip(batch, heads, strict=True):
            size = sizes.get(file.path, len(head)) if isinstance(head, bytes) else head
            if isinstance(head, bytes) and isinstance(size, int):
                ready.append((file, head, size))
            elif isinstance(size, OSError):
                self.damaged.append((file_name(file), reason(size)))
        self.drive(ready)

    def drive(self, opened: list[tuple[File, bytes, int]]) -> None:
        """Run the steps of several files side by side, so that their reads can go together."""
        done: dict[int, Walked] = {}
        running = [(k, self.steps(*one)) for k, one in enumerate(opened)]
        answers: list[bytes | OSError | None] = [None] * len(running)
        while running:
            waiting, asked = [], []
            for (k, steps), answer in zip(running, answers, strict=True):
                file = opened[k][0]
                try:
                    if isinstance(answer, OSError):
                        raise answer
                    asked.append(steps.send(answer) if answer is not None else next(steps))
                    waiting.append((k, steps))
                except StopIteration as stop:
                    if stop.value is not None:
                        done[k] = stop.value
                except Damaged as error:
                    self.damaged.append((file_name(file), str(error)))
                except OSError as error:
                    self.damaged.append((file_name(file), reason(error)))
            running = waiting
            files = [opened[k][0] for k, _ in running]
            answers = list(read_available(files, [a for a, _ in asked], [n for _, n in asked])) if running else []
        for k in sorted(done):
            self.add(opened[k][0], done[k])

    def steps(self, file: File, buf: bytes, size: int) -> _Steps:
        """Examine one file; yields (offset, length) of the bytes it needs next. Gives None for what is not DICOM."""
        if not looks_like_dicom(buf):
            if file.path.lower().endswith((".dcm", ".ima")):
                raise Damaged("it is named as DICOM, but it is not")
            return None
        while True:
            try:
                walked = walk(buf, size, self.memo, self.implicit_memo)
                break
            except More as more:
                if len(buf) >= size:
                    raise Damaged(f"it is truncated: it ends at byte {size}, inside the header") from None
                stop = min(size, max(more.upto, 2 * len(buf)))
                buf += yield len(buf), stop - len(buf)
            except Odd:
                walked = reread(file, buf, size)
                break
        if not walked.pixel_tag and not any(isinstance(key, tuple) or key & 0xFFFF > 2 for key in walked.found):
            raise Damaged("it holds no data set")
        if walked.pixel_offset >= 0:
            yield from _check_pixels(walked, size)
        return walked

    def add(self, file: File, walked: Walked) -> None:
        """Append one file to the columns."""
        n, columns, found = len(self.files), self.columns, walked.found
        cells: dict[Key, Cell] = found  # type: ignore[assignment]
        for key, offset in walked.offsets.items():
            cells[key] = self.long_cell(key, found[key], offset)
        for key, cell in cells.items():
            column = columns.get(key)
            if column is None:
                column = columns[key] = [None] * n
            column.append(cell)
        if len(cells) != len(columns):
            for column in columns.values():
                if len(column) == n:
                    column.append(None)
        self.files.append(file)
        self.rows.append(
            (walked.syntax, walked.implicit, walked.pixel_tag, walked.pixel_offset, walked.pixel_length)
        )
        need = (walked.end + 4096) // 4096 * 4096
        self.first_read = min(LARGEST_FIRST_READ, max(FIRST_READ, need, self.first_read * 15 // 16))

    def long_cell(self, key: Key, raw: Raw, offset: int) -> Cell:
        """Keep a long value while all are equal; once they differ, mark them all."""
        first, places = self.long.setdefault(key, (raw, [])) or (None, [])
        if first == raw:
            places.append((len(self.files), offset))
            return first
        if first is not None:
            column = self.columns[key]
            for k, at in places:
                column[k] = LongValue.of(first, at)
            self.long[key] = None
        return LongValue.of(raw, offset)

    def result(self) -> Scan:
        """Give what was gathered."""
        syntax, implicit, tag, offset, length = zip(*self.rows, strict=True) if self.rows else ((), (), (), (), ())
        return Scan(
            files=self.files,
            columns={swap(k) if isinstance(k, int) else k: column for k, column in self.columns.items()},
            syntax=[str(s) for s in syntax],
            implicit=np.array(implicit, bool),
            pixel_tag=np.array(tag, np.int64),
            pixel_offset=np.array(offset, np.int64),
            pixel_length=np.array(length, np.int64),
            damaged=self.damaged,
        )


def _check_pixels(walked: Walked, size: int) -> Generator[tuple[int, int], bytes, None]:
    """Refuse pixel data that the file does not hold in full, by lengths and delimiters alone (PS3.5 section A.4)."""
    offset, length = walked.pixel_offset, walked.pixel_length
    if length >= 0:
        if offset + length > size:
            raise Damaged(f"it is truncated: {max(0, size - offset)} of {length} bytes of pixel data are there")
        return
    tail = yield size - 8, 8
    if tail == _SEQUENCE_END and size - 8 >= offset:
        return
    while True:  # something follows the pixel data, or it is cut
        item = yield offset, 8
        if item == _SEQUENCE_END:
            return
        offset += 8 + int.from_bytes(item[4:8], "little")
        if item[:4] != b"\xfe\xff\0\xe0" or offset > size:
            raise Damaged("it is truncated: its compressed pixel data has no end")


def _sizes(files: list[File]) -> dict[str, int | OSError]:
    """Ask a store for the length of files."""
    if not files:
        return {}
    fs = files[0].fs
    try:
        sizes = fs.sizes([f.path for f in files])
    except OSError:
        sizes = [_size(f) for f in files]
    known = {f.path: size for f, size in zip(files, sizes, strict=True)}
    for path in (path for path, size in known.items() if size is None):
        known[path] = len(fs.cat_file(path))  # a server that does not tell
    return known


def _size(file: File) -> int | OSError | None:
    try:
        size: int | None = file.fs.size(file.path)
    except OSError as error:
        return error
    return size

"""Functional groups of enhanced multi-frame instances as columns, one row per frame (PS3.3 C.7.6.16).

What the shared groups say holds for all frames, what a frame's own group says comes first. The columns carry the names
that the same elements have in classic instances, so that nothing behind them needs to know which kind it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from struct import unpack_from

import numpy as np
from numpy.typing import NDArray

from ...errors import LabelError, SourceError
from ...stores.url import file_name
from ..scanning.bulk import table
from ..scanning.elements import CHARACTER_SET, LongValue, key_name, numbers_of, text
from ..scanning.scan import Scan
from ..scanning.trouble import DamagedError, OddError
from ..scanning.vr import Key, Raw
from .group_table import ALL, COLUMNS, TEXT, Column, Layout, Name
from .group_walk import Found, read_items, walk_items

SHARED, PER_FRAME, DIMENSIONS = 0x52009229, 0x52009230, 0x00209222
WIDEST = 64
"""More numbers than these in one element of a frame are damage."""

_TEXT_VR = frozenset(("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"))
_NOT_A_VALUE = frozenset(("AT", "OB", "OD", "OF", "OL", "OV", "OW", "SQ"))


@dataclass(frozen=True)
class Dimension:
    """One item of the Dimension Index Sequence (0020,9222).

    Attributes
    ----------
    pointer : int or tuple
        The element that is indexed; a private one as (creator, group, element byte).
    group : int, tuple or None
        The functional group that it stands in.
    column : str, tuple or None
        Name of the column with the element's values; None where they are not known.
    label : str
        Dimension Description Label (0020,9421); empty without one.
    """

    pointer: Key
    group: Key | None
    column: Name | None
    label: str


@dataclass
class FrameColumns:
    """What is known of each frame of one multi-frame instance; row i is frame number i + 1.

    Elements of the instance itself, which hold for all its frames, are not among the columns.

    Attributes
    ----------
    count : int
        Number of frames, n.
    numbers : dict
        Keyword of the classic element, or (creator, group, element byte) -> shape (n,) or (n, width), NaN where absent.
        The units are those of the classic element; names that only multi-frame instances have keep their own.
    texts : dict
        The same for texts: n of them, several values joined by a backslash, empty where absent.
    dimensions : tuple of Dimension
        What the columns of `numbers["DimensionIndexValues"]` index, the slowest first.
    """

    count: int
    numbers: dict[Name, NDArray[np.float64]] = field(default_factory=dict)
    texts: dict[Name, list[str]] = field(default_factory=dict)
    dimensions: tuple[Dimension, ...] = ()

    def __len__(self) -> int:
        return self.count


def has_groups(scan: Scan, k: int) -> bool:
    """Tell whether instance `k` has functional groups, shared or per frame."""
    return any(_filled(scan, k, tag) for tag in (SHARED, PER_FRAME))


def group_columns(scan: Scan, k: int) -> FrameColumns:
    """Read the functional groups of one instance.

    Parameters
    ----------
    scan : Scan
        Its headers.
    k : int
        Row of the instance.

    Returns
    -------
    FrameColumns
        One row per frame.

    Raises
    ------
    SourceError
        The groups are damaged, there are not as many as frames, or the file has changed since it was scanned.
    """
    name = file_name(scan.files[k])
    try:
        dimensions, layout = _plan(scan.value(k, DIMENSIONS), bool(scan.implicit[k]), scan.syntax[k])
        frames = _items(scan, k, PER_FRAME, layout)
        shared = _items(scan, k, SHARED, layout)
    except DamagedError as error:
        raise SourceError(f"{name} can't be read: {error}") from error
    count = _count(scan, k, len(frames), name)
    if len(shared) > 1:
        raise SourceError(f"{name} has {len(shared)} items of shared functional groups, where one is allowed")
    out = FrameColumns(count, dimensions=dimensions)
    charset = scan.column(CHARACTER_SET)[k]
    try:
        _fill(out, frames or [{}] * count, shared[0] if shared else {}, layout.columns, charset)
    except LabelError as error:
        raise SourceError(f"{name} can't be read: {error}") from error
    return out


def _filled(scan: Scan, k: int, tag: int) -> bool:
    cell = scan.column(tag)[k]
    return isinstance(cell, LongValue) or (cell is not None and len(cell[1]) > 0)


def _count(scan: Scan, k: int, items: int, name: str) -> int:
    """Give Number of Frames, which the per-frame groups must agree with."""
    cell = scan.column("NumberOfFrames")[k]
    stated = (numbers_of(0x00280008, cell) or (1.0,))[0] if isinstance(cell, tuple) else float(items or 1)
    if items == stated or (not items and stated == 1):
        return int(stated)
    raise SourceError(
        f"{name} says that it has {stated:g} frames, but its functional groups describe {items}: it is damaged or was "
        "cut by another program"
    )


def _items(scan: Scan, k: int, tag: int, layout: Layout) -> list[Found]:
    """Read the items of a top-level sequence of instance `k`; none if it is absent."""
    raw = scan.value(k, tag)
    if raw is None:
        return []
    # the shared groups are often equal in the many files of a series
    return (_read_shared if tag == SHARED else _read)(tag, raw, bool(scan.implicit[k]), scan.syntax[k], layout)


def _read(tag: int, raw: Raw, implicit: bool, syntax: str, layout: Layout) -> list[Found]:
    if raw[0] == "SQ":
        try:
            return walk_items(raw[1], implicit, layout)
        except OddError:
            pass  # pydicom reads what the walk does not know
    return read_items(tag, raw, implicit, syntax, layout)


@lru_cache(maxsize=8)
def _read_shared(tag: int, raw: Raw, implicit: bool, syntax: str, layout: Layout) -> list[Found]:
    return _read(tag, raw, implicit, syntax, layout)


# --- dimensions -----------------------------------------------------------------------------------------------------

_POINTER, _GROUP, _CREATOR, _GROUP_CREATOR, _LABEL = range(5)
_DIMENSION = tuple(
    Column(f"{tag:08X}", (tag,), TEXT) for tag in (0x00209165, 0x00209167, 0x00209213, 0x00209238, 0x00209421)
)
_BY_PATH = {column.path: column.name for column in reversed(COLUMNS)}


@lru_cache(maxsize=2)
def _layout(columns: tuple[Column, ...]) -> Layout:
    """Arrange columns when they are first needed: it asks pydicom's dictionary."""
    return Layout.of(columns)


@lru_cache(maxsize=64)
def _plan(raw: Raw | None, implicit: bool, syntax: str) -> tuple[tuple[Dimension, ...], Layout]:
    """Read the dimensions, and tell which columns an instance with such dimensions has."""
    if raw is None or not raw[1]:
        return (), _layout(COLUMNS)
    out: list[Dimension] = []
    more: list[Column] = []
    for item in _read(DIMENSIONS, raw, implicit, syntax, _layout(_DIMENSION)):
        pointer, group = _pointer(item, _POINTER, _CREATOR), _pointer(item, _GROUP, _GROUP_CREATOR)
        if pointer is None:
            raise DamagedError("an item of its Dimension Index Sequence points nowhere")
        path = (pointer,) if group is None else (group, pointer)
        if path not in _BY_PATH and (column := _column_of(path)) and all(path != c.path for c in more):
            more.append(column)
        names = _BY_PATH | {column.path: column.name for column in more}
        label = text(0x00209421, item[_LABEL]) if _LABEL in item else ()
        out.append(Dimension(pointer, group, names.get(path), label[0] if label else ""))
    return tuple(out), Layout.of((*COLUMNS, *more)) if more else _layout(COLUMNS)


def _pointer(item: Found, number: int, creator: int) -> Key | None:
    """Give the key that an element of VR AT stands for; a private tag without its creator stands for itself."""
    if number not in item or len(item[number][1]) != 4:
        return None
    group, element = unpack_from("<HH", item[number][1])
    owner = text(0x00209213, item[creator]) if creator in item else ()
    if group & 1 and owner:
        return owner[0], group, element & 0xFF
    return int(group << 16 | element)


def _column_of(path: tuple[Key, ...]) -> Column | None:
    """Make the column of a dimension that is not in the table, unless it would hide another or its values are none."""
    from pydicom.datadict import keyword_for_tag

    key = path[-1]
    if isinstance(key, int) and key >> 16 & 1:
        return None
    name: Name = keyword_for_tag(key) if isinstance(key, int) else key
    column = Column(name, path, ALL)
    taken = any(name == other.name or path[0] == other.path[0] == key for other in COLUMNS)
    leads_into_group = any(path == other.path[: len(path)] for other in COLUMNS)
    return None if not name or taken or leads_into_group or column.vr in _NOT_A_VALUE else column


# --- columns ----------------------------------------------------------------------------------------------------------


def _fill(
    out: FrameColumns, frames: list[Found], shared: Found, columns: tuple[Column, ...], charset: Raw | LongValue | None
) -> None:
    """Decode what was found; of several columns of one name the first that says anything is taken."""
    own = set().union(*frames)
    for number in sorted(own.union(shared)):
        column = columns[number]
        if column.name in out.numbers or column.name in out.texts:
            continue
        common = shared.get(number)
        cells = [common] * len(frames)
        if number in own:
            cells = [cell if (cell := frame.get(number)) and cell[1] else common for frame in frames]
        vrs = {cell[0] for cell in (cells if number in own else cells[:1]) if cell and cell[1]}
        if not vrs:
            continue
        if column.width == TEXT or (column.width == ALL and vrs <= _TEXT_VR):
            words = _texts(column, cells, charset)
            if any(words):
                out.texts[column.name] = words
        else:
            values = _numbers(column, cells)
            if not np.isnan(values).all():
                out.numbers[column.name] = values
    _inversion(out)


def _texts(column: Column, cells: list[Raw | None], charset: Raw | LongValue | None) -> list[str]:
    known: dict[Raw | None, str] = {None: ""}
    chars = None if isinstance(charset, LongValue) else charset
    for cell in set(cells) - {None}:
        assert cell is not None
        known[cell] = "\\".join(text(column.path[-1], cell, chars))
    return [known[cell] for cell in cells]


def _numbers(column: Column, cells: list[Raw | None]) -> NDArray[np.float64]:
    """Decode numbers: shape (n,) for one per frame, else (n, width), as for `ALL` of a public element."""
    key, width, count = column.path[-1], column.width, len(cells)
    if all(cell is cells[0] for cell in cells):
        cells = cells[:1]  # of the shared groups, or equal in all frames
    if width == ALL:
        width = max(1, *(len(numbers_of(key, cell)) for cell in set(cells) if cell is not None))
        if width > WIDEST:
            raise LabelError(f"{key_name(key)} of a frame has {width} values, which is damage")
    values = table(key, list(cells), width)
    if column.width == ALL and isinstance(column.name, str):
        values = values.reshape(len(cells), width)
    return values if len(cells) == count else np.repeat(values, count, axis=0)


def _inversion(out: FrameColumns) -> None:
    """Give the inversion time of frames that have one only; with several, none of them is the one."""
    times = out.numbers.get("InversionTimes")
    if times is not None and "InversionTime" not in out.numbers:
        single = np.isnan(times[:, 1:]).all(axis=1)
        out.numbers["InversionTime"] = np.where(single, times[:, 0], np.nan)

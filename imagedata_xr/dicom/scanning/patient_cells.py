"""Which cells of a scan name the patient, or anybody: those that may not be kept on disk."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

import numpy as np

from .coded import Coded, Column, groups_of
from .elements import Cell, known_vr
from .vr import ANY_VR, Key, Raw

PATIENT_GROUP = 0x0010
_NAMING_VR = frozenset(("DA", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UN", "UT"))
_SHORT, _SHORT_ELSEWHERE = 3, 5
"""The shortest texts that are looked for, bytes: in texts, and where a number or a UID may have them by chance."""
_TEXT_VR = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))


def is_naming(key: Key, cells: Iterable[Cell]) -> bool:
    """Tell whether an element is of the patient's group or holds names of persons."""
    if isinstance(key, int) and key >> 16 == PATIENT_GROUP:
        return True
    return any(isinstance(cell, tuple) and known_vr(key, cell[0]) == "PN" for cell in cells)


def names_someone(cell: Cell) -> bool:
    """Tell whether a sequence may hold names of persons or elements of the patient's group.

    It is judged by bytes that look like the beginning of such an element, explicit or implicit; so a sequence that
    only looks so counts as well.
    """
    if not isinstance(cell, tuple) or not (cell[0] == "SQ" or (cell[0] == "UN" and cell[1][:4] == _ITEM)):
        return False
    return _nested().search(cell[1]) is not None


_ITEM = b"\xfe\xff\0\xe0"


@functools.cache
def _nested() -> re.Pattern[bytes]:
    """Pattern of tags and VRs as PS3.5 section 7.1 writes them, little endian."""
    from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]

    tags = [tag for tag, entry in DicomDictionary.items() if entry[0] == "PN"]
    names = [re.escape((tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")) for tag in tags]
    explicit = rb"\x10\x00..(?:" + b"|".join(ANY_VR) + rb")"
    implicit = rb"\x10\x00(?!\x00\x00)..(?:..\x00\x00|\xff{4})"
    return re.compile(b"|".join([b"PN", explicit, implicit, *names]), re.DOTALL)


def words_of(cells: Mapping[Key, Cell]) -> set[bytes]:
    """Texts that name somebody: values of a file's naming elements, and the parts of names; lower case."""
    words: set[bytes] = set()
    for key, cell in cells.items():
        if not isinstance(cell, tuple):
            continue
        vr = known_vr(key, cell[0])
        values = _nested_values(cell) if vr == "SQ" else [cell[1]] if vr in _NAMING_VR else []
        for value in values:
            for one in value.split(b"\\"):
                whole = one.strip(b"\0 ^=")
                parts = re.split(rb"[\^=]", whole) if vr == "PN" else []
                words |= {whole, *(part.strip(b"\0 ") for part in parts)}
    return {word.lower() for word in words if len(word) >= _SHORT}


def _nested_values(cell: Raw) -> list[bytes]:
    """Texts within a sequence of the patient's group, such as other IDs."""
    return [text for text in re.split(rb"[\x00-\x1f\x7f]+", cell[1]) if len(text) >= _SHORT]


def finder(words: Iterable[bytes], vr: str) -> re.Pattern[bytes] | None:
    """Pattern of the words that are looked for in values of a VR (values in lower case); None if there is none."""
    least = _SHORT if vr in _TEXT_VR else _SHORT_ELSEWHERE
    chosen = sorted(word for word in words if len(word) >= least)
    return re.compile(b"|".join(map(re.escape, chosen))) if chosen else None


def withheld(columns: Mapping[Key, Column]) -> dict[Key, set[Raw]]:
    """Cells that may not be kept: of the patient's group, names of persons, and all that contain such a text.

    A text is looked for in the files of the patient (or other person) whom it names.

    Returns
    -------
    dict
        For each element that has some, the (VR, value) pairs.
    """
    out: dict[Key, set[Raw]] = {}
    distinct = {key: column.cells() for key, column in columns.items()}
    naming: dict[Key, Coded[Cell]] = {}
    for key, cells in distinct.items():
        if is_naming(key, cells.values):
            naming[key] = cells
            out[key] = {cell for cell in cells.values if isinstance(cell, tuple)}
        elif found := {cell for cell in cells.values if isinstance(cell, tuple) and names_someone(cell)}:
            out[key] = found
    if not naming:
        return out
    people, who = groups_of(*naming.values())
    for k, person in enumerate(people):
        words = words_of(dict(zip(naming, person, strict=True)))
        rows = np.flatnonzero(who == k) if len(people) > 1 else None
        for key, cells in distinct.items():
            if key not in naming and words:
                own = cells if rows is None else cells.take(rows)
                if found := _containing(own.values, words):
                    out.setdefault(key, set()).update(found)
    return out


def _containing(cells: Iterable[Cell], words: set[bytes]) -> set[Raw]:
    raws = [cell for cell in cells if isinstance(cell, tuple)]
    found: set[Raw] = set()
    for vr in {raw[0] for raw in raws}:
        pattern = finder(words, vr)
        mine = [raw for raw in raws if raw[0] == vr]
        # most often there is none: one search in all values is quicker than one in each
        if pattern is not None and pattern.search(b"\xff\0\xff".join(raw[1] for raw in mine).lower()):
            found.update(raw for raw in mine if pattern.search(raw[1].lower()))
    return found

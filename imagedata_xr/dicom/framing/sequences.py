"""Sequences of whole instances as pydicom reads them, also those too long to be kept by the scan."""

from __future__ import annotations

from pydicom.dataset import Dataset

from ...errors import SourceError
from ...stores.url import file_name
from ..headers.whole_file import trouble
from ..scanning.elements import CHARACTER_SET, Cell, key_of, to_dataset
from ..scanning.scan import Scan
from ..scanning.vr import Key


def sequence_of(scan: Scan, k: int, keyword: str) -> list[Dataset]:
    """Items of a top-level sequence of one instance; none where it is absent or empty.

    Parameters
    ----------
    scan : Scan
    k : int
        Row of the instance.
    keyword : str
        Of the sequence.

    Raises
    ------
    SourceError
        The sequence is damaged, or the file has changed since it was scanned.
    """
    key = key_of(keyword)
    raw = scan.value(k, key)
    if raw is None or not raw[1]:
        return []
    cells: dict[Key, Cell] = {key: raw, CHARACTER_SET: scan.column(CHARACTER_SET)[k]}
    try:
        return list(to_dataset(cells, scan.syntax[k], bool(scan.implicit[k]))[key].value)  # type: ignore[index]
    except trouble() as error:
        raise SourceError(f"{file_name(scan.files[k])}: its {keyword} can't be read: {error}") from error

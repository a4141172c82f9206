"""Private elements of a header, by their creator."""

from __future__ import annotations

import pydicom


def private(ds: pydicom.Dataset, creator: str, group: int, element: int) -> float | None:
    """Give the number of a private element; None where it is missing or none.

    Parameters
    ----------
    ds : pydicom.Dataset
    creator : str
        Private creator of its block (PS3.5 section 7.8.1).
    group, element : int
        Group, and element within the block.
    """
    value = raw_private(ds, creator, group, element)
    try:
        return float(str(value))
    except ValueError:  # bytes of a VR that is not known are none
        return None


def raw_private(ds: pydicom.Dataset, creator: str, group: int, element: int) -> object:
    """Give the value of a private element as it is; None where it is missing."""
    try:
        return ds.private_block(group, creator)[element].value
    except KeyError:
        return None

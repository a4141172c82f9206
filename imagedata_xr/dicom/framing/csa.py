"""Siemens' CSA headers: named values in the private elements (0029,xx10) of the image and (0029,xx20) of the series.

Two encodings exist. CSA2 begins with ``SV10`` and gives each item its length; CSA1 (up to VA25) has no mark, and its
lengths are counted on top of a number that stands in the first tag. No standard describes them; nibabel's reader is
the judge in the tests.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
from ...model.orders import DIRECTIONALITY
from ...stores.url import file_name
from ..scanning.scan import Scan
from ..scanning.vr import CSA_HEADER, CSA_SERIES, Key
from ..vendors import Diffusion
from ..vendors.siemens import principal_axis

MOST = 128
"""More tags in a header, or items in a tag, than any scanner writes: a sign of damage."""

_COUNT = Struct("<II")
_TAG = Struct("<64si4siii")
_ITEM = Struct("<4i")


def parse_csa(data: bytes) -> dict[str, list[str]]:
    """Read a CSA header.

    Parameters
    ----------
    data
        Value of the element, with or without padding at its end.

    Returns
    -------
    dict
        The values of each tag by its name, as text without padding; an empty list where a tag has none. Empty bytes
        give an empty dict.

    Raises
    ------
    SourceError
        The bytes are no CSA header, or end before it does.
    """
    if not data.strip(b"\0 "):
        return {}
    new = data.startswith(b"SV10")
    pos = 8 if new else 0
    try:
        count, _ = _COUNT.unpack_from(data, pos)
        if not 0 < count <= MOST:
            raise SourceError(f"A CSA header can't be read: it announces {count} tags, where 1 to {MOST} are expected")
        return _tags(data, pos + _COUNT.size, count, new)
    except StructError:
        raise SourceError(f"A CSA header is truncated: it ends after {len(data)} bytes, within a tag") from None


def _tags(data: bytes, pos: int, count: int, new: bool) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    base = 0
    for number in range(count):
        name, multiplicity, _, _, items, _ = _TAG.unpack_from(data, pos)
        pos += _TAG.size
        if not 0 <= items <= MOST:
            raise SourceError(f"A CSA header is damaged: tag {number + 1} announces {items} items")
        if number == 0:
            base = items  # of CSA1: item lengths are counted from here
        values, pos = _items(data, pos, items, None if new else base)
        values = values[:multiplicity] if multiplicity > 0 else values
        while values and not values[-1]:
            values.pop()
        out[_string(name)] = values
    return out


def _items(data: bytes, pos: int, count: int, base: int | None) -> tuple[list[str], int]:
    """Read the items of one tag; `base` is None for CSA2. Gives the values and the position after them."""
    values: list[str] = []
    for _ in range(count):
        first, second, _, _ = _ITEM.unpack_from(data, pos)
        pos += _ITEM.size
        length = second if base is None else first - base
        if base is not None and not 0 <= length <= len(data) - pos:
            break  # CSA1 ends the list of items so
        if not 0 <= length <= len(data) - pos:
            raise SourceError(f"A CSA header is damaged: an item of {length} bytes where {len(data) - pos} are left")
        values.append(_string(data[pos : pos + length]))
        pos += length + -length % 4  # items begin at multiples of four
    return values, pos


def _string(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("latin-1").strip()


def image_csa(scan: Scan, k: int) -> dict[str, list[str]]:
    """Read the CSA image header (0029,xx10) of file `k`.

    The scan keeps it where it is needed only (`imagedata_xr.dicom.scanning.vr.needs_csa`).

    Returns
    -------
    dict
        As of `parse_csa`; empty where the file has none.

    Raises
    ------
    SourceError
        The header is damaged; the error names the file.
    """
    return _csa(scan, k, CSA_HEADER)


def series_csa(scan: Scan, k: int) -> dict[str, list[str]]:
    """Read the CSA series header (0029,xx20) of file `k`, in the way of `image_csa`."""
    return _csa(scan, k, CSA_SERIES)


def _csa(scan: Scan, k: int, key: Key) -> dict[str, list[str]]:
    raw = scan.value(k, key)
    if raw is None:
        return {}
    try:
        return parse_csa(raw[1])
    except SourceError as error:
        raise SourceError(f"{file_name(scan.files[k])}: {error}") from None


def floats(csa: dict[str, list[str]], name: str, count: int) -> list[float] | None:
    """Give exactly `count` numbers of a tag; None where it has another number of values, or one that is no number."""
    values = csa.get(name, [])
    if len(values) != count:
        return None
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def csa_diffusion(scan: Scan) -> Diffusion:
    """b-values and directions from CSA image headers, for files without the elements of group 0019.

    Parameters
    ----------
    scan
        Images of Siemens; files whose CSA header was not kept say nothing.

    Returns
    -------
    Diffusion
        Not finished (`Diffusion.finish`): NaN where a file says nothing. Directions are in patient axes (LPS).

    Raises
    ------
    SourceError
        A header is damaged.
    """
    out = Diffusion.empty(len(scan))
    for k in range(len(scan)):
        said = weighting(image_csa(scan, k))
        if said is not None:
            out.b_value[k], out.vector[k], word = said
            if word:
                out.directionality[k] = DIRECTIONALITY.index(word)
    return out


def weighting(csa: dict[str, list[str]]) -> tuple[float, NDArray[np.float64], str] | None:
    """Tell what a CSA image header says of diffusion.

    Parameters
    ----------
    csa
        As of `parse_csa`.

    Returns
    -------
    tuple or None
        b-value (s/mm2), direction (shape (3,), LPS; NaN where none is said), and Diffusion Directionality (empty where
        it is not said, or by a word that is not the standard's); None without a b-value. A missing direction is the
        principal axis of the b-matrix.
    """
    b = floats(csa, "B_value", 1)
    if b is None:
        return None
    word = next((w for w in csa.get("DiffusionDirectionality", ()) if w in DIRECTIONALITY), "")
    vector = floats(csa, "DiffusionGradientDirection", 3)
    if vector is not None and np.linalg.norm(vector) < 1.5:  # old releases write impossible ones at b = 0
        return b[0], np.array(vector), word
    matrix = floats(csa, "B_matrix", 6) if b[0] > 0 and word != "ISOTROPIC" else None
    return b[0], np.full(3, np.nan) if matrix is None else principal_axis(np.array(matrix)), word

"""Many cells of one element decoded together: what is plain ASCII at one stroke, all else each by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import LabelError
from .elements import NO_NUMBER, NO_TEXT, NUMBER, ONE_VALUE, Cell, LongValue, key_name, known_vr, numbers_of, text
from .vr import Key, Raw

_FEW = 8
"""Fewer cells are decoded each by itself."""


def numbers_of_all(key: Key, cells: Sequence[Cell], width: int) -> NDArray[np.float64]:
    """Decode cells as numbers.

    Returns
    -------
    array
        (n, width): the first `width` values of each cell, NaN where there are fewer.
    """
    out = np.full((len(cells), width), np.nan)
    raws = [cell for cell in cells if isinstance(cell, tuple)]
    if len(raws) == len(cells) - 1 >= _FEW and cells[0] is None:
        plain = _binary_numbers(key, raws, width)
        if plain is None:
            plain = _plain_numbers(key, raws, width)
        if plain is not None:
            out[1:] = plain
            return out
    for k, cell in enumerate(cells):
        if isinstance(cell, tuple) and (values := numbers_of(key, cell)[:width]):
            out[k, : len(values)] = values
    return out


def _binary_numbers(key: Key, raws: list[Raw], width: int) -> NDArray[np.float64] | None:
    """Decode binary numbers, as many in each cell, `width` at least; None if any is of another kind."""
    vr = known_vr(key, raws[0][0])
    if vr not in NUMBER or any(raw[0] != raws[0][0] for raw in raws):
        return None
    code, size = NUMBER[vr]
    lengths = {len(value) for _, value in raws}
    length = lengths.pop()
    if lengths or length % size or length < width * size:
        return None
    numbers = np.frombuffer(b"".join([value for _, value in raws]), dtype=f"<{code}")
    return numbers.reshape(len(raws), -1)[:, :width].astype(np.float64)


def _plain_numbers(key: Key, raws: list[Raw], width: int) -> NDArray[np.float64] | None:
    """Decode number strings with `width` values each; None if any is of another kind."""
    vrs = {vr for vr, _ in raws}
    vr = known_vr(key, vrs.pop())
    whole = b"\\".join([value for _, value in raws])
    if vrs or vr in NUMBER or vr in NO_TEXT or vr in NO_NUMBER or b"_" in whole:
        return None
    if any(value.count(b"\\") != width - 1 for _, value in raws) if width > 1 else whole.count(b"\\") != len(raws) - 1:
        return None
    try:
        return np.array([float(part) for part in whole.split(b"\\")]).reshape(len(raws), width)
    except ValueError:  # padded by zeros, empty or none: `numbers_of` tells which
        return None


def table(key: Key, cells: Sequence[Cell], width: int) -> NDArray[np.float64]:
    """Decode cells as numbers, each distinct one once.

    Returns
    -------
    array
        (n,) for width 1, else (n, width): the first `width` values of each cell, NaN where there are fewer.
    """
    known: dict[Cell, int] = {None: 0}
    codes = [known.setdefault(cell, len(known)) for cell in cells]
    out = numbers_of_all(key, list(known), width)[codes]
    return out[:, 0] if width == 1 else out


def texts_of_all(key: Key, cells: Sequence[Cell], charset: Raw | None) -> list[tuple[str, ...] | None]:
    """Decode cells as texts of one character set (see `elements.text`); None for None.

    Raises
    ------
    LabelError
        The VR of one holds no text.
    """
    raws = [cell for cell in cells if isinstance(cell, tuple)]
    if len(raws) == len(cells) >= _FEW:
        plain = _plain_texts(key, raws)
        if plain is not None:
            return plain
    out: list[tuple[str, ...] | None] = []
    for cell in cells:
        if isinstance(cell, LongValue):
            raise LabelError(f"The element {key_name(key)} has VR {cell.vr}, which holds no text")
        out.append(None if cell is None else text(key, cell, charset))
    return out


def _plain_texts(key: Key, raws: list[Raw]) -> list[tuple[str, ...] | None] | None:
    """Decode ASCII texts of one value each; None if any is of another kind."""
    vrs = {vr for vr, _ in raws}
    vr = known_vr(key, vrs.pop())
    whole = b"\\".join([value for _, value in raws])
    if vrs or vr in NO_TEXT or vr in NUMBER or vr == "AT" or vr in ONE_VALUE:
        return None
    if not whole.isascii() or b"\x1b" in whole or whole.count(b"\\") != len(raws) - 1:
        return None
    return [(one,) if (one := part.strip("\0 ")) else () for part in whole.decode("ascii").split("\\")]

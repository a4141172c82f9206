"""Digests of stored pixel values, so that equal ones are recognised when their source is gone."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pixel_digest(stored: NDArray[Any]) -> str:
    """Digest of the stored values of one image.

    Parameters
    ----------
    stored : ndarray, shape (rows, cols) or (rows, cols, samples)
        Cleaned: without the bits that are not part of the values.

    Returns
    -------
    str
        ``"int 256x256 <32 hexadecimal digits>"``, or ``float`` for float pixel data. Equal values have equal digests,
        whichever type holds them.
    """
    whole = stored.dtype.kind in "iub"
    values = np.ascontiguousarray(stored, dtype="<i8" if whole else "<f8")
    if not whole:
        values = np.where(np.isnan(values), np.nan, values) + 0.0  # one NaN, and no -0.0
    code = hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()
    return f"{'int' if whole else 'float'} {'x'.join(map(str, stored.shape))} {code}"


def has_digest(stored: NDArray[Any], digest: str) -> bool:
    """Whether stored values are those that a digest was made of."""
    kind = digest.partition(" ")[0]
    if kind == "int" and stored.dtype.kind == "f":
        if not (np.isfinite(stored).all() and (stored == np.round(stored)).all()):
            return False
        stored = stored.astype(np.int64)
    elif kind == "float" and stored.dtype.kind in "iub":
        stored = stored.astype(np.float64)
    return pixel_digest(stored) == digest

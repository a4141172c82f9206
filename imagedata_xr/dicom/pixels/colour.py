"""Colours of other spaces become RGB (PS3.3 section C.7.6.3.1.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FULL = np.array([[1, 1, 1], [0, -0.114 * 1.772 / 0.587, 1.772], [1.402, -0.299 * 1.402 / 0.587, 0]])
"""RGB from Y, Cb and Cr of full range: ITU-T T.871 section 7."""
_PARTIAL = np.linalg.inv(np.array([[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]])).T
"""RGB from Y, Cb and Cr of YBR_PARTIAL_422, whose formula DICOM gives for RGB of 0 to 255."""

SPACES = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB")
"""Photometric Interpretations of three samples that are read."""

ONLY_IN = {"YBR_ICT": "jpeg2000", "YBR_RCT": "jpeg2000", "XYB": "jpegxl"}
"""Spaces that are a step of a compression, and the family of codecs that undoes it (PS3.3 section C.7.6.3.1.2)."""


def to_rgb(values: NDArray[Any], space: str, bits: int) -> NDArray[Any]:
    """RGB of colours of a space.

    Parameters
    ----------
    values : ndarray, shape (..., 3)
    space : str
        Photometric Interpretation.
    bits : int
        Bits Stored.

    Returns
    -------
    ndarray, shape (..., 3)
        Of the same type, rounded and limited to its range.
    """
    if not space.startswith(("YBR_FULL", "YBR_PARTIAL")):
        return values
    kind = np.float32 if bits <= 8 else np.float64
    middle = 2.0 ** (bits - 1)
    matrix, black = (_FULL, 0.0) if space.startswith("YBR_FULL") else (_PARTIAL, middle / 8)
    out: NDArray[Any] = values.astype(kind) - np.array([black, middle, middle], dtype=kind)
    out = np.floor(out @ matrix.astype(kind) + kind(0.5))
    return np.asarray(np.clip(out, 0, 2**bits - 1).astype(values.dtype))

"""Native planes as references: which bytes of which file, and by which standard codec they become values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ...stores.files import File, file_name
from .pixels import FrameArray
from .syntaxes import BIG_ENDIAN


@dataclass(frozen=True)
class Referred:
    """Planes of an image as byte ranges.

    Attributes
    ----------
    files : list of File or None
        The file of each plane in C order of (volumes..., slice); None for a missing one.
    offsets : ndarray
        Where each begins.
    length : int
        Bytes of each.
    stored : numpy.dtype
        How the numbers lie there.
    slope, intercept : float
    """

    files: list[File | None]
    offsets: NDArray[np.int64]
    length: int
    stored: np.dtype[Any]
    slope: float
    intercept: float


def referred(array: FrameArray) -> Referred:
    """Byte ranges of the planes of an array.

    Raises
    ------
    FormatError
        Where bytes and one slope and intercept do not say what the values are; it names the first file and why.
    """
    which = array.file.ravel()
    there = np.flatnonzero(which >= 0)
    used = np.unique(which[there])
    for k in used.tolist():
        if why := _refusal(array, k):
            raise FormatError(
                f"{file_name(array.files[k])} can't be referred to: {why}. imd.write to zarr holds such an image"
            )
    kinds = {(array.formats[array.kind[k]], array.syntax[k] == BIG_ENDIAN) for k in used.tolist()}
    if len({(f.stored_dtype, f.frame_bytes, big) for f, big in kinds}) > 1:
        raise FormatError("the planes are stored in several ways, and references have one for all: write zarr instead")
    if array.corner is not None or array.label is not None or array.padding is not None or array.lut is not None:
        why = (
            "planes are tiles of one frame" if array.corner is not None
            else "segments share their frames" if array.label is not None
            else "padding becomes NaN" if array.padding is not None
            else "values come from a lookup table"
        )  # fmt: skip
        raise FormatError(f"the image can't be referred to: its {why}. imd.write to zarr holds such an image")
    form, big = next(iter(kinds))
    slope, intercept = (_same(v, there, name) for v, name in ((array.slope, "slope"), (array.intercept, "intercept")))
    offsets = np.full(which.size, -1, dtype=np.int64)
    offsets[there] = array.offset[which[there]] + (array.number.ravel()[there] - 1) * form.frame_bytes
    return Referred(
        [array.files[k] if k >= 0 else None for k in which.tolist()],
        offsets,
        form.frame_bytes,
        form.stored_dtype.newbyteorder(">" if big else "<"),
        1.0 if slope is None else slope,
        0.0 if intercept is None else intercept,
    )


def _refusal(array: FrameArray, k: int) -> str:
    form = array.formats[array.kind[k]]
    if array.length[k] < 0:
        return f"its pixels are compressed (transfer syntax {array.syntax[k]})"
    if array.offset[k] < 0 or array.files[k].fs.protocol == "gzip":
        return "its bytes are packed as a whole, so that pixels have no place in it"
    if form.planar:
        return "its colours are stored plane by plane (Planar Configuration 1)"
    if form.space not in ("", "RGB"):
        return f"its colours are {form.space}"
    if form.bits_allocated not in (8, 16, 32, 64):
        return f"its pixels have {form.bits_allocated} bits"
    return ""


def _same(values: NDArray[np.float64] | None, there: NDArray[np.intp], name: str) -> float | None:
    if values is None or not there.size:
        return None
    flat = values.ravel()[there]
    if (flat != flat[0]).any():
        raise FormatError(
            f"the rescale {name} differs from image to image ({flat.min():g} to {flat.max():g}), and references have "
            "one for all: open with mask_and_scale=False, which refers to stored values, or write zarr"
        )
    return float(flat[0])

"""Writing masks as a new segmentation (PS3.3 A.51, A.90): which segments the values mean, and their frames."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from numpy.typing import NDArray

from ...errors import FormatError, warn
from ...formats.seam import WriteOptions, Written
from ...model.image import volume_dims
from .asked import FRACTIONAL_TYPES, Asked
from .objects_out import Origin, finish, naming, need_highdicom, placing, refer, source_header, write_one
from .segment_items import segment_items

TYPES = {"binary": "BINARY", "fractional": "FRACTIONAL", "label_map": "LABELMAP"}
_DERIVATION = ("113076", "DCM", "Segmentation")
_MOST = 65535


@dataclass(frozen=True)
class Masks:
    """Segments of an image.

    Attributes
    ----------
    numbers : list of int
        As the image knows them.
    values : ndarray
        Shape (slices, rows, cols) with numbers of segments (each pixel of one segment at most), or
        (slices, rows, cols, segments): 0 and 1, or fractions.
    kind : str
        ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
    """

    numbers: list[int]
    values: NDArray[Any]
    kind: str


def write_masks(image: xr.DataArray, origin: Origin, target: str, options: WriteOptions, asked: Asked) -> Written:
    """Write an image of masks as a segmentation of its own.

    Parameters
    ----------
    image : xarray.DataArray
        Canonical: with the dims (segment, slice, row, col), or of one volume.
    origin : Origin
    target : str
    options : WriteOptions
    asked : Asked

    Raises
    ------
    FormatError
        The values are no masks, a description is wrong, or highdicom is not installed.
    GeometryError
        Slices without a place.
    """
    hd = need_highdicom("a new segmentation")
    masks = masks_of(image, asked)
    items = segment_items(image, masks.numbers, asked.segments)
    masks, items = _numbered(masks, items)
    source = source_header(origin)
    fractional: dict[str, Any] = {}
    if masks.kind == "FRACTIONAL":
        top = int(image.attrs.get("MaximumFractionalValue") or 255)
        said = asked.fractional_type or str(image.attrs.get("SegmentationFractionalType") or FRACTIONAL_TYPES[0])
        fractional = {"fractional_type": said, "max_fractional_value": top if 0 < top <= 255 else 255}
    descriptions = [hd.seg.SegmentDescription.from_dataset(item) for item in _plain(items)]
    ds = hd.seg.Segmentation(
        [source], masks.values, masks.kind, descriptions, content_label="SEGMENTATION",
        **naming(origin), **placing(origin, source), **fractional,
    )  # fmt: skip
    ds.SegmentSequence = [*_background(ds, items), *items]
    refer(ds, origin, _DERIVATION)
    return write_one(finish(ds, origin, "Segmented with imagedata_xr."), target, options, asked)


def _plain(items: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """Copies of descriptions that highdicom takes: it demands an identified algorithm, which the standard does not."""
    out = []
    for item in items:
        plain = copy.deepcopy(item)
        plain.SegmentAlgorithmType = "MANUAL"
        out.append(plain)
    return out


def _background(ds: pydicom.Dataset, items: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """Description of the value 0, which highdicom makes for a label map; made like the segments."""
    found = [item for item in ds.SegmentSequence if item.SegmentNumber == 0]
    for item in found:
        for keyword in ("SegmentAlgorithmType", "SegmentAlgorithmName"):
            if keyword in items[0]:
                item[keyword] = items[0][keyword]
    return found


# --- which segments ---------------------------------------------------------------------------------------------------


def masks_of(image: xr.DataArray, asked: Asked) -> Masks:
    """Segments that the values of an image mean.

    Raises
    ------
    FormatError
        They are no masks: colours, several volumes, or neither 0 and 1, nor numbers of segments, nor fractions.
    """
    if "rgb" in image.dims or image.dtype.kind not in "biuf":
        raise FormatError(f"a segmentation holds masks, and this image has {_what(image)}: compare it with something")
    if "segment" in image.dims:
        values = np.moveaxis(_one(image, keep="segment"), 0, -1)
        numbers = [int(n) for n in image.coords["segment"].values]
    else:
        values, numbers = _one(image), []
    kind = _kind(values, asked)
    if kind == "FRACTIONAL":
        values = values if numbers else values[..., None]
        return Masks(numbers or [_own_number(image)], np.ascontiguousarray(values, dtype=np.float64), kind)
    whole = values.astype(np.int64)
    if numbers:
        return _of_planes(whole, numbers, kind)
    found = np.unique(whole)
    found = found[found != 0]
    if not found.size:
        raise FormatError("the mask is empty: a segmentation without a pixel of a segment says nothing")
    if found.tolist() == [1]:
        number = _own_number(image)
        return Masks([number], whole * number, kind)
    return Masks(found.tolist(), whole, kind)


def _what(image: xr.DataArray) -> str:
    return "colours" if "rgb" in image.dims else f"values of type {image.dtype}"


def _one(image: xr.DataArray, keep: str = "") -> NDArray[Any]:
    """Values of the only volume."""
    others = [d for d in volume_dims(image) if d != keep]
    if many := [f"{image.sizes[d]} along {d!r}" for d in others if image.sizes[d] != 1]:
        raise FormatError(
            f"the image has several volumes ({', '.join(many)}), and a segmentation is of one: select it, such as "
            f"isel({others[0]}=0)"
        )
    return np.asarray(image.isel(dict.fromkeys(others, 0)).values)


def _own_number(image: xr.DataArray) -> int:
    """Number of the only segment: that of the scalar label ``segment``, as ``sel(segment=n)`` leaves it."""
    coord = image.coords.get("segment")
    return 1 if coord is None or coord.ndim else int(coord.values)


def _kind(values: NDArray[Any], asked: Asked) -> str:
    """Type of the segmentation, by what is asked for and what the values allow."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise FormatError(f"{int((~np.isfinite(values)).sum())} values are not finite: fillna(0) makes them no segment")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    whole = values.dtype.kind != "f" or bool(np.array_equal(values, np.rint(values)))
    if asked.segmentation_type == "fractional" or (not whole and not asked.segmentation_type):
        if low < 0 or high > 1:
            raise FormatError(
                f"the values lie from {low:g} to {high:g}, and fractions lie from 0 to 1; whole numbers are numbers of "
                "segments"
            )
        return "FRACTIONAL"
    if not whole:
        raise FormatError("the values are fractions: format_options segmentation_type='fractional', or compare them")
    if low < 0 or high > _MOST:
        raise FormatError(f"the values lie from {low:g} to {high:g}, and segments have the numbers 1 to {_MOST}")
    return TYPES[asked.segmentation_type or "binary"]


def _of_planes(values: NDArray[np.int64], numbers: Sequence[int], kind: str) -> Masks:
    """Segments along a dim of their own; a stored label map has the one number of each pixel."""
    if values.max(initial=0) > 1:
        raise FormatError(
            f"the values along 'segment' reach {int(values.max())}, and masks hold 0 and 1: compare them, such as "
            "image > 0"
        )
    if len(set(numbers)) != len(numbers) or min(numbers) < 1:
        raise FormatError(
            f"the labels of 'segment' ({', '.join(map(str, numbers[:8]))}) are no numbers from 1 on, each once"
        )
    if not values.any():
        raise FormatError("all masks are empty: a segmentation without a pixel of a segment says nothing")
    if kind != "LABELMAP":
        return Masks(list(numbers), values.astype(np.uint8), kind)
    if values.sum(axis=-1).max() > 1:
        raise FormatError("segments overlap, which a label map can't hold: leave out segmentation_type='label_map'")
    return Masks(list(numbers), (values * np.array(numbers)).sum(axis=-1), kind)


def _numbered(masks: Masks, items: list[pydicom.Dataset]) -> tuple[Masks, list[pydicom.Dataset]]:
    """Segments numbered as their class demands: from 1 on without gaps, but for label maps (PS3.3 C.8.20.2)."""
    order = np.argsort(masks.numbers)
    numbers, items = [masks.numbers[k] for k in order], [items[k] for k in order]
    values = masks.values[..., order] if masks.values.ndim == 4 else masks.values
    new = numbers if masks.kind == "LABELMAP" else list(range(1, len(numbers) + 1))
    if new != numbers:
        warn(
            f"segments of a segmentation are numbered from 1 on without gaps, so that {_pairs(numbers)}. They keep "
            "their labels; format_options segmentation_type='label_map' keeps their numbers"
        )
    if values.ndim == 3:
        values = np.searchsorted(numbers, values) + 1 if new != numbers else values
        if new != numbers:
            values = np.where(masks.values == 0, 0, values)
        values = values.astype(np.uint16)
    for item, number in zip(items, new, strict=True):
        item.SegmentNumber = number
    return Masks(new, values, masks.kind), items


def _pairs(numbers: Sequence[int]) -> str:
    shown = [f"{n} becomes {k}" for k, n in enumerate(numbers, 1) if n != k]
    return ", ".join(shown[:4]) + (f" and so on ({len(shown)})" if len(shown) > 4 else "")

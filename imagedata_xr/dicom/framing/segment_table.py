"""What is known of the segments of a segmentation, as a table (PS3.3 C.8.20.4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pydicom
import xarray as xr

from ...errors import LabelError
from ..headers.whole_file import trouble

_TEXTS: dict[str, Callable[[pydicom.Dataset], str]] = {
    "label": lambda i: str(i.get("SegmentLabel") or ""),
    "description": lambda i: str(i.get("SegmentDescription") or ""),
    "category": lambda i: _meaning(i, "SegmentedPropertyCategoryCodeSequence"),
    "category_code": lambda i: _code(i, "SegmentedPropertyCategoryCodeSequence"),
    "type": lambda i: _meaning(i, "SegmentedPropertyTypeCodeSequence"),
    "type_code": lambda i: _code(i, "SegmentedPropertyTypeCodeSequence"),
    "modifier": lambda i: _meaning(_first(i, "SegmentedPropertyTypeCodeSequence"), _MODIFIER),
    "region": lambda i: _meaning(i, "AnatomicRegionSequence"),
    "region_code": lambda i: _code(i, "AnatomicRegionSequence"),
    "algorithm_type": lambda i: str(i.get("SegmentAlgorithmType") or ""),
    "algorithm_name": lambda i: str(i.get("SegmentAlgorithmName") or ""),
    "tracking_id": lambda i: str(i.get("TrackingID") or ""),
    "tracking_uid": lambda i: str(i.get("TrackingUID") or ""),
}
_MODIFIER = "SegmentedPropertyTypeModifierCodeSequence"


def segment_table(image: xr.DataArray) -> xr.Dataset:
    """Describe the segments of an image.

    Parameters
    ----------
    image : xarray.DataArray
        A segmentation, or a part of one.

    Returns
    -------
    xarray.Dataset
        On ``segment``, the numbers that the image has, texts by name: ``label``, ``description``, ``category``,
        ``type``, ``modifier`` and ``region`` by their meanings, ``category_code``, ``type_code`` and ``region_code`` as
        ``scheme:value``, ``algorithm_type``, ``algorithm_name``, ``tracking_id``, ``tracking_uid``; empty where nothing
        is said. ``color`` on ``(segment, lab)`` is the Recommended Display CIELab Value as L* (0 to 100), a* and b*
        (-128 to 127), NaN without one.

    Raises
    ------
    LabelError
        The image is no segmentation, or its attrs no longer describe the segments.
    """
    text = image.attrs.get("SegmentSequence")
    if "segment" not in image.coords or not isinstance(text, str):
        raise LabelError(
            "the image has no segments that are described: it needs the coord 'segment' and the attr SegmentSequence, "
            "as segmentations read from DICOM have them"
        )
    try:
        items = [pydicom.Dataset.from_json(item) for item in json.loads(text)]
        by_number = {int(i.SegmentNumber): i for i in items if "SegmentNumber" in i}
    except trouble() as error:
        raise LabelError(f"the attr SegmentSequence is no DICOM JSON: {error}") from error
    numbers = np.atleast_1d(np.asarray(image.coords["segment"].values)).astype(np.int64)
    return _table(numbers, [by_number.get(n, pydicom.Dataset()) for n in numbers.tolist()])


def _table(numbers: Any, items: list[pydicom.Dataset]) -> xr.Dataset:
    columns: Mapping[str, Any] = {
        name: ("segment", np.array([read(item) for item in items], dtype=np.dtypes.StringDType()))
        for name, read in _TEXTS.items()
    }
    color = np.array([_color(item) for item in items]).reshape(len(items), 3)
    return xr.Dataset({**columns, "color": (("segment", "lab"), color)}, coords={"segment": ("segment", numbers)})


def _first(item: pydicom.Dataset, keyword: str) -> pydicom.Dataset:
    return next(iter(item.get(keyword) or ()), pydicom.Dataset())


def _meaning(item: pydicom.Dataset, keyword: str) -> str:
    return str(_first(item, keyword).get("CodeMeaning") or "")


def _code(item: pydicom.Dataset, keyword: str) -> str:
    code = _first(item, keyword)
    value = next((code.get(k) for k in ("CodeValue", "LongCodeValue", "URNCodeValue") if code.get(k)), "")
    return f"{code.get('CodingSchemeDesignator') or ''}:{value}" if value else ""


def _color(item: pydicom.Dataset) -> list[float]:
    """L*, a* and b* from 16 bits each (PS3.3 C.10.7.1.1)."""
    stored = item.get("RecommendedDisplayCIELabValue")
    if not isinstance(stored, (list, pydicom.multival.MultiValue)) or len(stored) != 3:
        return [np.nan] * 3
    share = [int(v) / 65535 for v in stored]
    return [share[0] * 100, share[1] * 255 - 128, share[2] * 255 - 128]

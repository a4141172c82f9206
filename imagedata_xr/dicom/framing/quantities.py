"""Parametric maps: which quantity each frame shows, and the units that its values have (PS3.3 A.75, C.7.6.16.2.11)."""

from __future__ import annotations

import numpy as np

from ..scanning.coded import Coded
from .frames import Frames
from .group_table import (
    MAP_INTERCEPT,
    MAP_LABEL,
    MAP_SCHEME,
    MAP_SLOPE,
    MAP_UNITS,
    QUANTITY,
    QUANTITY_CODE,
)

PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
"""Parametric Map Storage."""


def quantities(frames: Frames) -> Coded[str]:
    """What each frame of a parametric map shows: quantity, label of its mapping, units; empty for other images.

    One instance may hold several quantities: they have different units, and are no volumes of one image.
    """
    if PARAMETRIC_MAP not in frames.coded_text("SOPClassUID").values:
        return Coded.same("", len(frames))
    columns = [_texts(frames, name) for name in (QUANTITY, QUANTITY_CODE, MAP_LABEL, MAP_UNITS)]
    out = []
    for uid, meaning, code, label, units in zip(frames.text("SOPClassUID"), *columns, strict=True):
        words = [meaning or code, label if label != meaning else "", f"in {units}" if units else ""]
        out.append(" ".join(w for w in words if w) if uid == PARAMETRIC_MAP else "")
    return Coded.of(out)


def is_parametric_map(frames: Frames) -> bool:
    """Whether the images are parametric maps."""
    return bool(len(frames)) and set(frames.coded_text("SOPClassUID").values) == {PARAMETRIC_MAP}


def quantity_attrs(frames: Frames) -> dict[str, str]:
    """Attrs of a parametric map: ``quantity``, and ``units`` where its values are in those of its mapping.

    They are where the mapping does no more than the modality rescale, most often nothing: only then the values of the
    image are the mapped ones. All others are left as they are, without units.
    """
    out = {}
    for name in (QUANTITY, MAP_LABEL):
        words = set(_texts(frames, name))
        if len(words) == 1 and words != {""}:
            out["quantity"] = words.pop()
            break
    units, scheme = set(_texts(frames, MAP_UNITS)), set(_texts(frames, MAP_SCHEME))
    if len(units) == 1 and units != {""} and scheme <= {"", "UCUM"} and _mapped(frames):
        out["units"] = units.pop()
    return out


def _mapped(frames: Frames) -> bool:
    """Whether the values after the modality rescale are those of the first mapping."""
    empty = np.full(len(frames), np.nan)
    for name, keyword, plain in ((MAP_SLOPE, "RescaleSlope", 1.0), (MAP_INTERCEPT, "RescaleIntercept", 0.0)):
        said = frames.numbers(keyword)
        rescale = np.where(np.isnan(said), plain, said)
        if not np.array_equal(frames.own.numbers.get(name, empty), rescale):
            return False
    return True


def _texts(frames: Frames, name: str) -> list[str]:
    return frames.own.texts.get(name, [""] * len(frames))

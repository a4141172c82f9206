"""Series with real-world value mappings, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from phantoms import Series, instance, make
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items


def mapping(label: str, units: str, first: float, last: float, double: bool = False, **elements: Any) -> Dataset:
    """An item of Real World Value Mapping Sequence."""
    item, code = Dataset(), Dataset()
    item.LUTLabel, item.LUTExplanation = label, f"made up: {label}"
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = units, "UCUM", units
    item.MeasurementUnitsCodeSequence = Items([code])
    if double:
        item.DoubleFloatRealWorldValueFirstValueMapped = first
        item.DoubleFloatRealWorldValueLastValueMapped = last
    else:
        vr = "SS" if first < 0 else "US"
        item.add_new("RealWorldValueFirstValueMapped", vr, int(first))
        item.add_new("RealWorldValueLastValueMapped", vr, int(last))
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def line(label: str, units: str, slope: float, intercept: float, first: float = 0, last: float = 4095) -> Dataset:
    """An item that maps by a slope and an intercept."""
    return mapping(label, units, first, last, RealWorldValueSlope=slope, RealWorldValueIntercept=intercept)


def write(folder: Path, series: Series, change: Any = None) -> Path:
    """Write a series whose instances are changed first by ``change(ds, v, k)``."""
    if change is None:
        make(folder, series)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for v in range(series.shape[0]):
        for k in range(series.shape[1]):
            ds = instance(series, v, k)
            change(ds, v, k)
            ds.save_as(folder / f"{v:02d}_{k:02d}.dcm", enforce_file_format=True)
    return folder


def stored(series: Series) -> NDArray[np.float64]:
    """Stored values of all images."""
    volumes, slices = series.shape[:2]
    return np.array([[series.stored(v, k) for k in range(slices)] for v in range(volumes)], dtype=np.float64)

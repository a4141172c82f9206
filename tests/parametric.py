"""Parametric maps of a phantom series, made by highdicom, whose values are made of the places of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import segmented
from numpy.typing import NDArray
from pydicom.dataset import Dataset

ANY = (-1e30, 1e30)
KNOWN = {
    "ADC": (("113041", "DCM", "Apparent Diffusion Coefficient"), ("um2/s", "UCUM", "um2/s")),
    "Ktrans": (("126312", "DCM", "Ktrans"), ("/min", "UCUM", "/min")),
}


def places(made_of: phantoms.Series) -> NDArray[np.float64]:
    """Place of each voxel, shape (slices, rows, cols, 3), LPS mm."""
    return np.stack([made_of.positions(k) for k in range(made_of.shape[1])])


def mapping(name: str, limits: tuple[float, float] = ANY, slope: float = 1, intercept: float = 0) -> Any:
    """Real-world value mapping of a quantity."""
    import highdicom as hd

    quantity, unit = (hd.sr.CodedConcept(*code) for code in KNOWN[name])
    return hd.pm.RealWorldValueMapping(
        name, f"{name} of the phantom", unit, limits, slope, intercept, quantity_definition=quantity
    )


def parametric_map(files: Sequence[Path], pixels: NDArray[Any], mappings: Sequence[Any], **options: Any) -> Dataset:
    """Parametric map by highdicom; `pixels` has shape (slices, rows, cols) or (slices, rows, cols, quantities)."""
    import highdicom as hd

    source = [pydicom.dcmread(f) for f in files]
    return hd.pm.ParametricMap(
        source, pixels, hd.UID(), 99, hd.UID(), 1, "Mathematics", "Maps", "1", "D-1", False, mappings,
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1)], **options,
    )  # fmt: skip


def made(folder: Path) -> tuple[phantoms.Series, list[Path]]:
    """The series and its files."""
    of = segmented.series()
    return of, phantoms.make(folder, of)


def save(ds: Dataset, path: Path) -> Path:
    """Write a map into a folder of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)
    return path

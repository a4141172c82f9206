"""How the stored values of one plane become values, by its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ..pixels.luts import ModalityLut, modality_lut
from ..writing.fields import numbers


@dataclass(frozen=True)
class Rescale:
    """How stored values of one plane became values."""

    slope: float = 1.0
    intercept: float = 0.0
    lut: ModalityLut | None = None
    floating: bool = False

    @classmethod
    def of(cls, header: pydicom.Dataset) -> Rescale:
        """Return that of a header."""
        slope, intercept = numbers(header, "RescaleSlope", 1), numbers(header, "RescaleIntercept", 1)
        if slope is None:
            slope = numbers(header, "DoseGridScaling", 1)
        lut = modality_lut(header) if "ModalityLUTSequence" in header else None
        floating = header.get("BitsAllocated") == 64 or (
            header.get("BitsAllocated") == 32 and "PixelRepresentation" not in header
        )
        return cls(
            1.0 if slope is None else float(slope[0]), 0.0 if intercept is None else float(intercept[0]), lut, floating
        )

    def values(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Values of stored ones."""
        return self.lut.apply(stored) if self.lut is not None else stored * self.slope + self.intercept

    def stored(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Stored values of values: the nearest integers, but for floats."""
        out = (values - self.intercept) / self.slope
        return out if self.floating else np.rint(out)

    @property
    def tolerance(self) -> float:
        """How near a value must be: a quarter of a step; 0 where there are none of equal size."""
        return 0.0 if self.floating or self.lut is not None else abs(self.slope) / 4

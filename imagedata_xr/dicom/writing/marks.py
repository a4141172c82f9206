"""Marks by which this library knows what it wrote itself."""

from __future__ import annotations

NAN_MARK = "Pixel Padding Value stands for NaN."
"""End of Derivation Description (0008,2111) where padding pixels are not a number. It stands in the data set, since
archives replace the file meta information."""


def padding_is_nan(derivation_description: str) -> bool:
    """Whether pixels of the padding value are NaN: in images that this library derived from values with NaN."""
    return derivation_description.rstrip().endswith(NAN_MARK)

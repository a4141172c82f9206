"""Siemens: b-values and directions in group 0019 (from VB13), trace images by their sequence name."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ...model.orders import DIRECTIONALITY
from . import Columns, Diffusion

HEADER = "SIEMENS MR HEADER"


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is Siemens."""
    return "SIEMENS" in manufacturer


def diffusion(images: Columns) -> Diffusion:
    """b-value (0019,100C) and direction (0019,100E), which is in patient axes already."""
    out = Diffusion.empty(len(images))
    out.b_value = images.numbers((HEADER, 0x19, 0x0C))
    out.vector = images.numbers((HEADER, 0x19, 0x0E), width=3)
    words = images.strings((HEADER, 0x19, 0x0D))
    names = images.strings("SequenceName")
    for k, (word, name) in enumerate(zip(words, names, strict=True)):
        if word and word[0] in DIRECTIONALITY:
            out.directionality[k] = DIRECTIONALITY.index(word[0])
        # a trace image: "*ep_b800t"; it may still carry the direction of the last measurement
        if name and re.search(r"_b\d+t", name[0]):
            out.directionality[k] = 3
    return out


def component(images: Columns) -> list[str]:
    """Nothing beyond the standard's Image Type."""
    return [""] * len(images)


def clock(images: Columns) -> NDArray[np.float64]:
    """None: AcquisitionTime is exact."""
    return np.full(len(images), np.nan)

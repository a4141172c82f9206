"""Siemens: b-values and directions in group 0019 (from VB13), trace images by their sequence name."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ...model.orders import DIRECTIONALITY
from ..scan import Scan
from . import Diffusion

HEADER = "SIEMENS MR HEADER"


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is Siemens."""
    return "SIEMENS" in manufacturer


def diffusion(scan: Scan) -> Diffusion:
    """b-value (0019,100C) and direction (0019,100E), which is in patient axes already."""
    out = Diffusion.empty(len(scan))
    out.b_value = scan.numbers((HEADER, 0x19, 0x0C))
    out.vector = scan.numbers((HEADER, 0x19, 0x0E), width=3)
    words = scan.strings((HEADER, 0x19, 0x0D))
    names = scan.strings("SequenceName")
    for k, (word, name) in enumerate(zip(words, names, strict=True)):
        if word and word[0] in DIRECTIONALITY:
            out.directionality[k] = DIRECTIONALITY.index(word[0])
        # a trace image: "*ep_b800t"; it may still carry the direction of the last measurement
        if name and re.search(r"_b\d+t", name[0]):
            out.directionality[k] = 3
    return out


def component(scan: Scan) -> list[str]:
    """Nothing beyond the standard's Image Type."""
    return [""] * len(scan)


def clock(scan: Scan) -> NDArray[np.float64]:
    """None: AcquisitionTime is exact."""
    return np.full(len(scan), np.nan)

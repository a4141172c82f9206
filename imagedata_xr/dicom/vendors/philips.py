"""Philips: b-value (2001,1003), direction (2005,10B0..10B2) in patient axes, component (2005,1011)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import Columns, Diffusion

IMAGING, MR1 = "Philips Imaging DD 001", "Philips MR Imaging DD 001"
LABEL_TYPE = ("Philips MR Imaging DD 005", 0x2005, 0x29)
"""LABEL or CONTROL of spin labelling: what ASL Context is in the standard; empty or absent in other images."""


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is Philips."""
    return "PHILIPS" in manufacturer


def diffusion(images: Columns) -> Diffusion:
    """b-value and direction; (2001,1004) = "I" is an isotropic trace, or the image without weighting."""
    out = Diffusion.empty(len(images))
    out.b_value = images.numbers((IMAGING, 0x2001, 0x03))
    out.vector = np.stack([images.numbers((MR1, 0x2005, e)) for e in (0xB0, 0xB1, 0xB2)], axis=1)
    # every Philips MR image has a b-factor; only those of a diffusion series have more than 0
    if not (out.b_value > 0).any():
        return Diffusion.empty(len(images))
    letters = images.strings((IMAGING, 0x2001, 0x04))
    for k, (b, letter) in enumerate(zip(out.b_value, letters, strict=True)):
        if letter and letter[0] == "I" and b > 0:
            out.directionality[k] = 3
    return out


def component(images: Columns) -> list[str]:
    """Letter of (2005,1011): M, P, R or I."""
    words = images.strings((MR1, 0x2005, 0x11))
    return [w[0][:1] if w and w[0][:1] in "MPRI" else "" for w in words]


def clock(images: Columns) -> NDArray[np.float64]:
    """None: AcquisitionTime and TriggerTime do."""
    return np.full(len(images), np.nan)

"""Philips: b-value (2001,1003), direction (2005,10B0..10B2) in patient axes, component (2005,1011)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...model.orders import DIRECTIONALITY
from . import Columns, Diffusion

IMAGING, MR1 = "Philips Imaging DD 001", "Philips MR Imaging DD 001"
MR5, MR6 = "Philips MR Imaging DD 005", "Philips MR Imaging DD 006"
LABEL_TYPE = (MR5, 0x2005, 0x29)
"""LABEL or CONTROL of spin labelling: what ASL Context is in the standard; empty or absent in other images."""

DIXON = frozenset(("W", "F", "IP", "OP"))
"""Words of Image Type: water, fat, in phase, out of phase."""

CLASSIC_TYPE = (MR5, 0x2005, 0x0F)
"""The sequence with a copy of the classic header of a frame; as a column, the Image Type in it."""

GRADIENT = (MR5, 0x2005, 0x13)
"""Number of the direction among those of one b-value."""


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is Philips."""
    return "PHILIPS" in manufacturer


def diffusion(images: Columns) -> Diffusion:
    """b-value and direction; (2001,1004) = "I" is an isotropic trace, or the image without weighting.

    Weighted images without components of a direction whose directions are numbered (2005,1413) from 1 to more than 1 at
    one b-value are of directions that are not known, and no traces.
    """
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
    number = images.numbers(GRADIENT)
    silent = (out.b_value > 0) & np.isnan(out.vector).all(axis=1) & np.isnan(out.directionality)
    silent &= np.isnan(images.numbers("DiffusionGradientOrientation", 3)).all(axis=1)
    for b in np.unique(out.b_value[silent]):
        rows = silent & (out.b_value == b)
        if len(np.unique(number[rows & np.isfinite(number)])) > 1:
            out.directionality[rows] = DIRECTIONALITY.index("DIRECTIONAL")
    return out


def component(images: Columns) -> list[str]:
    """Letter of (2005,1011): M, P, R or I; of Dixon images what they show, as their classic Image Type says.

    Frames of water, fat, in and out of phase have equal letters, and in releases before 12 equal Frame Types (dcm2niix,
    issue 1038). Classic images need no word for it, as their Image Type is a feature of its own.
    """
    words = images.strings((MR1, 0x2005, 0x11))
    letters = [w[0][:1] if w and w[0][:1] in "MPRI" else "" for w in words]
    kinds = [next((w for w in types or () if w in DIXON), "") for types in images.strings(CLASSIC_TYPE)]
    return [f"{letter} {kind}".strip() for letter, kind in zip(letters, kinds, strict=True)]


def clock(images: Columns) -> NDArray[np.float64]:
    """None: AcquisitionTime and TriggerTime do."""
    return np.full(len(images), np.nan)


def volume_numbers(images: Columns) -> list[NDArray[np.float64]]:
    """Numbers that sort the images of one position: label type, diffusion, phase, temporal position.

    Instance numbers are scrambled in classic images, another way at each position; so volumes that repeat a direction
    or a b-value of about 0, or phases of spin labelling, would get mixed by them. The diffusion order (2005,1596)
    counts the volumes as they were acquired in releases from 5.6 to 10; others number the b-value (2005,1412) and its
    directions (2005,1413). Source: the notes of the data sets dcm_qa_philips_dwi and dcm_qa_philips_asl; dcm2niix,
    issues 546 and 809.
    """
    label = np.array([0.0 if w and w[0].strip() == "LABEL" else -1.0 for w in images.strings(LABEL_TYPE)])
    order = images.numbers((MR6, 0x2005, 0x96))
    if not (order > 0).all() or (_release(images) >= 11).any():
        order = np.zeros(len(images))
    keys = ((MR5, 0x2005, 0x12), GRADIENT, (IMAGING, 0x2001, 0x08), "TemporalPositionIdentifier")
    numbers = [images.numbers(key) for key in keys]
    return [label, order, *(np.zeros(len(images)) if np.isnan(n).any() else n for n in numbers)]


def _release(images: Columns) -> NDArray[np.float64]:
    """First number of Software Versions, such as 5 of 5.7.1; 0 without one."""
    words = [w[0].partition(".")[0] if w else "" for w in images.strings("SoftwareVersions")]
    return np.array([float(w) if w.isdecimal() else 0.0 for w in words])

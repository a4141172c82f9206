"""Canon and Toshiba: the standard's diffusion elements; older classic images write them as a comment.

The comment (0020,4000) reads ``b=1500(0.445,0.000,0.895)``. Its vector is in axes of the image with its components
exchanged, which is not documented. Two converters found the same order of them in Canon's validation data, whose phase
is encoded along the columns (dcm2niix, issue 422 and pull request 1000). So the direction is taken for such images, and
said to be doubtful; of coronal ones, in which the two differ, and of other encodings only the b-value is known.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ...errors import GeometryError
from ...model.geometry import normal
from . import Columns, Diffusion

_COMMENT = re.compile(r"\s*b\s*=\s*(\d+(?:\.\d*)?)\s*\(([^()]*)\)")
DIRECTIONAL = 1.0
_CORONAL = 1
"""Axis of the patient that the normal of a coronal image is nearest to."""


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is Canon or Toshiba."""
    return manufacturer.startswith(("CANON", "TOSHIBA"))


def diffusion(images: Columns) -> Diffusion:
    """b-values that the standard's elements do not give: from comments, and 0 for the unweighted images of a series.

    Images without weighting lack Diffusion b-value (0018,9087) altogether, so 0 is given to the images of a series
    that say nothing while others of the same series and image type have more than 0.

    Returns
    -------
    Diffusion
        With the directions of comments; those of the standard, Diffusion Gradient Orientation (0018,9089), are in
        patient axes already. An image whose comment can't be put into patient axes is one of a direction that is not
        known.
    """
    out = Diffusion.empty(len(images))
    standard = images.numbers("DiffusionBValue")
    direction = images.numbers("DiffusionGradientOrientation", 3)
    for k, comment in enumerate(images.strings("ImageComments")):
        found = _COMMENT.match(comment[0]) if comment else None
        if found is None:
            continue
        if np.isnan(standard[k]):
            out.b_value[k] = float(found[1])
        b = standard[k] if np.isfinite(standard[k]) else out.b_value[k]
        if b > 0 and np.isnan(direction[k]).any() and _is_vector(found[2]):
            out.directionality[k] = DIRECTIONAL
            out.vector[k] = in_patient(images, k, found[2])
    _fill_zeros(out, standard, images)
    return out


def in_patient(images: Columns, k: int, words: str) -> NDArray[np.float64]:
    """Direction of a comment ``(y, x, z)`` in patient axes: ``x r + y c - z n`` with the image's r, c and normal n.

    Returns
    -------
    ndarray, shape (3,)
        NaN where it is not known: in Toshiba's images, in coronal ones, and unless phase is encoded along columns.
    """
    unknown = np.full(3, np.nan)
    maker = (images.strings("Manufacturer")[k] or ("",))[0].upper()
    encoded = (images.strings("InPlanePhaseEncodingDirection")[k] or ("",))[0].upper()
    try:
        y, x, z = (float(word) for word in words.split(","))
        orientation = images.numbers("ImageOrientationPatient", 6)[k]
        across = normal(orientation)
    except (ValueError, GeometryError):
        return unknown
    if not maker.startswith("CANON") or not encoded.startswith("COL") or np.abs(across).argmax() == _CORONAL:
        return unknown
    return np.asarray(x * orientation[:3] + y * orientation[3:] - z * across)


def _is_vector(words: str) -> bool:
    """Whether a comment gives a direction, and not only zeros."""
    return any(re.search("[1-9]", word) for word in words.split(","))


def _fill_zeros(out: Diffusion, standard: NDArray[np.float64], images: Columns) -> None:
    b = np.where(np.isnan(standard), out.b_value, standard)
    series = list(zip(images.strings("SeriesInstanceUID"), images.strings("ImageType"), strict=True))
    weighted = {one for one, value in zip(series, b.tolist(), strict=True) if value > 0}
    silent = np.isnan(b) & np.array([one in weighted for one in series], dtype=bool)
    out.b_value[silent] = 0


def component(images: Columns) -> list[str]:
    """Nothing beyond the standard's Image Type."""
    return [""] * len(images)


def clock(images: Columns) -> NDArray[np.float64]:
    """None."""
    return np.full(len(images), np.nan)

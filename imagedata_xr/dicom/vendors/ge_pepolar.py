"""GE's echo-planar sequence that reverses its phase encoding from volume to volume (epi_pepolar).

The rows of reversed volumes are stored in reversed order, while their headers place them like the others. It is told by
the name of the sequence (0019,109C) and by how the polarities follow each other (0019,10B3): 0 all forward, 1 all
reversed, 2 reversed and forward in turns, 3 forward and reversed in turns; the volume is Temporal Position Identifier.
Source: dcm2niix, issue 532, and the data set dcm_qa_polar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import warn
from . import Columns

NAME, SCHEME = ("GEMS_ACQU_01", 0x19, 0x9C), ("GEMS_ACQU_01", 0x19, 0xB3)
_REVERSED, _REVERSED_FIRST, _FORWARD_FIRST = 1, 2, 3


def places(images: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Position and orientation of the images that are stored with reversed rows.

    Parameters
    ----------
    images : Columns

    Returns
    -------
    position, orientation : ndarray, shape (n, 3) and (n, 6)
        As the rows really lie; NaN for images that lie where they say. None for none.

    Warns
    -----
    ImagedataWarning
        Of images whose places are corrected, and of those of which it can't be told.
    """
    scheme = images.numbers(SCHEME)
    turned = np.array(["epi_pepolar" in (w or ("",))[0].lower() for w in images.strings(NAME)], dtype=np.bool_)
    turned &= np.isin(scheme, (_REVERSED, _REVERSED_FIRST, _FORWARD_FIRST))
    if not turned.any():
        return None
    volume = images.numbers("TemporalPositionIdentifier")
    columns = [
        (w or ("",))[0].strip().upper().startswith("COL") for w in images.strings("InPlanePhaseEncodingDirection")
    ]
    known = ((scheme == _REVERSED) | (volume > 0)) & np.array(columns, dtype=np.bool_)
    if (turned & ~known).any():
        warn(
            f"{int((turned & ~known).sum())} images of GE's sequence epi_pepolar may be stored upside down, which "
            "neither TemporalPositionIdentifier nor phase encoding along columns tells: they lie where their headers "
            "say, which may be wrong"
        )
    odd = volume % 2 == 1
    turned &= known & ((scheme == _REVERSED) | np.where(scheme == _REVERSED_FIRST, odd, ~odd))
    if not turned.any():
        return None
    warn(
        f"{int(turned.sum())} images of GE's sequence epi_pepolar are stored with reversed rows, which their headers "
        "do not say: they are placed where they were measured. Both polarities are images of their own"
    )
    position, orientation = images.numbers("ImagePositionPatient", 3), images.numbers("ImageOrientationPatient", 6)
    down = orientation[:, 3:] * ((images.numbers("Rows") - 1) * images.numbers("PixelSpacing", 2)[:, 0])[:, None]
    there = turned[:, None]
    return (
        np.where(there, position + down, np.nan),
        np.where(there, np.concatenate([orientation[:, :3], -orientation[:, 3:]], axis=1), np.nan),
    )

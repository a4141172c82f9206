"""Along which direction of the patient phase was encoded, and how far a shift in frequency moves the image along it.

Both stand in attrs, in terms of the patient and not of rows and columns: so crops, flips and other orientations leave
them true.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIRECTION = "phase_encoding_direction"
"""Attr: unit vector, LPS; its sign is the polarity, in the sense of BIDS' PhaseEncodingDirection."""
BANDWIDTH = "phase_encoding_bandwidth"
"""Attr: the shift in frequency that moves the image by 1 mm along the direction, Hz/mm."""
OWN = (DIRECTION, BANDWIDTH)

AXIS = {"ROW": "i", "COL": "j", "COLUMN": "j"}
"""Axis of a NIfTI file by In-plane Phase Encoding Direction (0018,1312)."""


def direction_attr(vector: NDArray[np.float64]) -> list[float]:
    """Unit vector as it stands in attrs: more digits are noise of headers and files."""
    return [float(x) for x in np.round(vector / np.linalg.norm(vector), 6) + 0.0]


def bandwidth_attr(value: float) -> float:
    """Bandwidth as it stands in attrs: more digits than six are noise of the elements that it comes from."""
    return float(f"{value:.6g}")

"""How phase is encoded in a stack, as attrs in terms of the patient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError
from ...model.phase_encoding import AXIS, BANDWIDTH, DIRECTION, bandwidth_attr, direction_attr
from ..framing.csa import floats, image_csa, parse_csa
from ..framing.frames import Frames
from ..headers.whole_file import read_dataset
from ..scanning.coded import groups_of
from ..scanning.scan import Scan
from ..scanning.vr import CSA_HEADER
from ..vendors import Encoded, siemens

_SAME = 1e-4
"""Directions and, as a part of each, bandwidths that differ by less are equal."""


def phase_encoding_attrs(frames: Frames) -> dict[str, Any]:
    """Direction with its polarity, and bandwidth, where all frames have one.

    Parameters
    ----------
    frames : Frames
        With a place in the patient.
    """
    axis = {AXIS.get(w.strip()) for w in set(frames.text("InPlanePhaseEncodingDirection"))}
    if axis not in ({"i"}, {"j"}):
        return {}
    polarity, bandwidth = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    for rows, part, vendor in frames.by_vendor:
        if isinstance(vendor, Encoded):
            polarity[rows], bandwidth[rows] = vendor.phase_encoding(part)
            if vendor.claims("SIEMENS") and np.isnan(polarity[rows]).all() and siemens.echo_planar(part):
                polarity[rows] = _by_csa(part)
    row_wise = axis == {"i"}
    vector = polarity[:, None] * (frames.orientation[:, :3] if row_wise else frames.orientation[:, 3:])
    per_mm = bandwidth / frames.spacing[:, 1 if row_wise else 0]
    out: dict[str, Any] = {}
    if np.isfinite(vector).all() and np.ptp(vector, axis=0).max() < _SAME:
        out[DIRECTION] = direction_attr(vector[0])
    if np.isfinite(per_mm).all() and np.ptp(per_mm) < _SAME * per_mm[0]:
        out[BANDWIDTH] = bandwidth_attr(float(per_mm[0]))
    return out


def _by_csa(frames: Frames) -> NDArray[np.float64]:
    """Polarity by the CSA header of one file of each series.

    The scan keeps these headers, which are long, of mosaics alone: of others that of one file is read now.
    """
    out = np.full(len(frames), np.nan)
    series, which = groups_of(frames.words("SeriesInstanceUID"))
    for k in range(len(series)):
        rows = np.flatnonzero(which == k)
        said = floats(_csa(frames.scan, int(frames.file[rows[0]])), "PhaseEncodingDirectionPositive", 1)
        if said is not None:
            out[rows] = siemens.polarity_of(np.array(said))
    return out


def _csa(scan: Scan, k: int) -> dict[str, list[str]]:
    try:
        if scan.value(k, CSA_HEADER) is not None:
            return image_csa(scan, k)
        creator, group, element = CSA_HEADER
        block = read_dataset(scan.files[k], pixels=False).private_block(group, creator)
        return parse_csa(bytes(block[element].value)) if element in block else {}
    except (KeyError, SourceError):
        return {}  # no such header, or a damaged one: nothing is said

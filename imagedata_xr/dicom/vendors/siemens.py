"""Siemens: b-values and directions in group 0019 (from VB13) or in the CSA header; traces by their sequence name.

What was lost, mostly by anonymization, is taken from what is left: the direction from the b-matrix, whose principal
axis it is, and the b-value from the name of the sequence, such as ``*ep_b1000#3``. Both were measured to agree with
the elements themselves.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ...model.orders import DIRECTIONALITY
from . import Columns, Diffusion, PhaseEncoding

HEADER = "SIEMENS MR HEADER"
TIME_AFTER_START = ("SIEMENS MR SDI 02", 0x21, 0x04)
"""Of a frame of an enhanced instance (XA), s since the start of the series."""
POSITIVE = ("SIEMENS MR SDI 02", 0x21, 0x1C)
"""Of a frame: 1 where phase is encoded along rising indices, else 0."""
_NONE, _DIRECTIONAL, _ISOTROPIC = (float(DIRECTIONALITY.index(w)) for w in ("NONE", "DIRECTIONAL", "ISOTROPIC"))
_NAME = re.compile(r"\*?(?:ep|re)_b(\d+)(?:#\d+)?(t?)")
"""Name of a diffusion sequence (EPI, RESOLVE): b-value, number of the direction or ``t`` for a trace image."""
_MAPS = frozenset(("ADC", "EADC", "FA", "COLFA", "TENSOR", "TENSOR_B0"))
"""Values of Image Type of maps, which are of no b-value of their own."""
_AGREE = 5e-3
"""s: times of volumes that differ by less agree; they are multiples of 2.5 ms."""
_LINEAR = 0.9
"""The principal axis of a b-matrix with at least this share of its trace is a direction."""


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is Siemens."""
    return "SIEMENS" in manufacturer


def diffusion(images: Columns) -> Diffusion:
    """b-value (0019,100C) and direction (0019,100E), which is in patient axes already.

    Where they are missing, the b-value is that of Sequence Name or else the trace of the b-matrix (0019,1027), and the
    direction the principal axis of the b-matrix. A weighted image without any of these is one of a direction that is
    not known, unless it is named as a trace image.
    """
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
            out.directionality[k] = _ISOTROPIC
    maps = np.array([bool(_MAPS.intersection(t or ())) for t in images.strings("ImageType")], dtype=bool)
    unsaid = np.isnan(out.b_value) & np.isnan(images.numbers("DiffusionBValue")) & ~maps
    named = _take_names(out, names, unsaid)
    _take_matrices(out, images.numbers((HEADER, 0x19, 0x27), width=6), unsaid, ~maps)
    out.directionality[named & np.isnan(out.directionality) & (out.b_value > 0)] = _DIRECTIONAL
    return out


def _take_names(out: Diffusion, names: list[tuple[str, ...] | None], unsaid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take b-values from sequence names; tell which images got theirs."""
    found = [_NAME.fullmatch(name[0].strip()) if name else None for name in names]
    took = np.asarray(unsaid & np.array([f is not None for f in found], dtype=bool))
    for k in np.flatnonzero(took).tolist():
        match = found[k]
        assert match is not None
        out.b_value[k] = float(match[1])
    return took


def _take_matrices(
    out: Diffusion, matrices: NDArray[np.float64], unsaid: NDArray[np.bool_], weighted: NDArray[np.bool_]
) -> None:
    """Take what is missing from b-matrices, shape (n, 6): xx, xy, xz, yy, yz, zz in patient axes, s/mm2."""
    known = np.isfinite(matrices).all(axis=1) & weighted
    trace = matrices[:, [0, 3, 5]].sum(axis=1)
    silent = known & unsaid & np.isnan(out.b_value)
    out.b_value[silent] = np.maximum(trace[silent], 0.0)
    gap = known & np.isnan(out.vector).any(axis=1) & (out.b_value > 0) & (trace > 0)
    gap &= ~np.isin(out.directionality, (_NONE, _ISOTROPIC))
    for k in np.flatnonzero(gap).tolist():
        out.vector[k] = principal_axis(matrices[k])


def principal_axis(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction of a b-matrix of linear encoding.

    Parameters
    ----------
    matrix : ndarray, shape (6,)
        xx, xy, xz, yy, yz, zz; s/mm2.

    Returns
    -------
    ndarray, shape (3,)
        Unit vector, whose sign means nothing; NaN where the matrix is not that of one direction.
    """
    share, axes = np.linalg.eigh(matrix[[[0, 1, 2], [1, 3, 4], [2, 4, 5]]])
    linear = share[-1] > 0 and share[-1] >= _LINEAR * share.sum()
    return np.asarray(axes[:, -1] if linear else np.full(3, np.nan))


def phase_encoding(images: Columns) -> PhaseEncoding:
    """Polarity (0021,xx1C) and bandwidth (0021,xx53) of frames from XA on; of older images the bandwidth (0019,xx28).

    The polarity of the latter stands in the CSA header. That a positive one runs along rising indices was measured:
    A to P in axial planes, whose rows run to the back, is positive (dcm2niix, issue 125; MRtrix says the same).
    """
    positive = images.numbers(POSITIVE)
    bandwidth = images.numbers((HEADER, 0x19, 0x28))
    bandwidth = np.where(np.isnan(bandwidth), images.numbers(("SIEMENS MR SDI 02", 0x21, 0x53)), bandwidth)
    return PhaseEncoding(polarity_of(positive), np.where(bandwidth > 0, bandwidth, np.nan))


def polarity_of(positive: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sign of PhaseEncodingDirectionPositive: 1 for 1, -1 for 0; NaN for anything else."""
    return np.where(positive == 1, 1.0, np.where(positive == 0, -1.0, np.nan))


def component(images: Columns) -> list[str]:
    """Nothing beyond the standard's Image Type."""
    return [""] * len(images)


def clock(images: Columns) -> NDArray[np.float64]:
    """Time after the start of the series (0021,xx04), s, which anonymization leaves where it scrambles dates and times.

    In echo-planar series of several slices at once (multiband) it is wrong in many releases of XA (dcm2niix, issues
    303, 429, 704, 875): the first volume has the times of a measurement slice by slice, and begins too early. Where
    all other volumes agree with each other and with Repetition Time, the first one follows from them; else, and where
    volumes would overlap, it is no clock, and NaN throughout.
    """
    t = images.numbers(TIME_AFTER_START)
    if np.isnan(t).any() or not echo_planar(images):
        return t
    _, place = np.unique(np.round(images.numbers("ImagePositionPatient", 3), 2), axis=0, return_inverse=True)
    order = np.lexsort((t, place.ravel()))
    counts = np.bincount(place.ravel())
    if counts.min() != counts.max() or counts[0] < 2:
        return t
    table = t[order].reshape(len(counts), -1).T  # volumes, places
    mended = mend_first(table, float(images.numbers("RepetitionTime").min()) * 1e-3)
    out = np.full(len(t), np.nan)
    if mended is not None:
        out[order] = mended.T.ravel()
    return out


def echo_planar(images: Columns) -> bool:
    """Whether all images are of echo-planar sequences."""
    classic, enhanced = images.strings("ScanningSequence"), images.strings("EchoPlanarPulseSequence")
    return all("EP" in (c or ()) or "YES" in (e or ()) for c, e in zip(classic, enhanced, strict=True))


def mend_first(table: NDArray[np.float64], interval: float) -> NDArray[np.float64] | None:
    """Times of the slices of a time course, where those of the first volume may be wrong.

    Parameters
    ----------
    table : ndarray, shape (volumes, slices)
        s; two volumes at least.
    interval : float
        Repetition Time, s.

    Returns
    -------
    ndarray or None
        The table, its first volume mended where the others tell how; None where they contradict each other.
    """
    start = table.min(axis=1)
    delay = table - start[:, None]
    usual = np.median(delay[1:], axis=0)
    if np.abs(delay[0] - usual).max() > _AGREE:
        step = np.diff(start[1:])
        steady = len(step) > 0 and bool((np.abs(step - interval) <= _AGREE).all())
        if not steady or np.abs(delay[1:] - usual).max() > _AGREE:
            return None
        table = np.concatenate([start[1] - interval + usual[None], table[1:]])
    return table if bool((table[:-1].max(axis=1) < table[1:].min(axis=1)).all()) else None

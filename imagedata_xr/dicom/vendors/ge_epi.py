"""GE's echo-planar sequences: how far a shift in frequency moves the image."""

from __future__ import annotations

import numpy as np

from . import Columns, PhaseEncoding

PARM = "GEMS_PARM_01"
ECHO_SPACING, ACCELERATION = (PARM, 0x43, 0x2C), (PARM, 0x43, 0x83)
"""Time from echo to echo, us, of all shots together; parts of the lines that are acquired along phase and slice."""


def phase_encoding(images: Columns) -> PhaseEncoding:
    """Bandwidth along phase encoding; the polarity is not told.

    Of the lines of the acquisition matrix one in r is acquired: the number of echoes is ``lines / r``, rounded up to a
    multiple of 2, or of 4 with partial Fourier, and the readout lasts one echo spacing less than that number. GE's
    staff told so (dcm2niix, issue 163). That time, divided by ``lines - 1``, is the effective echo spacing: the image
    moves by that part of its field of view per Hz, with however many pixels it was reconstructed.

    The polarity hangs on two settings, of which the header tells one, and that in new releases only: Rectilinear Phase
    Encode Reordering (0018,9034).
    """
    spacing = images.numbers(ECHO_SPACING) * 1e-6
    part = images.numbers(ACCELERATION, 2)[:, 0]
    lines = np.nan_to_num(images.numbers("AcquisitionMatrix", 4)[:, 2:]).max(axis=1, initial=0.0)
    planar = np.array(["EP" in (w or ()) for w in images.strings("ScanningSequence")], dtype=np.bool_)
    multiple = np.array([4.0 if "PFF" in (w or ()) else 2.0 for w in images.strings("ScanOptions")])
    encoded = images.strings("InPlanePhaseEncodingDirection")
    rows = np.array([(w or ("",))[0].upper().startswith("ROW") for w in encoded], dtype=np.bool_)
    n = np.where(rows, images.numbers("Columns"), images.numbers("Rows"))
    known = planar & (spacing > 0) & (part > 0) & (part <= 1) & (lines > 1) & (n > 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        time = (np.ceil(lines * part / multiple - 1e-6) * multiple - 1) * spacing
        bandwidth = (lines - 1) / (time * n)
    return PhaseEncoding(np.full(len(images), np.nan), np.where(known, bandwidth, np.nan))

"""GE: b-value in (0043,1039), direction in the frame of frequency and phase encoding, kind of image in (0043,102F)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...model.geometry import normal
from . import Columns, Diffusion

PARM, ACQU, RELA = "GEMS_PARM_01", "GEMS_ACQU_01", "GEMS_RELA_01"
_KINDS = {0: "M", 1: "P", 2: "R", 3: "I"}


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is GE."""
    return manufacturer.startswith("GE ") or manufacturer == "GE"


def diffusion(images: Columns) -> Diffusion:
    """b-value, the first of (0043,1039) modulo 1e9, and direction (0019,10BB..10BD).

    The direction has its components along frequency encoding, phase encoding and slice. In terms of the row and
    column directions r, c of the image and its normal n it is ``-x r - y c + z n`` where the phase is encoded along
    the columns, ``-y r + x c + z n`` where it is encoded along the rows (what dcm2niix does for head first supine).
    """
    n = len(images)
    out = Diffusion.empty(n)
    b = images.numbers((PARM, 0x43, 0x39), width=4)[:, 0]
    xyz = np.stack([images.numbers((ACQU, 0x19, e)) for e in (0xBB, 0xBC, 0xBD)], axis=1)
    # every GE series has the elements; only a diffusion series has something in them
    out.b_value = np.where(np.isnan(b), np.nan, np.mod(b, 1e9))
    iop = images.numbers("ImageOrientationPatient", width=6)
    known = ~np.isnan(iop).any(axis=1) & ~np.isnan(xyz).any(axis=1)
    if not known.any() or not (out.b_value > 0).any():
        out.b_value[:] = np.nan
        return out
    encoded = images.strings("InPlanePhaseEncodingDirection")
    rows = np.array([(p or ("",))[0].upper().startswith("ROW") for p in encoded], dtype=np.bool_)
    x, y, z = xyz.T
    along_r = np.where(rows, -y, -x)
    along_c = np.where(rows, x, -y)
    r, c, nrm = iop[known, :3], iop[known, 3:], normal(iop[known])
    out.vector[known] = along_r[known, None] * r + along_c[known, None] * c + z[known, None] * nrm
    return out


def component(images: Columns) -> list[str]:
    """Kind of image by (0043,102F); a B0 map in Hz mixed with a magnitude is told by (0043,1030)."""
    kind = images.numbers((PARM, 0x43, 0x2F))
    words = [_KINDS.get(int(k), "") if k == k else "" for k in kind]
    flag = images.numbers((PARM, 0x43, 0x30))
    if not _is_field_map(images, flag):
        return words
    return [f"{word} collapse {f:g}".lstrip() for word, f in zip(words, flag, strict=True)]


def _is_field_map(images: Columns, flag: NDArray[np.float64]) -> bool:
    """Whether the Vas collapse flag (0043,1030) tells two kinds of image of the same places apart."""
    values = np.unique(flag)
    if len(values) < 2 or np.isnan(values).any() or (diffusion(images).b_value > 0).any():
        return False
    position = images.strings("ImagePositionPatient")
    places = [{position[k] for k in np.flatnonzero(flag == v)} for v in values]
    return all(p == places[0] for p in places)


def clock(images: Columns) -> NDArray[np.float64]:
    """RTIA timer (0021,105E), in 0.1 ms, where it runs."""
    t = images.numbers((RELA, 0x21, 0x5E))
    return np.where(t > 0, t * 1e-4, np.where(np.isnan(t) | ~(t > 0).any(), np.nan, 0.0))

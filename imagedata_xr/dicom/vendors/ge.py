"""GE: b-value in (0043,1039), direction in the frame of frequency and phase encoding, kind of image in (0043,102F).

What is not in GE's conformance statements was told by GE's staff in the issues of dcm2niix that are named.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import warn
from ...model.geometry import normal
from ...model.orders import DIRECTIONALITY
from . import Columns, Diffusion
from .ge_epi import phase_encoding
from .ge_pepolar import places
from .ge_protocol import interval, slice_times

__all__ = ["claims", "clock", "component", "diffusion", "interval", "phase_encoding", "places", "slice_times"]

PARM, ACQU, RELA = "GEMS_PARM_01", "GEMS_ACQU_01", "GEMS_RELA_01"
_RUN = (ACQU, 0x19, 0xA2)
"""Number of the raw data; one for each echo in sequences of several."""
_DIFFUSION_FLAGS = {14.0, 16.0}
"""Values of (0043,1030) of images of a diffusion series: unweighted, weighted."""
_KINDS = {0: "M", 1: "P", 2: "R", 3: "I"}


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is GE."""
    return manufacturer.startswith("GE ") or manufacturer == "GE"


def diffusion(images: Columns) -> Diffusion:
    """b-value, the first of (0043,1039) modulo 1e9, and direction (0019,10BB..10BD).

    The direction has its components along frequency encoding, phase encoding and slice. In terms of the row and
    column directions r, c of the image and its normal n it is ``-x r - y c + z n`` where the phase is encoded along
    the columns, ``-y r + x c + z n`` where it is encoded along the rows; in coronal planes with the other sign of y.
    GE checked that for all planes (issue 970) and patients that lie feet first (issue 737).

    In a table of several shells the b-value is that of the largest and the directions are shortened: the image's own is
    b times their squared length, which is rounded to a multiple of 5 (issues 163, 245). Where anonymization took the
    directions of a tensor, only the standard's b-value is the image's own.
    """
    n = len(images)
    out = Diffusion.empty(n)
    b = images.numbers((PARM, 0x43, 0x39), width=4)[:, 0]
    xyz = np.stack([images.numbers((ACQU, 0x19, e)) for e in (0xBB, 0xBC, 0xBD)], axis=1)
    # every GE series has the elements; only a diffusion series has something in them
    b = np.where(np.isnan(b), np.nan, np.mod(b, 1e9))
    iop = images.numbers("ImageOrientationPatient", width=6)
    known = ~np.isnan(iop).any(axis=1) & ~np.isnan(xyz).any(axis=1)
    planar = any("EP" in (s or ()) for s in images.strings("ScanningSequence"))
    if not (known.any() or planar) or not (b > 0).any():
        return out
    length = np.linalg.norm(xyz, axis=1)
    out.b_value = _own_b_value(images, b, length)
    lost = np.isnan(out.b_value) & (b > 0) & ~(images.numbers("DiffusionBValue") == 0)
    out.directionality[lost] = DIRECTIONALITY.index("DIRECTIONAL")
    if not known.any():
        return out
    r, c, nrm = iop[known, :3], iop[known, 3:], normal(iop[known])
    rows, unknown = _encoded_along_rows(images)
    x, y, z = xyz.T
    coronal = np.zeros(n, dtype=np.bool_)
    coronal[known] = np.abs(nrm).argmax(axis=1) == 1
    y = np.where(coronal, -y, y)
    along_r = np.where(rows, -y, -x)
    along_c = np.where(rows, x, -y)
    out.vector[known] = along_r[known, None] * r + along_c[known, None] * c + z[known, None] * nrm
    lost = unknown & (out.b_value > 0) & (length > 0)
    out.vector[lost], out.directionality[lost] = np.nan, DIRECTIONALITY.index("DIRECTIONAL")
    return out


def _encoded_along_rows(images: Columns) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images have their phase encoded along rows, and of which it is not known.

    An image that does not say it is encoded as the others of its series, where these agree.
    """
    said = [(p or ("",))[0].upper()[:3] for p in images.strings("InPlanePhaseEncodingDirection")]
    words = {word for word in said if word in ("ROW", "COL")}
    if len(words) == 1:
        said = [word if word in words else next(iter(words)) for word in said]
    rows = np.array([word == "ROW" for word in said], dtype=np.bool_)
    return rows, np.array([word not in words for word in said], dtype=np.bool_)


def _own_b_value(images: Columns, b: NDArray[np.float64], length: NDArray[np.float64]) -> NDArray[np.float64]:
    """b-values of single images, from the series' one and the length of their directions.

    Without direction a weighted image is a trace. But it is one without weighting if it is a "T2" (flag 14 of
    (0043,1030)) or if the series is a tensor (16, or (0021,105A) = 16, or directions are counted in (0019,10E0)): up to
    release 29 the unweighted images within a table have the b-value of the others (issues 245, 690, 777). NaN where
    the directions that tell are lost.
    """
    shell = (length > 0.03) & (length < 0.97)
    scaled = np.maximum(5.0, np.floor(b * length**2 / 5 + 0.5) * 5)
    own = np.where(shell & (b > 0), scaled, b)
    flag, kind = images.numbers((PARM, 0x43, 0x30)), images.numbers((RELA, 0x21, 0x5A))
    count = images.numbers((ACQU, 0x19, 0xE0))
    other = ((flag > 0) & (flag != 14) & (flag != 16)) | ((kind > 0) & (kind != 16))
    tensor = (flag == 14) | (((flag == 16) | (kind == 16) | (count > 0)) & ~other)
    # of a tensor image whose direction was lost it is not known: the series' b-value may not be its own
    own = np.where(tensor & np.isnan(length), np.where(flag == 14, 0.0, np.nan), own)
    return np.asarray(np.where(tensor & (length <= 0.03), 0.0, own))


def component(images: Columns) -> list[str]:
    """Kind of image by (0043,102F).

    A B0 map in Hz mixed with a magnitude is told by (0043,1030), and echoes without their echo time by the number of
    their raw data.
    """
    kind = images.numbers((PARM, 0x43, 0x2F))
    words = [_KINDS.get(int(k), "") if k == k else "" for k in kind]
    for name, numbers in (("collapse", images.numbers((PARM, 0x43, 0x30))), ("run", images.numbers(_RUN))):
        if _is_field_map(images, numbers) if name == "collapse" else _are_echoes(images, numbers):
            words = [f"{word} {name} {n:g}".lstrip() for word, n in zip(words, numbers, strict=True)]
    return words


def _are_echoes(images: Columns, run: NDArray[np.float64]) -> bool:
    """Whether images are of several echoes that only the number of their raw data (0019,10A2) tells apart.

    Research sequences of several echoes (their count is in (0019,10A9)) give all of them the shortest echo time, echo
    number 1 and equal instance numbers (dcm2niix, issues 209 and 359).
    """
    count = images.numbers((ACQU, 0x19, 0xA9))
    values = np.unique(run)
    if not (count > 1).all() or len(values) < 2 or np.isnan(values).any():
        return False
    if any(np.ptp(np.nan_to_num(images.numbers(name))) > 0 for name in ("EchoTime", "EchoNumbers")):
        return False
    if len(values) != count.max() or not _same_places(images, run):
        return False
    warn(
        f"GE wrote {len(values)} echoes with one echo time: each is an image of its own, by the number of its raw data "
        "(0019,xxA2), and the EchoTime of all is the shortest. The protocol tells the others"
    )
    return True


def _is_field_map(images: Columns, flag: NDArray[np.float64]) -> bool:
    """Whether the Vas collapse flag (0043,1030) tells two kinds of image of the same places apart."""
    values = np.unique(flag)
    if (
        len(values) < 2
        or np.isnan(values).any()
        or set(values) <= _DIFFUSION_FLAGS
        or (diffusion(images).b_value > 0).any()
    ):
        return False
    return _same_places(images, flag)


def _same_places(images: Columns, kind: NDArray[np.float64]) -> bool:
    """Whether the images of each kind lie at the same places."""
    position = images.strings("ImagePositionPatient")
    places = [{position[k] for k in np.flatnonzero(kind == v)} for v in np.unique(kind)]
    return all(p == places[0] for p in places)


def clock(images: Columns) -> NDArray[np.float64]:
    """RTIA timer (0021,105E), where it runs; NaN throughout where its volumes contradict each other.

    Its unit is 0.1 ms in old releases (14) and 1 s in newer ones (24), as Repetition Time tells (issue 286).
    The timer of some first volumes does not fit that of the others (dcm_qa_stc): then it is no clock.
    """
    t = images.numbers((RELA, 0x21, 0x5E))
    out = np.where(t > 0, t, np.where(np.isnan(t) | ~(t > 0).any(), np.nan, 0.0))
    if np.isnan(out).any():
        return out * 1e-4
    place = ["\\".join(p or ()) for p in images.strings("ImagePositionPatient")]
    table = _by_volume(out, place)
    step = float(np.median(np.diff(table, axis=0))) if len(table) > 1 else float(np.ptp(out))
    tr = float(images.numbers("RepetitionTime").min())
    if not tr > 0:
        return np.full(len(out), np.nan)
    unit = 1.0 if step < 0.1 * tr else 1e-4
    delay = table - table.min(axis=1, keepdims=True)
    odd = np.abs(delay - np.median(delay, axis=0)).max(initial=0.0) * unit > 0.1e-3 * tr
    return np.full(len(out), np.nan) if odd else out * unit


def _by_volume(values: NDArray[np.float64], place: list[str]) -> NDArray[np.float64]:
    """Values by volume (the k-th least at each place) and place; a single volume where places have unequal counts."""
    rows: dict[str, list[float]] = {}
    for one, value in zip(place, values.tolist(), strict=True):
        rows.setdefault(one, []).append(value)
    if len({len(r) for r in rows.values()}) != 1:
        return values[None]
    return np.array([sorted(r) for r in rows.values()]).T

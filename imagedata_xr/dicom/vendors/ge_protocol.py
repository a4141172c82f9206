"""GE's protocol data block (0025,101B), and the slice times of echo-planar sequences that follow from it.

The block is text compressed by gzip, lines of ``NAME "value"``. GE writes no slice times; what orders the slices was
told by GE's staff in dcm2niix (``sliceTimeGE``, issues 163, 336, 635) and is checked by the data sets dcm_qa_ge,
dcm_qa_stc and dcm_qa_nih.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import Columns

ACQU, SERS, PARM = "GEMS_ACQU_01", "GEMS_SERS_01", "GEMS_PARM_01"
BLOCK = (SERS, 0x25, 0x1B)
MOST = 4 * 2**20
"""Bytes of an uncompressed block, far more than any scanner writes."""
GROUP_DELAY = (PARM, 0x43, 0x7C)
_LINE = re.compile(r'^(?:set\s+)?(\w+)\s+"([^"]*)"', re.MULTILINE)


@lru_cache(maxsize=64)
def parse(block: bytes) -> dict[str, str]:
    """Read a protocol data block: values by name, the first where one is repeated; empty where it can't be read."""
    start = block.find(b"\x1f\x8b\x08", 0, 64)
    if start < 0:
        return {}
    try:
        text = zlib.decompressobj(wbits=31).decompress(block[start:], MOST)
    except zlib.error:
        return {}
    out: dict[str, str] = {}
    for name, value in _LINE.findall(text.decode("latin-1")):
        out.setdefault(name, value)
    return out


def interval(images: Columns) -> NDArray[np.float64]:
    """Repetition Time and the delay that follows each volume, ms: Repetition Time leaves it out.

    The delay is (0043,107C), in s, of the sequence epiRT, else that of the protocol of a multi-phase one. NaN where the
    delays of a multi-phase one vary.
    """
    delay = np.nan_to_num(images.numbers(GROUP_DELAY)) * 1e3
    known = {k: _multi_phase_delay(parse(images.data(k, BLOCK))) for k in np.flatnonzero(delay == 0)[:1].tolist()}
    for k, value in known.items():
        if _sequence(images, k) != "epiRT":
            delay[delay == 0] = value
    return np.asarray(images.numbers("RepetitionTime") + delay)


def _multi_phase_delay(protocol: dict[str, str]) -> float:
    """Delay after each volume of a multi-phase sequence, ms; NaN where it varies, 0 in other sequences."""
    options = _words(protocol.get("IOPT", ""))
    if "MPhVar" in options:
        return float("nan")
    if "MPh" not in options or protocol.get("DELACQ") == "Minimum":
        return 0.0
    return 1e3 * _number(protocol.get("DELACQNOAV", ""), 0.0)


# --- slice times ----------------------------------------------------------------------------------------------------


def slice_times(volume: Columns) -> NDArray[np.float64] | None:
    """Start of each slice of a 2-D echo-planar volume by its protocol.

    Parameters
    ----------
    volume
        The images of one volume, in the order of its slices.

    Returns
    -------
    ndarray, shape (n,), or None
        s since the first slice; None where the protocol is absent, is of another number of slices, or of a sequence
        whose order is not known.
    """
    n = len(volume)
    number = volume.numbers("InstanceNumber")
    up, down = bool((np.diff(number) > 0).all()), bool((np.diff(number) < 0).all())
    flat = all((t or ("",))[0] == "2D" for t in volume.strings("MRAcquisitionType"))
    if n < 2 or not flat or not (up or down):
        return None
    protocol = parse(volume.data(0, BLOCK))
    order = _order(volume, protocol)
    tr = float(volume.numbers("RepetitionTime")[0]) * 1e-3
    if order is None or not tr > 0 or _number(protocol.get("NOSLC", ""), 0) != n:
        return None
    times = excitations(n, order) * (tr / order.shots(n))
    return times if up else times[::-1].copy()


@dataclass(frozen=True)
class Order:
    """How the slices of a volume are excited: one after the other or interleaved, some at once, and by which rule."""

    interleaved: bool
    bands: int
    newer: bool
    """From release 27 R03 on, where an even number of shots of several bands is allowed."""

    def shots(self, n: int) -> int:
        """Return the number of excitations for n slices."""
        shots = -(-n // self.bands)
        # https://osf.io/q4d53/wiki/home: up to 27 R02 the number of shots of several bands is odd
        return shots + 1 if self.bands > 1 and not self.newer and shots % 2 == 0 else shots


def excitations(n: int, order: Order) -> NDArray[np.float64]:
    """Number of the excitation of each of n slices, from 0, in the order of their instance numbers."""
    shots = order.shots(n)
    out = np.arange(shots, dtype=np.float64)
    if order.interleaved:
        out = np.empty(shots)
        out[0::2] = np.arange(len(out[0::2]))
        out[1::2] = np.arange(len(out[0::2]), shots)
        if order.bands > 1 and order.newer and shots > 2 and shots % 2 == 0:
            out[[-1, -3]] = out[[-3, -1]]
    return out[np.arange(n) % shots]


def _order(volume: Columns, protocol: dict[str, str]) -> Order | None:
    """Order of excitation; None where it is not known."""
    release = _release(volume)
    if not protocol or release is None:
        return None
    major, revision = release
    bands = [_number((w or ("",))[0], 1) for w in volume.strings((PARM, 0x43, 0xB6))[:1]]
    mb = int(max(1, *bands, _number(protocol.get("MBACCEL", ""), 1)))
    if mb > 1 and major < 26:
        return None
    newer = major >= 27.1 or (int(major) == 27 and revision >= 3)
    sequence, options = _sequence(volume, 0), _words(protocol.get("IOPT", ""))
    if sequence == "pepolar":
        return Order(True, mb, newer)
    if sequence == "epiRT" or "FMRI" in options:
        return Order(_number(protocol.get("SLICEORDER", ""), -1) != 0, mb, newer)
    if sequence == "epi" or {"MPh", "MPhVar"} & options:
        return None if "MPhVar" in options else Order(True, mb, newer)
    if (sequence == "epi2" or "DIFF" in options) and not _cycles(volume):
        return Order(True, mb, newer=False)
    return None


def _sequence(images: Columns, k: int) -> str:
    """Name the echo-planar sequence: pepolar, epiRT, epi (multi-phase), epi2 (spin echo); empty for another."""
    name, internal = ((images.strings((ACQU, 0x19, e))[k] or ("",))[0] for e in (0x9C, 0x9E))
    found = next((word for mark, word in _NAMES.items() if mark in name), "")
    if found == "pepolar":
        return found
    if np.isfinite(images.numbers(GROUP_DELAY)[k]) or (internal == "EPI" and found == "epiRT"):
        return "epiRT"
    if internal == "EPI":
        return "epi"
    return found or ("epi2" if internal == "EPI2" else "")


_NAMES = {"epi_pepolar": "pepolar", "epi2": "epi2", "epiRT": "epiRT", "epi": "epi"}


def _cycles(images: Columns) -> bool:
    """Whether gradients change their roles from shot to shot, which reorders the slices (issues 635, 796)."""
    model = (images.strings("ManufacturerModelName")[0] or ("",))[0]
    premier, others = "Premier" in model, "UHP" in model or "7.0T" in model
    derating = images.numbers((ACQU, 0x19, 0xB6))[0]
    off = (premier and abs(derating - 0.72) < 1e-3) or (others and 0.5 <= derating <= 1.0)
    return (premier or others) and not off


def _release(images: Columns) -> tuple[float, int] | None:
    r"""Release and revision by Software Versions: 26.0 and 1 of ``27\LX\MR Software release:DV26.0_R01_1725.a``.

    None where they can't be told. Early access (EA) counts as revision 0.
    """
    words = "\\".join(images.strings("SoftwareVersions")[0] or ())
    found = re.search(r"(?:SIGNA_LX1.|MR Software release.|\\)([A-Z]{2})?(\d+)\.(\d+)_(?:R|M|EA)(\d*)", words)
    if found is None:
        return None
    return int(found[2]) + 0.1 * int(found[3]), int(found[4] or 0)


def _words(text: str) -> set[str]:
    return set(re.split(r"[,\s]+", text))


def _number(text: str, default: float) -> float:
    try:
        return float(text)
    except ValueError:
        return default

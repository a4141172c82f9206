"""Private elements that identify nobody and that images need: kept on request; diffusion goes to public elements.

The list holds the elements of PS3.15 Table E.3.10-1 that this library reads, and others of the same blocks, whose
values are numbers or one of a few words. The CSA image header of Siemens and the protocol of GE are written anew with
those of their entries only; the CSA series header and everything else that is private are left out.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset

from ...errors import SourceError
from ...model.orders import DIRECTIONALITY
from ..framing.csa import parse_csa
from ..framing.slice_times import times_of_protocol
from ..headers.whole_file import trouble
from ..scanning.vr import CSA_HEADER, CSA_SERIES, private_vr
from ..vendors.ge_protocol import BLOCK, parse
from ..writing.fields import numbers, put
from ..writing.source_labels import diffusion_of
from .texts import Texts

# fmt: off
SAFE: dict[tuple[str, int], tuple[int, ...]] = {
    ("SIEMENS MR HEADER", 0x0019): (0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x27, 0x28, 0x29),
    ("SIEMENS MR SDI 02", 0x0021): (0x03, 0x04, 0x06, 0x1C, 0x53, 0x75, 0x88, 0x8A, 0xFE),
    ("GEMS_ACQU_01", 0x0019): (0x23, 0x24, 0x27, 0x9C, 0x9E, 0xA2, 0xA9, 0xB3, 0xB6, 0xBB, 0xBC, 0xBD, 0xE0),
    ("GEMS_RELA_01", 0x0021): (0x4F, 0x5A, 0x5E),
    ("GEMS_SERS_01", 0x0025): (0x07,),
    ("GEMS_PARM_01", 0x0043): (0x27, 0x2C, 0x2F, 0x30, 0x39, 0x6F, 0x7C, 0x83, 0xB6),
    ("GEMS_HELIOS_01", 0x0045): (0x01, 0x02),
    ("Philips Imaging DD 001", 0x2001): (
        0x01, 0x02, 0x03, 0x04, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0E, 0x10, 0x11, 0x12, 0x19, 0x1A, 0x1B,
        0x1C, 0x1D, 0x1E, 0x1F, 0x21, 0x22, 0x23, 0x24, 0x26, 0x2D, 0x32, 0x33, 0x35, 0x36, 0x6E, 0x7B, 0x81, 0x82,
        0x83, 0x84, 0x85, 0x86, 0x88, 0x89, 0x8A, 0x9F, 0xF1, 0xF2,
    ),
    ("Philips MR Imaging DD 001", 0x2005): (0x0D, 0x0E, 0x11, 0x6E, 0xB0, 0xB1, 0xB2),
    ("Philips MR Imaging DD 005", 0x2005): (0x0E, 0x0F, 0x12, 0x13, 0x29),
    ("Philips MR Imaging DD 006", 0x2005): (0x96,),
    ("Philips PET Private Group", 0x7053): (0x00, 0x09),
    ("ELSCINT1", 0x00E1): (0x21, 0x50),
    ("ELSCINT1", 0x01E1): (0x26,),
    ("ELSCINT1", 0x01F1): (0x01, 0x07, 0x26, 0x27),
    ("Image Private Header", 0x0065): (0x09, 0x37, 0x50, 0x51),
}
"""Private elements that are kept, by creator and group."""
# fmt: on

_SEQUENCES = frozenset(
    {
        ("SIEMENS MR SDI 02", 0x0021, 0xFE),
        ("Philips MR Imaging DD 005", 0x2005, 0x0E),
        ("Philips MR Imaging DD 005", 0x2005, 0x0F),
        ("Image Private Header", 0x0065, 0x51),
    }
)
"""Sequences among them, whose items are cleaned as headers are: what is said of a frame, and of a tile of a grid."""

CSA_TAGS = frozenset(
    """
    B_matrix B_value BandwidthPerPixelPhaseEncode DiffusionDirectionality DiffusionGradientDirection
    MosaicRefAcqTimes NumberOfImagesInMosaic PhaseEncodingDirectionPositive ProtocolSliceNumber SliceNormalVector
    SpacingBetweenSlices TimeAfterStart
    """.split()  # noqa: SIM905
)
"""Tags of the CSA image header that are kept: numbers, and the word for the kind of diffusion weighting."""

_PROTOCOL = ("IOPT", "DELACQ", "DELACQNOAV", "NOSLC", "MBACCEL", "SLICEORDER")
_OPTION = re.compile(r"-?[\d.]*|Minimum|[A-Za-z0-9]{1,8}(, ?[A-Za-z0-9]{1,8})*,?", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_WORD = re.compile(r"[A-Za-z0-9_*#+.-]{1,32}")
_NUMERIC = ("DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "UV", "SV")
_WORDS = ("CS", "LO", "SH")


@dataclass(frozen=True)
class Private:
    """A private element to be put into a block of its creator."""

    creator: str
    group: int
    element: int
    vr: str
    value: Any


def kept_private(ds: Dataset, texts: Texts, cleaned: Callable[[Dataset], Dataset]) -> list[Private]:
    """Safe private elements of a header: numbers, single words of the list, and the CSA image header made anew.

    Parameters
    ----------
    ds : pydicom.Dataset
    texts : Texts
        That know the identifiers of the header: words and whole numbers that are among them are left out.
    cleaned : callable
        Cleans an item of a safe sequence.
    """
    out: list[Private] = []
    for (creator, group), elements in SAFE.items():
        try:
            block = ds.private_block(group, creator)
        except KeyError:
            continue
        for element in elements:
            if element not in block:
                continue
            try:
                found = _with_vr(block[element], (creator, group, element))
                if found.VR == "SQ" and (creator, group, element) in _SEQUENCES:
                    items = [cleaned(item) for item in found.value or []]
                    out.append(Private(creator, group, element, "SQ", items))
                    continue
            except trouble():
                continue
            if found.VR in _NUMERIC or (found.VR in _WORDS and _plain_words(found.value)):
                if any(texts.clean(str(v)) != str(v) or texts.is_number(str(v)) for v in _several(found)):
                    continue
                out.append(Private(creator, group, element, found.VR, found.value))
    if (csa := _csa(ds)) is not None:
        out.append(Private(CSA_HEADER[0], CSA_HEADER[1], CSA_HEADER[2], "OB", csa))
    if (protocol := _protocol(ds, texts)) is not None:
        out.append(Private(BLOCK[0], BLOCK[1], BLOCK[2], "OB", protocol))
    return out


def _protocol(ds: Dataset, texts: Texts) -> bytes | None:
    """Protocol of GE with what tells the times of slices alone; None where there is none."""
    creator, group, element = BLOCK
    try:
        known = parse(bytes(ds.get_private_item(group, element, creator).value or b""))
    except (KeyError, TypeError):
        return None
    kept = {k: known[k] for k in _PROTOCOL if k in known and _OPTION.fullmatch(known[k])}
    kept = {k: v for k, v in kept.items() if texts.clean(v) == v}
    text = "".join(f'set {name} "{value}"\n' for name, value in kept.items())
    packed = gzip.compress(text.encode("ascii"), mtime=0) if kept else None
    return packed if packed is None else packed + b"\0" * (len(packed) % 2)


def put_private(ds: Dataset, elements: list[Private]) -> None:
    """Put private elements into a header."""
    for one in elements:
        ds.private_block(one.group, one.creator, create=True).add_new(one.element, one.vr, one.value)


def _with_vr(element: DataElement, key: tuple[str, int, int]) -> DataElement:
    """Element whose VR was lost on its way (UN), with its own; the bytes are little endian (PS3.5 6.2.2)."""
    vr = private_vr(key)
    if element.VR != "UN" or not isinstance(element.value, bytes) or vr == "UN":
        return element
    raw = RawDataElement(element.tag, vr, len(element.value), element.value, 0, vr == "SQ", True)
    return convert_raw_data_element(raw)


def _several(element: DataElement) -> list[Any]:
    """Values of an element that may name somebody: texts and decimal ones; floats can't."""
    value = element.value
    if element.VR not in (*_WORDS, "IS", "UL", "SL", "UV", "SV"):
        return []
    return [value] if isinstance(value, (str, int)) else list(value or [])


def _plain_words(value: Any) -> bool:
    values = [value] if isinstance(value, str) else list(value or [])
    return all(_WORD.fullmatch(str(v)) or not str(v) for v in values)


Weighting = tuple[float, NDArray[np.float64]]
"""b-value (s/mm2) and direction, shape (3,), LPS; zero without one."""


def moved_to_public(ds: Dataset, weighted: Weighting | None = None) -> None:
    """Say the private diffusion weighting of an MR image in the standard's elements (PS3.3 C.8.13.5.9), if absent.

    Parameters
    ----------
    ds : pydicom.Dataset
    weighted : Weighting, optional
        What its series tells: an image without weighting need not say so, and its private elements may tell it by
        those of the others.
    """
    if str(ds.get("Modality") or "") != "MR" or "PerFrameFunctionalGroupsSequence" in ds:
        return
    found = diffusion_of(ds)
    if found is None:
        found = weighted
    if found is None:
        return
    b_value, direction = found
    if "DiffusionBValue" not in ds:
        put(ds, "DiffusionBValue", b_value)
    if np.abs(direction).max() > 0 and "DiffusionGradientOrientation" not in ds:
        put(ds, "DiffusionGradientOrientation", direction)
    if "DiffusionDirectionality" not in ds:
        word = "DIRECTIONAL" if np.abs(direction).max() > 0 else "NONE" if b_value == 0 else "ISOTROPIC"
        put(ds, "DiffusionDirectionality", word)


# --- the CSA image header of Siemens ----------------------------------------------------------------------------------


def _csa(ds: Dataset) -> bytes | None:
    """CSA image header with the tags that are kept; None where there is none, or it is damaged."""
    csa = _parsed(ds, CSA_HEADER)
    if not csa:
        return None
    kept = {name: values for name, values in csa.items() if name in CSA_TAGS and _harmless(values)}
    count = kept.get("NumberOfImagesInMosaic") or [""]
    if not kept.get("MosaicRefAcqTimes") and "MosaicRefAcqTimes" not in csa and count[0].isdigit():
        # older scanners say the times in the protocol only, which is left out
        text = _parsed(ds, CSA_SERIES)
        repetition = numbers(ds, "RepetitionTime", 1)
        three = str(ds.get("MRAcquisitionType") or "") == "3D"
        if text and repetition is not None and not three:
            protocol = (text.get("MrPhoenixProtocol") or text.get("MrProtocol") or [""])[0]
            times = times_of_protocol(protocol, csa, int(count[0]), float(repetition[0]))
            if np.isfinite(times).all():
                kept["MosaicRefAcqTimes"] = [f"{t:.8f}" for t in times]
    return csa_bytes(kept) if any(kept.values()) else None


def _parsed(ds: Dataset, key: tuple[str, int, int]) -> dict[str, list[str]]:
    creator, group, element = key
    try:
        return parse_csa(bytes(ds.get_private_item(group, element, creator).value or b""))
    except (KeyError, TypeError, SourceError):
        return {}


def _harmless(values: list[str]) -> bool:
    return all(_NUMBER.fullmatch(v) or v in DIRECTIONALITY or not v for v in values)


def csa_bytes(tags: dict[str, list[str]]) -> bytes:
    """CSA2 header of some tags, as `imagedata_xr.dicom.framing.csa.parse_csa` and other programs read it."""
    out = [b"SV10\4\3\2\1", pack("<II", len(tags), 77)]
    for name, values in tags.items():
        words = DIRECTIONALITY if name == "DiffusionDirectionality" else ()
        vr = b"CS" if words else b"IS" if all(v.lstrip("-").isdigit() for v in values) else b"FD"
        syngo = {b"CS": 16, b"IS": 6, b"FD": 4}[vr]
        items = max(6, len(values))
        out.append(pack("<64si4siii", name.encode(), len(values), vr, syngo, items, 77))
        for k in range(items):
            data = values[k].encode() + b"\0" if k < len(values) else b""
            out.append(pack("<4i", len(data), len(data), 77, len(data)) + data + b"\0" * (-len(data) % 4))
    return b"".join(out)

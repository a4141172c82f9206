"""What the scan knows of DICOM: VRs, tags, transfer syntaxes, and the private elements that it keeps."""

from __future__ import annotations

import functools
from typing import TypeAlias

Key: TypeAlias = "int | tuple[str, int, int]"
"""A public tag, or a private element as (creator, group, element byte)."""

Raw: TypeAlias = tuple[str, bytes]
"""VR and value bytes, little endian; of a sequence the items without the delimiter at its end."""

UNDEFINED = 0xFFFFFFFF
LONG = 4096
"""Values longer than this (bytes) that differ from file to file are only marked (`LongValue`)."""

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
STANDARD_SYNTAXES = "1.2.840.10008.1.2."

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
TRANSFER_SYNTAX = 0x00020010

CSA_HEADER = ("SIEMENS CSA HEADER", 0x0029, 0x10)
"""Kept where it is needed only (`needs_csa`), since it is long and differs from file to file."""
CSA_SERIES = ("SIEMENS CSA HEADER", 0x0029, 0x20)
"""Of the same; only marked where it differs from file to file, for few of them need it."""

WANTED_PRIVATE: dict[tuple[str, int], tuple[int, ...]] = {
    ("SIEMENS MR HEADER", 0x0019): (0x08, 0x0A, 0x0C, 0x0D, 0x0E, 0x27, 0x28, 0x29),
    ("SIEMENS CSA HEADER", 0x0029): (0x10, 0x20),
    ("SIEMENS MR SDI 02", 0x0021): tuple(range(0x100)),
    ("GEMS_ACQU_01", 0x0019): (0x9C, 0x9E, 0xA2, 0xA9, 0xB3, 0xB6, 0xBB, 0xBC, 0xBD, 0xE0),
    ("GEMS_RELA_01", 0x0021): (0x4F, 0x5A, 0x5E),
    ("GEMS_SERS_01", 0x0025): (0x1B,),
    ("GEMS_PARM_01", 0x0043): (0x2C, 0x2F, 0x30, 0x39, 0x7C, 0x83, 0xB6),
    ("Philips Imaging DD 001", 0x2001): (0x03, 0x04, 0x08, 0x0A),
    ("Philips MR Imaging DD 001", 0x2005): (0x0D, 0x0E, 0x11, 0xB0, 0xB1, 0xB2),
    ("Philips MR Imaging DD 005", 0x2005): (0x12, 0x13, 0x29),
    ("Philips MR Imaging DD 006", 0x2005): (0x96,),
    ("Image Private Header", 0x0065): (0x09, 0x37, 0x50, 0x51),
}
"""Private elements that are kept, by creator and group; each file chooses the block numbers (PS3.5 section 7.8)."""

SIEMENS_B_VALUE = ("SIEMENS MR HEADER", 0x0019, 0x0C)
SIEMENS_TILES = ("SIEMENS MR HEADER", 0x0019, 0x0A)
"""Number of slices in a mosaic; other images lack it."""


def needs_csa(image_type: Raw | None, sequence_name: Raw | None, tiles: Raw | None, b_value: Raw | None) -> bool:
    """Tell whether only the CSA header knows of the tiles of a mosaic, or of diffusion (before VB13)."""
    kind = image_type[1] if image_type else b""
    weighted = b"DIFFUSION" in kind or b"_b" in (sequence_name[1] if sequence_name else b"")
    return b"MOSAIC" in kind or tiles is not None or (weighted and b_value is None)


SHORT_VR = {
    vr.encode(): vr
    for vr in ("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST",
               "TM", "UI", "UL", "US")
}  # fmt: skip
LONG_VR = {
    vr.encode(): vr
    for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
}  # fmt: skip
ANY_VR = SHORT_VR | LONG_VR
TEXT_VR = ("LT", "ST", "UC", "UR", "UT")
"""Text that may be long; it is kept all the same."""


def swap(tag: int) -> int:
    """Exchange group and element: a tag as little endian bytes read as one number, or the way back."""
    return (tag & 0xFFFF) << 16 | tag >> 16


@functools.cache
def public_vr(tag: int) -> str:
    """Give the dictionary's VR of a public tag, UN if unknown, UL for a group length; several VRs in one as OW."""
    from pydicom.datadict import dictionary_VR

    if not tag & 0xFFFF:
        return "UL"
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return "OW" if vr in ("OB or OW", "US or OW") else vr


_UIH_VR = {
    ("Image Private Header", 0x0065, 0x09): "FD",
    ("Image Private Header", 0x0065, 0x37): "FD",
    ("Image Private Header", 0x0065, 0x50): "DS",
    ("Image Private Header", 0x0065, 0x51): "SQ",
}
"""United Imaging's elements are in no dictionary of pydicom."""


@functools.cache
def private_vr(key: tuple[str, int, int]) -> str:
    """Give the VR of a wanted private element by pydicom's private dictionary, else UN."""
    from pydicom.datadict import private_dictionary_VR

    if key in _UIH_VR:
        return _UIH_VR[key]
    creator, group, element = key
    try:
        return private_dictionary_VR(group << 16 | 0x1000 | element, creator)
    except KeyError:
        return "UN"

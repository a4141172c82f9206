"""What pydicom reads of a file, and whether a scan agrees with it."""

from __future__ import annotations

import gzip
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.valuerep import VR

from imagedata_xr.dicom.scanning.elements import LongValue
from imagedata_xr.dicom.scanning.scan import WANTED_PRIVATE, Key, Scan

VRS = {str(vr.value) for vr in VR if len(vr.value) == 2}
WIDTH = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
CSA = "SIEMENS CSA HEADER"


@dataclass
class Reference:
    """The elements before the pixel data, and where pydicom found these."""

    elements: dict[Key, tuple[Dataset, int]]
    syntax: str
    little: bool
    pixel_tag: int = 0
    pixel_offset: int = -1
    pixel_length: int = 0


def read(path: Path) -> Reference:
    """Read a file with pydicom alone; raises whatever pydicom raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        ds = pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=True)
        whole = pydicom.dcmread(io.BytesIO(content), force=True)
    meta = ds.file_meta
    elements: dict[Key, tuple[Dataset, int]] = {int(tag): (meta, int(tag)) for tag in meta.keys()}  # noqa: SIM118
    implicit, little = ds.original_encoding
    plain = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
    out = Reference(elements, str(meta.get("TransferSyntaxUID") or plain), bool(little))
    creators: dict[tuple[int, int], str] = {}
    for tag in sorted(int(t) for t in ds.keys()):  # noqa: SIM118
        group, element = tag >> 16, tag & 0xFFFF
        if not group & 1:
            elements[tag] = ds, tag
        elif 0x10 <= element <= 0xFF:
            creators[group, element] = str(ds[tag].value)
        elif element & 0xFF in WANTED_PRIVATE.get((key := creators.get((group, element >> 8), ""), group), ()):
            private = (key, group, element & 0xFF)
            if key != CSA or "MOSAIC" in ds.get("ImageType", ()):
                elements[private] = ds, tag
    for tag in PIXELS:
        if tag in whole and tag not in ds:
            item: Any = dict(whole.items())[pydicom.tag.Tag(tag)]
            out.pixel_tag, out.pixel_length = tag, -1 if item.length == 0xFFFFFFFF else item.length
            out.pixel_offset = -1 if out.syntax.endswith("1.2.1.99") else item.value_tell
    return out


def disagreement(scan: Scan, k: int, ref: Reference) -> str:
    """Say what a scan's row has otherwise than pydicom; nothing if they agree."""
    pixels = int(scan.pixel_tag[k]), int(scan.pixel_offset[k]), int(scan.pixel_length[k])
    if pixels != (ref.pixel_tag, ref.pixel_offset, ref.pixel_length):
        return f"pixels {pixels}, not {(ref.pixel_tag, ref.pixel_offset, ref.pixel_length)}"
    if scan.syntax[k] != ref.syntax:
        return f"syntax {scan.syntax[k]}, not {ref.syntax}"
    have = {key for key, column in scan.columns.items() if column[k] is not None}
    if have != set(ref.elements):
        return f"keys that differ: {sorted(map(str, have ^ set(ref.elements)))}"
    ours = scan.dataset(k)
    for key, (ds, tag) in ref.elements.items():
        if isinstance(cell := scan.columns[key][k], LongValue):
            cell = scan.value(k, key)
        if not isinstance(cell, tuple):
            return f"{key} is missing"
        theirs: Any = dict(ds.items())[pydicom.tag.Tag(tag)]
        if theirs.is_raw and ref.little:
            vr = theirs.VR if theirs.VR in VRS else "UN" if theirs.VR else cell[0]
            if (theirs.value or b"") != cell[1] or vr != cell[0]:
                return f"{key}: {cell[0]}, not {theirs.VR}, or other bytes"
        elif isinstance(scan.columns[key][k], LongValue) or not isinstance(key, int):
            continue
        elif not _same(ours.file_meta if key >> 16 == 2 else ours, ds, tag):
            return f"{key}: value differs"
    return ""


def _same(ours: Dataset, theirs: Dataset, tag: int) -> bool:
    try:
        value, vr = theirs[tag].value, theirs[tag].VR
        if vr in WIDTH and isinstance(value, bytes):  # pydicom leaves the byte order of such values as it was
            value = np.frombuffer(value, f"u{WIDTH[vr]}").byteswap().tobytes()
        return bool(ours[tag].value == value and vr == ours[tag].VR)
    except NotImplementedError:  # a VR that pydicom does not know either, perhaps of an element in a sequence
        return True

"""Made images of any transfer syntax, whose frames are encoded by a library or by hand."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from series import Elements, image

Array = NDArray[Any]

JPEG = "1.2.840.10008.1.2.4."
SECONDARY = "1.2.840.10008.5.1.4.1.1.7.3"


def stored_as(values: Array, bits: int, **elements: Any) -> Elements:
    """Elements of an image, shape (rows, cols[, 3]), with these stored values."""
    colour = values.ndim > 2
    return {
        "Rows": values.shape[0], "Columns": values.shape[1], "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "PlanarConfiguration": 0 if colour else None,
        "BitsAllocated": values.dtype.itemsize * 8, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"), "PixelData": values.tobytes(), **elements,
    }  # fmt: skip


def noise(low: int, high: int, dtype: str, shape: Sequence[int] = (20, 28)) -> Array:
    """Values over a whole range, both ends among them; smooth enough for lossy codes."""
    rows, cols = np.indices(shape[:2])
    wave = np.sin(rows / 5) * np.cos(cols / 7)
    wave = (wave - wave.min()) / np.ptp(wave)
    out = (low + wave * (high - low)).round()
    if len(shape) > 2:
        out = np.stack([out, out[::-1], out[:, ::-1]], axis=-1)
    return np.asarray(out.astype(dtype))


def fragments(frames: Iterable[Sequence[bytes]], table: bool = False) -> bytes:
    """Encapsulated pixel data (PS3.5 A.4), each frame in some fragments, with or without a Basic Offset Table."""
    body, places = b"", []
    for frame in frames:
        places.append(len(body))
        for part in frame:
            part += b"\0" * (len(part) % 2)
            body += struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part
    offsets = struct.pack(f"<{len(places)}I", *places) if table else b""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(offsets)) + offsets + body


def extended(frames: Sequence[bytes]) -> Elements:
    """Elements of the Extended Offset Table (PS3.3 C.7.6.3.1.8) of frames of one fragment each."""
    sizes = [len(f) + len(f) % 2 for f in frames]
    places = [0, *itertools.accumulate(8 + n for n in sizes)][:-1]
    return {
        "ExtendedOffsetTable": struct.pack(f"<{len(places)}Q", *places),
        "ExtendedOffsetTableLengths": struct.pack(f"<{len(sizes)}Q", *(len(f) for f in frames)),
    }


def parts(frame: bytes, n: int) -> list[bytes]:
    """Part a frame into fragments of even length."""
    size = -(-len(frame) // n) // 2 * 2 + 2
    return [frame[k : k + size] for k in range(0, len(frame), size)]


def rle(values: Array) -> bytes:
    """A frame of RLE, in literal runs (PS3.5 annex G): the most significant byte of each sample first."""
    planes = values.reshape(*values.shape[:2], -1)
    segments = []
    for s in range(planes.shape[2]):
        raw = np.ascontiguousarray(planes[..., s]).astype(values.dtype.newbyteorder(">")).tobytes()
        width = values.dtype.itemsize
        for k in range(width):
            part = raw[k::width]
            runs = b"".join(bytes([len(p) - 1]) + p for i in range(0, len(part), 128) if (p := part[i : i + 128]))
            segments.append(runs + b"\0" * (len(runs) % 2))
    places = np.cumsum([64, *(len(s) for s in segments)])[:-1]
    header = np.zeros(16, dtype="<u4")
    header[0], header[1 : 1 + len(places)] = len(places), places
    return header.tobytes() + b"".join(segments)


def encapsulated(path: Path, elements: Elements, frames: Iterable[Sequence[bytes]], syntax: str, **how: Any) -> Path:
    """Save an image of frames that are encoded already, in any transfer syntax, also those that pydicom knows not."""
    ds = image(0, 0, {**elements, "PixelData": fragments(frames, **how)})
    if ds.get("NumberOfFrames", 1) > 1:
        ds.SOPClassUID, ds.Modality = UID(SECONDARY), "OT"
        del ds.ImagePositionPatient
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.FileMetaInformationVersion = b"\0\1"
    ds.file_meta.ImplementationClassUID = UID("1.2.3.9")
    ds.preamble = bytes(128)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=True, force_encoding=True)
    return path

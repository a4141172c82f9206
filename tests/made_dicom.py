"""DICOM files made for the tests of the scan: by pydicom, or byte by byte where pydicom would not write them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF")
UNDEFINED = 0xFFFFFFFF


def instance(number: int = 1, rows: int = 4) -> Dataset:
    """A small MR image with text, numbers, empty values, private elements and sequences three deep."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = UID(f"1.2.3.{number}")
    ds.StudyDate = ""
    ds.Modality = "MR"
    ds.PatientName = "Åse^Ødegård"
    ds.PatientID = "abc"
    ds.EchoTime = "4.5"
    ds.FlipAngle = None
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [1.5, -2.25, 3.0 * number]
    ds.Rows = ds.Columns = rows
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelRepresentation = 1
    ds.SmallestImagePixelValue = -3
    ds["SmallestImagePixelValue"].VR = "SS"
    ds.ReferencedImageSequence = [nested(3)]
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", 1000)
    block.add_new(0x0E, "FD", [0.6, 0.8, 0.0])
    block.add_new(0x01, "LO", "not wanted")
    ds.PixelData = np.arange(rows * rows, dtype="<i2").tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def nested(depth: int) -> Dataset:
    """An item that holds items, with a text that needs the character set of the file."""
    item = Dataset()
    item.ReferencedSOPInstanceUID = f"1.2.{depth}"
    item.PatientComments = "Ægir"
    if depth:
        item.ReferencedSeriesSequence = [nested(depth - 1), nested(0)]
    return item


def undefined_lengths(ds: Dataset) -> Dataset:
    """Give all sequences and items of a data set undefined length."""
    for elem in ds:
        if elem.VR == "SQ":
            elem.is_undefined_length = True
            for item in elem.value:
                item.is_undefined_length_sequence_item = True
                undefined_lengths(item)
    return ds


def encoded(ds: Dataset, syntax: str = ExplicitVRLittleEndian, preamble: bool = True) -> bytes:
    """Encode a file; compressed syntaxes hold the pixels as fragments that are not really compressed."""
    uid = UID(syntax)
    if uid.is_compressed and not uid.is_deflated:
        ds.PixelData = encapsulate([ds.PixelData, b"\1\2"])
        ds["PixelData"].VR = "OB"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", MRImageStorage)
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2")
    meta.TransferSyntaxUID = uid
    ds.file_meta = meta
    out = io.BytesIO()
    if preamble:
        pydicom.dcmwrite(out, ds, enforce_file_format=True)
    else:
        del ds.file_meta
        pydicom.dcmwrite(out, ds, implicit_vr=uid.is_implicit_VR, little_endian=uid.is_little_endian)
    return out.getvalue()


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """Encode one element in explicit VR little endian, or in implicit VR if `vr` is empty; `length` may lie."""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    n = len(value) if length is None else length
    if not vr:
        return head + struct.pack("<I", n) + value
    return head + vr + (struct.pack("<HI", 0, n) if vr in LONG else struct.pack("<H", n)) + value


def item(content: bytes, undefined: bool = False) -> bytes:
    """Encode an item of a sequence."""
    if undefined:
        return element(0xFFFEE000, b"", content, UNDEFINED) + element(0xFFFEE00D, b"", b"")
    return element(0xFFFEE000, b"", content)


def sequence_end() -> bytes:
    """Encode the delimiter at the end of a sequence of undefined length."""
    return element(0xFFFEE0DD, b"", b"")


def with_meta(body: bytes, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Put preamble and file meta information before a data set; without transfer syntax if `syntax` is empty."""
    meta = element(0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0")
    if syntax:
        meta += element(0x00020010, b"UI", (syntax + "\0" * (len(syntax) % 2)).encode())
    meta = element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta
    return bytes(128) + b"DICM" + meta + body


def write(folder: Path, *contents: bytes) -> list[Path]:
    """Write files named 0.dcm, 1.dcm, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{k}.dcm" for k in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths

"""A DICOMDIR for files that were written: patients, studies, series and images (PS3.3 annex F, PS3.10 section 8.6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from .fields import put
from .uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, new_uid

NAME = "DICOMDIR"

_LEVELS = (
    ("PATIENT", ("PatientName", "PatientID"), ("PatientID", "PatientName")),
    ("STUDY", ("StudyDate", "StudyTime", "StudyDescription", "StudyInstanceUID", "StudyID", "AccessionNumber"),
     ("StudyInstanceUID",)),
    ("SERIES", ("Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription"), ("SeriesInstanceUID",)),
    ("IMAGE", ("ImageType", "InstanceNumber", "Rows", "Columns"), ()),
)  # fmt: skip
"""Type of the record, what it says, and what tells it from others (PS3.3 F.5)."""
_MUST = ("PatientName", "PatientID", "StudyDate", "StudyTime", "StudyInstanceUID", "StudyID", "AccessionNumber",
         "StudyDescription", "Modality", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber")  # fmt: skip
_OTHERS = {
    "1.2.840.10008.5.1.4.1.1.66.4": "IMAGE",
    "1.2.840.10008.5.1.4.1.1.88.": "SR DOCUMENT",
    "1.2.840.10008.5.1.4.1.1.104.": "ENCAP DOC",
    "1.2.840.10008.5.1.4.1.1.11.": "PRESENTATION",
    "1.2.840.10008.5.1.4.1.1.66": "RAW DATA",
    "1.2.840.10008.5.1.4.1.1.481.2": "RT DOSE",
    "1.2.840.10008.5.1.4.1.1.481.3": "RT STRUCTURE SET",
    "1.2.840.10008.5.1.4.1.1.481.5": "RT PLAN",
}
_OWN = {
    "SR DOCUMENT": ("InstanceNumber", "CompletionFlag", "VerificationFlag", "ContentDate", "ContentTime",
                    "VerificationDateTime", "ConceptNameCodeSequence"),
    "ENCAP DOC": ("ContentDate", "ContentTime", "InstanceNumber", "DocumentTitle", "HL7InstanceIdentifier",
                  "ConceptNameCodeSequence", "MIMETypeOfEncapsulatedDocument"),
    "PRESENTATION": ("PresentationCreationDate", "PresentationCreationTime", "InstanceNumber", "ContentLabel",
                     "ContentDescription", "ContentCreatorName"),
    "RAW DATA": ("ContentDate", "ContentTime", "InstanceNumber"),
    "RT DOSE": ("InstanceNumber", "DoseSummationType", "DoseComment"),
    "RT STRUCTURE SET": ("InstanceNumber", "StructureSetLabel", "StructureSetDate", "StructureSetTime"),
    "RT PLAN": ("InstanceNumber", "RTPlanLabel", "RTPlanDate", "RTPlanTime"),
}  # fmt: skip
"""What records of other types say (PS3.3 F.5.23, F.5.25, F.5.29 and others)."""


@dataclass(frozen=True)
class Entry:
    """What a DICOMDIR says of one file.

    Attributes
    ----------
    header : pydicom.Dataset
        Only the elements of its records.
    name : str
        Below the folder of the DICOMDIR, with slashes.
    """

    header: Dataset
    name: str


def entry_of(ds: Dataset, name: str) -> Entry:
    """Note of an instance what its records need."""
    small = Dataset()
    small.SpecificCharacterSet = ds.get("SpecificCharacterSet") or "ISO_IR 192"
    own = _OWN.get(_type_of(str(ds.SOPClassUID)), ())
    for keywords in (*(said for _, said, _ in _LEVELS), own):
        for keyword in keywords:
            if keyword in ds:
                small[keyword] = ds[keyword]
    put(small, "SOPClassUID", str(ds.SOPClassUID))
    put(small, "SOPInstanceUID", str(ds.SOPInstanceUID))
    put(small, "TransferSyntaxUID", str(ds.file_meta.TransferSyntaxUID))
    return Entry(small, name)


def directory(entries: Iterable[Entry]) -> bytes:
    """Return a DICOMDIR of files, as bytes.

    The records are sorted into patients, studies and series as they come; each offset is that of its record's item in
    the file (PS3.3 F.3.2.2), found by writing twice, as offsets have a fixed length.
    """
    tree = _tree(entries)
    records: list[Dataset] = []
    links: list[tuple[int, int | None, int | None]] = []  # record, its next, its first child
    _flatten(tree, records, links)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    ds.file_meta.MediaStorageSOPInstanceUID = UID(new_uid("directory"))
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    ds.FileSetID = ""
    ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    ds.FileSetConsistencyFlag = 0
    ds.DirectoryRecordSequence = records
    first = pydicom.dcmread(BytesIO(_encoded(ds)))
    places = [int(item.seq_item_tell) for item in first.DirectoryRecordSequence]
    for record, following, child in links:
        records[record].OffsetOfTheNextDirectoryRecord = 0 if following is None else places[following]
        records[record].OffsetOfReferencedLowerLevelDirectoryEntity = 0 if child is None else places[child]
    roots = [k for k, r in enumerate(records) if r.DirectoryRecordType == "PATIENT"]
    if roots:
        ds.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = places[roots[0]]
        ds.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = places[roots[-1]]
    return _encoded(ds)


def _encoded(ds: Dataset) -> bytes:
    out = BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


@dataclass
class _Node:
    record: Dataset
    key: tuple[str, ...]
    children: list[_Node]


def _tree(entries: Iterable[Entry]) -> list[_Node]:
    roots: list[_Node] = []
    for entry in entries:
        at = roots
        for kind, keywords, keys in _LEVELS:
            key = tuple(str(entry.header.get(k, "")) for k in keys)
            found = next((n for n in reversed(at) if keys and n.key == key), None)
            if found is None:
                found = _Node(_record(kind, keywords, entry), key, [])
                at.append(found)
            at = found.children
    return roots


def _record(kind: str, keywords: tuple[str, ...], entry: Entry) -> Dataset:
    header = entry.header
    if kind == "IMAGE":
        kind = _type_of(str(header.SOPClassUID))
        keywords = _OWN.get(kind, keywords)
    record = Dataset()
    record.OffsetOfTheNextDirectoryRecord = 0
    record.RecordInUseFlag = 0xFFFF
    record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    record.DirectoryRecordType = kind
    if kind not in ("PATIENT", "STUDY", "SERIES"):
        record.ReferencedFileID = entry.name.split("/")
        record.ReferencedSOPClassUIDInFile = header.SOPClassUID
        record.ReferencedSOPInstanceUIDInFile = header.SOPInstanceUID
        record.ReferencedTransferSyntaxUIDInFile = header.TransferSyntaxUID
    record.SpecificCharacterSet = header.SpecificCharacterSet
    for keyword in keywords:
        if keyword in header:
            record[keyword] = header[keyword]
        elif keyword in _MUST:
            put(record, keyword, "")
    return record


def _type_of(sop_class: str) -> str:
    return next((kind for start, kind in _OTHERS.items() if sop_class.startswith(start)), "IMAGE")


def _flatten(nodes: list[_Node], records: list[Dataset], links: list[tuple[int, int | None, int | None]]) -> list[int]:
    """Number the records depth first, and say which follows which."""
    numbers = []
    for node in nodes:
        number = len(records)
        records.append(node.record)
        place = len(links)
        links.append((number, None, None))
        below = _flatten(node.children, records, links)
        links[place] = (number, None, below[0] if below else None)
        numbers.append(number)
    for mine, following in pairwise(numbers):
        links[mine] = (mine, following, links[mine][2])
    return numbers

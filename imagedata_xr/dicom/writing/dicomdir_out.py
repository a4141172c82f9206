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
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_TYPES = {
    "SR DOCUMENT": "88.* 78.6 79.1",
    "KEY OBJECT DOC": "88.59",
    "ENCAP DOC": "104.*",
    "PRESENTATION": "11.* 131",
    "WAVEFORM": "9.*",
    "SPECTROSCOPY": "4.2",
    "RAW DATA": "66",
    "REGISTRATION": "66.1 66.3",
    "FIDUCIAL": "66.2",
    "SURFACE": "66.5",
    "TRACT": "66.6",
    "VALUE MAP": "67",
    "SURFACE SCAN": "68.1 68.2",
    "STEREOMETRIC": "77.1.5.3",
    "MEASUREMENT": "78.1 78.2 78.3 78.4 78.5 78.7 78.8 80.1",
    "ASSESSMENT": "90.1",
    "RT DOSE": "481.2",
    "RT STRUCTURE SET": "481.3",
    "RT PLAN": "481.5 481.8",
    "RT TREAT RECORD": "481.4 481.6 481.7 481.9",
    "RADIOTHERAPY": "481.10 481.11 481.12 481.13 481.14 481.15 481.16 481.17 481.18 481.19 481.20 481.21 481.22 481.25",
    "ANNOTATION": "91.1",
}
"""Type of the record of instances that are no images, and the ends of their SOP classes (PS3.3 F.4)."""
_KINDS = {end: kind for kind, ends in _TYPES.items() for end in ends.split()}
_CONTENT = ("ContentDate", "ContentTime", "InstanceNumber")
_NAMED = (*_CONTENT, "ContentLabel", "ContentDescription", "ContentCreatorName")
_OWN = {
    "SR DOCUMENT": ("InstanceNumber", "CompletionFlag", "VerificationFlag", "ContentDate", "ContentTime",
                    "VerificationDateTime", "ConceptNameCodeSequence"),
    "KEY OBJECT DOC": (*_CONTENT, "ConceptNameCodeSequence"),
    "ENCAP DOC": ("ContentDate", "ContentTime", "InstanceNumber", "DocumentTitle", "HL7InstanceIdentifier",
                  "ConceptNameCodeSequence", "MIMETypeOfEncapsulatedDocument"),
    "PRESENTATION": ("PresentationCreationDate", "PresentationCreationTime", "InstanceNumber", "ContentLabel",
                     "ContentDescription", "ContentCreatorName"),
    "WAVEFORM": _CONTENT,
    "SPECTROSCOPY": ("ImageType", *_CONTENT, "NumberOfFrames", "Rows", "Columns", "DataPointRows", "DataPointColumns"),
    "RAW DATA": _CONTENT,
    "STEREOMETRIC": _NAMED,
    "MEASUREMENT": _CONTENT,
    "RT DOSE": ("InstanceNumber", "DoseSummationType", "DoseComment"),
    "RT STRUCTURE SET": ("InstanceNumber", "StructureSetLabel", "StructureSetDate", "StructureSetTime"),
    "RT PLAN": ("InstanceNumber", "RTPlanLabel", "RTPlanDate", "RTPlanTime"),
    "RT TREAT RECORD": ("InstanceNumber", "TreatmentDate", "TreatmentTime"),
    "RADIOTHERAPY": ("InstanceNumber", "UserContentLabel", "UserContentLongLabel", "ContentDescription",
                     "ContentCreatorName"),
    "ASSESSMENT": ("InstanceNumber", "InstanceCreationDate", "InstanceCreationTime"),
    **dict.fromkeys(("REGISTRATION", "FIDUCIAL", "SURFACE", "TRACT", "VALUE MAP", "ANNOTATION"), _NAMED),
    "SURFACE SCAN": _CONTENT,
}  # fmt: skip
"""What records of other types say (PS3.3 F.5.19 to F.5.45)."""


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
    end = sop_class.removeprefix(_STORAGE)
    return _KINDS.get(end) or _KINDS.get(f"{end.partition('.')[0]}.*") or "IMAGE"


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

"""Instances as DICOM files."""

from __future__ import annotations

from io import BytesIO

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from .uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME


def encode(ds: pydicom.Dataset, keep_meta: bool = False) -> bytes:
    """Return an instance as a DICOM file (PS3.10 7.1).

    Parameters
    ----------
    ds : pydicom.Dataset
        With the transfer syntax of its pixel data in ``file_meta``, else it becomes Explicit VR Little Endian.
    keep_meta : bool
        Leave the file meta information of a source as it is.
    """
    meta = getattr(ds, "file_meta", None)
    if meta is None:
        meta = ds.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        implicit, little = ds.original_encoding
        meta.TransferSyntaxUID = _SYNTAX.get((bool(implicit), bool(little)), ExplicitVRLittleEndian)
    if not keep_meta:
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
        meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
        meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
        for gone in (
            "SourceApplicationEntityTitle",
            "SendingApplicationEntityTitle",
            "ReceivingApplicationEntityTitle",
        ):
            if gone in meta:
                del meta[gone]
    out = BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


_SYNTAX = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}

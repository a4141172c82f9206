"""The type of record that each kind of instance has in a DICOMDIR, judged by pydicom's table and by dciodvfy."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import phantoms
import pydicom
import pydicom.fileset
import pytest
from kinds import header
from multiframe import item, save

from imagedata_xr.dicom.writing import dicomdir_out

STORAGE = "1.2.840.10008.5.1.4.1.1."
KNOWN: dict[str, str] = {str(k): v for k, v in pydicom.fileset._FOUR_LEVEL_SOP_CLASSES.items()}
OTHERS = {"4": "IMAGE", "66.4": "IMAGE", "66.7": "IMAGE", "481.1": "IMAGE", "481.23": "IMAGE", "104.3": "ENCAP DOC",
          "481.5": "RT PLAN", "481.10": "RADIOTHERAPY", "91.1": "ANNOTATION"}  # fmt: skip


@pytest.mark.parametrize(("uid", "kind"), [*KNOWN.items(), *((STORAGE + k, v) for k, v in OTHERS.items())])
def test_each_class_has_its_type(uid: str, kind: str) -> None:
    assert dicomdir_out._type_of(uid) == kind


def registration() -> pydicom.Dataset:
    """A spatial registration: of the same root as raw data."""
    matrix = item({"FrameOfReferenceTransformationMatrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
                   "FrameOfReferenceTransformationMatrixType": "RIGID"})  # fmt: skip
    inner = pydicom.Dataset()
    inner.MatrixSequence, inner.RegistrationTypeCodeSequence = [matrix], []
    outer = pydicom.Dataset()
    outer.FrameOfReferenceUID, outer.MatrixRegistrationSequence = "1.2.826.0.1.3680043.8.498.60", [inner]
    ds = header(STORAGE + "66.1", "REG", 4, StudyInstanceUID=phantoms.ANNA.study, ContentLabel="MOVED",
                SeriesInstanceUID="1.2.826.0.1.3680043.8.498.81", ContentDescription="", ContentCreatorName="",
                FrameOfReferenceUID="1.2.826.0.1.3680043.8.498.60", PositionReferenceIndicator="")  # fmt: skip
    ds.RegistrationSequence = [outer]
    del ds.ImageType
    return ds


def test_a_registration_is_no_raw_data(tmp_path: Path, require_program: Callable[[str], Path]) -> None:
    path = tmp_path / "REG"
    save(registration(), path)
    data = dicomdir_out.directory([dicomdir_out.entry_of(pydicom.dcmread(path), "REG")])
    (tmp_path / "DICOMDIR").write_bytes(data)
    record = pydicom.dcmread(tmp_path / "DICOMDIR").DirectoryRecordSequence[-1]
    assert (record.DirectoryRecordType, record.ContentLabel) == ("REGISTRATION", "MOVED")
    judge = require_program("dciodvfy")
    said = subprocess.run([judge, "-new", str(tmp_path / "DICOMDIR")], capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if line.startswith("Error")] == []

"""Identifiers in places where nobody expects them: odd values, odd spellings, odd elements."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import identified
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from identified import SECRETS
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from imagedata_xr.dicom.deidentifying.cleaning import Cleaner
from imagedata_xr.dicom.deidentifying.policy import policy_of
from imagedata_xr.errors import IdentityError

OPTIONS: dict[str, tuple[str, ...]] = {
    "strict": (),
    "default": ("modified_dates", "retain_safe_private"),
    "cleaned": (
        "modified_dates", "retain_safe_private", "clean_descriptors", "clean_structured", "clean_graphics",
        "retain_patient", "retain_device", "retain_institution",
    ),
}  # fmt: skip
STUDY = "1.2.826.0.1.3680043.8.498.71"


def header() -> Dataset:
    """Header of a patient, with an ID, a date and UIDs."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Qvistgaard^Bo Ann=李^小龍", "ZX81-4477", "19111213"
    ds.OtherPatientIDs, ds.AccessionNumber = ["K90210"], "ACC9182"
    ds.PatientTelephoneNumbers, ds.ReferringPhysicianTelephoneNumbers = "555-0143", "+47 555 0199"
    ds.StudyInstanceUID, ds.SOPInstanceUID = UID(STUDY), UID(f"{STUDY}.1")
    ds.FrameOfReferenceUID = UID("1.2.77")
    ds.StudyDate, ds.StudyTime, ds.AcquisitionDate = "20200102", "101500", "20200102"
    ds.SOPClassUID, ds.Modality, ds.Manufacturer = UID("1.2.840.10008.5.1.4.1.1.4"), "MR", "SIEMENS"
    return ds


def odd(keyword: str, value: Any, vr: str | None = None) -> Callable[[Dataset], None]:
    """Set an element to a value, whether DICOM allows it or not."""

    def do(ds: Dataset) -> None:
        tag = pydicom.datadict.tag_for_keyword(keyword)
        assert tag is not None
        kind = vr or pydicom.datadict.dictionary_VR(tag).split(" or ")[0]
        ds[tag] = DataElement(tag, kind, value, validation_mode=config.IGNORE)

    return do


def private(creator: str, group: int, element: int, vr: str, value: Any) -> Callable[[Dataset], None]:
    """Set a private element."""

    def do(ds: Dataset) -> None:
        block = ds.private_block(group, creator, create=True)
        tag = block.get_tag(element)
        ds[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)

    return do


HIDDEN: dict[str, tuple[Callable[[Dataset], None], str]] = {
    # UIDs within texts
    "UID at the end of a sentence": (odd("SoftwareVersions", f"made of {STUDY}.1."), STUDY),
    "UID with leading zeros": (odd("SoftwareVersions", "of 1.2.826.0.1.007.08"), "1.2.826.0.1.007.08"),
    "short UID of the header": (odd("SoftwareVersions", "frame 1.2.77"), "1.2.77"),
    "UID below the root of the standard": (odd("ConcatenationUID", "1.2.840.10008.4477.1"), "1.2.840.10008.4477.1"),
    # names
    "one ideograph": (odd("SoftwareVersions", "scan 李"), "李"),
    "names without a space": (odd("SoftwareVersions", "for BoAnn"), "boann"),
    "names the other way round": (odd("SoftwareVersions", "qvistgaardbo"), "gaardbo"),
    "initials with a name": (odd("SoftwareVersions", "B.Qvistgaard"), "qvistgaard"),
    "name of a part of the body": (odd("BodyPartExamined", "QVISTGAARD"), "qvistgaard"),
    # numbers
    "number within a word": (odd("SoftwareVersions", "vZX814477b"), "zx814477"),
    "number in a code string": (odd("BodyPartExamined", "KNEE ZX81-4477"), "zx81-4477"),
    "number as an image type": (odd("ImageType", ["ORIGINAL", "PRIMARY", "K90210"]), "k90210"),
    "telephone": (odd("SoftwareVersions", "call 5550143"), "5550143"),
    "telephone of a physician": (odd("SoftwareVersions", "call 47-555-0199"), "555-0199"),
    # dates
    "date and time in one": (odd("SoftwareVersions", "at 20200102101500"), "20200102"),
    "date with a name of the month": (odd("SoftwareVersions", "2 Jan 2020"), "2 jan 2020"),
    "date, month first": (odd("SoftwareVersions", "January 2nd, 2020"), "january 2nd, 2020"),
    "date with slashes": (odd("SoftwareVersions", "1/2/2020"), "1/2/2020"),
    "date in an image type": (odd("ImageType", ["ORIGINAL", "PRIMARY", "20200102"]), "20200102"),
    "date as a time": (odd("AcquisitionTime", "20200102101500"), "20200102"),
    "text after a time": (odd("AcquisitionTime", "101500 Qvistgaard"), "qvistgaard"),
    "text after a moment": (odd("AcquisitionDateTime", "20200102101500 Qvistgaard"), "qvistgaard"),
    "text as a date": (odd("AcquisitionDate", "Qvistgaard"), "qvistgaard"),
    "date as an age": (odd("PatientAge", "20200102"), "20200102"),
    "date in a number": (odd("CardiacNumberOfImages", "20200102"), "20200102"),
    "date of a class": (odd("ReferencedSOPClassUID", f"{STUDY}.5"), STUDY),
    # private elements that are kept on request
    "name in a safe element": (private("Philips Imaging DD 001", 0x2001, 0x04, "CS", "Qvistgaard"), "qvistgaard"),
    "UID in a safe element": (private("Philips Imaging DD 001", 0x2001, 0x04, "LO", STUDY), STUDY),
    "number in a safe element": (private("Philips Imaging DD 001", 0x2001, 0x04, "LO", "ZX81-4477"), "zx81"),
    "date in a safe element": (private("SIEMENS MR HEADER", 0x0019, 0x0B, "LO", "20200102"), "20200102"),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("where", HIDDEN)
def test_nothing_hides(where: str, options: str) -> None:
    put, secret = HIDDEN[where]
    ds = header()
    put(ds)
    assert secret in written(ds)
    assert secret not in written(Cleaner(policy_of(options=OPTIONS[options], seed="k")).header(ds))


def written(ds: Dataset) -> str:
    """Data set as it is written, as text in lower case."""
    out = io.BytesIO()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue().decode("utf-8", "replace").lower()


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_labels_and_texts_of_the_users_own_name_nobody(tmp_path: Path) -> None:
    identified.make(tmp_path / "in", identified.mr(shape=(3, 2, 6, 8)))
    image = identified.opened(tmp_path / "in")
    image = image.assign_coords(hortensia_score=("tag", np.arange(3.0)), score=("tag", np.arange(3.0)))
    image.attrs |= {"long_name": "t1 of Hortensia", "units": "per Qvistgaard", "quantity": "zx81-4477"}
    image["tag"].attrs["long_name"] = "times of Hortensia"
    out = image.imd.deidentify()
    assert "score" in out.coords
    assert not [s for s in SECRETS if s in repr(out.to_dataset(name="image").to_dict(data=True)).lower()]


@pytest.mark.filterwarnings("ignore")
def test_segments_name_nobody(tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")
    identified.make(tmp_path / "in", identified.mr(shape=(1, 2, 6, 8)))
    image = identified.opened(tmp_path / "in").isel(tag=0)
    label = ["GTV of Hortensia"]
    mask = (image > image.median()).expand_dims(segment=[1]).assign_coords(label=("segment", label))
    mask.attrs = dict(image.attrs)
    out = mask.imd.deidentify(pixels="keep")
    assert [str(v) for v in out["label"].values] == ["GTV of ***"]


# --- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["files", "zarr", "deidentified", "parts"])
@pytest.mark.filterwarnings("ignore")
def test_one_image_that_shows_something_among_many_is_found(tmp_path: Path, how: str) -> None:
    paths = phantoms.make(tmp_path / "in", phantoms.mr(shape=(3, 2, 6, 8), elements={"BurnedInAnnotation": "NO"}))
    ds = pydicom.dcmread(paths[3])
    ds.BurnedInAnnotation = "YES"
    ds.save_as(paths[3])
    image = identified.opened(tmp_path / "in")
    if how == "zarr":
        image.imd.write(tmp_path / "a.zarr", identifiers=True)
        image = xr.open_dataarray(tmp_path / "a.zarr", engine="imagedata")
    elif how == "deidentified":
        image = image.imd.deidentify(pixels="keep")
    elif how == "parts":
        image.isel(tag=[0]).imd.deidentify()  # in which it is not
        image = xr.concat([image.isel(tag=[2]), image.isel(tag=[1])], "tag", coords="minimal", compat="override")
    with pytest.raises(IdentityError, match="Burned In Annotation"):
        image.imd.deidentify()


@pytest.mark.filterwarnings("ignore")
def test_words_that_the_library_needs_stay_where_somebody_is_called_so(tmp_path: Path) -> None:
    who = replace(phantoms.ANNA, name="Siemens^Slice^Tag", id="ECHO-1")
    elements = {"Manufacturer": "SIEMENS", "BodyPartExamined": "KNEE", "PatientPosition": "HFS"}
    phantoms.make(tmp_path / "in", phantoms.mr(shape=(3, 2, 6, 8), who=who, elements=elements))
    before = identified.opened(tmp_path / "in")
    before.imd.deidentify(options=["modified_dates", "clean_descriptors"]).imd.write(tmp_path / "out")
    after = identified.opened(tmp_path / "out")
    assert set(after.coords) == set(before.coords)
    np.testing.assert_allclose(after.imd.affine, before.imd.affine)
    for word, value in elements.items():
        assert after.attrs[word] == value

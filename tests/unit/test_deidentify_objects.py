"""De-identification of objects without pixels: those that can be cleaned stay and still refer, the others are named."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import identified
import numpy as np
import pydicom
import pytest
import xarray as xr
from identified import SECRETS, WHO, found
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from imagedata_xr.errors import ImagedataWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*", "error::imagedata_xr.errors.ImagedataWarning")

ROOT = "1.2.826.0.1.3680043.8.498.80"
CLASSES = {
    "RTSTRUCT": "481.3", "RTPLAN": "481.5", "PR": "11.1", "REG": "66.1", "SR": "88.22", "KO": "88.59", "DOC": "104.1",
    "OT": "66",
}  # fmt: skip


def item(**elements: Any) -> Dataset:
    """Item of a sequence."""
    out = Dataset()
    for keyword, value in elements.items():
        setattr(out, keyword, value)
    return out


def code(value: str, meaning: str) -> Dataset:
    """Item of a code sequence."""
    return item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)


def reference(image: Dataset) -> Dataset:
    """Item that refers to an image."""
    return item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def structure_set(image: Dataset) -> dict[str, Any]:
    """A contour of one triangle on an image."""
    contour = item(
        ContourImageSequence=[reference(image)], ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=3,
        ContourData=[0, 0, 5, 4.25, 0, 5, 0, 4.25, 5],
    )  # fmt: skip
    frame = item(
        FrameOfReferenceUID=image.FrameOfReferenceUID,
        RTReferencedStudySequence=[
            item(
                ReferencedSOPClassUID=UID("1.2.840.10008.3.1.2.3.1"), ReferencedSOPInstanceUID=image.StudyInstanceUID,
                RTReferencedSeriesSequence=[
                    item(SeriesInstanceUID=image.SeriesInstanceUID, ContourImageSequence=[reference(image)])
                ],
            )
        ],
    )  # fmt: skip
    return {
        "StructureSetLabel": "QVISTGAARD", "StructureSetDate": WHO.date, "StructureSetTime": "101500",
        "ReferencedFrameOfReferenceSequence": [frame],
        "StructureSetROISequence": [
            item(ROINumber=1, ReferencedFrameOfReferenceUID=image.FrameOfReferenceUID, ROIName="GTV of Hortensia",
                 ROIGenerationAlgorithm="MANUAL")
        ],
        "ROIContourSequence": [item(ReferencedROINumber=1, ContourSequence=[contour])],
        "RTROIObservationsSequence": [
            item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="GTV", ROIInterpreter="Ludvigsen^O")
        ],
        "ApprovalStatus": "UNAPPROVED",
    }  # fmt: skip


def plan(structures: Dataset) -> dict[str, Any]:
    """A plan on a structure set."""
    return {
        "RTPlanLabel": "Hortensia", "RTPlanDate": WHO.date, "RTPlanTime": "101500", "RTPlanGeometry": "PATIENT",
        "ReferencedStructureSetSequence": [reference(structures)], "ApprovalStatus": "UNAPPROVED",
    }  # fmt: skip


def presentation(image: Dataset) -> dict[str, Any]:
    """A presentation state with a text and a line."""
    text = item(UnformattedTextValue="Qvistgaard 2020-01-02", AnchorPoint=[1.0, 2.0],
                AnchorPointAnnotationUnits="PIXEL", AnchorPointVisibility="N")  # fmt: skip
    line = item(GraphicAnnotationUnits="PIXEL", GraphicDimensions=2, NumberOfGraphicPoints=2, GraphicFilled="N",
                GraphicData=[1.0, 1.0, 3.0, 3.0], GraphicType="POLYLINE")  # fmt: skip
    return {
        "ContentLabel": "SHOWN", "ContentDescription": "", "PresentationCreationDate": WHO.date,
        "PresentationCreationTime": "101500", "ContentCreatorName": "Ludvigsen^Ove", "InstanceNumber": 1,
        "ReferencedSeriesSequence": [
            item(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedImageSequence=[reference(image)])
        ],
        "DisplayedAreaSelectionSequence": [
            item(DisplayedAreaTopLeftHandCorner=[1, 1], DisplayedAreaBottomRightHandCorner=[8, 6],
                 PresentationSizeMode="SCALE TO FIT", PresentationPixelAspectRatio=[1, 1])
        ],
        "GraphicAnnotationSequence": [
            item(GraphicLayer="LAYER", TextObjectSequence=[text], GraphicObjectSequence=[line])
        ],
        "GraphicLayerSequence": [item(GraphicLayer="LAYER", GraphicLayerOrder=1)],
        "PresentationLUTShape": "IDENTITY",
    }  # fmt: skip


def report(image: Dataset) -> dict[str, Any]:
    """A report that says something in words, by a code, by a number, and of an image."""
    root = code("121070", "Findings")
    content = [
        item(RelationshipType="CONTAINS", ValueType="TEXT", ConceptNameCodeSequence=[root], TextValue="Qvistgaard"),
        item(RelationshipType="HAS OBS CONTEXT", ValueType="PNAME", PersonName="Ludvigsen^Ove",
             ConceptNameCodeSequence=[code("121008", "Observer")]),
        item(RelationshipType="CONTAINS", ValueType="CODE", ConceptNameCodeSequence=[root],
             ConceptCodeSequence=[code("111102", "Mass")]),
        item(RelationshipType="CONTAINS", ValueType="NUM", ConceptNameCodeSequence=[code("121206", "Distance")],
             MeasuredValueSequence=[item(NumericValue="12.5", MeasurementUnitsCodeSequence=[code("mm", "mm")])]),
        item(RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=[reference(image)]),
    ]  # fmt: skip
    return {
        "ValueType": "CONTAINER", "ContinuityOfContent": "SEPARATE", "ConceptNameCodeSequence": [root],
        "ContentSequence": content, "CompletionFlag": "COMPLETE", "VerificationFlag": "VERIFIED",
        "VerifyingObserverSequence": [
            item(VerifyingOrganization="Marburg", VerificationDateTime=f"{WHO.date}101500",
                 VerifyingObserverName="Ludvigsen^Ove", VerifyingObserverIdentificationCodeSequence=[])
        ],
    }  # fmt: skip


def add(folder: Path, modality: str, image: Dataset, elements: dict[str, Any], number: int) -> Dataset:
    """Write an object of the study of an image."""
    ds = Dataset()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "StudyTime",
                    "FrameOfReferenceUID", "InstitutionName"):  # fmt: skip
        ds[keyword] = image[keyword]
    ds.PatientSex = ds.StudyID = ds.AccessionNumber = ds.ReferringPhysicianName = ds.Manufacturer = ""
    ds.SOPClassUID, ds.Modality = UID(f"1.2.840.10008.5.1.4.1.1.{CLASSES[modality]}"), modality
    ds.SOPInstanceUID, ds.SeriesInstanceUID = UID(f"{ROOT}.{number}.1"), UID(f"{ROOT}.{number}")
    ds.SeriesNumber, ds.SeriesDescription, ds.InstanceNumber = number, "of Hortensia", 1
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    identified.add_private(ds).save_as(folder / f"{modality}.dcm", enforce_file_format=True)
    return ds


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A series and one object of each kind."""
    folder = tmp_path / "in"
    files = identified.make(folder / "image", identified.mr())
    image = pydicom.dcmread(files[0], stop_before_pixels=True)
    structures = add(folder, "RTSTRUCT", image, structure_set(image), 11)
    add(folder, "RTPLAN", image, plan(structures), 12)
    add(folder, "PR", image, presentation(image), 13)
    add(folder, "SR", image, report(image), 14)
    add(folder, "DOC", image, {"EncapsulatedDocument": b"%PDF-Qvistgaard", "MIMETypeOfEncapsulatedDocument": "pdf"}, 15)
    add(folder, "OT", image, {}, 16)
    return folder


def written(folder: Path) -> dict[str, pydicom.Dataset]:
    """One instance of each modality."""
    return {str(ds.Modality): ds for ds in map(pydicom.dcmread, sorted(folder.rglob("*.dcm")))}


def test_what_can_be_cleaned_stays_and_the_rest_is_named(study: Path, tmp_path: Path) -> None:
    tree = xr.open_datatree(study, engine="imagedata")
    said = r"3 objects without pixels are left out \(1 Encapsulated PDF, 1 Enhanced SR, 1 Raw Data\).*clean_structured"
    with pytest.warns(ImagedataWarning, match=said):
        out = tree.imd.deidentify(seed="k")
    result = out.imd.write(tmp_path / "out")
    assert len(result) == 4
    assert not found(tmp_path / "out")
    assert not [s for s in SECRETS if s in " ".join(result).lower()]
    have = written(tmp_path / "out")
    assert set(have) == {"MR", "RTSTRUCT", "RTPLAN", "PR"}
    assert all(ds.PatientIdentityRemoved == "YES" for ds in have.values())
    assert len({ds.StudyInstanceUID for ds in have.values()}) == len({ds.PatientID for ds in have.values()}) == 1
    assert {ds.FrameOfReferenceUID for ds in have.values()} == {have["MR"].FrameOfReferenceUID}


def test_contours_and_references_are_those_of_the_images(study: Path, tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning):
        xr.open_datatree(study, engine="imagedata").imd.deidentify(seed="k").imd.write(tmp_path / "out")
    have = written(tmp_path / "out")
    images = {ds.SOPInstanceUID for ds in map(pydicom.dcmread, (tmp_path / "out" / "0001").iterdir())}
    structures = have["RTSTRUCT"]
    contour = structures.ROIContourSequence[0].ContourSequence[0]
    assert [float(x) for x in contour.ContourData] == [0, 0, 5, 4.25, 0, 5, 0, 4.25, 5]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in images
    frame = structures.ReferencedFrameOfReferenceSequence[0]
    assert frame.FrameOfReferenceUID == have["MR"].FrameOfReferenceUID
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == have["MR"].SeriesInstanceUID
    assert structures.StructureSetDate == have["MR"].StudyDate
    assert have["RTPLAN"].ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == structures.SOPInstanceUID
    assert have["PR"].ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID in images


def test_drawings_and_reports_are_kept_on_request(study: Path, tmp_path: Path) -> None:
    tree = xr.open_datatree(study, engine="imagedata")
    options = ("modified_dates", "clean_structured", "clean_graphics")
    with pytest.warns(ImagedataWarning, match="2 objects without pixels"):
        tree.imd.deidentify(seed="k", options=options).imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    have = written(tmp_path / "out")
    (drawn,) = have["PR"].GraphicAnnotationSequence
    assert list(drawn.GraphicObjectSequence[0].GraphicData) == [1, 1, 3, 3]
    assert drawn.TextObjectSequence[0].UnformattedTextValue == "ANONYMIZED"
    content = have["SR"].ContentSequence
    assert [c.ValueType for c in content] == ["CODE", "NUM", "IMAGE"]
    assert content[1].MeasuredValueSequence[0].NumericValue == 12.5
    assert content[2].ReferencedSOPSequence[0].ReferencedSOPInstanceUID in {
        ds.SOPInstanceUID for ds in map(pydicom.dcmread, (tmp_path / "out" / "0001").iterdir())
    }


def test_without_the_options_nothing_that_was_drawn_stays(study: Path, tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning):
        xr.open_datatree(study, engine="imagedata").imd.deidentify(seed="k").imd.write(tmp_path / "out")
    state = written(tmp_path / "out")["PR"]
    assert "GraphicAnnotationSequence" not in state
    assert "GraphicLayerSequence" not in state
    assert state.DisplayedAreaSelectionSequence[0].PresentationSizeMode == "SCALE TO FIT"


@pytest.mark.parametrize("options", [(), ("modified_dates", "clean_structured", "clean_graphics")])
def test_valid_objects_stay_valid(
    study: Path, tmp_path: Path, options: tuple[str, ...], require_program: Callable[[str], Path]
) -> None:
    program = require_program("dciodvfy")

    def errors(path: Path) -> set[str]:
        done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False)
        lines = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        return {re.sub(r"\[\d+\]|= +<[^>]*>$", "", line) for line in lines}  # numbers of items, and UIDs, change

    with pytest.warns(ImagedataWarning):
        xr.open_datatree(study, engine="imagedata").imd.deidentify(options=options).imd.write(tmp_path / "out")
    for path in sorted((tmp_path / "out").rglob("*.dcm")):
        modality = str(pydicom.dcmread(path).Modality)
        if modality != "MR":
            assert errors(path) <= errors(study / f"{modality}.dcm"), modality


def test_the_command_writes_them_after_the_images_and_says_what_is_left_out(study: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from imagedata_xr.cli import main

    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["deidentify", str(study), str(out), "--seed", "k"])
    assert done.exit_code == 0, done.output
    assert not [s for s in SECRETS if s in done.output.lower().replace(str(tmp_path).lower(), "")]
    assert "1 Encapsulated PDF, 1 Enhanced SR, 1 Raw Data" in " ".join(done.output.split())
    assert sorted(p.name for p in out.iterdir()) == ["0001", "0002", "0003", "0004"]
    assert not found(out)
    again = CliRunner().invoke(
        main, ["deidentify", str(study), str(tmp_path / "n"), "--seed", "k", "--format", "nifti"]
    )
    assert again.exit_code == 0, again.output
    assert "3 object that only DICOM can hold" in " ".join(again.output.split())


def test_speech_is_no_measurement() -> None:
    from imagedata_xr.dicom.deidentifying.cleaning import Cleaner
    from imagedata_xr.dicom.deidentifying.policy import policy_of

    ds = item(PatientID="P", WaveformSequence=[item(WaveformData=b"\1\0", NumberOfWaveformChannels=1)])
    for sop_class, kept in (("9.1.1", True), ("9.4.1", False), ("2", False)):
        ds.SOPClassUID = UID(f"1.2.840.10008.5.1.4.1.1.{sop_class}")
        assert ("WaveformSequence" in Cleaner(policy_of(seed="k")).header(ds)) == kept


def test_words_of_content_go_unless_descriptors_are_cleaned() -> None:
    from imagedata_xr.dicom.deidentifying.cleaning import Cleaner
    from imagedata_xr.dicom.deidentifying.policy import policy_of

    said = item(ValueType="TEXT", TextValue="seen by Mrs Miller")
    ds = item(PatientID="P", SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.4"), ProtocolContextSequence=[said])
    strict = Cleaner(policy_of(options=(), seed="k")).header(ds)
    assert "TextValue" not in strict.ProtocolContextSequence[0]
    clean = Cleaner(policy_of(options=("clean_descriptors",), seed="k")).header(ds)
    assert clean.ProtocolContextSequence[0].TextValue == "seen by ***"
    assert np.array_equal(ds.ProtocolContextSequence[0].ValueType, "TEXT")

"""Every keyword of the dictionary that can be assigned is in the files; the others are refused, with a reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]
from pydicom.multival import MultiValue

import imagedata_xr
from imagedata_xr.dicom.headers import editing
from imagedata_xr.errors import ImagedataWarning, LabelError

VALUES: dict[str, Any] = {
    "AE": "STATION", "AS": "030Y", "CS": "TEXT", "DA": "20200102", "DT": "20200102101112", "LO": "text",
    "LT": "long text", "PN": "Doe^X", "SH": "short", "ST": "some", "TM": "101112", "UC": "text", "UI": "1.2.3.4",
    "UR": "http://x.y/z", "UT": "text", "DS": 2.5, "IS": 3, "FL": 2.5, "FD": 2.5, "US": 3, "SS": 3, "UL": 3, "SL": 3,
    "UV": 3, "SV": 3, "US or SS": 3,
}  # fmt: skip


def candidates() -> dict[str, Any]:
    """A value for each keyword that is not retired; Scan Options gets a word by rule beside Trigger Time."""
    out = {}
    for vr, vm, _, retired, keyword in DicomDictionary.values():
        if keyword and not retired and vr in VALUES and keyword not in ("Modality", "TriggerTime"):
            low = vm.split("-")[0]
            out[keyword] = VALUES[vr] if low in ("1", "0") else [VALUES[vr]] * int(low)
    return out


def assignable(placed: bool) -> dict[str, Any]:
    """Those that are not refused as a whole; each by itself would take long."""
    out = {}
    for keyword, value in candidates().items():
        try:
            editing._vr(keyword, placed)
            out[keyword] = value
        except LabelError as error:
            assert "can't be assigned: " in str(error)  # noqa: PT017
    return out


def said(ds: pydicom.Dataset, keyword: str) -> Any:
    value = ds.get(keyword)
    several = isinstance(value, (MultiValue, list))
    plain = [float(v) if isinstance(v, (int, float)) else str(v) for v in (value if several else [value])]
    return plain if several else plain[0]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> xr.DataArray:
    folder = tmp_path_factory.mktemp("keywords") / "in"
    phantoms.make(folder, phantoms.mr(shape=(1, 2, 4, 4)))
    return phantoms.opened(folder)


ARRAY = np.arange(32.0, dtype=np.float32).reshape(1, 2, 4, 4)
KINDS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "read": lambda image: image,
    "computed": lambda image: image * 0.3,
    "array in place": lambda _: imagedata_xr.from_array(ARRAY, spacing=(1, 1, 1)),
    "array": lambda _: imagedata_xr.from_array(ARRAY),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_assigned_is_written(kind: str, image: xr.DataArray, tmp_path: Path) -> None:
    subject = KINDS[kind](image)
    keywords = assignable(placed=kind != "array")
    patient = [k for k in keywords if k.startswith("Patient") or "Study" in k] if "array" not in kind else []
    keywords = {k: v for k, v in keywords.items() if k not in patient}  # else its own header is not trusted any more
    assert len(keywords) > 3000
    written = subject.imd.assign_dicom(**keywords).imd.write(tmp_path / "out", format="dicom")
    ds = pydicom.dcmread(written.paths[0])
    assert {k: said(ds, k) for k, v in keywords.items() if said(ds, k) != v} == {}


def test_single_images_are_told_apart_by_each_number(image: xr.DataArray, tmp_path: Path) -> None:
    """Texts and numbers of slices: in the file of their slice, or refused."""
    keywords: dict[str, Any] = {}
    for keyword, value in list(assignable(placed=True).items())[::9]:
        if isinstance(value, list):
            continue
        pair = [value, value + 1] if isinstance(value, (int, float)) else [value, value]
        try:
            image.imd.assign_dicom(**{keyword: ("slice", pair)})
            keywords[keyword] = pair
        except LabelError:
            pass
    assert len(keywords) > 100
    assigned = image.imd.assign_dicom(**{k: ("slice", v) for k, v in keywords.items()})
    files = [pydicom.dcmread(p) for p in assigned.imd.write(tmp_path / "out", format="dicom").paths]
    wrong = {k: [said(ds, k) for ds in files] for k, v in keywords.items() if [said(ds, k) for ds in files] != v}
    assert wrong == {}


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"InstanceNumber": 3}, "made anew when they are written"),
        ({"NumberOfSlices": 3}, "made anew when they are written"),
        ({"SpecificCharacterSet": "ISO_IR 100"}, "character_set"),
        ({"ASLContext": "LABEL"}, "asl_context"),
        ({"ImagerPixelSpacing": [1, 1]}, "assign_grid"),
        ({"PatientOrientation": ["L", "P"]}, "assign_grid"),
        ({"StudyDate": ("slice", ["20200101", "20200102"])}, "one value for all images"),
        ({"SeriesDescription": ("slice", ["a", "b"])}, "one value for all images"),
        ({"StudyDate": "20200230"}, "no such day"),
        ({"StudyDate": "20200101-20200202"}, "no such day"),
        ({"StudyTime": "2561"}, "no such day or time"),
        ({"SeriesDescription": "two\nlines"}, "control character"),
        ({"StudyInstanceUID": "1.2.a"}, "UI"),
        ({"StudyInstanceUID": "1." + "2" * 64}, "66 characters"),
        ({"ImagingFrequency": [1.0, "", 2.0][:2]}, "one is empty"),
        ({"RecommendedDisplayFrameRateInFloat": 1e39}, "32 bits"),
    ],
)
def test_more_that_is_refused(keywords: dict[str, Any], message: str, image: xr.DataArray) -> None:
    with pytest.raises(LabelError, match=message):
        image.imd.assign_dicom(**keywords)


@pytest.mark.parametrize("name", ["slice", "acquired", "instance"])
def test_labels_in_another_sequence_are_refused(name: str, image: xr.DataArray) -> None:
    labels = {"slice": image.slice.values, "acquired": np.array([5.0, 6.0]), "instance": image.instance.values[0]}[name]
    subject = image.assign_coords(acquired=("slice", [5.0, 6.0]))
    there = xr.DataArray([1.0, 2.0], dims="slice", coords={name: ("slice", labels)})
    turned = xr.DataArray([1.0, 2.0], dims="slice", coords={name: ("slice", labels[::-1])})
    if name != "instance":
        assert subject.imd.assign_dicom(EchoTime=there).echo_time.values.tolist() == [1, 2]
    with pytest.raises(LabelError, match=f"labels of '{name}'"):
        subject.isel(tag=0).imd.assign_dicom(EchoTime=turned)


def test_a_single_number_of_an_array_is_a_number(image: xr.DataArray) -> None:
    assert image.imd.assign_dicom(ImagingFrequency=xr.DataArray(2.5)).attrs["ImagingFrequency"] == 2.5
    assert image.imd.assign_dicom(ProtocolName=np.array("a")).attrs["ProtocolName"] == "a"
    assert "echo_time" not in image.imd.assign_dicom(EchoTime="").coords


def test_the_modality_decides_upon_the_class(image: xr.DataArray, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        done = image.imd.assign_dicom(Modality="CT").imd.write(tmp_path / "out", format="dicom")
    ds = pydicom.dcmread(done.paths[0])
    assert (ds.SOPClassUID, ds.Modality) == (phantoms.CT, "CT")


def test_words_of_write_win_over_assigned_ones(image: xr.DataArray, tmp_path: Path) -> None:
    assigned = image.imd.assign_dicom(SeriesNumber=77, SeriesDescription="a", ImageType=["DERIVED", "SECONDARY", "A"])
    done = assigned.imd.write(tmp_path / "a", format="dicom")
    ds = pydicom.dcmread(done.paths[0])
    assert (ds.SeriesNumber, ds.SeriesDescription, ds.ImageType[2]) == (77, "a", "A")
    asked = {"series_number": 5, "series_description": "b", "image_type": ["DERIVED", "SECONDARY", "B"]}
    ds = pydicom.dcmread(assigned.imd.write(tmp_path / "b", format="dicom", **asked).paths[0])
    assert (ds.SeriesNumber, ds.SeriesDescription, ds.ImageType[2]) == (5, "b", "B")


def test_volume_labels_of_another_image_leave_what_was_assigned_to_images(image: xr.DataArray, tmp_path: Path) -> None:
    texts = image.imd.assign_dicom(ImageComments=[["a", "b"]])
    files = texts.imd.assign_tags(image).imd.write(tmp_path / "out", format="dicom").paths
    assert [pydicom.dcmread(p).ImageComments for p in files] == ["a", "b"]


def test_an_object_keeps_its_own_modality_and_type(
    image: xr.DataArray, tmp_path: Path, require_module: Callable[[str], Any]
) -> None:
    require_module("highdicom")
    mask = (image > 1000).imd.assign_dicom(Modality="MR", ImageType=["DERIVED", "SECONDARY", "A"], ContentLabel="LAB")
    ds = pydicom.dcmread(mask.imd.write(tmp_path / "out", kind="segmentation").paths[0])
    assert (ds.Modality, ds.ImageType[0], ds.ContentLabel) == ("SEG", "DERIVED", "LAB")

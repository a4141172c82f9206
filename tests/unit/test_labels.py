"""Coords and attrs of an opened image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from series import Elements, image, open_image, save, series


def test_file_meta_information_is_no_label(tmp_path: Path) -> None:
    folder = series(tmp_path, 2, 2, lambda v, k: {"SOPInstanceUID": f"1.2.{'3' * (v + 1)}.{k}"})
    a = open_image(folder)
    assert not [n for n in a.coords if "group_length" in str(n)]


def code(value: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, "99X", "made"
    return ds


def full(v: int, k: int) -> Elements:
    return {
        "EchoTime": 5 + v,
        "FlipAngle": 15,
        "NumberOfAverages": 2,
        "RepetitionTime": 3000,
        "EchoTrainLength": 7 + v,
        "SAR": 0.1 * k,
        "ProtocolName": f"protocol {v}",
        "WindowCenter": 40,
        "RescaleSlope": 2,
        "RescaleIntercept": 0,
        "AcquisitionTime": f"1015{v:02d}",
        "OperatorsName": "Åse^Ødegård",
        "SpecificCharacterSet": "ISO_IR 192",
        "ImagedNucleus": "1H",
        "AcquisitionMatrix": [0, 64, 64, 0],
        "ProcedureCodeSequence": [code("1")],
        "ImageComments": "",
    }


def test_no_strings_on_image_dims_and_no_second_index(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2, full), order="te")
    for name, coord in a.coords.items():
        assert coord.dtype.kind in "fiM" or coord.ndim == 0, name
    assert set(a.xindexes) == {"tag", "slice", "row", "col"}


def test_what_varies_by_volume_is_a_coord(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2, full), order="none")
    assert a.echo_time.dims == ("tag",)
    assert a.echo_time.attrs["units"] == "ms"
    assert a.echo_train_length.values.tolist() == [7, 8, 9]
    assert "sar" not in a.coords  # varies within a volume
    assert (float(a.flip_angle), float(a.number_of_averages), float(a.repetition_time)) == (15, 2, 3000)
    assert not {"EchoTrainLength", "EchoTime", "SAR", "ProtocolName"} & set(a.attrs)


def test_attrs_are_what_all_images_share(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2, full), order="none")
    assert a.attrs["PatientName"] == "Doe^Jane"
    assert a.attrs["OperatorsName"] == "Åse^Ødegård"
    assert a.attrs["AcquisitionMatrix"] == [0, 64, 64, 0]
    assert a.attrs["SeriesNumber"] == 7
    assert a.attrs["ImageComments"] == ""
    assert json.loads(a.attrs["ProcedureCodeSequence"])[0]["00080100"]["Value"] == ["1"]
    for value in a.attrs.values():
        assert isinstance(value, (str, int, float)) or all(isinstance(v, (str, int, float)) for v in value)


@pytest.mark.parametrize(
    "keyword",
    ["Rows", "PixelSpacing", "EchoTime", "FlipAngle", "RescaleSlope", "WindowCenter", "SOPInstanceUID", "BitsStored",
     "InstanceNumber", "AcquisitionTime", "ImagePositionPatient", "FrameOfReferenceUID", "SpecificCharacterSet",
     "TransferSyntaxUID", "PixelData"],
)  # fmt: skip
def test_what_labels_geometry_or_pixels_say_is_no_attr(tmp_path: Path, keyword: str) -> None:
    assert keyword not in open_image(series(tmp_path, 3, 2, full), order="te").attrs


def test_an_element_that_some_images_lack_is_no_attr(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 2, 2, lambda v, k: {"StudyDescription": "x"} if v else {}))
    assert "StudyDescription" not in a.attrs


def test_a_value_that_its_vr_forbids_is_kept_as_text(tmp_path: Path) -> None:
    path = save(image(0, 0, {"PatientWeight": "70.55"}), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"70.55 ", b"70,55 "))
    assert open_image(tmp_path).attrs["PatientWeight"] == "70,55"


def test_scalars_of_identity_and_place(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 1, 2))
    assert a.patient.ndim == a.study.ndim == a.geometry.ndim == 0
    assert str(a.source.item()) == str(tmp_path)
    assert a.slice.values.tolist() == [0, 3]
    assert a.row.values.tolist() == [5, 7, 9, 11]
    assert a.col.values.tolist() == [-10, -8.5, -7, -5.5, -4]
    assert {a[n].attrs["units"] for n in ("slice", "row", "col")} == {"mm"}


def test_instances_are_told_apart(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2))
    assert a.instance.dims == ("tag", "slice")
    assert a.instance.dtype == np.int64
    assert len(np.unique(a.instance)) == 6


@pytest.mark.parametrize(
    ("elements", "units"),
    [
        ({"Modality": "CT", "RescaleIntercept": "0"}, "HU"),
        ({"Modality": "CT"}, None),
        ({"Modality": "CT", "RescaleType": "HU"}, "HU"),
        ({"Modality": "CT", "RescaleIntercept": "0", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, None),
        ({"Modality": "PT", "Units": "BQML"}, "Bq/ml"),
        ({"Modality": "MR", "RescaleType": "Hz"}, "Hz"),
        ({"Modality": "MR", "RescaleType": "normalized"}, None),
        ({"Modality": "MR", "RescaleType": "US"}, None),
        ({"Modality": "MR"}, None),
    ],
)
def test_units_of_the_values(tmp_path: Path, elements: Elements, units: str | None) -> None:
    folder = series(tmp_path, 1, 2, lambda v, k: elements)
    assert open_image(folder).attrs.get("units") == units
    assert "units" not in open_image(folder, mask_and_scale=False).attrs

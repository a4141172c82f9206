"""Plain values as elements, and frames as classic headers."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from typing import Any, cast

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from phantoms import MR
from pydicom.datadict import tag_for_keyword

from imagedata_xr.dicom.headers.header import Headers, Place
from imagedata_xr.dicom.sorting.attrs import attr_value
from imagedata_xr.dicom.writing import fields, identity_out, stale
from imagedata_xr.dicom.writing.classic import frame_header, is_multiframe
from imagedata_xr.dicom.writing.fields import decimal, element_of, from_attrs, moment, numbers, put, put_moment
from imagedata_xr.dicom.writing.own_headers import OwnHeaders
from imagedata_xr.dicom.writing.source_labels import diffusion_of, unknown_b_values
from imagedata_xr.dicom.writing.uids import IMPLEMENTATION_CLASS_UID, new_uid
from imagedata_xr.errors import FormatError, SourceError
from imagedata_xr.model.identity import instance_digest


@given(st.floats(-1e300, 1e300))
def test_decimal_strings_are_short_and_near(value: float) -> None:
    text = decimal(value)
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=6e-9, abs=1e-300)


@pytest.mark.parametrize("power", range(-20, 20))
@pytest.mark.parametrize("sign", [-1, 1])
def test_numbers_beside_a_power_of_ten_are_short_and_near(power: int, sign: int) -> None:
    for steps in range(1, 40):
        value = sign * 10.0**power * (1 - steps * 2.0**-53)
        test_decimal_strings_are_short_and_near.hypothesis.inner_test(value)  # type: ignore[attr-defined]


@given(st.floats(-1e4, 1e4))
def test_positions_keep_a_billionth_of_a_mm(value: float) -> None:
    assert abs(float(decimal(value)) - value) <= 1e-9


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_decimal_string_is_not_finite(value: float) -> None:
    with pytest.raises(FormatError, match="finite"):
        decimal(value)


def test_whole_numbers_are_written_as_such() -> None:
    assert [decimal(v) for v in (1.0, -1024.0, 0.0, -0.0)] == ["1", "-1024", "0", "0"]


def test_elements_go_into_attrs_and_come_back() -> None:
    item = pydicom.Dataset()
    item.CodeValue, item.CodeMeaning = "T-A0100", "Gehirn ä"
    ds = pydicom.Dataset()
    ds.ImageType, ds.EchoNumbers, ds.PatientName = ["A", "B"], 3, "Müller^Zoé"
    ds.MagneticFieldStrength, ds.AcquisitionMatrix, ds.AnatomicRegionSequence = "2.8936", [0, 256, 192, 0], [item]
    attrs = {e.keyword: attr_value(e) for e in ds}
    ds.SpecificCharacterSet = "ISO_IR 192"
    assert from_attrs(attrs | {"units": "HU", "note": 1}) == ds


def test_a_sequence_that_is_no_json_is_named() -> None:
    with pytest.raises(FormatError, match="AnatomicRegionSequence"):
        from_attrs({"AnatomicRegionSequence": json.dumps([{"x": 1}])})


@pytest.mark.parametrize(
    ("coord", "element"),
    [
        ("echo_time", ("EchoTime", 1.0)),
        ("frame_duration", ("ActualFrameDuration", 1e-3)),
        ("saturation_recovery_time", None),
        ("asl_context", None),  # a code, which stands for a word
        ("number_of_phase_encoding_steps", ("NumberOfPhaseEncodingSteps", 1.0)),
        ("rows", None),
        ("patient_weight", None),
        ("instance_number", None),
        ("study_date", None),
        ("sop_instance_uid", None),
        ("my_own", None),
    ],
)
def test_which_element_a_coord_speaks_for(coord: str, element: tuple[str, float] | None) -> None:
    assert element_of(coord) == element


def test_moments_keep_microseconds() -> None:
    ds, when = pydicom.Dataset(), datetime(2024, 2, 29, 23, 59, 59, 123456)
    put_moment(ds, when, "AcquisitionDate", "AcquisitionTime")
    assert moment(ds, "AcquisitionDate", "AcquisitionTime") == when
    ds.AcquisitionTime = "2359"
    assert moment(ds, "AcquisitionDate", "AcquisitionTime") == datetime(2024, 2, 29, 23, 59)
    del ds.AcquisitionDate
    assert moment(ds, "AcquisitionDate", "AcquisitionTime") is None


def test_malformed_numbers_are_none() -> None:
    ds = pydicom.Dataset()
    put(ds, "PixelSpacing", ["1.5", "2"])
    assert numbers(ds, "PixelSpacing", 2) is not None
    assert numbers(ds, "PixelSpacing", 3) is None
    assert numbers(ds, "EchoTime", 1) is None


def test_every_keyword_in_the_lists_is_one() -> None:
    lists = (stale.STALE, identity_out.STUDY_KEYWORDS, identity_out._PATIENT_ELSEWHERE, fields._NOT_LABEL_KEYWORDS)
    assert [k for words in lists for k in words if tag_for_keyword(k) is None] == []


def test_uids_are_valid_and_new() -> None:
    uids = {new_uid() for _ in range(100)}
    assert len(uids) == 100
    assert all(pydicom.uid.UID(u).is_valid for u in (*uids, IMPLEMENTATION_CLASS_UID))


# --- frames -----------------------------------------------------------------------------------------------------------


def item(**elements: Any) -> pydicom.Dataset:
    ds = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


@pytest.fixture
def enhanced() -> pydicom.Dataset:
    """An enhanced MR header with two frames."""
    ds = item(SOPClassUID=f"{MR}.1", SOPInstanceUID="1.2.3", Modality="MR", NumberOfFrames=2)
    ds.EchoPulseSequence, ds.EchoPlanarPulseSequence, ds.Spoiling, ds.PulseSequenceName = (
        "SPIN",
        "YES",
        "RF",
        "epse2d1_104",
    )
    spacing = item(PixelMeasuresSequence=[item(PixelSpacing=[2, 3], SliceThickness=4)])
    timing = [item(RepetitionTime=2500, FlipAngle=90)]
    spacing.MRTimingAndRelatedParametersSequence = timing
    spacing.MRFOVGeometrySequence = [item(InPlanePhaseEncodingDirection="COLUMN")]
    ds.SharedFunctionalGroupsSequence = [spacing]
    frames = []
    for k in range(2):
        frame = item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 4 * k])])
        frame.FrameContentSequence = [item(FrameAcquisitionDateTime=f"2024030510000{k}.25", StackID="1")]
        frame.MREchoSequence = [item(EffectiveEchoTime=30.0 + k)]
        frame.PixelValueTransformationSequence = [item(RescaleSlope=2 + k, RescaleIntercept=-5, RescaleType="US")]
        gradient = item(DiffusionGradientOrientation=[0.0, 0.6, 0.8])
        frame.MRDiffusionSequence = [
            item(
                DiffusionBValue=1000.0,
                DiffusionDirectionality="DIRECTIONAL",
                DiffusionGradientDirectionSequence=[gradient],
            )
        ]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    return ds


def test_a_frame_becomes_a_classic_header(enhanced: pydicom.Dataset) -> None:
    assert is_multiframe(enhanced)
    ds = frame_header(enhanced, 2)
    assert list(ds.ImagePositionPatient) == [0, 0, 4]
    assert (list(ds.PixelSpacing), ds.SliceThickness, ds.RepetitionTime) == ([2, 3], 4, 2500)
    assert (ds.EchoTime, ds.RescaleSlope, ds.RescaleIntercept) == (31, 3, -5)
    assert (ds.AcquisitionDate, ds.AcquisitionTime) == ("20240305", "100001.25")
    assert (list(ds.ScanningSequence), ds.SequenceVariant, ds.SequenceName) == (["SE", "EP"], "SP", "epse2d1_104")
    assert ds.InPlanePhaseEncodingDirection == "COL"
    assert ds.ReferencedFrameNumber == 2
    assert "PerFrameFunctionalGroupsSequence" not in ds
    found = diffusion_of(ds)
    assert found is not None
    assert found[0] == 1000
    assert found[1].tolist() == [0, 0.6, 0.8]


def test_a_classic_header_stays_as_it_is() -> None:
    ds = item(SOPInstanceUID="1.2.3", EchoTime=4)
    assert frame_header(ds, 1) is ds
    assert "ReferencedFrameNumber" not in ds


class Counting:
    """Headers of one instance, that count how often it is read."""

    def __init__(self, ds: pydicom.Dataset) -> None:
        self.ds, self.reads = ds, 0

    def dataset(self, instance: int) -> pydicom.Dataset:
        self.reads += 1
        return copy.deepcopy(self.ds)


def test_an_instance_of_many_frames_is_read_once(enhanced: pydicom.Dataset) -> None:
    source = Counting(enhanced)
    own = OwnHeaders(cast("Headers", source))
    found = [own.of(instance_digest("1.2.3", n)) for n in (1, 2, 1)]
    assert source.reads == 1
    assert [int(d.ReferencedFrameNumber) for d in found] == [1, 2, 1]
    assert found[0] == found[2]
    assert found[0].ImagePositionPatient != found[1].ImagePositionPatient
    with pytest.raises(SourceError, match="replaced"):
        own.of(instance_digest("1.2.4", 1))


# --- diffusion of source headers --------------------------------------------------------------------------------------


def siemens(b: int, direction: tuple[float, ...] = (1.0, 0.0, 0.0)) -> pydicom.Dataset:
    ds = item(Manufacturer="SIEMENS", SequenceName="ep_b")
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", b)
    if b:
        block.add_new(0x0E, "FD", list(direction))
    return ds


def test_private_diffusion_elements_are_understood() -> None:
    found = diffusion_of(siemens(800, (0.0, 0.6, 0.8)))
    assert found is not None
    assert found[0] == 800
    assert np.allclose(found[1], (0, 0.6, 0.8))
    assert diffusion_of(item(Manufacturer="SIEMENS")) is None


class Source:
    """Headers of three images."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def instances(self) -> list[int]:
        return [1, 2, 3]

    def has(self, instance: int) -> bool:
        return instance in (1, 2, 3)

    def dataset(self, instance: int) -> pydicom.Dataset:
        self.read.append(instance)
        return siemens({1: 0, 2: 500, 3: 1000}[instance])

    def same_pixels(self, instance: int, stored: NDArray[Any]) -> bool:
        raise NotImplementedError

    def pixel_digest(self, instance: int) -> str:
        raise NotImplementedError

    def stored(self, instance: int) -> NDArray[Any] | None:
        raise NotImplementedError

    def place(self, instance: int) -> Place | None:
        raise NotImplementedError

    def identity(self, instance: int) -> tuple[int, int]:
        raise NotImplementedError

    def original(self, instance: int) -> pydicom.Dataset | None:
        raise NotImplementedError


def test_b_values_of_no_source_image_are_found() -> None:
    assert unknown_b_values({0.0, 250.0, 1000.4}, Source()) == {250.0}


def test_no_more_headers_are_read_than_needed() -> None:
    source = Source()
    assert unknown_b_values({0.0, 500.0}, source) == set()
    assert source.read == [1, 2]

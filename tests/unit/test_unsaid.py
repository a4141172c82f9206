"""Volumes that nothing names, most often since private elements were taken away: this is said."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from multiframe import Frame, instance, save
from pydicom.dataset import Dataset
from series import Elements, open_image, places, series, straight

from imagedata_xr.errors import ImagedataWarning

GE = {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}


def test_a_field_map_without_what_tells_its_kinds_apart_is_said(tmp_path: Path) -> None:
    """A GE B0 map without group 0043: images in Hz and magnitudes at the same places."""
    with pytest.warns(ImagedataWarning, match="2 volumes lie at the same places"):
        a = open_image(series(tmp_path, 2, 3, lambda v, k: GE))
    assert a.tag.attrs["order"] == "none"


def test_times_that_label_and_control_share_do_not_tell_them_apart(tmp_path: Path) -> None:
    """Spin labelling without group 2005: two volumes have each time."""
    frames = [Frame(k, v) for v in range(4) for k in range(2)]
    ds = instance(frames, number=1, Manufacturer="Philips Medical Systems")
    for frame, group in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        group.FrameContentSequence = [content := Dataset()]
        content.FrameAcquisitionDateTime = f"2024010110150{frame.v // 2}.000000"
    save(ds, tmp_path / "a.dcm")
    with pytest.warns(ImagedataWarning, match="4 volumes lie at the same places"):
        open_image(tmp_path, order="none")


@pytest.mark.parametrize(
    "more",
    [
        {"SeriesDescription": "ep2d_diff_mddw_20"},
        {"SeriesDescription": "Ax DWI b1000"},
        {"SequenceName": "*ep_b1000#3", "SeriesDescription": "DTI_64"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]},
    ],
)
def test_a_diffusion_series_without_b_values_is_said(tmp_path: Path, more: Elements) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"AcquisitionDate": "20240101", "AcquisitionTime": f"1015{10 * v + k:02d}.0", **more}

    with pytest.warns(ImagedataWarning, match="called one of diffusion"):
        a = open_image(series(tmp_path, 3, 2, vary))
    assert a.tag.attrs["order"] == "time"
    assert "b_value" not in a.coords


@pytest.mark.parametrize(
    "more",
    [
        lambda v: {"AcquisitionNumber": v + 1},
        lambda v: {"EchoTime": 5.0 * (v + 1)},
        lambda v: {"AcquisitionTime": f"10150{v}"},
        lambda v: {"DiffusionBValue": 100.0 * v, "SeriesDescription": "dwi"},
        lambda v: {"DiffusionBValue": 0.0, "SeriesDescription": "dwi b0 reversed", "AcquisitionNumber": v},
    ],
)
def test_volumes_that_a_label_names_are_not_complained_of(tmp_path: Path, more: object) -> None:
    assert callable(more)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        open_image(series(tmp_path, 3, 2, lambda v, k: more(v)))


@pytest.mark.parametrize("word", ["ep2d_diff_ADC", "DTI FA map", "difficult patient", "T2 tse"])
def test_maps_and_other_words_are_no_diffusion_series(tmp_path: Path, word: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        open_image(series(tmp_path, 2, 2, lambda v, k: {"SeriesDescription": word, "AcquisitionNumber": v}))


@pytest.mark.parametrize("order", ["none", "auto"])
def test_an_instance_number_against_the_acquisition_number_is_said(tmp_path: Path, order: str) -> None:
    """The instance number is kept to, since people and other programs go by it."""
    vary = lambda v, k: {"AcquisitionNumber": 3 - v}  # noqa: E731
    with pytest.warns(ImagedataWarning, match="AcquisitionNumber says that they were acquired in another sequence"):
        a = open_image(series(tmp_path, 3, 2, vary), order=order)
    assert places(a) == straight(3, 2)
    assert a.acquisition_number.values.tolist() == [3, 2, 1]


def test_a_time_course_by_instance_number_against_its_temporal_positions_is_said(tmp_path: Path) -> None:
    course: Elements = {
        "ScanningSequence": "EP",
        "MRAcquisitionType": "2D",
        "RepetitionTime": 2000,
        "NumberOfTemporalPositions": 3,
    }
    series(tmp_path, 3, 2, lambda v, k: {**course, "TemporalPositionIdentifier": 3 - v})
    with pytest.warns(ImagedataWarning, match="another sequence: order='TemporalPositionIdentifier' sorts by it"):
        a = open_image(tmp_path)
    assert a.tag.attrs["source"] == "InstanceNumber x RepetitionTime"
    by_position = open_image(tmp_path, order="TemporalPositionIdentifier")
    assert places(by_position) == straight(3, 2)[::-1]


def test_directions_in_another_sequence_than_their_times_are_said(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        b: Elements = {
            "DiffusionBValue": 1000.0 * (v > 0),
            "DiffusionGradientOrientation": [[0, 0, 1], [1, 0, 0]][v % 2],
        }
        return {**b, "AcquisitionDate": "20240101", "AcquisitionTime": f"1015{10 * (3 - v) + k:02d}.0"}

    with pytest.warns(ImagedataWarning, match="AcquisitionTime says"):
        a = open_image(series(tmp_path, 4, 2, vary))
    assert places(a) == straight(4, 2)
    assert a.b_value.values.tolist() == [0, 1000, 1000, 1000]


def test_equal_instance_numbers_leave_the_sequence_to_acquisition_numbers(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        # the UID, which breaks ties at last, tells another sequence
        return {"InstanceNumber": k + 1, "AcquisitionNumber": v + 1, "SOPInstanceUID": f"1.2.3.{9 - v}.{k + 1}"}

    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        a = open_image(series(tmp_path, 3, 2, vary))
    assert places(a) == straight(3, 2)


@pytest.mark.parametrize("lost", ["EchoTime", "InversionTime", "FlipAngle"])
def test_numbers_that_only_some_images_have_are_said(tmp_path: Path, lost: str) -> None:
    vary = lambda v, k: {lost: 10 * (v + 1) if v else None}  # noqa: E731
    with pytest.warns(ImagedataWarning, match=f"3 of 9 images have no {lost}, the others do"):
        a = open_image(series(tmp_path, 3, 3, vary))
    assert places(a) == straight(3, 3)

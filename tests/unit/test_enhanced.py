"""Frames of multi-frame instances without functional groups: dose grids, nuclear medicine, cine."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_dicom import encoded, write
from pydicom import uid
from pydicom.dataset import Dataset

from imagedata_xr.dicom.framing.enhanced import frame_columns
from imagedata_xr.dicom.framing.groups import FrameColumns
from imagedata_xr.dicom.scanning.scan import scan
from imagedata_xr.errors import GeometryError, ImagedataWarning, SourceError
from imagedata_xr.stores.url import find

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


@pytest.fixture
def beyond(shared: Path, tmp_path: Path) -> Callable[[str], Path]:
    """``beyond("rtdose")`` gives the folder with the DICOM files of a real case that is no plain series."""

    def unpack(name: str) -> Path:
        with tarfile.open(shared / "data" / "beyond" / f"{name}.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        return tmp_path / name / "dicom"

    return unpack


def multiframe(frames: int, sop_class: uid.UID = uid.UltrasoundMultiFrameImageStorage, **elements: Any) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, "1.2.3.4"
    ds.NumberOfFrames = frames
    ds.Rows = ds.Columns = 2
    ds.SamplesPerPixel, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 1, 8, 8, 7, 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = bytes(frames * 4 + frames % 2)
    ds["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def columns_of(ds: Dataset, folder: Path) -> FrameColumns:
    return frame_columns(scan(find(write(folder, encoded(ds))[0]), errors="raise"), 0)


def items(*contents: dict[str, Any]) -> list[Dataset]:
    out = []
    for content in contents:
        out.append(Dataset())
        for keyword, value in content.items():
            setattr(out[-1], keyword, value)
    return out


# --- cine -----------------------------------------------------------------------------------------------------------


def test_frame_time_gives_seconds_since_the_first_frame(tmp_path: Path) -> None:
    got = columns_of(multiframe(4, FrameTime="40", FrameIncrementPointer=0x00181063), tmp_path)
    np.testing.assert_allclose(got.numbers["FrameTime"], [0, 0.04, 0.08, 0.12])


def test_frame_time_vector_holds_increments(tmp_path: Path) -> None:
    ds = multiframe(4, FrameTimeVector=[0, 40, 20, 60], FrameTime="1", FrameIncrementPointer=0x00181065)
    np.testing.assert_allclose(columns_of(ds, tmp_path).numbers["FrameTime"], [0, 0.04, 0.06, 0.12])


def test_pointer_tells_which_of_both_times_counts(tmp_path: Path) -> None:
    ds = multiframe(3, FrameTimeVector=[0, 40, 20], FrameTime="10", FrameIncrementPointer=0x00181063)
    np.testing.assert_allclose(columns_of(ds, tmp_path).numbers["FrameTime"], [0, 0.01, 0.02])


@pytest.mark.parametrize("vector", [[0, 40], [0, -1, 2], [0, 1, 2, 3]])
def test_times_that_do_not_fit_are_left_out_with_a_warning(vector: list[int], tmp_path: Path) -> None:
    ds = multiframe(3, FrameTimeVector=vector, FrameIncrementPointer=0x00181065)
    with pytest.warns(ImagedataWarning, match=r"\(0018,1065\) gives no times for its 3 frames"):
        assert "FrameTime" not in columns_of(ds, tmp_path).numbers


def test_frames_without_times_have_no_columns(tmp_path: Path) -> None:
    got = columns_of(multiframe(3), tmp_path)
    assert len(got) == 3
    assert not got.numbers
    assert not got.texts


@pytest.mark.parametrize("frames", [0, -2, 2000000000])
def test_number_of_frames_that_can_not_be_is_refused(frames: int, tmp_path: Path) -> None:
    ds = multiframe(3)
    ds.NumberOfFrames = frames
    with pytest.raises(SourceError, match="which can't be"):
        columns_of(ds, tmp_path)


def test_real_cine(beyond: Callable[[str], Path]) -> None:
    got = frame_columns(scan(find(beyond("us_sonosite_cine")), errors="raise"), 0)
    np.testing.assert_allclose(got.numbers["FrameTime"], np.arange(30) * 0.033333)


# --- dose grids -------------------------------------------------------------------------------------------------------


def dose(offsets: list[float], position: list[float], orientation: list[float]) -> Dataset:
    return multiframe(
        3, uid.RTDoseStorage, FrameIncrementPointer=0x3004000C, GridFrameOffsetVector=offsets,
        ImagePositionPatient=position, ImageOrientationPatient=orientation,
    )  # fmt: skip


def test_offsets_from_zero_are_along_the_normal(tmp_path: Path) -> None:
    got = columns_of(dose([0, 2.5, 6], [10, 20, 30], [1, 0, 0, 0, 0, -1]), tmp_path)
    np.testing.assert_allclose(
        got.numbers["ImagePositionPatient"], [[10.0, 20.0, 30.0], [10.0, 22.5, 30.0], [10.0, 26.0, 30.0]]
    )


def test_prone_offsets_from_zero_run_along_the_negative_normal_too(tmp_path: Path) -> None:
    got = columns_of(dose([0, -2, -4], [10, 20, 30], [-1, 0, 0, 0, 1, 0]), tmp_path)
    np.testing.assert_allclose(got.numbers["ImagePositionPatient"][:, 2], [30, 32, 34])


def test_offsets_from_the_position_are_coordinates(tmp_path: Path) -> None:
    got = columns_of(dose([30, 32, 36], [10, 20, 30], [1, 0, 0, 0, 1, 0]), tmp_path)
    np.testing.assert_allclose(got.numbers["ImagePositionPatient"], [[10, 20, 30], [10, 20, 32], [10, 20, 36]])


@pytest.mark.parametrize(("first", "orientation"), [(31, AXIAL), (30, [1, 0, 0, 0, 0, -1])])
def test_offsets_of_neither_kind_are_refused(first: float, orientation: list[float], tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="can't be told"):
        columns_of(dose([first, first + 2, first + 4], [10, 20, 30], orientation), tmp_path)


def test_other_number_of_offsets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"3 frames.*2 numbers"):
        columns_of(dose([0, 2], [10, 20, 30], AXIAL), tmp_path)


def test_single_plane_lies_where_the_instance_says(tmp_path: Path) -> None:
    """Some write one plane of a grid with the offsets of all."""
    ds = dose([0, 2, 4], [10, 20, 30], AXIAL)
    ds.NumberOfFrames = 1
    assert not columns_of(ds, tmp_path).numbers


def test_grid_without_position_is_refused(tmp_path: Path) -> None:
    ds = dose([0, 2, 4], [10, 20, 30], AXIAL)
    del ds.ImagePositionPatient
    with pytest.raises(GeometryError, match="no image position"):
        columns_of(ds, tmp_path)


def test_real_legacy_converted_ct_has_its_groups(beyond: Callable[[str], Path]) -> None:
    got = frame_columns(scan(find(beyond("ect_legacy_dcmqi")), errors="raise"), 0)
    assert got.numbers["InstanceNumber"].tolist() == [1, 2, 3]
    assert got.texts["ImageType"] == ["ORIGINAL\\PRIMARY\\AXIAL\\NONE"] * 3
    assert len(np.unique(got.numbers["ImagePositionPatient"][:, 2])) == 3


def test_real_dose(beyond: Callable[[str], Path]) -> None:
    got = frame_columns(scan(find(beyond("rtdose")), errors="raise"), 0)
    np.testing.assert_allclose(got.numbers["ImagePositionPatient"][:, 2], -761.87 + 5 * np.arange(15))


# --- nuclear medicine -------------------------------------------------------------------------------------------------


def nuclear(frames: int, **elements: Any) -> Dataset:
    return multiframe(frames, uid.NuclearMedicineImageStorage, **elements)


@pytest.mark.parametrize(("spacing", "step"), [("4", 4.0), ("-4", -4.0)])
def test_slices_lie_along_the_normal_by_the_sign_of_their_spacing(spacing: str, step: float, tmp_path: Path) -> None:
    detectors = items({"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": AXIAL})
    ds = nuclear(3, SliceVector=[3, 1, 2], SpacingBetweenSlices=spacing, DetectorInformationSequence=detectors)
    got = columns_of(ds, tmp_path)
    np.testing.assert_allclose(got.numbers["ImagePositionPatient"][:, 2], 3 + step * np.array([2, 0, 1]))
    np.testing.assert_allclose(got.numbers["ImageOrientationPatient"], [AXIAL] * 3)
    assert got.numbers["SliceVector"].tolist() == [3, 1, 2]


def test_slices_without_spacing_have_no_place(tmp_path: Path) -> None:
    detectors = items({"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": AXIAL})
    ds = nuclear(2, SliceVector=[1, 2], DetectorInformationSequence=detectors)
    with pytest.warns(ImagedataWarning, match="no Spacing Between Slices"):
        got = columns_of(ds, tmp_path)
    assert "ImagePositionPatient" not in got.numbers


def test_frames_lie_where_their_detector_is(tmp_path: Path) -> None:
    detectors = items(
        {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": AXIAL},
        {"ImagePositionPatient": [4, 5, 6], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
    )
    got = columns_of(nuclear(3, DetectorVector=[1, 2, 1], DetectorInformationSequence=detectors), tmp_path)
    assert got.numbers["ImagePositionPatient"].tolist() == [[1, 2, 3], [4, 5, 6], [1, 2, 3]]
    assert got.numbers["ImageOrientationPatient"][1].tolist() == [0, 1, 0, 0, 0, -1]


def test_projections_lie_nowhere(tmp_path: Path) -> None:
    detectors = items({"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": AXIAL})
    ds = nuclear(2, RotationVector=[1, 1], AngularViewVector=[1, 2], DetectorVector=[1, 1])
    ds.DetectorInformationSequence = detectors
    assert "ImagePositionPatient" not in columns_of(ds, tmp_path).numbers


@pytest.mark.parametrize("vector", [[1, 2], [0, 1, 2]])
def test_vector_that_does_not_fit_is_refused(vector: list[int], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="its SliceVector"):
        columns_of(nuclear(3, SliceVector=vector), tmp_path)


def test_detector_that_is_not_described_is_refused(tmp_path: Path) -> None:
    detectors = items({"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": AXIAL})
    with pytest.raises(SourceError, match="detectors up to number 2, but describes 1"):
        columns_of(nuclear(2, DetectorVector=[1, 2], DetectorInformationSequence=detectors), tmp_path)


def test_phases_follow_one_another(tmp_path: Path) -> None:
    phases = items(
        {"PhaseDelay": 0, "ActualFrameDuration": 100, "PauseBetweenFrames": 10, "NumberOfFramesInPhase": 2},
        {"PhaseDelay": 50, "ActualFrameDuration": 1000, "PauseBetweenFrames": 0, "NumberOfFramesInPhase": 1},
    )
    ds = nuclear(3, PhaseVector=[1, 1, 2], TimeSliceVector=[1, 2, 1], PhaseInformationSequence=phases)
    got = columns_of(ds, tmp_path)
    # 100 + 10 + 100 ms of the first phase, then the delay of the second
    np.testing.assert_allclose(got.numbers["FrameTime"], [0, 0.11, 0.26])
    np.testing.assert_allclose(got.numbers["ActualFrameDuration"], [100, 100, 1000])


def test_time_slots_of_a_gated_study_are_trigger_times(tmp_path: Path) -> None:
    gates = items({"DataInformationSequence": items({"FrameTime": "50"})})
    got = columns_of(nuclear(3, TimeSlotVector=[1, 2, 3], GatedInformationSequence=gates), tmp_path)
    assert got.numbers["TriggerTime"].tolist() == [0, 50, 100]


def test_time_slots_of_several_lengths_have_no_trigger_time(tmp_path: Path) -> None:
    gates = items({"DataInformationSequence": items({"FrameTime": "50"}, {"FrameTime": "60"})})
    got = columns_of(nuclear(3, TimeSlotVector=[1, 2, 3], GatedInformationSequence=gates), tmp_path)
    assert "TriggerTime" not in got.numbers

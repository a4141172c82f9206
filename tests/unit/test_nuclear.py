"""Nuclear medicine and PET: which frame lies where, when, and of which detector, window and phase."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gamma_camera import AXIAL, COLS, CORNER, OBLIQUE, ROWS, SPACING, detector, first, image, item, nuclear
from numpy.typing import NDArray
from phantoms import Series, instance, opened, pet
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from imagedata_xr.errors import ImagedataWarning, SeriesError

# --- slices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [3.8954, -3.8954])
@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_every_voxel_of_reconstructed_slices_lies_where_it_says(
    orientation: tuple[float, ...], spacing: float, tmp_path: Path
) -> None:
    """Each voxel holds a number made of its own place: detector's position, and the signed step along the normal."""
    r, c = np.array(orientation[:3]), np.array(orientation[3:])
    number = [3, 1, 2, 5, 4]
    i, j = np.mgrid[:ROWS, :COLS][..., None]
    plane = CORNER + i * SPACING[0] * c + j * SPACING[1] * r
    place = np.array([plane + (n - 1) * spacing * np.cross(r, c) for n in number])
    code = np.rint(20000 + place @ np.array([7.0, 131.0, 17.0]))
    ds = nuclear(
        "RECON TOMO", {"SliceVector": number}, code, SpacingBetweenSlices=str(spacing), SliceThickness="9",
        DetectorInformationSequence=Items([detector(orientation)]),
    )  # fmt: skip
    a = image(ds, tmp_path)
    assert a.shape == (1, 5, ROWS, COLS)
    index = np.moveaxis(np.indices((5, ROWS, COLS)), 0, -1)
    found = np.einsum("ab,...b->...a", a.imd.affine[:3, :3], index) + a.imd.affine[:3, 3]
    np.testing.assert_allclose(a[0], np.rint(20000 + found @ np.array([7.0, 131.0, 17.0])), atol=1)
    np.testing.assert_allclose(a.imd.spacing, [abs(spacing), *SPACING], rtol=1e-12)


@pytest.mark.parametrize("spacing", ["3.5", "-3.5"])
def test_sign_of_the_step_as_gdcm_reads_it(
    spacing: str, require_module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    """SimpleITK turns the axis for a negative step, and keeps the frames as they are stored."""
    itk = require_module("SimpleITK")
    ds = nuclear("RECON TOMO", {"SliceVector": [1, 2, 3]}, SpacingBetweenSlices=spacing,
                 DetectorInformationSequence=Items([detector(OBLIQUE)]))  # fmt: skip
    a = image(ds, tmp_path)
    other = itk.ReadImage(str(tmp_path / "a.dcm"))
    pixels = itk.GetArrayFromImage(other)
    for at in np.ndindex(*a.shape[1:]):
        where = a.imd.affine @ [*at, 1]
        col, row, number = other.TransformPhysicalPointToIndex(where[:3].tolist())
        assert pixels[number, row, col] == a.values[(0, *at)]


def test_slices_without_spacing_are_one_image_without_a_place(tmp_path: Path) -> None:
    ds = nuclear("RECON TOMO", {"SliceVector": [2, 1, 3]}, SliceThickness="4",
                 DetectorInformationSequence=Items([detector()]))  # fmt: skip
    with pytest.warns(ImagedataWarning, match="no Spacing Between Slices: they are read without a place"):
        a = image(ds, tmp_path)
    assert "geometry" not in a.coords
    assert a.shape[:2] == (1, 3)
    assert first(a) == [1, 0, 2]


def test_slices_whose_detector_says_no_place_are_slices_of_each_volume(tmp_path: Path) -> None:
    vectors = {"TimeSlotVector": [1, 1, 2, 2], "SliceVector": [2, 1, 2, 1]}
    a = image(nuclear("RECON GATED TOMO", vectors, SpacingBetweenSlices="4"), tmp_path)
    assert a.shape[:2] == (2, 2)
    assert first(a) == [1, 0, 3, 2]
    assert a.time_slot_vector.values.tolist() == [1, 2]
    assert "geometry" not in a.coords


def test_the_retired_class_is_nuclear_medicine_too(tmp_path: Path) -> None:
    ds = nuclear("RECON TOMO", {"SliceVector": [1, 2, 3]}, SpacingBetweenSlices="4",
                 DetectorInformationSequence=Items([detector()]))  # fmt: skip
    ds.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.5")
    assert image(ds, tmp_path).slice.values.tolist() == [30, 34, 38]


@pytest.mark.parametrize(("number", "shape"), [("three", (3, 1)), ("1\\2", (3, 1)), ("0", (3, 1))])
def test_angles_that_are_none_are_left_out(number: str, shape: tuple[int, int], tmp_path: Path) -> None:
    """What stands where one number should be is no reason for an error that nobody understands."""
    rotation = item(StartAngle="0", RotationDirection="CC")
    rotation.add_new(0x00181144, "LO", number)
    a = image(
        nuclear("TOMO", {"RotationVector": [1] * 3, "AngularViewVector": [1, 2, 3]},
                RotationInformationSequence=Items([rotation])), tmp_path,
    )  # fmt: skip
    assert a.shape[:2] == shape
    assert ("angular_position" in a.coords) == (number == "0")


def test_gated_slices_are_volumes_of_the_cycle(tmp_path: Path) -> None:
    vectors = {"RRIntervalVector": [1] * 6, "TimeSlotVector": [1, 1, 2, 2, 3, 3], "SliceVector": [1, 2] * 3}
    gates = Items([item(DataInformationSequence=Items([item(FrameTime="62.5")]))])
    ds = nuclear(
        "RECON GATED TOMO", vectors, SpacingBetweenSlices="4", GatedInformationSequence=gates,
        DetectorInformationSequence=Items([detector()]),
    )  # fmt: skip
    a = image(ds, tmp_path)
    assert a.shape[:2] == (3, 2)
    assert first(a) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(a.trigger_time, [0, 62.5, 125])
    assert "geometry" in a.coords


# --- projections and views --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "sign"), [("CC", 1), ("CW", -1)])
def test_projections_have_an_angle_and_no_place(direction: str, sign: int, tmp_path: Path) -> None:
    vectors = {
        "EnergyWindowVector": [1] * 6,
        "DetectorVector": [1, 1, 1, 2, 2, 2],
        "RotationVector": [1] * 6,
        "AngularViewVector": [1, 2, 3] * 2,
    }
    rotation = item(StartAngle="20", AngularStep="30", RotationDirection=direction, NumberOfFramesInRotation=3)
    heads = Items([detector(StartAngle="20"), detector(StartAngle="200")])
    ds = nuclear("TOMO", vectors, RotationInformationSequence=Items([rotation]), DetectorInformationSequence=heads)
    a = image(ds, tmp_path)
    assert a.shape[:2] == (6, 1)
    assert "geometry" not in a.coords
    assert first(a) == list(range(6))
    angles = np.concatenate([start + sign * 30 * np.arange(3) for start in (20, 200)]) % 360
    np.testing.assert_allclose(a.angular_position, angles)
    assert a.detector_vector.values.tolist() == [1, 1, 1, 2, 2, 2]


def test_rotations_go_on_from_their_own_angles(tmp_path: Path) -> None:
    vectors = {"RotationVector": [1, 1, 2, 2], "AngularViewVector": [1, 2, 1, 2]}
    rotations = Items(
        [
            item(StartAngle="0", AngularStep="6", RotationDirection="CC"),
            item(StartAngle="90", AngularStep="3", RotationDirection="CW"),
        ]
    )
    a = image(nuclear("TOMO", vectors, RotationInformationSequence=rotations), tmp_path)
    np.testing.assert_allclose(a.angular_position, [0, 6, 90, 87])


def test_views_of_a_whole_body_are_told_by_detector_and_window(tmp_path: Path) -> None:
    vectors = {"EnergyWindowVector": [1, 1, 2, 2], "DetectorVector": [1, 2, 1, 2]}
    ds = nuclear("WHOLE BODY", vectors, DetectorInformationSequence=Items([item(), item()]))
    a = image(ds, tmp_path)
    assert first(a) == [0, 1, 2, 3]
    assert a.detector_vector.values.tolist() == [1, 2, 1, 2]
    assert a.energy_window_vector.values.tolist() == [1, 1, 2, 2]
    assert "geometry" not in a.coords


PHASES = Items(
    [
        item(PhaseDelay="0", ActualFrameDuration="1000", PauseBetweenFrames="0", NumberOfFramesInPhase=3),
        item(PhaseDelay="500", ActualFrameDuration="5000", PauseBetweenFrames="100", NumberOfFramesInPhase=2),
    ]
)
STARTS, LENGTHS = [0, 1, 2, 3.5, 8.6], [1, 1, 1, 5, 5]


def dynamic(heads: int) -> Dataset:
    vectors = {
        "EnergyWindowVector": [1] * 5 * heads,
        "DetectorVector": np.repeat(np.arange(1, heads + 1), 5).tolist(),
        "PhaseVector": [1, 1, 1, 2, 2] * heads,
        "TimeSliceVector": [1, 2, 3, 1, 2] * heads,
    }
    return nuclear(
        "DYNAMIC", vectors, PhaseInformationSequence=PHASES, DetectorInformationSequence=Items([item()] * heads)
    )


def test_phases_follow_each_other_in_time(tmp_path: Path) -> None:
    a = image(dynamic(1), tmp_path)
    assert a.tag.attrs["order"] == "time"
    np.testing.assert_allclose(a.tag, STARTS)
    np.testing.assert_allclose(a.frame_duration, LENGTHS)
    assert a.phase_vector.values.tolist() == [1, 1, 1, 2, 2]


def test_two_detectors_share_a_time_course(tmp_path: Path) -> None:
    a = image(dynamic(2), tmp_path)
    assert a.dims[:2] == ("time", "detector_vector")
    np.testing.assert_allclose(a.time, STARTS)
    np.testing.assert_allclose(a.frame_duration, LENGTHS)
    assert first(a.sel(detector_vector=1)) == [0, 1, 2, 3, 4]
    assert first(a.sel(detector_vector=2)) == [5, 6, 7, 8, 9]


# --- PET --------------------------------------------------------------------------------------------------------------


def write(folder: Path, series: Series, change: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for v in range(series.shape[0]):
        for k in range(series.shape[1]):
            ds = instance(series, v, k)
            change(ds, v, k)
            ds.save_as(folder / f"{v:02d}_{k:02d}.dcm", enforce_file_format=True)
    return folder


LONG = np.array([10, 10, 30, 60, 120.0])
BEGIN = np.concatenate([[0], np.cumsum(LONG)[:-1]])
COURSE = pet(shape=(5, 4, 6, 8))


def course(ds: Dataset, v: int, k: int) -> None:
    """Frames of several lengths, a slope for each image, instances counted from the last slice to the first."""
    ds.ActualFrameDuration, ds.FrameReferenceTime = f"{1e3 * LONG[v]:g}", f"{1e3 * (BEGIN[v] + LONG[v] / 2):g}"
    ds.AcquisitionTime = f"10{int(BEGIN[v]) // 60:02d}{BEGIN[v] % 60:06.3f}"
    ds.DecayFactor, ds.RescaleSlope = f"{1 + 0.01 * v:g}", f"{0.5 + 0.1 * v + 0.01 * k:g}"
    ds.ImageIndex = ds.InstanceNumber = v * 4 + 4 - k


def values() -> NDArray[np.float64]:
    slope = 0.5 + 0.1 * np.arange(5)[:, None] + 0.01 * np.arange(4)
    stored = [[COURSE.stored(v, k) for k in range(4)] for v in range(5)]
    return np.asarray(stored * slope[..., None, None])


def test_dynamic_pet_has_its_times_durations_and_slopes(tmp_path: Path) -> None:
    a = opened(write(tmp_path, COURSE, course))
    assert a.tag.attrs["source"] == "AcquisitionTime"
    np.testing.assert_allclose(a.tag, BEGIN)
    np.testing.assert_allclose(a.frame_duration, LONG)
    np.testing.assert_allclose(a.frame_reference_time, BEGIN + LONG / 2)
    np.testing.assert_allclose(a.decay_factor, 1 + 0.01 * np.arange(5))
    np.testing.assert_allclose(a, values(), rtol=1e-6)
    assert a.attrs["units"] == "Bq/ml"


def test_dynamic_pet_by_reference_time_where_acquisition_time_is_one(tmp_path: Path) -> None:
    def change(ds: Dataset, v: int, k: int) -> None:
        course(ds, v, k)
        ds.AcquisitionTime = "100000"
        ds.InstanceNumber = 20 - ds.InstanceNumber  # no help

    a = opened(write(tmp_path, COURSE, change))
    assert (a.tag.attrs["order"], a.tag.attrs["source"]) == ("time", "FrameReferenceTime")
    np.testing.assert_allclose(a.tag, BEGIN + LONG / 2 - 5)
    np.testing.assert_allclose(a, values(), rtol=1e-6)


@pytest.mark.parametrize("trigger", [True, False])
def test_gated_pet_by_trigger_time_or_image_index(trigger: bool, tmp_path: Path) -> None:
    def change(ds: Dataset, v: int, k: int) -> None:
        course(ds, v, k)
        ds.SeriesType, ds.AcquisitionTime, ds.FrameReferenceTime = ["GATED", "IMAGE"], "100000", "30000"
        ds.InstanceNumber = 20 - ds.InstanceNumber
        if trigger:
            ds.TriggerTime = f"{125 * v}"

    a = opened(write(tmp_path, COURSE, change))
    np.testing.assert_allclose(a, values(), rtol=1e-6)
    if trigger:
        np.testing.assert_allclose(a.trigger_time, 125 * np.arange(5))


def bed(ds: Dataset, n: int) -> None:
    ds.SeriesType, ds.ActualFrameDuration = ["WHOLE BODY", "IMAGE"], "180000"
    ds.AcquisitionTime, ds.FrameReferenceTime = f"10{3 * n:02d}00", f"{180000 * n + 90000}"


def test_beds_of_a_whole_body_are_one_volume(tmp_path: Path) -> None:
    series = pet(shape=(1, 12, 6, 8), slope=[0.5])
    a = opened(write(tmp_path, series, lambda ds, v, k: bed(ds, k // 4)))
    assert a.shape[:2] == (1, 12)
    np.testing.assert_allclose(a.slice_time[0], np.repeat([0, 180, 360], 4))
    np.testing.assert_allclose(a[0], [0.5 * series.stored(0, k) for k in range(12)])


def test_beds_that_overlap_are_said(tmp_path: Path) -> None:
    series = pet(shape=(1, 5, 6, 8), slope=[0.5])

    def change(n: int) -> Any:
        def one(ds: Dataset, v: int, k: int) -> None:
            bed(ds, n)
            ds.SOPInstanceUID += f".{n}"
            ds.AcquisitionNumber, ds.InstanceNumber, ds.ImageIndex = n + 1, 5 * n + k + 1, 5 * n + k + 1
            ds.ImagePositionPatient[2] = float(ds.ImagePositionPatient[2]) + 4 * 3.0 * n

        return one

    for n in range(2):
        write(tmp_path / f"{n}", series, change(n))
    with pytest.raises(SeriesError, match=r"stack=0: .*\(acquisition 1\)\n.*stack=1: .*\(acquisition 2\)"):
        opened(tmp_path)
    assert opened(tmp_path, acquisition=2).shape[:2] == (1, 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda ds, v, k: setattr(ds, "CorrectedImage", ["DECY", "ATTN"] if v else ["DECY"]),
        lambda ds, v, k: setattr(ds, "Units", "BQML" if v else "PROPCPS"),
    ],
    ids=["attenuation", "units"],
)
def test_images_of_other_corrections_or_units_are_no_volumes_of_one(change: Any, tmp_path: Path) -> None:
    folder = write(tmp_path, pet(shape=(2, 4, 6, 8)), change)
    with pytest.raises(SeriesError, match=r"CorrectedImage ATTN\\DECY|Units PROPCPS"):
        opened(folder)
    assert opened(folder, stack=1).shape[:2] == (1, 4)


@pytest.mark.parametrize(
    ("units", "said"),
    [("CNTS", "counts"), ("PROPCPS", "proportional to counts/s"), ("PROPCNTS", "proportional to counts")],
)
def test_units_of_pet_come_back(units: str, said: str, tmp_path: Path) -> None:
    a = opened(write(tmp_path / "in", pet(shape=(1, 2, 6, 8)), lambda ds, v, k: setattr(ds, "Units", units)))
    assert a.attrs["units"] == said
    (a * 2).imd.write(tmp_path / "out")
    assert opened(tmp_path / "out").attrs["Units"] == units

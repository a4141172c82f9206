"""Images that lie nowhere in the patient: runs of a cine, views, 3-D ultrasound, projections; and what is no image."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from multiframe import item
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

from imagedata_xr.errors import ImagedataWarning, NotFoundError, SeriesError

XA, US, DX, MG, US_VOLUME, X_RAY, SPECTRA = (
    f"1.2.840.10008.5.1.4.1.1.{k}" for k in ("12.1", "3.1", "1.1.1", "1.1.2", "6.2", "12.1.1", "4.2")
)


def numbers(frames: int, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 4000, (frames, 4, 6)).astype("<u2")


def instance(kind: str, pixels: NDArray[np.uint16] | None, number: int = 1, **elements: Any) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = UID(kind), UID(f"1.2.826.0.1.3680043.8.498.70.{number}")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.71"), UID("1.2.826.0.1.3680043.8.498.72")
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.PatientID = "OT", 1, number, "P"
    if pixels is not None:
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = pixels.shape[-2:]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        if len(pixels) > 1:
            ds.NumberOfFrames = len(pixels)
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def images(folder: Path, *instances: Dataset) -> list[xr.DataArray]:
    for k, ds in enumerate(instances):
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    tree = xr.open_datatree(folder, engine="imagedata")
    return [n.to_dataset()["image"] for n in tree.subtree if "image" in n.data_vars]


@pytest.mark.parametrize("lengths", [(4, 4), (3, 5)])
def test_each_run_of_a_cine_is_an_image_with_its_own_times(lengths: tuple[int, int], tmp_path: Path) -> None:
    runs = [instance(XA, numbers(n, k), k + 1, FrameTime="50") for k, n in enumerate(lengths)]
    found = images(tmp_path, *runs)
    assert [a.shape[0] for a in found] == list(lengths)
    for k, (a, n) in enumerate(zip(found, lengths, strict=True)):
        np.testing.assert_allclose(a.tag, 0.05 * np.arange(n), atol=1e-9)
        np.testing.assert_array_equal(a.values[:, 0], numbers(n, k))
    with pytest.raises(SeriesError, match="run 1"):
        xr.open_dataarray(tmp_path, engine="imagedata")


def test_parts_of_a_concatenation_are_one_run(tmp_path: Path) -> None:
    joined = {"ConcatenationUID": UID("1.2.826.0.1.3680043.8.498.73")}
    (a,) = images(tmp_path, *(instance(XA, numbers(n, k), k + 1, **joined) for k, n in enumerate((3, 1))))
    np.testing.assert_array_equal(a.values[:, 0], np.concatenate([numbers(3, 0), numbers(1, 1)]))


def test_single_pictures_of_a_series_stay_together_beside_a_clip(tmp_path: Path) -> None:
    stills = [instance(US, numbers(1, k), k + 1) for k in range(3)]
    found = images(tmp_path, *stills, instance(US, numbers(5, 9), 4, FrameTime="40"))
    assert sorted(a.shape[0] for a in found) == [3, 5]


def test_views_are_images_of_their_own(tmp_path: Path) -> None:
    views = [("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO")]
    exam = [
        instance(MG, numbers(1, k), k + 1, ImageLaterality=side, ViewPosition=view)
        for k, (side, view) in enumerate(views)
    ]
    found = images(tmp_path, *exam)
    assert [(a.attrs["ImageLaterality"], a.attrs["ViewPosition"]) for a in found] == views
    with pytest.raises(SeriesError, match="view R MLO"):
        xr.open_dataarray(tmp_path, engine="imagedata")


def test_cine_rate_is_a_clock_and_a_rate_of_display_is_none(tmp_path: Path) -> None:
    (a,) = images(tmp_path, instance(US, numbers(3), CineRate="25", RecommendedDisplayFrameRate=10))
    np.testing.assert_allclose(a.tag, [0, 0.04, 0.08], atol=1e-9)
    assert a.tag.attrs["source"] == "CineRate"
    (a,) = images(tmp_path, instance(US, numbers(3), RecommendedDisplayFrameRate=10))
    assert a.tag.attrs["order"] == "none"


def test_interval_of_frames_is_no_label_beside_their_times(tmp_path: Path) -> None:
    (a,) = images(tmp_path, instance(US, numbers(3), FrameTime="40"))
    assert "frame_time" not in a.coords
    assert "FrameTime" not in a.attrs


def test_spacing_of_a_projection_is_an_attr_and_no_place(tmp_path: Path) -> None:
    ds = instance(DX, numbers(1), PixelSpacing=["0.13", "0.13"], PixelSpacingCalibrationType="FIDUCIAL")
    ds.ImagerPixelSpacing = ["0.14", "0.14"]
    (a,) = images(tmp_path, ds)
    assert a.attrs["PixelSpacing"] == [0.13, 0.13]
    assert a.attrs["ImagerPixelSpacing"] == [0.14, 0.14]
    assert "geometry" not in a.coords
    np.testing.assert_array_equal(a.row, np.arange(4))
    a.isel(row=slice(None, None, 2)).imd.write(tmp_path / "half")
    with xr.open_dataarray(tmp_path / "half", engine="imagedata") as half:
        assert half.attrs["PixelSpacing"] == [0.26, 0.13]


def test_slices_of_a_volume_of_ultrasound_are_slices_without_a_place(tmp_path: Path) -> None:
    volumes, slices = 2, 3
    groups = [
        item(
            {
                "PlanePositionVolumeSequence": {"ImagePositionVolume": [0.0, 0.0, 2.0 * k]},
                "PlaneOrientationVolumeSequence": {"ImageOrientationVolume": [1.0, 0, 0, 0, 1.0, 0]},
                "TemporalPositionSequence": {"TemporalPositionTimeOffset": 0.25 * v},
            }
        )
        for v in range(volumes)
        for k in reversed(range(slices))
    ]
    ds = instance(US_VOLUME, numbers(6), PerFrameFunctionalGroupsSequence=Items(groups))
    (a,) = images(tmp_path, ds)
    np.testing.assert_array_equal(a.values, numbers(6).reshape(2, 3, 4, 6)[:, ::-1])
    np.testing.assert_allclose(a.tag, [0, 0.25])
    assert "geometry" not in a.coords


@pytest.mark.parametrize("said", [True, False])
def test_echoes_and_velocities_of_one_volume_are_images_of_their_own(said: bool, tmp_path: Path) -> None:
    """Where nothing says what the second volume is, that is said: it may be of another kind."""
    kinds, slices = ("TISSUE_INTENSITY", "FLOW_VELOCITY"), 3
    groups = [
        item(
            {
                "PlanePositionVolumeSequence": {"ImagePositionVolume": [0.0, 0.0, 2.0 * k]},
                "PlaneOrientationVolumeSequence": {"ImageOrientationVolume": [1.0, 0, 0, 0, 1.0, 0]},
                **({"ImageDataTypeSequence": {"DataType": kind}} if said else {}),
            }
        )
        for kind in kinds
        for k in range(slices)
    ]
    ds = instance(US_VOLUME, numbers(6), PerFrameFunctionalGroupsSequence=Items(groups))
    if not said:
        with pytest.warns(ImagedataWarning, match="2 volumes lie at the same places, and no label"):
            images(tmp_path, ds)
        return
    found = images(tmp_path, ds)
    assert [a.attrs["DataType"] for a in found] == list(kinds)
    np.testing.assert_array_equal(np.stack([a.values[0] for a in found]), numbers(6).reshape(2, 3, 4, 6))


def test_functional_groups_without_times_leave_those_of_a_cine(tmp_path: Path) -> None:
    groups = [item({"FrameContentSequence": {"DimensionIndexValues": [k + 1]}}) for k in range(3)]
    ds = instance(X_RAY, numbers(3), PerFrameFunctionalGroupsSequence=Items(groups), FrameTime="40")
    ds.FrameIncrementPointer = 0x00181063
    (a,) = images(tmp_path, ds)
    assert a.tag.attrs["order"] == "time"
    np.testing.assert_allclose(a.tag, [0, 0.04, 0.08], atol=1e-9)


def test_angles_of_a_rotating_beam_are_labels(tmp_path: Path) -> None:
    groups = [
        item({"PositionerPositionSequence": {"PositionerPrimaryAngle": 10.0 * k, "PositionerSecondaryAngle": 5.0}})
        for k in range(3)
    ]
    (a,) = images(tmp_path, instance(X_RAY, numbers(3), PerFrameFunctionalGroupsSequence=Items(groups)))
    assert a.positioner_primary_angle.values.tolist() == [0, 10, 20]
    assert a.positioner_primary_angle.attrs["units"] == "degree"
    assert float(a.positioner_secondary_angle) == 5


def test_spectra_are_named(tmp_path: Path) -> None:
    instance(SPECTRA, None, SpectroscopyData=bytes(64)).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with (
        pytest.warns(ImagedataWarning, match="1 instances of MR spectroscopy are not read"),
        pytest.raises(NotFoundError, match="no image"),
    ):
        xr.open_dataarray(tmp_path, engine="imagedata")


@pytest.mark.parametrize(
    "kind", ["481.3", "481.5", "104.1", "104.2", "104.3", "88.33", "88.59", "11.1", "9.1.1", "66.1", "67", "66.5"]
)
def test_what_has_no_pixels_is_a_node_with_attrs(kind: str, tmp_path: Path) -> None:
    ds = instance(f"1.2.840.10008.5.1.4.1.1.{kind}", None, ContentSequence=Items([item({"TextValue": "x"})]))
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(tmp_path, engine="imagedata")
    assert [n.attrs["SOPClassUID"] for n in tree.leaves] == [ds.SOPClassUID]
    assert not [n for n in tree.subtree if n.data_vars]

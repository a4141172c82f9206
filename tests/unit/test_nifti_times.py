"""NIfTI: the fourth axis as times, and other orders."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from nifti_files import bare, content, dt
from nifti_phantoms import OBLIQUE, axes, read, series, write

from imagedata_xr.errors import ImagedataWarning, LabelError, SortError
from imagedata_xr.model.image import Volumes, build
from imagedata_xr.model.indexes import Space

# --- times -----------------------------------------------------------------------------------------------------------


def test_even_times(tmp_path: Path) -> None:
    write(series((10.0, 12.5, 15.0), coords={"repetition_time": ((), 4.1)}), tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    assert side["RepetitionTime"] == 2.5
    assert side["RepetitionTimeExcitation"] == 0.0041
    assert "VolumeTiming" not in side
    assert dt(tmp_path / "a.nii") == 2.5
    back = read(tmp_path / "a.nii")
    assert back.tag.values.tolist() == [10, 12.5, 15]
    assert back.tag.attrs["order"] == "time"
    assert back.tag.attrs["units"] == "s"
    assert back.tag.attrs["interval"] == 2.5
    assert back.tag.attrs["epoch"] == ""
    assert float(back.repetition_time) == 4.1


def test_nearly_even_times_are_even(tmp_path: Path) -> None:
    write(series((0.0, 2.4995, 5.0)), tmp_path / "a.nii")
    assert content(tmp_path / "a.nii")["RepetitionTime"] == 2.5


def test_times_that_drift_are_uneven(tmp_path: Path) -> None:
    # each step is within 1 % of the mean, and yet the middle lies off by more than two intervals
    steps = np.concatenate([np.full(300, 1.009), np.full(300, 0.991)])
    write(series(np.concatenate([[0.0], steps.cumsum()]), shape=(1, 1, 2)), tmp_path / "a.nii")
    assert len(content(tmp_path / "a.nii")["VolumeTiming"]) == 601


def test_uneven_times(tmp_path: Path) -> None:
    times = (0.0, 2.0, 5.0, 11.0)
    write(series(times, coords={"repetition_time": ((), 2000.0)}), tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    assert side["VolumeTiming"] == [0, 2, 5, 11]
    assert "RepetitionTime" not in side
    assert dt(tmp_path / "a.nii") == 0
    assert read(tmp_path / "a.nii").tag.values.tolist() == list(times)


def test_a_stride_has_its_own_interval(tmp_path: Path) -> None:
    image = series(np.arange(6.0))
    image.tag.attrs["interval"] = 1.0
    write(image.isel(tag=slice(1, None, 2)), tmp_path / "a.nii")
    assert content(tmp_path / "a.nii")["RepetitionTime"] == 2
    assert read(tmp_path / "a.nii").tag.values.tolist() == [1, 3, 5]


def test_pet(tmp_path: Path) -> None:
    coords = {"frame_duration": (("tag",), [5.0, 5, 10, 30]), "decay_factor": (("tag",), [1.01, 1.02, 1.04, 1.1])}
    attrs = {"Modality": "PT", "units": "Bq/ml"}
    write(series((0.0, 5.0, 10.0, 20.0), coords=coords, attrs=attrs), tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    assert side["FrameTimesStart"] == [0, 5, 10, 20]
    assert side["FrameDuration"] == [5, 5, 10, 30]
    assert side["DecayCorrectionFactor"] == [1.01, 1.02, 1.04, 1.1]
    assert side["Units"] == "Bq/ml"
    assert not {"RepetitionTime", "VolumeTiming"} & set(side)
    back = read(tmp_path / "a.nii")
    assert back.frame_duration.values.tolist() == [5, 5, 10, 30]
    assert back.attrs["units"] == "Bq/ml"
    assert back.attrs["Modality"] == "PT"


def test_types_and_ranges_are_those_of_bids(tmp_path: Path) -> None:
    """Software versions are one text, a duration is one number and never beside RepetitionTime, no echo time is 0."""
    coords = {"frame_duration": (("tag",), [1.5] * 4), "echo_time": ((), 0.0), "inversion_time": ((), 0.0)}
    attrs = {"SoftwareVersions": ["28", "LX", "MR29.1"], "ReceiveCoilName": "48HA"}
    for name, times, keys in (
        ("even.nii", (0.0, 2.0, 4.0, 6.0), {"RepetitionTime": 2}),
        ("uneven.nii", (0.0, 2.0, 5.0, 9.0), {"VolumeTiming": [0, 2, 5, 9], "FrameAcquisitionDuration": 1.5}),
    ):
        write(series(times, coords=coords, attrs=attrs), tmp_path / name)
        side = content(tmp_path / name)
        said = {"RepetitionTime", "VolumeTiming", "FrameAcquisitionDuration", "EchoTime", "InversionTime"} & side.keys()
        assert {key: side[key] for key in said} == keys
        assert side["SoftwareVersions"] == "28\\LX\\MR29.1"
        back = read(tmp_path / name)
        assert (back.frame_duration == 1.5).all()
        assert (back.echo_time == 0).all()
        assert (back.inversion_time == 0).all()
        assert back.attrs == attrs


def test_the_decay_factor_of_one_frame_is_a_list(tmp_path: Path) -> None:
    coords = {"decay_factor": (("tag",), [1.01])}
    write(series((0.0,), coords=coords, attrs={"Modality": "PT"}), tmp_path / "a.nii")
    assert content(tmp_path / "a.nii")["DecayCorrectionFactor"] == [1.01]
    assert read(tmp_path / "a.nii").decay_factor == 1.01


def test_single_volume(tmp_path: Path) -> None:
    values = {"repetition_time": 2000.0, "echo_time": 2.8, "inversion_time": 900.0, "flip_angle": 9.0}
    coords = {name: ((), value) for name, value in values.items()}
    write(series((0.0,), order="none", units="1", coords=coords), tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    assert (side["RepetitionTime"], side["EchoTime"], side["InversionTime"], side["FlipAngle"]) == (2, 0.0028, 0.9, 9)
    back = read(tmp_path / "a.nii")
    for name, value in values.items():
        assert float(back[name]) == value
        assert back[name].ndim == 0


def test_one_time_of_several_keeps_its_time(tmp_path: Path) -> None:
    write(series((10.0, 12.5, 15.0)).isel(tag=[1]), tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    assert (back.tag.attrs["order"], back.tag.values.tolist()) == ("time", [12.5])


def test_volumes_in_no_order_have_no_interval(tmp_path: Path) -> None:
    write(series(order="none", units="1"), tmp_path / "a.nii")
    assert dt(tmp_path / "a.nii") == 0
    assert "RepetitionTime" not in content(tmp_path / "a.nii")
    assert read(tmp_path / "a.nii").tag.attrs["order"] == "none"


def test_slice_times(tmp_path: Path) -> None:
    times = np.tile([0.0, 1.0, 0.5], (4, 1))
    write(series(coords={"slice_time": (("tag", "slice"), times + 0.0004 * np.eye(4, 3))}), tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    np.testing.assert_allclose(side["SliceTiming"], [0, 1, 0.5])  # the median: clocks tick
    np.testing.assert_allclose(read(tmp_path / "a.nii").slice_time, times, atol=1e-3)
    flipped = series(coords={"slice_time": (("tag", "slice"), times)}).isel(slice=slice(None, None, -1))
    write(flipped, tmp_path / "b.nii")
    assert content(tmp_path / "b.nii")["SliceTiming"] == [0, 1, 0.5]
    write(series(coords={"slice_time": (("tag", "slice"), times * np.arange(4)[:, None])}), tmp_path / "c.nii")
    assert "SliceTiming" not in content(tmp_path / "c.nii")


@pytest.mark.parametrize(("unit", "factor"), [("sec", 1), ("msec", 1e3), ("usec", 1e6)])
def test_units_of_time(tmp_path: Path, unit: str, factor: float) -> None:
    bare(tmp_path / "a.nii", interval=1.5 * factor, units=unit)
    back = read(tmp_path / "a.nii")
    assert back.tag.attrs["order"] == "time"
    np.testing.assert_allclose(back.tag, [0, 1.5, 3, 4.5])


def test_unknown_units_of_time(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", interval=1.5, units="unknown")
    assert read(tmp_path / "a.nii").tag.attrs["order"] == "none"
    with pytest.warns(ImagedataWarning, match="taken as seconds"):
        assert read(tmp_path / "a.nii", order="time").tag.values.tolist() == [0, 1.5, 3, 4.5]


def test_times_that_are_not_known(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", side={"EchoTime": 0.003})
    with pytest.raises(SortError, match=r"does not say the start of the volume.*echo_time"):
        read(tmp_path / "a.nii", order="time")
    with pytest.raises(SortError, match=r"inversion time"):
        read(tmp_path / "a.nii", order="ti")
    with pytest.raises(SortError, match="diffusion weighting"):
        read(tmp_path / "a.nii", order="dti")
    with pytest.raises(LabelError, match="unknown order"):
        read(tmp_path / "a.nii", order="tme")
    with pytest.raises(SortError, match="DICOM header"):
        read(tmp_path / "a.nii", order={"mine": lambda ds: 1.0})


def test_interval_in_the_json_only(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", side={"RepetitionTime": 0.72})
    back = read(tmp_path / "a.nii")
    np.testing.assert_allclose(back.tag, [0, 0.72, 1.44, 2.16])
    assert back.tag.attrs["source"] == "RepetitionTime (sidecar)"


def test_intervals_that_contradict_each_other(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", interval=3, side={"RepetitionTime": 2})
    with pytest.warns(ImagedataWarning, match="by the header, which is taken"):
        assert read(tmp_path / "a.nii").tag.values.tolist() == [0, 3, 6, 9]
    bare(tmp_path / "b.nii", interval=3, side={"RepetitionTime": 0.00194, "MRAcquisitionType": "3D"})
    assert float(read(tmp_path / "b.nii").repetition_time) == 1.94


# --- other orders ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "units", "coord", "key", "factor"),
    [
        ("te", "ms", "echo_time", "EchoTime", 1e-3),
        ("ti", "ms", "inversion_time", "InversionTime", 1e-3),
        ("fa", "degree", "flip_angle", "FlipAngle", 1),
        ("triggertime", "ms", "trigger_time", "TriggerTime", 1e-3),
        ("EchoTime", "ms", "echo_time", "EchoTime", 1e-3),
        ("TemporalPositionIdentifier", "", "temporal_position_identifier", "TemporalPositionIdentifier", 1),
    ],
)
def test_orders_by_a_number(tmp_path: Path, order: str, units: str, coord: str, key: str, factor: float) -> None:
    values = (2.0, 5.5, 11.0, 30.0)
    write(series(values, order=order, units=units), tmp_path / "a.nii")
    np.testing.assert_allclose(content(tmp_path / "a.nii")[key], np.array(values) * factor)
    back = read(tmp_path / "a.nii")
    assert back.tag.attrs["order"] == order
    np.testing.assert_array_equal(back.tag, values)
    np.testing.assert_array_equal(back[coord], values)


def test_echo_times_of_others_make_the_order(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", side={"EchoTime": [0.03, 0.01, 0.02, 0.04], "RepetitionTime": 2})
    back = read(tmp_path / "a.nii")
    assert back.tag.attrs["order"] == "te"
    assert back.tag.values.tolist() == [10, 20, 30, 40]
    assert float(back.repetition_time) == 2000


def test_volumes_are_sorted_with_their_values(tmp_path: Path) -> None:
    image = series((4.0, 1.0, 3.0, 2.0), order="te", units="ms")
    write(image, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    assert back.tag.values.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(back.values, image.values[[1, 3, 2, 0]])


def test_equal_values(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", side={"EchoTime": [0.01, 0.01, 0.02, 0.02]})
    with pytest.raises(SortError, match="several volumes"):
        read(tmp_path / "a.nii", order="te")
    assert read(tmp_path / "a.nii", order="te", duplicates="keep").tag.values.tolist() == [10, 10, 20, 20]
    assert read(tmp_path / "a.nii").tag.attrs["order"] == "none"


def test_equal_times_make_no_order(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", side={"VolumeTiming": [0, 0, 2, 2]})
    back = read(tmp_path / "a.nii")
    assert back.tag.attrs["order"] == "none"
    assert back["time"].values.tolist() == [0, 0, 2, 2]
    with pytest.raises(SortError, match="second order"):
        read(tmp_path / "a.nii", order="time")


def grid() -> xr.DataArray:
    """Three times of two echoes."""
    data = np.random.default_rng(0).integers(0, 100, (3, 2, 3, 4, 5)).astype("f4")
    image: xr.DataArray = build(
        data,
        volumes=[
            Volumes([0.0, 2.0, 5.0], {"order": "time", "units": "s"}, "time"),
            Volumes([10.0, 20.0], {"order": "te", "units": "ms"}, "echo_time"),
        ],
        axes=axes((3, 4, 5)),
        space=Space(OBLIQUE, ""),
    ).image
    return image


def test_two_orders_are_flattened_and_come_back(tmp_path: Path) -> None:
    image = grid()
    write(image, tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    assert side["VolumeTiming"] == [0, 0, 2, 2, 5, 5]
    assert side["EchoTime"] == [0.01, 0.02] * 3
    assert side["VolumeOrder"] == "time,te"
    assert nib.load(tmp_path / "a.nii").shape == (5, 4, 3, 6)  # type: ignore[attr-defined]
    back = read(tmp_path / "a.nii")
    assert back.dims[:2] == ("time", "echo_time")
    np.testing.assert_array_equal(back.values, image.values)
    assert back["echo_time"].values.tolist() == [10, 20]
    turned = read(tmp_path / "a.nii", order="te,time")
    np.testing.assert_array_equal(turned.values, image.values.transpose(1, 0, 2, 3, 4))


def test_echoes_of_even_times_have_a_repetition_time(tmp_path: Path) -> None:
    image = grid().isel(time=[0, 1])
    write(image, tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    assert side["RepetitionTime"] == 2  # VolumeTiming may not repeat a time
    assert "VolumeTiming" not in side
    back = read(tmp_path / "a.nii")
    assert back["time"].values.tolist() == [0, 2]
    assert back["echo_time"].values.tolist() == [10, 20]
    assert "repetition_time" not in back.coords
    np.testing.assert_array_equal(back.values, image.values)


@pytest.mark.parametrize(
    ("duration", "interval"),
    [
        (408.0, 51.0),  # 8 volumes of 12 shots: the times of 3 positions are spread from the first of 6 to the last
        (382.5, 63.75),  # 6 volumes of 15 shots: each time is that of a pair
        (400.0, None),  # neither fits
    ],
)
def test_label_and_control_that_share_times_follow_each_other(
    tmp_path: Path, duration: float, interval: float | None
) -> None:
    image = build(
        np.zeros((3, 2, 3, 4, 5), "f4"),
        volumes=[
            Volumes([0.0, 127.5, 255.0], {"order": "time", "units": "s"}, "time"),
            Volumes([0.0, 1.0], {"order": "ASLContext", "units": "1"}, "asl_context"),
        ],
        axes=axes((3, 4, 5)),
        space=Space(OBLIQUE, ""),
        attrs={"AcquisitionDuration": duration},
        coords={"repetition_time": ((), 4250.0)},
    ).image
    write(image, tmp_path / "a.nii")
    side = content(tmp_path / "a.nii")
    assert side["RepetitionTime"] == (interval or 127.5)
    assert nib.load(tmp_path / "a.nii").header["pixdim"][4] == (interval or 0)  # type: ignore[index]
    assert read(tmp_path / "a.nii")["time"].values.tolist() == [0, 127.5, 255]


def test_incomplete_grid(tmp_path: Path) -> None:
    bare(tmp_path / "a.nii", side={"EchoTime": [0.01, 0.02, 0.01, 0.01], "VolumeTiming": [0, 0, 1, 2]})
    with pytest.raises(SortError, match="no full grid of 3 x 2"):
        read(tmp_path / "a.nii", order="time,te")


def test_fifth_axis_with_values(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(2, 3, 4, 3, 2)).astype("f4")
    img = nib.Nifti1Image(data, np.eye(4))  # type: ignore[no-untyped-call]
    img.header.set_xyzt_units("mm", "sec")  # type: ignore[no-untyped-call]
    img.header["pixdim"][4] = 2
    nib.save(img, tmp_path / "a.nii")
    (tmp_path / "a.json").write_text(json.dumps({"EchoTime": [0.01] * 3 + [0.02] * 3}))
    back = read(tmp_path / "a.nii", order="time,te")
    np.testing.assert_array_equal(back.values, data.transpose(3, 4, 2, 1, 0))
    assert back["time"].values.tolist() == [0, 2, 4]
    assert back["echo_time"].values.tolist() == [10, 20]
    with pytest.raises(SortError, match="varies along other axes"):
        read(tmp_path / "a.nii", order="te,time")

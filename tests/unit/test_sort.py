"""Images onto the grid of volumes and slices, by every order."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from series import Elements, image, open_image, places, save, series, straight

from imagedata_xr.errors import ImagedataWarning, LabelError, SeriesError, SortError


def at(seconds: float) -> str:
    """TM value so many seconds after ten o'clock."""
    total = 36000 + seconds
    return f"{int(total // 3600):02d}{int(total % 3600 // 60):02d}{total % 60:09.6f}"


def timed(v: int, k: int) -> Elements:
    """Each volume takes 2 s, each slice 0.5 s."""
    return {"AcquisitionTime": at(2 * v + 0.5 * k), "AcquisitionDate": "20240102"}


# --- one order ------------------------------------------------------------------------------------------------------


def test_time_is_relative_to_the_first_volume(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 4, 3, timed), order="time")
    assert places(a) == straight(4, 3)
    assert a.tag.values.tolist() == [0, 2, 4, 6]
    assert a.tag.attrs["epoch"] == "2024-01-02T10:00:00.000000"
    assert (a.tag.attrs["units"], a.tag.attrs["interval"], a.tag.attrs["source"]) == ("s", 2.0, "AcquisitionTime")
    assert a.slice_time.values.tolist() == [[0, 0.5, 1.0]] * 4


def test_trigger_time_is_in_milliseconds(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2, lambda v, k: {"TriggerTime": 40 * (2 - v) + 3 * k}), order="triggertime")
    assert places(a) == straight(3, 2)[::-1]
    assert a.tag.values.tolist() == [0, 40, 80]
    assert a.tag.attrs["units"] == "ms"


@pytest.mark.parametrize(
    ("order", "keyword", "values"),
    [
        ("te", "EchoTime", [30, 10, 20]),
        ("ti", "InversionTime", [1500, 50, 400]),
        ("fa", "FlipAngle", [15, 2, 5]),
        ("b", "DiffusionBValue", [1000, 0, 500]),
        ("RepetitionTime", "RepetitionTime", [3000, 1000, 2000]),
    ],
)
def test_orders_of_values_sort_by_value(tmp_path: Path, order: str, keyword: str, values: list[float]) -> None:
    a = open_image(series(tmp_path, 3, 2, lambda v, k: {keyword: values[v]}), order=order)
    assert a.tag.values.tolist() == sorted(values)
    assert places(a) == [straight(3, 2)[v] for v in np.argsort(values)]
    assert a.tag.attrs["order"] == order


@pytest.mark.parametrize("own", ["EchoTime", lambda ds: float(ds.EchoTime)])
def test_an_own_order_by_keyword_or_callable(tmp_path: Path, own: Any) -> None:
    a = open_image(series(tmp_path, 3, 2, lambda v, k: {"EchoTime": 30 - 10 * v}), order={"delay": own})
    assert a.tag.values.tolist() == [10, 20, 30]
    assert a.tag.attrs["order"] == "delay"


def test_an_own_order_may_rename_a_clock(tmp_path: Path) -> None:
    vary = lambda v, k: {**timed(v, k), "TriggerTime": 40 * v}  # noqa: E731
    folder = series(tmp_path, 3, 2, vary)
    assert open_image(folder, order={"phase": "triggertime"}).tag.values.tolist() == [0, 40, 80]
    assert open_image(folder, order={"moment": "time"}).tag.values.tolist() == [0, 2, 4]


def test_a_callable_that_gives_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(SortError, match="'delay': the callable returned no number"):
        open_image(series(tmp_path, 2), order={"delay": lambda ds: "late"})


def test_a_callable_that_fails_is_said_with_the_file(tmp_path: Path) -> None:
    folder = series(tmp_path, 2, 2)
    with pytest.raises(SortError, match=r"order 'own': the callable failed for .*\.dcm.*NoSuch"):
        open_image(folder, order={"own": lambda ds: ds.NoSuch})
    with pytest.raises(SortError, match="the callable returned no number") as caught:
        open_image(folder, order={"own": lambda ds: float(str(ds.PatientName))})
    assert "Doe" not in str(caught.value)


def test_an_element_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(SortError, match=r"6 of 6 images have no number in ProtocolName.*What varies here: te"):
        open_image(series(tmp_path, 2, 3, lambda v, k: {"ProtocolName": "x", "EchoTime": v + 1}), order="ProtocolName")


def test_none_goes_by_instance_number(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2, lambda v, k: {"InstanceNumber": 10 * (3 - v) + k}), order="none")
    assert places(a) == straight(3, 2)[::-1]
    assert a.tag.values.tolist() == [0, 1, 2]


def test_slice_major_numbering(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 4, 3, lambda v, k: {"InstanceNumber": 4 * k + v + 1}))
    assert places(a) == straight(4, 3)


def test_volumes_that_differ_in_instance_number_only(tmp_path: Path) -> None:
    same = {"AcquisitionTime": "101500", "ContentTime": "101500", "AcquisitionNumber": 1, "Manufacturer": "GE MEDICAL"}
    a = open_image(series(tmp_path, 3, 2, lambda v, k: same))
    assert (places(a), a.tag.attrs["order"]) == (straight(3, 2), "none")


@pytest.mark.parametrize("course", [True, False])
def test_numbers_that_run_neither_by_volume_nor_by_slice_are_said(tmp_path: Path, course: bool) -> None:
    """An exporter that numbers images as it likes: nothing else tells the volumes of a GE time course apart."""
    echo_planar: Elements = {"ScanningSequence": "EP", "MRAcquisitionType": "2D", "RepetitionTime": 2000}
    more: Elements = {**echo_planar, "NumberOfTemporalPositions": 4, "AcquisitionTime": "101500"} if course else {}
    mixed = [5, 11, 2, 8, 1, 10, 7, 4, 12, 3, 6, 9]
    with pytest.warns(ImagedataWarning, match="neither volume by volume nor slice by slice"):
        a = open_image(series(tmp_path / "mixed", 4, 3, lambda v, k: {**more, "InstanceNumber": mixed[3 * v + k]}))
    assert a.tag.attrs["order"] == ("time" if course else "none")
    ways = {"volumes": lambda v, k: 3 * v + k, "slices": lambda v, k: 4 * k + v, "anew": lambda v, k: v + 1}
    for name, number in ways.items():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ImagedataWarning)
            vary = lambda v, k, number=number: {**more, "InstanceNumber": number(v, k) + 1}  # noqa: E731
            assert places(open_image(series(tmp_path / name, 4, 3, vary))) == straight(4, 3)
        assert not [w for w in said if "neither volume by volume" in str(w.message)]


def test_equal_instance_numbers_fall_back_to_the_clock(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2, lambda v, k: {"InstanceNumber": 1, "AcquisitionTime": at(-v)}), order="none")
    assert places(a) == straight(3, 2)[::-1]


def test_a_sequence_that_nothing_tells_is_said(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="sequence of their volumes is that of their SOPInstanceUID"):
        open_image(series(tmp_path, 2, 2, lambda v, k: {"InstanceNumber": 1}))


# --- several orders -------------------------------------------------------------------------------------------------


def test_two_orders_make_a_grid(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:  # echoes of one excitation share a clock
        return {**timed(v // 2, k), "EchoTime": [12, 5][v % 2]}

    a = open_image(series(tmp_path, 6, 2, vary), order="time,te")
    assert a.dims == ("time", "echo_time", "slice", "row", "col")
    assert a.shape[:3] == (3, 2, 2)
    assert (a.time.values.tolist(), a.echo_time.values.tolist()) == ([0, 2, 4], [5, 12])
    assert places(a) == [[(v, 0), (v, 1)] for v in (1, 0, 3, 2, 5, 4)]


def test_one_order_where_two_vary_names_the_grid(tmp_path: Path) -> None:
    folder = series(tmp_path, 4, 2, lambda v, k: {**timed(v // 2, k), "EchoTime": 5 + v % 2})
    with pytest.raises(SortError, match=r"have the same AcquisitionTime; order='time,te' makes a grid"):
        open_image(folder, order="time")


def test_three_orders(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {**timed(v // 4, k), "EchoTime": 5 + v % 2, "FlipAngle": 10 + v // 2 % 2}

    a = open_image(series(tmp_path, 8, 2, vary), order="time,fa,te")
    assert a.dims[:3] == ("time", "flip_angle", "echo_time")
    assert places(a) == straight(8, 2)
    assert open_image(tmp_path).dims[:1] == ("time",)


def test_a_clock_and_a_trigger_time(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {**timed(v // 3, k), "TriggerTime": 30 * (v % 3)}

    a = open_image(series(tmp_path, 6, 2, vary), order="time,triggertime")
    assert (a.time.values.tolist(), a.trigger_time.values.tolist()) == ([0, 2], [0, 30, 60])


def test_orders_that_do_not_tell_images_apart(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"EchoTime": 5 + v % 2, "FlipAngle": 10 + v // 2 % 2}

    with pytest.raises(SortError, match=r"2 images claim one place .*Add an order, or split='KEYWORD'"):
        open_image(series(tmp_path, 8, 2, vary), order="fa,te")


def test_one_order_may_not_mix_what_another_tells_apart(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:  # the last slice has its echoes the other way round
        return {"EchoTime": [5, 12][(v + (k == 2)) % 2]}

    with pytest.raises(SortError, match=r"images of different te into one volume. order='te' makes a grid"):
        open_image(series(tmp_path, 2, 3, vary), order="none")


@pytest.mark.parametrize(
    ("order", "match"),
    [
        ("time,none", "'none' numbers all volumes"),
        ("te,EchoTime", "would give one dim twice"),
        ("echo", "unknown order 'echo'"),
        ("", "order is empty"),
        (3, "order=3: it is a text"),
        ({}, "order is an empty mapping"),
    ],
)
def test_orders_that_make_no_sense(tmp_path: Path, order: Any, match: str) -> None:
    with pytest.raises(LabelError, match=match):
        open_image(series(tmp_path, 2, 2, lambda v, k: {"EchoTime": v + 1}), order=order)


# --- finding out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vary", "order"),
    [
        (timed, "time"),
        (lambda v, k: {"TriggerTime": 40 * v}, "time"),
        (lambda v, k: {"EchoTime": v + 1}, "te"),
        (lambda v, k: {"InversionTime": v + 1}, "ti"),
        (lambda v, k: {"FlipAngle": v + 1}, "fa"),
        (lambda v, k: {"DiffusionBValue": 500 * v}, "b"),
        (lambda v, k: {"DiffusionBValue": 500, "DiffusionGradientOrientation": [v == 0, v == 1, v == 2]}, "dti"),
        (lambda v, k: {}, "none"),
    ],
)
def test_auto_finds_the_order(tmp_path: Path, vary: Any, order: str) -> None:
    a = open_image(series(tmp_path, 3, 2, vary))
    assert a.tag.attrs["order"] == order
    assert places(a) == straight(3, 2)


def test_auto_finds_a_grid(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 4, 2, lambda v, k: {"EchoTime": 5 + v // 2, "FlipAngle": 10 + v % 2}))
    assert a.dims[:2] == ("echo_time", "flip_angle")


def test_auto_is_none_for_a_single_volume(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 1, 4, timed))
    assert (a.shape[:2], a.tag.attrs["order"]) == ((1, 4), "none")


def test_echoes_without_a_clock_are_a_grid_with_what_counts_their_repetitions(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"EchoTime": (10, 30)[v % 2], "AcquisitionTime": "101500"}

    def counted(v: int, k: int) -> Elements:
        return {**vary(v, k), "TemporalPositionIdentifier": v // 2 + 1}

    with pytest.warns(ImagedataWarning, match="6 volumes lie at the same places"):
        da = open_image(series(tmp_path / "numbered", 6, 2, vary))
    named = open_image(series(tmp_path / "counted", 6, 2, counted))
    assert da.dims[:2] == ("volume", "echo_time")
    assert named.dims[:2] == ("temporal_position_identifier", "echo_time")
    assert named.temporal_position_identifier.values.tolist() == [1, 2, 3]
    for each in (da, named):
        assert each.shape[:3] == (3, 2, 2)
        assert each.echo_time.values.tolist() == [10, 30]
        assert places(each) == straight(6, 2)


def test_a_grid_with_numbers_comes_back_from_a_format_of_one_axis(tmp_path: Path) -> None:
    series(tmp_path / "in", 6, 2, lambda v, k: {"EchoTime": (10, 30)[v % 2], "AcquisitionTime": "101500"})
    with pytest.warns(ImagedataWarning, match="6 volumes"):
        da = open_image(tmp_path / "in")
    da.imd.write(tmp_path / "a.nii.gz")
    back = open_image(tmp_path / "a.nii.gz")
    assert back.dims == da.dims
    assert (back.values == da.values).all()


def test_echoes_of_unequal_number_are_no_grid(tmp_path: Path) -> None:
    da = open_image(series(tmp_path, 5, 2, lambda v, k: {"EchoTime": (10, 30)[v % 2], "AcquisitionNumber": v + 1}))
    assert da.dims[0] == "tag"
    assert da.echo_time.values.tolist() == [10, 30, 10, 30, 10]


def test_auto_order_limits_what_may_be_found(tmp_path: Path) -> None:
    folder = series(tmp_path, 3, 2, lambda v, k: {**timed(v, k), "EchoTime": 9 - v})
    assert open_image(folder).tag.attrs["order"] == "te"
    assert open_image(folder, auto_order=["time"]).tag.attrs["order"] == "time"
    assert open_image(folder, auto_order="time,fa").tag.attrs["order"] == "time"
    with pytest.raises(LabelError, match="unknown order 'tempo'"):
        open_image(folder, auto_order=["tempo"])


def test_auto_order_chooses_among_orders_of_diffusion(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"DiffusionBValue": [900, 0, 500][v], "DiffusionGradientOrientation": [1, 0, 0]}

    folder = series(tmp_path, 3, 2, vary)
    assert open_image(folder).b_value.values.tolist() == [900, 0, 500]
    assert open_image(folder, auto_order=["b"]).tag.values.tolist() == [0, 500, 900]
    assert open_image(folder, auto_order=["bvector"]).b_value.values.tolist() == [0, 500, 900]


# --- duplicates -----------------------------------------------------------------------------------------------------


def test_equal_values_raise_or_are_kept(tmp_path: Path) -> None:
    folder = series(tmp_path, 4, 2, lambda v, k: {"EchoTime": 5 + v % 2})
    with pytest.raises(SortError, match=r"'te' does not tell all images apart: 4 have .* te = 5\. duplicates='keep'"):
        open_image(folder, order="te")
    a = open_image(folder, order="te", duplicates="keep")
    assert a.tag.values.tolist() == [5, 5, 6, 6]
    assert places(a) == [straight(4, 2)[v] for v in (0, 2, 1, 3)]


def test_equal_times_raise_or_are_numbered(tmp_path: Path) -> None:
    folder = series(tmp_path, 3, 2, lambda v, k: {"AcquisitionTime": "101500"})
    with pytest.raises(SortError, match="have the same AcquisitionTime; duplicates='keep' numbers them"):
        open_image(folder, order="time")
    assert places(open_image(folder, order="time", duplicates="keep")) == straight(3, 2)


def test_equal_b_values_are_kept_by_default_as_acquired(tmp_path: Path) -> None:
    b = [0, 1000, 1000, 0]
    folder = series(tmp_path, 4, 2, lambda v, k: {"DiffusionBValue": b[v]})
    a = open_image(folder, order="b")
    assert a.tag.values.tolist() == [0, 0, 1000, 1000]
    assert places(a) == [straight(4, 2)[v] for v in (0, 3, 1, 2)]
    with pytest.raises(SortError, match="'b' does not tell all images apart"):
        open_image(folder, order="b", duplicates="raise")


@pytest.mark.parametrize("options", [{"duplicates": "drop"}, {"missing": "ignore"}, {"errors": "ignore"}])
def test_unknown_words(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(LabelError, match=f"{next(iter(options))}='"):
        open_image(series(tmp_path), **options)


# --- missing images -------------------------------------------------------------------------------------------------


def with_hole(folder: Path, vary: Any, holes: set[tuple[int, int]]) -> Path:
    """Four volumes of three slices without some images."""
    for v in range(4):
        for k in range(3):
            if (v, k) not in holes:
                save(image(v, k, vary(v, k)), folder / f"{v}{k}.dcm")
    return folder


def numbered(v: int, k: int) -> Elements:
    return {**timed(v, k), "TemporalPositionIdentifier": v + 1}


def test_a_missing_image_raises_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        SortError, match=r"between 3 and 4 images \(1 positions with 4, 1 positions with 3, 1 pos.*fill"
    ):
        open_image(with_hole(tmp_path, numbered, {(1, 1)}), order="time")


@pytest.mark.parametrize("order", ["time", "none"])
@pytest.mark.parametrize("element", ["TemporalPositionIdentifier", "AcquisitionNumber"])
def test_incomplete_volumes_are_dropped(tmp_path: Path, order: str, element: str) -> None:
    vary = lambda v, k: {**timed(v, k), element: v + 1}  # noqa: E731
    with pytest.warns(ImagedataWarning, match="1 incomplete volumes are left out"):
        a = open_image(with_hole(tmp_path, vary, {(1, 1)}), order=order, missing="drop")
    assert places(a) == [straight(4, 3)[v] for v in (0, 2, 3)]
    assert a.tag.values.tolist() == ([0, 4, 6] if order == "time" else [0, 2, 3])


def test_missing_images_are_filled(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="2 missing images are filled with NaN"):
        a = open_image(with_hole(tmp_path, numbered, {(1, 0), (3, 2)}), order="time", missing="fill")
    assert a.tag.values.tolist() == [0, 2, 4, 6]  # the first slice of volume 1 is not there to say its time
    assert np.isnan(a.values[1, 0]).all()
    assert np.isnan(a.values).sum() == 2 * 20
    assert (a.instance.values == 0).sum() == 2
    assert a.instance.values[1, 0] == 0
    assert np.isnan(a.slice_time.values[1, 0])
    assert a.slice_time.values[1, 1] == 0.5
    assert places(a.isel(tag=[0, 2])) == [straight(4, 3)[v] for v in (0, 2)]


def test_as_many_images_missing_at_each_position(tmp_path: Path) -> None:
    holes = {(1, 0), (2, 1), (0, 2)}
    with pytest.raises(SortError, match="images are missing"):
        open_image(with_hole(tmp_path / "a", numbered, holes), order="none")
    with pytest.warns(ImagedataWarning, match="3 missing images"):
        a = open_image(tmp_path / "a", order="time", missing="fill")
    assert [v for v, row in enumerate(places(a.fillna(9000))) if (9, 0) in row] == [0, 1, 2]
    with pytest.warns(ImagedataWarning, match=r"slices of volume 1 were measured up to 1.5 s earlier or later"):
        open_image(with_hole(tmp_path / "b", timed, {(1, 0), (2, 1), (1, 2)}), order="time")


def aborted(folder: Path, lost: set[tuple[int, int]], first: int = 1) -> Path:
    for v in range(4):
        for k in range(3):
            if (v, k) not in lost:
                elements = {**timed(v, k), "InstanceNumber": first + 3 * v + k}
                save(image(v, k, elements), folder / f"{v}_{k}.dcm")
    return folder


@pytest.mark.parametrize("order", ["auto", "time", "none"])
def test_a_scan_that_was_aborted_within_its_last_volume(tmp_path: Path, order: str) -> None:
    folder = aborted(tmp_path, {(3, 1), (3, 2)})
    with pytest.raises(SortError, match="missing='drop' leaves incomplete volumes out"):
        open_image(folder, order=order)
    with pytest.warns(ImagedataWarning, match="1 incomplete volumes are left out"):
        assert places(open_image(folder, order=order, missing="drop")) == straight(3, 3)
    with pytest.warns(ImagedataWarning, match="2 missing images are filled with NaN"):
        filled = open_image(folder, order=order, missing="fill")
    assert np.isnan(filled.values[3, 1:]).all()
    assert not np.isnan(filled.values[3, 0]).any()


@pytest.mark.parametrize(("lost", "first"), [({(1, 1)}, 1), ({(0, 0)}, 1), ({(3, 2)}, 2), ({(1, 0), (3, 2)}, 1)])
def test_it_is_not_taken_for_aborted_where_others_may_be_missing(
    tmp_path: Path, lost: set[tuple[int, int]], first: int
) -> None:
    with pytest.raises(SortError, match="says to which volume each belongs"):
        open_image(aborted(tmp_path, lost, first), missing="drop")


def test_nothing_says_where_an_image_belongs(tmp_path: Path) -> None:
    with pytest.raises(SortError, match=r"no element .* says to which volume each belongs"):
        open_image(with_hole(tmp_path, timed, {(1, 1)}), order="time", missing="drop")


def test_nothing_is_left_to_drop(tmp_path: Path) -> None:
    holes = {(v, v % 3) for v in range(4)}
    with pytest.raises(SortError, match="every volume is incomplete"):
        open_image(with_hole(tmp_path, numbered, holes), order="time", missing="drop")


def test_a_grid_with_a_missing_combination(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"EchoTime": 5 + v % 2, "FlipAngle": 10 + v // 2, "AcquisitionNumber": v, "DiffusionBValue": 100 * v}

    folder = with_hole(tmp_path, lambda v, k: {**vary(v, k), "DiffusionBValue": None}, {(3, 0), (3, 1), (3, 2)})
    with pytest.raises(SortError, match=r"3 of 12 places of the grid \(2, 2, 3\)"):
        open_image(folder, order="fa,te")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", ImagedataWarning)
        a = open_image(folder, order="fa,te", missing="fill")
    assert np.isnan(a.values[1, 1]).all()
    assert a.acquisition_number.values[:, 0].tolist() == [0, 2]
    assert np.isnan(a.acquisition_number.values[1, 1])


def test_integers_can_not_be_filled(tmp_path: Path) -> None:
    folder = with_hole(tmp_path, numbered, {(1, 1)})
    with pytest.raises(ValueError, match="can't be filled with NaN"), pytest.warns(ImagedataWarning):
        open_image(folder, order="time", missing="fill", mask_and_scale=False)


def test_overlapping_acquisitions_name_the_cure(tmp_path: Path) -> None:
    for v in range(2):
        for k in range(3):
            elements = {"AcquisitionNumber": v + 1, "ImagePositionPatient": [0, 0, 3.0 * (k + v)]}
            save(image(v, k, elements), tmp_path / f"{v}{k}.dcm")
    with pytest.raises(SeriesError, match=r"stack=0: .*\(acquisition 1\)\n.*stack=1: .*\(acquisition 2\)"):
        open_image(tmp_path)
    assert places(open_image(tmp_path, acquisition=2)) == [[(1, 0), (1, 1), (1, 2)]]


# --- nothing depends on the names of files --------------------------------------------------------------------------


@given(sequence=st.permutations(range(12)))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("order", ["none", "time", "te", "auto"])
def test_shuffled_files_give_the_same_image(
    tmp_path_factory: pytest.TempPathFactory, order: str, sequence: list[int]
) -> None:
    def vary(v: int, k: int) -> Elements:
        return {**timed(v, k), "EchoTime": 5 + 2 * v}

    folder = tmp_path_factory.mktemp("shuffled")
    a = open_image(series(folder / "a", 4, 3, vary), order=order)
    b = open_image(series(folder / "b", 4, 3, vary, [f"{n:02d}" for n in sequence]), order=order)
    assert a.drop_vars("source").identical(b.drop_vars("source"))


def test_repeated_directions_without_any_number_are_said(tmp_path: Path) -> None:
    vary = lambda v, k: {"DiffusionBValue": 0.0 if v < 2 else 1000.0, "InstanceNumber": None}  # noqa: E731
    with pytest.warns(ImagedataWarning, match="2 images have the position, time and InstanceNumber of another"):
        a = open_image(series(tmp_path, 3, 2, vary), order="b", duplicates="keep")
    assert a.tag.values.tolist() == [0, 0, 1000]

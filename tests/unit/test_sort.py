"""Sorting by one order and by several, and duplicates."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from series import Elements, at, open_image, places, series, straight, timed

from imagedata_xr.errors import ImagedataWarning, LabelError, SortError

# --- one order -------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "maker",
    [lambda v: {}, lambda v: {"Manufacturer": "Philips", ("Philips MR Imaging DD 005", 0x2005, 0x12): 1 + (v == 2)}],
)
def test_repeats_whose_numbers_run_neither_way_are_said(tmp_path: Path, maker: Any) -> None:
    """Volumes that repeat a b-value are told by their numbers only, which Philips scrambles."""
    number = dict(zip([(v, k) for k in range(3) for v in range(3)], [1, 5, 3, 9, 2, 4, 6, 8, 7], strict=True))
    for name, scrambled in (("plain", False), ("scrambled", True)):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ImagedataWarning)
            more = lambda v, k, on=scrambled: {"InstanceNumber": number[v, k]} if on else {}  # noqa: E731
            vary = lambda v, k, more=more: {**maker(v), "DiffusionBValue": 1000.0 * (v == 2), **more(v, k)}  # noqa: E731
            open_image(series(tmp_path / name, 3, 3, vary))
        found = [w for w in said if "2 volumes of equal weighting follow InstanceNumber" in str(w.message)]
        assert bool(found) == scrambled


def test_equal_instance_numbers_fall_back_to_the_clock(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2, lambda v, k: {"InstanceNumber": 1, "AcquisitionTime": at(-v)}), order="none")
    assert places(a) == straight(3, 2)[::-1]


def test_a_sequence_that_nothing_tells_is_said(tmp_path: Path) -> None:
    with pytest.warns(ImagedataWarning, match="sequence of their volumes is that of their SOPInstanceUID"):
        open_image(series(tmp_path, 2, 2, lambda v, k: {"InstanceNumber": 1}))


# --- several orders --------------------------------------------------------------------------------------------------


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


# --- duplicates ------------------------------------------------------------------------------------------------------


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

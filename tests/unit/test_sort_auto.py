"""Finding out what a series varies by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from series import Elements, open_image, places, series, straight, timed

from imagedata_xr.errors import ImagedataWarning, LabelError, SortError

# --- finding out -----------------------------------------------------------------------------------------------------


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


def test_values_that_follow_the_beats_of_each_slice_are_no_label_of_volumes(tmp_path: Path) -> None:
    """Inversion times of a heart, slice after slice: no two slices have the same ones."""
    times = [100, 1000, 1900, 180, 1080, 1980]

    def vary(v: int, k: int) -> Elements:
        acquired = {"AcquisitionDate": "20240102", "AcquisitionTime": f"1015{15 * k + v:02d}"}
        return {"InversionTime": times[v] + 7 * k, **acquired}

    folder = series(tmp_path, 6, 3, vary)
    with pytest.warns(ImagedataWarning, match="InversionTime is another in each slice"):
        a = open_image(folder)
    assert a.tag.attrs["order"] == "time"
    assert places(a) == straight(6, 3)
    assert "inversion_time" not in a.coords
    one = open_image(folder, split="ImagePositionPatient", stack=1)
    assert one.inversion_time.values.tolist() == [sorted(t + 7 for t in times)[v] for v in range(6)]
    assert [place[0] for place in places(one)] == [(times.index(t), 1) for t in sorted(times)]


@pytest.mark.parametrize("counted", ["AcquisitionNumber", "TemporalPositionIdentifier"])
def test_what_counts_repetitions_makes_a_grid_without_instance_numbers(tmp_path: Path, counted: str) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"FlipAngle": (5, 15)[v % 2], counted: v // 2 + 1, "InstanceNumber": None}

    a = open_image(series(tmp_path, 6, 3, vary))
    assert a.dims[1] == "flip_angle"
    assert places(a) == straight(6, 3)


def test_what_an_error_of_mixing_advises_works(tmp_path: Path) -> None:
    """Echoes that repeat, of which nothing tells the repetitions."""

    def vary(v: int, k: int) -> Elements:
        uid = f"1.2.3.{k}.{3 - v if k else v}"  # in another sequence at each position
        return {"EchoTime": (5.0, 15.0)[v % 2], "InstanceNumber": None, "SOPInstanceUID": uid}

    folder = series(tmp_path, 4, 2, vary)
    with pytest.raises(SortError, match="split='EchoTime' makes images of their own"):
        open_image(folder)
    with pytest.warns(ImagedataWarning):
        assert {places(open_image(folder, split="EchoTime", stack=k))[0][0][0] % 2 for k in range(2)} == {0, 1}


def test_echoes_of_which_images_are_lost_are_not_mixed(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"EchoTime": 5.0 * (v + 1), "AcquisitionDate": "20240102", "AcquisitionTime": f"10150{v}"}

    folder = series(tmp_path, 3, 3, vary)
    for v, k in ((0, 0), (1, 1), (2, 2)):  # as many at each position
        (folder / f"{3 * v + k:04d}.dcm").unlink()
    with pytest.raises(SortError, match="different te into one volume"):
        open_image(folder)


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


# --- nothing depends on the names of files ---------------------------------------------------------------------------


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

"""When images were measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from series import Elements, open_image, places, series, straight

from imagedata_xr.dicom.sorting.clock import _date, seconds_of_datetime, seconds_of_time, starts


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 36000),
        ("1015", 36900),
        ("101530", 36930),
        ("101530.25", 36930.25),
        ("10:15:30", 36930),
        (" 101530 ", 36930),
        ("235960", 86400),
        ("250000", None),
        ("106000", None),
        ("1015301", None),
        ("noon", None),
        ("", None),
    ],
)
def test_time_values(text: str, seconds: float | None) -> None:
    got = seconds_of_time(text)
    assert np.isnan(got) if seconds is None else got == seconds


def test_date_and_datetime_values() -> None:
    assert _date("19700102") == 86400
    assert _date("1970.01.02") == 86400
    assert np.isnan(_date("19701302"))
    assert seconds_of_datetime("19700102000001.5+0100") == 86401.5
    assert seconds_of_datetime("19700102-0500") == 86400
    assert np.isnan(seconds_of_datetime("1970"))


def test_starts_of_volumes_with_holes() -> None:
    seconds = np.array([0.0, 1, 10, 11, 21, 5, 99])
    index = np.array([[0, 1], [2, 3], [-1, 4], [-1, -1]])
    np.testing.assert_array_equal(starts(seconds, index), [0, 10, 20, np.nan])


def clock(volumes: int, seconds: float, start: float, **more: str) -> list[Elements]:
    """AcquisitionTime of each volume, past midnight if need be."""
    out: list[Elements] = []
    for v in range(volumes):
        s = (start + v * seconds) % 86400
        text = f"{int(s // 3600):02d}{int(s % 3600 // 60):02d}{s % 60:06.3f}"
        out.append({"AcquisitionTime": text, "AcquisitionDate": "20240102", **more})
    return out


def test_over_midnight_with_a_date_that_stands_still(tmp_path: Path) -> None:
    when = clock(4, 60, 86400 - 90)
    a = open_image(series(tmp_path, 4, 2, lambda v, k: when[v]), order="time")
    assert places(a) == straight(4, 2)
    assert a.tag.values.tolist() == [0, 60, 120, 180]
    assert a.tag.attrs["epoch"] == "2024-01-02T23:58:30.000000"
    assert str(a.acquisition_time.values[-1]) == "2024-01-03T00:01:30.000000"


def test_over_midnight_with_dates(tmp_path: Path) -> None:
    when = [{**w, "AcquisitionDate": "20240103" if v > 1 else "20240102"} for v, w in enumerate(clock(4, 60, 86310))]
    a = open_image(series(tmp_path, 4, 2, lambda v, k: when[v]), order="time")
    assert a.tag.values.tolist() == [0, 60, 120, 180]


def test_morning_and_evening_of_one_day_are_not_a_night(tmp_path: Path) -> None:
    when = clock(2, 13 * 3600, 8 * 3600)
    a = open_image(series(tmp_path, 2, 2, lambda v, k: when[v]), order="time")
    assert a.tag.values.tolist() == [0, 13 * 3600]
    assert places(a) == straight(2, 2)


def test_clocks_that_differ_from_slice_to_slice_interleaved(tmp_path: Path) -> None:
    late = [0.0, 1.0, 0.5, 1.5]
    vary = lambda v, k: clock(5, 2, 36000 + late[k])[v]  # noqa: E731
    a = open_image(series(tmp_path, 5, 4, vary), order="time")
    assert places(a) == straight(5, 4)
    assert a.slice_time.values.tolist() == [late] * 5
    assert a.tag.values.tolist() == [0, 2, 4, 6, 8]


def test_slices_measured_one_after_the_other(tmp_path: Path) -> None:
    vary = lambda v, k: clock(5, 2, 36000 + 100 * k)[v]  # noqa: E731
    a = open_image(series(tmp_path, 5, 3, vary), order="time")
    assert places(a) == straight(5, 3)
    assert a.slice_time.values.tolist() == [[0, 100, 200]] * 5


def test_the_datetime_is_trusted_more_than_date_and_time(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {**clock(3, 5, 36000)[v], "AcquisitionDateTime": f"202401021200{10 * v:02d}.000000"}

    a = open_image(series(tmp_path, 3, 2, vary), order="time")
    assert a.tag.attrs["source"] == "AcquisitionDateTime"
    assert a.tag.values.tolist() == [0, 10, 20]


def test_a_clock_that_stands_still_gives_way_to_the_next(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {
            "AcquisitionDateTime": "20240102120000",
            "TemporalPositionIdentifier": v + 1,
            "TemporalResolution": 2500,
        }

    a = open_image(series(tmp_path, 3, 2, vary), order="time")
    assert a.tag.attrs["source"] == "TemporalPositionIdentifier x TemporalResolution"
    assert a.tag.values.tolist() == [0, 2.5, 5]
    assert a.tag.attrs["epoch"] == "2024-01-02T12:00:00.000000"


def test_without_an_acquisition_date_the_study_date_stands_in(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 2, 2, lambda v, k: {"AcquisitionTime": f"1200{v:02d}"}), order="time")
    assert a.tag.attrs["epoch"] == "2024-01-02T12:00:00.000000"


def test_without_any_date_there_is_no_epoch(tmp_path: Path) -> None:
    vary = lambda v, k: {"AcquisitionTime": f"1200{v:02d}", "StudyDate": None}  # noqa: E731
    a = open_image(series(tmp_path, 2, 2, vary), order="time")
    assert a.tag.values.tolist() == [0, 1]
    assert a.tag.attrs["epoch"] == ""
    assert "acquisition_time" not in a.coords


def test_repetitions_of_single_shot_epi(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"ScanningSequence": "EP", "MRAcquisitionType": "2D", "RepetitionTime": 1500,
                "NumberOfTemporalPositions": 4, "AcquisitionTime": "101500"}  # fmt: skip

    a = open_image(series(tmp_path, 4, 3, vary), order="time")
    assert a.tag.values.tolist() == [0, 1.5, 3, 4.5]
    assert a.tag.attrs["source"] == "InstanceNumber x RepetitionTime"


def test_a_part_of_a_series_timed_by_its_trigger_lies_where_it_lay(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"AcquisitionDateTime": "20240102120000", "TriggerTime": 100 + 1000 * v + 100 * k}

    files = series(tmp_path, 4, 2, vary)
    whole = open_image(files, order="time")
    assert whole.tag.attrs["source"] == "TriggerTime"
    target = tmp_path / "part"
    whole.isel(tag=slice(1, 3)).imd.write(target)
    part = open_image(target, order="time")
    assert part.tag.attrs["epoch"] == "2024-01-02T12:00:01.100000"
    assert float(abs(whole.isel(tag=slice(1, 3)) - part).max()) == 0

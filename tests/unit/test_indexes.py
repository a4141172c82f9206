"""Alignment: what differs raises and says how, what agrees keeps its labels."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from linear import EPOCH, FIRST, SPACING, assert_true, has_indexes, image, oblique, write_series

from imagedata_xr.errors import GridError

MINIMAL: dict[str, Any] = {"coords": "minimal", "compat": "override"}
FLIPS = [{"row": slice(None, None, -1)}, {"slice": slice(None, None, -1), "col": slice(None, None, -1)}]


def moved(axis: int, by: float) -> tuple[float, ...]:
    return tuple(f + by * (k == axis) for k, f in enumerate(FIRST))


def diffusion(b: list[float], vectors: list[list[float]], order: str = "dti") -> xr.DataArray:
    v = np.asarray(vectors, dtype=np.float64)
    coords: dict[str, Any] = {"b_value": (("tag",), np.asarray(b, dtype=np.float64))}
    coords |= {f"b_vector_{n}": (("tag",), v[:, k]) for k, n in enumerate("xyz")}
    tags = np.arange(float(len(b))) if order == "dti" else b
    return image((len(b), 2, 3, 4), order=order, tags=tags, coords=coords)


DIFFERENT: dict[str, tuple[xr.DataArray, str]] = {
    "spacing": (image(spacing=(4.0, 2.0, 1.6)), "'col' differ by up to 0.7"),
    "position along the slices": (image(first=moved(0, 1.0)), "'slice' differ by up to 1 "),
    "position in the plane": (image(first=moved(2, -0.5)), "'col' differ by up to 0.5"),
    "orientation": (image(direction=oblique(23.0)), r"orientation differs by up to 3\.\d+ degrees"),
    "frame of reference": (image(frame="1.2.3.5"), "frames of reference differ"),
    "rows": (image((4, 3, 5, 8)), "'row' has 6 and 5 entries"),
    "volumes": (image((3, 3, 6, 8)), "'tag' has 4 and 3 entries"),
    "intervals": (image(tags=[0, 15, 30, 45]), r"labels \(time\) by up to 9 \(tolerance 1\.5\)"),
    "order": (image(order="te"), "ordered by 'time' in one image and by 'te'"),
    "no geometry": (image(place=False), "one image has a place in the patient"),
}


CURES = {
    "frame of reference": "Register them first; imd.assign_grid(other)",
    "rows": "imd.interp_like(other) resamples one onto the other; or select",
    "volumes": "Select the same volumes of both",
    "intervals": "imd.assign_tags(other)",
    "order": "imd.assign_tags(other)",
    "no geometry": "imd.assign_grid(other) says that they lie in one place",
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_images_that_differ_raise_the_difference_and_the_cure(name: str) -> None:
    other, said = DIFFERENT[name]
    for left, right in ((image(), other), (other, image())):
        with pytest.raises(GridError, match="not on the same grid") as caught:
            left + right
        assert CURES.get(name, "imd.interp_like(other) resamples one onto the other; imd.assign_grid") in str(
            caught.value
        )
    with pytest.raises(GridError, match=said):
        image() + other


@pytest.mark.parametrize("name", ["spacing", "frame of reference", "orientation", "no geometry", "intervals", "order"])
def test_the_cure_works(name: str) -> None:
    one, other = image(), DIFFERENT[name][0]
    if name == "no geometry":  # the one without a place takes that of the other
        one, other = other, one
    cured = one.imd.assign_tags(other) if "tags" in CURES.get(name, "") else one.imd.assign_grid(other)
    assert (cured + other).shape == other.shape


def test_b_values_and_directions_are_compared() -> None:
    one = diffusion([0, 1000, 1000], [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    with pytest.raises(GridError, match=r"b_value by up to 200 \(tolerance 1\)"):
        one - diffusion([0, 1000, 800], [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    with pytest.raises(GridError, match=r"b_vector_y by up to 1 .*b_vector_z by up to 1 "):
        one - diffusion([0, 1000, 1000], [[0, 0, 0], [1, 0, 0], [0, 0, 1]])
    assert (one + diffusion([0, 1000.4, 1000], [[0, 0, 0], [1, 0, 0.004], [0, 1, 0]])).shape == one.shape


def test_directions_are_compared_although_the_order_is_the_b_value() -> None:
    one = diffusion([0, 1000], [[0, 0, 0], [1, 0, 0]], order="b")
    with pytest.raises(GridError, match="b_vector_x"):
        one + diffusion([0, 1000], [[0, 0, 0], [0, 1, 0]], order="b")


def test_directions_follow_a_selection() -> None:
    one = diffusion([0, 700, 700], [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    other = diffusion([700, 700], [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal((one.isel(tag=[1, 2]) + other).tag, [1.0, 2.0])
    with pytest.raises(GridError, match="b_value"):
        one.isel(tag=[0, 2]) + other
    rolled = one.roll(tag=1, roll_coords=True)
    assert (rolled.isel(tag=[2, 1]) - one.isel(tag=[1, 0])).sizes["tag"] == 2
    joined = xr.concat([one.isel(tag=[1]), one.isel(tag=[2])], "tag")
    assert (joined + other).sizes["tag"] == 2


def test_labels_within_the_tolerance_add_up_and_the_left_ones_are_kept() -> None:
    a = image()
    b = image(first=moved(1, 0.006), direction=oblique(20.003), tags=[0, 12.5, 24.4, 36.9])
    total = a + b
    for name in ("tag", "slice", "row", "col"):
        np.testing.assert_array_equal(total[name], a[name])
    assert has_indexes(total)
    np.testing.assert_allclose(total.imd.affine, a.imd.affine, atol=0)


def test_a_frame_of_reference_that_is_absent_is_no_conflict() -> None:
    assert (image() + image(frame="")).shape == (4, 3, 6, 8)
    with warnings.catch_warnings():  # as of every sum of DICOM with NIfTI, which knows no frame
        warnings.simplefilter("error")
        total = (image(frame="") + image()).imd.repair()
        assert total.imd.frame_of_reference in ("", "1.2.3.4")
        assert_true(total / 2)
    with pytest.raises(GridError, match="frame"):
        _ = image(frame="1.2.9") + image()


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flipped_axis_aligns_by_its_labels(flip: dict[str, slice]) -> None:
    a = image()
    for total in ((a + a.isel(flip)) / 2, (a.isel(flip) + a) / 2, a.isel(flip).where(a > -1e9)):
        assert has_indexes(total)
        assert_true(total)


def test_reversed_volumes_align_by_their_times_and_clock() -> None:
    a = image()
    later = image(epoch="2026-01-02T11:00:00").isel(tag=slice(None, None, -1))
    assert_true((a + later) / 2)
    part = image((2, 3, 6, 8), tags=[0.0, 12.0], epoch="2026-01-02T10:00:24").isel(tag=slice(None, None, -1))
    total = a.isel(tag=[2, 3]) - part
    np.testing.assert_array_equal(total.tag, [24.0, 36.0])
    np.testing.assert_allclose(total.values, 240.0)


def test_two_runs_of_one_protocol_add_although_their_clocks_differ() -> None:
    one, two = image(), image(epoch="2026-01-02T15:31:07", tags=[0, 12.1, 24.1, 36.2])
    total = (one + two) / 2
    np.testing.assert_array_equal(total.imd.timeline, [0, 12, 24, 36])
    assert total.tag.attrs["interval"] == 12.0


@pytest.mark.parametrize("epoch", ["2026-01-02T10:00:24", ""])
def test_a_part_aligns_with_its_file_read_back_which_has_another_epoch(epoch: str) -> None:
    part = image().isel(tag=[2, 3])
    back = image((2, 3, 6, 8), tags=[0.0, 12.0], epoch=epoch)
    np.testing.assert_array_equal((part + back).tag, [24.0, 36.0])
    np.testing.assert_array_equal((back + part).tag, [0.0, 12.0])


def test_other_volumes_of_one_series_do_not_align() -> None:
    a = image()
    with pytest.raises(GridError, match="differ: labels"):
        a.isel(tag=[0, 1]) + a.isel(tag=[2, 3])


@pytest.mark.parametrize("flip", [False, True])
def test_a_single_volume_of_which_nothing_is_known_aligns_with_any(flip: bool) -> None:
    known, unknown = image().isel(tag=[2]), image((1, 3, 6, 8), order="none", tags=[0.0])
    left, right = (unknown, known) if flip else (known, unknown)
    np.testing.assert_array_equal((left - right).tag, left.tag)
    with pytest.raises(GridError, match="'none'"):
        image() - image(order="none")


def test_a_baseline_without_its_volume_dim_is_subtracted_from_each() -> None:
    a = image()
    change = a - a.isel(tag=0, drop=True)
    assert has_indexes(change)
    assert "time" in change.coords
    np.testing.assert_allclose(change.mean(("slice", "row", "col")), 10.0 * a.tag)


def test_labels_that_are_absent_at_the_same_places_are_equal() -> None:
    padded = image().pad(row=1).imd.repair()
    assert (padded - padded).sizes["row"] == 8
    assert (padded - padded.mean("tag")).sizes["row"] == 8
    with pytest.raises(GridError, match="NaN"):
        padded + image().pad(row=(2, 0)).imd.repair()


def test_left_joins_and_assignment_into_a_dataset_refuse_too() -> None:
    a, other = image(), image(first=moved(1, 3.0))
    for attempt in (lambda: a.fillna(other), lambda: a.to_dataset(name="image").assign(mask=other)):
        with pytest.raises(GridError, match="'row' differ by up to 3"):
            attempt()
    assert_true(a.to_dataset(name="image").assign(mask=a.isel(FLIPS[0]))["mask"])


def test_concat_refuses_other_spaces_orders_and_epochs() -> None:
    a = image()
    with pytest.raises(GridError, match="orientation"):
        xr.concat([a.isel(slice=[0]), image(direction=oblique(25)).isel(slice=[1])], "slice", join="outer", **MINIMAL)
    with pytest.raises(GridError, match="ordered by"):
        xr.concat([a, image(order="te")], "tag")
    with pytest.raises(GridError, match="from 3600 s after the other"):
        xr.concat([a, image(epoch="2026-01-02T11:00:00")], "tag")
    assert_true(xr.concat([a.isel(tag=[0, 1]), a.isel(tag=[2, 3])], "tag"))


def test_the_advice_for_concat_of_other_epochs_works() -> None:
    a, b, shift = image(), image(epoch="2026-01-02T11:00:00"), 3600
    b = b.assign_coords(tag=(b.tag + shift).assign_attrs(a.tag.attrs), time=b.time + shift)
    both = xr.concat([a, b], "tag").imd.repair()
    np.testing.assert_array_equal(both.imd.timeline, [0, 12, 24, 36, 3600, 3612, 3624, 3636])
    np.testing.assert_array_equal(both.time, both.tag)


@pytest.mark.parametrize("flip", [{}, {"row": slice(None, None, -1)}])
@pytest.mark.parametrize("bounds", [(32, 36), (36, 32), (31.5, 36.5), (32.0000004, 35.9999997)])
def test_a_slice_of_labels_is_the_same_on_a_flipped_axis_and_with_swapped_bounds(
    flip: dict[str, slice], bounds: tuple[float, float]
) -> None:
    part = image().isel(flip).sel(row=slice(*bounds))
    assert sorted(part.row.values) == [32.0, 34.0, 36.0]
    assert_true(part)


@pytest.mark.parametrize("flip", [{}, {"row": slice(None, None, -1)}])
def test_open_slices_and_nearest_labels(flip: dict[str, slice]) -> None:
    a = image().isel(flip)
    assert sorted(a.sel(row=slice(36, None)).row.values) == [36.0, 38.0, 40.0]
    assert sorted(a.sel(row=slice(None, 32)).row.values) == [30.0, 32.0]
    assert a.sel(row=slice(None)).sizes["row"] == 6
    assert float(a.sel(row=32.001).row) == 32.0
    assert float(a.sel(row=32.9, method="nearest").row) == 32.0
    assert a.sel(row=[30.0, 36.0]).row.values.tolist() == [30.0, 36.0]


def test_a_label_that_is_not_there_says_what_is() -> None:
    with pytest.raises(KeyError, match=r"within 0\.01 of 33\.0: the labels reach from 30 to 40"):
        image().sel(row=33.0)
    with pytest.raises(KeyError, match=r"no 'tag' label of 5"):
        image(tags=[0, 0, 1, 1], order="b").sel(tag=5)


def test_duplicated_labels_select_all() -> None:
    assert image(tags=[0, 0, 1, 1], order="b").sel(tag=0).sizes["tag"] == 2


def test_spacing_and_interval_stay_true() -> None:
    a = image()
    part = a.isel(slice=slice(None, None, 2), row=slice(4, 0, -2), tag=slice(None, None, 3))
    assert [part[n].attrs["spacing"] for n in ("slice", "row", "col")] == [8.0, 4.0, 1.5]
    assert part.tag.attrs["interval"] == 36.0
    assert a.isel(slice=[1]).slice.attrs["spacing"] == SPACING[0]


def test_indexes_survive_pickle_rename_and_roll() -> None:
    a = image()
    back = pickle.loads(pickle.dumps(a))
    assert has_indexes(back)
    assert_true(back)
    with pytest.raises(GridError):
        back + image(direction=oblique(25))
    assert type(a.rename(row="line").xindexes["line"]).__name__ == "AxisIndex"


def test_a_time_without_epoch_is_compared_since_the_first_volume() -> None:
    a, b = image(epoch=""), image(tags=[100, 112, 124, 136], epoch="")
    np.testing.assert_array_equal((a + b).tag, a.tag)
    assert EPOCH not in str(a.tag.attrs)


def test_what_is_read_aligns_with_its_crop_read_back(tmp_path: Path) -> None:
    stored = np.arange(4 * 3 * 4 * 5, dtype=np.uint16).reshape(4, 3, 4, 5)
    a = xr.open_dataarray(write_series(tmp_path / "a", stored), engine="imagedata", order="time")
    crop = a.isel(tag=[2, 3], slice=[1, 2], row=slice(1, 3))
    folder = write_series(
        tmp_path / "b", stored[2:, 1:, 1:3], first=(FIRST[0] + 4, FIRST[1] + 2, FIRST[2]), start="10:00:24"
    )
    back = xr.open_dataarray(folder, engine="imagedata", order="time")
    assert back.tag.attrs["epoch"] != a.tag.attrs["epoch"]
    np.testing.assert_array_equal(crop - back, 0)
    assert (crop - back).sizes == crop.sizes

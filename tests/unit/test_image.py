"""Labelled images: build, repair, affine, canonical form."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from linear import FRAME, SPACING, assert_true, has_indexes, image, oblique
from xarray.indexes import PandasIndex

import imagedata_xr
from imagedata_xr.errors import GeometryError, ImagedataWarning, LabelError
from imagedata_xr.model.image import as_image, canonical, per_volume, repair
from imagedata_xr.model.indexes import Space

Operation = Callable[[xr.DataArray], xr.DataArray]


def test_an_image_has_its_dims_labels_and_indexes() -> None:
    a = image()
    assert a.dims == ("tag", "slice", "row", "col")
    assert has_indexes(a)
    assert a.row.attrs == {"units": "mm", "spacing": 2.0, "first": 30.0, "count": 6}
    assert a.geometry.ndim == 0
    assert a.geometry.attrs["frame_of_reference"] == FRAME
    assert np.shape(a.geometry.attrs["direction"]) == (9,)
    assert_true(a)


LOSING: dict[str, Operation] = {
    "coarsen": lambda a: a.coarsen(row=2, col=4).mean(),
    "coarsen the volumes": lambda a: a.coarsen(tag=2).mean(),
    "interp": lambda a: a.interp(row=np.linspace(31, 39, 9)),
    "interp over time": lambda a: a.interp(tag=[6.0, 30.0]),
    "expand_dims": lambda a: a.isel(slice=1).expand_dims("slice", axis=1),
    "concat of scalars": lambda a: xr.concat([a.isel(slice=k) for k in range(3)], "slice", coords="different",
                                             compat="equals").transpose("tag", "slice", ...),
    "plain labels": lambda a: a.assign_coords({n: a[n].values for n in ("tag", "row")}).assign_coords(
        tag=a.tag.variable.to_base_variable()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSING)
def test_repair_gives_back_the_indexes_and_changes_nothing_else(name: str) -> None:
    result = LOSING[name](image())
    assert not has_indexes(result)
    mended = repair(result)
    assert has_indexes(mended)
    xr.testing.assert_equal(mended, result)
    assert_true(mended)
    assert_true(result)  # the accessor repairs


@pytest.mark.parametrize("place", [True, False])
def test_repair_gives_back_attrs_that_the_indexes_know(place: bool) -> None:
    a = image(place=place)
    for result in (xr.where(a > 0, 0, a), xr.apply_ufunc(np.abs, a, keep_attrs=False).isel(tag=[0, 2], row=[1])):
        assert not result.tag.attrs
        mended = repair(result)
        assert has_indexes(mended)
        want = a.isel(tag=[0, 2], row=[1]) if mended.sizes["row"] == 1 else a
        for name in ("tag", "slice", "row", "col", *(["geometry"] if place else [])):
            assert mended[name].attrs == want[name].attrs, name
        assert mended.imd.order == "time"
    if place:
        np.testing.assert_array_equal(xr.where(a > 0, 0, a).imd.affine, a.imd.affine)


def test_geometry_without_attrs_that_is_not_of_the_axes_is_an_error() -> None:
    a = xr.where(image() > 0, 0, image())
    with pytest.raises(LabelError, match="lost its attribute"):
        repair(a.assign_coords(geometry=a.geometry + 1))


def test_repair_of_a_whole_image_returns_the_same_indexes() -> None:
    a = image()
    assert all(repair(a).xindexes[n] is a.xindexes[n] for n in a.dims)
    ds = a.to_dataset(name="image")
    assert has_indexes(repair(ds)["image"])


def test_repair_keeps_an_index_of_somebody_else() -> None:
    class Other(PandasIndex):
        pass

    a = image().drop_indexes("tag").set_xindex("tag", Other)
    assert type(repair(a).xindexes["tag"]) is Other


def test_a_file_keeps_what_repair_needs(tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    require_module("zarr")
    a = image()
    a.to_dataset(name="image").to_zarr(tmp_path / "x", consolidated=False)
    back = repair(xr.open_dataset(tmp_path / "x", engine="zarr", backend_kwargs={"consolidated": False})["image"])
    assert has_indexes(back)
    np.testing.assert_array_equal(back + a, 2 * a)
    assert_true(back)


def test_geometry_that_was_dropped_is_taken_from_the_axes_with_a_warning_at_the_users_line() -> None:
    a = image().isel(slice=1).drop_vars("geometry")
    with pytest.warns(ImagedataWarning, match="'geometry' was dropped") as caught:
        mended = a.imd.repair()
    assert caught[0].filename == __file__
    assert "geometry" in mended.coords
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(mended.imd.affine, image().isel(slice=1).imd.affine)
        np.testing.assert_allclose(image().quantile(0.5, "tag").imd.affine, image().imd.affine)  # all axes know it


def test_geometry_that_contradicts_the_axes_is_an_error() -> None:
    other = image(direction=oblique(30))
    mixed = image().assign_coords(geometry=other.geometry.variable)
    with pytest.raises(GeometryError, match="do not belong together: the orientation"):
        repair(mixed)
    with pytest.raises(GeometryError, match="images of different geometry were joined"):
        xr.concat([image().coarsen(row=2).mean(), other.coarsen(row=2).mean()], "x", coords="different",
                  compat="equals").imd.repair()  # fmt: skip
    with pytest.raises(LabelError, match="drop_attrs"):
        _ = image().drop_attrs().imd.affine


LOST: dict[str, tuple[Operation, str]] = {
    "mean over slices": (lambda a: a.mean("slice"), "position along 'slice' is lost: the dim was reduced"),
    "dropped": (lambda a: a.isel(slice=0, drop=True), "position along 'slice' is lost"),
    "mean that keeps the dim": (lambda a: a.mean("slice", keepdims=True), "lost its labels"),
    "uneven": (lambda a: a.isel(row=[0, 1, 3]), "not evenly spaced: steps from 2 to 4 mm"),
    "rolled labels": (lambda a: a.roll(row=1, roll_coords=True), "not evenly spaced"),
    "padded": (lambda a: a.pad(row=1), "no plain numbers"),
    "stacked": (lambda a: a.stack(p=("row", "col")), r"lies along \('p',\)"),
    "coarsened to one": (lambda a: a.coarsen(slice=3).mean(), "spacing of the single 'slice' is unknown"),
    "selected after coarsen": (lambda a: a.coarsen(slice=3).mean().isel(slice=0), "spacing of the single 'slice'"),
    "selected after an even coarsen": (lambda a: a.coarsen(row=2).mean().isel(row=1), "spacing of the single 'row'"),
    "interpolated to one": (lambda a: a.interp(slice=[-6.0]), "spacing of the single 'slice' is unknown"),
    "interpolated to a scalar": (lambda a: a.interp(slice=-6.0), "spacing of the single 'slice' is unknown"),
    "selected after interp": (lambda a: a.interp(row=[30.5, 31.5]).isel(row=0), "spacing of the single 'row'"),
    "no geometry": (lambda a: a.coarsen(row=2).mean().drop_vars("geometry"), "no place in the patient"),
    "polyfit": (lambda a: a.polyfit("tag", 1).polyfit_coefficients, "no place in the patient"),
}


def test_an_array_without_labels_is_told_how_to_get_some(tmp_path: Path) -> None:
    plain = xr.DataArray(np.zeros((2, 3, 4)), dims=("slice", "row", "col"))
    with pytest.raises(GeometryError, match=r"from_array\(values, spacing=\.\.\.\)"):
        plain.imd.write(tmp_path / "a.nii")
    labelled = imagedata_xr.from_array(plain.values, spacing=(2, 1, 1))
    np.testing.assert_allclose(labelled.imd.spacing, [2, 1, 1])


@pytest.mark.parametrize("name", LOST)
def test_a_position_that_is_lost_raises_and_says_what_happened(name: str) -> None:
    operation, said = LOST[name]
    with pytest.raises(GeometryError, match=said):
        _ = operation(image()).imd.affine


SINGLE: dict[str, Operation] = {
    "selected": lambda a: a.isel(slice=1),
    "selected by label": lambda a: a.sel(slice=-4.0),
    "a list of one": lambda a: a.isel(slice=[1]),
    "selected and reduced": lambda a: a.isel(slice=1).interp(tag=[0.0, 12.0, 24.0, 36.0]),
    "selected and resampled in the plane": lambda a: a.isel(slice=1).interp(row=[30.5, 31.5, 32.5]),
    "repaired after selecting": lambda a: a.isel(slice=1).imd.repair().coarsen(row=2).mean(),
    "coarsened, repaired, selected": lambda a: a.coarsen(row=2).mean().imd.repair().isel(slice=1),
    "interpolated onto a slice": lambda a: a.interp(slice=[-4.0]),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_slice_keeps_a_spacing_that_is_true(name: str) -> None:
    single = SINGLE[name](image())
    assert single.imd.spacing[0] == pytest.approx(SPACING[0])
    assert_true(single)


def test_a_coarsened_axis_that_is_repaired_before_selecting_has_the_coarse_spacing() -> None:
    one = image((2, 9, 4, 4)).coarsen(slice=3).mean().imd.repair().isel(slice=1)
    assert one.imd.spacing[0] == pytest.approx(12.0)
    assert_true(one)


def test_a_spacing_can_be_given() -> None:
    a = image().coarsen(slice=3).mean()
    a = a.assign_coords(slice=("slice", a.slice.values, {"spacing": 12.0}))
    assert a.imd.spacing[0] == pytest.approx(12.0)


def test_the_step_is_that_of_the_whole_axis() -> None:
    noisy = 0.4297 * np.arange(512) + 1e-5 * np.sin(np.arange(512))
    a = image((1, 1, 2, 512), order="none", tags=[0]).assign_coords(col=noisy)
    assert a.imd.spacing[2] == pytest.approx((noisy[-1] - noisy[0]) / 511, abs=1e-12)


def test_canonical_has_all_dims_in_order_and_ascending_labels() -> None:
    a = image()
    strange = (
        a.isel(tag=1, slice=slice(None, None, -1)).transpose("col", "slice", "row").isel(col=slice(None, None, -1))
    )
    c = canonical(as_image(strange))
    assert c.dims == ("tag", "slice", "row", "col")
    assert all((np.diff(c[n]) > 0).all() for n in ("slice", "row", "col"))
    assert_true(c)
    xr.testing.assert_equal(c.isel(tag=0, drop=True), a.isel(tag=1).drop_vars("tag"))


def test_canonical_gives_back_single_dims() -> None:
    c = canonical(as_image(image().isel(tag=0, slice=1, drop=False)))
    assert c.shape == (1, 1, 6, 8)
    assert_true(c)
    c = canonical(as_image(image().isel(tag=0, drop=True)))
    assert c.tag.attrs["order"] == "none"


def test_canonical_refuses_strange_dims() -> None:
    with pytest.raises(LabelError, match="subject"):
        canonical(as_image(image().expand_dims("subject")))


def test_as_image_finds_the_image_of_a_dataset() -> None:
    a = image()
    assert as_image(xr.Dataset({"image": a, "mask": a > 0})).name == "image"
    assert as_image(xr.Dataset({"anything": a})).name == "anything"
    with pytest.raises(LabelError, match="choose one"):
        as_image(xr.Dataset({"a": a, "b": a}))
    with pytest.raises(LabelError, match="from_array"):
        as_image(xr.DataArray(np.zeros(3)))


def test_per_volume_broadcasts_over_several_volume_dims() -> None:
    a = image().expand_dims(echo_time=[5.0, 10.0])
    a.echo_time.attrs["order"] = "te"
    np.testing.assert_array_equal(per_volume(repair(a), "time"), np.tile([0, 12, 24, 36], (2, 1)))
    assert per_volume(a, "flip_angle") is None


def test_the_digest_of_a_geometry_is_coarse_and_that_of_another_frame_differs() -> None:
    d = oblique()
    assert Space(d, FRAME).to_variable().values == Space(d + 1e-7, FRAME).to_variable().values
    assert Space(d, FRAME).to_variable().values != Space(oblique(22), FRAME).to_variable().values
    assert Space(d, FRAME).to_variable().values != Space(d, "1.9").to_variable().values


def test_points_and_patient_coordinates() -> None:
    a = image()
    where = a.imd.affine @ [1, 2, 5, 1]
    assert float(a.imd.sel_point(*where[:3]).isel(tag=0)) == pytest.approx(float(a[0, 1, 2, 5]))
    with pytest.raises(GeometryError, match="lies outside: 'row'"):
        a.imd.sel_point(*(a.imd.affine @ [1, 7, 5, 1])[:3])
    p = a.imd.patient_coords()
    np.testing.assert_allclose([float(p[n][1, 2, 5]) for n in "xyz"], where[:3])
    uneven = a.isel(slice=[0, 2], row=[0, 1, 3]).imd.patient_coords()
    assert uneven.x.shape == (2, 3, 8)
    with pytest.raises(GeometryError, match="lost"):
        a.mean("slice").imd.patient_coords()

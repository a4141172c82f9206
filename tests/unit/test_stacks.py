"""Series and stacks: what is one image, what is several, and how each is selected."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from series import Elements, image, open_image, places, save, series, straight

from imagedata_xr.errors import (
    FormatError,
    GeometryError,
    ImagedataError,
    ImagedataWarning,
    LabelError,
    SeriesError,
    SortError,
)


def listed(source: Any, **options: Any) -> list[str]:
    """The ``series=`` and ``stack=`` that the error of several images names."""
    with pytest.raises(SeriesError, match="images where one was asked for") as caught:
        open_image(source, **options)
    return [line.strip().partition(": ")[0] for line in str(caught.value).splitlines()[1:]]


def selected(source: Any, select: str) -> xr.DataArray:
    """The image that such a text selects."""
    return open_image(source, **eval(f"dict({select})"))


# --- series ---------------------------------------------------------------------------------------------------------


def other_series(number: int, uid: str = "1.2.3.20", description: str = "other") -> Elements:
    return {"SeriesNumber": number, "SeriesInstanceUID": uid, "SeriesDescription": description,
            "SOPInstanceUID": f"1.2.3.5.{number}"}  # fmt: skip


def test_several_series_are_listed_with_what_selects_them(tmp_path: Path) -> None:
    series(tmp_path, 1, 2)
    save(image(4, 0, other_series(8)), tmp_path / "other")
    for select, value in zip(listed(tmp_path), (0, 4000), strict=True):
        assert selected(tmp_path, select).values.flat[0] == value


@pytest.mark.parametrize("wanted", [8, "8", "1.2.3.20", "other", "OTH*", [8], np.int64(8)])
def test_a_series_is_selected_by_number_uid_or_description(tmp_path: Path, wanted: Any) -> None:
    series(tmp_path, 1, 2)
    save(image(4, 0, other_series(8)), tmp_path / "other")
    assert open_image(tmp_path, series=wanted).values.flat[0] == 4000


def test_a_description_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    save(image(4, 0, other_series(8, description="t1 [ax]")), tmp_path / "other")
    assert open_image(series(tmp_path, 1, 2), series="t1 [ax]").values.flat[0] == 4000


@pytest.mark.parametrize("wanted", [9, "t2*", [7, 9]])
def test_a_series_that_is_not_there(tmp_path: Path, wanted: Any) -> None:
    with pytest.raises(SeriesError, match=r"no series matches .*; there are:\n  series 7 MR \(2 images\)"):
        open_image(series(tmp_path, 1, 2), series=wanted)


def test_one_uid_with_several_numbers(tmp_path: Path) -> None:
    for v in range(3):
        save(image(v, 0, {"SeriesNumber": 5001 + v}), tmp_path / f"{v}")
    found = listed(tmp_path)
    assert found == ["series=5001", "series=5002", "series=5003"]
    assert selected(tmp_path, found[2]).values.flat[0] == 2000


def test_several_patients_are_not_mixed_and_not_named(tmp_path: Path) -> None:
    series(tmp_path, 1, 2)
    save(image(4, 1, {"PatientName": "Roe^Rick", "PatientID": "id-2"}), tmp_path / "other")
    with pytest.raises(SeriesError, match="holds 2 images") as caught:
        open_image(tmp_path)
    assert not re.search(r"Roe|Doe|id-\d", str(caught.value))


def test_acquisition_and_echo_select_images(tmp_path: Path) -> None:
    folder = series(tmp_path, 4, 2, lambda v, k: {"AcquisitionNumber": v // 2, "EchoNumbers": v % 2 + 1})
    assert places(open_image(folder, acquisition=1)) == straight(4, 2)[2:]
    assert places(open_image(folder, echo=2)) == straight(4, 2)[1::2]
    assert places(open_image(folder, acquisition=[0, 1], echo=1)) == straight(4, 2)[::2]
    with pytest.raises(SeriesError, match=r"no image has EchoNumbers 3; there are \[1, 2\]"):
        open_image(folder, echo=3)
    with pytest.raises(SeriesError, match=r"no image has AcquisitionNumber 7; there are \[0, 1\]"):
        open_image(folder, acquisition=[1, 7])
    with pytest.raises(LabelError, match="echo='first': it is a number"):
        open_image(folder, echo="first")


def test_series_without_what_was_asked_for_are_no_nodes_of_a_tree(tmp_path: Path) -> None:
    series(
        tmp_path / "a", 4, 2, lambda v, k: {"EchoNumbers": v % 2 + 1, "ImageType": ["ORIGINAL", "PRIMARY", "MP"[v % 2]]}
    )
    series(tmp_path / "b", 1, 2, lambda v, k: {**other_series(8), "SOPInstanceUID": f"1.2.9.{k}"})

    def nodes(**options: Any) -> dict[str, int]:
        tree = xr.open_datatree(tmp_path, engine="imagedata", **options)
        return {n.path.split("-made")[-1].split("/")[-1]: n["image"].sizes["tag"] for n in tree.subtree if "image" in n}

    assert nodes() == {"stack-0": 2, "stack-1": 2, "8-other": 1}
    assert list(nodes(echo=2).values()) == [2]
    assert nodes(stack=1) == {"stack-1": 2}
    assert nodes(stack=0) == {"stack-0": 2, "8-other": 1}
    with pytest.raises(LabelError, match=r"has the stacks 0 to 1; series 8 .* has one stack, 0"):
        nodes(stack=2)
    with pytest.raises(SeriesError, match="no image has EchoNumbers 3"):
        nodes(echo=3)


# --- stacks of one series -------------------------------------------------------------------------------------------


def test_magnitude_phase_real_and_imaginary(tmp_path: Path) -> None:
    kinds = ["MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "MIXED"]
    folder = series(tmp_path, 5, 2, lambda v, k: {"ComplexImageComponent": kinds[v]})
    found = listed(folder)
    assert found == [f"series=7, stack={k}" for k in range(5)]
    for v, select in enumerate(found):
        assert places(selected(folder, select)) == straight(5, 2)[v : v + 1]
    with pytest.raises(SeriesError, match="component P"):
        open_image(folder)


def test_kinds_by_image_type(tmp_path: Path) -> None:
    folder = series(tmp_path, 2, 2, lambda v, k: {"ImageType": ["DERIVED", "PRIMARY", "MP"[v]]})
    assert places(open_image(folder, stack=1)) == straight(2, 2)[1:]


@pytest.mark.parametrize("stack", [2, -1, "a"])
def test_a_stack_that_is_not_there(tmp_path: Path, stack: Any) -> None:
    folder = series(tmp_path, 2, 2, lambda v, k: {"ImageType": ["DERIVED", "PRIMARY", "MP"[v]]})
    with pytest.raises(LabelError, match=r"stack=.*has the stacks 0 to 1"):
        open_image(folder, stack=stack)


def test_split_makes_stacks_by_any_element(tmp_path: Path) -> None:
    folder = series(tmp_path, 2, 2, lambda v, k: {"ReceiveCoilName": "AB"[v]})
    assert places(open_image(folder)) == straight(2, 2)
    assert places(open_image(folder, split="ReceiveCoilName", stack=1)) == straight(2, 2)[1:]
    with pytest.raises(LabelError, match="split='EchoTime': no image of the series has this element"):
        open_image(folder, split="EchoTime")
    with pytest.raises(LabelError, match="'Echo' is no DICOM keyword"):
        open_image(folder, split=["Echo"])


def test_a_localizer_of_three_orientations(tmp_path: Path) -> None:
    axes = [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1]]

    def vary(v: int, k: int) -> Elements:
        n = np.cross(axes[v][:3], axes[v][3:])
        return {"ImageOrientationPatient": axes[v], "ImagePositionPatient": (8.0 * k * n).tolist()}

    folder = series(tmp_path, 3, 3, vary)
    for v, select in enumerate(listed(folder)):
        a = selected(folder, select)
        assert places(a) == straight(3, 3)[v : v + 1]
        np.testing.assert_allclose(a.imd.affine[:3, 0], 8 * np.cross(axes[v][:3], axes[v][3:]), atol=1e-9)


def test_matrices_and_pixel_spacings_are_not_mixed(tmp_path: Path) -> None:
    assert len(listed(series(tmp_path, 2, 2, lambda v, k: {"PixelSpacing": [2, 1.5 + 0.1 * v]}))) == 2


def test_noise_of_orientation_is_no_stack_of_its_own(tmp_path: Path) -> None:
    folder = series(tmp_path, 2, 2, lambda v, k: {"ImageOrientationPatient": [1, 0, 2e-5 * v, 0, 1, 0]})
    assert places(open_image(folder)) == straight(2, 2)


# --- lines ----------------------------------------------------------------------------------------------------------


def at(*positions: tuple[float, float, float]) -> Any:
    return lambda v, k: {"ImagePositionPatient": list(positions[k])}


@pytest.mark.parametrize(("by", "said"), [(4e-4, True), (2e-2, False)])
def test_orientations_that_hardly_differ_are_stacks_and_that_is_said(tmp_path: Path, by: float, said: bool) -> None:
    folder = series(tmp_path, 1, 3, lambda v, k: {"ImageOrientationPatient": [1, by * k, 0, -by * k, 1, 0]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ImagedataWarning)
        tree = xr.open_datatree(folder, engine="imagedata")
    assert len(tree.leaves) == 3
    assert bool([w for w in caught if "3 orientations, of which some differ by no more" in str(w.message)]) == said


@pytest.mark.parametrize(("by", "said"), [(4e-3, True), (0.5, False)])
def test_spacings_that_hardly_differ_are_stacks_and_that_is_said(tmp_path: Path, by: float, said: bool) -> None:
    folder = series(tmp_path, 1, 4, lambda v, k: {"PixelSpacing": [1.0156 + by * (k % 2)] * 2})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ImagedataWarning)
        tree = xr.open_datatree(folder, engine="imagedata")
    assert len(tree.leaves) == 2
    assert bool([w for w in caught if "2 pixel spacings, of which some differ by no more" in str(w.message)]) == said


def test_noise_of_positions_is_no_line_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folder = series(tmp_path, 3, 4, lambda v, k: {"ImagePositionPatient": rng.normal((0, 0, 3 * k), 1e-5).tolist()})
    assert places(open_image(folder)) == straight(3, 4)


def alternating(v: int, k: int) -> Elements:
    return {"ImagePositionPatient": [-10.0 + 3 * (k % 2), 5.0, 3.0 * k]}


def test_slices_that_alternate_in_their_plane_are_said(tmp_path: Path) -> None:
    series(tmp_path, 1, 8, alternating)
    with pytest.warns(ImagedataWarning, match="8 slices lie on 2 parallel lines in turns, up to 3 mm apart"):
        tree = xr.open_datatree(tmp_path, engine="imagedata")
    images = [node["image"] for node in tree.subtree if "image" in node.data_vars]
    assert [a.sizes["slice"] for a in images] == [4, 4]
    np.testing.assert_allclose([a.imd.affine[:3, 3] for a in images], [[-10, 5, 0], [-7, 5, 3]])


@pytest.mark.parametrize("place", [lambda k: (30.0 * (k % 2), 3.0 * (k // 2)), lambda k: (30.0 * (k // 4), 3.0 * k)])
def test_stacks_side_by_side_and_after_one_another_are_nothing_to_say(tmp_path: Path, place: Any) -> None:
    series(tmp_path, 1, 8, lambda v, k: {"ImagePositionPatient": [place(k)[0], 5.0, place(k)[1]]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(tmp_path, engine="imagedata")
    assert sum("image" in node.data_vars for node in tree.subtree) == 2


def test_an_image_off_the_line_is_another_stack(tmp_path: Path) -> None:
    folder = series(tmp_path, 1, 4, at((0, 0, 0), (0, 0, 3), (0.3, 0, 6), (0, 0, 9)))
    with pytest.raises(SeriesError, match="line 1") as caught:
        open_image(folder)
    assert "holds 2 images" in str(caught.value)
    assert places(open_image(folder, stack=0)) == [[(0, 0), (0, 1), (0, 3)]]


@pytest.mark.parametrize("tilt", [12.5, -20.0])
def test_a_tilted_gantry_keeps_the_place_of_each_voxel(tmp_path: Path, tilt: float) -> None:
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    folder = series(
        tmp_path, 1, 4,
        lambda v, k: {"ImageOrientationPatient": [1, 0, 0, 0, c, s], "ImagePositionPatient": [-7, 4, 5 * k]},
    )  # fmt: skip
    a = open_image(folder)
    assert a.shape[:2] == (1, 4)
    np.testing.assert_allclose(a.imd.affine[:3, 0], [0, 0, 5], atol=1e-12)
    np.testing.assert_allclose(a.imd.affine[:3, 3], [-7, 4, 0], atol=1e-12)
    np.testing.assert_allclose(a.imd.affine[:3, 1], 2 * np.array([0, c, s]), atol=1e-12)
    assert float(np.linalg.det(a.imd.affine)) != 0


@pytest.mark.parametrize("kind", ["ORIGINAL", "DERIVED"])
def test_a_tilt_that_is_lost_is_said(tmp_path: Path, kind: str) -> None:
    """The gantry was tilted, but the slices are not: where a converter lost it, rows lie elsewhere."""
    folder = series(tmp_path, 1, 3, lambda v, k: {"GantryDetectorTilt": "-12.5", "ImageType": [kind, "PRIMARY"]})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        open_image(folder)
    assert [w for w in said if "GantryDetectorTilt is 12.5 degrees" in str(w.message)] or kind == "DERIVED"
    assert not said or kind == "ORIGINAL"


def test_slices_come_along_the_normal(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 1, 4, lambda v, k: {"ImagePositionPatient": [1, 2, -3.0 * k]}))
    assert places(a) == [[(0, 3), (0, 2), (0, 1), (0, 0)]]
    assert a.slice.values.tolist() == [-9, -6, -3, 0]


def test_uneven_slices_keep_their_positions(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 1, 4, at((0, 0, 0), (0, 0, 3), (0, 0, 6), (0, 0, 10))))
    assert a.slice.values.tolist() == [0, 3, 6, 10]
    with pytest.raises(GeometryError, match="'slice' is not evenly spaced: steps from 3 to 4 mm"):
        _ = a.imd.affine


def test_slices_nearer_than_the_usual_tolerance(tmp_path: Path) -> None:
    def vary(v: int, k: int) -> Elements:
        return {"PixelSpacing": [0.005, 0.005], "ImagePositionPatient": [0, 0, 0.005 * k]}

    a = open_image(series(tmp_path, 1, 4, vary))
    assert a.shape[:2] == (1, 4)
    np.testing.assert_allclose(a.slice, 0.005 * np.arange(4), atol=1e-9)


@pytest.mark.parametrize(
    ("elements", "step"),
    [({}, 2.5), ({"SpacingBetweenSlices": 4}, 4), ({"SliceThickness": None}, None), ({"SliceThickness": 0}, None)],
)
def test_the_step_of_a_single_slice(tmp_path: Path, elements: Elements, step: float | None) -> None:
    a = open_image(series(tmp_path, 2, 1, lambda v, k: elements))
    assert a.shape[:2] == (2, 1)
    if step is None:
        with pytest.raises(GeometryError, match=r"the spacing of the single 'slice' is unknown: .* Slice Thickness"):
            _ = a.imd.affine
    else:
        assert a.imd.affine[2, 0] == step


def test_the_step_of_several_slices_is_that_of_their_positions(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 1, 3, lambda v, k: {"SliceThickness": 9, "SpacingBetweenSlices": 8}))
    assert a.imd.affine[2, 0] == 3


def test_images_without_a_place_have_indices(tmp_path: Path) -> None:
    gone: Elements = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    a = open_image(series(tmp_path, 3, 1, lambda v, k: gone))
    assert a.shape[:2] == (3, 1)
    assert (a.row.values.tolist(), a.col.values.tolist()) == (list(range(4)), list(range(5)))
    assert "geometry" not in a.coords
    with pytest.raises(GeometryError, match="no place in the patient"):
        _ = a.imd.affine


def test_overlapping_positions_do_not_make_volumes(tmp_path: Path) -> None:
    folder = series(tmp_path, 2, 3, lambda v, k: {"ImagePositionPatient": [0, 0, 3.0 * k + 6 * v]})
    with pytest.raises(SortError, match="overlapping acquisitions"):
        open_image(folder)


# --- which instances ------------------------------------------------------------------------------------------------


def test_copies_of_files_are_left_out(tmp_path: Path) -> None:
    series(tmp_path / "a", 2, 3)
    series(tmp_path / "b", 2, 3)
    with pytest.warns(ImagedataWarning, match="6 files are copies of others"):
        assert places(open_image(tmp_path)) == straight(2, 3)


def test_other_pixels_under_the_same_uid_are_no_copies(tmp_path: Path) -> None:
    series(tmp_path / "a", 1, 3)
    for k in range(3):
        ds = image(0, k)
        ds.PixelData = image(5, k).PixelData
        save(ds, tmp_path / "b" / f"{k}")
    with pytest.warns(ImagedataWarning, match="3 images have the SOPInstanceUID of another image"):
        a = open_image(tmp_path)
    assert a.shape[:2] == (2, 3)
    assert (a.instance.values == 0).all()


def test_an_enhanced_image_of_one_frame_lies_where_its_functional_groups_say(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    group, plane = Dataset(), Dataset()
    plane.ImagePositionPatient = [1, 2, 30]
    group.PlanePositionSequence = [plane]
    save(image(3, 0, {"NumberOfFrames": 1, "PerFrameFunctionalGroupsSequence": [group]}), tmp_path / "enhanced")
    np.testing.assert_allclose(open_image(tmp_path).imd.affine[:3, 3], [1, 2, 30])


def test_mosaics_and_grids_whose_tiles_can_not_be_placed_are_named_and_left_out(tmp_path: Path) -> None:
    folder = series(tmp_path, 1, 2)
    save(image(3, 2, {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}), tmp_path / "mosaic")
    save(image(3, 3, {("Image Private Header", 0x65, 0x50): 16}), tmp_path / "grid")
    with pytest.warns(ImagedataWarning) as caught:
        assert places(open_image(folder)) == straight(1, 2)
    said = [str(w.message) for w in caught]
    assert any("mosaic is left out" in text for text in said)
    assert any("grid is left out" in text for text in said)
    with pytest.raises(ImagedataError):
        open_image(folder, errors="raise")


def test_frames_of_reference_are_told_apart_without_their_uids(tmp_path: Path) -> None:
    series(tmp_path, 2, 3, lambda v, k: {"FrameOfReferenceUID": f"1.2.840.99.{v}" if v else ""})
    with pytest.raises(SeriesError, match="frame of reference 1") as caught:
        open_image(tmp_path)
    assert "frame of reference unknown" in str(caught.value)
    assert "1.2.840.99" not in str(caught.value)


@pytest.mark.parametrize("elements", [{"ImagePositionPatient": [1, 2]}, {"PixelSpacing": [0, 1]}])
def test_a_place_that_is_none_is_said(elements: Elements, tmp_path: Path) -> None:
    save(image(0, 0, elements), tmp_path / "a.dcm")
    with pytest.warns(ImagedataWarning, match="without a place in the patient"):
        assert "geometry" not in open_image(tmp_path).coords


def test_options_that_dicom_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="unknown format_options"):
        open_image(series(tmp_path, 1, 1), format_options={"form": "best"})

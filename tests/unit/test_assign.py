"""What is assigned on purpose: a grid, volume labels, a header, elements; and images from arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from linear import FIRST, PATIENT, SPACING, assert_true, has_indexes, image, oblique, values_of

import imagedata_xr
from imagedata_xr.errors import GeometryError, GridError, IdentityError, ImagedataWarning, LabelError
from imagedata_xr.model.identity import patient_digest, study_digest

OTHER = {**PATIENT, "PatientID": "T-2", "StudyInstanceUID": "1.2.10"}
SHIFTED = (-7.0, 31.0, -20.0)


def test_assign_grid_makes_images_combine() -> None:
    a, b = image(), image(first=SHIFTED, direction=oblique(25), frame="1.2.9.9")
    moved = b.imd.assign_grid(a)
    assert has_indexes(moved)
    np.testing.assert_allclose(moved.imd.affine, a.imd.affine)
    assert moved.imd.frame_of_reference == a.imd.frame_of_reference
    np.testing.assert_array_equal((a + moved).values, a.values + b.values)
    assert int(moved.patient) == int(b.patient)
    assert b.imd.frame_of_reference == "1.2.9.9"  # the original is as before


def test_assign_grid_gives_a_place_to_an_image_without_one() -> None:
    plain = image(place=False)
    with pytest.raises(GeometryError, match="assign_grid"):
        _ = plain.imd.affine
    np.testing.assert_allclose(plain.imd.assign_grid(image()).imd.affine, image().imd.affine)


def test_assign_grid_of_single_slices() -> None:
    one, other = image().isel(slice=1), image(first=SHIFTED).isel(slice=[1])
    np.testing.assert_allclose(one.imd.assign_grid(other).imd.affine, other.imd.affine)
    np.testing.assert_allclose(other.imd.assign_grid(one).imd.affine, one.imd.affine)


def test_assign_grid_refuses_other_sizes() -> None:
    with pytest.raises(GridError, match=r"'row' 6 and 5; imd\.interp_like"):
        image().imd.assign_grid(image((4, 3, 5, 8)))


def test_a_grid_without_a_place_takes_none_away() -> None:
    with pytest.raises(GridError, match="would lose its own"):
        image().imd.assign_grid(image(place=False))
    assert "geometry" not in image(place=False).imd.assign_grid(image(place=False)).coords


def test_assign_tags_takes_all_labels_of_the_volumes() -> None:
    a = image(tags=[0, 15, 30, 45], coords={"echo_time": (("tag",), [1.0, 2, 3, 4])})
    b = image(coords={"flip_angle": (("tag",), [5.0, 6, 7, 8])})
    out = a.imd.assign_tags(b)
    np.testing.assert_array_equal(out.tag, b.tag)
    assert out.tag.attrs == b.tag.attrs
    assert "flip_angle" in out.coords
    assert "echo_time" not in out.coords
    np.testing.assert_array_equal(out.instance, a.instance)
    np.testing.assert_array_equal((out + b).values, a.values + b.values)
    assert has_indexes(out)


def test_assign_tags_refuses_other_volumes() -> None:
    with pytest.raises(LabelError, match="do not match"):
        image().imd.assign_tags(image((3, 3, 6, 8)))
    with pytest.raises(LabelError, match="isel"):
        image().isel(tag=0).imd.assign_tags(image().isel(tag=1))


def test_assign_header_brings_patient_study_elements_and_lineage() -> None:
    template = image(attrs={**PATIENT, "Modality": "MR", "units": "HU"})
    plain = imagedata_xr.from_array(
        np.ones((4, 3, 6, 8), "f4"), spacing=SPACING, position=oblique() @ np.array(FIRST), direction=oblique(),
        order="time", tags=[0, 12, 24, 36],
    )  # fmt: skip
    out = plain.imd.assign_header(template)
    assert out.attrs == {**PATIENT, "Modality": "MR"}
    assert int(out.patient) == patient_digest(PATIENT)
    assert int(out.study) == study_digest(PATIENT)
    np.testing.assert_array_equal(out.instance, template.instance)
    assert out.imd.frame_of_reference == template.imd.frame_of_reference
    assert has_indexes(out)


def test_assign_header_matches_planes_by_place_and_volumes_by_time() -> None:
    template = image()
    part = image((2, 2, 6, 8), tags=[36.0, 12.0], first=(-4.0, *FIRST[1:])).drop_vars("instance")
    flipped = part.isel(slice=slice(None, None, -1))
    expected = template.instance.values[[3, 1]][:, [1, 2]]
    np.testing.assert_array_equal(part.imd.assign_header(template).instance, expected)
    np.testing.assert_array_equal(flipped.imd.assign_header(template).instance, expected[:, ::-1])


def test_assign_header_to_planes_that_lie_elsewhere_has_no_lineage() -> None:
    moved = image(first=(-6.0, *FIRST[1:]))
    with pytest.warns(ImagedataWarning, match="3 of 3 slices"):
        assert not moved.imd.assign_header(image()).instance.any()
    with pytest.warns(ImagedataWarning, match="not parallel"):
        assert not image(direction=oblique(30)).imd.assign_header(image()).instance.any()
    with pytest.warns(ImagedataWarning, match="ordered by 'te'"):
        assert not image(order="te").imd.assign_header(image()).instance.any()


def test_a_header_of_another_patient_or_study_is_refused() -> None:
    with pytest.raises(IdentityError, match="another patient"):
        image().imd.assign_header(image(attrs=OTHER))
    with pytest.raises(IdentityError, match="another study"):
        image().imd.assign_header(image(attrs={**PATIENT, "StudyInstanceUID": "1.2.10"}))
    assert int(image().imd.assign_header(image(attrs=OTHER), relabel=True).patient) == patient_digest(OTHER)


def test_assign_dicom_sets_elements_and_identity_follows() -> None:
    a = image()
    out = a.imd.assign_dicom(SeriesDescription="mean", ImageType=["DERIVED", "SECONDARY"], Modality=None)
    assert out.attrs["ImageType"] == ["DERIVED", "SECONDARY"]
    assert "Modality" not in out.attrs
    assert "Modality" in a.attrs
    assert int(out.patient) == int(a.patient)
    renamed = a.imd.assign_dicom(PatientID="T-9")
    assert int(renamed.patient) == patient_digest({**PATIENT, "PatientID": "T-9"})
    assert int(renamed.study) == int(a.study)
    assert int(a.imd.assign_dicom(StudyInstanceUID="1.5").study) == study_digest({"StudyInstanceUID": "1.5"})


def test_a_patient_assigned_to_a_mixture_starts_from_nothing() -> None:
    mixed = image().fillna(image(attrs=OTHER))
    assert "patient" not in mixed.coords
    out = mixed.imd.assign_dicom(PatientID="GROUP")
    assert "PatientName" not in out.attrs
    assert int(out.patient) == patient_digest({"PatientID": "GROUP"})


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"PatientsName": "x"}, "no DICOM keyword"),
        ({"PixelSpacing": [1, 1]}, "assign_grid"),
        ({"RescaleSlope": 2}, "values"),
        ({"SOPInstanceUID": "1.2"}, "keep_uid"),
        ({"AcquisitionTime": "101500"}, "acquisition_time"),
        ({"NumberOfFrames": 2}, "multi-frame"),
        ({"PixelData": b"12"}, "values"),
        ({"SeriesDescription": {"a": 1}}, "flat list"),
        ({"SeriesDescription": "x" * 65}, "65 characters, of which LO allows 64"),
        ({"Modality": "magnetic"}, "CS"),
        ({"StudyDate": "2020-01-01"}, "DA"),
        ({"SeriesDescription": 5}, "is a text"),
        ({"EchoTrainLength": 1.5}, "whole number"),
        ({"MagneticFieldStrength": "three"}, "is a number"),
        ({"MagneticFieldStrength": float("inf")}, "finite"),
        ({"MagneticFieldStrength": (1.5, 3.0)}, "1 values by the standard, and 2"),
        ({"PatientSex": ["F", "M", "O", "F", "M", "O", "F"]}, "PatientSex"),
        ({"ReferencedImageSequence": "[{]"}, "sequence"),
    ],
)
def test_assign_dicom_refuses(keywords: dict[str, Any], said: str) -> None:
    with pytest.raises(LabelError, match=said):
        image().imd.assign_dicom(**keywords)


def test_a_dataset_stays_a_dataset() -> None:
    ds = image().to_dataset(name="image")
    for out in (ds.imd.assign_grid(image()), ds.imd.assign_tags(ds), ds.imd.assign_dicom(SeriesDescription="x")):
        assert isinstance(out, xr.Dataset)
        assert_true(out["image"])


def test_from_array_labels_axes_and_volumes() -> None:
    d = oblique(tilt=12)
    labels = [f + s * np.arange(n) for f, s, n in zip(FIRST, SPACING, (3, 6, 8), strict=True)]
    tags = [0.0, 12, 24, 36]
    data = values_of(d, labels, tags)
    a = imagedata_xr.from_array(
        data, spacing=SPACING, position=d @ np.array(FIRST), direction=d, order="time", tags=tags
    )
    assert_true(a)
    assert has_indexes(a)
    assert a.tag.attrs["interval"] == 12
    swapped = imagedata_xr.from_array(
        data.transpose(3, 0, 2, 1), dims=("col", "tag", "row", "slice"), spacing=SPACING,
        position=d @ np.array(FIRST), direction=d, order="time", tags=tags,
    )  # fmt: skip
    np.testing.assert_array_equal(swapped, a)


def test_from_array_with_fewer_axes_colour_and_dask() -> None:
    assert imagedata_xr.from_array(np.zeros((5, 6))).shape == (1, 1, 5, 6)
    assert imagedata_xr.from_array(np.zeros((2, 5, 6))).sizes["slice"] == 2
    rgb = imagedata_xr.from_array(np.zeros((5, 6, 3), "u1"), dims=("row", "col", "rgb"))
    assert rgb.dims == ("tag", "slice", "row", "col", "rgb")
    lazy = imagedata_xr.from_array(xr.DataArray(np.zeros((2, 5, 6))).chunk().data, spacing=(1, 1, 1))
    assert lazy.chunks is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dims": ("a", "b")}, "do not name"),
        ({"dims": ("row",)}, "do not name"),
        ({"position": (0, 0, 0)}, "needs its spacing"),
        ({"spacing": (1, 0, 1)}, "three positive numbers"),
        ({"order": "colour"}, "one of none"),
        ({"tags": [1, 2]}, "2 tags for 1 volumes"),
    ],
)
def test_from_array_refuses(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(LabelError, match=said):
        imagedata_xr.from_array(np.zeros((5, 6)), **arguments)


def test_from_array_needs_tags_for_several_volumes_of_an_order() -> None:
    with pytest.raises(LabelError, match="needs tags"):
        imagedata_xr.from_array(np.zeros((2, 1, 5, 6)), order="te")

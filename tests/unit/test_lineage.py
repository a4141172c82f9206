"""Which header of a template each image gets: that of the image which lies there and has the order value, or none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr

import imagedata_xr
from imagedata_xr.errors import IdentityError, ImagedataWarning

SHAPE = (4, 3, 6, 8)
Places = list[list[Any]]


def made(folder: Path, series: phantoms.Series) -> xr.DataArray:
    """Image of a series of which each file says in a comment which volume and slice it is."""
    for path in phantoms.make(folder, series):
        ds = pydicom.dcmread(path)
        ds.ImageComments = path.stem
        ds.save_as(path)
    return phantoms.opened(folder)


def without(image: xr.DataArray) -> xr.DataArray:
    """The same image as if it came from elsewhere: it does not know its source."""
    return image.drop_vars(["instance", "source"])


def places(image: xr.DataArray, template: xr.DataArray) -> Places:
    """Volume and slice of the template whose header each image of an image gets; None for none."""
    found = {int(d): at for at, d in np.ndenumerate(template.instance.values) if d}
    out = image.imd.assign_header(template).instance
    return [[found.get(int(d)) for d in row] for row in out.values.reshape(-1, out.shape[-1])]


def whole(*volumes: int, slices: tuple[int, ...] = (0, 1, 2)) -> Places:
    return [[(v, k) for k in slices] for v in volumes]


@pytest.fixture
def template(tmp_path: Path) -> xr.DataArray:
    return made(tmp_path / "in", phantoms.mr(shape=SHAPE, orientation=phantoms.OBLIQUE))


CHANGES: dict[str, tuple[Callable[[xr.DataArray], xr.DataArray], Places]] = {
    "part": (lambda a: a.isel(tag=[3, 1], slice=[2, 1], row=slice(1, 4)), whole(3, 1, slices=(2, 1))),
    "one": (lambda a: a.isel(tag=[2], slice=1), [[(2, 1)]]),
    "turned": (lambda a: a.imd.to_orientation("RAS"), whole(0, 1, 2, 3)),
    "swapped": (lambda a: a.imd.to_orientation("PLS"), whole(0, 1, 2, 3)),
    "upside down": (lambda a: a.imd.to_orientation("LAI"), whole(0, 1, 2, 3, slices=(2, 1, 0))),
    "transposed": (lambda a: a.transpose("col", "slice", "tag", "row"), whole(0, 1, 2, 3)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("error::imagedata_xr.errors.ImagedataWarning")
def test_planes_are_found_however_the_image_runs(change: str, template: xr.DataArray) -> None:
    make, expected = CHANGES[change]
    assert places(make(without(template)), template) == expected


@pytest.mark.parametrize("format_", ["dicom", "nifti", "metaio", "mat"])
def test_a_part_read_back_finds_its_own_volumes(format_: str, template: xr.DataArray, tmp_path: Path) -> None:
    """Its times begin anew in DICOM: compared as numbers they are those of the first volumes."""
    name = tmp_path / {"dicom": "part", "nifti": "part.nii", "metaio": "part.mha", "mat": "part.mat"}[format_]
    (template.isel(tag=[2, 3], slice=[1, 2]) * 1.7).imd.write(name)
    part = phantoms.opened(name)
    part = without(part) if "instance" in part.coords else part
    assert places(part, template) == whole(2, 3, slices=(1, 2))
    written = (part * 2).imd.write(tmp_path / "out", template=template)
    for path, said in zip(written.paths, ("02_01", "02_02", "03_01", "03_02"), strict=True):
        ds, own = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "in" / f"{said}.dcm")
        assert ds.ImageComments == said
        assert float(ds.AcquisitionTime) == float(own.AcquisitionTime)
        np.testing.assert_allclose(ds.ImagePositionPatient, own.ImagePositionPatient, atol=1e-5)


def test_a_nifti_in_another_orientation_finds_its_planes(template: xr.DataArray, tmp_path: Path) -> None:
    import nibabel as nib

    image = template.imd.to_nibabel()
    to_ras = nib.orientations.io_orientation(image.affine)  # type: ignore[no-untyped-call]
    nib.save(image.as_reoriented(to_ras), tmp_path / "ras.nii")
    assert places(phantoms.opened(tmp_path / "ras.nii"), template) == whole(0, 1, 2, 3)


def test_a_single_slice_of_a_tilted_gantry_is_found(tmp_path: Path) -> None:
    """The axis of its slices is unknown: the plane is the same."""
    tilted = made(tmp_path / "in", phantoms.ct(shape=(1, 4, 6, 8), travel=(0, 0.8, 2.9)))
    (tilted.isel(slice=[2]) * 1.3).imd.write(tmp_path / "one", format="dicom")
    assert places(without(phantoms.opened(tmp_path / "one")), tilted) == [[(0, 2)]]


def test_equal_order_values_are_not_taken_for_the_first(tmp_path: Path) -> None:
    volumes = [{"DiffusionBValue": float(b)} for b in (0, 0, 500, 1000)]
    template = made(tmp_path / "in", phantoms.mr(shape=SHAPE, volumes=volumes))
    image = without(template)
    assert places(image, template) == whole(0, 1, 2, 3)
    with pytest.warns(ImagedataWarning, match="1 of 2 volumes have no counterpart"):
        assert places(image.isel(tag=[1, 3]), template) == [[None] * 3, *whole(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        assert places(template.isel(tag=[1, 3]), template) == whole(1, 3)  # it knows where it comes from
    with pytest.warns(ImagedataWarning, match="no counterpart"):
        assert places(image.isel(tag=[2]), template.isel(tag=[0])) == [[None] * 3]


def test_directions_make_out_the_volumes_of_a_part(tmp_path: Path) -> None:
    volumes = phantoms.diffusion([0, 700, 700, 1400], [(0, 0, 0), (1, 0, 0), (0, 0.6, 0.8), (0, 0.6, 0.8)])
    template = made(tmp_path / "in", phantoms.mr(shape=SHAPE, volumes=volumes))
    assert places(without(template).isel(tag=[3, 1]), template) == whole(3, 1)
    with pytest.warns(ImagedataWarning, match="2 of 4 volumes"):
        assert places(without(template), template.isel(tag=[2, 0])) == [
            [(1, 0), (1, 1), (1, 2)], [None] * 3, [(0, 0), (0, 1), (0, 2)], [None] * 3,
        ]  # fmt: skip


def test_a_grid_of_two_orders(tmp_path: Path) -> None:
    volumes = [{"EchoTime": e, "FlipAngle": f} for f in ("5", "10", "15") for e in ("4", "8")]
    template = made(tmp_path / "in", phantoms.mr(shape=(6, 2, 6, 8), volumes=volumes))
    one, two = template.dims[:2]
    image = without(template).transpose(two, one, ...).isel({one: [1], two: [2, 0]})
    assert places(image, template) == [[(1, 2, 0), (1, 2, 1)], [(1, 0, 0), (1, 0, 1)]]


def array(tags: list[float]) -> xr.DataArray:
    return imagedata_xr.from_array(
        np.ones((len(tags), 2, 6, 8), "f4"), spacing=(3, 1.5, 1.25), position=(-20.25, 11.5, 42.125), order="time",
        tags=tags,
    )  # fmt: skip


def test_times_without_a_clock(tmp_path: Path) -> None:
    template = made(tmp_path / "in", phantoms.mr(shape=(4, 2, 6, 8)))
    assert places(array([5, 7.5]), template) == whole(2, 3, slices=(0, 1))
    assert places(array([100, 102.5, 105, 107.5]), template) == whole(0, 1, 2, 3, slices=(0, 1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"elements": {"FrameOfReferenceUID": "1.2.3.99"}}, "frames of reference differ"),
        ({"origin": (-20.25, 11.5, 43.125)}, "3 of 3 slices"),
        ({"orientation": phantoms.AXIAL}, "not parallel"),
        ({"shape": (2, 3, 6, 8)}, "2 of 4 volumes"),
        ({"shape": (4, 2, 6, 8)}, "1 of 3 slices"),
    ],
)
def test_what_has_no_counterpart_is_said(
    changes: dict[str, Any], said: str, template: xr.DataArray, tmp_path: Path
) -> None:
    other = made(tmp_path / "other", phantoms.mr(**{"shape": SHAPE, "orientation": phantoms.OBLIQUE, **changes}))
    with pytest.warns(ImagedataWarning, match=said):
        places(without(template), other)


def test_a_template_without_a_patient_takes_none_away(template: xr.DataArray, tmp_path: Path) -> None:
    template.imd.write(tmp_path / "t.nii")
    with pytest.raises(IdentityError, match="knows no patient"):
        (template * 2).imd.write(tmp_path / "out", format="dicom", template=tmp_path / "t.nii")


def test_what_was_assigned_outlives_a_template(template: xr.DataArray, tmp_path: Path) -> None:
    edited = template.imd.assign_dicom(SeriesDescription="mine", ImageComments=("slice", ["a", "b", "c"]), StudyID=None)
    written = edited.imd.write(tmp_path / "out", format="dicom", template=template)
    found = [pydicom.dcmread(p) for p in written.paths]
    assert [ds.ImageComments for ds in found] == ["a", "b", "c"] * 4
    assert {ds.SeriesDescription for ds in found} == {"mine"}
    assert {ds.StudyID for ds in found} == {""}


def test_the_image_itself_stays_as_it_is(template: xr.DataArray) -> None:
    image = template * 2
    before = dict(image.attrs)
    image.imd.assign_header(template.imd.assign_dicom(SeriesDescription="another"))
    assert image.attrs == before

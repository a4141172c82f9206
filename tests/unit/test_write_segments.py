"""Masks, numbers of segments and fractions written as segmentations: judged by highdicom, SimpleITK and dciodvfy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from phantoms import make, opened
from segmented import describe, masks, save, segmentation, series

import imagedata_xr
from imagedata_xr.dicom.writing.fields import code_item
from imagedata_xr.dicom.writing.segment_items import cielab
from imagedata_xr.errors import FormatError, GeometryError, ImagedataWarning


@pytest.fixture(autouse=True)
def _highdicom(require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    """An oblique CT of 6 slices."""
    make(tmp_path / "ct", series())
    return opened(tmp_path / "ct")


@pytest.fixture
def errors(require_program: Callable[[str], Path]) -> Callable[[str], list[str]]:
    """Errors that `dciodvfy` finds in a file."""
    program = require_program("dciodvfy")

    def judge(path: str) -> list[str]:
        done = subprocess.run([program, "-new", path], capture_output=True, text=True, check=False)
        return [line for line in done.stderr.splitlines() if line.startswith("Error")]

    return judge


def as_made(path: str, image: xr.DataArray) -> NDArray[Any]:
    """Masks by highdicom on the slices of an image, shape (slices, rows, cols, segments)."""
    import highdicom as hd

    volume = hd.seg.segread(path).get_volume(rescale_fractional=True)
    out = np.zeros((*image.imd.patient_coords().x.shape, *volume.array.shape[3:]))
    first = np.linalg.inv(image.imd.affine) @ volume.affine
    for k in range(volume.array.shape[0]):
        at = first @ [k, 0, 0, 1]
        np.testing.assert_allclose(at, np.rint(at), atol=1e-4)
        assert np.rint(at[1:3]).tolist() == [0, 0]
        out[int(np.rint(at[0]))] = volume.array[k]
    return out


def carried(values: Any, image: xr.DataArray) -> xr.DataArray:
    """Values with the labels of an image, its instances among them."""
    out: xr.DataArray = image.copy(data=np.asarray(values))
    return out


def labels_of(image: xr.DataArray) -> Any:
    """Numbers of segments, made of the values: 0, 1 and 2."""
    return ((image > image.mean()).astype("u2") + (image > image.mean() + 300).astype("u2")).values


MADE: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "bool": lambda a: a > a.mean(),
    "integers": lambda a: (a > a.mean()).astype("u1"),
    "floats": lambda a: (a > a.mean()).astype("f4"),
    "numbers": lambda a: carried(labels_of(a), a),
    "a crop": lambda a: (a > a.mean()).isel(row=slice(2, None), slice=slice(1, 5)),
    "flipped": lambda a: (a > a.mean()).isel(slice=slice(None, None, -1), col=slice(None, None, -1)),
}


@pytest.mark.parametrize("made", MADE)
def test_masks_come_back_by_highdicom_and_by_us(
    made: str, image: xr.DataArray, tmp_path: Path, errors: Callable[[str], list[str]]
) -> None:
    mask = MADE[made](image)
    done = mask.imd.write(tmp_path / "out", kind="segmentation", series_description="Masks")
    assert errors(done.paths[0]) == []
    straight = mask.sortby(["slice", "row", "col"])
    theirs = as_made(done.paths[0], straight)
    top = int(mask.max())
    want = np.stack([straight.values[0] == n for n in range(1, top + 1)], axis=-1)
    np.testing.assert_array_equal(theirs, want)
    back = opened(tmp_path / "out").imd.fill_like(straight)
    np.testing.assert_array_equal(back.values, np.moveaxis(want, -1, 0))
    np.testing.assert_allclose(back.imd.affine, straight.imd.affine, atol=1e-6)
    ds = pydicom.dcmread(done.paths[0])
    assert ds.PatientName == "Müller^Zoé"
    assert ds.StudyInstanceUID == image.attrs["StudyInstanceUID"]
    assert ds.SeriesDescription == "Masks"


def test_each_frame_says_which_image_it_was_made_from(image: xr.DataArray, tmp_path: Path) -> None:
    done = (image > image.mean()).imd.write(tmp_path / "out", kind="segmentation")
    ds = pydicom.dcmread(done.paths[0])
    sources = [pydicom.dcmread(f) for f in sorted((tmp_path / "ct").iterdir())]
    at = {str(s.SOPInstanceUID): [float(x) for x in s.ImagePositionPatient] for s in sources}
    for frame in ds.PerFrameFunctionalGroupsSequence:
        (one,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(at[one.ReferencedSOPInstanceUID], place, atol=1e-3)
    (listed,) = ds.ReferencedSeriesSequence
    assert listed.SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert {str(i.ReferencedSOPInstanceUID) for i in listed.ReferencedInstanceSequence} == set(at)


def test_simpleitk_reads_it_in_place(image: xr.DataArray, tmp_path: Path, require_module: Any) -> None:
    sitk = require_module("SimpleITK")
    mask = image > image.mean()
    done = mask.imd.write(tmp_path / "out", kind="segmentation")
    read = sitk.ReadImage(done.paths[0])
    values = sitk.GetArrayFromImage(read) > 0
    for k in (0, 3, 5):
        where = read.TransformIndexToPhysicalPoint((4, 3, k))
        here = mask.imd.sel_point(*where)
        np.testing.assert_allclose([here.imd.patient_coords()[n].item() for n in "xyz"], where, atol=1e-3)
        assert bool(values[k, 3, 4]) == bool(here.item())


def test_fractions_come_back_within_half_a_step(
    image: xr.DataArray, tmp_path: Path, errors: Callable[[str], list[str]]
) -> None:
    share = (image - image.min()) / (image.max() - image.min())
    done = share.imd.write(tmp_path / "out", kind="segmentation", format_options={"fractional_type": "OCCUPANCY"})
    assert errors(done.paths[0]) == []
    assert pydicom.dcmread(done.paths[0]).SegmentationFractionalType == "OCCUPANCY"
    np.testing.assert_allclose(as_made(done.paths[0], image)[..., 0], share.values[0], atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(opened(tmp_path / "out").values[0], share.values[0], atol=0.5 / 255 + 1e-6)


def test_segments_are_described_as_asked(image: xr.DataArray, tmp_path: Path) -> None:
    numbers = carried(labels_of(image), image)
    described = [
        {"label": "left kidney", "category": "Organ", "type": ("64033007", "SCT", "Kidney"), "color": (255, 0, 0),
         "algorithm_type": "automatic", "algorithm_name": "thresholds", "tracking_id": "K1"},
        {"label": "liver", "type": "SCT:10200004", "description": "all of it", "region": "Abdomen"},
    ]  # fmt: skip
    numbers.imd.write(tmp_path / "out", kind="segmentation", format_options={"segments": described})
    table = opened(tmp_path / "out").imd.segments
    assert table.label.values.tolist() == ["left kidney", "liver"]
    assert table.type_code.values.tolist() == ["SCT:64033007", "SCT:10200004"]
    assert table.category.values.tolist() == ["Organ", "Spatial and Relational Concept"]
    assert table.algorithm_type.values.tolist() == ["AUTOMATIC", "SEMIAUTOMATIC"]
    assert table.algorithm_name.values.tolist() == ["thresholds", "not stated"]
    assert table.description.values.tolist() == ["", "all of it"]
    np.testing.assert_allclose(table.color.values[0], [54.29, 80.81, 69.89], atol=0.02)  # red of sRGB, white D50


def test_coords_along_segment_describe_too(image: xr.DataArray, tmp_path: Path) -> None:
    parts = xr.concat([image.isel(tag=0) > 0, image.isel(tag=0) > 300], "segment", coords="minimal", compat="override")
    parts = parts.assign_coords(
        segment=[1, 2], label=("segment", ["low", "high"]), type=("segment", ["Liver", "SCT:64033007"])
    ).drop_vars("tag")
    parts.imd.write(tmp_path / "out", kind="segmentation")
    back = opened(tmp_path / "out")
    assert back.label.values.tolist() == ["low", "high"]
    assert back.imd.segments.type_code.values.tolist() == ["SCT:10200004", "SCT:64033007"]
    np.testing.assert_array_equal(back.imd.fill_like(image).values, parts.transpose("segment", ...).values)


def test_white_and_black_in_cielab() -> None:
    half = round(128 / 255 * 65535)
    assert cielab((0, 0, 0)) == [0, half, half]
    np.testing.assert_allclose(cielab((255, 255, 255)), [65535, half, half], atol=20)


def test_numbers_with_gaps_are_renumbered_with_a_word(image: xr.DataArray, tmp_path: Path) -> None:
    numbers = carried(labels_of(image), image)
    gaps = numbers.where(numbers != 1, 3).where(numbers != 2, 7).astype("u2")
    with pytest.warns(ImagedataWarning, match=r"3 becomes 1, 7 becomes 2\. They keep their labels"):
        gaps.imd.write(tmp_path / "out", kind="segmentation")
    back = opened(tmp_path / "out")
    assert back.label.values.tolist() == ["segment 3", "segment 7"]
    np.testing.assert_array_equal(back.sel(segment=1).values, gaps.values[0] == 3)
    gaps.imd.write(tmp_path / "map", kind="segmentation", format_options={"segmentation_type": "label_map"})
    kept = opened(tmp_path / "map")
    assert kept.segment.values.tolist() == [3, 7]
    np.testing.assert_array_equal(kept.sel(segment=7).values, gaps.values[0] == 7)


@pytest.mark.parametrize("dtype", ["bool", "u1", "f8"])
def test_without_a_source_it_lies_where_the_array_does(
    dtype: str, tmp_path: Path, errors: Callable[[str], list[str]]
) -> None:
    data = (np.arange(60).reshape(3, 4, 5) % 7 == 3).astype(dtype)
    array = imagedata_xr.from_array(data, spacing=(2, 1, 1.5), position=(3, 4, 5))
    with pytest.warns(ImagedataWarning, match="patient of this image is not known"):
        done = array.imd.write(tmp_path / "out.dcm", kind="segmentation")
    assert errors(done.paths[0]) == []
    back = opened(tmp_path / "out.dcm")
    np.testing.assert_array_equal(back.values[0], data)
    np.testing.assert_allclose(back.imd.affine, array.imd.affine)
    np.testing.assert_array_equal(as_made(done.paths[0], array)[..., 0], data)


def test_a_template_says_whose_it_is(image: xr.DataArray, tmp_path: Path) -> None:
    array = imagedata_xr.from_array(np.eye(4)[None] > 0, spacing=(2, 1, 1))
    done = array.imd.write(tmp_path / "out", kind="segmentation", template=image)
    ds = pydicom.dcmread(done.paths[0])
    assert ds.PatientID == "P-1"
    assert ds.StudyInstanceUID == image.attrs["StudyInstanceUID"]
    assert "ReferencedSeriesSequence" not in ds


REFUSED: dict[str, tuple[Callable[[xr.DataArray], xr.DataArray], dict[str, Any], str]] = {
    "values": (lambda a: a, {}, "lie from .*, and segments have the numbers 1 to 65535|fractions lie from 0 to 1"),
    "nan": (lambda a: a.where(a > a.mean()), {}, "values are not finite"),
    "nothing": (lambda a: a < -1e9, {}, "the mask is empty"),
    "complex": (lambda a: a * 1j, {}, "a segmentation holds masks, and this image has values of type complex"),
    "a word": (lambda a: a > 0, {"segments": [{"type": "Livver"}]}, "pydicom knows no such code"),
    "a key": (lambda a: a > 0, {"segments": [{"name": "x"}]}, "name are none of the keys number, label"),
    "too many": (lambda a: a > 0, {"segments": [{}, {}]}, "describe 2 segments, and the image has 1"),
    "a number": (lambda a: a > 0, {"segments": {4: "x"}}, "describe the segment 4, and the image has 1"),
    "a color": (lambda a: a > 0, {"segments": [{"color": "red"}]}, "whole numbers from 0 to 255"),
    "algorithm": (lambda a: a > 0, {"segments": [{"algorithm_type": "x"}]}, "AUTOMATIC, SEMIAUTOMATIC, MANUAL"),
    "type": (lambda a: a > 0, {"segmentation_type": "x"}, "binary, fractional, label_map"),
    "sop class": (lambda a: a > 0, {"sop_class": "SC"}, "sop_class are not for kind='segmentation'"),
    "a map's": (lambda a: a > 0, {"label": "ADC"}, "label are of a parametric map"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_mask_or_no_description_is_refused(what: str, image: xr.DataArray, tmp_path: Path) -> None:
    change, options, text = REFUSED[what]
    with pytest.raises(FormatError, match=text):
        change(image).imd.write(tmp_path / "out", kind="segmentation", format_options=options)
    assert not (tmp_path / "out").exists()


def test_several_volumes_slices_without_place_and_other_formats_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "mr", phantoms.mr(shape=(2, 3, 6, 8)))
    mask = opened(tmp_path / "mr") > 500
    with pytest.raises(FormatError, match=r"several volumes \(2 along 'tag'\).*isel\(tag=0\)"):
        mask.imd.write(tmp_path / "out", kind="segmentation")
    with pytest.raises(FormatError, match="nifti has none"):
        mask.imd.write(tmp_path / "out.nii", kind="segmentation")
    with pytest.raises(FormatError, match="kind='seg': 'segmentation' or 'parametric_map'"):
        mask.imd.write(tmp_path / "out", kind="seg")
    nowhere = imagedata_xr.from_array(np.ones((3, 4, 5), dtype=bool))
    with pytest.raises(GeometryError, match="3 slices without a place"), pytest.warns(ImagedataWarning):
        nowhere.imd.write(tmp_path / "out", kind="segmentation")


def test_without_highdicom_the_extra_is_named(
    image: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    for kind in ("segmentation", "parametric_map"):
        with pytest.raises(FormatError, match=r"imagedata-xr\[seg\]"):
            (image > 0).imd.write(tmp_path / "out", kind=kind)


def test_nothing_is_written_until_computed(image: xr.DataArray, tmp_path: Path) -> None:
    later = (image > 0).imd.write(tmp_path / "out", kind="segmentation", compute=False)
    assert not (tmp_path / "out").exists()
    assert later.compute().count == 1
    assert opened(tmp_path / "out").sizes["segment"] == 1


def described(number: int) -> Any:
    """A segment with all that may be said of it."""
    from pydicom.sr.codedict import codes

    item = describe(
        number, f"segment {number}", anatomic_regions=[codes.SCT.Abdomen], tracking_id=f"T{number}",
        tracking_uid=f"1.2.826.0.1.3680043.8.498.99.{number}",
    )  # fmt: skip
    item.SegmentDescription = "as it was"
    item.RecommendedDisplayCIELabValue = [30000 + number, 40000, 50000]
    item.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [code_item("7771000", "SCT", "Left")]
    return item


def items_of(path: Any) -> list[pydicom.Dataset]:
    return list(pydicom.dcmread(path).SegmentSequence)


CHANGED: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "a pixel": lambda a: a.where(a.row != a.row[0], 0).astype("u1"),
    "a crop": lambda a: a.isel(col=slice(0, 7)),
    "two of three": lambda a: a.sel(segment=[2, 3]),
    "one": lambda a: a.sel(segment=2),
    "the last first": lambda a: a.isel(segment=[2, 1, 0], col=slice(0, 7)),
}


@pytest.mark.parametrize("change", CHANGED)
@pytest.mark.filterwarnings("ignore:segments of a segmentation are numbered")
def test_what_is_known_of_segments_outlives_a_change(change: str, tmp_path: Path) -> None:
    made_of = series()
    files = make(tmp_path / "ct", made_of)
    ds = segmentation(files, masks(made_of), descriptions=[described(n) for n in (1, 2, 3)])
    before = items_of(save(ds, tmp_path / "seg" / "a.dcm"))
    image = CHANGED[change](opened(tmp_path / "seg"))
    done = image.imd.write(tmp_path / "out", kind="segmentation" if change == "one" else None, format="dicom")
    after = items_of(done.paths[0])
    kept = {"two of three": before[1:], "one": before[1:2]}.get(change, before)
    assert len(after) == len(kept)
    for number, (old, new) in enumerate(zip(kept, after, strict=True), 1):
        old.SegmentNumber = number
        assert new == old
    back = opened(tmp_path / "out")
    assert back.label.values.tolist() == [str(i.SegmentLabel) for i in kept]


def test_what_nobody_said_is_not_claimed(image: xr.DataArray, tmp_path: Path) -> None:
    mask = image > image.mean()
    (item,) = items_of(mask.imd.write(tmp_path / "a", kind="segmentation").paths[0])
    assert item.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Spatial and Relational Concept"
    assert item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Unknown"
    assert item.SegmentAlgorithmName == "not stated"
    said = {"segments": [{"algorithm_type": "manual", "category": "Tissue", "type": "Tissue"}]}
    (item,) = items_of(mask.imd.write(tmp_path / "b", kind="segmentation", format_options=said).paths[0])
    assert (item.SegmentAlgorithmType, "SegmentAlgorithmName" in item) == ("MANUAL", False)
    assert item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"

"""Elements that are set: one for all images or one for each, in files, through selections and saving, and valid."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr

from imagedata_xr.errors import ImagedataWarning, LabelError

SHAPE = (3, 2, 6, 8)


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    """A time series of three volumes of two slices."""
    phantoms.make(tmp_path / "in", phantoms.mr(shape=SHAPE))
    return phantoms.opened(tmp_path / "in")


def written(image: xr.DataArray, folder: Path) -> list[pydicom.Dataset]:
    """Headers of what is written, slices first, then volumes."""
    image.imd.write(folder, format="dicom")
    return sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda ds: int(ds.InstanceNumber))


def test_one_value_stands_in_every_file_in_place_of_the_old(image: xr.DataArray, tmp_path: Path) -> None:
    out = image.imd.assign_dicom(
        SeriesDescription="after",
        EchoTime=5.25,
        ScanOptions=["FC", "FS"],
        StudyDescription=None,
        EchoTrainLength="7",
    )
    for ds in written(out, tmp_path / "out"):
        assert ds.SeriesDescription == "after"
        assert ds.EchoTime == 5.25
        assert list(ds.ScanOptions) == ["FC", "FS"]
        assert ds.EchoTrainLength == 7
        assert "StudyDescription" not in ds
    assert image.attrs["SeriesDescription"] == "waves"
    np.testing.assert_array_equal(phantoms.opened(tmp_path / "out").values, image.values)


VALUES: dict[str, tuple[Any, list[float]]] = {
    "volume": (np.array([10.0, 20.0, 30.0]), [10, 10, 20, 20, 30, 30]),
    "list": ([10.0, 20.0, 30.0], [10, 10, 20, 20, 30, 30]),
    "slice": (("slice", [1.0, 2.0]), [1, 2, 1, 2, 1, 2]),
    "both": (np.arange(6.0).reshape(3, 2), [0, 1, 2, 3, 4, 5]),
    "turned": (xr.DataArray(np.arange(6.0).reshape(2, 3), dims=("slice", "tag")), [0, 3, 1, 4, 2, 5]),
}


@pytest.mark.parametrize("how", VALUES)
@pytest.mark.parametrize("keyword", ["EchoTime", "ImagingFrequency"])
def test_numbers_of_single_images(image: xr.DataArray, tmp_path: Path, how: str, keyword: str) -> None:
    value, expected = VALUES[how]
    out = image.imd.assign_dicom(**{keyword: value})
    assert [float(ds[keyword].value) for ds in written(out, tmp_path / "out")] == expected


def test_texts_of_single_images(image: xr.DataArray, tmp_path: Path) -> None:
    out = image.imd.assign_dicom(
        ImageComments=[["a", "b"], ["c", "a"], ["é", "f"]], SequenceName=("slice", ["s1", "s2"])
    )
    assert out["image_comments"].dtype == np.int64
    found = written(out, tmp_path / "out")
    assert [ds.ImageComments for ds in found] == ["a", "b", "c", "a", "é", "f"]
    assert [ds.SequenceName for ds in found] == ["s1", "s2"] * 3


def test_edits_move_with_their_images(image: xr.DataArray, tmp_path: Path) -> None:
    out = image.imd.assign_dicom(ImageComments=np.array([["a", "b"], ["c", "d"], ["e", "f"]]), EchoTime=[1.0, 2.0, 3.0])
    part = out.isel(tag=[2, 0], slice=slice(None, None, -1), row=slice(1, 4))
    found = written(part.sortby("tag"), tmp_path / "out")
    assert [(ds.ImageComments, ds.EchoTime) for ds in found] == [("a", 1), ("b", 1), ("e", 3), ("f", 3)]
    again = xr.concat([out.isel(tag=[0]), out.isel(tag=[1, 2])], "tag")
    assert [ds.ImageComments for ds in written(again, tmp_path / "again")] == list("abcdef")
    half = out * 0.5
    assert [ds.ImageComments for ds in written(half, tmp_path / "half")] == list("abcdef")


@pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
def test_edits_are_saved(image: xr.DataArray, tmp_path: Path, name: str) -> None:
    out = image.imd.assign_dicom(
        ImageComments=np.array([["a", "b"], ["c", "d"], ["e", "f"]]), EchoTime=[1.0, 2.0, 3.0], StudyDescription=None
    )
    out.imd.write(tmp_path / name)
    found = written(phantoms.opened(tmp_path / name), tmp_path / "out")
    assert [(ds.ImageComments, ds.EchoTime) for ds in found] == list(zip("abcdef", (1, 1, 2, 2, 3, 3), strict=True))
    assert "StudyDescription" not in found[0]


def test_texts_whose_meaning_is_lost_are_said(image: xr.DataArray, tmp_path: Path) -> None:
    one = image.isel(tag=[0]).imd.assign_dicom(ImageComments=("slice", ["a", "b"]))
    two = image.isel(tag=[1]).imd.assign_dicom(ImageComments=("slice", ["c", "d"]))
    both = xr.concat([one, two], "tag")
    with pytest.warns(ImagedataWarning, match="ImageComments are lost"):
        found = written(both, tmp_path / "out")
    assert [ds.get("ImageComments") for ds in found] == ["a", "b", None, None]


def test_a_later_value_replaces_an_earlier_one(image: xr.DataArray, tmp_path: Path) -> None:
    each = image.imd.assign_dicom(ImageComments=("slice", ["a", "b"]), EchoTime=[1.0, 2.0, 3.0])
    out = each.imd.assign_dicom(ImageComments="all", EchoTime=9)
    assert {(ds.ImageComments, ds.EchoTime) for ds in written(out, tmp_path / "out")} == {("all", 9)}
    gone = each.imd.assign_dicom(ImageComments=None)
    assert all("ImageComments" not in ds for ds in written(gone, tmp_path / "gone"))


def test_a_sequence_is_set_by_its_items(image: xr.DataArray, tmp_path: Path) -> None:
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "69536005", "SCT", "Head"
    (ds, *_) = written(image.imd.assign_dicom(AnatomicRegionSequence=[code]), tmp_path / "out")
    assert ds.AnatomicRegionSequence[0].CodeMeaning == "Head"


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"EchoTime": np.zeros(4)}, "fits none of the dims"),
        ({"EchoTime": ("row", np.zeros(6))}, "along 'row'"),
        ({"EchoTime": ("tag", np.zeros(2))}, "2 values along 'tag'"),
        ({"EchoTime": ["1", "x", "2"]}, "'x' is none"),
        ({"PatientWeight": ("tag", [1.0, 2.0, 3.0])}, "one value for all"),
        ({"ImageComments": ("tag", ["a", "b" * 10241, "c"])}, "10241 characters"),
        ({"EchoTime": xr.DataArray(np.zeros(3), dims="tag", coords={"tag": [7.0, 8.0, 9.0]})}, "labels of 'tag'"),
        ({"DiffusionBValue": 1000}, "b_vector_x"),
    ],
)
def test_values_that_fit_no_images_are_refused(image: xr.DataArray, keywords: dict[str, Any], said: str) -> None:
    with pytest.raises(LabelError, match=said):
        image.imd.assign_dicom(**keywords)


def test_what_the_volumes_are_ordered_by_is_a_label(tmp_path: Path) -> None:
    phantoms.make(tmp_path / "in", phantoms.mr(shape=(2, 2, 6, 8), volumes=[{"EchoTime": "5"}, {"EchoTime": "9"}]))
    with pytest.raises(LabelError, match=r"ordered by EchoTime: .*assign_coords\(tag"):
        phantoms.opened(tmp_path / "in", order="te").imd.assign_dicom(EchoTime=7)


def test_an_array_that_fits_volumes_and_slices_needs_names(tmp_path: Path) -> None:
    phantoms.make(tmp_path / "in", phantoms.mr(shape=(2, 2, 6, 8)))
    with pytest.raises(LabelError, match="several of the dims"):
        phantoms.opened(tmp_path / "in").imd.assign_dicom(EchoTime=[1.0, 2.0])


def test_edited_files_are_valid(image: xr.DataArray, tmp_path: Path, require_program: Callable[[str], Path]) -> None:
    program = require_program("dciodvfy")
    out = image.imd.assign_dicom(
        SeriesDescription="new",
        EchoTime=[1.0, 2.0, 3.0],
        ImageComments=("slice", ["a", "b"]),
        ImagingFrequency=123.25,
    )
    written(out, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False)
        assert not [line for line in done.stderr.splitlines() if line.startswith("Error")]


def test_edits_do_not_survive_de_identification_as_texts(image: xr.DataArray, tmp_path: Path) -> None:
    out = image.imd.assign_dicom(ImageComments=("slice", ["for Zoé", "b"]), ProtocolName="for Zoé", EchoTime=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        found = written(out.imd.deidentify(), tmp_path / "out")
    assert all(ds.EchoTime == 7 and "ImageComments" not in ds for ds in found)
    assert not any("Zoé".encode() in p.read_bytes() for p in (tmp_path / "out").iterdir())


def test_the_command_sets_elements(image: xr.DataArray, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from imagedata_xr.cli import main

    args = ["convert", str(tmp_path / "out"), str(tmp_path / "in")]
    sets = ["--set", "SeriesDescription=a=b", "--set", "EchoTime=5.5", "--set", r"ScanOptions=FC\FS"]
    done = CliRunner().invoke(main, [*args, *sets])
    assert done.exit_code == 0, done.output
    ds = pydicom.dcmread(next((tmp_path / "out").iterdir()))
    assert (ds.SeriesDescription, ds.EchoTime, list(ds.ScanOptions)) == ("a=b", 5.5, ["FC", "FS"])
    wrong = CliRunner().invoke(main, [*args[:1], str(tmp_path / "no"), args[2], "--set", "Rows=5"])
    assert wrong.exit_code == 1
    assert "Rows can't be assigned" in wrong.output
    assert not (tmp_path / "no").exists()

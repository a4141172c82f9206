"""What may be asked of the DICOM writer: names, DICOMDIR, compression, private elements, character sets."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import ANNA, make, opened
from pydicom.fileset import FileSet

from imagedata_xr.dicom.writing.names import Names
from imagedata_xr.errors import FormatError, SourceError


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    return opened(tmp_path / "in")


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# --- names -------------------------------------------------------------------------------------------------------


def test_a_folder_for_each_volume_or_slice(image: xr.DataArray, tmp_path: Path) -> None:
    image.imd.write(tmp_path / "v", format_options={"layout": "volumes"})
    assert tree(tmp_path / "v") == [f"V_{v:04d}/IM_{k:05d}.dcm" for v in (1, 2) for k in (1, 2, 3)]
    image.imd.write(tmp_path / "s", format_options={"layout": "slices"})
    assert tree(tmp_path / "s") == [f"S_{k:04d}/IM_{v:05d}.dcm" for k in (1, 2, 3) for v in (1, 2)]
    for name in ("v", "s"):
        xr.testing.assert_equal(opened(tmp_path / name).drop_vars(["instance", "source"]),
                                image.drop_vars(["instance", "source"]))  # fmt: skip


def test_a_file_lies_where_its_name_says(image: xr.DataArray, tmp_path: Path) -> None:
    image.imd.write(tmp_path / "out", format_options={"names": "t%(volume)d/z%(slice)02d.dcm"})
    for v in range(2):
        for k in range(3):
            ds = pydicom.dcmread(tmp_path / "out" / f"t{v + 1}" / f"z{k + 1:02d}.dcm")
            np.testing.assert_array_equal(ds.pixel_array, image[v, k])


def test_the_target_may_hold_the_pattern(image: xr.DataArray, tmp_path: Path) -> None:
    written = image.imd.write(tmp_path / "out" / "im_%03d.dcm")
    assert tree(tmp_path / "out") == [f"im_{n:03d}.dcm" for n in range(1, 7)]
    assert len(written.paths) == 6


def test_one_image_goes_into_the_file_that_is_named(image: xr.DataArray, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    one = image.isel(tag=0, slice=1)
    written = one.imd.write(tmp_path / "x.dcm")
    assert written.paths == (str(tmp_path / "x.dcm"),)
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "x.dcm").pixel_array, one)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        one.imd.write(tmp_path / "x.dcm")
    one.imd.write(tmp_path / "x.dcm", overwrite=True)
    with pytest.raises(FormatError, match="one file"):
        image.imd.write(tmp_path / "y.dcm")
    assert tree(tmp_path) == sorted(["note.txt", "x.dcm", *(f"in/{n}" for n in tree(tmp_path / "in"))])


def test_a_failure_leaves_no_folder_of_a_layout(image: xr.DataArray, tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        if done == 4:
            raise OSError("no space left")

    (tmp_path / "out").mkdir()
    with pytest.raises(SourceError):
        image.imd.write(tmp_path / "out", format_options={"layout": "volumes"}, progress=fail)
    assert list((tmp_path / "out").iterdir()) == []


def test_overwrite_replaces_folders_of_images_only(image: xr.DataArray, tmp_path: Path) -> None:
    for _ in range(2):
        image.imd.write(tmp_path / "out", format_options={"layout": "volumes"}, overwrite=True)
    (tmp_path / "out" / "V_0001" / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="images written here"):
        image.imd.write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "V_0001" / "note.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"names": "im.dcm"}, "fields"),
        ({"names": "%(patient)d.dcm"}, "fields"),
        ({"names": "../%d.dcm"}, "lead out"),
        ({"names": "/%d.dcm"}, "lead out"),
        ({"names": "%(volume)d.dcm"}, "names: "),
        ({"names": "%d", "layout": "single"}, "give one"),
        ({"layout": "patients"}, "single, volumes, slices"),
        ({"transfer_syntax": "jpeg"}, "jpeg-ls"),
        ({"character_set": "latin1"}, "ISO_IR 100"),
        ({"dicomdir": "yes"}, "True"),
        ({"dicomdir": True, "names": "im_%05d.dcm"}, "capitals"),
        ({"layuot": "single"}, "layout"),
        ({"multiframe": "yes"}, "True"),
        ({"sop_class": "XX"}, "MR"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_written(
    image: xr.DataArray, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(FormatError, match=said):
        image.imd.write(tmp_path / "out", format_options=options)
    assert not (tmp_path / "out").exists()


def test_fields_of_names() -> None:
    assert Names("a%03d_%(volume)d-%(slice)05d").of(7, 8, 9) == "a007_8-00009"


# --- DICOMDIR ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["single", "volumes", "slices"])
def test_a_dicomdir_is_that_of_pydicom_and_dcmtk(
    image: xr.DataArray, tmp_path: Path, layout: str, require_program: Any
) -> None:
    written = (image + 1).imd.write(tmp_path / "out", format_options={"dicomdir": True, "layout": layout})
    assert written.count == len(written.paths) == len(written.uids) == 6
    found = FileSet(tmp_path / "out" / "DICOMDIR")
    assert sorted(f.SOPInstanceUID for f in found) == sorted(written.uids)
    assert {str(f.PatientID) for f in found} == {ANNA.id}
    for f in found:
        assert f.load().SOPInstanceUID == f.SOPInstanceUID
    assert len(found.find_values("SeriesInstanceUID")) == 1
    dump = require_program("dcmdump")
    said = subprocess.run([dump, "-q", str(tmp_path / "out" / "DICOMDIR")], capture_output=True, text=True, check=True)
    assert said.stdout.count("DirectoryRecordType") == 9
    assert not said.stderr
    again = opened(tmp_path / "out" / "DICOMDIR")
    np.testing.assert_array_equal(again, image + 1)


def test_a_dicomdir_passes_dciodvfy(image: xr.DataArray, tmp_path: Path, require_program: Any) -> None:
    image.imd.write(tmp_path / "out", format_options={"dicomdir": True})
    check = require_program("dciodvfy")
    said = subprocess.run([check, str(tmp_path / "out" / "DICOMDIR")], capture_output=True, text=True, check=False)
    errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
    assert errors == []


# --- compression ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", ["rle", "jpeg-ls", "jpeg2000"])
@pytest.mark.parametrize("kind", ["mr", "ct", "pet", "signed", "colour", "bytes"])
@pytest.mark.parametrize("derived", [False, True])
def test_compressed_pixels_are_those_of_simpleitk(
    tmp_path: Path, syntax: str, kind: str, derived: bool, require_module: Any, require_program: Any
) -> None:
    sitk = require_module("SimpleITK")
    require_module("imagecodecs")
    dcmdrle = require_program("dcmdrle")
    if kind == "colour":
        rng = np.random.default_rng(1)
        import imagedata_xr

        image = imagedata_xr.from_array(
            rng.integers(0, 255, (1, 2, 6, 8, 3)).astype(np.uint8), dims=("tag", "slice", "row", "col", "rgb"),
            spacing=(2, 1, 1),
        )  # fmt: skip
    elif kind == "bytes":
        import imagedata_xr

        image = imagedata_xr.from_array(np.arange(96, dtype=np.uint8).reshape(1, 2, 6, 8), spacing=(2, 1, 1))
    else:
        series = {"mr": phantoms.mr(), "ct": phantoms.ct(), "pet": phantoms.pet(), "signed": phantoms.mr(signed=True)}
        make(tmp_path / "in", series[kind])
        image = opened(tmp_path / "in")
        image = image * 0.5 - 3 if derived and kind != "pet" else image * 2 if derived else image
    written = image.imd.write(tmp_path / "out", format_options={"transfer_syntax": syntax})
    (tmp_path / "native").mkdir()
    for path in written.paths:
        ds = pydicom.dcmread(path)
        assert ds.file_meta.TransferSyntaxUID.is_compressed
        if syntax == "rle":  # GDCM, with which SimpleITK reads, refuses small ones, also those that pydicom writes
            subprocess.run([dcmdrle, path, str(tmp_path / "native" / Path(path).name)], check=True)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / ("native" if syntax == "rle" else "out")))
    found = sitk.GetArrayFromImage(sitk.ReadImage(names)).astype(float)
    if image.sizes["tag"] == 1:
        np.testing.assert_allclose(found, image.isel(tag=0), atol=1e-3)
    again = opened(tmp_path / "out")
    np.testing.assert_allclose(again, image, atol=1e-3)


def test_images_that_are_compressed_already_stay_so(tmp_path: Path, require_module: Any) -> None:
    require_module("imagecodecs")
    make(tmp_path / "in", phantoms.mr())
    opened(tmp_path / "in").imd.write(tmp_path / "a", format_options={"transfer_syntax": "jpeg2000"})
    with pytest.warns(UserWarning, match="transfer_syntax was not used"):
        opened(tmp_path / "a").imd.write(tmp_path / "b", format_options={"transfer_syntax": "rle"})
    assert pydicom.dcmread(next((tmp_path / "b").iterdir())).file_meta.TransferSyntaxUID.name.startswith("JPEG 2000")


# --- headers ---------------------------------------------------------------------------------------------------------


def test_private_elements_are_kept_on_request(image: xr.DataArray, tmp_path: Path) -> None:
    source = pydicom.dcmread(next((tmp_path / "in").iterdir()))
    private = {e.tag: e.value for e in source if e.tag.is_private}
    assert private
    for keep in (False, True):
        written = (image + 1).imd.write(tmp_path / f"{keep}", format_options={"keep_private": keep})
        ds = pydicom.dcmread(written.paths[0])
        assert {e.tag: e.value for e in ds if e.tag.is_private} == (private if keep else {})


def test_texts_are_in_the_character_set_asked_for(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(1, 1, 6, 8)))
    image = opened(tmp_path / "in") + 1
    written = image.imd.write(tmp_path / "out", format_options={"character_set": "ISO_IR 100"})
    data = Path(written.paths[0]).read_bytes()
    assert "Müller^Zoé".encode("latin-1") in data
    assert str(pydicom.dcmread(written.paths[0]).PatientName) == "Müller^Zoé"
    with pytest.raises(FormatError, match="PatientName") as error:
        image.imd.write(tmp_path / "cyrillic", format_options={"character_set": "ISO_IR 144"})
    assert "Müller" not in str(error.value)
    assert not (tmp_path / "cyrillic").exists()


def test_the_default_repertoire_has_no_umlauts(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(1, 1, 6, 8)))
    image = opened(tmp_path / "in") + 1
    with pytest.raises(FormatError, match="ISO_IR 6 does not know"):
        image.imd.write(tmp_path / "latin", format_options={"character_set": "ISO_IR 6"})
    plain = image.imd.assign_dicom(PatientName="Mueller^Zoe")
    ds = pydicom.dcmread(plain.imd.write(tmp_path / "out", format_options={"character_set": "ISO_IR 6"}).paths[0])
    assert ds.PatientName == "Mueller^Zoe"
    assert "SpecificCharacterSet" not in ds

"""De-identified images: no identifier in any file, and what stays as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import identified
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from identified import SECRETS, found

from imagedata_xr.errors import IdentityError, ImagedataWarning, LabelError
from imagedata_xr.formats.seam import formats, writes

pytestmark = pytest.mark.filterwarnings("ignore:.*", "error::imagedata_xr.errors.ImagedataWarning")


FORMATS = {
    "dicom": "a",
    "nifti": "a.nii.gz",
    "metaio": "a.mha",
    "nrrd": "a.nrrd",
    "mat": "a.mat",
    "zarr": "a.zarr",
    "netcdf": "a.nc",
    "tiff": "a.tif",
}


BARE = {"mgh": "a.mgz", "png": "a.png", "jpeg": "a.jpg"}
"""Formats that hold no headers, even where identifiers are asked for."""


def save(image: xr.DataArray, folder: Path, form: str, **how: Any) -> None:
    """Write; what formats without headers lose is said in warnings."""
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if form in BARE else "error", ImagedataWarning)
        image.imd.write(folder / (FORMATS | BARE)[form], format=form, **how)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A time series of a patient who is named everywhere."""
    identified.make(tmp_path / "in", identified.mr(shape=(3, 2, 6, 8)))
    return tmp_path / "in"


def headers(folder: Path) -> list[pydicom.Dataset]:
    """Written instances by number."""
    return sorted((pydicom.dcmread(p) for p in folder.rglob("*.dcm")), key=lambda ds: int(ds.InstanceNumber))


def test_the_search_finds_what_there_is_to_find(source: Path, tmp_path: Path) -> None:
    assert set().union(*found(source).values()) == set(SECRETS) - {"1.3.12.2.1107.5.2.43.7"}
    image = identified.opened(source)
    for form, name in FORMATS.items():
        (tmp_path / form).mkdir()
        image.imd.write(tmp_path / form / name, format=form, identifiers=True)
        assert "hortensia" in set().union(*found(tmp_path / form).values()), form


def test_every_format_is_searched() -> None:
    assert {name for name, form in formats().items() if writes(form)} == {*FORMATS, *BARE}


@pytest.mark.parametrize("form", [*FORMATS, *BARE])
@pytest.mark.parametrize("identifiers", [False, True])
def test_no_identifier_is_in_any_file(source: Path, tmp_path: Path, form: str, identifiers: bool) -> None:
    image = identified.opened(source).imd.deidentify(seed="k")
    save(image, tmp_path / "out", form, identifiers=identifiers)
    assert not found(tmp_path / "out")


@pytest.mark.parametrize("form", ["nifti", "metaio", "nrrd", "mat", "tiff", *BARE])
def test_formats_without_identifiers_carry_none_of_an_image_as_it_is(source: Path, tmp_path: Path, form: str) -> None:
    save(identified.opened(source), tmp_path / "out", form)
    assert not found(tmp_path / "out")


OPTIONS: dict[str, tuple[str, ...]] = {
    "strict": (),
    "descriptors": ("modified_dates", "clean_descriptors", "clean_structured", "clean_graphics"),
    "safe": ("modified_dates", "retain_safe_private"),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("make", ["time", "diffusion", "ct", "pet"])
def test_no_identifier_by_any_options(tmp_path: Path, options: str, make: str) -> None:
    who = {"who": identified.WHO, "elements": identified.telling()}
    series = {
        "time": identified.mr(shape=(2, 2, 6, 8)),
        "diffusion": identified.weighted(),
        "ct": phantoms.ct(**{**who, "elements": identified.telling(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])}),
        "pet": phantoms.pet(**{**who, "elements": identified.telling(ImageType=["ORIGINAL", "PRIMARY"])}),
    }[make]
    identified.make(tmp_path / "in", series)
    image = identified.opened(tmp_path / "in").imd.deidentify(options=OPTIONS[options])
    image.imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a derived image lacks
        (image * 0.37).imd.write(tmp_path / "half")
    assert not found(tmp_path / "half")


def test_values_and_labels_are_those_of_the_source(source: Path, tmp_path: Path) -> None:
    before = identified.opened(source)
    before.imd.deidentify(seed="k").imd.write(tmp_path / "out")
    after = identified.opened(tmp_path / "out")
    np.testing.assert_array_equal(after.values, before.values)
    np.testing.assert_allclose(after.imd.affine, before.imd.affine)
    np.testing.assert_array_equal(after["tag"], before["tag"])
    assert after["tag"].attrs["order"] == "time"
    np.testing.assert_array_equal(np.diff(after["acquisition_time"]), np.diff(before["acquisition_time"]))


def test_dates_are_moved_by_whole_days_and_intervals_are_kept(tmp_path: Path) -> None:
    later = replace(identified.WHO, study="1.2.9.71", date="20200415")
    moved = []
    for name, who in (("a", identified.WHO), ("b", later)):
        identified.make(tmp_path / name, identified.mr(who=who, shape=(1, 2, 6, 8)))
        identified.opened(tmp_path / name).imd.deidentify(seed="k").imd.write(tmp_path / f"{name}-out")
        moved.append(headers(tmp_path / f"{name}-out")[0])
    first, second = (np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:]}") for d in (ds.StudyDate for ds in moved))
    assert second - first == np.datetime64("2020-04-15") - np.datetime64("2020-01-02")
    assert first < np.datetime64("2019-01-03")
    assert moved[0].PatientID == moved[1].PatientID != "ZX81-4477"
    assert moved[0].AcquisitionTime == "100000.000000"
    assert moved[0].LongitudinalTemporalInformationModified == "MODIFIED"


def test_one_seed_makes_the_same_and_another_one_others(source: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "k"), ("b", "k"), ("c", "l")):
        identified.opened(source).imd.deidentify(seed=seed).imd.write(tmp_path / name)
    a, b, c = ([p.read_bytes() for p in sorted((tmp_path / n).iterdir())] for n in "abc")
    assert a == b
    assert all(x != y for x, y in zip(a, c, strict=True))
    for one, other in zip(headers(tmp_path / "a"), headers(tmp_path / "c"), strict=True):
        for word in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID",
                     "StudyDate"):  # fmt: skip
            assert one[word].value != other[word].value, word


def test_what_was_done_stands_in_the_header(source: Path, tmp_path: Path) -> None:
    identified.opened(source).imd.deidentify(options=["full_dates", "retain_device"]).imd.write(tmp_path / "out")
    ds = headers(tmp_path / "out")[0]
    assert ds.PatientIdentityRemoved == "YES"
    assert "PS3.15" in ds.DeidentificationMethod
    assert [i.CodeValue for i in ds.DeidentificationMethodCodeSequence] == ["113100", "113106", "113109"]
    assert ds.LongitudinalTemporalInformationModified == "UNMODIFIED"
    assert ds.StudyDate == "20200102"
    assert ds.DeviceSerialNumber == "SN-90210"
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_references_among_images_stay(source: Path, tmp_path: Path) -> None:
    identified.opened(source).imd.deidentify(seed="k").imd.write(tmp_path / "out")
    own = {ds.SOPInstanceUID for ds in headers(tmp_path / "out")}
    assert headers(tmp_path / "out")[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID in own


def test_descriptors_are_cleaned_on_request(source: Path, tmp_path: Path) -> None:
    identified.opened(source).imd.deidentify(options=["modified_dates"]).imd.write(tmp_path / "a")
    assert "SeriesDescription" not in headers(tmp_path / "a")[0]
    identified.opened(source).imd.deidentify(options=["clean_descriptors"]).imd.write(tmp_path / "b")
    ds = headers(tmp_path / "b")[0]
    assert ds.SeriesDescription == "t1 *** ***"
    assert ds.StudyDescription == "knee of *** ***"
    assert ds.SoftwareVersions == "syngo ***"


@pytest.mark.parametrize("options", OPTIONS)
def test_mosaics_keep_b_values_directions_and_slice_times(tmp_path: Path, options: str) -> None:
    before = identified.opened(identified.mosaic(tmp_path / "in"), order="b")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)  # of what a slice of a mosaic lacks, where it stands alone
        before.imd.deidentify(options=OPTIONS[options]).imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    after = identified.opened(tmp_path / "out", order="b")
    np.testing.assert_array_equal(after.values, before.values)
    np.testing.assert_allclose(after.imd.affine, before.imd.affine, atol=1e-5)
    np.testing.assert_array_equal(after["tag"], before["tag"])
    for axis in "xyz":
        np.testing.assert_allclose(after[f"b_vector_{axis}"], before[f"b_vector_{axis}"], atol=1e-6)
    if options != "strict":  # which takes all moments away
        np.testing.assert_allclose(after["slice_time"], before["slice_time"], atol=1e-6)
    ds = headers(tmp_path / "out")[-1]
    assert ds.DiffusionBValue == 1000
    np.testing.assert_allclose(ds.DiffusionGradientOrientation, [0.6, 0.8, 0], atol=1e-6)


def test_an_image_of_a_screen_is_refused_until_its_pixels_are_spoken_of(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "said": {"BurnedInAnnotation": "YES"},
        "saved": {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "BurnedInAnnotation": "NO"},
        "class": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"},
        "ultrasound": {"Modality": "US"},
        "within": {},
    }
    for name, elements in kinds.items():
        series = identified.mr(shape=(1, 1, 6, 8), elements=identified.telling() | elements)
        paths = identified.make(tmp_path / name, series)
        if name == "within":
            ds = pydicom.dcmread(paths[0])
            ds.add_new(0x60000010, "US", 6)
            ds.add_new(0x60000102, "US", 15)
            ds.save_as(paths[0])
        image = identified.opened(tmp_path / name)
        with pytest.raises(IdentityError, match="pixels='keep'"):
            image.imd.deidentify()
        image.imd.deidentify(pixels="keep").imd.write(tmp_path / f"{name}-out", format="dicom")
        assert not found(tmp_path / f"{name}-out")


@pytest.mark.parametrize("kind", [phantoms.mr, phantoms.ct])
def test_regions_are_blank_in_values_and_files(tmp_path: Path, kind: Callable[..., phantoms.Series]) -> None:
    identified.make(tmp_path / "in", kind(who=identified.WHO, shape=(1, 2, 6, 8)))
    before = identified.opened(tmp_path / "in")
    image = before.imd.deidentify(seed=1, pixels="blank", regions=[(0, 2, 3, 8)])
    expected = before.values.copy()
    expected[..., 0:2, 3:8] = 0
    np.testing.assert_array_equal(image.values, expected)
    written = image.imd.write(tmp_path / "out")
    np.testing.assert_array_equal(identified.opened(tmp_path / "out").values, expected)
    ds = headers(tmp_path / "out")[0]
    assert ds.BurnedInAnnotation == "NO"
    assert "113101" in [i.CodeValue for i in ds.DeidentificationMethodCodeSequence]
    assert set(written.uids) == set(before.imd.deidentify(seed=1).imd.write(tmp_path / "whole").uids)
    with pytest.raises(IdentityError, match="not within"):
        before.imd.deidentify(pixels="blank", regions=[(0, 7, 0, 2)])


def test_a_head_whose_face_can_be_seen_is_warned_of(tmp_path: Path) -> None:
    face = phantoms.mr(shape=(1, 70, 70, 70), spacing=(2.0, 2.0, 2.0))  # a brain
    phantoms.make(tmp_path / "in", face)
    with pytest.warns(ImagedataWarning, match="face"):
        identified.opened(tmp_path / "in").imd.deidentify()


def test_options_and_regions_are_checked(source: Path) -> None:
    image = identified.opened(source)
    for wrong in (
        {"profile": "mine"}, {"options": ["dates"]}, {"options": ["full_dates", "modified_dates"]},
        {"pixels": "blank"}, {"pixels": "all"}, {"pixels": "blank", "regions": [(2, 1, 0, 4)]},
    ):  # fmt: skip
        with pytest.raises(LabelError):
            image.imd.deidentify(**wrong)


def test_the_patient_gets_the_id_that_is_asked_for(source: Path, tmp_path: Path) -> None:
    image = identified.opened(source)
    assert image.imd.deidentify(patient="sub-01").attrs["PatientID"] == "sub-01"
    image.imd.deidentify(patient={"ZX81-4477": "sub-02"}).imd.write(tmp_path / "out")
    assert headers(tmp_path / "out")[0].PatientName == "sub-02"
    with pytest.raises(LabelError, match="no new ID") as error:
        image.imd.deidentify(patient={"another": "sub-02"})
    assert "ZX81" not in str(error.value)


def test_labels_tell_nothing_and_stay_lazy(source: Path) -> None:
    image = xr.open_dataarray(source, engine="imagedata", chunks={})
    image = image.assign_coords(mrn=90210, note="Hortensia", site=("tag", ["Marburg"] * 3)).rename("Qvistgaard")
    image.attrs["remark"] = "Hortensia"
    out = image.imd.deidentify()
    assert out.chunks is not None
    text = repr(out.to_dataset(name="image").to_dict(data=True)).lower()
    assert not [s for s in SECRETS if s in text]
    assert out.name == "image"
    assert {"mrn", "note", "site"}.isdisjoint(out.coords)
    assert int(out["patient"]) != int(image["patient"])
    assert not np.isin(out["instance"], image["instance"]).any()


def test_a_computed_image_without_its_source_is_de_identified_by_its_attrs(source: Path, tmp_path: Path) -> None:
    image = identified.opened(source).load()
    half = image.isel(tag=[0]) * 0.5
    half = half.drop_vars(["instance", "source"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)  # of neutral values
        half.imd.deidentify().imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    assert headers(tmp_path / "out")[0].PatientIdentityRemoved == "YES"


def test_images_of_several_patients_are_not_made_one(tmp_path: Path) -> None:
    parts = []
    for name, who in (("a", phantoms.ANNA), ("b", phantoms.BERT)):
        phantoms.make(tmp_path / name, phantoms.mr(who=who, uid=f"1.2.3.{who.id[-1]}"))
        parts.append(identified.opened(tmp_path / name))
    both = xr.concat(parts, "tag", coords="minimal", compat="override", join="override")
    with pytest.raises(IdentityError, match="several patients"):
        both.imd.deidentify()

"""De-identification: nothing of the patient is left, everything of the image is, and what belongs together stays so."""

from __future__ import annotations

import subprocess
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
from pydicom.uid import UID

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


# --- whole studies ---------------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two series on one frame of reference and a report."""
    identified.make(tmp_path / "study" / "a", identified.mr())
    identified.make(tmp_path / "study" / "b", identified.mr(uid="1.2.826.0.1.3680043.8.498.51", number=6))
    report = pydicom.dcmread(tmp_path / "study" / "a" / "00_00.dcm")
    del report.PixelData, report.Rows, report.Columns
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.88.11")
    report.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.52")
    report.SOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.52.1")
    report.Modality, report.SeriesNumber, report.UnformattedTextValue = "SR", 7, "Qvistgaard is well"
    report.save_as(tmp_path / "study" / "report.dcm", enforce_file_format=True)
    return tmp_path / "study"


def test_a_tree_gets_new_names_and_drops_reports(study: Path, tmp_path: Path) -> None:
    tree = xr.open_datatree(study, engine="imagedata")
    with pytest.warns(ImagedataWarning, match="1 objects without pixels are left out .1 Basic Text SR"):
        out = tree.imd.deidentify(seed="k")
    names = " ".join(node.path for node in out.subtree).lower()
    attrs = repr([node.attrs for node in out.subtree]).lower()
    assert not [s for s in SECRETS if s in names + attrs]
    out.imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    written = headers(tmp_path / "out")
    assert len(written) == 8
    assert len({ds.FrameOfReferenceUID for ds in written}) == len({ds.StudyInstanceUID for ds in written}) == 1
    assert len({ds.SeriesInstanceUID for ds in written}) == 2
    assert len({ds.SOPInstanceUID for ds in written}) == 8


def test_a_segmentation_still_refers_to_its_image(tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")
    import segmented

    made_of = segmented.series(who=identified.WHO)
    files = identified.make(tmp_path / "in" / "image", made_of)
    seg = segmented.segmentation(files, segmented.masks(made_of))
    segmented.save(seg, tmp_path / "in" / "seg.dcm")
    tree = xr.open_datatree(tmp_path / "in", engine="imagedata")
    tree.imd.deidentify(seed="k", pixels="keep").imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    _, segments = segmented.images(tmp_path / "out")
    _, was = segmented.images(tmp_path / "in")
    np.testing.assert_array_equal(segments.values, was.values)
    np.testing.assert_allclose(segments.imd.affine, was.imd.affine)
    written = headers(tmp_path / "out")
    (mask,) = [ds for ds in written if ds.Modality == "SEG"]
    own = {ds.SOPInstanceUID for ds in written if ds.Modality != "SEG"}
    named = {r.ReferencedSOPInstanceUID for r in mask.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named
    assert named <= own


# --- validity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [(), ("modified_dates", "retain_safe_private"), ("full_dates", "clean_descriptors")]
)
@pytest.mark.parametrize("make", [phantoms.mr, phantoms.ct, phantoms.pet])
def test_valid_files_stay_valid(
    tmp_path: Path, make: Any, options: tuple[str, ...], require_program: Callable[[str], Path]
) -> None:
    program = require_program("dciodvfy")
    (path, *_) = phantoms.make(tmp_path / "in", make())

    def errors(path: Path) -> set[str]:
        done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False)
        return {line for line in done.stderr.splitlines() if line.startswith("Error")}

    before = errors(path)
    written = identified.opened(tmp_path / "in").imd.deidentify(options=options).imd.write(tmp_path / "out")
    assert errors(Path(written.paths[0])) <= before


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_every_image_and_names_nobody(study: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from imagedata_xr.cli import main

    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["deidentify", str(study), str(out), "--seed", "k", "--patient-id", "sub-01"])
    assert done.exit_code == 0, done.output
    assert not [s for s in SECRETS if s in done.output.lower().replace(str(tmp_path).lower(), "")]
    assert "1 objects without pixels are left out" in done.output
    assert sorted(p.name for p in out.iterdir()) == ["0001", "0002"]
    assert not found(out)
    assert {str(ds.PatientID) for ds in headers(out)} == {"sub-01"}


# --- UIDs of what was computed ---------------------------------------------------------------------------------------


def uids(folder: Path) -> list[tuple[str, ...]]:
    """UIDs of written instances, and those that they refer to."""
    words = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    return [
        (*(str(ds.get(w)) for w in words), *sorted(str(e.value) for e in ds.iterall() if e.VR == "UI"))
        for ds in headers(folder)
    ]


def computed(image: xr.DataArray) -> dict[str, xr.DataArray]:
    """Images of which no plane is the source's own."""
    return {"half": image * 0.37, "mean": image.mean("tag"), "third": image * 0.33}


@pytest.mark.parametrize("which", ["half", "mean"])
def test_what_is_computed_gets_the_same_uids_at_each_writing(source: Path, tmp_path: Path, which: str) -> None:
    import shutil

    shutil.copytree(source, tmp_path / "moved")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        for name, place, seed in (("a", source, "k"), ("b", tmp_path / "moved", "k"), ("c", source, "l")):
            image = identified.opened(place, chunks={} if name == "a" else None).imd.deidentify(seed=seed)
            computed(image)[which].imd.write(tmp_path / name)
    a, b, c = (uids(tmp_path / n) for n in "abc")
    assert a == b
    assert {u for row in a for u in row[:4]}.isdisjoint({u for row in c for u in row[:4]})
    assert [p.read_bytes() for p in sorted((tmp_path / "a").iterdir())] == [
        p.read_bytes() for p in sorted((tmp_path / "b").iterdir())
    ]


def test_different_results_get_different_uids_on_one_frame_of_reference(source: Path, tmp_path: Path) -> None:
    image = identified.opened(source).imd.deidentify(seed="k")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        for name, result in computed(image).items():
            result.imd.write(tmp_path / name)
        (image * 0.37).imd.write(tmp_path / "named", series_description="again")
        image.imd.write(tmp_path / "same")
    written = {n: uids(tmp_path / n) for n in (*computed(image), "named", "same")}
    assert len({row[0] for rows in written.values() for row in rows}) == sum(map(len, written.values()))
    assert len({row[1] for rows in written.values() for row in rows}) == len(written)
    assert len({row[2:4] for rows in written.values() for row in rows}) == 1


def test_slices_of_a_mosaic_get_the_same_uids_at_each_writing(tmp_path: Path) -> None:
    identified.mosaic(tmp_path / "in")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)  # of what a slice of a mosaic lacks, where it stands alone
        for name in "ab":
            identified.opened(tmp_path / "in", order="b").imd.deidentify(seed="k").imd.write(tmp_path / name)
    assert uids(tmp_path / "a") == uids(tmp_path / "b")


@pytest.mark.parametrize("kind", ["segmentation", "parametric_map"])
def test_objects_made_of_an_image_get_the_same_uids(
    source: Path, tmp_path: Path, kind: str, require_module: Callable[[str], Any]
) -> None:
    require_module("highdicom")
    image = identified.opened(source).imd.deidentify(seed="k").isel(tag=0)
    made = image > float(image.median()) if kind == "segmentation" else image * 0.25
    for name in "ab":
        made.imd.write(tmp_path / name, kind=kind)
    assert uids(tmp_path / "a") == uids(tmp_path / "b")
    own = {ds.SOPInstanceUID for ds in _written(image, tmp_path / "source")}
    (ds,) = headers(tmp_path / "a")
    assert {r.ReferencedSOPInstanceUID for r in ds.SourceImageSequence} == own


def _written(image: xr.DataArray, folder: Path) -> list[pydicom.Dataset]:
    image.imd.write(folder)
    return headers(folder)

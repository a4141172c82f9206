"""Headers of derived images: what is kept, what is recomputed, what is dropped."""

from __future__ import annotations

import os
import shutil
import warnings
from collections import OrderedDict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make, opened

from imagedata_xr.dicom.headers import lookup
from imagedata_xr.dicom.writing.marks import NAN_MARK, padding_is_nan
from imagedata_xr.dicom.writing.write import write
from imagedata_xr.errors import FormatError, ImagedataWarning, SourceError
from imagedata_xr.formats.seam import WriteOptions

Dataset = pydicom.Dataset


def headers(image: xr.DataArray, target: Path, **options: Any) -> list[Dataset]:
    """Instances that an image is written as, volume by volume."""
    return [pydicom.dcmread(p) for p in write(image, str(target), WriteOptions(**options)).paths]


def values(ds: Dataset) -> Any:
    return ds.pixel_array * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    return opened(tmp_path / "in")


@pytest.fixture
def derived(image: xr.DataArray, tmp_path: Path) -> list[Dataset]:
    return headers(image * 0.3, tmp_path / "out")


def test_patient_study_and_space_are_the_source_s(derived: list[Dataset], tmp_path: Path) -> None:
    source = pydicom.dcmread(tmp_path / "in" / "00_00.dcm")
    for ds in derived:
        for keyword in ("PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber", "FrameOfReferenceUID"):
            assert ds[keyword].value == source[keyword].value
        assert str(ds.PatientName) == "Müller^Zoé"


def test_text_is_utf_8_at_every_depth(derived: list[Dataset]) -> None:
    assert derived[0].SpecificCharacterSet == "ISO_IR 192"
    raw = pydicom.dcmread(derived[0].filename)
    assert raw.get_item("PatientName").value == "Müller^Zoé".encode()


def test_identifiers_are_new_and_valid(derived: list[Dataset], image: xr.DataArray) -> None:
    uids = [d.SOPInstanceUID for d in derived] + [derived[0].SeriesInstanceUID]
    assert len(set(uids)) == 7
    assert all(u.is_valid and u.startswith("2.25.") for u in uids)
    assert len({d.SeriesInstanceUID for d in derived}) == 1
    assert [d.InstanceNumber for d in derived] == [1, 2, 3, 4, 5, 6]
    assert {d.SeriesNumber for d in derived} == {1005}


def test_it_says_what_it_was_derived_from(derived: list[Dataset], tmp_path: Path) -> None:
    ds = derived[4]
    assert ds.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
    assert "imagedata_xr" in ds.DerivationDescription
    (item,) = ds.SourceImageSequence
    assert item.ReferencedSOPInstanceUID == pydicom.dcmread(tmp_path / "in" / "01_01.dcm").SOPInstanceUID
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"


def test_what_spoke_of_the_source_s_pixels_is_gone(derived: list[Dataset]) -> None:
    for keyword in (
        "WindowCenter",
        "WindowWidth",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "SliceLocation",
    ):
        assert keyword not in derived[0]
    assert not [e for e in derived[0] if e.tag.is_private]


def test_overlays_and_curves_are_dropped_with_a_warning(tmp_path: Path) -> None:
    source = make(tmp_path / "in", phantoms.mr())
    for path in source:
        ds = pydicom.dcmread(path)
        ds.add_new(0x60000010, "US", 6)
        ds.save_as(path)
    with pytest.warns(ImagedataWarning, match="overlay"):
        done = headers(opened(tmp_path / "in") * 0.3, tmp_path / "out")
    assert 0x60000010 not in done[0]


def test_lossy_compression_and_burned_in_text_stay_said(tmp_path: Path) -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "10", "BurnedInAnnotation": "YES"}
    make(tmp_path / "in", phantoms.mr(elements=lossy))
    for image, name in ((opened(tmp_path / "in") * 0.3, "own"), (opened(tmp_path / "in").mean("tag"), "attrs")):
        ds = headers(image, tmp_path / name)[0]
        assert (ds.LossyImageCompression, ds.LossyImageCompressionRatio, ds.BurnedInAnnotation) == ("01", 10, "YES")


def test_the_slice_thickness_is_kept_beside_the_spacing(image: xr.DataArray, tmp_path: Path) -> None:
    ds = headers(image.isel(slice=slice(None, None, 2)) * 0.3, tmp_path / "out")[0]
    assert (ds.SliceThickness, ds.SpacingBetweenSlices) == (2.5, 6)


def test_volumes_in_time_are_counted_anew(image: xr.DataArray, tmp_path: Path) -> None:
    done = headers(image.isel(tag=[1]) * 0.3, tmp_path / "one")
    assert "TemporalPositionIdentifier" not in done[0]
    done = headers(image * 0.3, tmp_path / "two")
    assert [d.TemporalPositionIdentifier for d in done] == [1, 1, 1, 2, 2, 2]
    assert {d.NumberOfTemporalPositions for d in done} == {2}


def test_times_follow_the_labels(image: xr.DataArray, tmp_path: Path) -> None:
    moved = image.assign_coords(tag=xr.Variable("tag", [0.0, 60000.25], image.tag.attrs))
    done = headers(moved, tmp_path / "out")
    assert (done[0].AcquisitionDate, done[0].AcquisitionTime) == ("20240305", "100000.000000")
    assert (done[3].AcquisitionDate, done[3].AcquisitionTime) == ("20240306", "024000.250000")


def test_each_slice_keeps_its_own_time(tmp_path: Path) -> None:
    source = make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    for k, path in enumerate(source):
        ds = pydicom.dcmread(path)
        ds.AcquisitionTime = f"1000{10 * (k // 3) + k % 3:02d}.5"
        ds.save_as(path)
    done = headers(opened(tmp_path / "in") * 0.3, tmp_path / "out")
    assert [d.AcquisitionTime[:8] for d in done] == [pydicom.dcmread(p).AcquisitionTime[:8] for p in source]


def test_a_mean_over_time_has_no_time(image: xr.DataArray, tmp_path: Path) -> None:
    ds = headers(image.mean("tag"), tmp_path / "out")[0]
    assert "AcquisitionTime" not in ds
    assert ds.StudyTime == "095500"
    assert ds.ContentDate == datetime.now().strftime("%Y%m%d")


def test_labels_beat_the_header_and_the_header_beats_the_attrs(image: xr.DataArray, tmp_path: Path) -> None:
    changed = image.assign_coords(echo_time=7.25).assign_attrs(ProtocolName="attr", SeriesDescription="attr")
    ds = headers(changed, tmp_path / "out")[0]
    assert (ds.EchoTime, ds.SeriesDescription) == (7.25, "waves")
    lost = headers(changed.drop_vars("instance"), tmp_path / "lost")[0]
    assert (lost.EchoTime, lost.SeriesDescription, lost.ProtocolName) == (7.25, "attr", "attr")


def test_assigned_elements_beat_the_header(image: xr.DataArray, tmp_path: Path) -> None:
    changed = image.assign_attrs(SeriesDescription="mine", assigned_elements=["SeriesDescription"])
    done = headers(changed, tmp_path / "out")
    assert {d.SeriesDescription for d in done} == {"mine"}
    assert np.array_equal(values(done[0]), image.values[0, 0])
    assert done[0].ImageType[0] == "DERIVED"


def test_what_was_asked_for_is_written(image: xr.DataArray, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"series_number": 9, "series_description": "half", "image_type": r"DERIVED\PRIMARY\M"}
    ds = headers(image * 0.3, tmp_path / "out", **asked)[0]
    assert (ds.SeriesNumber, ds.SeriesDescription, list(ds.ImageType)) == (9, "half", ["DERIVED", "PRIMARY", "M"])


def test_per_volume_labels_become_elements(tmp_path: Path) -> None:
    echoes = [{"EchoTime": "4.5"}, {"EchoTime": "9.25"}]
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8), volumes=echoes, seconds=0.0))
    image = opened(tmp_path / "in")
    for name, changed in (("own", image * 0.3), ("attrs", (image * 0.3).drop_vars("instance"))):
        assert [d.EchoTime for d in headers(changed, tmp_path / name)] == [4.5] * 3 + [9.25] * 3


def test_spin_labelling_is_a_word_and_shares_its_temporal_position(tmp_path: Path) -> None:
    words = ["CONTROL", "LABEL"]
    volumes = [{"ASLContext": words[v % 2], "AcquisitionTime": f"10000{v // 2 * 4}.000000"} for v in range(6)]
    make(tmp_path / "in", phantoms.mr(shape=(6, 2, 6, 8), volumes=volumes))
    image = xr.open_dataarray(tmp_path / "in", engine="imagedata")
    assert image.dims[:2] == ("time", "asl_context")
    done = headers(image * 0.5, tmp_path / "out")[::2]
    assert [d.ASLContext for d in done] == words * 3
    assert [int(d.TemporalPositionIdentifier) for d in done] == [1, 1, 2, 2, 3, 3]
    assert {int(d.NumberOfTemporalPositions) for d in done} == {3}
    assert xr.open_dataarray(tmp_path / "out", engine="imagedata").dims == image.dims
    averaged = headers(image.coarsen(asl_context=2).mean(), tmp_path / "mean")
    assert not any("ASLContext" in d for d in averaged)


def test_what_says_nothing_and_is_not_allowed_empty_is_dropped(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(elements={"InversionTime": "0", "AnatomicRegionSequence": []}))
    for ds in headers(opened(tmp_path / "in") * 0.5, tmp_path / "out"):
        assert "InversionTime" not in ds
        assert "AnatomicRegionSequence" not in ds


def test_an_inversion_time_of_0_among_others_stays(tmp_path: Path) -> None:
    times = [{"InversionTime": t} for t in ("0", "50", "400")]
    make(tmp_path / "in", phantoms.mr(shape=(3, 2, 6, 8), volumes=times, seconds=0.0))
    (opened(tmp_path / "in") * 0.5).imd.write(tmp_path / "out")
    back = opened(tmp_path / "out")
    assert back["tag"].attrs["order"] == "ti"
    np.testing.assert_array_equal(back["tag"], [0, 50, 400])


def test_only_the_dim_label_is_enough(tmp_path: Path) -> None:
    echoes = [{"EchoTime": "4.5"}, {"EchoTime": "9.25"}]
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8), volumes=echoes, seconds=0.0))
    image = opened(tmp_path / "in")
    left = image - image.isel(tag=0)
    assert set(left.coords) & {"instance", "echo_time"} == set()
    assert [d.EchoTime for d in headers(left, tmp_path / "out")] == [4.5] * 3 + [9.25] * 3


def test_diffusion_goes_into_the_standard_elements(tmp_path: Path) -> None:
    volumes = phantoms.diffusion([0, 1000, 1000], [(0, 0, 0), (1, 0, 0), (0, 0.6, 0.8)])
    make(tmp_path / "in", phantoms.mr(shape=(3, 2, 6, 8), volumes=volumes))
    image = opened(tmp_path / "in")
    done = headers((image * 0.3).drop_vars("instance"), tmp_path / "out")[::2]
    assert [d.DiffusionBValue for d in done] == [0, 1000, 1000]
    assert [d.DiffusionDirectionality for d in done] == ["NONE", "DIRECTIONAL", "DIRECTIONAL"]
    assert "DiffusionGradientOrientation" not in done[0]
    assert np.allclose(done[2].DiffusionGradientOrientation, (0, 0.6, 0.8))


def test_averaged_directions_are_refused(tmp_path: Path) -> None:
    volumes = phantoms.diffusion([1000, 1000], [(1, 0, 0), (0, 0.6, 0.8)])
    make(tmp_path / "in", phantoms.mr(shape=(2, 2, 6, 8), volumes=volumes))
    merged = opened(tmp_path / "in").coarsen(tag=2).mean()
    with pytest.raises(FormatError, match="b_vector"):
        headers(merged, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_averaged_b_values_are_refused(tmp_path: Path) -> None:
    volumes = phantoms.diffusion([0, 1000], [(0, 0, 0), (1, 0, 0)])
    make(tmp_path / "in", phantoms.mr(shape=(2, 2, 6, 8), volumes=volumes))
    merged = opened(tmp_path / "in").coarsen(tag=2).mean()
    with pytest.raises(FormatError, match="no measured volume has"):
        headers(merged.drop_vars(["b_vector_x", "diffusion_directionality"]), tmp_path / "out")
    said = merged.drop_vars(["b_vector_x", "diffusion_directionality", "instance"])
    assert headers(said, tmp_path / "said")[0].DiffusionBValue == 500


def test_a_ct_keeps_its_integers_and_its_rescale(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.ct())
    image = opened(tmp_path / "in")
    ds = headers(image.isel(row=slice(1, None)), tmp_path / "out")[0]
    assert (ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType, ds.BitsStored) == (1, -1024, "HU", 12)
    assert np.array_equal(values(ds), image.values[0, 0, 1:])


def test_the_mean_of_two_ct_images_is_exact_and_in_hu(tmp_path: Path) -> None:
    make(tmp_path / "a", phantoms.ct())
    make(tmp_path / "b", phantoms.ct(uid="1.2.826.0.1.3680043.8.498.51", origin=(-20.25, 11.5, 42.1251)))
    mean = (opened(tmp_path / "a") + 1 + opened(tmp_path / "b")) / 2
    ds = headers(mean, tmp_path / "out")[0]
    assert (ds.Modality, ds.RescaleType, ds.SOPClassUID) == ("CT", "HU", phantoms.CT)
    assert np.array_equal(values(ds), mean.values[0, 0])


def test_floats_of_mr_say_their_rescale_twice(image: xr.DataArray, tmp_path: Path) -> None:
    scaled = image * 0.3
    ds = headers(scaled, tmp_path / "out")[0]
    (item,) = ds.RealWorldValueMappingSequence
    assert (item.RealWorldValueSlope, item.RealWorldValueIntercept) == (ds.RescaleSlope, ds.RescaleIntercept)
    assert ds.RescaleType == "US"
    assert np.abs(values(ds) - scaled.values[0, 0]).max() <= 0.5 * ds.RescaleSlope + 1e-4


def test_pet_has_its_own_rules(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.pet())
    image = opened(tmp_path / "in")
    for name, changed in (("own", image * 0.3), ("some", image.isel(slice=[1, 2]) * -0.3)):
        done = headers(changed, tmp_path / name)
        assert {(float(d.RescaleIntercept), d.BitsStored, d.Units) for d in done} == {(0, 16, "BQML")}
        slices = changed.sizes["slice"]
        assert [d.ImageIndex for d in done] == list(range(1, 3 * slices + 1))
        assert {(d.NumberOfSlices, d.NumberOfTimeSlices) for d in done} == {(slices, 3)}
        assert done[0].SeriesTime == "100000"  # decay is corrected to it
        assert [d.FrameReferenceTime for d in done][::slices] == [1250, 3750, 6250]


def test_one_volume_of_a_dynamic_pet_is_static(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.pet())
    ds = headers(opened(tmp_path / "in").isel(tag=1) * 0.3, tmp_path / "out")[0]
    assert list(ds.SeriesType) == ["STATIC", "IMAGE"]
    assert "NumberOfTimeSlices" not in ds


def test_what_pet_demands_and_nobody_knows_is_said(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.pet())
    with pytest.warns(ImagedataWarning, match="DecayFactor, FrameReferenceTime"):
        headers(opened(tmp_path / "in").mean("tag"), tmp_path / "out")


def test_nan_comes_back_as_nan(image: xr.DataArray, tmp_path: Path) -> None:
    holed = image.where(image > 500) * 0.3
    ds = headers(holed, tmp_path / "out")[0]
    stored = ds.pixel_array
    assert np.array_equal(stored == ds.PixelPaddingValue, np.isnan(holed.values[0, 0]))
    assert padding_is_nan(ds.DerivationDescription)
    back = opened(tmp_path / "out")
    assert np.array_equal(np.isnan(back.values), np.isnan(holed.values))
    assert np.allclose(back.values, holed.values, atol=1e-2, equal_nan=True)
    again = headers(back, tmp_path / "again")[0]
    assert again.PixelData == ds.PixelData
    assert again.SourceImageSequence == ds.SourceImageSequence
    assert NAN_MARK not in headers(image * 0.3, tmp_path / "whole")[0].DerivationDescription


@pytest.mark.parametrize(("value", "match"), [(np.inf, "infinite"), (1j, "two series")])
def test_what_can_not_be_stored_is_refused_and_nothing_is_left(
    value: complex, match: str, image: xr.DataArray, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=match):
        headers(image * value, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_integers_beyond_16_bits_are_rounded_and_it_is_said(image: xr.DataArray, tmp_path: Path) -> None:
    big = image.astype("int32") * 1000
    with pytest.warns(ImagedataWarning, match="16 bits"):
        ds = headers(big, tmp_path / "out")[0]
    assert np.abs(values(ds) - big.values[0, 0]).max() <= 0.5 * ds.RescaleSlope + 1e-6


def test_masks_of_mr_have_16_bits(image: xr.DataArray, tmp_path: Path) -> None:
    ds = headers(image > 500, tmp_path / "out")[0]
    assert (ds.BitsAllocated, ds.pixel_array.max()) == (16, 1)


def test_colours_become_secondary_captures(image: xr.DataArray, tmp_path: Path) -> None:
    colours = (image / 16).astype("uint8").expand_dims(rgb=3, axis=-1)
    ds = headers(colours, tmp_path / "out")[0]
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (ds.PhotometricInterpretation, ds.SamplesPerPixel, ds.PlanarConfiguration) == ("RGB", 3, 0)
    assert np.array_equal(ds.pixel_array, colours.values[0, 0])
    with pytest.raises(FormatError, match="uint8"):
        headers(colours.astype("float32"), tmp_path / "bad")


def test_an_unreachable_source_is_said_and_the_attrs_are_enough(
    image: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_sources", OrderedDict())  # as in another process
    gone = image.assign_coords(source=str(tmp_path / "gone"))
    with pytest.warns(ImagedataWarning, match="can't be reached"):
        ds = headers(gone.load(), tmp_path / "out")[0]
    assert (str(ds.PatientName), ds.StudyInstanceUID, ds.Modality) == ("Müller^Zoé", phantoms.ANNA.study, "MR")
    assert ds.RequestAttributesSequence[0].RequestedProcedureID == "R1"


def test_a_source_that_was_deleted_is_said_and_the_attrs_are_enough(image: xr.DataArray, tmp_path: Path) -> None:
    image = image.load()
    shutil.rmtree(tmp_path / "in")
    with pytest.warns(ImagedataWarning, match="can't be reached"):
        ds = headers(image, tmp_path / "out")[0]
    assert (ds.PatientID, ds.EchoTime) == ("P-1", 4.5)


def test_a_source_that_was_replaced_is_not_taken_for_the_old_one(image: xr.DataArray, tmp_path: Path) -> None:
    image = image.load()
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8), who=phantoms.BERT, uid="1.2.826.0.1.3680043.8.498.99"))
    with pytest.warns(ImagedataWarning, match="can't be reached"):
        done = headers(image, tmp_path / "out")
    assert {(str(d.PatientName), d.PatientID, d.ImageType[0]) for d in done} == {("Müller^Zoé", "P-1", "DERIVED")}


@pytest.mark.parametrize(
    ("unseen", "why"), [(False, "has changed since it was opened"), (True, "holds another image since it was opened")]
)
def test_a_source_of_which_a_file_was_replaced_is_refused_and_nothing_is_left(
    image: xr.DataArray, tmp_path: Path, unseen: bool, why: str
) -> None:
    """Where length and time of the file are as before, its UID tells."""
    image = image.load()
    file = tmp_path / "in" / "01_02.dcm"
    status, uid = file.stat(), pydicom.dcmread(file).SOPInstanceUID.encode()
    data = file.read_bytes().replace(uid, uid[:-1] + (b"1" if uid[-1:] != b"1" else b"2"))
    file.write_bytes(data)
    later = status.st_mtime_ns + (0 if unseen else 2_000_000)
    os.utime(file, ns=(status.st_atime_ns, later))
    with pytest.raises(SourceError, match=why):
        headers(image, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["Müller^Zoé", "山田^太郎", "Διονυσιος", "Yamada^Tarou=山田^太郎=やまだ^たろう", "قباني^لنزار"]
)
def test_names_of_every_script_are_kept(name: str, tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(elements={"SpecificCharacterSet": "ISO_IR 192", "PatientName": name}))
    image = opened(tmp_path / "in") * 0.3
    for k, changed in enumerate((image, image.drop_vars("instance"))):
        assert str(headers(changed, tmp_path / str(k))[0].PatientName) == name


def test_text_of_other_character_sets_becomes_utf_8(tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.CodeMeaning = "Люкceмбypг"
    elements = {"SpecificCharacterSet": "ISO_IR 144", "PatientName": "Люкceмбypг", "AnatomicRegionSequence": [item]}
    make(tmp_path / "in", phantoms.mr(elements=elements))
    ds = headers(opened(tmp_path / "in") * 0.3, tmp_path / "out")[0]
    assert (str(ds.PatientName), ds.AnatomicRegionSequence[0].CodeMeaning) == ("Люкceмбypг", "Люкceмбypг")
    assert "SpecificCharacterSet" not in ds.AnatomicRegionSequence[0]


def test_many_series_in_one_folder_all_find_their_headers(tmp_path: Path) -> None:
    for k in range(7):
        make(tmp_path / "in" / str(k), phantoms.mr(number=k, uid=f"1.2.826.0.1.3680043.8.498.8{k}"))
    tree = xr.open_datatree(str(tmp_path / "in"), engine="imagedata")
    images = [node.to_dataset()["image"] for node in tree.subtree if "image" in node]
    assert len(images) == 7
    for k, image in enumerate(images):
        assert headers(image, tmp_path / f"out{k}")[0].ImageType[0] == "ORIGINAL"


def test_a_readable_warning_free_write(image: xr.DataArray, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        headers(image * 0.3, tmp_path / "out")
        headers(image.mean("tag"), tmp_path / "mean")

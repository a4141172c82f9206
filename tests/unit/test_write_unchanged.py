"""Images that are what their source says: everything is kept, but the identifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make, opened

from imagedata_xr.dicom.writing.write import write
from imagedata_xr.errors import FormatError, ImagedataWarning
from imagedata_xr.formats.seam import WriteOptions, Written

IDENTIFIERS = {"SOPInstanceUID", "SeriesInstanceUID"}


def files(written: Written) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(p) for p in written.paths]


def differing(a: pydicom.Dataset, b: pydicom.Dataset) -> set[str]:
    """Keywords (or tags) of the elements that differ, raw bytes compared."""
    tags = {*a.keys(), *b.keys()}
    return {pydicom.datadict.keyword_for_tag(t) or str(t) for t in tags if t not in a or t not in b or a[t] != b[t]}


@pytest.fixture
def series() -> phantoms.Series:
    return phantoms.mr(shape=(2, 3, 6, 8))


def written(image: xr.DataArray, target: Path, **options: Any) -> Written:
    done = write(image, str(target), WriteOptions(**options))
    assert isinstance(done, Written)
    return done


@pytest.mark.parametrize(
    "series",
    [
        phantoms.mr(shape=(2, 3, 6, 8)),
        phantoms.mr(slope=2.5, intercept=-3142.0, orientation=phantoms.OBLIQUE),
        phantoms.ct(),
        phantoms.ct(travel=(0.0, 0.8, 3.0)),
        phantoms.pet(),
        phantoms.mr(shape=(2, 2, 6, 8), volumes=phantoms.diffusion([0, 1000], [(0, 0, 0), (0.6, 0, 0.8)])),
    ],
    ids=["mr", "mr rescaled", "ct", "ct tilted", "pet", "diffusion"],
)
def test_every_element_but_the_identifiers_is_kept(series: phantoms.Series, tmp_path: Path) -> None:
    source = make(tmp_path / "in", series)
    done = written(opened(tmp_path / "in"), tmp_path / "out")
    assert done.count == len(source)
    for new, path in zip(files(done), source, strict=True):
        assert differing(new, pydicom.dcmread(path)) == IDENTIFIERS
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
    assert len({d.SOPInstanceUID for d in files(done)}) == len(source)
    assert {d.SeriesInstanceUID for d in files(done)} == {done.series}


def test_asked_for_series_number_and_description_change_and_nothing_else(
    series: phantoms.Series, tmp_path: Path
) -> None:
    source = make(tmp_path / "in", series)
    done = written(opened(tmp_path / "in"), tmp_path / "out", series_number=77, series_description="sent")
    new = files(done)[0]
    assert differing(new, pydicom.dcmread(source[0])) == IDENTIFIERS | {"SeriesNumber", "SeriesDescription"}
    assert (new.SeriesNumber, new.SeriesDescription) == (77, "sent")


def test_keep_uid_changes_nothing(series: phantoms.Series, tmp_path: Path) -> None:
    source = make(tmp_path / "in", series)
    done = written(opened(tmp_path / "in"), tmp_path / "out", keep_uid=True)
    for new, path in zip(files(done), source, strict=True):
        old = pydicom.dcmread(path)
        assert differing(new, old) == set()
        assert new.file_meta.ImplementationClassUID == old.file_meta.ImplementationClassUID
    assert done.series == series.uid
    assert set(done.uids) == {pydicom.dcmread(p).SOPInstanceUID for p in source}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a: a + 1, "pixels"),
        (lambda a: a.isel(row=slice(1, None)), "pixels, its source"),
        (lambda a: a.assign_coords(tag=a.tag + xr.Variable("tag", [0.0, 1.0], a.tag.attrs)), "acquisition time"),
        (lambda a: a.assign_coords(echo_time=9.0), "EchoTime"),
        (lambda a: a.mean("tag"), "computed"),
        (lambda a: a.assign_attrs(assigned_elements=["SeriesDescription"]), "assigned"),
        (lambda a: a.drop_vars("patient"), "patient"),
        (lambda a: a.assign_coords(slice=a.slice + 0.5), "ImagePositionPatient"),
    ],
)
@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_keep_uid_refuses_what_was_changed_and_writes_nothing(
    change: Any, why: str, series: phantoms.Series, tmp_path: Path
) -> None:
    make(tmp_path / "in", series)
    with pytest.raises(FormatError, match=why):
        written(change(opened(tmp_path / "in")), tmp_path / "out", keep_uid=True)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_keep_uid_can_not_be_asked_for_together_with_a_change(series: phantoms.Series, tmp_path: Path) -> None:
    make(tmp_path / "in", series)
    with pytest.raises(FormatError, match="series_number"):
        written(opened(tmp_path / "in"), tmp_path / "out", keep_uid=True, series_number=3)


def test_one_changed_pixel_makes_one_derived_series(series: phantoms.Series, tmp_path: Path) -> None:
    source = make(tmp_path / "in", series)
    image = opened(tmp_path / "in").load()
    image[1, 2, 3, 4] += 5
    done = files(written(image, tmp_path / "out"))
    assert {d.ImageType[0] for d in done} == {"DERIVED"}
    assert {d.SeriesNumber for d in done} == {1005}
    assert [d.InstanceNumber for d in done] == [1, 2, 3, 4, 5, 6]
    before = [pydicom.dcmread(p) for p in source]
    assert all((d.pixel_array == b.pixel_array).all() for d, b in zip(done[:5], before, strict=False))
    assert [d.get("RescaleSlope") for d in done] == [b.get("RescaleSlope") for b in before]
    assert done[5].pixel_array[3, 4] == before[5].pixel_array[3, 4] + 5


def test_a_partly_changed_series_is_read_as_one_image(tmp_path: Path) -> None:
    # the component of GE's images is private, and lost in derived ones
    series = phantoms.mr(shape=(2, 3, 6, 8), elements={"Manufacturer": "GE MEDICAL SYSTEMS"})
    for path in make(tmp_path / "in", series):
        ds = pydicom.dcmread(path)
        ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", 0)
        ds.save_as(path)
    image = xr.open_dataarray(tmp_path / "in", engine="imagedata")
    changed = image.where(image.slice > image.slice[0], 0)
    changed.imd.write(tmp_path / "out")
    assert float(abs(xr.open_dataarray(tmp_path / "out", engine="imagedata") - changed).max()) == 0


def test_a_selection_of_slices_and_volumes_is_unchanged(series: phantoms.Series, tmp_path: Path) -> None:
    source = make(tmp_path / "in", series)
    image = opened(tmp_path / "in").isel(tag=1, slice=[0, 2])
    done = files(written(image, tmp_path / "out"))
    assert [differing(d, pydicom.dcmread(source[i])) for d, i in zip(done, (3, 5), strict=True)] == [IDENTIFIERS] * 2


@pytest.mark.parametrize("part", [slice(None, None, 2), slice(1, 3), slice(2, None)])
def test_times_that_only_the_number_of_the_volume_says_are_written_out(part: slice, tmp_path: Path) -> None:
    counted = {"ScanningSequence": "EP", "NumberOfTemporalPositions": 4, "AcquisitionTime": "100000"}
    make(tmp_path / "in", phantoms.mr(shape=(4, 2, 6, 8), elements=counted))
    image = xr.open_dataarray(tmp_path / "in", engine="imagedata")
    assert image.tag.attrs["source"] == "InstanceNumber x RepetitionTime"
    assert written(image, tmp_path / "whole", keep_uid=True).count == 8
    done = image.isel(tag=part).imd.write(tmp_path / "out")
    times = [pydicom.dcmread(p).AcquisitionTime for p in done.paths[::2]]
    assert times == [f"1000{t:09.6f}" for t in image.tag.values[part]]


def test_a_flipped_and_transposed_image_is_unchanged(series: phantoms.Series, tmp_path: Path) -> None:
    source = make(tmp_path / "in", series)
    image = opened(tmp_path / "in").isel(row=slice(None, None, -1)).transpose("col", "row", "slice", "tag")
    done = files(written(image, tmp_path / "out"))
    assert differing(done[0], pydicom.dcmread(source[0])) == IDENTIFIERS


def test_a_computation_that_gives_the_same_values_is_unchanged(series: phantoms.Series, tmp_path: Path) -> None:
    source = make(tmp_path / "in", series)
    image = opened(tmp_path / "in") * 2 / 2
    assert differing(files(written(image, tmp_path / "out"))[0], pydicom.dcmread(source[0])) == IDENTIFIERS


def test_bits_outside_of_bits_stored_do_not_matter(tmp_path: Path) -> None:
    source = make(tmp_path / "in", phantoms.mr())
    for path in source:
        ds = pydicom.dcmread(path)
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") | 0xF000).astype("<u2").tobytes()
        ds.save_as(path)
    done = files(written(opened(tmp_path / "in"), tmp_path / "out"))
    assert differing(done[0], pydicom.dcmread(source[0])) == IDENTIFIERS


def test_a_compressed_image_stays_compressed(tmp_path: Path) -> None:
    source = make(tmp_path / "in", phantoms.mr())
    for path in source:
        ds = pydicom.dcmread(path)
        ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        ds.save_as(path)
    done = files(written(opened(tmp_path / "in"), tmp_path / "out"))
    assert done[0].file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    assert differing(done[0], pydicom.dcmread(source[0])) == IDENTIFIERS


def test_stored_integers_that_were_asked_for_are_unchanged(tmp_path: Path) -> None:
    source = make(tmp_path / "in", phantoms.ct())
    image = opened(tmp_path / "in", mask_and_scale=False)
    done = files(written(image, tmp_path / "out"))
    assert differing(done[0], pydicom.dcmread(source[0])) == IDENTIFIERS


def test_masked_padding_is_written_back_as_it_was(tmp_path: Path) -> None:
    series = phantoms.ct(elements={"PixelPaddingValue": 0})
    source = make(tmp_path / "in", series)
    for path in source:
        ds = pydicom.dcmread(path)
        pixels = ds.pixel_array.copy()
        pixels[:2] = 0
        ds.PixelData = pixels.tobytes()
        ds.save_as(path)
    image = opened(tmp_path / "in", mask_padding=True)
    assert np.isnan(image.values[..., :2, :]).all()
    done = files(written(image, tmp_path / "out"))
    assert differing(done[0], pydicom.dcmread(source[0])) == IDENTIFIERS


def test_values_of_another_image_that_are_its_stored_integers_are_no_unchanged_image(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.ct())
    image = (opened(tmp_path / "in") + 1024).astype("int16")
    new = files(written(image, tmp_path / "out"))[0]
    assert new.ImageType[0] == "DERIVED"
    values = new.pixel_array * float(new.RescaleSlope) + float(new.RescaleIntercept)
    assert np.array_equal(values, image.values[0, 0])


@pytest.mark.parametrize("description", ["plain", "größer", "Ελλάδα", "脳"])
def test_a_description_in_other_characters_keeps_all_texts(description: str, tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(1, 2, 4, 4)))
    opened(tmp_path / "in").imd.write(tmp_path / "out", series_description=description)
    for file in sorted((tmp_path / "out").rglob("*.dcm")):
        ds = pydicom.dcmread(file)
        assert ds.SeriesDescription == description
        assert ds.PatientName == "Müller^Zoé"


def test_images_of_several_series_become_one(tmp_path: Path) -> None:
    parts = []
    for n in (1, 2, 3):
        echo = {"EchoTime": 5.0 * n, "SeriesDescription": f"echo {n}"}
        series = phantoms.mr(shape=(1, 3, 4, 4), number=n, uid=f"1.2.826.0.1.3680043.8.498.5{n}", volumes=[echo])
        make(tmp_path / f"in{n}", series)
        parts.append(opened(tmp_path / f"in{n}", order="te"))
    whole = xr.concat(parts, "tag", coords="different", compat="equals")
    with pytest.warns(ImagedataWarning, match="images of 3 series are written as one"):
        done = written(whole, tmp_path / "out")
    found = files(done)
    for keyword, value in ("SeriesNumber", 1), ("SeriesDescription", "echo 1"):
        assert {ds.get(keyword) for ds in found} == {value}
    assert len({ds.SeriesInstanceUID for ds in found}) == 1
    assert sorted(ds.InstanceNumber for ds in found) == list(range(1, 10))
    assert {ds.EchoTime for ds in found} == {5, 10, 15}
    back = opened(tmp_path / "out", order="te")
    np.testing.assert_array_equal(back.values, whole.values)
    with pytest.warns(ImagedataWarning, match="3 series"):
        other = files(written(whole, tmp_path / "other", series_number=7, series_description="all"))
    assert {(int(ds.SeriesNumber), ds.SeriesDescription) for ds in other} == {(7, "all")}

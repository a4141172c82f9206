"""Patients and studies are never mixed up, whatever was computed."""

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
from phantoms import ANNA, ANNA_LATER, BERT, NOBODY, make, opened

from imagedata_xr.dicom.writing.write import write
from imagedata_xr.errors import ImagedataWarning
from imagedata_xr.formats.seam import WriteOptions
from imagedata_xr.model.image import repair

Join = Callable[[xr.DataArray, xr.DataArray], Any]


def stacked(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    later = repair(b.assign_coords(tag=xr.Variable("tag", b.tag.values + 100, a.tag.attrs)))
    how: dict[str, Any] = {"coords": "different", "compat": "equals", "join": "override", "combine_attrs": "override"}
    out: xr.DataArray = xr.concat([a, later], "tag", **how)
    return out


def summed(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    out: xr.DataArray = xr.dot(a.expand_dims(pair=2), b.expand_dims(pair=2), dim="pair")
    return out


OPERATIONS: dict[str, Join] = {
    "mean": lambda a, b: (a + b) / 2,
    "difference": lambda a, b: a - b,
    "ratio": lambda a, b: a / b,
    "maximum": lambda a, b: np.maximum(a, b),
    "xr.where": lambda a, b: xr.where(a > 500, a, b),
    "where": lambda a, b: a.where(a > 500, b),
    "fillna": lambda a, b: a.where(a > 500).fillna(b),
    "combine_first": lambda a, b: a.where(a > 500).combine_first(b),
    "apply_ufunc": lambda a, b: xr.apply_ufunc(np.hypot, a, b, keep_attrs=True),
    "dot": summed,
    "concat": stacked,
    "concat, mean": lambda a, b: stacked(a, b).mean("tag"),
    "clip": lambda a, b: a.clip(b * 0, b),
}


def series(who: phantoms.Who, number: int) -> phantoms.Series:
    return phantoms.mr(who=who, uid=f"1.2.826.0.1.3680043.8.498.7{number}", intercept=float(number), slope=1.5)


def joined(join: Join, first: phantoms.Who, second: phantoms.Who, tmp_path: Path, number: int = 1) -> xr.DataArray:
    make(tmp_path / "a", series(first, number))
    make(tmp_path / "b", series(second, number + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out: xr.DataArray = join(opened(tmp_path / "a"), opened(tmp_path / "b"))
    return out


def headers(image: xr.DataArray, target: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(p) for p in write(image, str(target), WriteOptions()).paths]


def heard(image: xr.DataArray, target: Path) -> tuple[list[pydicom.Dataset], list[str]]:
    """The headers written, and what was said of them."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ImagedataWarning)
        done = headers(image, target)
    return done, [str(w.message) for w in said if issubclass(w.category, ImagedataWarning)]


def raw(target: Path) -> bytes:
    return b"".join(p.read_bytes() for p in target.iterdir())


@pytest.mark.parametrize("name", OPERATIONS)
def test_two_patients_make_none(name: str, tmp_path: Path) -> None:
    image = joined(OPERATIONS[name], ANNA, BERT, tmp_path)
    with pytest.warns(ImagedataWarning, match="patient"):
        done = headers(image, tmp_path / "out")
    data = raw(tmp_path / "out")
    for who in (ANNA, BERT):
        for text in (who.name, who.id, who.birth, who.study):
            assert text.encode() not in data
    for ds in done:
        assert (ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex) == ("", "", "", "")
        assert (ds.StudyDate, ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName) == ("", "", "", "")
        assert "PatientWeight" not in ds
        assert "RequestAttributesSequence" not in ds
        assert "SourceImageSequence" not in ds
    assert len({d.StudyInstanceUID for d in done}) == 1


def overriding(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    """Images one after the other, all labels taken from the first: the way xarray is going to join by default."""
    later = b.assign_coords(tag=b["tag"] + 100)
    return xr.concat([a, later], dim="tag", coords="minimal", compat="override", join="override")


def test_labels_of_the_first_do_not_name_the_images_of_the_second(tmp_path: Path) -> None:
    image = joined(overriding, ANNA, BERT, tmp_path, 3)
    assert image.coords["patient"].ndim == 0  # xarray was told not to look
    with pytest.warns(ImagedataWarning, match="patient"):
        headers(image, tmp_path / "out")
    data = raw(tmp_path / "out")
    assert not any(t.encode() in data for who in (ANNA, BERT) for t in (who.name, who.id, who.birth, who.study))


def test_runs_of_one_patient_joined_by_override_keep_patient_and_study(tmp_path: Path) -> None:
    image = joined(overriding, ANNA, ANNA, tmp_path, 5)
    done, said = heard(image, tmp_path / "out")
    assert len(said) == 1
    assert "images of 2 series are written as one" in said[0]
    assert {(d.PatientID, d.StudyInstanceUID) for d in done} == {(ANNA.id, ANNA.study)}
    assert len(done) == image.sizes["tag"] * image.sizes["slice"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_two_days_of_one_patient_make_a_new_study(name: str, tmp_path: Path) -> None:
    image = joined(OPERATIONS[name], ANNA, ANNA_LATER, tmp_path)
    with pytest.warns(ImagedataWarning, match="new study"):
        done = headers(image, tmp_path / "out")
    for ds in done:
        assert (str(ds.PatientName), ds.PatientID, ds.PatientBirthDate) == (ANNA.name, ANNA.id, ANNA.birth)
        assert ds.StudyInstanceUID not in (ANNA.study, ANNA_LATER.study)
        assert (ds.StudyDate, ds.AccessionNumber, ds.StudyID) == ("", "", "")
        assert "RequestAttributesSequence" not in ds
    assert len({d.StudyInstanceUID for d in done}) == 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_patient_and_study_is_kept(name: str, tmp_path: Path) -> None:
    image = joined(OPERATIONS[name], ANNA, ANNA, tmp_path)
    done, said = heard(image, tmp_path / "out")
    # only images that nobody computed are still those of their series
    assert ["images of 2 series are written as one" in s for s in said] == [True] * (name == "concat")
    for ds in done:
        assert (str(ds.PatientName), ds.PatientID) == (ANNA.name, ANNA.id)
        assert (ds.StudyInstanceUID, ds.AccessionNumber) == (ANNA.study, "A-7")


def test_one_of_two_patients_selected_again_is_that_one(tmp_path: Path) -> None:
    image = joined(stacked, ANNA, BERT, tmp_path)
    for k, who in ((0, ANNA), (1, BERT)):
        if k == 0:
            assert {d.PatientID for d in headers(image.isel(tag=k), tmp_path / who.id)} == {who.id}
        else:  # the attrs that concat kept are those of the first
            with pytest.warns(ImagedataWarning, match="patient"):
                assert {d.PatientID for d in headers(image.isel(tag=k), tmp_path / who.id)} == {""}


@pytest.mark.parametrize("name", ["mean", "xr.where", "fillna", "concat"])
@pytest.mark.parametrize("first", [True, False])
def test_a_patient_without_a_name_is_another_one(name: str, first: bool, tmp_path: Path) -> None:
    pair = (NOBODY, ANNA) if first else (ANNA, NOBODY)
    image = joined(OPERATIONS[name], *pair, tmp_path)
    with pytest.warns(ImagedataWarning, match="patient"):
        headers(image, tmp_path / "out")
    assert ANNA.id.encode() not in raw(tmp_path / "out")


def test_two_nameless_patients_are_not_one(tmp_path: Path) -> None:
    other = phantoms.Who("", "", "", "1.2.826.0.1.3680043.8.498.9")
    image = joined(OPERATIONS["mean"], NOBODY, other, tmp_path)
    with pytest.warns(ImagedataWarning, match="patient"):
        (ds, *_) = headers(image, tmp_path / "out")
    assert ds.StudyInstanceUID not in (NOBODY.study, other.study)


@pytest.mark.parametrize(
    "lose",
    [
        lambda a: a.drop_vars("patient"),
        lambda a: a.assign_coords(patient=1),
        lambda a: a.assign_attrs(PatientID="P-9"),
        lambda a: a.drop_attrs(deep=False),
    ],
    ids=["label dropped", "label of another", "attrs of another", "attrs dropped"],
)
@pytest.mark.parametrize("own", [True, False], ids=["own header", "no header"])
def test_the_label_must_be_there_and_be_the_digest_of_the_attrs(
    lose: Callable[[xr.DataArray], xr.DataArray], own: bool, tmp_path: Path
) -> None:
    make(tmp_path / "a", series(ANNA, 1))
    image = lose(opened(tmp_path / "a"))
    with pytest.warns(ImagedataWarning, match="patient"):
        headers(image if own else image.drop_vars("instance"), tmp_path / "out")
    assert ANNA.id.encode() not in raw(tmp_path / "out")
    assert ANNA.study.encode() not in raw(tmp_path / "out")


def test_another_patient_assigned_on_purpose_is_written_and_nothing_of_the_first(tmp_path: Path) -> None:
    make(tmp_path / "a", series(ANNA, 1))
    image = opened(tmp_path / "a").imd.assign_dicom(PatientID="P-9", PatientName="Nine", PatientBirthDate="")
    (ds, *_) = headers(image, tmp_path / "out")
    assert (ds.PatientID, ds.PatientName, ds.StudyInstanceUID) == ("P-9", "Nine", ANNA.study)
    data = raw(tmp_path / "out")
    assert ANNA.id.encode() not in data
    assert ANNA.birth.encode() not in data


def test_nested_elements_of_a_lost_patient_go_too(tmp_path: Path) -> None:
    inner = pydicom.Dataset()
    inner.PatientID, inner.AccessionNumber, inner.CodeMeaning = "P-1", "A-7", "kept"
    make(tmp_path / "a", phantoms.mr(elements={"ProcedureCodeSequence": [], "AnatomicRegionSequence": [inner]}))
    image = opened(tmp_path / "a").drop_vars("patient")
    with pytest.warns(ImagedataWarning, match="patient"):
        (ds, *_) = headers(image, tmp_path / "out")
    (item,) = ds.AnatomicRegionSequence
    assert item.CodeMeaning == "kept"
    assert "PatientID" not in item
    assert "AccessionNumber" not in item


def test_warnings_name_nobody(tmp_path: Path) -> None:
    make(tmp_path / "a", series(ANNA, 1))
    image: Any = opened(tmp_path / "a").drop_vars("patient")
    with pytest.warns(ImagedataWarning) as caught:
        headers(image, tmp_path / "out")
    said = " ".join(str(w.message) for w in caught)
    assert not any(text in said for text in (ANNA.name, ANNA.id, ANNA.birth, ANNA.study))

"""Digests: who the patient is, which study, which image."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from linear import PATIENT, image

from imagedata_xr.model.identity import PATIENT_KEYS, digest, instance_digest, patient_digest, study_digest

OTHER = {**PATIENT, "PatientID": "T-2", "StudyInstanceUID": "1.2.10"}


@given(st.lists(st.text(max_size=20), max_size=4))
def test_a_digest_is_a_positive_number_that_float64_holds(parts: list[str]) -> None:
    value = digest(*parts)
    assert 0 < value < 2**52
    assert int(np.float64(value)) == value


def test_a_digest_never_changes_since_files_hold_it() -> None:
    assert instance_digest("1.2.3", 1) == digest("instance", "1.2.3", "1")
    assert digest("patient", "a") == 3924540690827413


@pytest.mark.parametrize("keyword", PATIENT_KEYS)
def test_every_element_that_tells_a_patient_counts(keyword: str) -> None:
    assert patient_digest({**PATIENT, keyword: "another"}) != patient_digest(PATIENT)


@pytest.mark.parametrize("same", ["Test^Person^^^", " Test^Person ", "Test^Person="])
def test_ways_to_write_one_name_are_one_patient(same: str) -> None:
    assert patient_digest({**PATIENT, "PatientName": same}) == patient_digest(PATIENT)


def test_patients_without_id_and_name_are_told_apart_by_study() -> None:
    assert patient_digest({"StudyInstanceUID": "1.1"}) != patient_digest({"StudyInstanceUID": "1.2"})
    assert patient_digest({}) == patient_digest({"PatientID": "", "PatientName": None})


def test_a_text_that_moves_to_the_next_element_is_another_patient() -> None:
    one = {"PatientID": "A", "IssuerOfPatientID": ""}
    assert patient_digest(one) != patient_digest({"PatientID": "", "IssuerOfPatientID": "A", "PatientName": "x"})
    assert study_digest({"StudyInstanceUID": "1.2"}) == study_digest({"StudyInstanceUID": " 1.2 "})


def test_frames_of_one_instance_differ() -> None:
    assert instance_digest("1.2", 1) != instance_digest("1.2", 2)
    assert instance_digest("1.2\x00") == instance_digest("1.2")


def test_identity_is_kept_within_a_patient_and_dropped_between_two() -> None:
    a, same, other = image(), image(), image(attrs=OTHER)
    assert {"patient", "study"} <= set(((a + same) / 2).coords)
    for mixed in (a + other, a.where(a > 0, other), a.fillna(other), xr.apply_ufunc(np.add, a, other)):
        assert not {"patient", "study"} & set(mixed.coords)
    joined = xr.concat([a, other], "tag", coords="different", compat="equals")
    assert joined.patient.ndim == 1


def test_labels_taken_from_another_image_bring_its_digest_which_then_disagrees_with_the_attrs() -> None:
    mixed = image(attrs=OTHER).assign_coords(tag=image().tag)
    assert int(mixed.patient) != patient_digest(mixed.attrs)


def test_another_study_of_the_patient_drops_the_study_alone() -> None:
    total = image() + image(attrs={**PATIENT, "StudyInstanceUID": "1.2.10"})
    assert "patient" in total.coords
    assert "study" not in total.coords


def test_an_averaged_instance_is_no_valid_one_and_an_exact_one_is_kept() -> None:
    a = image()
    valid = a.instance.values
    assert not np.isin(a.coarsen(tag=2).mean().instance.values, valid).any()
    assert not np.isin(a.interp(slice=[-7.0, -3.5]).instance.values, valid).any()
    assert np.isin(a.isel(tag=[1, 3], slice=slice(None, None, -1)).instance.values, valid).all()


def test_no_identifier_stands_in_an_error() -> None:
    with pytest.raises(xr.AlignmentError) as caught:
        image() + image((4, 3, 5, 8), attrs=OTHER)
    assert not any(v in str(caught.value) for v in (*PATIENT.values(), *OTHER.values()))

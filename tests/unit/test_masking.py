"""Names and IDs in texts that people typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedata_xr.model.masking import mask

WHO = {"PatientName": "Ødegård^Åse Li", "PatientID": "ZX81-4477", "PatientBirthDate": "19111213"}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("t1 ØDEGÅRD knee", "t1 *** knee"),
        ("odegard_ase", "***_***"),
        ("oedegaard", "***"),
        ("t1ødegårdknee", "t1***knee"),
        ("zx81 4477 post", "*** post"),
        ("zx814477", "***"),
        ("born 19111213", "born ***"),
        ("Li2 scan", "***2 scan"),
    ],
)
def test_what_names_the_patient_is_masked(text: str, masked: str) -> None:
    assert mask(text, WHO) == masked


@pytest.mark.parametrize("text", ["sleep slice", "t1_fl2d 4477", "phase", "191112130", "AZX81-4477", ""])
def test_other_words_stay(text: str) -> None:
    assert mask(text, WHO) == text


def test_a_short_id_is_masked_as_a_word_alone() -> None:
    assert mask("t1 1 b1000", {"PatientID": "1"}) == "t1 *** b1000"


def test_several_values_are_all_masked() -> None:
    assert mask("qq7 and rr8", {"OtherPatientIDs": "QQ7\\RR8"}) == "*** and ***"
    assert mask("qq7 and rr8", {"OtherPatientIDs": ["QQ7", "RR8"]}) == "*** and ***"


def test_ideographs_of_a_name_are_masked_within_words() -> None:
    assert mask("膝山田太郎", {"PatientName": "Yamada^Tarou=山田^太郎"}) == "膝******"


def test_empty_elements_mask_nothing() -> None:
    assert mask("t1 knee", {"PatientName": "", "PatientID": None, "OtherPatientIDs": []}) == "t1 knee"


@given(st.text(alphabet="abcdefgh", min_size=4, max_size=12), st.text(max_size=20), st.text(max_size=20))
def test_no_long_name_is_left(name: str, before: str, after: str) -> None:
    assert name not in mask(f"{before}{name.upper()}{after}", {"PatientName": name}).lower()

"""Each option does to each element what its column of PS3.15 Table E.1-1 says, and nothing to any other."""

from __future__ import annotations

from typing import Any

import pydicom
import pytest
from confidentiality_options import COLUMNS
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from imagedata_xr.dicom.deidentifying.cleaning import Cleaner
from imagedata_xr.dicom.deidentifying.policy import OPTIONS, policy_of
from imagedata_xr.dicom.deidentifying.table import ACTIONS

MOMENTS = {"DA": "20200102", "TM": "101500", "DT": "20200102101500"}
VALUES: dict[str, Any] = {
    **MOMENTS, "UI": "1.2.826.0.1.3680043.8.498.5.7", "AS": "045Y", "IS": "3", "DS": "1.5", "FD": 1.5, "FL": 1.5,
    "US": 3, "SS": 3, "UL": 3, "SL": 3, "OB": b"ab", "OW": b"ab", "UN": b"ab", "PN": "Qvistgaard^Ann",
}  # fmt: skip
UNKNOWN = dict.fromkeys(("0040A034", "0040A035", "0040B034", "0040B036"), "DT")
"""Elements of the table whose type is needed and that pydicom does not know yet."""
TAGS = sorted({f"{pydicom.datadict.tag_for_keyword(w) or int(w, 16):08X}" for w in ACTIONS})


def vr_of(tag: str) -> str:
    """Value representation of an element."""
    try:
        return pydicom.datadict.dictionary_VR(int(tag, 16)).split(" or ")[0]
    except KeyError:
        return UNKNOWN.get(tag, "LO")


def word(tag: str) -> str:
    """Text of letters, another one for each element: none is an identifier that another element repeats."""
    return "".join(chr(ord("G") + int(c, 16)) for c in tag)


def holding(tags: list[str]) -> Dataset:
    """Header with all these elements."""
    ds = Dataset()
    for text in tags:
        tag, vr, item = Tag(int(text, 16)), vr_of(text), Dataset()
        item.CodeValue, item.CodeMeaning = "T-1", "knee"
        ds[tag] = DataElement(tag, vr, [item] if vr == "SQ" else VALUES.get(vr, word(text)))
    ds.PatientName, ds.PatientID, ds.SOPClassUID = "Qvistgaard^Ann", "ZX81", UID("1.2.840.10008.5.1.4.1.1.4")
    return ds


def values(ds: Dataset) -> dict[str, Any]:
    """Values of the elements that there are, by tag."""
    return {f"{int(e.tag):08X}": e.to_json() if e.VR == "SQ" else e.value for e in ds if e.value is not None}


ALWAYS = {"00100010", "00100020", "00100030"}
"""Who the patient is: always another."""


@pytest.mark.parametrize("option", COLUMNS)
def test_an_option_does_what_its_column_says(option: str) -> None:
    column = {tag: action for action, tags in COLUMNS[option].items() for tag in tags.split()}
    assert set(column) <= {*TAGS}
    before = values(holding(TAGS))
    basic, after = (
        values(Cleaner(policy_of(options=options, seed="k")).header(holding(TAGS))) for options in ((), (option,))
    )
    wrong = {}
    for tag in {*TAGS} - ALWAYS:
        vr, was, found = vr_of(tag), before[tag], after.get(tag)
        if vr in ("OB", "UN"):  # bytes, which nobody here can clean or shift, go whatever is asked for
            good = found is None
        elif tag not in column:
            good = found == basic.get(tag)
        elif column[tag] == "C" and vr in ("DA", "DT"):
            good = found is not None and found[:8] != was[:8] and found[8:] == was[8:]
        else:
            good = found == was
        if not good:
            wrong[tag] = (vr, column.get(tag), basic.get(tag), found)
    assert not wrong


def test_every_option_has_its_column() -> None:
    assert set(COLUMNS) == set(OPTIONS) - {"retain_safe_private"}


def test_free_text_that_is_cleaned_names_nobody() -> None:
    for option in ("clean_descriptors", "retain_patient", "retain_device"):
        for tag in COLUMNS[option].get("C", "").split():
            vr = vr_of(tag)
            if vr in ("LO", "SH", "ST", "LT", "UT", "UC"):
                ds = holding([tag])
                ds[Tag(int(tag, 16))].value = "of Qvistgaard"
                out = Cleaner(policy_of(options=[option], seed="k")).header(ds)
                assert out[Tag(int(tag, 16))].value == "of ***", tag

"""CSA headers: both encodings, nibabel as the judge, and damage."""

from __future__ import annotations

import struct
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaics import csa1, csa2

from imagedata_xr.dicom.framing.csa import parse_csa
from imagedata_xr.errors import SourceError

VALUES = {
    "EchoLinePosition": ["32"],
    "NumberOfImagesInMosaic": ["35"],
    "SliceNormalVector": ["0.00000000", "-0.10799944", "0.99415095"],
    "DiffusionDirectionality": [],
    "ImaCoilString": ["HEA;HEP"],
}


def judge(data: bytes) -> dict[str, list[Any]]:
    """What nibabel reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader
    return {name: tag["items"] for name, tag in csareader.read(data)["tags"].items()}  # type: ignore[no-untyped-call]


def test_csa2() -> None:
    assert parse_csa(csa2(VALUES)) == VALUES


def test_csa2_as_nibabel_reads_it() -> None:
    numbers = {name: items for name, items in VALUES.items() if name != "ImaCoilString"}
    ours = parse_csa(csa2(numbers))
    assert {name: [float(v) for v in items] for name, items in ours.items()} == judge(csa2(numbers))


def test_csa1() -> None:
    assert parse_csa(csa1(VALUES)) == VALUES


def test_csa1_ends_a_list_of_items_at_an_impossible_length() -> None:
    data = csa1({"A": ["1"], "B": ["2"]})
    at = data.index(b"B\0") + 84
    broken = data[:at] + struct.pack("<4i", 2, 77, 77, 77)  # shorter than the number counted from
    assert parse_csa(broken) == {"A": ["1"], "B": []}


def test_a_multiplicity_of_zero_means_all_items() -> None:
    assert parse_csa(csa2({"A": ["1", "2", "3"]}, multiplicity=0)) == {"A": ["1", "2", "3"]}


def test_no_more_values_than_the_multiplicity() -> None:
    assert parse_csa(csa2({"A": ["1", "2", "3"]}, multiplicity=2)) == {"A": ["1", "2"]}


def test_padding_is_no_header() -> None:
    assert parse_csa(b"") == {}
    assert parse_csa(b"\0" * 8) == {}


@pytest.mark.parametrize("cut", [9, 20, 90, 110, 250])
def test_a_truncated_header_is_an_error(cut: int) -> None:
    with pytest.raises(SourceError, match=r"truncated|damaged"):
        parse_csa(csa2(VALUES)[:cut])


def test_too_many_tags_are_an_error() -> None:
    with pytest.raises(SourceError, match="announces 1000000 tags"):
        parse_csa(b"SV10\4\3\2\1" + struct.pack("<II", 1000000, 77) + bytes(1000))


def test_a_negative_length_is_an_error() -> None:
    data = csa2({"A": ["1"]})
    at = 16 + 84
    with pytest.raises(SourceError, match="an item of -4 bytes"):
        parse_csa(data[:at] + struct.pack("<4i", -4, -4, 77, -4) + data[at + 16 :])


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for one in (data, b"SV10" + data):
        try:
            assert all(isinstance(v, list) for v in parse_csa(one).values())
        except SourceError as error:
            assert "CSA header" in str(error)  # noqa: PT017


@settings(max_examples=300)
@given(st.data())
def test_a_flipped_byte_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(csa2(VALUES) if data.draw(st.booleans()) else csa1(VALUES))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        parse_csa(bytes(raw))
    except SourceError as error:
        assert "CSA header" in str(error)  # noqa: PT017


@given(
    st.dictionaries(
        st.text("ABCabc_", min_size=1, max_size=20),
        st.lists(st.text("0123456789.-eE", min_size=1, max_size=20), max_size=6),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_read(values: dict[str, list[str]]) -> None:
    assert parse_csa(csa2(values)) == values
    assert parse_csa(csa1(values)) == values

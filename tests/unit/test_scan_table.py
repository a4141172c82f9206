"""The header scan as a table: values, numbers and texts of each file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_reference import disagreement, read
from made_dicom import UNDEFINED, element, encoded, instance, item, sequence_end, with_meta, write
from pydicom import uid
from pydicom.dataset import Dataset
from scanned import SHIPPED, assert_as_pydicom

from imagedata_xr.dicom.scanning.scan import LongValue, Scan, scan
from imagedata_xr.errors import LabelError, SourceError
from imagedata_xr.stores.url import find

# pydicom comments on each spoilt value that the tests make it read
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture
def series(tmp_path: Path) -> Scan:
    """Four images; the third lacks the echo time."""
    datasets = [instance(k) for k in range(4)]
    del datasets[2].EchoTime
    datasets[3].EchoTime = "9"
    return scan(find(write(tmp_path, *[encoded(ds) for ds in datasets])), errors="raise")


def test_equal_values_share_memory(series: Scan) -> None:
    cells = series.column("PatientName")
    assert all(cell is cells[0] for cell in cells)


def test_varies(series: Scan) -> None:
    assert series.varies("InstanceNumber")
    assert series.varies("EchoTime")
    assert not series.varies("PatientName")
    assert not series.varies("StudyComments")


def test_keywords(series: Scan) -> None:
    words = series.keywords()
    assert "EchoTime" in words
    assert words.index("Modality") < words.index("Rows")
    assert "PixelData" not in words


def test_numbers_are_nan_where_missing(series: Scan) -> None:
    np.testing.assert_array_equal(series.numbers("EchoTime"), [4.5, 4.5, np.nan, 9.0])
    np.testing.assert_array_equal(series.numbers("EchoTime", 2)[:, 1], [np.nan] * 4)
    assert np.isnan(series.numbers("FlipAngle")).all()
    assert np.isnan(series.numbers("Modality")).all()


def test_unknown_keyword_and_text_of_a_sequence_are_refused(series: Scan) -> None:
    with pytest.raises(LabelError, match="'NoSuchThing'"):
        series.numbers("NoSuchThing")
    with pytest.raises(LabelError, match="SQ"):
        series.strings("ReferencedImageSequence")


@pytest.mark.parametrize(
    ("index", "expected"),
    [([2, 0], [2, 0]), (slice(1, 3), [1, 2]), (np.array([True, False, False, True]), [0, 3]), ([], []), (2, [2])],
)
def test_take(series: Scan, index: Any, expected: list[int]) -> None:
    part = series.take(index)
    assert len(part) == len(expected)
    assert part.numbers("InstanceNumber").tolist() == expected
    assert part.files == [series.files[k] for k in expected]
    assert part.pixel_offset.tolist() == [series.pixel_offset[k] for k in expected]
    if expected == [2]:
        assert 0x00180081 not in part.columns


def test_dataset_decodes_without_reading_the_file(series: Scan) -> None:
    for file in series.files:
        os.remove(file.path)
    ds = series.dataset(3)
    assert ds.PatientName == "Åse^Ødegård"
    assert ds.EchoTime == 9
    assert ds.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
    assert ds.ReferencedImageSequence[0].PatientComments == "Ægir"
    assert "PixelData" not in ds


def test_strings_use_the_character_set_of_each_file(tmp_path: Path) -> None:
    contents = []
    for charset, name in (
        ("ISO_IR 100", "Åse^Ø"),
        ("ISO_IR 144", "Люк"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ):
        ds = instance()
        ds.SpecificCharacterSet = charset
        ds.PatientName = name
        ds.ReferencedImageSequence = []
        contents.append(encoded(ds))
    got = scan(find(write(tmp_path, *contents)), errors="raise")
    assert got.strings("PatientName") == [("Åse^Ø",), ("Люк",), ("Yamada^Tarou=山田^太郎",)]


def test_text_is_stripped_and_split_as_its_vr_says(tmp_path: Path) -> None:
    body = element(0x00080008, b"CS", b" A\\B \\") + element(0x00080018, b"UI", b"1.2\0")
    body += element(0x00104000, b"LT", b" two\\parts  ") + element(0x00280010, b"US", b"\5\0\6\0")
    body += element(0x00280009, b"AT", b"\x18\0\x63\x10")
    (path,) = write(tmp_path, with_meta(body))
    got = assert_as_pydicom(path)
    assert got.strings("ImageType") == [("A", "B", "")]
    assert got.strings("SOPInstanceUID") == [("1.2",)]
    assert got.strings("PatientComments") == [(" two\\parts",)]
    assert got.strings("Rows") == [("5", "6")]
    assert got.strings("FrameIncrementPointer") == [("00181063",)]


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        (b"DS", b" 1.5\\-2e1 ", [1.5, -20.0]),
        (b"DS", b"1_0\\x", [np.nan, np.nan]),
        (b"DS", b"  ", [np.nan, np.nan]),
        (b"IS", b"7\0", [7.0, np.nan]),
        (b"US", b"\xff\xff\1\0", [65535.0, 1.0]),
        (b"SS", b"\xff\xff", [-1.0, np.nan]),
        (b"FD", np.array([0.1, 0.2], "<f8").tobytes(), [0.1, 0.2]),
        (b"FL", np.array([0.5], "<f4").tobytes(), [0.5, np.nan]),
        (b"US", b"\1", [np.nan, np.nan]),
        (b"UN", b"3 ", [3.0, np.nan]),
        (b"LO", b"12\\b", [12.0, np.nan]),
    ],
)
def test_numbers_of_each_vr(tmp_path: Path, vr: bytes, value: bytes, expected: list[float]) -> None:
    body = element(0x00080060, b"CS", b"MR") + element(0x00181041, vr, value)
    (path,) = write(tmp_path, with_meta(body))
    np.testing.assert_array_equal(scan(find(path)).numbers(0x00181041, 2), [expected])


def test_long_values_that_differ_are_marked_and_can_be_read(tmp_path: Path) -> None:
    def content(k: int, syntax: str = uid.ExplicitVRLittleEndian) -> bytes:
        ds = instance(k)
        ds.ReferencedStudySequence = [Dataset() for _ in range(3)]
        for n, one in enumerate(ds.ReferencedStudySequence):
            one.PatientComments = f"{n}" * 2000
        ds.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(300)]
        for n, one in enumerate(ds.PerFrameFunctionalGroupsSequence):
            one.InstanceNumber = n * (k % 2)
        return encoded(ds, syntax)

    paths = write(tmp_path, content(0), content(2), content(1), content(3, uid.DeflatedExplicitVRLittleEndian))
    got = scan(find(tmp_path), errors="raise")
    assert len({id(cell) for cell in got.column("ReferencedStudySequence")[:3]}) == 1
    cells = got.column("PerFrameFunctionalGroupsSequence")
    assert all(isinstance(cell, LongValue) for cell in cells)
    assert cells[0] == cells[1] != cells[2]
    assert got.varies("PerFrameFunctionalGroupsSequence")
    assert not got.varies("ReferencedStudySequence")
    alone = [scan(find(path)).column("PerFrameFunctionalGroupsSequence")[0] for path in paths]
    assert [got.value(k, "PerFrameFunctionalGroupsSequence") for k in range(4)] == alone
    assert "PerFrameFunctionalGroupsSequence" not in got.dataset(0)
    paths[0].write_bytes(paths[2].read_bytes())
    with pytest.raises(SourceError, match="changed since"):
        got.value(0, "PerFrameFunctionalGroupsSequence")


def test_sequence_met_before_ends_where_it_ended(tmp_path: Path) -> None:
    def content(inside: bytes, more: bytes = b"") -> bytes:
        body = element(0x00080060, b"CS", b"MR")
        body += element(0x00081140, b"SQ", item(inside, True) + more + sequence_end(), UNDEFINED)
        return with_meta(body + element(0x7FE00010, b"OW", bytes(8)))

    one = element(0x00081155, b"UI", b"1.2.3\0")
    paths = write(tmp_path, content(one), content(one), content(one, item(one)), content(one + one), content(one))
    got = scan(find(tmp_path), errors="raise")
    for k, path in enumerate(paths):
        assert disagreement(got, k, read(path)) == ""
    assert [len(got.dataset(k).ReferencedImageSequence) for k in range(5)] == [1, 1, 2, 1, 1]


def test_memory_per_file_is_small(tmp_path: Path) -> None:
    import tracemalloc

    source = pydicom.dcmread(next(path for path in SHIPPED if path.name == "MR_small.dcm"))
    contents = []
    for k in range(300):
        source.InstanceNumber, source.SOPInstanceUID = k, f"1.2.3.{k}"
        source.ImagePositionPatient = [k, 2 * k, 3 * k]
        contents.append(encoded(source))
    files = find(write(tmp_path, *contents))
    scan(files[:1])
    tracemalloc.start()
    got = scan(files, errors="raise")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(got) == 300
    assert held / 300 < 6000

"""Unchanged images are copied as bytes, and the files are those that pydicom would have written."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import phantoms
import pydicom
import pytest
from phantoms import make, opened
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from imagedata_xr.dicom.headers import whole_file
from imagedata_xr.dicom.writing import job
from imagedata_xr.dicom.writing.copied import copy_of
from imagedata_xr.dicom.writing.files_out import encode
from imagedata_xr.dicom.writing.unchanged import renamed
from imagedata_xr.stores.files import File

CHANGES: tuple[Any, ...] = ("1.2.3.4.5", "2.25.77", 4711, "Größe")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about its own test files
        yield


def parts(data: bytes) -> tuple[bytes, dict[int, Any]]:
    """File meta information, and the values of all elements."""
    ds = pydicom.dcmread(io.BytesIO(data), force=True)
    return data[: 144 + ds.file_meta.FileMetaInformationGroupLength], {e.tag: e for e in ds}


def by_pydicom(content: bytes, keep_meta: bool, changes: tuple[Any, ...] | None) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(content), force=True)
    return encode(ds if changes is None else renamed(ds, *changes), keep_meta)


def copied(content: bytes, keep_meta: bool, changes: tuple[Any, ...] | None) -> bytes | None:
    copy = copy_of(content)
    if copy is None:
        return None
    if changes is not None:
        renamed(copy.header, *changes)
        assert changes[0] == copy.SOPInstanceUID
    return copy.encoded(keep_meta)


@pytest.mark.parametrize("changes", [None, CHANGES, (*CHANGES[:2], None, None)], ids=["none", "all", "uids"])
def test_files_are_those_that_pydicom_writes(changes: tuple[Any, ...] | None) -> None:
    plain = 0
    for path in get_testdata_files("*.dcm"):
        content = Path(path).read_bytes() if Path(path).stat().st_size < 200_000 else b""
        got = copied(content, False, changes)
        if got is None:
            continue
        plain += 1
        meta, elements = parts(got)
        expected_meta, expected = parts(by_pydicom(content, False, changes))
        assert meta == expected_meta, path
        assert elements == expected, path
    assert plain > 25  # the others have no file meta, group lengths, odd lengths, are big endian or cut


def phantom(tmp_path: Path, syntax: Any, undefined: bool) -> bytes:
    """A file with sequences in sequences, private elements, and a text in its character set."""
    ds = pydicom.dcmread(make(tmp_path / "in", phantoms.mr(shape=(1, 1, 6, 8)))[0])
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SeriesDescription = "Schädel"
    inner, outer = Dataset(), Dataset()
    inner.CodeValue = "1"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner, inner])
    outer.ReferencedSOPInstanceUID = generate_uid()
    ds.ReferencedImageSequence = Sequence([outer, outer])
    for sequence in (ds["ReferencedImageSequence"], outer["PurposeOfReferenceCodeSequence"]):
        sequence.is_undefined_length = undefined
        for item in sequence.value:
            item.is_undefined_length_sequence_item = undefined
    ds.private_block(0x0011, "MADE", create=True).add_new(1, "LO", "private")
    ds.file_meta.TransferSyntaxUID = syntax
    return encode(ds)


@pytest.mark.parametrize("keep_meta", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("changes", [None, CHANGES, (*CHANGES[:2], None, None)], ids=["none", "all", "uids"])
def test_bytes_are_those_that_pydicom_writes(
    tmp_path: Path, syntax: Any, undefined: bool, keep_meta: bool, changes: tuple[Any, ...] | None
) -> None:
    content = phantom(tmp_path, syntax, undefined)
    assert copied(content, keep_meta, changes) == by_pydicom(content, keep_meta, changes)
    if changes is None:
        assert copied(content, True, None) == content


def test_elements_that_were_not_there_come_to_their_place(tmp_path: Path) -> None:
    ds = pydicom.dcmread(io.BytesIO(phantom(tmp_path, ExplicitVRLittleEndian, False)))
    for keyword in ("SeriesNumber", "SeriesDescription", "InstanceNumber"):
        if keyword in ds:
            delattr(ds, keyword)
    content = encode(ds)
    assert copied(content, False, CHANGES) == by_pydicom(content, False, CHANGES)


def _with_group_length(content: bytes) -> bytes:
    at = content.index(b"\x08\x00\x05\x00")
    return content[:at] + b"\x08\x00\x00\x00UL\x04\x00" + bytes(4) + content[at:]


def _without_preamble(content: bytes) -> bytes:
    return content[132:]


def _cut(content: bytes) -> bytes:
    return content[:-2]


def _followed(content: bytes) -> bytes:
    return content + b"\0\0"


def _twice(content: bytes) -> bytes:
    at = content.index(b"\x08\x00\x05\x00")
    end = at + 8 + content[at + 6]
    return content[:end] + content[at:]


def _unknown_vr(content: bytes) -> bytes:
    return content.replace(b"\x11\x00\x10\x00LO", b"\x11\x00\x10\x00XX")


def _odd_length(content: bytes) -> bytes:
    at = content.index(b"private")
    return content[: at - 2] + b"\x07\x00private" + content[at + 8 :]


@pytest.mark.parametrize(
    "damage", [_with_group_length, _without_preamble, _cut, _followed, _twice, _unknown_vr, _odd_length]
)
def test_what_is_not_plain_is_left_to_pydicom(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    content = phantom(tmp_path, ExplicitVRLittleEndian, True)
    assert copy_of(content) is not None
    damaged = damage(content)
    assert damaged != content
    assert copy_of(damaged) is None


@pytest.mark.parametrize("depth", [1, 5000])
def test_sequences_may_lie_as_deep_in_each_other_as_they_like(tmp_path: Path, depth: int) -> None:
    undefined = b"\xff" * 4
    begin, end = b"\x40\0\x75\x02SQ\0\0" + undefined + b"\xfe\xff\0\xe0" + undefined, b"\xfe\xff\x0d\xe0" + bytes(4)
    nested = (begin * depth + (end + b"\xfe\xff\xdd\xe0" + bytes(4)) * depth).replace(
        b"\x40\0\x75\x02", b"\xf1\x7f\x10\x10", 1
    )
    content = phantom(tmp_path, ExplicitVRLittleEndian, undefined=True) + nested
    copy = copy_of(content)
    assert copy is not None
    assert copy.encoded(keep_meta=True).endswith(nested)
    assert copy_of(content[:-8]) is None


def test_a_file_that_ends_within_an_element_is_no_copy(tmp_path: Path) -> None:
    content = phantom(tmp_path, ExplicitVRLittleEndian, True)
    copies = 0
    for cut in range(132, 1400):
        got = copied(content[:cut], False, None)
        if got is not None:  # between two elements
            copies += 1
            assert got == by_pydicom(content[:cut], False, None)
    assert 5 < copies < 100


def test_writing_reads_each_file_with_its_pixels_once_and_decodes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    image = opened(tmp_path / "in")
    read: list[bool] = []
    before = whole_file._opened

    def counted(file: File, pixels: bool) -> Any:
        read.append(pixels)
        return before(file, pixels)

    monkeypatch.setattr(whole_file, "_opened", counted)
    encoded: list[int] = []
    monkeypatch.setattr(job, "encode", lambda *args, **kwargs: encoded.append(1))
    written = image.imd.write(tmp_path / "out")
    assert written.count == len(source)
    assert not encoded
    assert read.count(False) <= len(source) + 3
    assert read.count(True) <= len(source) + 2

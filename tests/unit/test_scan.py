"""The header scan agrees with pydicom, on real files and on made ones of every layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_reference import disagreement, read
from made_dicom import UNDEFINED, element, encoded, instance, item, sequence_end, undefined_lengths, with_meta, write
from pydicom import uid
from scanned import SHIPPED, SYNTAXES, assert_as_pydicom, scan_quietly

from imagedata_xr.dicom.scanning.scan import scan
from imagedata_xr.stores.url import find

# pydicom comments on each spoilt value that the tests make it read
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


KNOWN_DAMAGE = {"MR_truncated.dcm", "rtplan_truncated.dcm", "no_meta.dcm"}


# --- files that ship with pydicom, real cases ------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_files_agree_with_pydicom(path: Path) -> None:
    got = scan_quietly(path)
    if path.name in KNOWN_DAMAGE:
        assert [name for name, _ in got.damaged] == [str(path)]
    elif len(got):
        assert disagreement(got, 0, read(path)) == ""
    else:
        assert not got.damaged
        assert path.read_bytes()[128:132] != b"DICM"


def test_many_files_at_once_give_what_each_gives_alone() -> None:
    together = scan_quietly(*SHIPPED)
    assert len(together) > 50
    for k, file in enumerate(together.files):
        assert disagreement(together, k, read(Path(file.path))) == "", file.path


@pytest.mark.slow
def test_real_cases_agree_with_pydicom(shared_cases: Path, case: Callable[[str], Path]) -> None:
    seen = 0
    for packed in sorted(shared_cases.glob("*.tar.xz")):
        got = scan(find(case(packed.name.removesuffix(".tar.xz"))), errors="raise")
        for k, file in enumerate(got.files):
            assert disagreement(got, k, read(Path(file.path))) == "", file.path
        seen += len(got)
    assert seen > 1000


# --- made files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
def test_transfer_syntaxes_and_nested_sequences(tmp_path: Path, syntax: str, undefined: bool) -> None:
    ds = undefined_lengths(instance()) if undefined else instance()
    (path,) = write(tmp_path, encoded(ds, syntax))
    got = assert_as_pydicom(path)
    assert got.syntax == [syntax]
    assert got.pixel_tag[0] == 0x7FE00010
    assert (got.pixel_length[0] == -1) == (syntax in (uid.RLELossless, uid.JPEG2000Lossless))
    assert (got.pixel_offset[0] == -1) == (syntax == uid.DeflatedExplicitVRLittleEndian)
    assert got.strings("PatientName") == [("Åse^Ødegård",)]
    assert got.numbers("ImagePositionPatient", 3).tolist() == [[1.5, -2.25, 3.0]]
    assert got.numbers("SmallestImagePixelValue").tolist() == [-3.0]
    assert got.numbers(("SIEMENS MR HEADER", 0x19, 0x0C)).tolist() == [1000.0]
    assert ("SIEMENS MR HEADER", 0x19, 0x01) not in got.columns
    deep = got.dataset(0).ReferencedImageSequence[0].ReferencedSeriesSequence[0].ReferencedSeriesSequence[0]
    assert deep.PatientComments == "Ægir"


def test_pixel_bytes_stand_where_the_scan_says(tmp_path: Path) -> None:
    for name, syntax in SYNTAXES.items():
        if name in ("explicit", "implicit"):
            ds = instance()
            (path,) = write(tmp_path, encoded(ds, syntax))
            got = assert_as_pydicom(path)
            start = int(got.pixel_offset[0])
            assert path.read_bytes()[start : start + int(got.pixel_length[0])] == ds.PixelData


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_files_without_preamble_and_meta_information(tmp_path: Path, syntax: str) -> None:
    (path,) = write(tmp_path, encoded(instance(), syntax, preamble=False))
    assert path.read_bytes()[:2] in (b"\x08\0", b"\0\x08")
    assert assert_as_pydicom(path).syntax == [syntax]


def test_a_sequence_of_undefined_length_shows_its_encoding(tmp_path: Path) -> None:
    inner = element(0x00080100, b"", b"A1")
    body = element(0x00081032, b"", item(inner, undefined=True), UNDEFINED) + sequence_end()
    body += element(0x00280010, b"", b"\2\0") + element(0x7FE00010, b"", bytes(8))
    (path,) = write(tmp_path, with_meta(body, ""))
    assert assert_as_pydicom(path).syntax == [uid.ImplicitVRLittleEndian]


def test_acr_nema_begins_with_group_lengths(tmp_path: Path) -> None:
    body = element(0x00080000, b"", b"\x20\0\0\0") + element(0x00080010, b"", b"ACR-NEMA 2.0")
    body += element(0x00280010, b"", b"\2\0") + element(0x7FE00010, b"", bytes(8))
    (path,) = write(tmp_path, body)
    assert assert_as_pydicom(path).strings(0x00080010) == [("ACR-NEMA 2.0",)]


@pytest.mark.parametrize("group", [0, 3, 5])
def test_what_was_sent_before_the_data_set_is_passed_over(tmp_path: Path, group: int) -> None:
    """Some files without a preamble begin with the command, or with private elements of the sender."""
    before = element(group << 16, b"", b"\x0c\0\0\0") + element(group << 16 | 0x10, b"", b"whatever")
    body = element(0x00080000, b"", b"\x20\0\0\0") + element(0x00080010, b"", b"ACR-NEMA 2.0")
    body += element(0x00280010, b"", b"\2\0") + element(0x7FE00010, b"", bytes(8))
    (path,) = write(tmp_path, before + body)
    got = scan(find(path), errors="raise")
    assert got.syntax == [uid.ImplicitVRLittleEndian]
    assert got.strings(0x00080010) == [("ACR-NEMA 2.0",)]
    start = int(got.pixel_offset[0])
    assert (start, int(got.pixel_length[0])) == (len(before + body) - 8, 8)


@pytest.mark.parametrize("vr", [b"LO", b"UN"])
def test_elements_before_the_data_set_may_have_their_vr(vr: bytes, tmp_path: Path) -> None:
    before = element(0x00050010, b"LO", b"SENDER") + element(0x00051001, vr, b"whatever")
    (path,) = write(tmp_path, before + encoded(instance(), uid.ExplicitVRLittleEndian, preamble=False))
    got = scan(find(path), errors="raise")
    assert got.syntax == [uid.ExplicitVRLittleEndian]
    assert got.strings("Modality") == [(instance().Modality,)]


@pytest.mark.parametrize("tag", [0x7FE00008, 0x7FE00009])
def test_float_pixel_data_counts_as_pixel_data(tmp_path: Path, tag: int) -> None:
    body = element(0x00080060, b"CS", b"MR") + element(tag, b"OF" if tag & 1 == 0 else b"OB", bytes(16))
    (path,) = write(tmp_path, with_meta(body))
    assert assert_as_pydicom(path).pixel_tag[0] == tag


def test_objects_without_pixel_data_are_kept(tmp_path: Path) -> None:
    ds = instance()
    del ds.PixelData
    (path,) = write(tmp_path, encoded(ds))
    got = assert_as_pydicom(path)
    assert (got.pixel_tag[0], got.pixel_offset[0], got.pixel_length[0]) == (0, -1, 0)
    assert got.strings("MediaStorageSOPClassUID") == [(uid.MRImageStorage,)]


@pytest.mark.parametrize("block", [0x10, 0x11, 0xFE])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_private_elements_are_found_in_any_block(tmp_path: Path, block: int, syntax: str) -> None:
    vr = (lambda name: b"") if uid.UID(syntax).is_implicit_VR else (lambda name: name)
    body = element(0x00080060, vr(b"CS"), b"MR")
    body += element(0x00190000 | 0xFF, vr(b"LO"), b"OTHER ") + element(
        0x00190000 | block, vr(b"LO"), b"SIEMENS MR HEADER "
    )
    private = [(0x00190000 | block << 8 | 0x0C, b"IS", b"750 "), (0x0019FF0C, b"IS", b"1 ")]
    body += b"".join(element(tag, vr(name), value) for tag, name, value in sorted(private))
    (path,) = write(tmp_path, with_meta(body, syntax))
    got = assert_as_pydicom(path)
    assert got.numbers(("SIEMENS MR HEADER", 0x19, 0x0C)).tolist() == [750.0]
    assert got.columns[("SIEMENS MR HEADER", 0x19, 0x0C)] == [("IS", b"750 ")]
    assert got.dataset(0).private_block(0x19, "SIEMENS MR HEADER")[0x0C].value == 750


def test_the_csa_header_is_kept_for_mosaics_only(tmp_path: Path) -> None:
    contents = []
    for image_type in (b"ORIGINAL\\PRIMARY\\M\\MOSAIC ", b"ORIGINAL\\PRIMARY\\M "):
        body = element(0x00080008, b"CS", image_type) + element(0x00290010, b"LO", b"SIEMENS CSA HEADER")
        contents.append(with_meta(body + element(0x00291010, b"OB", b"SV10" * 3000)))
    got = scan(find(write(tmp_path, *contents)), errors="raise")
    assert got.column(("SIEMENS CSA HEADER", 0x29, 0x10)) == [("OB", b"SV10" * 3000), None]


def test_unknown_vr_of_undefined_length_is_a_sequence(tmp_path: Path) -> None:
    inside = element(0x00081155, b"", b"1.2.3\0")
    body = element(0x00080060, b"CS", b"MR")
    body += element(0x00081140, b"UN", item(inside, undefined=True) + sequence_end(), UNDEFINED)
    body += element(0x00091001, b"UN", item(inside) + sequence_end(), UNDEFINED)
    body += element(0x00200013, b"IS", b"7 ") + element(0x7FE00010, b"OW", bytes(8))
    (path,) = write(tmp_path, with_meta(body))
    got = assert_as_pydicom(path)
    assert got.dataset(0).ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert got.numbers("InstanceNumber").tolist() == [7.0]


def test_nested_fragments_of_an_icon_are_stepped_over(tmp_path: Path) -> None:
    icon = element(0x00280010, b"US", b"\1\0")
    icon += element(0x7FE00010, b"OB", item(b"") + item(b"\xfe\xff\xdd\xe0\0\0\0\0") + sequence_end(), UNDEFINED)
    body = element(0x00080060, b"CS", b"MR") + element(0x00880200, b"SQ", item(icon, True) + sequence_end(), UNDEFINED)
    body += element(0x7FE00010, b"OW", bytes(8))
    (path,) = write(tmp_path, with_meta(body))
    assert_as_pydicom(path)


def test_odd_lengths_and_empty_values(tmp_path: Path) -> None:
    body = element(0x00080060, b"CS", b"MRI") + element(0x00100010, b"PN", b"") + element(0x00280010, b"US", b"")
    body += element(0x00081140, b"SQ", b"") + element(0x7FE00010, b"OW", bytes(7))
    (path,) = write(tmp_path, with_meta(body))
    got = assert_as_pydicom(path)
    assert got.strings("Modality") == [("MRI",)]
    assert got.strings("PatientName") == [()]
    assert got.strings("PatientID") == [None]
    assert np.isnan(got.numbers("Rows")).all()


def test_falling_group_numbers_are_left_to_pydicom(tmp_path: Path) -> None:
    body = element(0x00200013, b"IS", b"7 ") + element(0x00080060, b"CS", b"MR") + element(0x7FE00010, b"OW", bytes(8))
    (path,) = write(tmp_path, with_meta(body))
    assert assert_as_pydicom(path).strings("Modality") == [("MR",)]


@pytest.mark.parametrize(("said", "is_"), [("implicit", "explicit"), ("explicit", "implicit")])
def test_a_wrong_transfer_syntax_is_left_to_pydicom(tmp_path: Path, said: str, is_: str) -> None:
    body = encoded(instance(), SYNTAXES[is_], preamble=False)
    (path,) = write(tmp_path, with_meta(body, SYNTAXES[said]))
    assert assert_as_pydicom(path).strings("Modality") == [("MR",)]


def test_zeros_that_fill_up_a_file_are_no_damage(tmp_path: Path) -> None:
    body = element(0x00080060, b"CS", b"MR")
    (path,) = write(tmp_path, with_meta(body) + bytes(5))
    assert assert_as_pydicom(path).strings("Modality") == [("MR",)]


@pytest.mark.parametrize("creator_bytes", [9_000, 70_000, 400_000])
def test_headers_longer_than_the_first_read(tmp_path: Path, creator_bytes: int) -> None:
    skipped = element(0x00091001, b"OB", bytes(creator_bytes))
    kept = element(0x00102000, b"UT", b"x" * creator_bytes)
    contents = [with_meta(skipped + kept + element(0x7FE00010, b"OW", bytes(8))) for _ in range(3)]
    for path in write(tmp_path, *contents):
        assert_as_pydicom(path)
    assert len(scan(find(tmp_path), errors="raise")) == 3

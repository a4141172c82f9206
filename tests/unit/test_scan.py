"""The header scan agrees with pydicom, or says that a file is damaged, or skips it."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
import pytest
from dicom_reference import disagreement, read
from fsspec.implementations.memory import MemoryFileSystem
from made_dicom import UNDEFINED, element, encoded, instance, item, sequence_end, undefined_lengths, with_meta, write
from pydicom import uid
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset

from imagedata_xr.dicom.scanning.scan import LongValue, Scan, scan
from imagedata_xr.errors import ImagedataWarning, LabelError, SourceError
from imagedata_xr.stores import files
from imagedata_xr.stores.url import File, find

# pydicom comments on each spoilt value that the tests make it read
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

SHIPPED = sorted(
    path
    for path in map(Path, get_testdata_files())
    if path.is_file() and path.stat().st_size < 3_000_000 and path.suffix not in (".py", ".pyc")
)
KNOWN_DAMAGE = {"MR_truncated.dcm", "rtplan_truncated.dcm", "no_meta.dcm"}


def scan_quietly(*paths: Path) -> Scan:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scan(find(list(paths)))


def assert_as_pydicom(path: Path) -> Scan:
    got = scan(find(path), errors="raise")
    assert len(got) == 1, "skipped as if it were not DICOM"
    assert disagreement(got, 0, read(path)) == ""
    return got


# --- files that ship with pydicom, real cases ------------------------------------------------------------------


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


# --- made files ---------------------------------------------------------------------------------------------------

SYNTAXES = {
    "explicit": uid.ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "big": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg2000": uid.JPEG2000Lossless,
}


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


# --- what is not DICOM, and what is damaged ----------------------------------------------------------------------


def test_strangers_are_skipped_silently(tmp_path: Path) -> None:
    for name, content in {
        "a.txt": b"hello",
        "b.png": b"\x89PNG\r\n" + bytes(500),
        "c.nii": b"\x5c\1\0\0" + bytes(400),
        "d": b"",
        "e": b"\x08\0" + bytes(600),
        "f.json": b"{}" * 500,
        "g": b"\x02\0\1\0" + bytes(range(256)),
    }.items():
        (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = scan(find(tmp_path))
    assert (len(got), got.damaged, got.columns) == (0, [], {})
    assert got.numbers("Rows").shape == (0,)
    assert got.take([]).files == []


DAMAGE: dict[str, tuple[bytes, str]] = {
    "cut pixel data": (encoded(instance())[:-3], "29 of 32 bytes of pixel data"),
    "cut header": (encoded(instance())[:700], "inside the header"),
    "cut element header": (with_meta(element(0x00080060, b"CS", b"MR") + b"\x10\0\x10\0P"), "inside the header"),
    "cut fragment": (encoded(instance(), uid.RLELossless)[:-20], "compressed pixel data has no end"),
    "no delimiter": (encoded(instance(), uid.RLELossless)[:-8], "compressed pixel data has no end"),
    "cut deflated": (encoded(instance(), uid.DeflatedExplicitVRLittleEndian)[:-60], "inflated"),
    "cut big endian": (encoded(instance(), uid.ExplicitVRBigEndian)[:600], "truncated"),
    "nothing after meta": (with_meta(b""), "holds no data set"),
    "no transfer syntax": (with_meta(b"rubbish" * 20, ""), "transfer syntax"),
    "not DICOM by that name": (b"hello", "named as DICOM"),
    "empty by that name": (b"", "named as DICOM"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files_are_named_and_left_out(tmp_path: Path, kind: str) -> None:
    content, why = DAMAGE[kind]
    good, bad = write(tmp_path, encoded(instance()), content)
    with pytest.warns(ImagedataWarning, match="1 of 2 files") as caught:
        got = scan(find(tmp_path))
    assert [file.path for file in got.files] == [str(good)]
    assert [name for name, _ in got.damaged] == [str(bad)]
    assert why in got.damaged[0][1]
    assert why in str(caught[0].message)
    with pytest.raises(SourceError, match=r"1\.dcm"):
        scan(find(tmp_path), errors="raise")


def test_one_warning_names_ten_files_and_counts_all(tmp_path: Path) -> None:
    write(tmp_path, *[b"no"] * 14)
    with pytest.warns(ImagedataWarning) as caught:
        scan(find(tmp_path))
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "14 of 14 files" in text
    assert text.count(".dcm: ") == 10
    assert "and 4 more" in text


def test_files_that_the_system_refuses_are_named(tmp_path: Path) -> None:
    (tmp_path / "lost.dcm").symlink_to(tmp_path / "nothing")
    with pytest.warns(ImagedataWarning, match="No such file"):
        assert len(scan(find(tmp_path))) == 0


def test_reasons_do_not_quote_values(tmp_path: Path) -> None:
    body = element(0x00100010, b"P?", b"Secret^Name ") + element(0x00100020, b"LO", b"hidden", 4000)
    (path,) = write(tmp_path, with_meta(body))
    got = scan_quietly(path)
    assert len(got.damaged) == 1
    assert "Secret" not in got.damaged[0][1]
    assert "hidden" not in got.damaged[0][1]


def test_unknown_option_is_refused() -> None:
    with pytest.raises(LabelError, match="'ignore'"):
        scan([], errors="ignore")  # type: ignore[arg-type]


# --- fuzz ------------------------------------------------------------------------------------------------------


def spoilt(content: bytes, rng: random.Random) -> bytes:
    """Cut a file, or change, drop or insert bytes in its header."""
    data = bytearray(content)
    end = min(len(data), 3000)
    begin = 130 if data[128:132] == b"DICM" else 0
    kind = rng.random()
    at = rng.randrange(begin, end)
    if kind < 0.25:
        del data[rng.randrange(len(data)) :]
    elif kind < 0.9:
        for _ in range(rng.choice([1, 1, 2, 5])):
            data[rng.randrange(begin, end)] = rng.choice([0, 255, 0x41, rng.randrange(256)])
    elif kind < 0.95:
        del data[at : at + rng.randrange(1, 9)]
    else:
        data[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_spoilt_files_agree_with_pydicom_or_are_named(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    sources = [encoded(instance(), syntax) for syntax in SYNTAXES.values()]
    sources += [encoded(undefined_lengths(instance()), syntax) for syntax in SYNTAXES.values()]
    sources += [encoded(instance(), syntax, preamble=False) for syntax in list(SYNTAXES.values())[:3]]
    sources += [path.read_bytes() for path in SHIPPED if path.stat().st_size < 9_000 and path.suffix == ".dcm"]
    path = tmp_path / "spoilt"
    fates = {"agree": 0, "damaged": 0, "stranger": 0}
    for _ in range(150):
        path.write_bytes(spoilt(rng.choice(sources), rng))
        got = scan_quietly(path)
        if not len(got):
            fates["damaged" if got.damaged else "stranger"] += 1
            continue
        try:
            expected = read(path)
        except ValueError as error:  # pydicom looks up spoilt character sets while reading; the scan does not
            if "null character" not in str(error):
                raise
            continue
        assert disagreement(got, 0, expected) == ""
        fates["agree"] += 1
    assert fates["agree"] > 20
    assert fates["damaged"] > 20


# --- bytes read, remote stores ------------------------------------------------------------------------------------


class CountingFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Counts what is read and in how many rounds."""

    protocol = "counting"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    ranges: ClassVar[list[tuple[str, int, int]]] = []
    rounds: ClassVar[int] = 0

    def cat_ranges(self, paths: list[str], starts: list[int], ends: list[int], *args: Any, **kwargs: Any) -> Any:
        type(self).rounds += 1
        self.ranges.extend(zip(paths, starts, ends, strict=True))
        return super().cat_ranges(paths, starts, ends, *args, **kwargs)


@pytest.fixture
def counting() -> Iterator[CountingFileSystem]:
    fs = CountingFileSystem(skip_instance_cache=True)
    fs.store.clear()
    fs.ranges.clear()
    CountingFileSystem.rounds = 0
    yield fs
    fs.store.clear()


def test_local_scan_never_reads_pixel_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = instance(rows=1024)
    write(tmp_path, *[encoded(large, s) for s in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)] * 2)
    write(tmp_path / "odd", encoded(large, uid.ExplicitVRBigEndian))
    asked = []
    plain = os.read

    def count(fd: int, n: int) -> bytes:
        asked.append(n)
        return plain(fd, n)

    monkeypatch.setattr(os, "read", count)
    monkeypatch.setattr(files, "_read_local", lambda path, offset, length: pytest.fail(f"a second read of {length}"))
    got = scan(find(tmp_path), errors="raise")
    assert len(got) == 5
    assert got.pixel_length.min() == 2 * 1024 * 1024
    assert len(asked) == 5
    assert max(asked) <= 32 * 1024


def test_remote_scan_reads_headers_in_rounds_of_many_files(counting: CountingFileSystem) -> None:
    contents = [encoded(instance(k, rows=512), uid.RLELossless if k % 7 == 0 else uid.JPEG2000) for k in range(70)]
    for k, content in enumerate(contents):
        counting.pipe_file(f"/in/{k:02}", content)
    got = scan([File(counting, f"/in/{k:02}") for k in range(70)], errors="raise")
    assert got.numbers("InstanceNumber").tolist() == list(range(70))
    assert sum(stop - start for _, start, stop in counting.ranges) <= 70 * (16 * 1024 + 8)
    assert counting.rounds <= 4


def test_remote_scan_gives_the_same_as_a_local_one(counting: CountingFileSystem, tmp_path: Path) -> None:
    long = with_meta(element(0x00091001, b"OB", bytes(90_000)) + element(0x00200013, b"IS", b"7 "))
    contents = [encoded(instance(), s) for s in SYNTAXES.values()] + [long, b"text", DAMAGE["cut header"][0]]
    paths = write(tmp_path, *contents)
    for path in paths:
        counting.pipe_file(f"/in/{path.name}", path.read_bytes())
    counting.pipe_file("/in/9.dcm", b"")
    local = scan_quietly(*paths)
    with pytest.warns(ImagedataWarning):
        remote = scan([File(counting, f"/in/{k}.dcm") for k in range(11)])
    assert remote.columns == local.columns
    assert remote.syntax == local.syntax
    assert remote.pixel_offset.tolist() == local.pixel_offset.tolist()
    known = {Path(name).name: why for name, why in local.damaged}
    found = {Path(name).name: why for name, why in remote.damaged}
    assert found == known | {"9.dcm": "it is named as DICOM, but it is not: it is empty", "10.dcm": "FileNotFoundError"}


# --- the scan as a table ------------------------------------------------------------------------------------------


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

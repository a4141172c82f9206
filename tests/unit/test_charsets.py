"""Text in every character set of DICOM: read, written unchanged in its own, written in derived images as UTF-8."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from series import image, open_image, save

from imagedata_xr.dicom.scanning.pydicom_charsets import mend_pydicom
from imagedata_xr.errors import ImagedataWarning

mend_pydicom()

# name, codec and bytes are spelt out, so that pydicom's encoder does not judge itself; ESC as in PS3.5 annexes H to K
SETS: dict[str, tuple[list[str], bytes, str]] = {
    "latin 1": (["ISO_IR 100"], "Buc^Jérôme".encode("latin-1"), "Buc^Jérôme"),
    "latin 2": (["ISO_IR 101"], "Wałęsa^Lech".encode("iso8859-2"), "Wałęsa^Lech"),
    "latin 3": (["ISO_IR 109"], "Ĉapek^Ĝ".encode("iso8859-3"), "Ĉapek^Ĝ"),
    "latin 4": (["ISO_IR 110"], "Āboliņš^Ģ".encode("iso8859-4"), "Āboliņš^Ģ"),
    "latin 5": (["ISO_IR 148"], "Çavuşoğlu^Ö".encode("iso8859-9"), "Çavuşoğlu^Ö"),
    "latin 9": (["ISO_IR 203"], "Œuvré^Šž".encode("iso8859-15"), "Œuvré^Šž"),
    "cyrillic": (["ISO_IR 144"], "Люкceмбypг".encode("iso8859-5"), "Люкceмбypг"),
    "arabic": (["ISO_IR 127"], "قباني^لنزار".encode("iso8859-6"), "قباني^لنزار"),
    "greek": (["ISO_IR 126"], "Διονυσιος".encode("iso8859-7"), "Διονυσιος"),
    "hebrew": (["ISO_IR 138"], "שרון^דבורה".encode("iso8859-8"), "שרון^דבורה"),
    "thai": (["ISO_IR 166"], "สมชาย".encode("tis-620"), "สมชาย"),
    "utf-8": (["ISO_IR 192"], "Wang^XiaoDong=王^小東=".encode(), "Wang^XiaoDong=王^小東"),
    "gb18030": (["GB18030"], "Wang^XiaoDong=王^小东=".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    "gbk": (["GBK"], "Wang^XiaoDong=王^小东=".encode("gbk"), "Wang^XiaoDong=王^小东"),
    "japanese": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "japanese with kana": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    "korean": (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "chinese": (
        ["", "ISO 2022 IR 58"],
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东",
    ),
    "several": (
        ["ISO 2022 IR 100", "ISO 2022 IR 144", "ISO 2022 IR 126"],
        b"J\xe9r\xf4me^\x1b-L\xbb\xee\xda^\x1b-F\xc4\xe9",
        "Jérôme^Люк^Δι",
    ),
}
BY_DCMTK = [name for name, (sets, _, _) in SETS.items() if "87" not in sets[-1] and name != "latin 9"]


def texts(name: str) -> tuple[bytes, str]:
    """Bytes and text of an element that is no name: a component alone."""
    _, raw, wanted = SETS[name]
    if name.startswith("japanese"):  # bytes of a kanji may be those of = and ^
        return b"\x1b$B;3ED\x1b(" + (b"J" if "kana" in name else b"B"), "山田"
    return raw.rstrip(b"=").split(b"=")[-1].split(b"^")[0], wanted.split("=")[-1].split("^")[0]


def with_text(name: str, k: int) -> Dataset:
    """An image whose name, description, sequence and private elements are in a character set."""
    sets, raw, _ = SETS[name]
    ds = image(0, k, {"SpecificCharacterSet": sets if len(sets) > 1 else sets[0], "PatientName": None})
    plain = texts(name)[0]
    add(ds, 0x00100010, "PN", raw)
    add(ds, 0x0008103E, "LO", plain)
    item, inner = Dataset(), Dataset()
    for one in (ds, item, inner):  # so that the bytes are written as they are
        one.set_original_encoding(False, True, convert_encodings(sets))
    add(item, 0x00080104, "LO", plain)
    ds.ProcedureCodeSequence = [item]
    inner.add_new(0x00290010, "LO", "SOME MAKER")
    inner.add_new(0x00291001, "LO", texts(name)[1])
    ds.add_new(0x00290010, "LO", "SOME MAKER")
    ds.add_new(0x00291001, "LO", texts(name)[1])
    ds.add_new(0x00291002, "SQ", [inner])
    return ds


def add(ds: Dataset, tag: int, vr: str, raw: bytes) -> None:
    """Add an element by its bytes."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    raw += b" " * (len(raw) % 2)
    ds[Tag(tag)] = RawDataElement(Tag(tag), vr, len(raw), raw, 0, False, True)


def in_set(folder: Path, name: str) -> Path:
    """Write a series with text in a character set."""
    for k in range(3):
        save(with_text(name, k), folder / f"{k}.dcm")
    return folder


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def bare(value: Any) -> str:
    return str(value).rstrip("=")


@pytest.mark.parametrize("name", SETS)
def test_read(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        da = open_image(in_set(tmp_path, name))
    assert da.attrs["PatientName"] == SETS[name][2]
    assert da.attrs["SeriesDescription"] == texts(name)[1]
    header = da.imd.header[0, 0]
    assert bare(header.PatientName) == SETS[name][2]
    assert header.ProcedureCodeSequence[0].CodeMeaning == texts(name)[1]


@pytest.mark.parametrize("name", SETS)
def test_an_unchanged_copy_keeps_its_bytes(tmp_path: Path, name: str) -> None:
    open_image(in_set(tmp_path / "in", name)).imd.write(tmp_path / "out")
    copy = pydicom.dcmread(first(tmp_path / "out"))
    source = pydicom.dcmread(first(tmp_path / "in"))
    assert copy.SpecificCharacterSet == source.SpecificCharacterSet
    for one, other in ((copy, source), (copy.ProcedureCodeSequence[0], source.ProcedureCodeSequence[0])):
        for tag in (0x00100010, 0x0008103E, 0x00080104, 0x00291001):
            assert (tag in one) == (tag in other)
            if tag in one:
                assert one[tag].value == other[tag].value
    inner = copy[0x00291002].value[0]
    assert inner[0x00291001].value == texts(name)[1]
    raw = pydicom.dcmread(first(tmp_path / "out"))
    assert bytes(raw.get_item(0x0008103E).value).rstrip() == texts(name)[0]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.filterwarnings("ignore:ScanningSequence")
def test_a_derived_image_is_utf8_at_every_depth(tmp_path: Path, name: str) -> None:
    (open_image(in_set(tmp_path / "in", name)) * 0.5).imd.write(tmp_path / "out")
    path = first(tmp_path / "out")
    ds = pydicom.dcmread(path)
    assert ds.SpecificCharacterSet == "ISO_IR 192"
    assert bare(ds.PatientName) == SETS[name][2]
    assert bytes(pydicom.dcmread(path).get_item(0x0008103E).value).rstrip().decode() == texts(name)[1]
    assert ds.ProcedureCodeSequence[0].CodeMeaning == texts(name)[1]


@pytest.mark.parametrize("name", BY_DCMTK)
@pytest.mark.filterwarnings("ignore:ScanningSequence")
def test_dcmtk_reads_the_same(tmp_path: Path, name: str, require_program: Callable[[str], Path]) -> None:
    program = require_program("dcm2xml")
    da = open_image(in_set(tmp_path / "in", name))
    for kind, values in (("same", da), ("half", da * 0.5)):
        values.imd.write(tmp_path / kind)
        done = subprocess.run([program, "+U8", first(tmp_path / kind)], capture_output=True, check=True)
        xml = done.stdout.decode()
        assert f">{SETS[name][2]}" in xml
        assert f'name="CodeMeaning">{texts(name)[1]}' in xml


@pytest.mark.parametrize(
    ("sets", "raw", "text"),
    [
        ([], "Jérôme".encode("latin-1"), "PatientName may be wrong .* SpecificCharacterSet is missing"),
        (["ISO_IR 6"], "Jérôme".encode("latin-1"), "missing or plain ASCII"),
        (["ISO_IR 999"], "Jérôme".encode("latin-1"), "has 'ISO_IR 999', which DICOM does not know"),
        (["ISO_IR 192"], "Jérôme".encode("latin-1"), "is not encoded in ISO_IR 192 as SpecificCharacterSet says"),
        (["", "ISO 2022 IR 87"], b"\x1b$)C\xc8\xab", "is not encoded in /ISO 2022 IR 87"),
        (["", "ISO 2022 IR 58"], b"J^A=\xd5\xc5", "to none of the sets of /ISO 2022 IR 58 by an escape"),
    ],
)
def test_a_wrong_set_is_said_once_and_names_nobody(tmp_path: Path, sets: Sequence[str], raw: bytes, text: str) -> None:
    for k in range(3):
        ds = image(0, k, {"PatientName": None})
        if sets:
            add(ds, 0x00080005, "CS", "\\".join(sets).encode())
        add(ds, 0x00100010, "PN", raw)
        save(ds, tmp_path / f"{k}.dcm")
    with pytest.warns(ImagedataWarning, match=text) as caught:
        open_image(tmp_path)
    ours = [str(w.message) for w in caught if issubclass(w.category, ImagedataWarning)]
    assert len(ours) == 1
    assert "J" not in ours[0]


def test_plain_ascii_needs_no_set(tmp_path: Path) -> None:
    save(image(0, 0, {"PatientName": "Doe^Jane"}), tmp_path / "0.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(tmp_path).attrs["PatientName"] == "Doe^Jane"

"""What the header scan passes over, and what it names as damaged; spoilt files agree with pydicom or are named."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest
from dicom_reference import disagreement, read
from made_dicom import element, encoded, instance, undefined_lengths, with_meta, write
from scanned import DAMAGE, SHIPPED, SYNTAXES, scan_quietly

from imagedata_xr.dicom.scanning.scan import scan
from imagedata_xr.errors import ImagedataWarning, LabelError, SourceError
from imagedata_xr.stores.url import find

# pydicom comments on each spoilt value that the tests make it read
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


# --- what is not DICOM, and what is damaged --------------------------------------------------------------------------


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


# --- fuzz ------------------------------------------------------------------------------------------------------------


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

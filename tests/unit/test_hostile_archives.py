"""Archives that are damaged or hostile: refused, with the reason."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packed import KINDS, pack
from series import open_image, series

from imagedata_xr import set_options
from imagedata_xr.errors import SourceError
from imagedata_xr.stores.archives import open_archive
from imagedata_xr.stores.files import File, local, read_ranges
from imagedata_xr.stores.url import find


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two volumes of three slices."""
    return series(tmp_path / "in", 2, 3, lambda v, k: {"AcquisitionTime": f"1015{v:02d}"})


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("part", [0.3, 0.6, "a block", "its end"])
def test_a_truncated_archive_is_refused(folder: Path, tmp_path: Path, name: str, part: Any) -> None:
    archive = pack(folder, tmp_path / name)
    data = archive.read_bytes()
    if isinstance(part, str) and name == "a.tar":
        # tar's last block of zeros begins after the last file
        with tarfile.open(archive) as tar:
            last = tar.getmembers()[-1]
            end = last.offset_data + (last.size + 511) // 512 * 512
        cut = end if part == "its end" else last.offset
    else:
        cut = int(len(data) * part) if isinstance(part, float) else len(data) - (4 if part == "its end" else 512)
    archive.write_bytes(data[:cut])
    with pytest.raises(SourceError, match=r"truncated|damaged"):
        open_image(str(archive))


def test_a_flipped_bit_is_found_by_the_checksum(folder: Path, tmp_path: Path) -> None:
    archive = pack(folder, tmp_path / "deflated.zip")
    image = open_image(str(archive))
    with zipfile.ZipFile(archive) as opened:
        entry = opened.getinfo("0002.dcm")
    data = bytearray(archive.read_bytes())
    data[entry.header_offset + 30 + len("0002.dcm") + entry.compress_size - 3] ^= 0x10
    archive.write_bytes(data)
    with pytest.raises(SourceError, match="changed since"):
        _ = image.values
    reopened = open_archive(File(local(), str(archive)), "zip")
    with pytest.raises(SourceError, match=r"a file can't be read|0002\.dcm can't be read: .*damaged in its archive"):
        read_ranges([File(reopened, "0002.dcm")], [0], [entry.file_size])
    assert len(read_ranges([File(reopened, "0001.dcm")], [0], [entry.file_size])[0]) == entry.file_size


def evil_zip(target: Path, change: Callable[[zipfile.ZipInfo], None], name: str = "a.dcm") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo(name)
        change(entry)
        archive.writestr(entry, b"x" * 100)
    return target


def nothing(entry: Any) -> None:
    """Leave it as it is."""


@pytest.mark.parametrize("name", ["../a.dcm", "/etc/passwd", "a/../../b", "C:\\x\\a.dcm", "..\\a.dcm"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="is refused"):
        find(evil_zip(tmp_path / "evil.zip", nothing, name))
    if "\\" not in name:
        with tarfile.open(tmp_path / "evil.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        with pytest.raises(SourceError, match="is refused"):
            find(tmp_path / "evil.tar")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        entry = tarfile.TarInfo("a.dcm")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(SourceError, match=r"'a.dcm' in it is (a link|no plain file)"):
        find(tmp_path / "evil.tar")

    def link(entry: zipfile.ZipInfo) -> None:
        entry.external_attr = 0o120777 << 16

    with pytest.raises(SourceError, match=r"'a\.dcm' in it is a link"):
        find(evil_zip(tmp_path / "evil.zip", link))


def test_two_members_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.write(folder / "0000.dcm", "a.dcm")
        archive.write(folder / "0001.dcm", "./a.dcm")
    with tarfile.open(tmp_path / "twice.tar", "w") as tar:
        tar.add(folder / "0000.dcm", "a.dcm")
        tar.add(folder / "0001.dcm", "a.dcm")
    for name in ("twice.zip", "twice.tar"):
        with pytest.raises(SourceError, match=r"two files of the name 'a\.dcm'"):
            find(tmp_path / name)


def test_an_encrypted_archive_says_so(tmp_path: Path) -> None:
    archive = evil_zip(tmp_path / "secret.zip", nothing)
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.rindex(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(SourceError, match="is encrypted"):
        find(archive)


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "overlap.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a", b"x" * 100)
        opened.writestr("b", b"y" * 100)
        opened.filelist[1].header_offset = 0
    with pytest.raises(SourceError, match="overlap"):
        find(archive)


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz"])
def test_bombs_are_refused_until_the_limits_are_raised(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagedata_xr.stores.members.HARMLESS", 10**6)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(bytes(8 * 10**6))
    archive = pack(tmp_path / "in", tmp_path / name)
    with pytest.raises(SourceError, match=r"over 200 times as much. set_options\(archive_ratio"):
        find(archive)
    with set_options(archive_ratio=2000):
        assert len(find(archive)) == 1
    with set_options(archive_size=10**6, archive_ratio=2000), pytest.raises(SourceError, match="archive_size"):
        find(shutil.copy(archive, tmp_path / f"again-{name}"))


def test_a_member_unpacks_to_no_more_than_it_says(tmp_path: Path) -> None:
    archive = tmp_path / "lies.zip"
    with zipfile.ZipFile(archive, "w", 8) as opened:
        opened.writestr("a", bytes(10**6))
    data = bytearray(archive.read_bytes())
    at = data.rindex(b"PK\1\2")
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    archive.write_bytes(data)
    (file,) = find(archive)
    with pytest.raises(SourceError, match="damaged in its archive"):
        read_ranges([file], [0], [1000])


# --- what only an adversary, or a broken program, writes --------------------------------------------------------------


def zipped(path: Path, files: dict[str, bytes], method: int = 8) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def test_all_that_a_zip_archive_may_be_is_read(folder: Path, tmp_path: Path) -> None:
    """Zip64, sizes after the content, comments, bytes before and after, names that some systems take for one."""
    one, two = (folder / "0000.dcm").read_bytes(), (folder / "0001.dcm").read_bytes()
    plain = zipped(tmp_path / "plain.zip", {"A.dcm": one, "a.dcm": two})
    content = plain.read_bytes()
    made = {
        "case": content,
        "unicode": zipped(tmp_path / "u.zip", {"caf\u00e9.dcm": one, "cafe\u0301.dcm": two}).read_bytes(),
        "stub": b"MZ" + bytes(1000) + content,
        "behind": content + b"\n",
        "comment": content[:-2] + struct.pack("<H", 9) + b"a comment",
    }
    for streamed in (False, True):
        out = io.BytesIO()
        target: Any = out
        if streamed:
            target = io.BufferedWriter(_Forward(out))
        with zipfile.ZipFile(target, "w", 8) as archive:
            for name, data in (("a.dcm", one), ("b.dcm", two)):
                with archive.open(zipfile.ZipInfo(name), "w", force_zip64=not streamed) as entry:
                    entry.write(data)
        if streamed:
            target.flush()
        made["streamed" if streamed else "zip64"] = out.getvalue()
    for name, data in made.items():
        (tmp_path / f"{name}.zip").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert open_image(str(tmp_path / f"{name}.zip")).sizes["slice"] == 2, name


class _Forward(io.RawIOBase):
    """A pipe: it can't go back."""

    def __init__(self, out: io.BytesIO) -> None:
        super().__init__()
        self.out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.out.write(data)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"x.dcm/": b"lost"}, r"'x\.dcm/' is a folder in it, and holds bytes"),
        ({"": b"1"}, "a file without a name"),
        ({".": b"1"}, "a file without a name"),
        ({"\\\\server\\share\\x.dcm": b"1"}, "absolute name"),
        ({"a/" * 30_000 + "x": b"1"}, "a name of 60001 characters"),
        ({"a": b"1", "a/b": b"2"}, "is a file in it, and a folder as well"),
    ],
)
def test_names_that_can_not_be_are_refused(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        find(zipped(tmp_path / "a.zip", files))


def test_two_tables_of_contents_are_refused(folder: Path, tmp_path: Path) -> None:
    """One reader would believe the first, another the second."""
    content = (folder / "0000.dcm").read_bytes()
    real = zipped(tmp_path / "real.zip", {"a.dcm": content, "b.dcm": content}).read_bytes()
    fake = bytearray(zipped(tmp_path / "fake.zip", {"evil.dcm": content}).read_bytes())
    joined = tmp_path / "joined.zip"
    joined.write_bytes(real + fake)
    with pytest.raises(SourceError, match="begins with files that its table of contents does not have"):
        find(joined)
    for at in (fake.index(b"PK\1\2") + 42, fake.rindex(b"PK\5\6") + 16):
        (offset,) = struct.unpack("<I", fake[at : at + 4])
        fake[at : at + 4] = struct.pack("<I", offset + len(real))
    (tmp_path / "comment.zip").write_bytes(real[:-2] + struct.pack("<H", len(fake)) + fake)
    with pytest.raises(SourceError, match="2 tables of contents"):
        find(tmp_path / "comment.zip")


@pytest.mark.parametrize("what", ["name", "checksum", "method"])
@pytest.mark.parametrize("method", [0, 8])
def test_headers_that_contradict_the_table_of_contents(tmp_path: Path, what: str, method: int) -> None:
    archive = zipped(tmp_path / "a.zip", {"aaaaaa": b"x" * 100, "b": b"y" * 100}, method)
    data = bytearray(archive.read_bytes())
    if what == "name":
        data[30:36] = b"../out"
    else:
        data[14 if what == "checksum" else 8] ^= 1
    archive.write_bytes(data)
    wrong, right = find(archive)
    with pytest.raises(SourceError, match=r"damaged in its archive: its header and the table of contents differ"):
        read_ranges([wrong], [0], [10])
    assert read_ranges([right], [0], [100]) == [b"y" * 100]


@pytest.mark.parametrize("kind", [b"x", b"L", b"g"])
def test_headers_of_a_tar_that_announce_more_than_memory_holds(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 2**43
    block = header.tobuf(tarfile.GNU_FORMAT) + bytes(2048)
    (tmp_path / "a.tar").write_bytes(block)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(block))
    for name in ("a.tar", "a.tar.gz"):
        with pytest.raises(SourceError, match="truncated, damaged, or no tar"):
            find(tmp_path / name)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_what_headers_say_over_others(folder: Path, tmp_path: Path, form: int) -> None:
    data = (folder / "0000.dcm").read_bytes()
    long = f"{'d' * 90}/{'e' * 150}/{'f' * 200}.dcm"

    def made(said: dict[str, str], name: str = "a.dcm", kind: bytes = tarfile.REGTYPE) -> Path:
        with tarfile.open(tmp_path / "a.tar", "w", format=form, pax_headers={}) as tar:
            entry = tarfile.TarInfo(name)
            entry.size, entry.pax_headers, entry.type = len(data), said, kind
            tar.addfile(entry, io.BytesIO(data))
        return tmp_path / "a.tar"

    assert [file.path for file in find(made({}, long))] == [long]
    for kind in (b"S", b"V", b"M", b"D", b"Z"):
        with pytest.raises(SourceError, match="no plain file"):
            find(made({}, kind=kind))
    if form == tarfile.PAX_FORMAT:
        sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10**14)}
        for said in ({"size": "5"}, {"size": "-600"}, {"size": str(10**15)}, {"path": "../x"}, sparse):
            with pytest.raises(SourceError, match=r"refused|damaged"):
                find(made(said))


def test_a_tar_whose_name_does_not_tell_how_it_is_packed(folder: Path, tmp_path: Path) -> None:
    """Servers and browsers unpack or pack what they pass on, and leave its name."""
    pack(folder, tmp_path / "a.tar")
    (tmp_path / "b.tar.gz").write_bytes((tmp_path / "a.tar").read_bytes())
    (tmp_path / "c.tar").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    for name in ("b.tar.gz", "c.tar"):
        assert len(find(tmp_path / name)) == 6

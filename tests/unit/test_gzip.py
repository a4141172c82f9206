"""DICOM files packed by gzip, one by one: read as if they were not packed."""

from __future__ import annotations

import gzip
import pickle
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pydicom
import pytest
import xarray as xr
from series import COLS, ROWS, image, open_image, places, save, series, straight

from imagedata_xr.errors import ImagedataWarning, SourceError
from imagedata_xr.stores.unpacked import unpacked
from imagedata_xr.stores.url import find, read_available


def timed(v: int, k: int) -> dict[str, str]:
    """When an image was acquired: two volumes are two times."""
    return {"AcquisitionTime": f"10150{v}"}


def pack(folder: Path, suffix: str = ".gz") -> Path:
    """Replace the files of a folder by packed ones."""
    for path in sorted(folder.iterdir()):
        path.with_name(path.name + suffix).write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack(series(tmp_path / "packed", 2, 3, timed))


def test_a_folder_of_packed_files_is_an_image(packed: Path, tmp_path: Path) -> None:
    plain = open_image(series(tmp_path / "plain", 2, 3, timed))
    got = open_image(packed)
    xr.testing.assert_identical(got.drop_vars("source").load(), plain.drop_vars("source").load())


@pytest.mark.parametrize("pick", ["*.gz", ["0000.dcm.gz", "0001.dcm.gz", "0002.dcm.gz"]])
def test_globs_and_lists(tmp_path: Path, pick: str | list[str]) -> None:
    folder = pack(series(tmp_path, 1, 3))
    source = [folder / p for p in pick] if isinstance(pick, list) else str(folder / pick)
    assert places(open_image(source)) == straight(1, 3)


def test_one_file_beside_plain_ones(tmp_path: Path) -> None:
    series(tmp_path, 1, 3)
    middle = tmp_path / "0001.dcm"
    (tmp_path / "0001").write_bytes(gzip.compress(middle.read_bytes()))  # the first bytes tell, not the name
    middle.unlink()
    assert places(open_image(tmp_path)) == straight(1, 3)
    assert open_image(tmp_path / "0001").shape == (1, 1, ROWS, COLS)


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_other_stores(packed: Path, memory: fsspec.AbstractFileSystem) -> None:
    for path in packed.iterdir():
        memory.pipe(f"/gz/{path.name}", path.read_bytes())
    got = open_image("memory://gz", chunks={})
    np.testing.assert_array_equal(got, open_image(packed))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(got)), got)


def test_headers_and_unchanged_copies(packed: Path, tmp_path: Path) -> None:
    got = open_image(packed)
    assert got.imd.header[0, 0].PatientName == "Doe^Jane"
    got.imd.write(tmp_path / "copy", keep_uid=True)
    written = {pydicom.dcmread(p).SOPInstanceUID: p for p in (tmp_path / "copy").iterdir()}
    for path in packed.iterdir():
        with gzip.open(path) as stream:
            source = pydicom.dcmread(stream)
        assert pydicom.dcmread(written[source.SOPInstanceUID]).PixelData == source.PixelData


def test_frames_of_a_large_file_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.arange(80 * 256 * 256, dtype="<u2").reshape(80, 256, 256)  # 10 MB, more than a step of unpacking
    size = {"Rows": 256, "Columns": 256, "NumberOfFrames": 80, "PixelData": frames.tobytes()}
    none = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    cine = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1", "Modality": "US"}
    content = save(image(0, 0, {**size, **none, **cine}), tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").unlink()
    (tmp_path / "a.dcm.gz").write_bytes(gzip.compress(content, 1))
    (file,) = map(unpacked, find(tmp_path))
    passes: list[int] = []
    reader = type(file.fs._reader(file.path))
    blocks = reader._blocks

    def counted(self: object, start: int):  # type: ignore[no-untyped-def]
        for position, data in blocks(self, start):
            passes.append(len(data))
            yield position, data

    cine_image = open_image(tmp_path).squeeze()
    monkeypatch.setattr(reader, "_blocks", counted)
    for k in range(0, 80, 4):
        np.testing.assert_array_equal(cine_image[k].values, frames[k])
    one_by_one = sum(passes)
    passes.clear()
    np.testing.assert_array_equal(cine_image.values, frames)
    assert sum(passes) < 1.5 * len(content)
    assert one_by_one < 7 * len(content)  # each begins at the last place to resume at, not at the beginning


def test_a_truncated_file_is_named(packed: Path) -> None:
    victim = packed / "0001.dcm.gz"
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.warns(ImagedataWarning, match=r"0001\.dcm\.gz: its gzip data can't be unpacked"):
        assert open_image(packed, missing="drop").sizes["tag"] == 1
    with pytest.raises(SourceError, match=r"0001\.dcm\.gz"):
        open_image(packed, errors="raise")


def test_a_wrong_checksum_is_named(packed: Path) -> None:
    victim = packed / "0001.dcm.gz"
    data = bytearray(victim.read_bytes())
    data[-8] ^= 1
    victim.write_bytes(data)
    with pytest.raises(SourceError, match=r"0001\.dcm\.gz: its gzip data can't be unpacked"):
        open_image(packed, errors="raise")


def test_archives_and_other_packed_files_are_strangers(tmp_path: Path) -> None:
    series(tmp_path, 1, 3)
    (tmp_path / "notes.txt.gz").write_bytes(gzip.compress(b"no image"))
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "0000.dcm", "x.dcm")
    assert places(open_image(tmp_path, errors="raise")) == straight(1, 3)
    (tmp_path / "bad.dcm.gz").write_bytes(gzip.compress(b"no image"))
    with pytest.warns(ImagedataWarning, match=r"bad\.dcm\.gz: it is named as DICOM, but it is not"):
        open_image(tmp_path)


def test_members_that_follow_each_other(tmp_path: Path) -> None:
    data = save(image(0, 0), tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(b"".join(gzip.compress(data[k : k + 100]) for k in range(0, len(data), 100)))
    assert places(open_image(tmp_path / "a")) == [[(0, 0)]]


def test_a_file_that_was_replaced_is_unpacked_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"first"))
    (file,) = map(unpacked, find(path))
    assert read_available([file], [0], [9]) == [b"first"]
    other = tmp_path / "b.gz"
    other.write_bytes(gzip.compress(b"second one"))
    shutil.move(other, path)
    assert read_available([file], [3], [9]) == [b"ond one"]
    assert file.fs.size(file.path) == 10

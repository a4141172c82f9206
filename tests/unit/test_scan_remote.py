"""The header scan reads few bytes of a file, and remote files many at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from made_dicom import element, encoded, instance, with_meta, write
from pydicom import uid
from scanned import DAMAGE, SYNTAXES, scan_quietly

from imagedata_xr.dicom.scanning.scan import scan
from imagedata_xr.errors import ImagedataWarning
from imagedata_xr.stores import files
from imagedata_xr.stores.url import File, find

# pydicom comments on each spoilt value that the tests make it read
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


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

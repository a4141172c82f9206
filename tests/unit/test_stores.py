"""Stores of our own: an address that fsspec does not know is listed, read and written through the seam."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from series import open_image, series

from imagedata_xr.errors import FormatError, IdentityError, ImagedataWarning, SourceError
from imagedata_xr.stores import registry
from imagedata_xr.stores.files import File
from imagedata_xr.stores.registry import Store, store_of
from imagedata_xr.stores.uploads import upload


class Box:
    """Takes files, and gives them back as a filesystem in memory."""

    schemes: tuple[str, ...] = ("box",)
    forms: tuple[str, ...] = ("box://name",)
    identified = True

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.sent: list[tuple[str, bytes]] = []
        self.abandoned = 0
        self.fs = MemoryFileSystem()

    def find(self, url: str, storage_options: Any) -> list[File]:
        return [File(self.fs, f"/box/{name}") for name, _ in self.sent]

    def name(self, url: str) -> str:
        return url.replace("me:secret@", "")

    def sink(self, url: str, overwrite: bool, storage_options: Any) -> Box:
        return self

    def add(self, name: str, data: bytes | Path) -> None:
        assert isinstance(data, bytes)
        self.taken.append((name, data))

    def finish(self) -> tuple[str, ...]:
        self.sent, self.taken = self.taken, []
        for name, data in self.sent:
            self.fs.pipe_file(f"/box/{name}", data)
        return tuple(f"box://there/{name}" for name, _ in self.sent)

    def abandon(self) -> None:
        self.taken, self.abandoned = [], self.abandoned + 1


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    """A store with one scheme."""
    made = Box()
    monkeypatch.setattr(registry, "stores", lambda: {"box": made})
    return made


def test_a_store_has_all_that_is_asked_of_it(box: Box) -> None:
    assert isinstance(box, Store)
    assert store_of("BOX://a") is box
    assert store_of("box://a::file://b") is None
    assert store_of("/box/a") is None


def test_what_is_written_to_a_store_is_read_from_it(tmp_path: Path, box: Box) -> None:
    image = open_image(str(series(tmp_path / "in")))
    written = image.imd.write("box://me:secret@there")
    assert written.paths == tuple(f"box://there/IM_{n:05d}.dcm" for n in (1, 2, 3))
    assert [pydicom.dcmread(BytesIO(data)).InstanceNumber for _, data in box.sent] == [1, 2, 3]
    again = open_image("box://me:secret@there")
    assert str(again.source.values) == "box://there"
    np.testing.assert_array_equal(again.values, image.values)
    assert again.imd.header[0, 0].PatientID == "id-1"


def test_a_failed_write_is_abandoned(tmp_path: Path, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    image = open_image(str(series(tmp_path / "in")))

    def refuse(name: str, data: bytes) -> None:
        raise SourceError("the box is full")

    monkeypatch.setattr(box, "add", refuse)
    with pytest.raises(SourceError, match="full"):
        image.imd.write("box://there")
    assert (box.sent, box.abandoned) == ([], 1)


def test_a_store_that_files_by_patient_gets_no_image_without_one(tmp_path: Path, box: Box) -> None:
    image = open_image(str(series(tmp_path / "in"))).drop_vars("patient")
    with pytest.warns(ImagedataWarning, match="patient"), pytest.raises(IdentityError, match=r"box://there.*template="):
        image.imd.write("box://me:secret@there")
    assert not box.sent


def test_other_formats_do_not_go_there(tmp_path: Path, box: Box) -> None:
    image = open_image(str(series(tmp_path / "in")))
    with pytest.raises(FormatError, match="takes DICOM only"):
        image.imd.write("box://there/a.nii.gz")


def test_a_wrong_address_is_answered_with_those_that_there_are(box: Box) -> None:
    with pytest.raises(SourceError, match=r"an address is path/of/file, .*s3://bucket/folder.*box://name"):
        open_image("nosuch://host/a")


# --- an interrupt ----------------------------------------------------------------------------------------------------


class Slow(AsyncFileSystem):  # type: ignore[misc]
    """A store where each upload takes a while, and nobody hurries it."""

    protocol = "memory"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.there: dict[str, bytes] = {}

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        await asyncio.sleep(0.4)
        self.there[path] = value

    async def _put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **more: Any) -> None:
        await asyncio.sleep(0.4)
        self.there[rpath] = Path(lpath).read_bytes()

    async def _info(self, path: str, **more: Any) -> dict[str, Any]:
        if path not in self.there:
            raise FileNotFoundError(path)
        return {"name": path, "type": "file", "size": len(self.there[path])}

    async def _rm_file(self, path: str, **more: Any) -> None:
        del self.there[path]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
@pytest.mark.parametrize("local", [False, True])
def test_nothing_appears_after_an_interrupted_upload(tmp_path: Path, local: bool) -> None:
    place = tmp_path / "a"
    place.write_bytes(b"1")
    fs = Slow()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            upload(fs, {"a": place if local else b"1"})
    finally:
        signal.signal(signal.SIGALRM, before)
    time.sleep(0.6)
    assert fs.there == {}
    upload(fs, {"a": place if local else b"1"})
    assert fs.there == {"a": b"1"}

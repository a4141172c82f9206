"""Remote files that change: between two openings, and between opening and reading, which raises."""

from __future__ import annotations

import gzip
import os
import pickle
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem
from remote import OLD, aged, big_series, calls_of_s3
from series import open_image
from web import Web

import imagedata_xr
from imagedata_xr.errors import SourceError

CHANGED = "has changed since it was opened: open the source again"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return big_series(tmp_path / "in")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path) -> Iterator[None]:
    with imagedata_xr.set_options(cache_folder=tmp_path / "cache"):
        yield


def addresses(web: Web, folder: Path) -> Any:
    return [f"{web.url}{p.name}" for p in sorted(folder.glob("*.dcm"))]


def flip(path: Path, age: float = OLD - 100) -> None:
    """Change pixels, not the length; the time of change is another one."""
    data = bytearray(path.read_bytes())
    data[-1000:] = bytes(255 - b for b in data[-1000:])
    path.write_bytes(data)
    then = time.time() - age
    os.utime(path, (then, then))


# --- opening again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tells", [{"tags": True, "dates": False}, {"tags": True}, {}])
def test_a_second_opening_of_web_addresses_transfers_no_headers(tells: dict[str, bool], folder: Path, web: Web) -> None:
    vars(web).update(tells)
    first = open_image(addresses(web, folder))
    web.reset()
    again = open_image(addresses(web, folder))
    assert web.sent <= 17_000 + 6, "one header, for what is not kept of patients, and a byte of each"
    assert len(web.asked) <= 2 * 6 + 1
    assert again.identical(first)
    flip(folder / "0003.dcm")
    np.testing.assert_array_equal(open_image(addresses(web, folder)), open_image(str(folder)))
    (folder / "0005.dcm").unlink()
    assert open_image(addresses(web, folder)).sizes["slice"] == 5


def test_a_server_that_tells_no_state_is_read_anew(folder: Path, web: Web) -> None:
    web.dates = False
    open_image(addresses(web, folder))
    web.reset()
    open_image(addresses(web, folder))
    assert web.sent > 6 * 1000, "headers are read again"
    flip(folder / "0003.dcm")
    np.testing.assert_array_equal(open_image(addresses(web, folder)), open_image(str(folder)))


def test_a_file_that_was_changed_just_now_is_not_believed(folder: Path, web: Web) -> None:
    """Web servers tell whole seconds: a second change within the same one is not seen."""
    aged(folder, 0.0)
    open_image(addresses(web, folder))
    web.reset()
    open_image(addresses(web, folder))
    assert web.sent > 6 * 1000


# --- opened, then changed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tells", [{"tags": True, "dates": False}, {"tags": True, "ranges": False}, {}])
@pytest.mark.parametrize("chunks", [None, {"slice": 1}])
def test_web_files_that_changed_are_refused(tells: dict[str, bool], chunks: Any, folder: Path, web: Web) -> None:
    vars(web).update(tells)
    image = open_image(addresses(web, folder), chunks=chunks)
    sent = pickle.dumps(image)
    web.reset()
    image.copy().load(scheduler="synchronous") if chunks else image.copy().load()
    if web.ranges:
        assert len(web.asked) == 6, "the answer tells the state: no request more"
    flip(folder / "0003.dcm")
    worker = pickle.loads(sent)
    with pytest.raises(SourceError, match=rf"0003\.dcm {CHANGED}"):
        worker.compute(scheduler="synchronous")
    assert open_image(addresses(web, folder)).values.size


def test_a_web_file_of_another_length_is_refused(folder: Path, web: Web) -> None:
    web.dates = False
    image = open_image(addresses(web, folder))
    path = folder / "0003.dcm"
    path.write_bytes(path.read_bytes()[:1000] + path.read_bytes())
    with pytest.raises(SourceError, match=CHANGED):
        image.load()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(SourceError, match=CHANGED):
        image.load()


def test_headers_of_web_files_that_changed_are_refused(folder: Path, web: Web) -> None:
    web.tags = True
    image = open_image(addresses(web, folder))
    flip(folder / "0000.dcm")
    with pytest.raises(SourceError, match=CHANGED):
        _ = image.imd.header.first


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.zip", "a.dcm.gz"])
def test_other_web_files_that_changed_are_refused(name: str, folder: Path, web: Web) -> None:
    web.tags = True

    def make(value: int) -> None:
        if name == "a.zip":
            with zipfile.ZipFile(folder / name, "w") as pack:
                for path in sorted(folder.glob("*.dcm")):
                    pack.writestr(path.name, path.read_bytes()[:-value] + bytes(value))
        elif name == "a.dcm.gz":
            content = (folder / "0000.dcm").read_bytes()
            (folder / name).write_bytes(gzip.compress(content[:-value] + bytes(value)))
        else:
            image = nib.Nifti1Image(np.full((40, 40, 30), value, np.float32), np.eye(4))  # type: ignore[no-untyped-call]
            nib.save(image, folder / name)
        aged(folder)

    make(1)
    image = open_image(f"{web.url}{name}")
    sent = pickle.dumps(image)
    assert image.copy().values.size
    make(2)
    with pytest.raises(SourceError, match="has changed since it was opened"):
        pickle.loads(sent).load()
    assert open_image(f"{web.url}{name}").values.size


def test_files_in_memory_that_changed_are_refused(folder: Path) -> None:
    fs = MemoryFileSystem()
    fs.put(str(folder), "/changing", recursive=True)
    try:
        image = open_image("memory://changing")
        assert image.copy().values.size
        flip(folder / "0003.dcm")
        fs.pipe_file("/changing/0003.dcm", (folder / "0003.dcm").read_bytes())
        with pytest.raises(SourceError, match=rf"0003\.dcm {CHANGED}"):
            image.load()
        np.testing.assert_array_equal(open_image("memory://changing"), open_image(str(folder)))
    finally:
        fs.rm("/changing", recursive=True)


@pytest.fixture(scope="module")
def bucket(require_module: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    require_module("s3fs")
    server = require_module("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "AKIDEXAMPLE", "secret": "very-secret", "endpoint_url": f"http://{host}:{port}"}
    fsspec.filesystem("s3", **options).mkdir("changing")
    yield "s3://changing", options
    server.stop()


def test_objects_that_changed_are_refused_and_noticed(
    folder: Path, bucket: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    place, options = bucket
    somebody = fsspec.filesystem("s3", skip_instance_cache=True, **options)
    somebody.put(str(folder), f"{place}/in", recursive=True)

    def opened(**more: Any) -> xr.DataArray:
        return open_image(f"{place}/in", storage_options=options, **more)

    calls = calls_of_s3(monkeypatch, s3fs)
    image = opened(chunks={"slice": 1})
    again = opened()  # from what was kept: the states are those of the listing
    calls.clear()
    image.copy().load(scheduler="synchronous")
    assert calls == ["get_object"] * 6
    flip(folder / "0003.dcm")
    somebody.pipe_file(f"{place}/in/0003.dcm", (folder / "0003.dcm").read_bytes())
    for one in (image, again):
        with pytest.raises(SourceError, match=rf"0003\.dcm {CHANGED}"):
            one.compute(scheduler="synchronous")
    np.testing.assert_array_equal(opened(), open_image(str(folder)))
    somebody.rm(f"{place}/in/0005.dcm")
    assert opened().sizes["slice"] == 5
    somebody.put_file(str(folder / "0005.dcm"), f"{place}/in/0005.dcm")
    assert opened().sizes["slice"] == 6

"""What is here and unchanged is not transferred again, for one user of one server; what is kept is bounded."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import phantoms
import pytest
import xarray as xr
from click.testing import CliRunner
from dicom_servers import SERVERS, fill, orthanc
from phantoms import ANNA, make, opened
from proxy import proxy
from remote import calls_of_s3

import imagedata_xr
from imagedata_xr.cli import main
from imagedata_xr.stores.network import transfers

pytestmark = pytest.mark.usefixtures("nothing_secret")

SERIES = "1.2.826.0.1.3680043.8.498.81"
SIZE = 20 * 64 * 64 * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("series")
    make(place, phantoms.mr(shape=(1, 20, 64, 64), uid=SERIES))
    return place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with imagedata_xr.set_options(cache_folder=tmp_path / "cache"):
        yield tmp_path / "cache" / "transfers"


@pytest.mark.parametrize("name", SERVERS)
def test_of_an_archive_only_the_list_of_images_comes_again(
    name: str, tmp_path: Path, folder: Path, place: Path, require_program: Any, require_module: Any
) -> None:
    require_module("pynetdicom")
    start, program = SERVERS[name]
    require_program(program)

    def cost(**options: Any) -> int:
        front.came = 0
        image = xr.open_dataarray(url, engine="imagedata", storage_options=options)
        np.testing.assert_array_equal(image, opened(folder))
        return front.came

    with start(tmp_path / "server") as server, proxy(server.port) as front:
        fill(server, folder)
        url = f"{replace(server, port=front.port).url}//{ANNA.study}/{SERIES}"
        for options in ({}, {"keep": True}):
            assert cost(**options) > SIZE
            assert cost(**options) < 20_000
            assert cost(**options, aet="ANOTHER") > SIZE  # who asks may see something else
            assert cost(**options, username="me") > SIZE
            assert cost(**options, username="me") < 20_000
        assert len(list(place.iterdir())) == 3
        result = CliRunner().invoke(main, ["cache", "clear"])
        assert "3 fetched series removed" in result.output
        assert not list(place.iterdir())
        assert cost(keep=True) > SIZE


def test_of_dicomweb_too(
    tmp_path: Path, folder: Path, place: Path, require_program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_program("Orthanc")
    from imagedata_xr.stores.network import web_retrieve

    streams: list[str] = []
    plain = web_retrieve._stream

    def counted(client: Any, path: str, *more: Any) -> None:
        streams.append(path)
        plain(client, path, *more)

    monkeypatch.setattr(web_retrieve, "_stream", counted)
    users = {"me": "sesame", "you": "sesame"}
    with orthanc(tmp_path / "server", AuthenticationEnabled=True, RegisteredUsers=users) as server:
        fill(server, folder)
        url = f"dicomweb+http://127.0.0.1:{server.web}/dicom-web/studies/{ANNA.study}/series/{SERIES}"
        for who in ("me", "me", "you", "you"):
            options = {"keep": True, "username": who, "password": "sesame"}
            np.testing.assert_array_equal(
                xr.open_dataarray(url, engine="imagedata", storage_options=options), opened(folder)
            )
    assert len(streams) == 2


def test_of_an_object_store_one_header(
    folder: Path, place: Path, require_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = require_module("s3fs")
    calls = calls_of_s3(monkeypatch, s3fs)
    server = require_module("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"key": "a", "secret": "b", "endpoint_url": f"http://{host}:{port}"}
        fs = fsspec.filesystem("s3", **options)
        fs.mkdir("twice")
        fs.put(str(folder), "twice/in", recursive=True)

        def cost() -> int:
            fsspec.filesystem("s3", **options).invalidate_cache()
            calls.clear()
            image = xr.open_dataarray("s3://twice/in", engine="imagedata", storage_options=options)
            assert image.sizes["slice"] == 20
            return calls.count("get_object")

        assert cost() >= 20
        assert cost() <= 1
    finally:
        server.stop()


# --- what is kept ----------------------------------------------------------------------------------------------------


def kept(key: str, size: int, age: float) -> None:
    with transfers.Incoming(key, True) as incoming:
        incoming.add("1.2.3", bytes(size))
        incoming.finish()
    when = time.time() - age
    os.utime(transfers._lasting() / key, (when, when))


def test_what_was_used_longest_ago_goes_first(place: Path) -> None:
    with imagedata_xr.set_options(transfer_size=2500):
        kept("old", 1000, 9000)
        kept("older", 1000, 10000)
        assert transfers.held("old", True)  # used: no longer the oldest
        os.utime(place / "old", (time.time() - 8000,) * 2)
        kept("new", 1000, 0)
        assert sorted(p.name for p in place.iterdir()) == ["new", "old"]
        (place / "new.1-a.part").mkdir()
        os.utime(place / "new.1-a.part", (0, 0))  # left by a process that was killed
        kept("newer", 10, 0)
        assert sorted(p.name for p in place.iterdir()) == ["new", "newer", "old"]
        kept("large", 5000, 0)  # what is used at this moment stays, though it alone is too much
        assert sorted(p.name for p in place.iterdir()) == ["large", "new", "newer"]
    assert transfers.usage()[1] == 3
    assert transfers.clear()[0] == 3


def test_what_is_damaged_is_not_held(place: Path) -> None:
    kept("a", 10, 0)
    (index,) = (place / "a").glob("*.json")
    text = index.read_text()
    for bad in ("", "[]", "{", text.replace(".dcm", ".gone"), '{"1.2.3": "../../secret"}'):
        index.write_text(bad)
        assert not transfers.held("a", True)
    index.write_text(text)
    assert transfers.held("a", True)

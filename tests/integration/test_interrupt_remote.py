"""Ctrl-C in the midst of a transfer: nothing half written here or there, no session, no process goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import phantoms
import pytest
import xarray as xr
from dicom_servers import SERVERS, Server, fill, orthanc
from phantoms import ANNA, make
from xnat_server import Scan, Standin, standin

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
SERIES = "1.2.826.0.1.3680043.8.498.70"
SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs in the background ignore it
from imagedata_xr.cli import main, talk

def slow(self, what, done, total, size, plain=talk.Transfers.__call__):
    plain(self, what, done, total, size)
    if self.shown:
        time.sleep(0.5)

talk.Transfers.__call__ = slow
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("series")
    make(place, phantoms.mr(shape=(2, 10, 6, 8), uid=SERIES))
    return place


@pytest.fixture(params=SERVERS)
def archive(
    request: pytest.FixtureRequest, tmp_path: Path, require_program: Any, require_module: Any
) -> Iterator[Server]:
    require_module("pynetdicom")
    start, program = SERVERS[request.param]
    require_program(program)
    with start(tmp_path / "server") as server:
        yield server


@pytest.fixture
def xnat(folder: Path, require_module: Any) -> Iterator[Standin]:
    require_module("xnat")
    with standin() as server:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        server.experiments["P", "X_S1", "S", "X_E1", "E"] = {
            "3": Scan({"xsiType": "xnat:mrScanData"}, {"DICOM": files})
        }
        yield server


@pytest.fixture
def interrupted(tmp_path: Path) -> Callable[..., str]:
    """Run ``imd convert``, interrupt it when a line begins as told, and see that it leaves nothing here."""

    def run(target: object, source: object, begins: tuple[str, ...], **environment: str) -> str:
        (tmp_path / "tmp").mkdir()
        before = {p.name for p in tmp_path.iterdir()}
        given = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "IMAGEDATA_XR_CACHE": str(tmp_path / "cache")}
        words = [sys.executable, "-c", SLOW, "convert", "--progress", str(target), str(source)]
        with subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=given | environment,
        ) as process:  # fmt: skip
            assert process.stderr is not None
            said = ""
            while not (line := process.stderr.readline()).startswith(begins):
                said += line
                assert line, said
            os.kill(process.pid, signal.SIGINT)
            rest = process.stderr.read()
            assert process.wait(60) == 130, rest
            assert rest.endswith("imd: interrupted\n")
            assert "Traceback" not in rest
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
        assert {p.name for p in tmp_path.iterdir()} - {"cache"} == before - {"cache"}
        assert not list((tmp_path / "tmp").iterdir())
        assert not [p for p in (tmp_path / "cache").rglob("*") if p.suffix in (".part", ".dcm")]
        return rest

    return run


FETCHED = tuple(f"fetched {n}/20" for n in range(10))
SENT = tuple(f"sent {n}/20" for n in range(10))


@pytest.mark.parametrize("keep", ["0", "1"])
def test_while_an_archive_sends(archive: Server, folder: Path, interrupted: Any, keep: str) -> None:
    fill(archive, folder)
    interrupted("out.mha", f"{archive.url}//{ANNA.study}/{SERIES}", FETCHED, IMAGEDATA_XR_KEEP=keep)


def test_while_images_are_sent(archive: Server, folder: Path, interrupted: Any) -> None:
    said = interrupted(archive.url, folder, SENT)
    stored = int(said.partition("sending was interrupted: ")[2].split()[0])
    assert 1 <= stored < 20
    # what was told is there: interrupted while it is told of an image, that one has been answered
    assert xr.open_datatree(f"{archive.url}//{ANNA.study}", engine="imagedata").leaves
    assert len(_images(archive)) == stored


def _images(archive: Server) -> list[Any]:
    from imagedata_xr.stores.network.dimse import listing

    return [
        image
        for series in listing(f"{archive.url}//{ANNA.study}")
        for image in listing(series["address"])
    ]  # fmt: skip


def test_while_dicomweb_sends_and_takes(tmp_path: Path, folder: Path, interrupted: Any, require_program: Any) -> None:
    require_program("Orthanc")
    with orthanc(tmp_path / "server") as server:
        base = f"dicomweb+http://127.0.0.1:{server.web}/dicom-web"
        fill(server, folder)
        interrupted("out.mha", f"{base}/studies/{ANNA.study}/series/{SERIES}", FETCHED)
        (tmp_path / "tmp").rmdir()
        said = interrupted(base, folder, SENT)
    assert "sending was interrupted: 0 stored, 20 unknown" in said


def test_while_xnat_sends(xnat: Standin, interrupted: Any) -> None:
    source = f"xnat://127.0.0.1:{xnat.port}/P/S/E/3"
    interrupted("out.mha", source, FETCHED, XNAT_USER="anna", XNAT_PASS="sesame")
    assert not xnat.sessions


def test_while_xnat_takes(xnat: Standin, folder: Path, interrupted: Any) -> None:
    target = f"xnat://127.0.0.1:{xnat.port}/P/S/E"
    interrupted(target, folder, SENT, XNAT_USER="anna", XNAT_PASS="sesame")
    assert xnat.count(".tar?") >= 1
    assert list(xnat.experiments["P", "X_S1", "S", "X_E1", "E"]) == ["3"]
    assert not xnat.sessions


def test_while_an_object_store_takes(folder: Path, interrupted: Any, require_module: Any) -> None:
    require_module("s3fs")
    server = require_module("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        names = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        fs = fsspec.filesystem("s3", key="a", secret="b", endpoint_url=f"http://{host}:{port}")
        fs.mkdir("interrupted")
        interrupted("s3://interrupted/out", folder, ("uploaded 16,",), **names)
        fs.invalidate_cache()
        assert fs.find("interrupted") == []
    finally:
        server.stop()

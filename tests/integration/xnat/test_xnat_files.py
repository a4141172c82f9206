"""XNAT as a file system of fsspec, against the stand-in."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import fsspec
import numpy as np
import pytest
import xarray as xr
from phantoms import opened
from xnat_server import Scan, Standin, standin
from xnat_site import KEY, ME, contents

from imagedata_xr.errors import NotFoundError, SourceError

pytestmark = pytest.mark.usefixtures("nothing_secret")

DICOM = "P/Mueller/E1/3/DICOM"


@pytest.fixture
def files(folder: Path) -> dict[str, bytes]:
    return contents(folder)


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[Standin]:
    kind = {"xsiType": "xnat:mrScanData"}
    with standin() as found:
        found.experiments[KEY] = {
            "3": Scan({"type": "T1", **kind}, {"DICOM": dict(files), "NOTES": {"a b#c%20d?.txt": b"0123456789"}}),
            "4": Scan(
                {"type": "T2", **kind}, {"NIFTI": {"sub/x.nii": b"x" * 50, "sub/deep/y.nii": b"y", "z.txt": b"z"}}
            ),
        }
        found.experiments[KEY]["4"].resources["NIFTI"]["z.txt"] = b"z"
        yield found


def opened_fs(server: Standin, **more: Any) -> Any:
    return fsspec.filesystem("xnat", host=f"127.0.0.1:{server.port}", skip_instance_cache=True, **{**ME, **more})


def test_paths_are_folders_and_files(server: Standin, files: dict[str, bytes]) -> None:
    fs = opened_fs(server)
    assert fs.ls("", detail=False) == ["P"]
    assert fs.ls("P", detail=False) == ["P/Mueller"]
    assert fs.ls("P/Mueller", detail=False) == ["P/Mueller/E1"]
    assert fs.ls("P/Mueller/E1", detail=False) == ["P/Mueller/E1/3", "P/Mueller/E1/4"]
    assert fs.ls("P/Mueller/E1/3", detail=False) == ["P/Mueller/E1/3/DICOM", "P/Mueller/E1/3/NOTES"]
    assert fs.ls("P/Mueller/E1/4/NIFTI", detail=False) == ["P/Mueller/E1/4/NIFTI/sub", "P/Mueller/E1/4/NIFTI/z.txt"]
    assert fs.find("P/Mueller/E1/4") == [f"P/Mueller/E1/4/NIFTI/{n}" for n in ("sub/deep/y.nii", "sub/x.nii", "z.txt")]
    assert fs.glob("P/*/*/4/NIFTI/**/*.nii") == fs.find("P/Mueller/E1/4/NIFTI/sub")
    for alias in ("P/X_S1/X_E1/3/DICOM", "P//E1/3/DICOM", "P//X_E1/3/11"):
        assert len(fs.ls(alias)) == len(files)
        assert fs.isdir(alias)
    name = next(iter(files))
    told = fs.info(f"{DICOM}/{name}")
    assert (told["type"], told["size"]) == ("file", len(files[name]))
    assert fs.ukey(f"{DICOM}/{name}") == told["md5"] != ""
    assert fs.isfile(f"{DICOM}/{name}")
    assert not fs.exists(f"{DICOM}/none")
    for missing in (f"{DICOM}/none", "P/Mueller/E1/9", "Q", "P/Mueller/E1/3/NONE/x", "P//E9"):
        with pytest.raises(FileNotFoundError):
            fs.info(missing)
    assert fs.unstrip_protocol("P/S/E/3/NOTES/a b#c") == f"xnat://127.0.0.1:{server.port}/P/S/E/3/NOTES/a%20b%23c"


def test_reading(server: Standin, files: dict[str, bytes], tmp_path: Path) -> None:
    fs = opened_fs(server)
    name, data = next(iter(files.items()))
    path = f"{DICOM}/{name}"
    assert fs.cat_file(path) == data
    assert fs.cat_file(path, 128, 132) == b"DICM"
    assert fs.cat_file(path, -5) == data[-5:]
    assert fs.cat_file(path, 5, -5) == data[5:-5]
    assert fs.cat_file(path, len(data) + 5, len(data) + 9) == b""
    with fs.open(path) as file:
        file.seek(-4, 2)
        assert file.read() == data[-4:]
    assert fs.cat(f"{DICOM}/*") == {f"{DICOM}/{n}": d for n, d in files.items()}
    fs.get("P/Mueller/E1/4/NIFTI", str(tmp_path / "out"), recursive=True)
    assert (tmp_path / "out" / "sub" / "x.nii").read_bytes() == b"x" * 50
    address = f"xnat://127.0.0.1:{server.port}/P/Mueller/E1/3/NOTES/a%20b%23c%2520d%3F.txt"
    with fsspec.open(address, "rt", **ME) as text:
        assert text.read() == "0123456789"
    found = fs.cat_ranges([path, f"{DICOM}/none", "P"], 0, 4)
    assert found[0] == data[:4]
    assert isinstance(found[1], FileNotFoundError)
    assert isinstance(found[2], IsADirectoryError)
    with pytest.raises(IsADirectoryError):
        fs.cat_file(DICOM)


def test_few_requests_many_at_once_and_none_twice(server: Standin, files: dict[str, bytes]) -> None:
    fs = opened_fs(server)
    fs.cat_file(f"{DICOM}/{next(iter(files))}")
    assert len(server.log) == 4  # two to log in, the listing, the file
    server.delay = 0.02
    server.log.clear()
    fs.cat_ranges([f"{DICOM}/{name}" for name in files], 0, 100)
    fs.cat_ranges([f"{DICOM}/{name}" for name in files], 100, 200)
    assert len(server.log) == len(files) - 1
    assert server.busiest > 2
    fs.invalidate_cache()
    server.log.clear()
    fs.cat([f"{DICOM}/{name}" for name in files])
    assert server.count("/files/") == 0


def test_a_changed_file_is_read_anew(server: Standin) -> None:
    fs = opened_fs(server)
    path = "P/Mueller/E1/4/NIFTI/z.txt"
    assert fs.cat_file(path) == b"z"
    server.experiments[KEY]["4"].resources["NIFTI"]["z.txt"] = b"Z"
    fs.invalidate_cache()
    assert fs.cat_file(path) == b"Z"


def test_open_files_are_a_source(server: Standin, folder: Path, files: dict[str, bytes]) -> None:
    address = f"xnat://127.0.0.1:{server.port}/{DICOM}/*"
    image = xr.open_dataarray(cast("Any", list(fsspec.open_files(address, **ME))), engine="imagedata")
    np.testing.assert_array_equal(image, opened(folder))
    assert server.count("/files/") == len(files)
    assert "sesame" not in str(image.encoding) + repr(image)


# --- sessions and secrets ------------------------------------------------------------------------------------------


def test_one_session_for_all_of_a_process(server: Standin) -> None:
    def read(number: int) -> bytes:
        fs = fsspec.filesystem("xnat", host=f"127.0.0.1:{server.port}", **ME)
        return bytes(fs.cat_file("P/Mueller/E1/4/NIFTI/z.txt"))

    with ThreadPoolExecutor(4) as pool:  # fsspec has an instance for each thread
        assert set(pool.map(read, range(8))) == {b"z"}
    assert server.count("services/auth") == 1
    fs = fsspec.filesystem("xnat", host=f"127.0.0.1:{server.port}", **ME)
    fs.ls("")
    assert server.sessions
    fs.close()
    assert not server.sessions
    assert fs.ls("P/Mueller", refresh=True)  # and in again
    fs.close()


def test_the_end_of_a_process_logs_out_and_a_fork_does_not(server: Standin) -> None:
    code = (
        "import fsspec, os, sys\n"
        f"fs = fsspec.filesystem('xnat', host='127.0.0.1:{server.port}')\n"
        "fs.ls('')\n"
        "if hasattr(os, 'fork'):\n"
        "    child = os.fork()\n"
        "    if not child: sys.exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "fs.ls('P')\n"
    )
    environment = {**os.environ, "XNAT_USER": "anna", "XNAT_PASS": "sesame"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment)
    assert server.count("services/auth") == server.count("DELETE /data/JSESSION") == 1
    assert not server.sessions


def test_an_ended_session_is_begun_anew(server: Standin) -> None:
    fs = opened_fs(server)
    fs.ls("P")
    server.sessions.clear()
    assert fs.ls("P/Mueller")
    assert server.count("services/auth") == 2


def test_no_secret_is_pickled_or_shown(
    server: Standin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    fs = opened_fs(server)
    fs.ls("P")
    assert b"sesame" not in pickle.dumps(fs)
    told = fs.to_json() + repr(fs) + str(fs.to_dict()) + str(fs.storage_options) + str(vars(fs))
    assert "sesame" not in told + caplog.text
    assert "anna" not in fs.to_json()
    assert json.loads(fs.to_json())["host"] == f"127.0.0.1:{server.port}"
    with pytest.raises(SourceError, match="401"):
        pickle.loads(pickle.dumps(fs)).ls("P")
    monkeypatch.setenv("XNAT_USER", "anna")
    monkeypatch.setenv("XNAT_PASS", "sesame")
    assert pickle.loads(pickle.dumps(fs)).ls("P")
    with pytest.raises(SourceError, match="holds no user") as found:
        fsspec.open(f"xnat://anna:sesame@127.0.0.1:{server.port}/P")
    assert "sesame" not in str(found.value)


# --- what fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["503", "drop", "cut", "corrupt", "short", "html", "401", "redirect", "expire"])
@pytest.mark.parametrize("where", ["files?", "files/"])
def test_a_passing_failure_costs_nothing(server: Standin, files: dict[str, bytes], where: str, how: str) -> None:
    server.fail(where, how)
    assert opened_fs(server).cat(f"{DICOM}/*") == {f"{DICOM}/{n}": d for n, d in files.items()}


@pytest.mark.parametrize(("how", "said"), [("503", "503"), ("cut", "cut"), ("corrupt", "digest"), ("html", "web page")])
def test_a_lasting_failure_is_an_error(server: Standin, files: dict[str, bytes], how: str, said: str) -> None:
    fs = opened_fs(server, retries=1)
    server.fail("files/", how, 99)
    with pytest.raises(SourceError, match=said):
        fs.cat_file(f"{DICOM}/{next(iter(files))}")
    server.fail("/resources?", "503", 99)
    with pytest.raises(SourceError, match="503"):
        fs.find("P/Mueller")  # and not an empty list


# --- writing -------------------------------------------------------------------------------------------------------


def test_files_are_written_whole(server: Standin, tmp_path: Path) -> None:
    fs = opened_fs(server)
    there = server.experiments[KEY]["4"].resources
    fs.pipe_file("P/Mueller/E1/4/NEW/folder/a b#%.txt", b"one")
    assert there["NEW"] == {"folder/a b#%.txt": b"one"}
    with pytest.raises(FileExistsError):
        fs.pipe_file("P/Mueller/E1/4/NEW/folder/a b#%.txt", b"two", mode="create")
    with pytest.raises(FileExistsError):
        fs.open("P/Mueller/E1/4/NEW/folder/a b#%.txt", "xb")
    assert there["NEW"] == {"folder/a b#%.txt": b"one"}
    with fs.open("P/Mueller/E1/4/NEW/folder/a b#%.txt", "wb") as file:
        file.write(b"two")
    assert fs.cat_file("P/Mueller/E1/4/NEW/folder/a b#%.txt") == b"two"
    with contextlib.suppress(ZeroDivisionError), fs.open("P/Mueller/E1/4/NEW/half", "wb") as file:
        file.write(b"half")
        raise ZeroDivisionError
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "f").write_bytes(b"three")
    fs.put(str(tmp_path / "up"), "P/Mueller/E1/4/NEW/up", recursive=True)
    assert there["NEW"] == {"folder/a b#%.txt": b"two", "up/f": b"three"}
    fs.rm("P/Mueller/E1/4/NEW/up", recursive=True)
    fs.rm_file("P/Mueller/E1/4/NEW/folder/a b#%.txt")
    assert there["NEW"] == {}


def test_what_was_not_stored_is_an_error(server: Standin) -> None:
    fs = opened_fs(server)
    for how in ("lose", "corrupt"):
        server.fail("NIFTI/files/", how)
        with pytest.raises(SourceError, match="not stored as it was sent"):
            fs.pipe_file(f"P/Mueller/E1/4/NIFTI/{how}", b"12345")
    with pytest.raises(SourceError, match="no empty files"):
        fs.touch("P/Mueller/E1/4/NIFTI/empty")
    with pytest.raises(SourceError, match="files lie in resources"):
        fs.pipe_file("P/Mueller/E1/4", b"1")
    with pytest.raises(NotFoundError):
        fs.pipe_file("P/Mueller/E1/9/NIFTI/x", b"1")
    with pytest.raises(SourceError, match=r"401|403"):
        opened_fs(server, username="carl", password="pass").pipe_file("P/Mueller/E1/4/NEW/x", b"1")
    with pytest.raises(FileNotFoundError):
        fs.pipe_file("P/Mueller/E1/4/../x", b"1")


def test_folders_are_made_and_removed_with_care(server: Standin) -> None:
    fs = opened_fs(server)
    scans = server.experiments[KEY]
    fs.mkdir("P/Mueller/E1/7", xsi_type="xnat:mrScanData")
    fs.makedirs("P/Mueller/E1/7/NIFTI")
    assert scans["7"].resources == {"NIFTI": {}}
    with pytest.raises(SourceError, match="xsi_type"):
        fs.mkdir("P/Mueller/E1/8")
    for there in ("P/Mueller/E1/3", "P/Mueller/E1/3/DICOM"):
        with pytest.raises(FileExistsError):
            fs.mkdir(there, xsi_type="xnat:mrScanData")
        with pytest.raises(IsADirectoryError):
            fs.rm(there)
    for above in ("P/Mueller/E1", "P/Mueller", "P", "P/Mueller/E9"):
        with pytest.raises(SourceError, match="not removed from here"):
            fs.rm(above, recursive=True)
    with pytest.raises(SourceError, match="on the site itself"):
        fs.mkdir("P/Mueller/E9")
    server.fail("/scans?", "503", 99)  # not to know whether a scan is there is no reason to make it
    with pytest.raises(SourceError, match="503"):
        opened_fs(server).mkdir("P/Mueller/E1/3", xsi_type="xnat:mrScanData")
    server.faults.clear()
    fs.rm("P/Mueller/E1/7", recursive=True)
    assert set(scans) == {"3", "4"}

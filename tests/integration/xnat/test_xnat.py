"""XNAT against a stand-in over real HTTP and HTTPS, with the real client library as a second opinion."""

from __future__ import annotations

import logging
import pickle
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from click.testing import CliRunner
from dicom_servers import certificates_in
from phantoms import opened
from xnat_server import Scan, Standin, standin
from xnat_site import KEY, ME, SCAN, fill, read, url

import imagedata_xr
from imagedata_xr.cli import main
from imagedata_xr.errors import NotFoundError, SourceError
from imagedata_xr.stores.network import transfers

pytestmark = pytest.mark.usefixtures("nothing_secret")


@pytest.mark.parametrize(
    "rest", [SCAN, "/P//E1/3", "/P/X_S1/X_E1/T1", "/P/Mueller/E1/t1%20tra", "/P/Mueller/E1/3/DICOM", "/P//X_E1/3/12"]
)
def test_a_scan_is_read_as_from_a_folder(server: Standin, folder: Path, rest: str) -> None:
    found, here = read(url(server, rest)), opened(folder)
    np.testing.assert_array_equal(found, here)
    np.testing.assert_allclose(found.imd.affine, here.imd.affine)
    assert "Mueller" not in str(found.source.item())
    assert found.imd.header[0, 0].SOPInstanceUID == here.imd.header[0, 0].SOPInstanceUID
    assert not server.sessions  # logged out


def test_few_requests_and_none_of_them_twice(server: Standin) -> None:
    image = read(url(server, SCAN))
    image.isel(slice=0).load()
    asked = list(server.log)
    assert len(asked) == 7
    assert [line.split("?")[0].rpartition("/")[2] for line in asked[:2]] == ["auth", "JSESSION"]
    assert server.count("format=zip") == 1
    assert "DELETE /data/JSESSION" in asked[-1]


def test_unchanged_files_are_not_fetched_again(server: Standin, folder: Path) -> None:
    first = read(url(server, SCAN)).load()
    server.log.clear()
    np.testing.assert_array_equal(read(url(server, SCAN)), first)
    assert server.count("files/") == server.count("zip") == 0
    # one more file: it alone comes, and what was opened before stays as it was
    late = pydicom.dcmread(sorted(folder.iterdir())[0])
    late.InstanceNumber, late.SOPInstanceUID, late.SeriesInstanceUID = 99, "1.2.3.4", "1.2.3.5"
    late.save_as(folder.parent / "late.dcm")
    files = server.experiments[KEY]["3"].resources["DICOM"]
    files["late.dcm"] = (folder.parent / "late.dcm").read_bytes()
    lazy = read(url(server, "/P/Mueller/E1/3/DICOM/" + next(iter(files))))
    server.log.clear()
    assert len(xr.open_datatree(url(server, SCAN), engine="imagedata", storage_options=ME).leaves) == 2
    assert [server.count("files/"), server.count("zip")] == [1, 0]
    lazy.load()


def test_a_changed_file_is_fetched_where_the_site_has_no_digests(server: Standin) -> None:
    server.digests = False
    files = server.experiments[KEY]["4"].resources["secondary"]
    before = read(url(server, "/P//E1/4"))
    name, data = next(iter(files.items()))
    files[name] = data[:-2] + b"\x07\x07"
    after = read(url(server, "/P//E1/4"))
    assert float(abs(after - before).max()) > 0  # the first is still what it was


def test_kept_files_serve_another_process(server: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, xarray as xr; a = xr.open_dataarray(sys.argv[1], engine='imagedata',"
        "storage_options={'keep': True}); print(float(a.sum()))"
    )
    monkeypatch.setenv("XNAT_USER", "anna")
    monkeypatch.setenv("XNAT_PASS", "sesame")
    told = []
    for _ in range(2):
        server.log.clear()
        done = subprocess.run(
            [sys.executable, "-c", code, url(server, SCAN)], capture_output=True, text=True, check=True
        )
        told.append((done.stdout, server.count("zip")))
    assert told == [(told[0][0], 1), (told[0][0], 0)]


def test_some_files_come_at_once(server: Standin) -> None:
    server.fail("format=zip", "500", 9)
    server.delay = 0.02
    read(url(server, SCAN), retries=0)
    assert server.busiest > 2


def test_listing_at_every_level(server: Standin) -> None:
    def ls(rest: str, *more: str) -> list[str]:
        result = CliRunner().invoke(main, ["ls", url(server, rest), *more])
        assert result.exit_code == 0, result.output
        return [line.partition("xnat://")[2].partition("/")[2] for line in result.output.splitlines()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XNAT_USER", "anna")
        patch.setenv("XNAT_PASS", "sesame")
        assert ls("") == ["P  P"]
        assert ls("/P") == ["P/X_S1"]
        assert ls("/P", "--identifiers") == ["P/X_S1  Mueller"]
        assert ls("/P/X_S1") == ["P/X_S1/X_E1  mrSessionData"]
        assert "Mueller" not in " ".join(ls("/P/X_S1/X_E1"))
        assert [line.split()[0] for line in ls("/P/X_S1/X_E1")] == [f"P/X_S1/X_E1/{n}" for n in (3, 4, 5)]
        assert [line.split()[0] for line in ls("/P//X_E1/5")] == ["P//X_E1/5/RAW", "P//X_E1/5/NOTES"]
        assert len(ls("/P//X_E1/3/DICOM")) == 20


@pytest.mark.parametrize(
    ("rest", "error", "said"),
    [
        ("/Q/Mueller/E1/3", NotFoundError, "no such project"),
        ("/P/Mueller/E9/3", NotFoundError, "no such project"),
        ("/P//E9/3", NotFoundError, "none of this ID or label"),
        ("/P//E1/9", NotFoundError, "there are 3, 4, 5"),
        ("/P//E1/T2", SourceError, "2 scans have this type; name one by its ID: 4, 5"),
        ("/P//E1/5", SourceError, "several resources.*RAW, NOTES"),
        ("/P//E1/3/NIFTI", NotFoundError, "there are SNAPSHOTS, DICOM"),
        ("/P//E1/3/DICOM/none.dcm", NotFoundError, "20 files, none of this path"),
        ("/P", SourceError, "name an experiment"),
        ("//S/E", SourceError, "only the subject"),
        ("/P/../E", SourceError, "without"),
        ("/P?x=1", SourceError, "%3F"),
    ],
)
def test_what_is_not_there_is_said(server: Standin, rest: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as found:
        xr.open_dataset(url(server, rest), engine="imagedata", storage_options=ME)
    assert "Mueller" not in str(found.value)


def test_a_subject_is_a_tree(server: Standin) -> None:
    del server.experiments[KEY]["5"]
    assert xr.open_datatree(url(server, "/P/Mueller"), engine="imagedata", storage_options=ME).leaves


# --- who asks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("machine", ["127.0.0.1:{port}", "127.0.0.1"])
def test_netrc(server: Standin, tmp_path: Path, machine: str) -> None:
    netrc = tmp_path / "home" / ".netrc"
    netrc.write_text(f"machine {machine.format(port=server.port)} login anna password sesame\n")
    netrc.chmod(0o600)
    assert xr.open_dataarray(url(server, SCAN), engine="imagedata").sizes["slice"] == 10
    netrc.chmod(0o644)
    with pytest.raises(SourceError, match="chmod 600"):
        xr.open_dataarray(url(server, SCAN), engine="imagedata")


def test_nobody_is_prompted(server: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda *args, **more: pytest.fail("a prompt"))
    with pytest.raises(SourceError, match="a user without a password"):
        xr.open_dataset(url(server, SCAN), engine="imagedata", storage_options={"username": "anna"})
    with pytest.raises(SourceError, match=r"401.*guest; give username="):
        xr.open_dataset(url(server, SCAN), engine="imagedata")


def test_alias_tokens(server: Standin) -> None:
    alias = "0f8fad5b-d9cb-469f-a165-70867728950e"
    server.users[alias] = ("secret", "owner")
    image = read(url(server, SCAN), username=alias, password="secret")
    assert image.sizes["slice"] == 10
    assert not server.count("services/auth")


def test_no_secret_anywhere(server: Standin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    image = read(url(server, SCAN))
    assert b"sesame" not in pickle.dumps(image)
    assert "sesame" not in repr(image) + str(image.encoding)
    server.fail("services/auth", "drop", 9)
    with pytest.raises(SourceError) as found:
        read(url(server, SCAN), retries=0)
    error: BaseException | None = found.value
    while error is not None:  # no error on the way holds the request, in whose body the password is
        assert "sesame" not in str(error) + str(vars(error))
        assert getattr(error, "request", None) is None
        error = error.__context__
    server.faults.clear()
    with pytest.raises(SourceError, match="not accepted") as found:
        read(url(server, SCAN), password="open sesame")
    assert "sesame" not in str(found.value)
    assert "sesame" not in caplog.text
    with pytest.raises(SourceError, match="holds no user") as found:
        read(f"xnat://anna:sesame@127.0.0.1:{server.port}{SCAN}")
    assert "sesame" not in str(found.value)


def test_certificates_are_verified(
    folder: Path, tmp_path: Path, require_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = require_module("trustme").CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    require_module("trustme").CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    for host, said in (("127.0.0.1", ""), ("archive.example", "another host")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        with standin(context) as server:
            fill(server, folder)
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
            if said:
                with pytest.raises(SourceError, match=said):
                    read(url(server, SCAN), ca=tmp_path / "ca.pem")
            else:
                assert read(url(server, SCAN), ca=tmp_path / "ca.pem").sizes["slice"] == 10
            server.log.clear()
            with pytest.raises(SourceError, match="ca= names a file"):
                read(url(server, SCAN))
            assert not server.log  # no password was sent


def test_a_certificate_of_ours_is_shown(folder: Path, tmp_path: Path, require_module: Any) -> None:
    files = certificates_in(tmp_path / "certificates", require_module("trustme"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files["ca.pem"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files["right"] / "cert.pem", files["right"] / "key.pem")
    own = {"cert": files["client"] / "cert.pem", "key": files["client"] / "key.pem"}
    with standin(context) as server:
        fill(server, folder)
        assert read(url(server, SCAN), ca=files["ca.pem"], **own).sizes["slice"] == 10
        with pytest.raises(SourceError, match=r"cut|certificate"):
            read(url(server, SCAN), ca=files["ca.pem"], retries=0)


def test_a_login_that_gets_stuck_leaves_no_session(server: Standin) -> None:
    server.fail("GET /data/JSESSION", "503", 9)
    with pytest.raises(SourceError, match="no session can be opened"):
        read(url(server, SCAN))
    assert server.count("services/auth") == 1
    assert not server.sessions


# --- what fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["503", "drop", "cut", "corrupt", "short", "html", "401", "redirect", "expire"])
@pytest.mark.parametrize("where", ["resources?", "files?format=json", "format=zip"])
def test_a_passing_failure_costs_nothing(server: Standin, folder: Path, where: str, how: str) -> None:
    server.fail(where, how)
    np.testing.assert_array_equal(read(url(server, SCAN)), opened(folder))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("503", "503"), ("drop", "refused or was cut"), ("cut", "cut"), ("corrupt", "digest"),
        ("short", "bytes arrived"),
        ("html", "web page"), ("401", "401"), ("403", "403"), ("redirect", "login page"), ("404", "no such"),
    ],
)  # fmt: skip
def test_a_lasting_failure_is_one_clear_error(server: Standin, how: str, said: str) -> None:
    server.fail("files/", how, 99)
    server.fail("format=zip", how, 99)
    with pytest.raises(SourceError, match=said) as found:
        read(url(server, SCAN))
    assert "Mueller" not in str(found.value)
    assert not list(transfers._passing().glob("*.part"))
    server.faults.clear()
    assert read(url(server, SCAN)).sizes["slice"] == 10


def test_a_server_that_is_down() -> None:
    with standin() as gone:
        address = url(gone, SCAN)
    with pytest.raises(SourceError, match="refused or was cut"):
        read(address, retries=0)


def test_hostile_names(server: Standin, folder: Path) -> None:
    files = sorted(folder.iterdir())
    names = [
        "a b#c%20d?.dcm",
        "../../up.dcm",
        "sub/same.dcm",
        "Sub/SAME.dcm",
        "x" * 220 + ".dcm",
        "complete.json",
        "é.dcm",
    ]
    server.experiments[KEY]["9"] = Scan(
        {"type": "x"}, {"DICOM": {n: f.read_bytes() for n, f in zip(names, files, strict=False)}}
    )
    names.remove("../../up.dcm")  # hidden, as any name with a dot in front is
    catalog = imagedata_xr.catalog(url(server, "/P//E1/9"), storage_options=ME)
    assert len(catalog) == 1
    held = [p for p in transfers._passing().rglob("*") if p.name == "up.dcm"]
    assert not held

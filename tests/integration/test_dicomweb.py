"""Archives by DICOMweb: Orthanc's plugin, and a service that fails on purpose."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from click.testing import CliRunner
from dicom_servers import Server, fill_with_two_patients, orthanc
from dicomweb_server import service as standin
from hypothesis import given
from hypothesis import strategies as st
from phantoms import ANNA, ANNA_LATER, BERT, make, opened

import imagedata_xr
from imagedata_xr.cli import main
from imagedata_xr.errors import FormatError, IdentityError, NotFoundError, SourceError
from imagedata_xr.stores.network.multipart import boundary_of, parts
from imagedata_xr.stores.network.report import SendError

pytestmark = pytest.mark.usefixtures("nothing_secret")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, require_program: Any, require_module: Any) -> Iterator[Server]:
    require_program("Orthanc")
    require_module("requests")
    with orthanc(tmp_path_factory.mktemp("orthanc") / "server") as found:
        yield found


@pytest.fixture(scope="module")
def web(server: Server) -> str:
    return f"dicomweb+http://127.0.0.1:{server.web}/dicom-web"


@pytest.fixture(scope="module")
def archive(server: Server, web: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An archive that another program has filled."""
    fill_with_two_patients(server, tmp_path_factory.mktemp("patients"))
    return web


@pytest.mark.parametrize(
    "path",
    [
        f"/studies/{ANNA.study}/series/1.2.826.0.1.3680043.8.498.50",
        f"/patients/P-1/studies/{ANNA.study}/series/5",
        "/studies/1/series/005",
    ],
)
def test_a_series_by_its_uid_number_or_accession_number(archive: str, tmp_path: Path, path: str) -> None:
    make(tmp_path, phantoms.mr(shape=(2, 3, 6, 8), uid="1.2.826.0.1.3680043.8.498.50", number=5))
    found = xr.open_dataarray(archive + path, engine="imagedata")
    here = opened(tmp_path)
    np.testing.assert_array_equal(found, here)
    np.testing.assert_allclose(found.imd.affine, here.imd.affine)
    assert int(found.patient) == int(here.patient)
    assert "P-1" not in str(found.source.item())
    assert found.imd.header[0, 0].SOPInstanceUID == here.imd.header[0, 0].SOPInstanceUID


def test_a_study_and_a_patient_are_trees(archive: str) -> None:
    assert len(xr.open_datatree(f"{archive}/studies/{ANNA.study}", engine="imagedata").leaves) == 2
    assert len(xr.open_datatree(f"{archive}/patients/P-1", engine="imagedata").leaves) == 3


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("/patients/nobody", NotFoundError, "no such patient"),
        ("/studies/1.2.3.4", NotFoundError, "no such study"),
        (f"/studies/{ANNA.study}/series/99", NotFoundError, "there are 5, 6"),
        (f"/studies/{ANNA.study}/series/1.2.3.4", NotFoundError, "no such series"),
        ("", SourceError, "whole archive"),
        ("/studies/1*", SourceError, "wildcards"),
        ("/series/5", SourceError, "needs its study"),
        ("/studies", SourceError, "has the form"),
        (f"/studies/{ANNA.study}/instances/5", SourceError, "named by its UID"),
        (f"/studies/{ANNA.study}/series/5/instances/1.2.3", NotFoundError, "no such image"),
    ],
)
def test_what_is_not_there_is_said(archive: str, path: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as found:
        xr.open_dataset(archive + path, engine="imagedata")
    assert "nobody" not in str(found.value)


def test_a_second_opening_transfers_nothing(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{archive}/studies/{ANNA_LATER.study}"
    first = xr.open_dataarray(url, engine="imagedata").load()

    def fail(*args: Any) -> None:
        raise AssertionError("a transfer")

    monkeypatch.setattr("imagedata_xr.stores.network.web_retrieve._stream", fail)
    np.testing.assert_array_equal(xr.open_dataarray(url, engine="imagedata"), first)


def test_listing_at_every_level(archive: str) -> None:
    def ls(*args: str) -> str:
        result = CliRunner().invoke(main, ["ls", *args])
        assert result.exit_code == 0, result.output
        return result.output

    assert ANNA.study in ls(archive)
    assert "P-1" not in ls(archive)
    assert "P-1" in ls(archive, "--identifiers")
    assert BERT.study not in ls(f"{archive}/patients/P-1")
    assert "1.2.826.0.1.3680043.8.498.50" in ls(f"{archive}/studies/{ANNA.study}")
    assert len(ls(f"{archive}/studies/{ANNA.study}/series/5").splitlines()) == 6


def test_written_and_read_back(web: str, tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    image = opened(tmp_path / "in")
    written = (image + 7).imd.write(web, series_number=77, series_description="plus 7")
    assert sorted(written.report.stored) == sorted(written.uids)
    found = xr.open_dataarray(f"{web}/studies/{ANNA.study}/series/{written.series}", engine="imagedata")
    np.testing.assert_array_equal(found, image + 7)
    one = xr.open_dataarray(written.paths[0], engine="imagedata")
    number = int(one.imd.header[0, 0].InstanceNumber) - 1
    np.testing.assert_array_equal(one.values[0, 0], (image + 7).values.reshape(-1, 6, 8)[number])
    assert found.attrs["SeriesDescription"] == "plus 7"
    assert int(found.patient) == int(image.patient)


def test_compressed_images_come_as_they_are_stored(web: str, tmp_path: Path, require_module: Any) -> None:
    require_module("imagecodecs")
    make(tmp_path / "in", phantoms.mr(shape=(1, 3, 16, 16), who=BERT))
    image = opened(tmp_path / "in") * 2
    image.imd.write(tmp_path / "out", format_options={"transfer_syntax": "jpeg2000"})
    sent = opened(tmp_path / "out").imd.write(web)
    found = xr.open_dataarray(f"{web}/studies/{BERT.study}/series/{sent.series}", engine="imagedata")
    np.testing.assert_array_equal(found, image)
    assert "JPEG 2000" in found.imd.header[0, 0].file_meta.TransferSyntaxUID.name


def test_old_uids_and_images_of_nobody_are_refused(archive: str) -> None:
    image = xr.open_dataarray(f"{archive}/studies/{ANNA_LATER.study}", engine="imagedata")
    with pytest.raises(FormatError, match="resend"):
        image.imd.write(archive, keep_uid=True)
    assert image.imd.write(archive, keep_uid=True, storage_options={"resend": True}).report.complete
    with pytest.raises(IdentityError, match="patient"):
        imagedata_xr.from_array(np.zeros((2, 4, 4)), spacing=(1, 1, 1)).imd.write(archive)


# --- a service that fails ------------------------------------------------------------------------------------------

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@pytest.fixture
def service() -> Iterator[Callable[..., str]]:
    """Start a service that answers as told; gives its address."""
    servers = []

    def start(answer: Answer, context: ssl.SSLContext | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self, b"")

            def do_POST(self) -> None:
                body = b""
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                answer(self, body)

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"dicomweb+http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}/web"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def reply(
    handler: BaseHTTPRequestHandler, code: int, content: bytes = b"", kind: str = "application/dicom+json"
) -> None:
    handler.send_response(code)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(1, 6, 6, 8)))
    return opened(tmp_path / "in") + 1


def _uids(body: bytes) -> list[str]:
    from io import BytesIO

    boundary = body.split(b"\r\n", 1)[0][2:]
    files = [b"".join(part) for part in parts([body], boundary)]
    return [str(pydicom.dcmread(BytesIO(f)).SOPInstanceUID) for f in files]


def test_what_a_service_refuses_and_coerces_is_in_the_report(service: Any, image: xr.DataArray) -> None:
    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if not body:
            return reply(handler, 404)
        uids = _uids(body)
        item: list[dict[str, Any]] = [{"00081155": {"vr": "UI", "Value": [u]}} for u in uids]
        item[1] |= {"00081196": {"vr": "US", "Value": [0xB000]}}
        item[2] |= {"00081197": {"vr": "US", "Value": [0xC000]}}
        said = {"00081199": {"vr": "SQ", "Value": item[:2] + item[4:]}, "00081198": {"vr": "SQ", "Value": [item[2]]}}
        return reply(handler, 202, json.dumps(said).encode())

    with pytest.raises(SendError, match="4 stored, 1 failed, 1 unknown") as error:
        image.imd.write(service(answer), storage_options={"verify": False})
    report = error.value.report
    assert list(report.failed.values()) == ["status 0xC000"]
    assert list(report.warned.values()) == ["coerced (status 0xB000)"]
    assert len(report.unknown) == 1


def test_a_service_without_an_answer_leaves_images_unknown(service: Any, image: xr.DataArray) -> None:
    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        reply(handler, 500 if body else 404, b"Mueller")

    with pytest.raises(SendError, match="500") as error:
        image.imd.write(service(answer), storage_options={"retries": 0})
    assert len(error.value.report.unknown) == 6
    assert "Mueller" not in str(error.value)


@pytest.mark.parametrize(("code", "said"), [(401, "who asks"), (403, "does not allow"), (500, "500")])
def test_a_service_that_refuses_is_said(service: Any, code: int, said: str) -> None:
    url = service(lambda handler, body: reply(handler, code, b"Mueller"))
    with pytest.raises(SourceError, match=said) as error:
        xr.open_dataset(f"{url}/studies/1.2.3", engine="imagedata", storage_options={"retries": 0})
    assert "Mueller" not in str(error.value)


def test_a_passing_failure_is_tried_again(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda s: None)
    codes = iter([503, 502])

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        reply(handler, next(codes, 200), b"[]")

    with pytest.raises(NotFoundError, match="no such study"):
        xr.open_dataset(f"{service(answer)}/studies/1.2.3", engine="imagedata")


@pytest.mark.parametrize("small", [8 << 20, 100])
def test_a_stream_that_is_cut_is_an_error_and_nothing_is_kept(
    service: Any, small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are filed beside the stream, and the large ones as they arrive."""
    monkeypatch.setattr("imagedata_xr.stores.network.web_retrieve._SMALL", small)
    files = make(tmp_path / "in", phantoms.mr(shape=(1, 3, 6, 8)))
    head = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
    whole = b"".join(head + f.read_bytes() + b"\r\n" for f in files) + b"--x--"
    sent = [whole]
    uids = [str(pydicom.dcmread(f).SOPInstanceUID) for f in files]

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = handler.path.partition("?")[0]
        if path.endswith("/studies"):
            return reply(handler, 200, json.dumps([{"0020000D": {"Value": ["1.2.3"]}}]).encode())
        if path.endswith("/series"):
            return reply(handler, 200, json.dumps([{"0020000E": {"Value": ["1.2.3.4"]}}]).encode())
        if path.endswith("/instances"):
            return reply(handler, 200, json.dumps([{"00080018": {"Value": [u]}} for u in uids]).encode())
        return reply(handler, 200, sent[0], 'multipart/related; type="application/dicom"; boundary=x')

    url = f"{service(answer)}/studies/1.2.3"
    for length in (len(whole) - 5, len(whole) // 2, 10):
        sent[0] = whole[:length]
        with pytest.raises(SourceError, match=r"cut|damaged"):
            xr.open_dataset(url, engine="imagedata")
    sent[0] = whole.replace(b"DICM", b"GARB", 1)
    with pytest.raises(SourceError, match="no DICOM file"):
        xr.open_dataset(url, engine="imagedata")
    sent[0] = whole
    np.testing.assert_array_equal(xr.open_dataarray(url, engine="imagedata"), opened(tmp_path / "in"))


def test_an_image_is_who_its_data_set_says(tmp_path: Path) -> None:
    """Some programs change the UID there, and forget the file meta information, as archives do not."""
    for file in make(tmp_path / "in", phantoms.mr(shape=(1, 2, 6, 8), uid="1.2.3.4.5")):
        ds = pydicom.dcmread(file)
        ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(f"{ds.SOPInstanceUID}.9")
        pydicom.dcmwrite(file, ds, enforce_file_format=False)
    with standin() as web:
        web.add(tmp_path / "in")
        found = xr.open_dataarray(f"{web.url}/studies/{ANNA.study}/series/1.2.3.4.5", engine="imagedata")
        np.testing.assert_array_equal(found, opened(tmp_path / "in"))


def test_authentication_and_secrets(service: Any, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append(handler.headers.get("Authorization"))
        reply(handler, 401)

    caplog.set_level("DEBUG")
    url = f"{service(answer)}/studies/1.2.3"
    for options in ({"username": "me", "password": "sesame"}, {"token": "sesame"}):
        with pytest.raises(SourceError, match="401") as error:
            xr.open_dataset(url, engine="imagedata", storage_options=options)
        assert "sesame" not in str(error.value)
    assert seen == [f"Basic {base64.b64encode(b'me:sesame').decode()}", "Bearer sesame"]
    assert "sesame" not in caplog.text


def test_certificates_are_verified(service: Any, tmp_path: Path, require_module: Any) -> None:
    trustme = require_module("trustme")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for host, said in (("127.0.0.1", "no such study"), ("archive.example", "another host")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        url = f"{service(lambda handler, body: reply(handler, 200, b'[]'), context)}/studies/1.2.3"
        with pytest.raises(SourceError, match=said):
            xr.open_dataset(url, engine="imagedata", storage_options={"ca": tmp_path / "ca.pem", "retries": 0})
        with pytest.raises(SourceError, match="not accepted"):
            xr.open_dataset(url, engine="imagedata", storage_options={"retries": 0})


# --- streams -------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(1, 50), st.booleans())
def test_a_stream_comes_apart_as_it_was_put_together(files: list[bytes], size: int, preamble: bool) -> None:
    boundary = b"b0undary"
    files = [f for f in files if b"--" + boundary not in f] or [b""]
    data = b"preamble\r\n" * preamble
    data += b"".join(b"--" + boundary + b"\r\nContent-Type: x\r\n\r\n" + f + b"\r\n" for f in files)
    data += b"--" + boundary + b"--"
    pieces = [data[k : k + size] for k in range(0, len(data), size)]
    assert [b"".join(p) for p in parts(pieces, boundary)] == files
    for k in range(len(data) - 1):
        with pytest.raises(SourceError, match=r"cut|damaged"):
            [b"".join(p) for p in parts([data[:k]], boundary)]


def test_the_boundary_is_that_of_the_header() -> None:
    assert boundary_of('multipart/related; type="application/dicom"; boundary="a b"') == b"a b"
    assert boundary_of("Multipart/Related; boundary=xyz; type=a") == b"xyz"
    with pytest.raises(SourceError, match="multipart"):
        boundary_of("text/html")

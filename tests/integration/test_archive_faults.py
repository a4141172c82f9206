"""What goes wrong with real archives, Orthanc and dcmqrscp each: one clear error or report, and nothing lost."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import multiframe
import numpy as np
import phantoms
import pytest
import xarray as xr
from dicom_servers import Server, certificates_in, dcmqrscp, fill, free_port, orthanc
from phantoms import ANNA, BERT, make, opened
from proxy import Proxy, proxy

from imagedata_xr.errors import NotFoundError, SourceError
from imagedata_xr.stores.network import transfers
from imagedata_xr.stores.network.dimse import listing
from imagedata_xr.stores.network.report import SendError

pytestmark = pytest.mark.usefixtures("nothing_secret")

SERVERS: dict[str, tuple[Any, str]] = {"orthanc": (orthanc, "Orthanc"), "dcmqrscp": (dcmqrscp, "dcmqrscp")}
SERIES = "1.2.826.0.1.3680043.8.498.80"


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, require_program: Any, require_module: Any
) -> Iterator[Server]:
    start, program = SERVERS[request.param]
    require_program(program)
    require_module("pynetdicom")
    with start(tmp_path_factory.mktemp(request.param) / "server") as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("series")
    make(place, phantoms.mr(shape=(1, 20, 64, 64), uid=SERIES))
    return place


@pytest.fixture(scope="module")
def filled(server: Server, folder: Path) -> Server:
    fill(server, folder)
    return server


@pytest.fixture
def faulty(filled: Server) -> Iterator[Proxy]:
    with proxy(filled.port) as found:
        yield found


def before(server: Server, through: Proxy) -> str:
    """Address of an archive by way of a proxy, which is another server to the cache."""
    return replace(server, port=through.port).url


def read(url: str, **options: Any) -> xr.DataArray:
    return xr.open_dataarray(url, engine="imagedata", storage_options={"timeout": 10, "connect": 5, **options})


# --- reading ---------------------------------------------------------------------------------------------------------


def test_an_enhanced_series(server: Server, tmp_path: Path) -> None:
    frames = [multiframe.Frame(k, v, groups=multiframe.when(2.0 * v)) for v in range(3) for k in range(4)]
    multiframe.save(multiframe.instance(frames), tmp_path / "enhanced.dcm")
    fill(server, tmp_path)
    here = xr.open_dataarray(str(tmp_path), engine="imagedata")
    header = here.imd.header[0, 0]
    found = read(f"{server.url}//{header.StudyInstanceUID}/{header.SeriesInstanceUID}")
    np.testing.assert_array_equal(found, here)
    np.testing.assert_allclose(found.imd.affine, here.imd.affine)
    sent = (here + 1).imd.write(server.url)
    np.testing.assert_array_equal(read(f"{server.url}//{header.StudyInstanceUID}/{sent.series}"), here + 1)


@pytest.mark.parametrize("how", ["reset", "abort"])
def test_a_transfer_that_breaks_once_is_completed(filled: Server, faulty: Proxy, folder: Path, how: str) -> None:
    faulty.fail(how, down=True, times=1)
    np.testing.assert_array_equal(read(f"{before(filled, faulty)}//{ANNA.study}/{SERIES}"), opened(folder))
    assert faulty.happened == 1


@pytest.mark.parametrize("how", ["close", "reset", "abort"])
def test_a_transfer_that_breaks_always_is_an_error_and_nothing_is_kept(filled: Server, faulty: Proxy, how: str) -> None:
    faulty.fail(how, down=True)
    faulty.after = 20_000
    kept = set(transfers._passing().iterdir())
    with pytest.raises(SourceError, match=r"\d+ of the 20 images of a series did not arrive.*Nothing"):
        read(f"{before(filled, faulty)}//{ANNA.study}/{SERIES}")
    assert set(transfers._passing().iterdir()) == kept
    faulty.how = ""
    assert read(f"{before(filled, faulty)}//{ANNA.study}/{SERIES}").sizes["slice"] == 20


def test_an_image_that_the_archive_lost_is_missed(tmp_path: Path, server: Server, folder: Path) -> None:
    start, _ = SERVERS[server.name]
    # Orthanc would answer from memory
    with start(tmp_path / "server", **({"MaximumStorageCacheSize": 0} if server.name == "orthanc" else {})) as own:
        fill(own, folder)
        files = [
            p for p in (tmp_path / "server" / "db").rglob("*") if p.is_file() and p.read_bytes()[128:132] == b"DICM"
        ]
        assert len(files) == 20
        files[7].unlink()
        # Orthanc misses it when it is asked what there is, dcmqrscp when it is to send it
        with pytest.raises(SourceError, match=r"1 of the 20 images of a series did not arrive|fails to answer"):
            read(f"{own.url}//{ANNA.study}/{SERIES}")


def test_a_wrong_title_and_a_server_that_is_down(filled: Server, folder: Path) -> None:
    wrong = filled.url.replace("ARCHIVE", "WRONG")
    with pytest.raises(SourceError, match="title"):
        read(f"{wrong}//{ANNA.study}")
    down = replace(filled, port=free_port()).url
    for call in (lambda: read(f"{down}//{ANNA.study}", retries=0), lambda: listing(down, {"retries": 0})):
        with pytest.raises(SourceError, match="can't be reached: Connection refused"):
            call()
    with pytest.raises(SourceError, match="can't be reached: Connection refused"):
        (opened(folder) + 1).imd.write(down, storage_options={"retries": 0})


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "down"), [("close", False), ("reset", True), ("abort", False)])
def test_sending_that_breaks_always_is_reported_and_resumed(
    filled: Server, faulty: Proxy, folder: Path, how: str, down: bool
) -> None:
    image = opened(folder) + 1
    faulty.fail(how, down=down)
    faulty.after = 1_500 if down else 60_000
    with pytest.raises(SendError) as error:
        image.imd.write(before(filled, faulty), storage_options={"retries": 0, "timeout": 10})
    report = error.value.report
    assert not report.failed
    assert 1 <= len(report.stored) < 20
    assert len({*report.stored, *report.unknown, *report.not_sent}) == 20
    assert len(report.stored) + len(report.unknown) + len(report.not_sent) == 20
    mine = _series(error.value)
    found = [row for row in listing(f"{filled.url}//{ANNA.study}") if row["address"].endswith(mine)]
    there = {row["address"].rpartition("/")[2] for row in listing(found[0]["address"])}
    assert set(report.stored) <= there  # nothing counts that is not there
    assert not set(report.not_sent) & there
    faulty.how = ""
    assert error.value.resume is not None
    assert error.value.resume().complete
    assert len(report.stored) == len(set(report.stored)) == 20
    np.testing.assert_array_equal(read(found[0]["address"]), image)


def _series(error: SendError) -> str:
    import pydicom

    assert error.resume is not None
    sink: Any = getattr(error.resume, "__self__")  # noqa: B009
    return str(pydicom.dcmread(sink.images[0].path, stop_before_pixels=True).SeriesInstanceUID)


def test_sending_that_breaks_once_is_completed(filled: Server, faulty: Proxy, folder: Path) -> None:
    faulty.fail("close", down=False, times=1)
    written = (opened(folder) + 1).imd.write(before(filled, faulty), storage_options={"timeout": 10})
    assert faulty.happened == 1
    assert len(written.report.stored) == 20
    np.testing.assert_array_equal(read(f"{filled.url}//{ANNA.study}/{written.series}"), opened(folder) + 1)


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, require_module: Any) -> dict[str, Path]:
    return certificates_in(tmp_path_factory.mktemp("certificates"), require_module("trustme"))


def secured(files: dict[str, Path], name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files["ca.pem"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files[name] / "cert.pem", files[name] / "key.pem")
    return context


def test_encrypted(filled: Server, folder: Path, files: dict[str, Path]) -> None:
    own = {"cert": files["client"] / "cert.pem", "key": files["client"] / "key.pem"}
    options = {"ca": files["ca.pem"], **own}
    with proxy(filled.port, secured(files, "right")) as front:
        url = before(filled, front).replace("dicom://", "dicom+tls://")
        image = read(f"{url}//{ANNA.study}/{SERIES}", **options)
        np.testing.assert_array_equal(image, opened(folder))
        sent = (image * 2).imd.write(url, storage_options=options)
        np.testing.assert_array_equal(read(f"{url}//{ANNA.study}/{sent.series}", **options), image * 2)
        strange: dict[str, Any] = {"ca": files["stranger.pem"], **own}
        for bad, said in ((strange, "not accepted"), ({"ca": files["ca.pem"]}, "certificate")):
            with pytest.raises(SourceError, match=said):
                read(f"{url}//{ANNA.study}/{SERIES}", retries=0, **bad)
        with pytest.raises(SourceError, match="ends the association"):  # not encrypted, to a port that is
            read(f"{before(filled, front)}//{ANNA.study}/{SERIES}", retries=0)
    with proxy(filled.port, secured(files, "wrong")) as front:
        url = before(filled, front).replace("dicom://", "dicom+tls://")
        with pytest.raises(SourceError, match="not valid for"):
            read(f"{url}//{ANNA.study}/{SERIES}", retries=0, **options)
    with pytest.raises(SourceError, match="may not encrypt"):  # encrypted, to a port that is not
        read(f"{filled.url.replace('dicom://', 'dicom+tls://')}//{ANNA.study}", retries=0, **options)


def test_a_patient_who_is_not_there(filled: Server) -> None:
    with pytest.raises(NotFoundError, match="no such study"):
        read(f"{filled.url}//{BERT.study}")

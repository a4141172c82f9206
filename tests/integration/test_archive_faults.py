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
import pydicom
import pytest
import xarray as xr
from dicom_servers import SERVERS, Server, dcmqrscp, fill, free_port, orthanc, storescp
from dicomweb_server import service
from phantoms import ANNA, BERT, make, opened
from proxy import Proxy, proxy

from imagedata_xr.errors import ImagedataWarning, NotFoundError, SourceError
from imagedata_xr.stores.network import transfers
from imagedata_xr.stores.network.dimse import listing
from imagedata_xr.stores.network.report import SendError

pytestmark = pytest.mark.usefixtures("nothing_secret")

SERIES = "1.2.826.0.1.3680043.8.498.80"


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
    assert error.resume is not None
    sink: Any = getattr(error.resume, "__self__")  # noqa: B009
    return str(pydicom.dcmread(sink.images[0].path, stop_before_pixels=True).SeriesInstanceUID)


def test_sending_that_breaks_once_is_completed(filled: Server, faulty: Proxy, folder: Path) -> None:
    faulty.fail("close", down=False, times=1)
    written = (opened(folder) + 1).imd.write(before(filled, faulty), storage_options={"timeout": 10})
    assert faulty.happened == 1
    assert len(written.report.stored) == 20
    np.testing.assert_array_equal(read(f"{filled.url}//{ANNA.study}/{written.series}"), opened(folder) + 1)


# --- archives that say what is not so --------------------------------------------------------------------------------


def test_what_dcmqrscp_said_it_stored_and_threw_away_does_not_count(
    tmp_path: Path, folder: Path, require_program: Any, require_module: Any
) -> None:
    """It makes room for each image by removing an older one of the study, and answers 0x0000 to all."""
    require_program("dcmqrscp")
    require_module("pynetdicom")
    with dcmqrscp(tmp_path / "server", quota="40kb") as own:
        with pytest.raises(SendError, match=r"said it stored .* that it does not list") as error:
            (opened(folder) + 1).imd.write(own.url, storage_options={"retries": 0})
        report = error.value.report
        there = {
            row["address"].rpartition("/")[2] for row in listing(f"{own.url}//{ANNA.study}/{_series(error.value)}")
        }
    assert set(report.stored) == there
    assert len(report.stored) + len(report.unknown) == 20
    assert 0 < len(report.stored) < 20
    assert report.unlisted == report.unknown


def test_what_orthanc_filtered_does_not_count(
    tmp_path: Path, folder: Path, require_program: Any, require_module: Any
) -> None:
    """A filter of its administrator drops an image, of which it says that it was stored."""
    require_program("Orthanc")
    require_module("pynetdicom")
    script = tmp_path / "filter.lua"
    script.write_text("n = 0\nfunction ReceivedInstanceFilter(dicom, origin, info)\n n = n + 1\n return n ~= 3\nend\n")
    image = opened(folder).isel(slice=slice(0, 6)) + 1
    with orthanc(tmp_path / "server", LuaScripts=[str(script)], LimitFindInstances=5) as own:
        with pytest.raises(SendError, match="5 stored, 1 unknown") as error:
            image.imd.write(own.url, storage_options={"retries": 0})
        assert error.value.resume is not None
        with pytest.warns(ImagedataWarning, match="could not be asked"):  # six are more than five
            assert error.value.resume().complete  # the next one is let through
        web = f"dicomweb+http://127.0.0.1:{own.web}/dicom-web"
        written = (image + 1).imd.write(web)  # which answers questions with five images at a time
        found = xr.open_dataarray(f"{web}/studies/{ANNA.study}/series/{written.series}", engine="imagedata")
        np.testing.assert_array_equal(found, image + 1)


def test_one_image_that_a_real_receiver_has_no_room_for(
    tmp_path: Path, folder: Path, require_program: Any, require_module: Any
) -> None:
    """DCMTK's receiver answers 0xA700 where it can't make a file: a folder has its name."""
    require_program("storescp")
    require_module("pynetdicom")
    image = opened(folder).isel(slice=slice(0, 5))
    uid = str(image.imd.header[0, 2].SOPInstanceUID)
    with storescp(tmp_path / "server") as own:
        (tmp_path / "server" / "taken" / f"MR.{uid}").mkdir()
        options = {"resend": True, "retries": 0}
        with pytest.raises(SendError, match="4 stored, 1 failed") as error:
            image.imd.write(own.url, keep_uid=True, storage_options=options)
        assert error.value.report.failed == {uid: "status 0xA700"}
        (tmp_path / "server" / "taken" / f"MR.{uid}").rmdir()
        assert error.value.resume is not None
        assert error.value.resume().complete
    assert len([p for p in (tmp_path / "server" / "taken").iterdir() if p.is_file()]) == 5


def test_a_service_that_gives_few_rows_at_once_is_asked_again(folder: Path, require_module: Any) -> None:
    require_module("requests")
    with service() as web:
        web.add(folder)
        web.most = 7
        found = xr.open_dataarray(f"{web.url}/studies/{ANNA.study}/series/{SERIES}", engine="imagedata")
        np.testing.assert_array_equal(found, opened(folder))
        web.most, web.pages = 7, False  # it gives no more, however often it is asked
        web.files = dict(list(web.files.items())[::-1])
        options = {"username": "someone", "password": "sesame"}  # to whom nothing was given yet
        again = xr.open_dataarray(
            f"{web.url}/studies/{ANNA.study}/series/{SERIES}", engine="imagedata", storage_options=options
        )
        np.testing.assert_array_equal(again, opened(folder))


@pytest.mark.parametrize("part", ["/instances", "/series", "/studies"])
def test_an_answer_that_is_cut_is_said(folder: Path, part: str, require_module: Any) -> None:
    require_module("requests")
    with service() as web:
        web.add(folder)
        web.fail[part] = ["cut"] * 99
        with pytest.raises(SourceError, match="cut within an answer"):
            read(f"{web.url}/studies/{ANNA.study}/series/{SERIES}", token="sesame")


@pytest.mark.filterwarnings("error")
def test_studies_by_accession_numbers_of_any_form(server: Server, tmp_path: Path) -> None:
    """One of the form of a UID, and numbers of series that are negative or none."""
    who = replace(BERT, study="1.2.826.0.1.3680043.8.498.9")
    for file in make(tmp_path / "in", phantoms.ct(who=who, uid="1.2.826.0.1.3680043.8.498.95", number=-4)):
        ds = pydicom.dcmread(file)
        ds.AccessionNumber = "2024.815"
        ds.save_as(file)
    (opened(tmp_path / "in")).imd.write(server.url, keep_uid=True, storage_options={"resend": True})
    for path in ("//2024.815/-4", "/P-2/2024.815/1.2.826.0.1.3680043.8.498.95", f"//{who.study}/-4"):
        np.testing.assert_array_equal(read(f"{server.url}{path}"), opened(tmp_path / "in"))
    with pytest.raises(SourceError, match="neither a UID nor a series number"):
        read(f"{server.url}//2024.815/\u00b2")


# --- TLS -------------------------------------------------------------------------------------------------------------


def secured(certificates: dict[str, Path], name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates["ca.pem"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates[name] / "cert.pem", certificates[name] / "key.pem")
    return context


def test_encrypted(filled: Server, folder: Path, certificates: dict[str, Path]) -> None:
    own = {"cert": certificates["client"] / "cert.pem", "key": certificates["client"] / "key.pem"}
    options = {"ca": certificates["ca.pem"], **own}
    with proxy(filled.port, secured(certificates, "right")) as front:
        url = before(filled, front).replace("dicom://", "dicom+tls://")
        image = read(f"{url}//{ANNA.study}/{SERIES}", **options)
        np.testing.assert_array_equal(image, opened(folder))
        sent = (image * 2).imd.write(url, storage_options=options)
        np.testing.assert_array_equal(read(f"{url}//{ANNA.study}/{sent.series}", **options), image * 2)
        strange: dict[str, Any] = {"ca": certificates["stranger.pem"], **own}
        for bad, said in ((strange, "not accepted"), ({"ca": certificates["ca.pem"]}, "certificate")):
            with pytest.raises(SourceError, match=said):
                read(f"{url}//{ANNA.study}/{SERIES}", retries=0, **bad)
        with pytest.raises(SourceError, match="ends the association"):  # not encrypted, to a port that is
            read(f"{before(filled, front)}//{ANNA.study}/{SERIES}", retries=0)
    with proxy(filled.port, secured(certificates, "wrong")) as front:
        url = before(filled, front).replace("dicom://", "dicom+tls://")
        with pytest.raises(SourceError, match="not valid for"):
            read(f"{url}//{ANNA.study}/{SERIES}", retries=0, **options)
    with pytest.raises(SourceError, match="may not encrypt"):  # encrypted, to a port that is not
        read(f"{filled.url.replace('dicom://', 'dicom+tls://')}//{ANNA.study}", retries=0, **options)


def test_a_patient_who_is_not_there(filled: Server) -> None:
    with pytest.raises(NotFoundError, match="no such study"):
        read(f"{filled.url}//{BERT.study}")

"""Sending series to DICOM archives by DIMSE: real ones, and one that fails on purpose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from dicom_servers import Server, fill, fill_with_two_patients, free_port
from phantoms import ANNA, ANNA_LATER, BERT, make, opened

import imagedata_xr
from imagedata_xr.errors import FormatError, IdentityError, SourceError
from imagedata_xr.stores.network.report import SendError

pytestmark = pytest.mark.usefixtures("nothing_secret")


@pytest.fixture(scope="module")
def archive(server: Server, tmp_path_factory: pytest.TempPathFactory, require_program: Any) -> Server:
    """An archive that another program has filled."""
    fill_with_two_patients(server, tmp_path_factory.mktemp("patients"))
    return server


# --- writing ---------------------------------------------------------------------------------------------------------


def test_written_and_read_back(server: Server, tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    image = opened(tmp_path / "in")
    seen: list[tuple[str, int, int]] = []
    with imagedata_xr.set_options(progress=lambda what, done, total, size: seen.append((what, done, total))):
        written = (image + 7).imd.write(server.url, series_number=77, series_description="plus 7")
    assert seen[-1] == ("sent", 6, 6)
    assert sorted(written.report.stored) == sorted(written.uids)
    assert written.report.complete
    found = xr.open_dataarray(f"{server.url}//{ANNA.study}/77", engine="imagedata")
    np.testing.assert_array_equal(found, image + 7)
    np.testing.assert_allclose(found.imd.affine, image.imd.affine)
    assert found.attrs["SeriesDescription"] == "plus 7"
    assert found.attrs["PatientID"] == "P-1"
    assert int(found.patient) == int(image.patient)
    series = xr.open_dataarray(written.paths[0].rpartition("/")[0], engine="imagedata")
    assert series.sizes == image.sizes
    one = xr.open_dataarray(written.paths[0], engine="imagedata")
    number = int(one.imd.header[0, 0].InstanceNumber) - 1
    np.testing.assert_array_equal(one.values[0, 0], (image + 7).values.reshape(-1, 6, 8)[number])


def test_old_uids_are_refused_unless_meant(archive: Server) -> None:
    image = xr.open_dataarray(f"{archive.url}//{ANNA_LATER.study}", engine="imagedata")
    with pytest.raises(FormatError, match="resend"):
        image.imd.write(archive.url, keep_uid=True)
    again = image.imd.write(archive.url, keep_uid=True, storage_options={"resend": True})
    assert again.report.complete


def test_images_of_nobody_are_refused(server: Server) -> None:
    image = imagedata_xr.from_array(np.zeros((2, 4, 4)), spacing=(1, 1, 1))
    with pytest.raises(IdentityError, match="patient"):
        image.imd.write(server.url)


def test_another_study_than_that_of_the_address_is_refused(server: Server, tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr())
    with pytest.raises(SourceError, match="filed by their headers"):
        opened(tmp_path / "in").imd.write(f"{server.url}/P-1/1.2.3.4")


def test_a_wrong_title_is_said_and_nothing_is_sent(server: Server, tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr())
    # a busy archive may close the connection before its reason is read
    with pytest.raises(SourceError, match="title"):
        opened(tmp_path / "in").imd.write(server.url.replace("ARCHIVE", "WRONG"))


def test_a_server_that_is_down_is_said(tmp_path: Path) -> None:
    url = f"dicom://127.0.0.1:{free_port()}/ARCHIVE/P-1"
    with pytest.raises(SourceError, match="can't be reached: Connection refused"):
        xr.open_dataset(url, engine="imagedata", storage_options={"retries": 0})


@pytest.fixture
def faulty(require_module: Any) -> Iterator[Callable[[Callable[[int], int | None]], str]]:
    """Start a storage that answers the n-th image with a status, or cuts the connection on None."""
    require_module("pynetdicom")
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    servers: list[Any] = []

    def start(answer: Callable[[int], int | None]) -> str:
        count = iter(range(1, 1000))
        lock = threading.Lock()

        def store(event: Any) -> Any:
            with lock:
                code = answer(next(count))
            if code is None:
                event.assoc.abort()
                return 0x0000
            status = pydicom.Dataset()
            status.Status = code
            if code == 0xB000:
                status.OffendingElement = [0x00100020]
            return status

        ae = AE(ae_title="FAULTY")
        ae.supported_contexts = AllStoragePresentationContexts
        ae.add_supported_context("1.2.840.10008.1.1")
        server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        servers.append(server)
        return f"dicom://127.0.0.1:{server.server_address[1]}/FAULTY"

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(1, 6, 6, 8)))
    return opened(tmp_path / "in") + 1


# --- an archive that fails -------------------------------------------------------------------------------------------


def test_one_image_that_is_refused_is_in_the_report(faulty: Any, image: xr.DataArray) -> None:
    url = faulty(lambda n: 0xC000 if n == 3 else 0x0000)
    with pytest.raises(SendError, match="5 stored, 1 failed") as error:
        image.imd.write(url)
    report = error.value.report
    assert len(report.stored) == 5
    assert list(report.failed.values()) == ["status 0xC000"]
    assert not report.not_sent
    assert error.value.resume is not None
    assert error.value.resume().complete
    assert len(report.stored) == 6


def test_a_lack_of_space_is_tried_again(faulty: Any, image: xr.DataArray) -> None:
    written = image.imd.write(faulty(lambda n: 0xA700 if n == 2 else 0x0000))
    assert len(written.report.stored) == 6
    with pytest.raises(SendError, match="0xA700") as error:
        image.imd.write(faulty(lambda n: 0xA700))
    assert len(error.value.report.failed) == 6


def test_coerced_identifiers_are_reported_for_each_image(faulty: Any, image: xr.DataArray) -> None:
    written = image.imd.write(faulty(lambda n: 0xB000 if n == 4 else 0x0000))
    assert list(written.report.warned.values()) == ["coerced PatientID (status 0xB000)"]
    assert written.report.complete


def test_a_connection_that_is_cut_counts_nothing_as_stored_that_is_not(faulty: Any, image: xr.DataArray) -> None:
    url = faulty(lambda n: None if n >= 3 else 0x0000)
    with pytest.raises(SendError) as error:
        image.imd.write(url, storage_options={"retries": 0, "timeout": 5})
    report = error.value.report
    assert len(report.stored) == 2
    assert report.unknown  # the third, and whatever was on its way before the cut was noticed
    assert len(report.unknown) + len(report.not_sent) == 4


def test_what_a_cut_connection_left_is_sent_again(faulty: Any, image: xr.DataArray) -> None:
    written = image.imd.write(faulty(lambda n: None if n == 3 else 0x0000), storage_options={"timeout": 5})
    assert len(written.report.stored) == 6


def test_a_short_delivery_is_an_error_and_nothing_is_kept(server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(1, 3, 6, 8), uid="1.2.826.0.1.3680043.8.498.61", who=BERT))
    fill(server, tmp_path / "in")
    from imagedata_xr.stores.network.query import images_of

    more = "imagedata_xr.stores.network.retrieve.images_of"
    monkeypatch.setattr(more, lambda assoc, s: {**images_of(assoc, s), "1.2.3.4": ""})
    url = f"{server.url}//{BERT.study}/1.2.826.0.1.3680043.8.498.61"
    with pytest.raises(SourceError, match="1 of the 4 images of a series did not arrive"):
        xr.open_dataset(url, engine="imagedata")
    monkeypatch.undo()
    assert xr.open_dataarray(url, engine="imagedata").sizes["slice"] == 3


def test_no_log_names_the_patient(archive: Server, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level("DEBUG", logger="imagedata_xr")
    caplog.set_level("INFO", logger="pynetdicom")  # as of a user who asks for all that is worth knowing
    tree = xr.open_datatree(f"{archive.url}/P-1", engine="imagedata")
    image = xr.open_dataarray(f"{archive.url}/P-1/{ANNA.study}/5", engine="imagedata")
    (image + 1).imd.write(archive.url)
    assert tree.leaves
    assert [one for one in caplog.records if one.name.startswith("pynetdicom")]
    for name in ("P-1", "Müller", "M\\xfcller"):
        assert name not in caplog.text

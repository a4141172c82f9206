"""Storage commitment: Orthanc, which answers on a connection of its own, and an archive that answers on ours."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import phantoms
import pydicom
import pytest
import xarray as xr
from dicom_servers import certificates_in, dcmqrscp, free_port, orthanc
from phantoms import make, opened

from imagedata_xr.errors import SourceError
from imagedata_xr.stores.network.report import SendError

pytestmark = pytest.mark.usefixtures("nothing_secret")

MODEL, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


@pytest.fixture
def image(tmp_path: Path, require_module: Any) -> xr.DataArray:
    require_module("pynetdicom")
    make(tmp_path / "in", phantoms.mr(shape=(1, 4, 6, 8)))
    return opened(tmp_path / "in") + 1


def test_orthanc_commits_itself(image: xr.DataArray, tmp_path: Path, require_program: Any) -> None:
    require_program("Orthanc")
    port = free_port()
    with orthanc(tmp_path / "server", move_to=port) as server:
        report = image.imd.write(server.url, storage_options={"commit": True, "port": port}).report
    assert sorted(report.committed) == sorted(report.stored)
    assert len(report.committed) == 4


def test_what_orthanc_took_and_dropped_is_found(image: xr.DataArray, tmp_path: Path, require_program: Any) -> None:
    require_program("Orthanc")
    port = free_port()
    script = tmp_path / "filter.lua"
    # the third image is answered with success, and thrown away
    script.write_text("function ReceivedInstanceFilter(dicom, origin, info) return dicom.InstanceNumber ~= '3' end")
    with orthanc(tmp_path / "server", move_to=port, LuaScripts=[str(script)]) as server:
        with pytest.raises(SendError, match="said it stored 1 that it does not list"):
            image.imd.write(server.url, storage_options={"retries": 0})
        options = {"commit": True, "port": port, "verify": False}
        with pytest.raises(SendError, match=r"1 of 4 .*3 stored, 1 failed .*0x0112") as error:
            image.imd.write(server.url, storage_options=options)
        report = error.value.report
        assert len(report.committed) == len(report.stored) == 3
        assert error.value.resume is not None
        with pytest.raises(SendError, match="1 of 1"):
            error.value.resume()
        assert len(report.committed) == 3


def test_orthanc_over_tls(image: xr.DataArray, tmp_path: Path, require_program: Any, require_module: Any) -> None:
    require_program("Orthanc")
    files = certificates_in(tmp_path / "certificates", require_module("trustme"))
    port = free_port()
    us = {"us": {"AET": "IMAGEDATA_XR", "Host": "127.0.0.1", "Port": port, "UseDicomTls": True}}
    options: dict[str, Any] = {"commit": True, "port": port, "ca": files["ca.pem"]}
    own = {"cert": files["right"] / "cert.pem", "key": files["right"] / "key.pem"}
    with orthanc(tmp_path / "server", tls=files["right"], DicomModalities=us) as server:
        url = server.url.replace("dicom://", "dicom+tls://")
        assert len(image.imd.write(url, storage_options=options | own).report.committed) == 4
    us["us"]["UseDicomTls"] = False  # an archive that does not encrypt towards us
    with orthanc(tmp_path / "plain", tls=files["right"], DicomModalities=us) as server:
        url = server.url.replace("dicom://", "dicom+tls://")
        with pytest.raises(SendError, match="no answer within 2 s"):
            image.imd.write(url, storage_options={**options, **own, "timeout": 2})


def test_an_answer_to_nowhere_is_a_time_out(image: xr.DataArray, tmp_path: Path, require_program: Any) -> None:
    require_program("Orthanc")
    port = free_port()
    with orthanc(tmp_path / "server", move_to=port) as server:
        with pytest.raises(SendError, match=r"no answer within 2 s.*port= opens one") as error:
            image.imd.write(server.url, storage_options={"commit": True, "timeout": 2})
        assert len(error.value.report.stored) == 4
        assert not error.value.report.committed
        with pytest.raises(SendError, match="our title"):
            image.imd.write(server.url, storage_options={"commit": True, "timeout": 2, "port": free_port()})


def test_a_port_that_is_taken_is_said(image: xr.DataArray, tmp_path: Path, require_program: Any) -> None:
    require_program("Orthanc")
    with orthanc(tmp_path / "server") as server, socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        with pytest.raises(SendError, match="can't be opened") as error:
            image.imd.write(server.url, storage_options={"commit": True, "port": taken.getsockname()[1]})
    assert len(error.value.report.stored) == 4


def test_an_archive_without_the_service(image: xr.DataArray, tmp_path: Path, require_program: Any) -> None:
    require_program("dcmqrscp")
    with (
        dcmqrscp(tmp_path / "server") as server,
        pytest.raises(SendError, match=r"stored.*knows no storage commitment") as error,
    ):
        image.imd.write(server.url, storage_options={"commit": True})
    assert len(error.value.report.stored) == 4


# --- an archive that answers in the same association -----------------------------------------------------------------


@pytest.fixture
def archive() -> Iterator[Callable[..., str]]:
    """Start one that answers through a function from what is asked to what it says, or refuses with a status."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    servers: list[Any] = []

    def start(say: Callable[[pydicom.Dataset], pydicom.Dataset | int]) -> str:
        def asked(event: Any) -> tuple[int, None]:
            answer = say(event.action_information)
            if isinstance(answer, int):
                return answer, None

            def tell() -> None:
                time.sleep(0.1)
                event.assoc.send_n_event_report(answer, 1 + ("FailedSOPSequence" in answer), MODEL, INSTANCE)

            threading.Thread(target=tell).start()
            return 0x0000, None

        ae = AE(ae_title="KEEPER")
        ae.supported_contexts = list(AllStoragePresentationContexts)
        for service in ("1.2.840.10008.1.1", MODEL):
            ae.add_supported_context(service)
        handlers: list[Any] = [(evt.EVT_C_STORE, lambda event: 0x0000), (evt.EVT_N_ACTION, asked)]
        server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        servers.append(server)
        return f"dicom://127.0.0.1:{server.server_address[1]}/KEEPER"

    yield start
    for server in servers:
        server.shutdown()


def answer(asked: pydicom.Dataset, failed: int = 0, silent: int = 0) -> pydicom.Dataset:
    out = pydicom.Dataset()
    out.TransactionUID = asked.TransactionUID
    items = list(asked.ReferencedSOPSequence)
    for item in items[:failed]:
        item.FailureReason = 0x0110
    out.ReferencedSOPSequence = items[failed + silent :]
    if failed:
        out.FailedSOPSequence = items[:failed]
    return out


def test_an_answer_in_the_same_association(image: xr.DataArray, archive: Any) -> None:
    report = image.imd.write(archive(answer), storage_options={"commit": True}).report
    assert sorted(report.committed) == sorted(report.stored)


@pytest.mark.parametrize(("failed", "silent"), [(1, 0), (0, 1), (4, 0)])
def test_what_is_not_committed_has_failed_and_can_be_sent_again(
    image: xr.DataArray, archive: Any, failed: int, silent: int
) -> None:
    answers = iter([(failed, silent), (0, 0)])
    url = archive(lambda asked: answer(asked, *next(answers)))
    with pytest.raises(SendError, match="does not commit itself") as error:
        image.imd.write(url, storage_options={"commit": True})
    report = error.value.report
    assert len(report.failed) == failed + silent
    assert not set(report.failed) & set(report.stored)
    assert error.value.resume is not None
    assert error.value.resume() is report
    assert report.complete
    assert len(report.committed) == len(set(report.committed)) == len(report.stored) == 4


def test_a_refusal_and_an_answer_to_another_question(image: xr.DataArray, archive: Any) -> None:
    with pytest.raises(SourceError, match=r"refuses the request .status 0x0110"):
        image.imd.write(archive(lambda asked: 0x0110), storage_options={"commit": True})

    def another(asked: pydicom.Dataset) -> pydicom.Dataset:
        asked.TransactionUID = "1.2.3"
        return answer(asked)

    with pytest.raises(SendError, match="no answer within 1 s") as error:
        image.imd.write(archive(another), storage_options={"commit": True, "timeout": 1})
    assert not error.value.report.committed

"""DICOM archives by DIMSE, against real ones: Orthanc and DCMTK's dcmqrscp, and one that fails on purpose."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from click.testing import CliRunner
from dicom_servers import SERVERS, Server, dcmqrscp, fill, free_port, orthanc
from phantoms import ANNA, ANNA_LATER, BERT, make, opened

import imagedata_xr
from imagedata_xr.cli import main
from imagedata_xr.errors import FormatError, IdentityError, NotFoundError, SourceError
from imagedata_xr.stores.network import transfers
from imagedata_xr.stores.network.report import SendError

pytestmark = pytest.mark.usefixtures("nothing_secret")


@pytest.fixture(scope="module")
def archive(server: Server, tmp_path_factory: pytest.TempPathFactory, require_program: Any) -> Server:
    """An archive that another program has filled: two patients, three studies, four series."""
    folder = tmp_path_factory.mktemp("patients")
    make(folder / "a", phantoms.mr(shape=(2, 3, 6, 8), uid="1.2.826.0.1.3680043.8.498.50", number=5))
    make(folder / "b", phantoms.ct(uid="1.2.826.0.1.3680043.8.498.51", number=6))
    make(folder / "c", phantoms.mr(who=ANNA_LATER, uid="1.2.826.0.1.3680043.8.498.52", number=5))
    make(folder / "d", phantoms.pet(who=BERT, uid="1.2.826.0.1.3680043.8.498.53", number=7))
    fill(server, folder)
    return server


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        f"/P-1/{ANNA.study}/1.2.826.0.1.3680043.8.498.50",
        f"//{ANNA.study}/1.2.826.0.1.3680043.8.498.50",
        f"//{ANNA.study}/5",
        f"/P%2D1/{ANNA.study}/005",
        "//1/5",
    ],
)
def test_a_series_by_its_uid_number_or_accession_number(archive: Server, tmp_path: Path, path: str) -> None:
    make(tmp_path, phantoms.mr(shape=(2, 3, 6, 8), uid="1.2.826.0.1.3680043.8.498.50", number=5))
    found = xr.open_dataarray(archive.url + path, engine="imagedata")
    here = opened(tmp_path)
    np.testing.assert_array_equal(found, here)
    np.testing.assert_allclose(found.imd.affine, here.imd.affine)
    assert found.attrs["PatientID"] == "P-1"
    assert found.attrs["SeriesInstanceUID"] == here.attrs["SeriesInstanceUID"]
    assert int(found.patient) == int(here.patient)
    assert "P-1" not in str(found.source.item())
    assert found.imd.header[0, 0].SOPInstanceUID == here.imd.header[0, 0].SOPInstanceUID


def test_a_study_and_a_patient_are_trees(archive: Server) -> None:
    study = xr.open_datatree(f"{archive.url}//{ANNA.study}", engine="imagedata")
    assert len(study.leaves) == 2
    patient = xr.open_datatree(f"{archive.url}/P-1", engine="imagedata")
    assert len(patient.leaves) == 3
    with pytest.raises(imagedata_xr.SeriesError, match="series"):
        xr.open_dataset(f"{archive.url}//{ANNA.study}", engine="imagedata")
    one = xr.open_dataset(f"{archive.url}//{ANNA.study}", engine="imagedata", series=6)
    assert one.attrs.get("Modality", one.image.attrs["Modality"]) == "CT"


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("/nobody", NotFoundError, "no such patient"),
        ("//1.2.3.4", NotFoundError, "no such study"),
        ("//999", NotFoundError, "no such study"),
        (f"//{ANNA.study}/99", NotFoundError, "there are 5, 6"),
        (f"//{ANNA.study}/1.2.3.4", NotFoundError, "no such series"),
        (f"/P-2/{ANNA.study}", NotFoundError, "no such study"),
        ("", SourceError, "whole archive"),
        ("/P*", SourceError, "wildcards"),
        (f"//{ANNA.study}/5/1.2.3", NotFoundError, "no such image"),
        (f"//{ANNA.study}/5/7", SourceError, "named by its UID"),
        ("/a/b/c/d/e/f", SourceError, "are too many"),
        ("/P-1//5", SourceError, "needs its study"),
        (f"//{ANNA.study}/brain", SourceError, "neither"),
    ],
)
def test_what_is_not_there_is_said(archive: Server, path: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as found:
        xr.open_dataset(archive.url + path, engine="imagedata")
    assert "P-1" not in str(found.value)
    assert "nobody" not in str(found.value)


def test_a_second_opening_transfers_nothing(archive: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{archive.url}//{ANNA_LATER.study}"
    first = xr.open_dataarray(url, engine="imagedata").load()

    def fail(*args: Any) -> None:
        raise AssertionError("a transfer")

    monkeypatch.setattr("imagedata_xr.stores.network.retrieve._transfer", fail)
    np.testing.assert_array_equal(xr.open_dataarray(url, engine="imagedata"), first)


def test_a_lasting_cache_serves_another_process(
    archive: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{archive.url}//{ANNA.study}/6"
    with imagedata_xr.set_options(cache_folder=tmp_path / "cache"):
        first = xr.open_dataarray(url, engine="imagedata", storage_options={"keep": True}).load()
        folder, count, size = transfers.usage()
        assert count == 1
        assert size > 0
        assert folder.stat().st_mode & 0o777 == 0o700
        code = (
            "import sys, xarray as xr, imagedata_xr, imagedata_xr.stores.network.retrieve as r\n"
            "def fail(*a): raise AssertionError('a transfer')\n"
            "r._transfer = fail\n"
            "imagedata_xr.set_options(cache_folder=sys.argv[2])\n"
            "a = xr.open_dataarray(sys.argv[1], engine='imagedata', storage_options={'keep': True})\n"
            "sys.stdout.write(str(float(a.sum())))"
        )
        said = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, url, str(tmp_path / "cache")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert float(said.stdout) == float(first.sum())
        assert transfers.clear() == (1, size)
        assert not any(folder.iterdir())


def test_a_new_image_is_fetched_and_the_others_are_not(server: Server, tmp_path: Path) -> None:
    series = phantoms.mr(shape=(1, 4, 6, 8), uid="1.2.826.0.1.3680043.8.498.60", who=BERT)
    files = make(tmp_path / "x", series)
    last = files[-1]
    aside = tmp_path / "last.dcm"
    last.rename(aside)
    fill(server, tmp_path / "x")
    url = f"{server.url}//{BERT.study}/1.2.826.0.1.3680043.8.498.60"
    assert xr.open_dataarray(url, engine="imagedata").sizes["slice"] == 3
    (tmp_path / "y").mkdir()
    aside.rename(tmp_path / "y" / "last.dcm")
    fill(server, tmp_path / "y")
    counts: list[int] = []
    with imagedata_xr.set_options(progress=lambda what, done, total, size: counts.append(size)):
        whole = xr.open_dataarray(url, engine="imagedata")
    assert whole.sizes["slice"] == 4
    assert sum(np.diff([0, *counts]) > 0) == 1


@pytest.mark.parametrize(("syntax", "option"), [("jpeg-ls", "+xt"), ("jpeg2000", "+xv"), ("rle", "+xr")])
@pytest.mark.parametrize("name", SERVERS)
def test_compressed_images_come_as_they_are_stored(
    name: str, tmp_path: Path, syntax: str, option: str, require_module: Any, require_program: Any
) -> None:
    require_module("imagecodecs")
    require_program(SERVERS[name][1])
    # DCMTK's archive accepts one compressed syntax at a time
    with dcmqrscp(tmp_path / "s", option) if name == "dcmqrscp" else orthanc(tmp_path / "s") as server:
        _send_compressed(server, tmp_path, syntax)


def test_what_an_archive_does_not_accept_is_said(tmp_path: Path, require_module: Any, require_program: Any) -> None:
    require_module("imagecodecs")
    require_program("dcmqrscp")
    with (
        dcmqrscp(tmp_path / "s") as server,
        pytest.raises(SendError, match="does not accept MR Image Storage in JPEG-LS"),
    ):
        _send_compressed(server, tmp_path, "jpeg-ls")


def _send_compressed(server: Server, tmp_path: Path, syntax: str) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(1, 3, 16, 16), who=BERT))
    image = opened(tmp_path / "in") * 2
    written = image.imd.write(tmp_path / "out", format_options={"transfer_syntax": syntax})
    sent = opened(tmp_path / "out").imd.write(server.url)
    assert sent.report.complete
    found = xr.open_dataarray(f"{server.url}//{BERT.study}/{sent.series}", engine="imagedata")
    np.testing.assert_array_equal(found, image)
    stored = pydicom.dcmread(written.paths[0]).file_meta.TransferSyntaxUID
    assert found.imd.header[0, 0].file_meta.TransferSyntaxUID == stored


def test_an_archive_without_c_get_is_asked_to_send(tmp_path: Path, require_program: Any) -> None:
    require_program("dcmqrscp")
    port = free_port()
    with dcmqrscp(tmp_path / "server", "--disable-get", move_to=port) as server:
        make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
        fill(server, tmp_path / "in")
        with pytest.raises(SourceError, match="C-MOVE needs port"):
            xr.open_dataarray(f"{server.url}/P-1", engine="imagedata")
        found = xr.open_dataarray(f"{server.url}/P-1", engine="imagedata", storage_options={"port": port})
        np.testing.assert_array_equal(found, opened(tmp_path / "in"))


# --- listing -------------------------------------------------------------------------------------------------------


def test_listing_at_every_level(archive: Server) -> None:
    def ls(*args: str) -> str:
        result = CliRunner().invoke(main, ["ls", *args])
        assert result.exit_code == 0, result.output
        return result.output

    patients = ls(archive.url)
    assert patients.count("patient") >= 2
    assert "P-1" not in patients
    assert "Müller" not in patients
    assert "P-1" in ls(archive.url, "--identifiers")
    studies = ls(f"{archive.url}/P-1")
    assert ANNA.study in studies
    assert ANNA_LATER.study in studies
    assert BERT.study not in studies
    assert "P-1" not in studies
    series = ls(f"{archive.url}//{ANNA.study}")
    assert "1.2.826.0.1.3680043.8.498.50" in series
    assert "CT" in series
    assert ls(f"{archive.url}//{ANNA.study}/5").splitlines()[0].startswith("image")
    assert len(ls(f"{archive.url}//{ANNA.study}/5").splitlines()) == 6


# --- writing -------------------------------------------------------------------------------------------------------


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


# --- an archive that fails -----------------------------------------------------------------------------------------


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


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(
    certificates: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, require_program: Any
) -> Iterator[str]:
    require_program("Orthanc")
    with orthanc(tmp_path_factory.mktemp("secure"), tls=certificates["right"]) as server:
        yield server.url.replace("dicom://", "dicom+tls://")


def test_encrypted_with_certificates_on_both_sides(secure: str, certificates: dict[str, Path], tmp_path: Path) -> None:
    make(tmp_path, phantoms.mr(shape=(1, 3, 6, 8)))
    image = opened(tmp_path)
    client = certificates["client"]
    options = {"ca": certificates["ca.pem"], "cert": client / "cert.pem", "key": client / "key.pem"}
    written = image.imd.write(secure, storage_options=options)
    assert written.report.complete
    found = xr.open_dataarray(f"{secure}//{ANNA.study}/{written.series}", engine="imagedata", storage_options=options)
    np.testing.assert_array_equal(found, image)
    # and by the environment
    with pytest.MonkeyPatch.context() as patch:
        for name, value in options.items():
            patch.setenv(f"IMAGEDATA_XR_{name.upper()}", str(value))
        assert CliRunner().invoke(main, ["ls", f"{secure}//{ANNA.study}"]).exit_code == 0


def test_a_client_without_certificate_and_a_plain_one_are_refused(secure: str, certificates: dict[str, Path]) -> None:
    options: dict[str, Any] = {"ca": certificates["ca.pem"], "retries": 0, "connect": 3}
    with pytest.raises(SourceError, match="certificate"):
        xr.open_dataset(f"{secure}/P-1", engine="imagedata", storage_options=options)
    plain = secure.replace("dicom+tls", "dicom")
    with pytest.raises(SourceError):
        xr.open_dataset(f"{plain}/P-1", engine="imagedata", storage_options={"retries": 0, "connect": 3})


def test_a_server_that_nobody_vouches_for_is_refused(secure: str, certificates: dict[str, Path]) -> None:
    for options in ({"ca": certificates["stranger.pem"]}, {}):
        with pytest.raises(SourceError, match="not accepted"):
            xr.open_dataset(f"{secure}/P-1", engine="imagedata", storage_options={**options, "retries": 0})


def test_a_server_of_another_name_is_refused(
    certificates: dict[str, Path], tmp_path: Path, require_program: Any
) -> None:
    require_program("Orthanc")
    client = certificates["client"]
    options = {"ca": certificates["ca.pem"], "cert": client / "cert.pem", "key": client / "key.pem", "retries": 0}
    with orthanc(tmp_path / "server", tls=certificates["wrong"]) as server:
        url = server.url.replace("dicom://", "dicom+tls://")
        with pytest.raises(SourceError, match="not valid for"):
            xr.open_dataset(f"{url}/P-1", engine="imagedata", storage_options=options)


# --- settings ------------------------------------------------------------------------------------------------------


def test_settings_come_from_arguments_then_environment_then_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagedata_xr.stores.network.settings import settings_for

    path = tmp_path / "network.toml"
    path.write_text('[default]\naet = "ALL"\nport = 11\n["pacs:104"]\naet = "HOST"\npassword = "open sesame"\n')
    monkeypatch.setenv("IMAGEDATA_XR_NETWORK", str(path))
    found = settings_for("pacs:104", None)
    assert (found.aet, found.port, found.password) == ("HOST", 11, "open sesame")
    assert "sesame" not in repr(found)
    import pickle

    assert b"sesame" not in pickle.dumps(found)
    assert settings_for("other:104", None).aet == "ALL"
    monkeypatch.setenv("IMAGEDATA_XR_AET", "ENV")
    assert settings_for("pacs:104", None).aet == "ENV"
    assert settings_for("pacs:104", {"aet": "ARG"}).aet == "ARG"
    with pytest.raises(SourceError, match="16"):
        settings_for("pacs:104", {"aet": "A" * 17})
    with pytest.raises(SourceError, match="unknown settings"):
        settings_for("pacs:104", {"aetitle": "A"})


def test_no_password_in_an_address() -> None:
    with pytest.raises(SourceError, match="no user or password") as error:
        xr.open_dataset("dicom://me:sesame@host:104/AET/P", engine="imagedata")
    assert "sesame" not in str(error.value)

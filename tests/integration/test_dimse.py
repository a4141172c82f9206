"""Series of DICOM archives by DIMSE: reading and listing, against Orthanc and DCMTK's dcmqrscp."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from click.testing import CliRunner
from dicom_servers import SERVERS, Server, dcmqrscp, fill, fill_with_two_patients, free_port, orthanc
from phantoms import ANNA, ANNA_LATER, BERT, make, opened

import imagedata_xr
from imagedata_xr.cli import main
from imagedata_xr.errors import NotFoundError, SourceError
from imagedata_xr.stores.network import transfers
from imagedata_xr.stores.network.report import SendError

pytestmark = pytest.mark.usefixtures("nothing_secret")


@pytest.fixture(scope="module")
def archive(server: Server, tmp_path_factory: pytest.TempPathFactory, require_program: Any) -> Server:
    """An archive that another program has filled."""
    fill_with_two_patients(server, tmp_path_factory.mktemp("patients"))
    return server


# --- reading ---------------------------------------------------------------------------------------------------------


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


# --- listing ---------------------------------------------------------------------------------------------------------


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


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(1, 6, 6, 8)))
    return opened(tmp_path / "in") + 1

"""DIMSE: TLS, and where settings come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import xarray as xr
from click.testing import CliRunner
from dicom_servers import orthanc
from phantoms import ANNA, make, opened

from imagedata_xr.cli import main
from imagedata_xr.errors import SourceError

pytestmark = pytest.mark.usefixtures("nothing_secret")


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(1, 6, 6, 8)))
    return opened(tmp_path / "in") + 1


@pytest.fixture(scope="module")
def secure(
    certificates: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, require_program: Any
) -> Iterator[str]:
    require_program("Orthanc")
    with orthanc(tmp_path_factory.mktemp("secure"), tls=certificates["right"]) as server:
        yield server.url.replace("dicom://", "dicom+tls://")


# --- TLS -------------------------------------------------------------------------------------------------------------


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


# --- settings --------------------------------------------------------------------------------------------------------


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

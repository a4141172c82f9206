"""The same work on images wherever they lie: only the address changes; and the chain of three commands."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import nibabel as nib
import numpy as np
import phantoms
import pytest
import xarray as xr
from click.testing import CliRunner
from dicom_servers import Server, fill, orthanc
from phantoms import ANNA, make, opened
from xnat_server import Scan, standin

from imagedata_xr.cli import main

pytestmark = pytest.mark.usefixtures("nothing_secret")

SERIES = "1.2.826.0.1.3680043.8.498.50"
Place = tuple[str, str, dict[str, Any]]
"""Where the series lies, where the result goes, and the options of both."""


# --8<-- [start:work]
def work(source: str, target: str, options: dict[str, Any]) -> xr.DataArray:
    """Open a dynamic series, map its enhancement, send the map back, and read it again."""
    image = xr.open_dataarray(source, engine="imagedata", chunks={}, storage_options=options)
    assert image.dims == ("tag", "slice", "row", "col")
    assert image.tag.attrs["units"] == "s"

    start = image.isel(tag=0, drop=True)
    enhancement = (image.max("tag") - start).assign_attrs(image.attrs)
    enhancement.attrs["units"] = "1"
    header = image.imd.header[0, 0]
    assert header.PatientID == "P-1"

    written = enhancement.imd.write(
        target,
        format="dicom",
        template=image,
        series_number=901,
        series_description="enhancement",
        storage_options=options,
    )
    again = xr.open_dataarray(found_again(target, written.series), engine="imagedata", storage_options=options)
    assert again.attrs["SeriesDescription"] == "enhancement"
    assert int(again.patient) == int(image.patient)
    np.testing.assert_allclose(again.imd.affine, image.imd.affine)
    return again
    # --8<-- [end:work]


def found_again(target: str, series: str) -> str:
    """Archives hold many series: the one that was written."""
    if target.startswith("dicomweb"):
        return f"{target}/studies/{ANNA.study}/series/{series}"
    if target.startswith("dicom"):
        return f"{target}//{ANNA.study}/{series}"
    return f"{target}/901" if target.startswith("xnat") else target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dynamic") / "in"
    make(folder, phantoms.mr(shape=(3, 4, 6, 8), uid=SERIES, number=5))
    return folder


@pytest.fixture(scope="module")
def archive(folder: Path, tmp_path_factory: pytest.TempPathFactory, require_program: Any) -> Iterator[Server]:
    require_program("Orthanc")
    with orthanc(tmp_path_factory.mktemp("everywhere") / "server") as server:
        fill(server, folder)
        yield server


@pytest.fixture
def place(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Place]:
    yield from globals()[f"_{request.param}"](request, folder, tmp_path)


def _folder(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Place]:
    yield str(folder), str(tmp_path / "out"), {}


def _zip(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Place]:
    packed = shutil.make_archive(str(tmp_path / "in"), "zip", folder)
    yield packed, str(tmp_path / "out.zip"), {}


def _memory(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Place]:
    fs = fsspec.filesystem("memory")
    fs.put(str(folder), "/everywhere/in", recursive=True)
    yield "memory://everywhere/in", "memory://everywhere/out", {}
    fs.rm("/everywhere", recursive=True)


def _s3(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Place]:
    require_module = request.getfixturevalue("require_module")
    require_module("s3fs")
    server = require_module("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "AKIDEXAMPLE", "secret": "very-secret", "endpoint_url": f"http://{host}:{port}"}
    fs = fsspec.filesystem("s3", **options)
    fs.mkdir("everywhere")
    fs.put(str(folder), "everywhere/in", recursive=True)
    yield "s3://everywhere/in", "s3://everywhere/out", options
    server.stop()


def _dimse(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Place]:
    request.getfixturevalue("require_module")("pynetdicom")
    server = request.getfixturevalue("archive")
    yield f"{server.url}//{ANNA.study}/{SERIES}", server.url, {}


def _dicomweb(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Place]:
    request.getfixturevalue("require_module")("requests")
    server = request.getfixturevalue("archive")
    base = f"dicomweb+http://127.0.0.1:{server.web}/dicom-web"
    yield f"{base}/studies/{ANNA.study}/series/{SERIES}", base, {}


def _xnat(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Place]:
    request.getfixturevalue("require_module")("xnat")
    with standin() as server:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        scans = {"5": Scan({"type": "dynamic", "xsiType": "xnat:mrScanData"}, {"DICOM": files})}
        server.experiments["STUDY", "X_S1", "P-1", "X_E1", "first"] = scans
        session = f"xnat://127.0.0.1:{server.port}/STUDY/P-1/first"
        yield f"{session}/5", session, {"username": "anna", "password": "sesame"}


@pytest.mark.parametrize("place", ["folder", "zip", "memory", "s3", "dimse", "dicomweb", "xnat"], indirect=True)
def test_the_same_work_everywhere(place: Place, folder: Path) -> None:
    expected = opened(folder)
    found = work(*place)
    np.testing.assert_allclose(found.isel(tag=0), expected.max("tag") - expected.isel(tag=0, drop=True), atol=1e-3)


def test_the_chain_of_three_commands(folder: Path, archive: Server, tmp_path: Path, require_module: Any) -> None:
    require_module("pynetdicom")

    def imd(*args: object) -> None:
        result = CliRunner().invoke(main, [str(a) for a in args])
        assert result.exit_code == 0, result.output

    imd("convert", tmp_path / "in.nii.gz", folder)
    source: Any = nib.load(tmp_path / "in.nii.gz")
    processed = nib.Nifti1Image(source.get_fdata() * 2, source.affine, source.header)  # type: ignore[no-untyped-call]
    nib.save(processed, tmp_path / "processed.nii.gz")
    shutil.copy(tmp_path / "in.json", tmp_path / "processed.json")
    imd("convert", tmp_path / "dicom", tmp_path / "processed.nii.gz", "--template", folder)
    imd("convert", archive.url, tmp_path / "dicom", "--series-number", 902, "--series-description", "doubled")
    stored = xr.open_dataarray(f"{archive.url}//{ANNA.study}/902", engine="imagedata")
    here = opened(folder)
    np.testing.assert_allclose(stored, 2 * here, atol=0.05)  # nibabel and DICOM round to 16 bits
    np.testing.assert_allclose(stored.imd.affine, here.imd.affine, atol=1e-4)
    np.testing.assert_allclose(stored.tag - stored.tag[0], here.tag - here.tag[0], atol=1e-3)
    assert stored.attrs["SeriesDescription"] == "doubled"
    assert int(stored.patient) == int(here.patient)

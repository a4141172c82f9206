"""Fetching a series: C-GET against pynetdicom's example client, WADO-RS against curl; needs Orthanc, dcmtk and curl."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import xarray as xr
from harness import compare, environment, goal

sys.path.insert(0, str(Path(__file__).parents[1]))

import phantoms
from dicom_servers import Server, fill, orthanc

from imagedata_xr.stores.network import transfers
from imagedata_xr.stores.network.dicomweb import connection
from imagedata_xr.stores.network.query import Series
from imagedata_xr.stores.network.transfers import Incoming
from imagedata_xr.stores.network.web_client import Client
from imagedata_xr.stores.network.web_query import images_of
from imagedata_xr.stores.network.web_retrieve import _stream
from imagedata_xr.stores.progress import Meter

IMAGES = 200
SERIES = "1.2.826.0.1.3680043.8.498.90"


def fetched(url: str) -> Callable[[], object]:
    """Open what is not here yet: what was fetched before is forgotten."""

    def run() -> object:
        shutil.rmtree(transfers._passing(), ignore_errors=True)
        transfers._passing.cache_clear()
        return xr.open_dataarray(url, engine="imagedata")

    return run


def streamed(url: str) -> Callable[[], object]:
    """Fetch the stream of images, take it apart and write it; nothing is asked before."""
    address, settings = connection(url, None)
    with Client(address, settings) as client:
        images = set(images_of(client, Series(address.study, address.series)))

    def run() -> object:
        with Client(address, settings) as client, Incoming("benchmark", False) as incoming:
            path = f"/studies/{address.study}/series/{address.series}"
            _stream(client, path, incoming, Meter("fetched", IMAGES), images)
            return len(incoming.names)

    return run


def program(*command: str) -> Callable[[], object]:
    """Run a program in a fresh folder."""

    def run() -> object:
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.run(command, cwd=folder, check=True, capture_output=True)

    return run


def getting(server: Server) -> None:
    """Compare C-GET."""
    study, host = phantoms.ANNA.study, ("127.0.0.1", str(server.port))
    keys = ["-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={study}", "-k", f"SeriesInstanceUID={SERIES}"]
    taken = compare(
        f"C-GET of {IMAGES} images of 256 x 256, with opening",
        {
            "imagedata_xr": fetched(f"{server.url}//{study}/{SERIES}"),
            "pynetdicom getscu": program(
                sys.executable, "-m", "pynetdicom", "getscu", *host, "-aec", server.aet, *keys
            ),
            "dcmtk getscu": program("getscu", "-S", "-aec", server.aet, *host, *keys),
        },
    )
    times = taken["pynetdicom getscu"] / taken["imagedata_xr"]
    goal("a series by C-GET, with opening, times faster than pynetdicom's example client", times, at_least=1)


def web(server: Server) -> None:
    """Compare WADO-RS."""
    base = f"http://127.0.0.1:{server.web}/dicom-web"
    place = f"studies/{phantoms.ANNA.study}/series/{SERIES}"
    accept = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
    taken = compare(
        f"WADO-RS of {IMAGES} images of 256 x 256",
        {
            "imagedata_xr, with opening": fetched(f"dicomweb+{base}/{place}"),
            "imagedata_xr, the stream alone": streamed(f"dicomweb+{base}/{place}"),
            "curl, not taken apart": program("curl", "-s", "-o", "series.bin", "-H", accept, f"{base}/{place}"),
        },
    )
    times = taken["imagedata_xr, the stream alone"] / taken["curl, not taken apart"]
    goal("a series by WADO-RS, part of the time of curl", times, at_most=1.5)


def main() -> None:
    """Run all, where there is an Orthanc."""
    warnings.simplefilter("ignore")
    print(environment())
    if missing := [name for name in ("Orthanc", "getscu", "curl") if shutil.which(name) is None]:
        print(f"\nArchives were left out: {', '.join(missing)} is not installed.")
        return
    with tempfile.TemporaryDirectory() as folder, orthanc(Path(folder) / "server") as server:
        series = phantoms.mr(shape=(1, IMAGES, 256, 256), uid=SERIES)
        phantoms.make(Path(folder) / "in", series)
        fill(server, Path(folder) / "in")
        getting(server)
        web(server)


if __name__ == "__main__":
    main()

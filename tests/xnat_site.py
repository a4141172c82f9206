"""What tests of XNAT share: a site with three scans, who asks, and nobody else's passwords."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import phantoms
import pytest
import xarray as xr
from phantoms import ANNA, make
from xnat_server import Scan, Standin

ME = {"username": "anna", "password": "sesame"}
KEY = ("P", "X_S1", "Mueller", "X_E1", "E1")
SCAN = "/P/Mueller/E1/3"


def alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the names and passwords of whoever runs the tests, their cache, and waiting."""
    for name in ("XNAT_USER", "XNAT_PASS", "NETRC", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setattr("random.uniform", lambda a, b: 0.01)


def series_in(place: Path) -> Path:
    """Make a series of 20 files."""
    make(place, phantoms.mr(shape=(2, 10, 6, 8)))
    return place


def contents(folder: Path) -> dict[str, bytes]:
    """Files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def fill(server: Standin, folder: Path, label: str = "E1") -> None:
    """A scan of 20 files with pictures beside it, and a small one; another of the same type."""
    files = contents(folder)
    some = dict(list(files.items())[:3])
    kind = {"xsiType": "xnat:mrScanData", "quality": "usable"}
    server.study = str(ANNA.study)
    server.experiments["P", "X_S1", "Mueller", f"X_{label}", label] = {
        "3": Scan(
            {"type": "T1", "series_description": "t1 tra", **kind}, {"SNAPSHOTS": {"a.gif": b"GIF"}, "DICOM": files}
        ),
        "4": Scan({"type": "T2", "series_description": "t2 tra", **kind}, {"secondary": some}),
        "5": Scan({"type": "T2", "series_description": "t2 cor", **kind}, {"RAW": {"a": b"1"}, "NOTES": {"b": b"2"}}),
    }


def url(server: Standin, rest: str = "") -> str:
    """Address of something there."""
    return f"xnat://127.0.0.1:{server.port}{rest}"


def read(address: str, **more: Any) -> xr.DataArray:
    """Open an image as the one who may."""
    return xr.open_dataarray(address, engine="imagedata", storage_options={**ME, **more})

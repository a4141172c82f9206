"""The site that all tests of XNAT ask, and who asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xnat_server import Standin, standin
from xnat_site import alone, fill, series_in


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_module: Any) -> None:
    require_module("xnat")
    alone(tmp_path / "home", monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the scan."""
    return series_in(tmp_path_factory.mktemp("series"))


@pytest.fixture
def server(folder: Path) -> Iterator[Standin]:
    """A site with three scans."""
    with standin() as found:
        fill(found, folder)
        yield found

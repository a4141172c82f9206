"""Archives of images, and certificates, that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dicom_servers import SERVERS, Server, certificates_in


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, require_program: Any, require_module: Any
) -> Iterator[Server]:
    """Orthanc, then dcmqrscp."""
    start, program = SERVERS[request.param]
    require_program(program)
    require_module("pynetdicom")
    with start(tmp_path_factory.mktemp(request.param) / "server") as found:
        yield found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory, require_module: Any) -> dict[str, Path]:
    """Files of certificates; see `certificates_in`."""
    return certificates_in(tmp_path_factory.mktemp("certificates"), require_module("trustme"))

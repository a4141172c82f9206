"""What all tests share: programs, optional packages and real cases that may be missing.

What is missing skips a test and says why. `IMD_REQUIRE` turns such skips into failures: a comma separated list of
names (programs, packages, ``shared`` for the real cases), or ``all``.

`IMD_SHARED` is the folder with the real cases (by default `shared` beside the checkout), `IMD_WORK` a folder to unpack
them in, which may hold unpacked ones already.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest
from hypothesis import settings
from web import Web, served

from imagedata_xr.errors import ImagedataError

CHECKOUT = Path(__file__).resolve().parent.parent

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep scans in a folder of the run, never in the user's."""
    os.environ["IMAGEDATA_XR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def required(name: str) -> bool:
    """Whether `IMD_REQUIRE` demands `name`."""
    names = {part.strip() for part in os.environ.get("IMD_REQUIRE", "").split(",")}
    return "all" in names or name in names


def missing(name: str, reason: str) -> NoReturn:
    """Skip the running test, or fail it when `IMD_REQUIRE` demands `name`."""
    if required(name):
        pytest.fail(f"{reason} (IMD_REQUIRE demands {name})", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], Path]:
    """``require_program("dciodvfy")`` gives the program's path, or skips or fails the test."""

    def find(name: str) -> Path:
        path = shutil.which(name)
        if path is None:
            missing(name, f"program {name} is not installed")
        return Path(path)

    return find


@pytest.fixture(scope="session")
def require_module() -> Callable[[str], ModuleType]:
    """``require_module("h5py")`` gives the imported package, or skips or fails the test."""

    def load(name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the package is there, and lacks something itself
            missing(name, f"package {name} is not installed")

    return load


@pytest.fixture
def web(folder: Path, require_module: Callable[[str], ModuleType]) -> Iterator[Web]:
    """A web server of the files in the fixture ``folder`` of the test."""
    require_module("aiohttp")
    with served(folder) as found:
        yield found


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real data and tools to judge them, or skip or fail."""
    folder = Path(os.environ.get("IMD_SHARED", CHECKOUT.parent / "shared"))
    if not (folder / "data" / "cases" / "index.json").is_file():
        missing("shared", f"no real cases in {folder} (set IMD_SHARED)")
    return folder


@pytest.fixture(scope="session")
def shared_cases(shared: Path) -> Path:
    """Folder with the packed real cases and their `index.json`, or skip or fail."""
    return shared / "data" / "cases"


@pytest.fixture(scope="session")
def case_work(shared_cases: Path) -> Path:
    """Folder in which real cases are unpacked, kept from run to run."""
    if given := os.environ.get("IMD_WORK"):
        return Path(given)
    key = hashlib.blake2b((shared_cases / "index.json").read_bytes(), digest_size=4).hexdigest()
    return Path(tempfile.gettempdir()) / f"imd_cases_{key}"


@pytest.fixture(scope="session")
def case(shared_cases: Path, case_work: Path) -> Callable[[str], Path]:
    """``case("imd_time")`` gives the folder with that case's DICOM files, unpacked once."""

    def unpack(name: str) -> Path:
        folder = case_work / name
        if not (folder / "dicom").is_dir():
            case_work.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=case_work) as scratch:
                with tarfile.open(shared_cases / f"{name}.tar.xz") as archive:
                    archive.extractall(scratch, filter="data")
                try:
                    (Path(scratch) / name).rename(folder)
                except OSError:
                    if not (folder / "dicom").is_dir():  # else another worker was quicker
                        raise
        return folder / "dicom"

    return unpack


_SECRETS = re.compile(r"M(ü|ue|\\xfc|Ã¼|\?)ller|Bertsen|(?<![\w/_-])P-[127](?![\w-])|sesame|very-secret", re.IGNORECASE)
"""Names and IDs of the patients that the tests make up, and passwords that they use."""


@pytest.fixture
def nothing_secret(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See at the end of a test that no log, warning, error or output of ours named a patient or a password."""
    said: list[str] = []
    plain_warn, plain_error = warnings.warn, ImagedataError.__init__
    plain_talk = subprocess.Popen.communicate

    def warn(message: Any, *args: Any, **more: Any) -> None:
        said.append(f"warning: {message}")
        more["stacklevel"] = more.get("stacklevel", 1) + 1
        plain_warn(message, *args, **more)

    def error(self: ImagedataError, *args: Any) -> None:
        said.append(f"error: {args}")
        plain_error(self, *args)

    def communicate(self: Any, *args: Any, **more: Any) -> Any:
        told = plain_talk(self, *args, **more)
        if isinstance(self.args, list) and str(self.args[0]) == sys.executable:  # our own; other programs may say more
            said.extend(f"output: {text!r}" for text in told if text)
        return told

    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    monkeypatch.setattr(warnings, "warn", warn)
    monkeypatch.setattr(ImagedataError, "__init__", error)
    caplog.set_level(logging.DEBUG, logger="imagedata_xr")
    caplog.set_level(logging.DEBUG, logger="xnat")
    yield
    # what other libraries log for their own debugging is theirs
    records = [r for when in ("setup", "call") for r in caplog.get_records(when)]
    records = [r for r in records if r.levelno >= logging.WARNING or r.name.startswith(("imagedata_xr", "xnat"))]
    said += [f"log: {r.getMessage()}{r.exc_text or ''}" for r in records]
    assert not [text for text in said if _SECRETS.search(text)]

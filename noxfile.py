"""Sessions: demo, tests, contract, floor, lint, types, docs, bench.

``python -m pip install nox && python -m nox -s tests`` is enough on a machine with Python 3.11 or newer.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["tests", "contract", "lint", "types", "docs"]
nox.options.default_venv_backend = "virtualenv"  # one behaviour, with or without uv
nox.options.error_on_missing_interpreters = True

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PROGRAMS = {  # used by some tests where they are installed
    "dciodvfy": "DICOM validator, in Debian's dicom3tools",
    "dcmdump": "DICOM reader, in Debian's dcmtk",
    "dcmj2pnm": "shows DICOM images, in Debian's dcmtk",
    "gs": "reader of PostScript, Debian's ghostscript",
    "Orthanc": "DICOM archive, in Debian's orthanc and orthanc-dicomweb",
    "octave-cli": "reader of MAT files, in Debian's octave",
}


def lower_bounds() -> list[str]:
    """Give the core dependencies as pins to their lower bounds, without extras: ``["xarray==2026.7.0", ...]``."""
    return [re.sub(r"\[.*\]", "", item).replace(">=", "==") for item in PROJECT["dependencies"]]


def install(session: nox.Session, *extras: str, pins: list[str] | None = None) -> None:
    """Install this package with extras, held to `pins`."""
    arguments = [f".[{','.join(extras)}]"]
    if pins:
        constraints = Path(session.create_tmp()) / "constraints.txt"
        constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
        arguments += ["--constraint", str(constraints)]
    session.install(*arguments)
    session.run("python", "-c", "import xarray, numpy; print('xarray', xarray.__version__, 'numpy', numpy.__version__)")


@nox.session
def demo(session: nox.Session) -> None:
    """Make a small series, open, subtract, write, read back; leave a picture in demo-output."""
    install(session, "view")
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the whole suite with the newest versions; further arguments go to pytest."""
    for program, meaning in PROGRAMS.items():
        if shutil.which(program) is None:
            session.log(f"{program} ({meaning}) is not installed: its tests are skipped")
    install(session, "all", "test")
    session.run("pytest", *(session.posargs or ["--numprocesses=2"]))


@nox.session
@nox.parametrize("xarray", ["lowest", "newest"])
def contract(session: nox.Session, xarray: str) -> None:
    """Test what we rely on in xarray with the lowest xarray that we allow, and with the newest one."""
    pins = [pin for pin in lower_bounds() if pin.startswith("xarray==")]
    install(session, "test", "zarr", "netcdf", "view", pins=pins if xarray == "lowest" else None)
    session.run("pytest", "tests/contract", *session.posargs)


@nox.session
def floor(session: nox.Session) -> None:
    """Test with the lowest version of every core dependency (they have wheels for Python 3.11 and 3.12)."""
    version = session.run("python", "-c", "import sys; print(sys.version_info[1])", silent=True)
    if int(version or 0) > 12:
        session.skip("the lowest versions of the dependencies have no wheels for this Python; use 3.11 or 3.12")
    install(session, "test", "zarr", "netcdf", "mat", "view", pins=lower_bounds())
    session.run("pytest", *(session.posargs or ["--numprocesses=2", "tests/contract", "tests/unit"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff."""
    session.install(*PROJECT["optional-dependencies"]["lint"])
    session.run("ruff", "check", *session.posargs, ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly, in package, tests, examples, docs and this file."""
    install(session, "all", "test", "types")
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site; a warning is an error."""
    install(session, "docs")
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, each a script that prints ratios; arguments choose some by a part of their name."""
    install(session, "all", "test", "bench")
    for script in sorted((HERE / "tests" / "benchmarks").glob("bench_*.py")):
        if not session.posargs or any(part in script.name for part in session.posargs):
            session.run("python", str(script))

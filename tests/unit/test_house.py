"""Rules that hold for the whole package."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import imagedata_xr
from imagedata_xr.cli import VERBS, main

PACKAGE = Path(imagedata_xr.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages(imagedata_xr.__path__, "imagedata_xr."))
FORBIDDEN = {  # room -> what it does not know
    "model": ("dicom", "formats", "stores", "backend", "accessor", "cohort", "view", "cli"),
    "dicom": ("backend", "accessor", "cohort", "view", "cli"),
    "formats": ("backend", "accessor", "cohort", "view", "cli"),
    "stores": ("backend", "accessor", "cohort", "view", "cli"),
}


def own_imports(path: Path) -> Iterator[str]:
    """Give the modules of the package that the module at `path` imports, with absolute names."""
    package = ("imagedata_xr", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_does_not_import_what_stands_above_it(room: str) -> None:
    forbidden = tuple(f"imagedata_xr.{name}" for name in FORBIDDEN[room])
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for name in own_imports(path)
        if any(name == other or name.startswith(f"{other}.") for other in forbidden)
    ]
    assert not wrong


def test_importing_the_package_imports_nothing_slow() -> None:
    slow = ("dask", "scipy", "matplotlib", "h5py", "zarr", "nibabel", "highdicom", "pynetdicom", "pydicom", "fsspec")
    code = (
        "import sys, xarray; before = set(sys.modules); import imagedata_xr\n"
        f"print(*(name for name in {slow} if name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["info", "--help"], ["convert", "--help"]])
def test_help_imports_nothing_that_reads(words: list[str]) -> None:
    slow = ("dask", "scipy", "nibabel", "pydicom")
    code = (
        "import sys, xarray; before = set(sys.modules); from imagedata_xr.cli import main\n"
        f"main({words}, standalone_mode=False)\n"
        f"print(*(name for name in {slow} if name in set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.split() == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_the_command_has_the_line_of_each_verb(verb: str) -> None:
    command = main.get_command(click.Context(main), verb)
    assert command is not None
    assert command.short_help == VERBS[verb]
    assert {path.stem for path in (PACKAGE / "cli").glob("*.py")} >= set(VERBS)


def test_what_is_imported_later_is_there() -> None:
    assert {*imagedata_xr.__all__} <= {*dir(imagedata_xr)}
    for name in imagedata_xr.__all__:
        assert getattr(imagedata_xr, name).__name__.endswith(name)
    with pytest.raises(AttributeError, match="no attribute 'catalogue'"):
        _ = imagedata_xr.catalogue


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0

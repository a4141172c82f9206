"""What the pages show is true: examples run, and name methods and options that there are."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make

import imagedata_xr
from imagedata_xr.accessor import ArrayAccessor, DatasetAccessor, TreeAccessor
from imagedata_xr.backend import ImagedataEntrypoint

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
ACCESSORS = (ArrayAccessor, DatasetAccessor, TreeAccessor)
OWN = {*inspect.signature(ImagedataEntrypoint.open_dataset).parameters}
XARRAY = {*inspect.signature(xr.open_dataset).parameters, *inspect.signature(xr.open_mfdataset).parameters}


def examples(page: Path) -> Iterator[str]:
    """Blocks of Python on a page."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^( *)```python\n(.*?)^\1```", text, flags=re.MULTILINE | re.DOTALL):
        yield textwrap.dedent(block[1])


def chain(node: ast.expr) -> list[str]:
    """Names of an attribute, the last one first: those of ``a.imd.view.grid`` are grid, view, imd, a."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [*names, node.id] if isinstance(node, ast.Name) else names


def targets(call: list[str]) -> list[Any]:
    """What of ours a chain of names may mean: nothing for the names of others."""
    if call[-1:] == ["imagedata_xr"] and len(call) == 2:
        return [getattr(imagedata_xr, call[0])]
    if "imd" not in call[1:]:
        return []
    found: list[Any] = list(ACCESSORS)
    for name in reversed(call[: call.index("imd")]):
        found = [getattr(one, name) for one in found if hasattr(one, name)]
        assert found, f".imd has nothing called {name}"
        if isinstance(found[0], property):  # what it gives is not known here
            return []
    return found


def options_of(target: Any) -> set[str] | None:
    """Names of the options that a function takes; None for any."""
    parameters = inspect.signature(target).parameters.values()
    if target is TreeAccessor.write:  # hands its options on
        return {p.name for p in parameters} | {*inspect.signature(ArrayAccessor.write).parameters}
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else {p.name for p in parameters}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_name_what_there_is(page: Path) -> None:
    for example in examples(page):
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.Attribute):
                targets(chain(node))
            if not isinstance(node, ast.Call):
                continue
            given = {k.arg for k in node.keywords if k.arg is not None}
            name = chain(node.func)
            if (
                name[:1]
                and name[0].startswith("open_")
                and any(
                    k.arg == "engine" and isinstance(k.value, ast.Constant) and k.value.value == "imagedata"
                    for k in node.keywords
                )
            ):
                assert given <= OWN | XARRAY, f"{ast.unparse(node)}: {given - OWN - XARRAY}"
            known = [options_of(target) for target in targets(name) if callable(target)]
            if known and None not in known:
                assert any(given <= (options or set()) for options in known), ast.unparse(node)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders as the pages name them: a series in each, of one patient and one place."""
    times = [{"AcquisitionTime": f"1015{20 * v:02d}"} for v in range(3)]
    dynamic = phantoms.mr(shape=(3, 4, 60, 60), volumes=times)
    for name in ("dirA", "folder", "cohort/one"):
        make(tmp_path / name, dynamic)
    other = phantoms.mr(shape=(3, 4, 60, 60), volumes=times, number=6, uid=f"{dynamic.uid}.6")
    for name in ("dirB", "cohort/two"):
        make(tmp_path / name, other)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/quickstart.md"])
def test_examples_of_the_first_pages_run(page: str, sources: Path) -> None:
    names: dict[str, Any] = {}
    for example in examples(CHECKOUT / page):
        if "dti" in example:
            image = xr.open_dataarray("folder", engine="imagedata", order="time", chunks={})
            b_values, labels = ("tag", np.array([0.0, 1000.0, 1000.0])), ("tag", np.array([0, 1, 0]))
            names |= {"dti": image.assign_coords(b_value=b_values), "asl": image.assign_coords(asl_context=labels)}
        if "imshow" in example:
            continue  # needs a screen
        exec(compile(example, page, "exec"), names)
    if page != "docs/quickstart.md":
        written = [pydicom.dcmread(p) for p in sorted((sources / "dirMean").iterdir())]
        originals = [pydicom.dcmread(p) for p in sorted((sources / "dirA").iterdir())]
        assert len(written) == 12
        assert {ds.StudyInstanceUID for ds in written} == {ds.StudyInstanceUID for ds in originals}
        assert {str(ds.PatientName) for ds in written} == {str(ds.PatientName) for ds in originals}
    if page != "docs/index.md":
        assert (sources / "early.nii.gz").exists()
        assert len(names["tree"].leaves) == 2

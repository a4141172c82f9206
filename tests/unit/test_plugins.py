"""Formats of other packages: found, used, and harmless where they are broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import os
import numpy as np
from imagedata_xr.formats.incoming import Incoming, Loaded, dataset
from imagedata_xr.formats.seam import Node, Written
from imagedata_xr.formats.whole import Whole


class Npy:
    name, extensions, description = "npy", (".npy",), "arrays of numpy"

    def recognise(self, files):
        return [f for f in files if f.path.endswith(".npy")]

    def read(self, files, options):
        return [self.node(f, options) for f in files]

    def node(self, file, options):
        def load():
            with file.fs.open(file.path) as f:
                return np.load(f)
        values = load()
        found = Incoming(file.path, values.shape[:0:-1] + values.shape[:1], values.dtype, None)
        make = lambda *given: Loaded(load, *given)
        return Node(("", "", "npy"), lambda: dataset(found, make, options))

    def write(self, image, target, options):
        name = os.path.basename(target)
        whole = Whole(target, [name], overwrite=options.overwrite)
        with whole.files() as places:
            with open(places[name], "wb") as f:
                np.save(f, image.values)
        return Written("npy", (whole.shown(name),), 1, os.path.getsize(target))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages with one format that works and one that does not."""
    site = tmp_path / "site"
    for name, module in (
        ("npyformat", MODULE),
        ("brokenformat", "import no_such_module_at_all"),
        ("worseformat", "1 / 0"),
    ):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(module)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        key = name.removesuffix("format")
        (info / "entry_points.txt").write_text(f"[imagedata_xr.formats]\n{key} = {name}:{key.capitalize()}\n")
    return site


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the folder on its path."""
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path}
    )


def test_a_format_of_another_package_reads_and_writes(site: Path, tmp_path: Path) -> None:
    code = f"""
import numpy as np, xarray as xr, imagedata_xr
a = np.arange(24.0).reshape(1, 2, 3, 4)
image = imagedata_xr.from_array(a)
print(image.imd.write({str(tmp_path / "a.npy")!r}).format)
back = xr.open_dataarray({str(tmp_path / "a.npy")!r}, engine="imagedata")
print(bool((back.values == a).all()), back.dims)
"""
    done = run(site, "-c", code)
    assert done.stdout.split("\n")[:2] == ["npy", "True ('tag', 'slice', 'row', 'col')"]
    assert "'broken'" in done.stderr
    assert "no_such_module_at_all" in done.stderr
    assert "'worse'" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_it_is_listed_beside_the_others(site: Path) -> None:
    listed = run(site, "-c", "from imagedata_xr.cli import main; main(['formats'])")
    assert {"npy", "nifti", "metaio", "dicom"} <= {line.split()[0] for line in listed.stdout.splitlines() if line}
    assert not any(line.startswith("broken") for line in listed.stdout.splitlines())

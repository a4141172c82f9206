"""The examples of cohorts run, on a cluster of two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script(tmp_path: Path) -> None:
    told = run(str(EXAMPLES / "cohort.py"), str(tmp_path), folder=tmp_path)
    assert "4 written, 0 failed" in told
    assert sorted(p.name for p in (tmp_path / "nifti").glob("*.nii")) == [f"000{n}.nii" for n in range(1, 5)]
    assert nib.load(tmp_path / "nifti" / "0001.nii").shape == (40, 48, 3, 4)  # type: ignore[attr-defined]
    assert "DEMO-" not in told


def test_the_notebook(tmp_path: Path) -> None:
    """Its cells, one after the other, as in a session: what workers start with is no file."""
    cells = json.loads((EXAMPLES / "cohort.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    run("-c", f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\n{code}\nassert len(written) == 4", folder=tmp_path)
    assert len(list((tmp_path / "demo-output" / "nifti").glob("*.nii"))) == 4

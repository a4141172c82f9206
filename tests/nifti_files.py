"""NIfTI files as other programs write them, and what stands beside them, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def content(path: Path) -> dict[str, Any]:
    """The JSON beside an image."""
    return json.loads(path.with_suffix("").with_suffix(".json").read_text())  # type: ignore[no-any-return]


def dt(path: Path) -> float:
    """pixdim[4]."""
    header: Any = nib.load(path).header
    return float(header["pixdim"][4])


def bare(path: Path, interval: float = 0, units: str = "sec", side: dict[str, Any] | None = None) -> None:
    """A file of another program."""
    img = nib.Nifti1Image(np.zeros((5, 4, 3, 4), dtype=np.int16), np.diag([2.0, 2, 3, 1]))  # type: ignore[no-untyped-call]
    img.header.set_xyzt_units("mm", units)  # type: ignore[no-untyped-call]
    img.header["pixdim"][4] = interval
    nib.save(img, path)
    if side is not None:
        path.with_suffix(".json").write_text(json.dumps(side))

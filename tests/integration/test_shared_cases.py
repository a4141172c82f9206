"""The real series with known truth: read, written as NIfTI, and judged by the tool that comes with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import xarray as xr

CLASSIC = (
    "ge_b0map_cv", "ge_dwi_r2", "ge_mph_des", "ge_nih_4", "imd_rsi_dwi", "imd_tra_oblique", "imd_time", "phi_cl_asl",
    "phi_cl_fmri", "sie_fmap_mag5", "sie_fmap_magph3", "sie_hfp_t1",
)  # fmt: skip


NOT_FULL: dict[str, set[str]] = {}
"""What real series don't have as their truth says, and why."""

NOT_READ: dict[str, str] = {}
"""Verdicts of series of other kinds that are not what they should be."""


@pytest.mark.slow
def test_real_series_agree_with_their_truth(
    shared: Path, shared_cases: Path, case_work: Path, case: Callable[[str], Path], tmp_path: Path
) -> None:
    for entry in json.loads((shared_cases / "index.json").read_text(encoding="utf-8")):
        case(entry["id"])  # unpacked here, since the tool's own unpacking may meet that of another test
    report = tmp_path / "report.json"
    done = _tool(shared, "check_cases.py", "--work", str(case_work), "--json", str(report))
    rows = {row["id"]: row for row in json.loads(report.read_text(encoding="utf-8"))}
    assert len(rows) >= 34, done.stdout + done.stderr
    wrong = {name: row["verdict"] | {"error": row["error"]} for name, row in rows.items() if not row["full"]}
    assert wrong.keys() == NOT_FULL.keys(), wrong
    for name, properties in NOT_FULL.items():
        bad = {p for p, verdict in wrong[name].items() if verdict in ("fail", "missing", "none")}
        assert bad == properties, wrong[name]


@pytest.mark.slow
def test_series_of_other_kinds_are_right_or_refused(shared: Path, case_work: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = _tool(shared, "beyond.py", "--work", str(case_work / "imd_beyond"), "--out", str(report))
    rows = json.loads(report.read_text(encoding="utf-8"))
    assert len(rows) >= 19, done.stdout + done.stderr
    due = {"read": ("pass",), "refuse": ("refused",), "read_or_refuse": ("pass", "refused")}
    wrong = {name: row for name, row in rows.items() if row["verdict"] not in due[row["expect"]]}
    assert {name: row["verdict"] for name, row in wrong.items()} == NOT_READ, wrong


def _tool(shared: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"tools/{name}", *arguments],
        cwd=shared,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # the folder with the tool may be read only
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIC)
def test_every_real_series_is_unchanged_when_nothing_was_changed(
    name: str, case: Callable[[str], Path], tmp_path: Path
) -> None:
    tree = xr.open_datatree(case(name), engine="imagedata", chunks={})
    images = [node["image"] for node in tree.subtree if "image" in node.data_vars]
    assert images
    for k, image in enumerate(images):
        written = image.imd.write(tmp_path / str(k), keep_uid=True)
        assert written.count == image.sizes["tag"] * image.sizes["slice"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["dicom", "nifti", "zarr", "netcdf"])
@pytest.mark.parametrize(
    "name", ["ge_mph_des", "imd_rsi_dwi", "imd_tra_oblique", "imd_time", "phi_cl_fmri", "sie_fmap_mag5"]
)
def test_parts_of_real_series_come_back_where_they_were(
    name: str, form: str, case: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = xr.open_dataarray(case(name), engine="imagedata")
    order = whole.tag.attrs["order"]
    extension = {"dicom": "", "nifti": ".nii", "zarr": ".zarr", "netcdf": ".nc"}[form]
    flip = slice(None, None, -1)
    parts = {
        "whole": whole,
        "crop": whole.isel(slice=slice(1, 3), row=slice(10, 40), col=slice(5, 33)),
        "stride": whole.isel(slice=slice(None, None, 2), row=slice(1, None, 3), col=slice(None, None, 2)),
        "flip": whole.isel(slice=flip, row=flip, col=flip),
        "slice": whole.isel(slice=[1]),
    }
    if whole.sizes["tag"] > 2:
        parts["volumes"] = whole.isel(tag=slice(1, 3))
    for part, x in parts.items():
        target = tmp_path / f"{part}{extension}"
        x.imd.write(target, format=form)
        asked = {"order": order} if form in ("dicom", "nifti") else {}
        again = xr.open_dataarray(target, engine="imagedata", **asked)
        difference = x - again
        assert difference.shape == x.shape
        assert float(np.abs(difference).max()) == 0, part


@pytest.mark.slow
def test_phase_encoding_is_that_of_dcm2niix(shared_cases: Path, case: Callable[[str], Path], tmp_path: Path) -> None:
    """In the world, since the axes of the two files may run differently; of GE the polarity is not told."""
    compared = 0
    for entry in json.loads((shared_cases / "index.json").read_text(encoding="utf-8")):
        folder = case(entry["id"])
        theirs = [_encoding(p) for p in sorted(folder.parent.glob("truth/*.json"))]
        if not theirs or any(t != theirs[0] for t in theirs) or theirs[0]["TotalReadoutTime"] is None:
            continue  # no echo-planar sequence
        da = next(n["image"] for n in xr.open_datatree(folder, engine="imagedata").subtree if "image" in n.data_vars)
        if "EP" not in np.atleast_1d(da.attrs.get("ScanningSequence", "EP")):
            continue
        da.imd.write(tmp_path / f"{entry['id']}.nii")
        ours = _encoding(tmp_path / f"{entry['id']}.json")
        assert ours["TotalReadoutTime"] == pytest.approx(theirs[0]["TotalReadoutTime"], rel=2e-3), entry["id"]
        assert ours["EffectiveEchoSpacing"] == pytest.approx(theirs[0]["EffectiveEchoSpacing"], rel=2e-3), entry["id"]
        if not str(da.attrs["Manufacturer"]).startswith("GE"):
            assert ours["world"] == pytest.approx(theirs[0]["world"], abs=1e-3), entry["id"]
        compared += 1
    assert compared >= 12


def _encoding(sidecar: Path) -> dict[str, Any]:
    """What a sidecar says of phase encoding, its direction as a vector in the world."""
    content = json.loads(sidecar.read_text(encoding="utf-8"))
    image: Any = nib.load(next(p for p in sidecar.parent.glob(f"{sidecar.stem}.nii*")))
    out = {key: content.get(key) for key in ("TotalReadoutTime", "EffectiveEchoSpacing")}
    word = content.get("PhaseEncodingDirection")
    if word:
        axis = image.affine[:3, "ijk".index(word[0])]
        out["world"] = (axis / np.linalg.norm(axis) * (-1 if word.endswith("-") else 1)).tolist()
    return out

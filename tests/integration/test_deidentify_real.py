"""Real series without their patients: nothing of theirs in any byte, and everything else as it was."""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import xarray as xr

from imagedata_xr.errors import ImagedataWarning

CASES = (
    "ge_dwi_r2", "imd_rsi_dwi", "imd_time", "phi_enh_b0", "sie_skyra_ap", "can_enh_4000",
)  # fmt: skip
WITHOUT_PRIVATE = ("ge_dwi_r2", "imd_rsi_dwi", "sie_skyra_ap", "can_enh_4000")
"""Diffusion series."""
_IDS = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "DeviceSerialNumber", "RequestedProcedureID",
    "PerformedProcedureStepID", "ScheduledProcedureStepID", "InstitutionName", "InstitutionAddress", "StationName",
)  # fmt: skip
_UID = re.compile(r"[0-2](?:\.\d+){5,}")
_TOLD = re.compile(rb"[0-2](?:\.(?:0|[1-9]\d*)){5,}")


def identifiers(folder: Path) -> set[str]:
    """Names, numbers, dates and UIDs in all headers of a folder, private elements and bytes included."""
    found: set[str] = set()
    for path in (p for p in folder.rglob("*") if p.is_file()):
        ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        for element in ds.iterall():
            texts = [str(v) for v in element.value] if element.VM > 1 else [str(element.value)]
            if element.VR == "UI":
                found.update(t for t in texts if _UID.fullmatch(t))
            elif element.VR == "DA":
                found.update(t for t in texts if re.fullmatch(r"(?:19|20)\d{6}", t))
            elif element.VR == "PN":
                found.update(w for t in texts for w in re.split(r"[\^ =]+", t) if len(w) > 5)
            elif element.keyword in _IDS:
                found.update(t for t in texts if len(t) > 5)
            elif isinstance(element.value, bytes):
                found.update(m.decode() for m in _TOLD.findall(element.value))
    # what the standard itself names, and words and dates that stand for nobody
    common = {"19000101", "anonymous", "anonymized", "unknown", "imagedata"}  # the method names this library
    return {t for t in found if not t.startswith("1.2.840.10008.") and t.lower() not in common}


def hits(folder: Path, secrets: set[str]) -> Iterator[str]:
    """Identifiers in the names and bytes of files, as ASCII or UTF-16, packed ones unpacked."""
    numeric = {s for s in secrets if re.fullmatch(r"[0-9.]+", s)}
    others = {s.lower() for s in secrets - numeric}
    for path in (p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        for part in (path.name.encode(), data, data.replace(b"\0", b"")):
            parts = {m.decode().strip(".") for m in re.findall(rb"[0-9.]{8,}", part)}
            text = part.lower()
            found = parts & numeric | {s for s in others if s.encode() in text}
            yield from (f"{path.name}: {len(secret)} characters" for secret in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nothing_of_the_patient_is_in_any_byte(name: str, case: Callable[[str], Path], tmp_path: Path) -> None:
    folder = case(name)
    secrets = identifiers(folder)
    assert len(secrets) > 3
    assert set(hits(folder, secrets))  # the search finds what there is to find
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        tree = xr.open_datatree(folder, engine="imagedata").imd.deidentify(seed="k")
        tree.imd.write(tmp_path / "dicom")
        tree.imd.write(tmp_path / "nifti", format="nifti", identifiers=True)
    assert not set(hits(tmp_path, secrets))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "private"), [*((n, True) for n in CASES), *((n, False) for n in WITHOUT_PRIVATE)])
def test_everything_else_is_as_it_was(name: str, private: bool, case: Callable[[str], Path], tmp_path: Path) -> None:
    options = None if private else ("modified_dates",)
    tree = xr.open_datatree(case(name), engine="imagedata")
    before = [node["image"] for node in tree.subtree if "image" in node.data_vars]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        tree.imd.deidentify(seed="k", options=options).imd.write(tmp_path)
        after = [xr.open_dataarray(tmp_path / f"{k:04d}", engine="imagedata") for k in range(1, len(before) + 1)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new.values, old.values)
        np.testing.assert_allclose(new.imd.affine, old.imd.affine, atol=1e-4)
        assert new["tag"].attrs.get("order") == old["tag"].attrs.get("order")
        lost = {"instance", "source", "patient", "study", "geometry", *(() if private else ("slice_time",))}
        needed = {"tag", "slice", "acquisition_time", "b_value", "b_vector_x", "b_vector_y", "b_vector_z", "slice_time"}
        assert needed & set(old.coords) - lost <= set(new.coords)
        for label in map(str, set(old.coords) & set(new.coords) - lost):
            values, was = new.coords[label].values, old.coords[label].values
            if was.dtype.kind == "M":  # moved by whole days, all by as many
                (days,) = {*np.ravel(was - values).tolist()}
                assert days.total_seconds() % 86400 == 0
                assert days.days >= 365
            else:
                np.testing.assert_allclose(values, was, rtol=1e-5, atol=1e-6, err_msg=label)

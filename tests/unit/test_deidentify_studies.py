"""De-identified trees and segmentations, valid files, the command."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import identified
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from identified import SECRETS, found
from pydicom.uid import UID

from imagedata_xr.errors import ImagedataWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*", "error::imagedata_xr.errors.ImagedataWarning")


def headers(folder: Path) -> list[pydicom.Dataset]:
    """Written instances by number."""
    return sorted((pydicom.dcmread(p) for p in folder.rglob("*.dcm")), key=lambda ds: int(ds.InstanceNumber))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two series on one frame of reference and a report."""
    identified.make(tmp_path / "study" / "a", identified.mr())
    identified.make(tmp_path / "study" / "b", identified.mr(uid="1.2.826.0.1.3680043.8.498.51", number=6))
    report = pydicom.dcmread(tmp_path / "study" / "a" / "00_00.dcm")
    del report.PixelData, report.Rows, report.Columns
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.88.11")
    report.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.52")
    report.SOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.52.1")
    report.Modality, report.SeriesNumber, report.UnformattedTextValue = "SR", 7, "Qvistgaard is well"
    report.save_as(tmp_path / "study" / "report.dcm", enforce_file_format=True)
    return tmp_path / "study"


# --- whole studies ---------------------------------------------------------------------------------------------------


def test_a_tree_gets_new_names_and_drops_reports(study: Path, tmp_path: Path) -> None:
    tree = xr.open_datatree(study, engine="imagedata")
    with pytest.warns(ImagedataWarning, match="1 objects without pixels are left out .1 Basic Text SR"):
        out = tree.imd.deidentify(seed="k")
    names = " ".join(node.path for node in out.subtree).lower()
    attrs = repr([node.attrs for node in out.subtree]).lower()
    assert not [s for s in SECRETS if s in names + attrs]
    out.imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    written = headers(tmp_path / "out")
    assert len(written) == 8
    assert len({ds.FrameOfReferenceUID for ds in written}) == len({ds.StudyInstanceUID for ds in written}) == 1
    assert len({ds.SeriesInstanceUID for ds in written}) == 2
    assert len({ds.SOPInstanceUID for ds in written}) == 8


def test_a_segmentation_still_refers_to_its_image(tmp_path: Path, require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")
    import segmented

    made_of = segmented.series(who=identified.WHO)
    files = identified.make(tmp_path / "in" / "image", made_of)
    seg = segmented.segmentation(files, segmented.masks(made_of))
    segmented.save(seg, tmp_path / "in" / "seg.dcm")
    tree = xr.open_datatree(tmp_path / "in", engine="imagedata")
    tree.imd.deidentify(seed="k", pixels="keep").imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    _, segments = segmented.images(tmp_path / "out")
    _, was = segmented.images(tmp_path / "in")
    np.testing.assert_array_equal(segments.values, was.values)
    np.testing.assert_allclose(segments.imd.affine, was.imd.affine)
    written = headers(tmp_path / "out")
    (mask,) = [ds for ds in written if ds.Modality == "SEG"]
    own = {ds.SOPInstanceUID for ds in written if ds.Modality != "SEG"}
    named = {r.ReferencedSOPInstanceUID for r in mask.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named
    assert named <= own


# --- validity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [(), ("modified_dates", "retain_safe_private"), ("full_dates", "clean_descriptors")]
)
@pytest.mark.parametrize("make", [phantoms.mr, phantoms.ct, phantoms.pet])
def test_valid_files_stay_valid(
    tmp_path: Path, make: Any, options: tuple[str, ...], require_program: Callable[[str], Path]
) -> None:
    program = require_program("dciodvfy")
    (path, *_) = phantoms.make(tmp_path / "in", make())

    def errors(path: Path) -> set[str]:
        done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False)
        return {line for line in done.stderr.splitlines() if line.startswith("Error")}

    before = errors(path)
    written = identified.opened(tmp_path / "in").imd.deidentify(options=options).imd.write(tmp_path / "out")
    assert errors(Path(written.paths[0])) <= before


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_every_image_and_names_nobody(study: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from imagedata_xr.cli import main

    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["deidentify", str(study), str(out), "--seed", "k", "--patient-id", "sub-01"])
    assert done.exit_code == 0, done.output
    assert not [s for s in SECRETS if s in done.output.lower().replace(str(tmp_path).lower(), "")]
    assert "1 objects without pixels are left out" in done.output
    assert sorted(p.name for p in out.iterdir()) == ["0001", "0002"]
    assert not found(out)
    assert {str(ds.PatientID) for ds in headers(out)} == {"sub-01"}

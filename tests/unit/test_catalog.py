"""The catalog: what it tells is what opening gives, from headers alone, and it names nobody."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import cli_data
import nibabel
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from pydicom.dataset import Dataset

import imagedata_xr
from imagedata_xr.cli import main
from imagedata_xr.dicom.pixels import pixels
from imagedata_xr.dicom.sorting import assemble
from imagedata_xr.errors import ImagedataWarning
from imagedata_xr.stores import files


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Two patients with a series 4 each; a second series that does not sort, and one of two stacks; no pixels."""
    folder = tmp_path / "cohort"
    cli_data.series(folder / "hortensia", 4, volumes=2)

    def other(ds: Dataset, k: int) -> None:
        ds.PatientName, ds.PatientID, ds.SeriesDescription = "Other^Person", "ZY99", "t1 of Other"
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            own = k if keyword == "SOPInstanceUID" else 0
            setattr(ds, keyword, f"{getattr(ds, keyword)[:-6]}77{own}")

    cli_data.series(folder / "zy99", 4, change=other)

    def twice(ds: Dataset, k: int) -> None:
        ds.EchoTime, ds.AcquisitionTime = 4.5, "101500"
        ds.ImagePositionPatient = [-3, -4, [0, 4, 4][k]]

    cli_data.series(folder / "c", 5, change=twice)

    def turned(ds: Dataset, k: int) -> None:
        if k > 1:
            ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [-3, 4 * k, 0]

    cli_data.series(folder / "d", 6, (0, 4, 8, 12), change=turned)
    cli_data.without_pixels(folder / "e" / "state")
    return folder


def test_it_tells_what_the_tree_holds(cohort: Path) -> None:
    table = imagedata_xr.catalog(cohort, identifiers=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        tree = xr.open_datatree(cohort, engine="imagedata")
    images = {node.path: node["image"] for node in tree.subtree if "image" in node.data_vars}
    opening = table[table.opens].set_index("node")
    assert set(opening.index) == set(images)
    for path, row in opening.iterrows():
        image = images[str(path)]
        assert row["shape"] == dict(image.sizes)
        assert row["order"] == image["tag"].attrs["order"]
        assert (row["dtype"], row["bytes"]) == (str(image.dtype), image.nbytes)
        assert (row["patient"], row["study"]) == (int(image.patient), int(image.study))
        assert row["files"] == image.sizes["tag"] * image.sizes["slice"]
        mine = list(Path(row["path"]).glob(f"{row['series_number']}-*"))
        if len(mine) == row["files"]:  # else a stack of several
            assert row["file_bytes"] == sum(p.stat().st_size for p in mine)


@pytest.mark.parametrize("identifiers", [False, True])
def test_series_selects_what_the_row_tells(cohort: Path, identifiers: bool) -> None:
    table = imagedata_xr.catalog(cohort, identifiers=identifiers)
    chosen = table[table.opens]
    assert len(chosen) == 4
    for _, row in chosen.iterrows():
        stack = None if row["stack"] is pd.NA else row["stack"]
        image = xr.open_dataarray(cohort, engine="imagedata", series=row["series"], stack=stack)
        assert dict(image.sizes) == row["shape"]
        assert int(image.patient) == row["patient"]
        assert image.attrs["SeriesNumber"] == row["series_number"]


def test_what_does_not_open_has_a_reason(cohort: Path) -> None:
    table = imagedata_xr.catalog(cohort)
    bad = table[~table.opens]
    assert sorted(bad.modality) == ["MR", "PR"]
    reasons = dict(zip(bad.modality, bad.reason, strict=True))
    assert reasons["PR"] == "without pixels"
    with pytest.raises(imagedata_xr.SortError) as caught:
        xr.open_dataarray(cohort, engine="imagedata", series=5)
    assert reasons["MR"] == str(caught.value)
    # judged with the options that are given
    other = imagedata_xr.catalog(cohort, order="InstanceNumber", missing="fill", series=5)
    assert other.opens.tolist() == [True]
    assert "missing images are filled" in other.reason[0]


def test_nobody_is_named_unless_asked_for(cohort: Path) -> None:
    text = imagedata_xr.catalog(cohort).to_csv().lower()
    for word in (*cli_data.IDENTIFIERS, "other", "person", "zy99", cli_data.STUDY):
        assert word not in text
    assert "hortensia" in imagedata_xr.catalog(cohort, identifiers=True).to_csv().lower()


def test_it_scans_once_and_builds_nothing(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("built or read")

    monkeypatch.setattr(assemble, "build", never)
    monkeypatch.setattr(pixels.FrameArray, "read", never)
    monkeypatch.setattr(files, "_read_local", never)
    assert len(imagedata_xr.catalog(cohort)) == 6


def test_other_formats_are_told_too(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), "i2"), np.eye(4)), tmp_path / "one.nii.gz")  # type: ignore[no-untyped-call]
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 7), "f4"), np.eye(4)), tmp_path / "two.nii")  # type: ignore[no-untyped-call]
    table = imagedata_xr.catalog(tmp_path)
    assert table.series.tolist() == ["one", "two"]
    assert table["shape"].tolist()[1] == {"tag": 7, "slice": 6, "row": 5, "col": 4}
    assert table.patient.isna().all()
    assert table.file_bytes.tolist() == [(tmp_path / n).stat().st_size for n in ("one.nii.gz", "two.nii")]


def test_the_command_lists_it(cohort: Path) -> None:
    run = CliRunner().invoke(main, ["ls", str(cohort)])
    assert run.exit_code == 0, run.output
    assert len(run.stdout.splitlines()) == 7
    assert not any(word in run.stdout.lower() for word in cli_data.IDENTIFIERS)
    rows = json.loads(CliRunner().invoke(main, ["ls", "--json", str(cohort)]).stdout)
    assert [row["opens"] for row in rows].count(True) == 4
    chosen = next(str(row["series"]) for row in rows if row["opens"] and row["series"] > 100)
    one = CliRunner().invoke(main, ["ls", "--series", chosen, str(cohort)])
    assert len(one.stdout.splitlines()) == 2

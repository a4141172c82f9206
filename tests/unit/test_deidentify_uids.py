"""UIDs of what is computed from de-identified images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import identified
import pydicom
import pytest
import xarray as xr

from imagedata_xr.errors import ImagedataWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*", "error::imagedata_xr.errors.ImagedataWarning")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A time series of a patient who is named everywhere."""
    identified.make(tmp_path / "in", identified.mr(shape=(3, 2, 6, 8)))
    return tmp_path / "in"


def headers(folder: Path) -> list[pydicom.Dataset]:
    """Written instances by number."""
    return sorted((pydicom.dcmread(p) for p in folder.rglob("*.dcm")), key=lambda ds: int(ds.InstanceNumber))


def uids(folder: Path) -> list[tuple[str, ...]]:
    """UIDs of written instances, and those that they refer to."""
    words = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    return [
        (*(str(ds.get(w)) for w in words), *sorted(str(e.value) for e in ds.iterall() if e.VR == "UI"))
        for ds in headers(folder)
    ]


def computed(image: xr.DataArray) -> dict[str, xr.DataArray]:
    """Images of which no plane is the source's own."""
    return {"half": image * 0.37, "mean": image.mean("tag"), "third": image * 0.33}


@pytest.mark.parametrize("which", ["half", "mean"])
def test_what_is_computed_gets_the_same_uids_at_each_writing(source: Path, tmp_path: Path, which: str) -> None:
    import shutil

    shutil.copytree(source, tmp_path / "moved")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        for name, place, seed in (("a", source, "k"), ("b", tmp_path / "moved", "k"), ("c", source, "l")):
            image = identified.opened(place, chunks={} if name == "a" else None).imd.deidentify(seed=seed)
            computed(image)[which].imd.write(tmp_path / name)
    a, b, c = (uids(tmp_path / n) for n in "abc")
    assert a == b
    assert {u for row in a for u in row[:4]}.isdisjoint({u for row in c for u in row[:4]})
    assert [p.read_bytes() for p in sorted((tmp_path / "a").iterdir())] == [
        p.read_bytes() for p in sorted((tmp_path / "b").iterdir())
    ]


def test_different_results_get_different_uids_on_one_frame_of_reference(source: Path, tmp_path: Path) -> None:
    image = identified.opened(source).imd.deidentify(seed="k")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        for name, result in computed(image).items():
            result.imd.write(tmp_path / name)
        (image * 0.37).imd.write(tmp_path / "named", series_description="again")
        image.imd.write(tmp_path / "same")
    written = {n: uids(tmp_path / n) for n in (*computed(image), "named", "same")}
    assert len({row[0] for rows in written.values() for row in rows}) == sum(map(len, written.values()))
    assert len({row[1] for rows in written.values() for row in rows}) == len(written)
    assert len({row[2:4] for rows in written.values() for row in rows}) == 1


def test_slices_of_a_mosaic_get_the_same_uids_at_each_writing(tmp_path: Path) -> None:
    identified.mosaic(tmp_path / "in")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)  # of what a slice of a mosaic lacks, where it stands alone
        for name in "ab":
            identified.opened(tmp_path / "in", order="b").imd.deidentify(seed="k").imd.write(tmp_path / name)
    assert uids(tmp_path / "a") == uids(tmp_path / "b")


@pytest.mark.parametrize("kind", ["segmentation", "parametric_map"])
def test_objects_made_of_an_image_get_the_same_uids(
    source: Path, tmp_path: Path, kind: str, require_module: Callable[[str], Any]
) -> None:
    require_module("highdicom")
    image = identified.opened(source).imd.deidentify(seed="k").isel(tag=0)
    made = image > float(image.median()) if kind == "segmentation" else image * 0.25
    for name in "ab":
        made.imd.write(tmp_path / name, kind=kind)
    assert uids(tmp_path / "a") == uids(tmp_path / "b")
    own = {ds.SOPInstanceUID for ds in _written(image, tmp_path / "source")}
    (ds,) = headers(tmp_path / "a")
    assert {r.ReferencedSOPInstanceUID for r in ds.SourceImageSequence} == own


def _written(image: xr.DataArray, folder: Path) -> list[pydicom.Dataset]:
    image.imd.write(folder)
    return headers(folder)

"""From DICOM to zarr or netCDF and, with the source gone, back to DICOM: nothing is lost on the way."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make, opened
from pydicom.uid import RLELossless
from saved_images import EXTENSIONS, write

from imagedata_xr.dicom.headers import lookup
from imagedata_xr.dicom.writing.write import write as write_dicom
from imagedata_xr.errors import ImagedataWarning
from imagedata_xr.formats.seam import WriteOptions

pytest.importorskip("zarr")
pytest.importorskip("h5netcdf")

NEW = {0x00080018, 0x0020000E}  # SOP and Series Instance UID
MADE = NEW | {0x00080012, 0x00080013, 0x00080021, 0x00080023, 0x00080031, 0x00080033}  # and the dates of a derived one
PIXELS = 0x7FE00010


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_sources", type(lookup._sources)())


def forgotten(folder: Path) -> None:
    """Remove a source, from the disk and from what this process remembers."""
    shutil.rmtree(folder)
    lookup._sources.clear()


def dicom(image: xr.DataArray, target: Path) -> list[pydicom.Dataset]:
    """The instances that an image is written as; nothing may be warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        done = write_dicom(image, str(target), WriteOptions())
    return [pydicom.dcmread(p) for p in done.paths]


def differing(a: pydicom.Dataset, b: pydicom.Dataset, path: str = "") -> set[str]:
    """Elements that differ, those of sequences one by one; group lengths are no content."""
    tags = [{t for t in ds.keys() if t.element} for ds in (a, b)]  # noqa: SIM118 - iterating decodes
    out = {f"{path}{t}" for t in tags[0] ^ tags[1]}
    for t in tags[0] & tags[1]:
        if a[t].VR == "SQ" == b[t].VR and len(a[t].value) == len(b[t].value):
            for k, (x, y) in enumerate(zip(a[t].value, b[t].value, strict=True)):
                out |= differing(x, y, f"{path}{t}[{k}]")
        elif t == PIXELS:
            out |= set() if np.array_equal(a.pixel_array, b.pixel_array) else {"pixels"}
        elif (a[t].VR, a[t].value, str(a[t].value)) != (b[t].VR, b[t].value, str(b[t].value)):
            out.add(f"{path}{t}")
    return out


def names(tags: set[int]) -> set[str]:
    return {str(pydicom.tag.Tag(t)) for t in tags}


SERIES = {
    "mr": phantoms.mr(shape=(2, 3, 6, 8), slope=2.5, intercept=-3.0, orientation=phantoms.OBLIQUE),
    "ct": phantoms.ct(),
    "pet": phantoms.pet(),
    "diffusion": phantoms.mr(shape=(2, 2, 6, 8), volumes=phantoms.diffusion([0, 1000], [(0, 0, 0), (0.6, 0, 0.8)])),
    "without names": phantoms.mr(who=phantoms.NOBODY),
}


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("kind", SERIES)
def test_an_unchanged_image_is_written_as_its_source_would_have_been(kind: str, extension: str, tmp_path: Path) -> None:
    paths = make(tmp_path / "in", SERIES[kind])
    sources = [pydicom.dcmread(p) for p in paths]
    image = opened(tmp_path / "in", chunks={})
    expected = dicom(image, tmp_path / "expected")
    write(image, tmp_path / f"a{extension}")
    forgotten(tmp_path / "in")
    written = dicom(opened(tmp_path / f"a{extension}", chunks={}), tmp_path / "out")
    assert len(written) == len(sources)
    for ours, theirs, first in zip(written, expected, sources, strict=True):
        assert differing(ours, theirs) <= names(NEW)
        assert differing(ours, first) == names(NEW)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a * 1.5,
        lambda a: a.isel(row=slice(1, 5), slice=slice(None, None, 2)),
        lambda a: a.isel(slice=slice(None, None, -1)),
        lambda a: a.where(a.slice != a.slice[1], a + 1),
    ],
    ids=["scaled", "crop", "flipped", "one slice changed"],
)
def test_a_derived_image_is_written_as_with_its_source(
    change: Callable[[xr.DataArray], xr.DataArray], extension: str, tmp_path: Path
) -> None:
    make(tmp_path / "in", SERIES["mr"])
    image = opened(tmp_path / "in", chunks={})
    with xr.set_options(keep_attrs=True):
        expected = dicom(change(image), tmp_path / "expected")
        write(image, tmp_path / f"a{extension}")
        forgotten(tmp_path / "in")
        changed = change(opened(tmp_path / f"a{extension}", chunks={}))
        write(changed.rename("image"), tmp_path / f"b{extension}")  # and on through another file
        (tmp_path / f"a{extension}").rename(tmp_path / "gone")
        lookup._sources.clear()
        written = dicom(opened(tmp_path / f"b{extension}", chunks={}), tmp_path / "out")
    assert len(written) == len(expected)
    for ours, theirs in zip(written, expected, strict=True):
        assert differing(ours, theirs) <= names(MADE)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_compressed_source_is_written_with_equal_pixels(extension: str, tmp_path: Path) -> None:
    for path in make(tmp_path / "in", SERIES["ct"]):
        ds = pydicom.dcmread(path)
        uid = ds.SOPInstanceUID
        ds.compress(RLELossless)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        ds.save_as(path)
    image = opened(tmp_path / "in", chunks={})
    expected = dicom(image, tmp_path / "expected")
    assert expected[0].file_meta.TransferSyntaxUID == RLELossless
    write(image, tmp_path / f"a{extension}")
    forgotten(tmp_path / "in")
    for ours, theirs in zip(dicom(opened(tmp_path / f"a{extension}"), tmp_path / "out"), expected, strict=True):
        assert differing(ours, theirs) <= names(NEW)
        assert not ours.file_meta.TransferSyntaxUID.is_compressed


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_headers_are_at_hand_when_the_source_is_gone(extension: str, tmp_path: Path) -> None:
    (path, *_) = make(tmp_path / "in", SERIES["mr"])
    first = pydicom.dcmread(path, stop_before_pixels=True)
    write(opened(tmp_path / "in"), tmp_path / f"a{extension}")
    forgotten(tmp_path / "in")
    image = opened(tmp_path / f"a{extension}")
    assert differing(image.imd.header.first, first) == set()
    lookup._sources.clear()  # as in another process, which has the image by pickle
    assert differing(image.imd.header.first, first) == set()
    assert image.imd.header_table().sizes == {"instance": 6}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_without_headers_the_patient_and_the_study_remain(extension: str, tmp_path: Path) -> None:
    make(tmp_path / "in", SERIES["mr"])
    write(opened(tmp_path / "in"), tmp_path / f"a{extension}", format_options={"headers": False})
    forgotten(tmp_path / "in")
    with pytest.warns(ImagedataWarning, match="source of this image can't be reached"):
        done = write_dicom(opened(tmp_path / f"a{extension}"), str(tmp_path / "out"), WriteOptions())
    ds = pydicom.dcmread(done.paths[0])
    assert (ds.PatientID, ds.PatientName, ds.StudyInstanceUID) == ("P-1", "Müller^Zoé", phantoms.ANNA.study)


@pytest.mark.parametrize("name", ["imd_time", "ge_dwi_r2", "sie_hfp_t1", "phi_cl_asl"])
@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_real_images_keep_every_element(name: str, extension: str, case: Any, tmp_path: Path) -> None:
    shutil.copytree(case(name), tmp_path / "in")
    image = opened(tmp_path / "in", chunks={})
    expected = dicom(image, tmp_path / "expected")
    write(image, tmp_path / f"a{extension}")
    forgotten(tmp_path / "in")
    written = dicom(opened(tmp_path / f"a{extension}", chunks={}), tmp_path / "out")
    for ours, theirs in zip(written, expected, strict=True):
        assert differing(ours, theirs) <= names(MADE)

"""Images of which the pixels, their shape, or the words that say how they are encoded, are missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import phantoms
import pytest
import xarray as xr
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID

from imagedata_xr.errors import ImagedataWarning, NotFoundError, SourceError


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return phantoms.make(tmp_path / "s", phantoms.mr(shape=(1, 4, 6, 8)))


def opened(paths: list[Path], **options: Any) -> xr.DataArray:
    return xr.open_dataarray(paths[0].parent, engine="imagedata", **options)


def change(path: Path, how: Callable[[Dataset], object]) -> None:
    ds = dcmread(path)
    how(ds)
    ds.save_as(path)


def test_an_image_without_pixels_is_said(series: list[Path]) -> None:
    change(series[-1], lambda ds: ds.__delattr__("PixelData"))
    with pytest.warns(ImagedataWarning, match=r"1 files are images \(MR Image\) without pixel data.*00_03"):
        assert opened(series).sizes["slice"] == 3
    with pytest.raises(SourceError, match="00_03"):
        opened(series, errors="raise")


def test_an_object_without_pixels_is_nothing_to_say(series: list[Path], recwarn: pytest.WarningsRecorder) -> None:
    def to_state(ds: Dataset) -> None:
        for keyword in ("PixelData", "Rows", "Columns"):
            delattr(ds, keyword)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.11.1")

    change(series[-1], to_state)
    assert opened(series, errors="raise").sizes["slice"] == 3
    assert not [w for w in recwarn if w.category is ImagedataWarning]


@pytest.mark.parametrize(
    "uid",
    ["1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.66", "1.3.12.2.1107.5.9.1", "1.3.46.670589.11.0.0.12.1"],
)
def test_spectra_and_raw_data_with_rows_have_lost_nothing(
    uid: str, series: list[Path], recwarn: pytest.WarningsRecorder
) -> None:
    def to_raw(ds: Dataset) -> None:
        del ds.PixelData
        ds.NumberOfFrames, ds.Rows, ds.Columns = 1, 1, 1
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID(uid)

    change(series[-1], to_raw)
    assert opened(series, errors="raise").sizes["slice"] == 3
    assert not [w for w in recwarn if "without pixel data" in str(w.message)]


def test_a_private_class_with_rows_is_one_of_images(series: list[Path]) -> None:
    def to_private(ds: Dataset) -> None:
        del ds.PixelData
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.826.0.1.3680043.8.498.4")

    change(series[-1], to_private)
    with pytest.warns(ImagedataWarning, match="1 files are images .* without pixel data"):
        assert opened(series).sizes["slice"] == 3


@pytest.mark.parametrize("value", [None, 0])
def test_pixels_without_a_shape_are_named(series: list[Path], value: int | None) -> None:
    change(series[1], lambda ds: setattr(ds, "Columns", value))
    with pytest.warns(ImagedataWarning, match=r"no shape: .*00_01.dcm has pixel data, but no Columns"):
        assert opened(series).sizes["slice"] == 3
    with pytest.raises(SourceError, match="no Columns"):
        opened(series, errors="raise")


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_meta_information_are_read_and_said(series: list[Path], implicit: bool) -> None:
    want = opened(series).load()
    for path in series:
        ds = dcmread(path)
        del ds.file_meta
        ds.preamble = None
        dcmwrite(path, ds, implicit_vr=implicit, little_endian=True)
    words = "implicit" if implicit else "explicit"
    with pytest.warns(ImagedataWarning, match=rf"4 of 4 DICOM files have no transfer syntax.* 4 as {words} VR little"):
        got = opened(series)
    xr.testing.assert_identical(got.load(), want)


def test_a_data_set_that_lost_its_beginning_is_refused_in_plain_words(series: list[Path]) -> None:
    for path in series[1:]:
        path.unlink()
    ds = dcmread(series[0])
    del ds.file_meta
    ds.preamble = None
    dcmwrite(series[0], ds, implicit_vr=False, little_endian=True)
    series[0].write_bytes(b" " + series[0].read_bytes())
    with (
        pytest.warns(ImagedataWarning, match="a data set begins at byte 1 only"),
        pytest.raises(NotFoundError, match="is no image"),
    ):
        opened(series)


def test_frames_that_nothing_counts(tmp_path: Path) -> None:
    from multiframe import Frame, instance, save

    ds = instance([Frame(k) for k in range(3)])
    del ds.NumberOfFrames
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 3]
    save(ds, tmp_path / "a.dcm")
    with pytest.raises(SourceError, match=r"functional groups of .* describe 3 frames .*NumberOfFrames.* is missing"):
        xr.open_dataarray(tmp_path, engine="imagedata", errors="raise")

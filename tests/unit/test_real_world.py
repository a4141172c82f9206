"""Real-world values: mappings of stored values, and that only what was read is mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from mapped import line, mapping, stored, write
from multiframe import Frame, save
from multiframe import instance as enhanced
from multiframe import stored as frame_stored
from numpy.typing import NDArray
from phantoms import ct, mr, opened
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from imagedata_xr.errors import GeometryError, LabelError, SourceError

TWO = mr(shape=(2, 3, 6, 8), slope=[2.0, 3.0], intercept=-7.0)


def mapped_series(folder: Path) -> Path:
    """Two volumes with rescales of their own, and a mapping of stored values that differs from slice to slice."""

    def change(ds: Dataset, v: int, k: int) -> None:
        table = np.sqrt(np.arange(1000, 3001.0))
        ds.RealWorldValueMappingSequence = Items(
            [
                line("ADC", "um2/s", 0.25 + k, -3.0 * v, 500, 3500),
                mapping("ROOT", "1", 1000, 3000, RealWorldValueLUTData=table.tolist()),
            ]
        )

    return write(folder, TWO, change)


def by_line() -> NDArray[np.float64]:
    s, k, v = stored(TWO), np.arange(3)[None, :, None, None], np.arange(2)[:, None, None, None]
    return np.where((s >= 500) & (s <= 3500), (0.25 + k) * s - 3.0 * v, np.nan)


# --- mappings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lazy", "numpy", "dask"])
def test_mapping_takes_stored_values_whatever_their_rescale(how: str, tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path), **({"chunks": {}} if how == "dask" else {}))
    if how == "numpy":
        a.load()
    b = a.imd.real_world(label="ADC")
    assert b.variable._in_memory == (how == "numpy")
    np.testing.assert_allclose(b, by_line(), rtol=1e-6)
    assert b.attrs["units"] == "um2/s"
    np.testing.assert_array_equal(b.imd.affine, a.imd.affine)
    assert a.attrs.get("units") != "um2/s"


def test_mapping_by_table_and_by_units(tmp_path: Path) -> None:
    b = opened(mapped_series(tmp_path)).imd.real_world(units="1")
    s = stored(TWO)
    np.testing.assert_allclose(b, np.where((s >= 1000) & (s <= 3000), np.sqrt(s), np.nan), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"label": "T1"}, {"units": "ms"}])
def test_mapping_that_is_not_one_is_an_error_with_what_there_is(options: dict[str, str], tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path))
    with pytest.raises(LabelError, match=r"label='ADC', units='um2/s'(.|\n)*label='ROOT', units='1'"):
        a.imd.real_world(**options)


def test_images_without_mapping_say_so(tmp_path: Path) -> None:
    a = opened(write(tmp_path / "none", mr()))
    with pytest.raises(LabelError, match="have no RealWorldValueMappingSequence"):
        a.imd.real_world()

    def change(ds: Dataset, v: int, k: int) -> None:
        if k:
            ds.RealWorldValueMappingSequence = Items([line("ADC", "um2/s", 1.0, 0.0)])

    with pytest.raises(LabelError, match="1 of 4 images do not have the mapping"):
        opened(write(tmp_path / "some", mr(), change)).imd.real_world()


@pytest.mark.parametrize(
    "part",
    [
        {"tag": 1},
        {"tag": [1], "slice": slice(1, None)},
        {"row": slice(2, 5), "col": slice(1, None, 3)},
        {"slice": slice(None, None, -1), "row": slice(None, None, -1), "col": [5, 2]},
        {"slice": 2, "tag": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["numpy", "dask"])
def test_part_of_an_image_is_mapped_by_its_own_headers(part: dict[str, Any], how: str, tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path), **({"chunks": {"row": 4}} if how == "dask" else {}))
    if how == "numpy":
        a.load()
    whole = xr.DataArray(by_line(), dims=a.dims)
    np.testing.assert_allclose(a.isel(part).imd.real_world(label="ADC"), whole.isel(part), rtol=1e-6)


@pytest.mark.parametrize("signed", ["SS", "US"])
def test_range_of_signed_values(signed: str, tmp_path: Path) -> None:
    series = ct(shape=(1, 2, 6, 8), signed=True)

    def change(ds: Dataset, v: int, k: int) -> None:
        ds.PixelData = (series.stored(v, k) - 1000).astype("<i2").tobytes()
        item = line("HU", "[hnsf'U]", 2.0, 1.0)
        item.add_new("RealWorldValueFirstValueMapped", signed, -500 if signed == "SS" else 65536 - 500)
        item.add_new("RealWorldValueLastValueMapped", signed, 200)
        ds.RealWorldValueMappingSequence = Items([item])

    s = stored(series) - 1000
    b = opened(write(tmp_path, series, change)).imd.real_world()
    np.testing.assert_allclose(b, np.where((s >= -500) & (s <= 200), 2 * s + 1, np.nan))


def test_ranges_of_one_label_are_one_mapping(tmp_path: Path) -> None:
    def change(ds: Dataset, v: int, k: int) -> None:
        parts = [line("V", "cm/s", 1.0, 0.0, 0, 1999), line("V", "cm/s", 2.0, -2000.0, 2000, 4095)]
        ds.RealWorldValueMappingSequence = Items(parts)

    s = stored(mr())
    b = opened(write(tmp_path, mr(), change)).imd.real_world()
    np.testing.assert_array_equal(b, np.where(s < 2000, s, 2 * s - 2000))


@pytest.mark.parametrize("shared", [True, False])
def test_mapping_of_frames_shared_or_of_each(shared: bool, tmp_path: Path) -> None:
    frames = [Frame(k, slope=2.0 + k, intercept=5.0) for k in (2, 0, 1)]
    ds = enhanced(frames)
    for f, item in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        if not shared:
            item.RealWorldValueMappingSequence = Items([line("X", "ms", 0.5 + f.k, 1.0)])
    if shared:
        ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = Items([line("X", "ms", 0.5, 1.0)])
    save(ds, tmp_path / "a.dcm")
    b = opened(tmp_path).load().imd.real_world()
    want = [frame_stored(Frame(k)) * (0.5 if shared else 0.5 + k) + 1 for k in range(3)]
    np.testing.assert_allclose(b[0], want)


FLOAT = (280.5, 291.25)


def test_float_pixels_are_mapped_by_double_ranges(tmp_path: Path) -> None:
    frames = [Frame(k) for k in range(2)]
    values = np.stack([frame_stored(f) for f in frames]) / np.float32(7)
    ds = enhanced(frames, SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.30"), FloatPixelData=values.tobytes())
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(ds, keyword)
    ds.BitsAllocated = 32
    item = mapping("F", "s", *FLOAT, True, RealWorldValueSlope=3.0, RealWorldValueIntercept=0.5)
    ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = Items([item])
    for one in ds.PerFrameFunctionalGroupsSequence:
        del one.PixelValueTransformationSequence
    save(ds, tmp_path / "a.dcm")
    b = opened(tmp_path).load().imd.real_world()
    want = np.where((values >= FLOAT[0]) & (values <= FLOAT[1]), 3.0 * values + 0.5, np.nan)
    assert 0 < np.isnan(want).sum() < want.size
    np.testing.assert_allclose(b[0], want, rtol=1e-6)


# --- only what was read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [lambda a: a * 2, lambda a: a + 1, lambda a: a.roll(row=1), lambda a: a**2, lambda a: a.fillna(0) * -1],
    ids=["times", "plus", "roll", "square", "minus"],
)
@pytest.mark.parametrize("chunks", [None, {}], ids=["numpy", "dask"])
def test_changed_values_are_refused(change: Any, chunks: Any, tmp_path: Path) -> None:
    a = change(opened(mapped_series(tmp_path), chunks=chunks))
    with pytest.raises(SourceError, match="values are not those that were read"):
        a.imd.real_world(label="ADC").compute()


@pytest.mark.parametrize(
    "change", [lambda a: a.mean("tag"), lambda a: a.sum("slice"), lambda a: a - a.isel(tag=0)], ids=["mean", "sum", "-"]
)
def test_images_of_no_source_are_refused(change: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not those of a source any more"):
        change(opened(mapped_series(tmp_path))).imd.real_world(label="ADC")


def test_resampled_images_are_refused(tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path))
    with pytest.raises(SourceError, match="lie between those"):
        a.coarsen(slice=2, boundary="trim").mean().imd.real_world(label="ADC")
    with pytest.raises(GeometryError, match="between those of the source"):
        a.coarsen(row=2).mean().imd.real_world(label="ADC")


def test_masked_pixels_stay_masked(tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path)).load()
    b = a.where(a > 3000).imd.real_world(label="ADC")
    np.testing.assert_allclose(b, np.where(a.values > 3000, by_line(), np.nan), rtol=1e-6)


def test_nobody_looks_where_check_is_false(tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path)).load()
    b = (a.isel(tag=[0]) + 2.0).imd.real_world(label="ADC", check=False)  # one stored step
    one = stored(TWO)[0, 0] + 1
    np.testing.assert_allclose(b[0, 0], np.where((one >= 500) & (one <= 3500), 0.25 * one, np.nan), rtol=1e-6)


def test_unread_image_stays_unread(tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path))
    b = a.imd.real_world(label="ADC")
    assert not a.variable._in_memory
    assert b.chunks is not None


def test_twice_is_refused(tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path)).imd.real_world(label="ADC", check=False)
    with pytest.raises(LabelError, match="already"):
        a.imd.real_world(label="ADC")


def test_saved_image_is_mapped_without_its_source(tmp_path: Path) -> None:
    a = opened(mapped_series(tmp_path / "in"))
    a.imd.write(tmp_path / "a.zarr")
    for file in (tmp_path / "in").iterdir():
        file.unlink()
    b = opened(tmp_path / "a.zarr")
    np.testing.assert_allclose(b.imd.real_world(label="ADC"), by_line(), rtol=1e-6)
    with pytest.raises(SourceError, match="only a digest is kept"):
        b.load().isel(row=slice(1, 3)).imd.real_world(label="ADC")


# --- Philips ---------------------------------------------------------------------------------------------------------


def test_precise_values_of_philips(tmp_path: Path) -> None:
    def change(ds: Dataset, v: int, k: int) -> None:
        ds.Manufacturer = "Philips Medical Systems"
        ds.RescaleSlope, ds.RescaleIntercept = str(2 + v), str(-7)
        ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.125 * (1 + k))
        # classic images have the sequence of the frames of enhanced ones too, without the slope
        inner = Items([Dataset()])
        ds.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", inner)

    series = mr(shape=(2, 3, 6, 8))
    b = opened(write(tmp_path, series, change)).imd.real_world("precise")
    rs, ss = (2 + np.arange(2))[:, None, None, None], 0.125 * (1 + np.arange(3))[None, :, None, None]
    np.testing.assert_allclose(b, (stored(series) * rs - 7) / (rs * ss), rtol=1e-6)
    with pytest.raises(LabelError, match="no Scale Slope"):
        opened(write(tmp_path / "other", mr())).imd.real_world("precise")


def test_precise_values_of_philips_frames(tmp_path: Path) -> None:
    frames = [Frame(k, slope=2.0 + k, intercept=-3.0) for k in range(3)]
    ds = enhanced(frames, Manufacturer="Philips")
    for f, item in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        inner = Dataset()
        inner.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.25 * (1 + f.k))
        item.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", Items([inner]))
    save(ds, tmp_path / "a.dcm")
    b = opened(tmp_path).load().imd.real_world("precise")
    want = [(frame_stored(f) * f.slope - 3) / (f.slope * 0.25 * (1 + f.k)) for f in frames]
    np.testing.assert_allclose(b[0], want, rtol=1e-6)

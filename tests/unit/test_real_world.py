"""Real-world values: mappings of stored values, uptake values of PET, precise values of Philips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from multiframe import Frame, save
from multiframe import instance as enhanced
from multiframe import stored as frame_stored
from numpy.typing import NDArray
from phantoms import Series, ct, instance, make, mr, opened, pet
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from imagedata_xr.errors import GeometryError, LabelError, SourceError


def mapping(label: str, units: str, first: float, last: float, double: bool = False, **elements: Any) -> Dataset:
    """An item of Real World Value Mapping Sequence."""
    item, code = Dataset(), Dataset()
    item.LUTLabel, item.LUTExplanation = label, f"made up: {label}"
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = units, "UCUM", units
    item.MeasurementUnitsCodeSequence = Items([code])
    if double:
        item.DoubleFloatRealWorldValueFirstValueMapped = first
        item.DoubleFloatRealWorldValueLastValueMapped = last
    else:
        vr = "SS" if first < 0 else "US"
        item.add_new("RealWorldValueFirstValueMapped", vr, int(first))
        item.add_new("RealWorldValueLastValueMapped", vr, int(last))
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def line(label: str, units: str, slope: float, intercept: float, first: float = 0, last: float = 4095) -> Dataset:
    return mapping(label, units, first, last, RealWorldValueSlope=slope, RealWorldValueIntercept=intercept)


def write(folder: Path, series: Series, change: Any = None) -> Path:
    """Write a series whose instances are changed first by ``change(ds, v, k)``."""
    if change is None:
        make(folder, series)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for v in range(series.shape[0]):
        for k in range(series.shape[1]):
            ds = instance(series, v, k)
            change(ds, v, k)
            ds.save_as(folder / f"{v:02d}_{k:02d}.dcm", enforce_file_format=True)
    return folder


def stored(series: Series) -> NDArray[np.float64]:
    volumes, slices = series.shape[:2]
    return np.array([[series.stored(v, k) for k in range(slices)] for v in range(volumes)], dtype=np.float64)


# --- mappings ---------------------------------------------------------------------------------------------------------

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


# --- only what was read -----------------------------------------------------------------------------------------------


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


# --- uptake values ----------------------------------------------------------------------------------------------------

HALF_LIFE, DOSE, WEIGHT = 6586.2, 3.5e8, 70.0
PET = pet(shape=(1, 3, 6, 8), slope=[0.5])


def tracer(**elements: Any) -> Dataset:
    info = Dataset()
    info.RadionuclideTotalDose, info.RadionuclideHalfLife = str(DOSE), str(HALF_LIFE)
    info.RadiopharmaceuticalStartTime = "090000"
    for keyword, value in elements.items():
        if value is None:
            delattr(info, keyword)
        else:
            setattr(info, keyword, value)
    return info


def uptake_series(folder: Path, info: Dataset | None = None, series: Series = PET, **elements: Any) -> Path:
    """Scan from 10:00, tracer given at 9:00; elements of all images changed, None takes one away."""

    def change(ds: Dataset, v: int, k: int) -> None:
        ds.RadiopharmaceuticalInformationSequence = Items([tracer() if info is None else info])
        ds.RescaleSlope = str(0.5 + 0.25 * k)
        ds.AcquisitionTime = f"1000{10 * k:02d}"
        ds.ActualFrameDuration, ds.FrameReferenceTime = "60000", str(10000 * k + 30000)
        for keyword, value in elements.items():
            value = value(k) if callable(value) else value
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)

    return write(folder, series, change)


def bq(series: Series = PET) -> NDArray[np.float64]:
    return np.asarray(stored(series) * (0.5 + 0.25 * np.arange(3))[None, :, None, None])


def by_formula(seconds: float, body: float = 1e3 * WEIGHT) -> NDArray[np.float64]:
    """Uptake with a decay of so many seconds."""
    return bq() * body / (DOSE * 2 ** (-seconds / HALF_LIFE))


@pytest.mark.parametrize("how", ["lazy", "numpy", "dask"])
def test_uptake_by_weight(how: str, tmp_path: Path) -> None:
    a = opened(uptake_series(tmp_path), **({"chunks": {}} if how == "dask" else {}))
    b = (a.load() if how == "numpy" else a).imd.real_world("suv")
    np.testing.assert_allclose(b, by_formula(3600), rtol=1e-6)
    assert (b.attrs["units"], b.attrs["SUVType"]) == ("g/ml", "BW")


def test_uptake_of_a_crop_is_that_of_the_whole(tmp_path: Path) -> None:
    a = opened(uptake_series(tmp_path))
    b = a.isel(slice=[2], row=slice(1, 4)).load().imd.real_world("suv")
    np.testing.assert_allclose(b, by_formula(3600)[:, [2], 1:4], rtol=1e-6)


def test_other_kinds_of_uptake(tmp_path: Path) -> None:
    a = opened(uptake_series(tmp_path, PatientSex="F", PatientSize="1.6"))
    lean = 9270 * 70 / (8780 + 244 * 70 / 1.6**2)
    np.testing.assert_allclose(a.imd.real_world("suvlbm"), by_formula(3600, 1e3 * lean), rtol=1e-6)
    surface = 0.007184 * 70**0.425 * 160**0.725 * 1e4
    b = a.imd.real_world("suvbsa")
    np.testing.assert_allclose(b, by_formula(3600, surface), rtol=1e-6)
    assert b.attrs["units"] == "cm2/ml"
    with pytest.raises(LabelError, match="PatientSex is 'O'"):
        opened(uptake_series(tmp_path / "other", PatientSize="1.6")).imd.real_world("suvlbm")


@pytest.mark.parametrize(
    ("info", "elements", "seconds"),
    [
        ({}, {"DecayCorrection": "ADMIN"}, 0),
        ({"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20240305090000"}, {}, 3600),
        ({"RadiopharmaceuticalStartDateTime": "20240304090000"}, {}, 25 * 3600),
        ({"RadiopharmaceuticalStartTime": "100030"}, {}, -30),
        ({}, {"DecayCorrectionDateTime": "20240305095500"}, 3300),
        ({"RadiopharmaceuticalStartTime": "233000"},
         {"SeriesTime": "003000", "AcquisitionTime": "003000", "FrameReferenceTime": "30000"}, 3600),
    ],
    ids=["administration", "date-time", "the day before", "after the start", "decay date-time", "midnight"],
)  # fmt: skip
def test_decay_from_administration_to_scan(
    info: dict[str, Any], elements: dict[str, Any], seconds: float, tmp_path: Path
) -> None:
    a = opened(uptake_series(tmp_path, tracer(**info), **elements))
    np.testing.assert_allclose(a.imd.real_world("suv"), by_formula(seconds), rtol=1e-6)


def test_series_made_later_finds_the_scan_by_its_frames(tmp_path: Path) -> None:
    """Frames begin 10 s after each other; each one's reference is its mean moment after 9:58:20."""
    decay = np.log(2) / HALF_LIFE * 60
    mean = 60 * np.log(decay / (1 - np.exp(-decay))) / decay
    times: dict[str, Any] = {
        "SeriesTime": "150000",
        "FrameReferenceTime": lambda k: f"{1e3 * (100 + 10 * k + mean):.3f}",
    }
    folder = uptake_series(tmp_path / "a", **times)
    np.testing.assert_allclose(opened(folder).imd.real_world("suv"), by_formula(3500), rtol=1e-5)
    # a part that was measured after the series was made does not tell otherwise
    times["SeriesTime"] = "100015"
    folder = uptake_series(tmp_path / "b", **times)
    b = opened(folder).isel(slice=[2]).imd.real_world("suv")
    np.testing.assert_allclose(b, by_formula(3500)[:, [2]], rtol=1e-5)


def test_scan_of_ge_made_later(tmp_path: Path) -> None:
    folder = uptake_series(tmp_path, SeriesTime="150000")
    for file in folder.iterdir():
        ds = pydicom.dcmread(file)
        ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240305095800.00")
        ds.save_as(file)
    np.testing.assert_allclose(opened(folder).imd.real_world("suv"), by_formula(3480), rtol=1e-6)


def test_philips_counts(tmp_path: Path) -> None:
    def philips(folder: Path, direct: str, per_ml: str) -> xr.DataArray:
        def change(ds: Dataset, v: int, k: int) -> None:
            ds.Units, ds.RescaleSlope = "CNTS", str(0.5 + 0.25 * k)
            ds.RadiopharmaceuticalInformationSequence = Items([tracer()])
            ds.ActualFrameDuration, ds.FrameReferenceTime = "60000", "30000"
            block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
            block.add_new(0x00, "DS", direct)
            block.add_new(0x09, "DS", per_ml)

        return opened(write(folder, PET, change))

    a = philips(tmp_path / "a", "0.000571", "1.4")
    assert a.attrs["units"] == "counts"
    np.testing.assert_allclose(a.imd.real_world("suv"), bq() * 0.000571, rtol=1e-6)
    b = philips(tmp_path / "b", "0", "1.4")
    np.testing.assert_allclose(b.imd.real_world("suv"), 1.4 * by_formula(3600), rtol=1e-6)
    with pytest.raises(LabelError, match="missing or zero"):
        philips(tmp_path / "c", "0", "0").imd.real_world("suv")


def test_images_that_hold_uptake_values(tmp_path: Path) -> None:
    a = opened(uptake_series(tmp_path / "a", Units="GML"))
    np.testing.assert_allclose(a.imd.real_world("suv"), bq(), rtol=1e-6)
    b = opened(uptake_series(tmp_path / "b", Units="GML", SUVType="LBM"))
    with pytest.raises(LabelError, match="SUVType LBM"):
        b.imd.real_world("suv")


@pytest.mark.parametrize(
    ("info", "elements", "match"),
    [
        ({}, {"CorrectedImage": ["DECY"]}, "without ATTN"),
        ({}, {"CorrectedImage": ["ATTN", "SCAT"]}, "without DECY"),
        ({}, {"CountsSource": "TRANSMISSION"}, "CountsSource is 'TRANSMISSION'"),
        ({}, {"Units": "PROPCPS"}, "Units are 'PROPCPS'"),
        ({}, {"DecayCorrection": "NONE"}, "DecayCorrection is 'NONE'"),
        ({}, {"PatientWeight": None}, "PatientWeight is missing"),
        ({}, {"PatientWeight": "0"}, "PatientWeight is 0"),
        ({}, {"PatientWeight": "70000"}, "hardly be kg"),
        ({}, {"Modality": "NM"}, "Modality"),
        ({"RadionuclideTotalDose": "350"}, {}, "hardly be Bq"),
        ({"RadionuclideTotalDose": None}, {}, "RadionuclideTotalDose is missing"),
        ({"RadionuclideHalfLife": None}, {}, "RadionuclideHalfLife is missing"),
        ({"RadionuclideHalfLife": "282240"}, {}, "may have been given on an earlier day"),
        ({"RadiopharmaceuticalStartTime": None}, {}, "RadiopharmaceuticalStartTime are missing"),
        ({"RadiopharmaceuticalStartTime": "170000"}, {}, "is after the scan"),
        ({"RadiopharmaceuticalStartDateTime": "20240306090000"}, {}, "is after the scan"),
        ({"RadiopharmaceuticalStartDateTime": "20240305080000"}, {}, "contradict each other"),
        ({}, {"SeriesTime": "150000"}, None),
        ({}, {"SeriesTime": "150000", "FrameReferenceTime": "0"}, "FrameReferenceTime or ActualFrameDuration"),
        ({}, {"SeriesTime": "150000", "FrameReferenceTime": lambda k: str(1000000 * (k + 1))}, "differ by"),
        ({}, {"SeriesTime": "090000", "FrameReferenceTime": "30000"}, "is not within the acquisition"),
        ({}, {"AcquisitionTime": None}, "AcquisitionTime is missing in some"),
    ],
)
def test_what_an_uptake_value_rests_on_is_demanded(
    info: dict[str, Any], elements: dict[str, Any], match: str | None, tmp_path: Path
) -> None:
    a = opened(uptake_series(tmp_path, tracer(**info), **elements))
    if match is None:  # found back from the frames
        a.imd.real_world("suv")
        return
    with pytest.raises(LabelError, match=match):
        a.imd.real_world("suv")


def test_two_tracers_are_refused(tmp_path: Path) -> None:
    def change(ds: Dataset, v: int, k: int) -> None:
        ds.RadiopharmaceuticalInformationSequence = Items([tracer(), tracer()])

    with pytest.raises(LabelError, match="has 2 items"):
        opened(write(tmp_path, PET, change)).imd.real_world("suv")


def test_what_is_missing_can_be_said(tmp_path: Path) -> None:
    a = opened(uptake_series(tmp_path, PatientWeight=None, SeriesTime="150000", FrameReferenceTime="0"))
    b = a.imd.assign_dicom(PatientWeight=70).imd.real_world("suv", decay_start="2024-03-05T09:50:00")
    np.testing.assert_allclose(b, by_formula(3000), rtol=1e-6)


def test_uptake_is_written_as_such(tmp_path: Path) -> None:
    a = opened(uptake_series(tmp_path / "in"))
    a.imd.real_world("suv").imd.write(tmp_path / "out")
    b = opened(tmp_path / "out")
    assert (b.attrs["units"], b.attrs["Units"], b.attrs["SUVType"]) == ("g/ml", "GML", "BW")
    np.testing.assert_allclose(b, by_formula(3600), atol=1e-4 * by_formula(3600).max())
    np.testing.assert_allclose(b.imd.real_world("suv"), b)


@pytest.mark.parametrize("corrected", [True, False])
def test_enhanced_pet(corrected: bool, tmp_path: Path) -> None:
    frames = [Frame(k) for k in range(2)]
    info = tracer(RadionuclideTotalDose="350", RadiopharmaceuticalStartDateTime="20240305090000")  # MBq
    ds = enhanced(
        frames, SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.130"), Modality="PT", PatientWeight="70",
        AttenuationCorrected="YES", DecayCorrected="YES" if corrected else "NO",
        DecayCorrectionDateTime="20240305100000", RadiopharmaceuticalInformationSequence=Items([info]),
    )  # fmt: skip
    ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = Items([line("C", "Bq/ml", 3.0, 0.0)])
    save(ds, tmp_path / "a.dcm")
    a = opened(tmp_path)
    if not corrected:
        with pytest.raises(LabelError, match="DecayCorrected is 'NO'"):
            a.imd.real_world("suv")
        return
    want = np.stack([frame_stored(f) for f in frames]) * 3.0 * 70e3 / (DOSE * 2 ** (-3600 / HALF_LIFE))
    np.testing.assert_allclose(a.imd.real_world("suv")[0], want, rtol=1e-6)


# --- Philips ----------------------------------------------------------------------------------------------------------


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

"""Real-world values: uptake values of PET."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from mapped import line, stored, write
from multiframe import Frame, save
from multiframe import instance as enhanced
from multiframe import stored as frame_stored
from numpy.typing import NDArray
from phantoms import Series, opened, pet
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID

from imagedata_xr.errors import LabelError

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

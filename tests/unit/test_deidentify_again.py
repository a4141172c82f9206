"""What belongs together stays so: after saving and opening again, over several calls, across series and days."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import identified
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from identified import found
from pydicom.dataset import Dataset
from pydicom.uid import UID

from imagedata_xr.dicom.deidentifying.cleaning import Cleaner
from imagedata_xr.dicom.deidentifying.policy import policy_of
from imagedata_xr.errors import ImagedataWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*", "error::imagedata_xr.errors.ImagedataWarning")


def headers(folder: Path) -> list[dict[str, Any]]:
    """Whole headers of written instances, pixels included, by number."""
    found = sorted((pydicom.dcmread(p) for p in folder.rglob("*.dcm")), key=lambda ds: int(ds.InstanceNumber))
    assert found
    return [ds.to_json_dict() for ds in found]


def opened(path: Path, **options: Any) -> xr.DataArray:
    """Image of a path."""
    return xr.open_dataarray(path, engine="imagedata", **options)


@pytest.mark.parametrize("name", ["a.zarr", "a.nc"])
def test_saved_and_opened_again_it_is_written_under_the_same_uids(tmp_path: Path, name: str) -> None:
    identified.make(tmp_path / "in", identified.mr(shape=(2, 2, 6, 8)))
    before = identified.opened(tmp_path / "in")
    clean = before.imd.deidentify(seed="k")
    clean.imd.write(tmp_path / name)
    after = opened(tmp_path / name)
    before.imd.write(tmp_path / f"whole-{name}", identifiers=True)
    late = opened(tmp_path / f"whole-{name}").imd.deidentify(seed="k")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)  # of what a computed image lacks
        for which, image in (("first", clean), ("saved", after), ("late", late)):
            image.imd.write(tmp_path / which, format="dicom")
            if which != "late":
                (image * 0.37).imd.write(tmp_path / f"{which}-half", format="dicom")
    assert headers(tmp_path / "first") == headers(tmp_path / "saved") == headers(tmp_path / "late")
    assert headers(tmp_path / "first-half") == headers(tmp_path / "saved-half")
    assert not found(tmp_path / "saved-half")


def test_what_is_saved_tells_nothing_of_the_seed(tmp_path: Path) -> None:
    identified.make(tmp_path / "in", identified.mr(shape=(1, 1, 6, 8)))
    table = identified.opened(tmp_path / "in").imd.deidentify(seed="k").imd.header_table()
    policy = policy_of(seed="k")
    assert policy.secret.hex() not in str(table["key_of_made_uids"].item())
    assert "key_of_made_uids" not in identified.opened(tmp_path / "in").imd.header_table()


def test_original_images_that_were_saved_still_get_new_uids(tmp_path: Path) -> None:
    phantoms.make(tmp_path / "in", phantoms.mr(shape=(1, 2, 6, 8)))
    before = identified.opened(tmp_path / "in")
    before.imd.write(tmp_path / "a.zarr", identifiers=True)
    opened(tmp_path / "a.zarr").imd.write(tmp_path / "out", format="dicom")
    was = {str(pydicom.dcmread(p).SOPInstanceUID) for p in (tmp_path / "in").iterdir()}
    assert was.isdisjoint(h["00080018"]["Value"][0] for h in headers(tmp_path / "out"))


# --- days -------------------------------------------------------------------------------------------------------------


def cleaned(ds: Dataset, *options: str, **more: Any) -> Dataset:
    """Header by a policy."""
    return Cleaner(policy_of(options=options or None, seed="k", **more)).header(ds)


def at(day: str, time: str = "101500", **elements: Any) -> Dataset:
    """Header of a patient at a moment."""
    ds = Dataset()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Doe^Jane", "P-1", "19500304"
    ds.StudyInstanceUID, ds.SOPClassUID = UID("1.2.3"), UID("1.2.840.10008.5.1.4.1.1.128")
    ds.StudyDate, ds.AcquisitionDate, ds.AcquisitionTime, ds.Modality = day, day, time, "PT"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def moment(ds: Dataset) -> datetime:
    """Moment of acquisition."""
    return datetime.strptime(ds.AcquisitionDate + ds.AcquisitionTime, "%Y%m%d%H%M%S")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("20200301", "235950"), ("20200302", "000010")),  # midnight
        (("20200229", "120000"), ("20210301", "120000")),  # leap day
        (("20200328", "120000"), ("20200329", "120000")),  # summer time begins in Europe
        (("19991231", "235959"), ("20000101", "000000")),
    ],
)
def test_intervals_are_kept(first: tuple[str, str], second: tuple[str, str]) -> None:
    was = moment(at(*second)) - moment(at(*first))
    assert moment(cleaned(at(*second))) - moment(cleaned(at(*first))) == was


def test_offsets_from_utc_move_with_their_moments() -> None:
    ds = at("20200329", TimezoneOffsetFromUTC="+0200", AcquisitionDateTime="20200329013000+0100")
    out = cleaned(ds)
    assert out.TimezoneOffsetFromUTC == "+0200"
    assert out.AcquisitionDateTime == f"{out.AcquisitionDate}013000+0100"
    assert "TimezoneOffsetFromUTC" not in cleaned(ds, "retain_device")


def test_series_of_one_patient_that_name_him_differently_move_alike() -> None:
    bare = at("20200301", PatientBirthDate="", PatientName="DOE^JANE^^")
    assert cleaned(bare).StudyDate == cleaned(at("20200301")).StudyDate
    other = at("20200301", PatientID="P-2")
    assert cleaned(other).StudyDate != cleaned(at("20200301")).StudyDate
    # two IDs of one person, as he says who asks for it
    same = {"P-1": "sub-1", "P-2": "sub-1"}
    assert cleaned(other, patient=same).StudyDate == cleaned(at("20200301"), patient=same).StudyDate


def test_two_patients_of_a_tree_move_differently(tmp_path: Path) -> None:
    other = replace(identified.WHO, name="Qvistgaard^Bo", id="ZX81-4478", study="1.2.826.0.1.3680043.8.498.72")
    for name, who in (("a", identified.WHO), ("b", other)):
        phantoms.make(tmp_path / "in" / name, phantoms.mr(who=who, uid=f"{who.study}.9", shape=(1, 1, 6, 8)))
    tree = xr.open_datatree(tmp_path / "in", engine="imagedata").imd.deidentify(seed="k")
    tree.imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    written = [pydicom.dcmread(p) for p in sorted((tmp_path / "out").rglob("*.dcm"))]
    assert len({ds.StudyDate for ds in written}) == len({ds.PatientID for ds in written}) == 2
    again = xr.open_datatree(tmp_path / "in", engine="imagedata").imd.deidentify(seed="k")
    again.imd.write(tmp_path / "again")
    assert [ds.to_json() for ds in written] == [
        pydicom.dcmread(p).to_json() for p in sorted((tmp_path / "again").rglob("*.dcm"))
    ]


def test_uptake_values_are_those_of_before(tmp_path: Path) -> None:
    dose = Dataset()
    dose.RadionuclideTotalDose, dose.RadionuclideHalfLife = "3.5e8", "6586.2"
    dose.RadiopharmaceuticalStartDateTime, dose.RadiopharmaceuticalStartTime = "20200101235000", "235000"
    elements = {"RadiopharmaceuticalInformationSequence": [dose], "PatientWeight": "70", "ImageType": ["ORIGINAL"]}
    phantoms.make(tmp_path / "in", phantoms.pet(who=identified.WHO, elements=elements))
    before = identified.opened(tmp_path / "in")
    clean = before.imd.deidentify(seed="k", options=["modified_dates", "retain_safe_private", "retain_patient"])
    clean.imd.write(tmp_path / "out")
    assert not found(tmp_path / "out")
    after = identified.opened(tmp_path / "out").imd.real_world("suv").values
    np.testing.assert_allclose(after, before.imd.real_world("suv").values)
    assert after.max() > 0

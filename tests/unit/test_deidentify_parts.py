"""Parts of de-identification: what becomes of single elements, private ones and pseudonyms."""

from __future__ import annotations

import copy
import gzip
import zlib
from pathlib import Path
from typing import Any

import identified
import mosaics
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from imagedata_xr.dicom.deidentifying.cleaning import Cleaner
from imagedata_xr.dicom.deidentifying.policy import policy_of
from imagedata_xr.dicom.deidentifying.private_kept import CSA_TAGS, csa_bytes
from imagedata_xr.dicom.deidentifying.pseudonyms import Pseudonyms, shifted_date, shifted_datetime
from imagedata_xr.dicom.deidentifying.table import ACTIONS
from imagedata_xr.dicom.framing.csa import parse_csa
from imagedata_xr.dicom.vendors.ge_protocol import parse


def cleaned(ds: Dataset, *options: str) -> Dataset:
    """Header by a policy."""
    return Cleaner(policy_of(options=options, seed="k")).header(ds)


def test_the_table_agrees_with_that_of_dicom_anonymizer(require_module: Any) -> None:
    tables = require_module("dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c")
    groups = {"X": "X_TAGS", "Z": "Z_TAGS", "D": "D_TAGS", "U": "U_TAGS", "Z/D": "Z_D_TAGS", "X/Z": "X_Z_TAGS",
              "X/D": "X_D_TAGS", "X/Z/D": "X_Z_D_TAGS", "X/Z/U*": "X_Z_U_STAR_TAGS"}  # fmt: skip
    theirs = {Tag(*t): a for a, name in groups.items() for t in getattr(tables, name) if len(t) == 2}
    ours = {Tag(pydicom.datadict.tag_for_keyword(k) or int(k, 16)): a for k, a in ACTIONS.items()}
    assert ours == theirs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20200301", "20200225"),
        ("2020.03.01", "20200225"),
        ("", ""),
        ("202003", ""),
        ("nonsense", ""),
        ("20201399", ""),
    ],
)
def test_dates_move_by_days_and_what_is_none_goes(text: str, expected: str) -> None:
    assert shifted_date(text, -5) == expected


def test_moments_keep_their_time_and_zone() -> None:
    assert shifted_datetime("20200301101112.5+0100", -1) == "20200229101112.5+0100"
    assert shifted_datetime("2020", -1) == ""


def test_uids_are_valid_and_the_standards_own_stay() -> None:
    names = Pseudonyms(policy_of(seed=1))
    new = names.uid("1.2.3.4")
    assert new != names.uid("1.2.3.5")
    assert new == names.uid("1.2.3.4\0")
    assert pydicom.uid.UID(new).is_valid
    assert len(new) <= 64
    assert names.uid("1.2.840.10008.1.2.1") == "1.2.840.10008.1.2.1"
    assert Pseudonyms(policy_of(seed=2)).uid("1.2.3.4") != new
    assert Pseudonyms(policy_of(options=["retain_uids"])).uid("1.2.3.4") == "1.2.3.4"


def test_without_a_seed_nobody_can_make_the_pseudonyms_again() -> None:
    assert Pseudonyms(policy_of()).uid("1.2.3") != Pseudonyms(policy_of()).uid("1.2.3")


def test_patients_of_one_id_and_two_names_stay_two() -> None:
    names = Pseudonyms(policy_of(seed=1))
    one, other = ({"PatientID": "1", "PatientName": n} for n in ("A^B", "C^D"))
    assert names.patient(one) != names.patient(other)
    assert names.patient(one) == names.patient(dict(one))


def test_private_elements_are_kept_by_the_list_alone() -> None:
    ds = Dataset()
    ds.Modality, ds.Manufacturer, ds.PatientID = "MR", "SIEMENS", "P-1"
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", 700)
    block.add_new(0x0D, "CS", "DIRECTIONAL")
    block.add_new(0x0E, "FD", [0.6, 0.8, 0.0])
    block.add_new(0x0F, "LO", "anything")
    ds.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x04, "LO", "Doe, Jane")
    out = cleaned(ds, "retain_safe_private")
    kept = out.private_block(0x0019, "SIEMENS MR HEADER")
    assert (kept[0x0C].value, list(kept[0x0E].value)) == (700, [0.6, 0.8, 0.0])
    assert 0x0F not in kept
    assert not any(e.tag.group == 0x2001 for e in out)
    bare = cleaned(out)
    assert not any(e.tag.is_private for e in bare)
    assert (bare.DiffusionBValue, list(bare.DiffusionGradientOrientation)) == (700, [0.6, 0.8, 0.0])


def test_private_elements_in_items_go() -> None:
    ds, item = Dataset(), Dataset()
    item.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", 700)
    item.PatientID, item.CodeMeaning = "P-1", "knee"
    ds.PatientID, ds.AnatomicRegionSequence = "P-1", [item]
    (out,) = cleaned(ds, "retain_safe_private").AnatomicRegionSequence
    assert [e.keyword for e in out] == ["CodeMeaning", "PatientID"]
    assert out.PatientID == "ANONYMIZED"


def test_the_csa_header_is_made_anew_of_numbers() -> None:
    tags = {"B_value": ["700"], "SliceNormalVector": ["0", "0.5", "-0.86602540"], "Names": ["Doe^Jane"],
            "DiffusionDirectionality": ["DIRECTIONAL"], "PhaseEncodingDirectionPositive": ["Doe"]}  # fmt: skip
    ds = Dataset()
    ds.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", mosaics.csa2(tags))
    out = cleaned(ds, "retain_safe_private").private_block(0x29, "SIEMENS CSA HEADER")
    kept = parse_csa(out[0x10].value)
    assert kept == {k: tags[k] for k in ("B_value", "SliceNormalVector", "DiffusionDirectionality")}
    assert set(kept) <= CSA_TAGS
    assert b"Doe" not in out[0x10].value


def test_other_programs_read_the_csa_header(require_module: Any) -> None:
    reader = require_module("nibabel.nicom.csareader")
    tags = {"MosaicRefAcqTimes": [f"{t:.1f}" for t in range(40)], "NumberOfImagesInMosaic": ["40"]}
    read = reader.read(csa_bytes(tags))["tags"]
    assert read["NumberOfImagesInMosaic"]["items"] == [40]
    np.testing.assert_allclose([float(x) for x in read["MosaicRefAcqTimes"]["items"]], range(40))


def test_the_protocol_of_ge_is_made_anew_of_what_times_slices() -> None:
    text = 'set SLICEORDER "1"\nset NOSLC "15"\nset IOPT "EDR, MPh"\nset PATNAME "Doe"\nset DELACQ "Jane Doe"\n'
    ds = Dataset()
    ds.private_block(0x25, "GEMS_SERS_01", create=True).add_new(0x1B, "OB", b"abcd" + gzip.compress(text.encode()))
    block = cleaned(ds, "retain_safe_private").private_block(0x25, "GEMS_SERS_01")[0x1B].value
    assert parse(block) == {"IOPT": "EDR, MPh", "NOSLC": "15", "SLICEORDER": "1"}
    assert b"Doe" not in zlib.decompressobj(wbits=31).decompress(block)


def test_elements_of_persons_and_bytes_that_nobody_knows_go() -> None:
    ds = Dataset()
    ds.PatientID, ds.HumanPerformerName, ds.ROIInterpreter = "P-1", "Doe^Jane", "Doe^Jane"
    ds.ClinicalTrialSponsorName = "ACME"
    ds.add_new(0x00420011, "OB", b"Doe")
    ds.add_new(0x00187FFF, "UN", b"Doe")
    out = cleaned(ds)
    assert "HumanPerformerName" not in out
    assert not out.ROIInterpreter
    assert out.ClinicalTrialSponsorName == "ANONYMIZED"
    assert 0x00420011 not in out
    assert 0x00187FFF not in out


def test_moments_that_the_table_does_not_name_are_treated_alike() -> None:
    ds, item = Dataset(), Dataset()
    item.RadiopharmaceuticalStartDateTime, item.RadiopharmaceuticalStartTime = "20200301101112", "101112"
    item.RadionuclideTotalDose = 1e8
    ds.PatientID, ds.StudyDate, ds.Modality = "P-1", "20200301", "PT"
    ds.RadiopharmaceuticalInformationSequence = [item]
    out = cleaned(ds, "modified_dates")
    inner = out.RadiopharmaceuticalInformationSequence[0]
    assert inner.RadiopharmaceuticalStartDateTime == f"{out.StudyDate}101112"
    assert inner.RadiopharmaceuticalStartTime == "101112"
    assert not cleaned(out).RadiopharmaceuticalInformationSequence[0].get("RadiopharmaceuticalStartDateTime")


def test_a_second_de_identification_keeps_what_the_first_said() -> None:
    ds = Dataset()
    ds.PatientID, ds.StudyDate = "P-1", "20200301"
    out = cleaned(cleaned(ds), "full_dates")
    assert out.LongitudinalTemporalInformationModified == "REMOVED"
    assert [i.CodeValue for i in out.DeidentificationMethodCodeSequence] == ["113100", "113106"]


def test_an_image_without_weighting_says_so_where_only_its_series_tells() -> None:
    ds = Dataset()
    ds.Modality, ds.Manufacturer, ds.PatientID, ds.ScanningSequence = "MR", "GE MEDICAL SYSTEMS", "P-1", ["EP", "SE"]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [0, 8, 0, 0])
    alone = Cleaner(policy_of(options=(), seed="k")).header(copy.deepcopy(ds))
    assert "DiffusionBValue" not in alone
    told = Cleaner(policy_of(options=(), seed="k")).header(ds, (0.0, np.zeros(3)))
    assert (told.DiffusionBValue, told.DiffusionDirectionality) == (0, "NONE")


def framed(items: list[Dataset]) -> Dataset:
    """Header of an instance of several frames."""
    ds = Dataset()
    ds.PatientID, ds.PatientName, ds.Modality = "P-1", "Doe^Jane", "MR"
    ds.PerFrameFunctionalGroupsSequence = items
    return ds


def test_private_groups_of_frames_keep_what_is_safe() -> None:
    inner, item = Dataset(), Dataset()
    block = inner.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
    block.add_new(0x04, "DS", "12.5")
    block.add_new(0x06, "LO", "Doe")
    block.add_new(0x75, "CS", ["ORIGINAL", "PRIMARY", "M", "JANE"])
    block.add_new(0x10, "DS", "7")
    inner.private_block(0x0009, "ACME", create=True).add_new(0x01, "LO", "Jane")
    inner.OperatorsName, inner.AcquisitionDate = "Doe^Jane", "20200101"
    item.private_block(0x0021, "SIEMENS MR SDI 02", create=True).add_new(0xFE, "SQ", [inner])
    item.private_block(0x0011, "ACME", create=True).add_new(0x01, "SQ", [inner])
    (out,) = cleaned(framed([item]), "retain_safe_private").PerFrameFunctionalGroupsSequence
    assert [e.tag for e in out if not e.tag.is_private_creator] == [0x002110FE]
    (kept,) = out[0x002110FE].value
    assert {e.tag.element & 0xFF: e.value for e in kept if e.tag.is_private and not e.tag.is_private_creator} == {
        0x04: 12.5
    }
    assert "Doe" not in str(kept)
    (bare,) = cleaned(framed([item])).PerFrameFunctionalGroupsSequence
    assert len(bare) == 0


def test_safe_elements_whose_type_was_lost_are_kept() -> None:
    ds = Dataset()
    ds.PatientID, ds.Modality = "P-1", "MR"
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "UN", b"700 ")
    block.add_new(0x29, "UN", np.array([0.0, 500.0]).astype("<f8").tobytes())
    block.add_new(0x0D, "UN", b"Doe Jane")
    out = cleaned(ds, "retain_safe_private").private_block(0x0019, "SIEMENS MR HEADER")
    assert out[0x0C].value == 700
    assert list(out[0x29].value) == [0, 500]
    assert 0x0D not in out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", ["grid", "mosaic"])
@pytest.mark.parametrize("options", [None, (), ("retain_safe_private",)])
@pytest.mark.parametrize("regions", [[], [(0, 2, 0, 2)]])
def test_pictures_of_tiles(tmp_path: Path, make: str, options: Any, regions: list[Any]) -> None:
    if make == "mosaic":
        identified.mosaic(tmp_path / "in")
    else:
        ds = mosaics.grid(mosaics.Volume(), [0.1 * k for k in range(mosaics.Volume().n)])
        for keyword, value in identified.telling(ImageType=ds.ImageType).items():
            setattr(ds, keyword, value)
        ds.PatientName, ds.PatientID, ds.AcquisitionDate = identified.WHO.name, identified.WHO.id, "20200102"
        (tmp_path / "in").mkdir()
        identified.add_private(ds).save_as(tmp_path / "in" / "0.dcm", enforce_file_format=True)
    before = identified.opened(tmp_path / "in")
    pixels = "blank" if regions else "keep"
    before.imd.deidentify(seed="k", options=options, pixels=pixels, regions=regions).imd.write(tmp_path / "out")
    assert not identified.found(tmp_path / "out")
    after, expected = identified.opened(tmp_path / "out"), before.values.copy()
    for r0, r1, c0, c1 in regions:
        expected[..., r0:r1, c0:c1] = 0
    np.testing.assert_array_equal(after.values, expected)
    np.testing.assert_allclose(after.imd.affine, before.imd.affine, atol=1e-5)
    if options is None and not regions:
        np.testing.assert_allclose(after["slice_time"], before["slice_time"], atol=1e-6)

"""DICOMDIR: what it lists is what its folder holds, however it is written, and what is wrong with it is said."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pydicom
import pydicom.data
import pytest
import xarray as xr
from pydicom.fileset import FileSet
from pydicom.uid import UID
from series import image, save

from imagedata_xr.dicom.scanning.dicomdir import read_directory
from imagedata_xr.errors import FormatError, ImagedataWarning, LabelError, NotFoundError, SourceError

SHIPPED = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests"
WHOLE = ["DICOMDIR", "DICOMDIR-implicit", "DICOMDIR-reordered", "DICOMDIR-bigEnd"]
_NEXT, _LOWER = "OffsetOfTheNextDirectoryRecord", "OffsetOfReferencedLowerLevelDirectoryEntity"


def person(number: int, series: int) -> dict[str, Any]:
    """Elements of a series of a patient."""
    return {
        "PatientID": f"P{number}", "PatientName": f"Müller^{number}", "SpecificCharacterSet": "ISO_IR 100",
        "StudyInstanceUID": f"1.2.3.{number}", "SeriesInstanceUID": f"1.2.3.{number}.{series}", "StudyID": "1",
        "SeriesNumber": series, "SeriesDescription": f"scan {series}", "AccessionNumber": "",
    }  # fmt: skip


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """Two patients with two series of three images each, and a DICOMDIR by pydicom."""
    files = FileSet()
    for p in (1, 2):
        for s in (1, 2):
            for k in range(3):
                ds = image(0, k, person(p, s) | {"SOPInstanceUID": f"1.2.3.{p}.{s}.{k + 1}"})
                files.add(save(ds, tmp_path / "made" / f"{p}{s}{k}.dcm"))
    files.write(tmp_path / "disc")
    return tmp_path / "disc"


def tree(source: Any, **options: Any) -> xr.DataTree:
    return xr.open_datatree(source, engine="imagedata", **options)


def instances(found: xr.DataTree) -> list[int]:
    """Digests of all images of a tree."""
    leaves = [node.to_dataset() for node in found.subtree if "image" in node.data_vars]
    return sorted(int(i) for ds in leaves for i in ds["instance"].values.ravel())


def assert_same(one: xr.DataTree, other: xr.DataTree) -> None:
    """Same nodes, values and labels."""
    assert [n.path for n in one.subtree] == [n.path for n in other.subtree]
    for a, b in zip(one.subtree, other.subtree, strict=True):
        xr.testing.assert_identical(
            a.to_dataset().drop_vars("source", errors="ignore").load(),
            b.to_dataset().drop_vars("source", errors="ignore").load(),
        )


def edit(path: Path, change: Callable[[pydicom.Dataset], None]) -> None:
    """Change the elements of a DICOMDIR in place: no value may get another length."""
    ds = pydicom.dcmread(path)
    before = path.stat().st_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong is wanted
        change(ds)
        ds.save_as(path)
    assert path.stat().st_size == before


# --- same as the folder ---------------------------------------------------------------------------------------------


def test_the_file_and_its_folder_give_the_same(disc: Path, tmp_path: Path) -> None:
    by_file, by_folder = tree(disc / "DICOMDIR"), tree(disc)
    assert_same(by_file, by_folder)
    assert_same(by_file, tree(tmp_path / "made"))
    assert len(by_file.children) == 2
    assert len(instances(by_file)) == 12


@pytest.mark.parametrize("name", WHOLE)
def test_every_encoding_lists_what_pydicom_finds(name: str) -> None:
    ds = pydicom.dcmread(SHIPPED / name)
    wanted = ["/".join(r.ReferencedFileID) for r in ds.DirectoryRecordSequence if "ReferencedFileID" in r]
    found = read_directory((SHIPPED / name).read_bytes())
    assert sorted("/".join(r.parts) for r in found.records if r.parts) == sorted(wanted)
    assert not found.problems
    for record in found.records:
        theirs = next(r for r in ds.DirectoryRecordSequence if r.seq_item_tell == record.offset)
        for elem in theirs:
            if elem.VR not in ("SQ", "OB", "UN", "PN", "US", "UL") and record.elements.get(int(elem.tag)):
                values = [elem.value] if elem.VM == 1 else list(elem.value or [])
                assert list(record.text(int(elem.tag))) == [str(v) for v in values if str(v)], elem.tag
    for record in [r for r in found.records if r.parts]:
        assert [r.text(0x00041430)[0] for r in record.above] == ["SERIES", "STUDY", "PATIENT"]


def test_the_discs_of_pydicom(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "disc")
    for odd in (tmp_path / "disc").glob("DICOMDIR-*"):
        odd.unlink()
    by_file = tree(tmp_path / "disc" / "DICOMDIR")
    assert len(instances(by_file)) == len({i.SOPInstanceUID for i in FileSet(SHIPPED / "DICOMDIR")})
    shutil.rmtree(tmp_path / "disc" / "TINY_ALPHA")
    assert_same(by_file, tree(tmp_path / "disc"))


def test_a_directory_by_dcmtk(tmp_path: Path, require_program: Callable[[str], Path]) -> None:
    for p in (1, 2):
        for k in range(3):
            save(image(0, k, person(p, 1) | {"SOPInstanceUID": f"1.2.{p}.{k + 1}"}), tmp_path / f"P{p}" / f"IM{k}")
    program = require_program("dcmmkdir")
    subprocess.run([program, "+r", "+I", "+id", ".", "P1", "P2"], cwd=tmp_path, check=True, capture_output=True)
    by_file = tree(tmp_path / "DICOMDIR")
    assert len(by_file.children) == 2
    assert_same(by_file, tree(tmp_path))


def test_on_another_store(disc: Path) -> None:
    fs = fsspec.filesystem("memory")
    try:
        fs.put(str(disc), "/disc", recursive=True)
        assert_same(tree("memory://disc/DICOMDIR"), tree(disc))
    finally:
        fs.store.clear()
        fs.pseudo_dirs[:] = [""]


def test_headers_are_found_again(disc: Path) -> None:
    da = xr.open_dataarray(disc / "DICOMDIR", engine="imagedata", series="1.2.3.2.1")
    assert da.imd.header[0, 2].SOPInstanceUID == "1.2.3.2.1.3"


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rename", [str.lower, lambda n: f"{n};1", lambda n: f"{n}.;1", lambda n: f"{n}.dcm"])
def test_names_that_the_disk_writes_otherwise(disc: Path, rename: Callable[[str], str]) -> None:
    want = instances(tree(disc))
    listed = [p for p in disc.rglob("*") if p.is_file() and p.name != "DICOMDIR"]
    for path in listed:
        path.rename(path.with_name(rename(path.name)))
    for folder in sorted((p for p in disc.rglob("*") if p.is_dir()), reverse=True):
        folder.rename(folder.with_name(folder.name.lower()))
    assert instances(tree(disc / "DICOMDIR", errors="raise")) == want


def test_no_way_out_of_the_folder(disc: Path) -> None:
    shutil.copy(next(p for p in disc.rglob("*") if p.is_file() and p.name != "DICOMDIR"), disc.parent / "IM000000")

    def climb(ds: pydicom.Dataset) -> None:
        record = next(r for r in ds.DirectoryRecordSequence if "ReferencedFileID" in r)
        size = len("\\".join(record.ReferencedFileID))
        record.ReferencedFileID = ["..", "IM" + "0" * (size - 5)]

    edit(disc / "DICOMDIR", climb)
    with pytest.warns(ImagedataWarning) as caught:
        assert len(instances(tree(disc / "DICOMDIR"))) == 11
    said = [str(one.message) for one in caught if one.category is ImagedataWarning]
    assert "1 of the files that it lists are not there: ../IM0" in said[0]


# --- what is wrong is said --------------------------------------------------------------------------------------------


def files_of(disc: Path) -> list[Path]:
    return sorted(p for p in disc.rglob("*") if p.is_file() and p.name != "DICOMDIR")


@pytest.mark.parametrize("folder", [False, True])
def test_missing_files_are_named_once(disc: Path, folder: bool) -> None:
    victims = files_of(disc)[4:6]
    for path in victims:
        path.unlink()
    source = disc if folder else disc / "DICOMDIR"
    with pytest.warns(ImagedataWarning) as caught:
        assert len(instances(tree(source))) == 10
    (told,) = [str(w.message) for w in caught if "not there" in str(w.message)]
    assert "2 of the files that it lists are not there" in told
    assert all(p.relative_to(disc).as_posix() in told for p in victims)
    with pytest.raises(SourceError, match="2 of the files that it lists are not there"):
        tree(source, errors="raise")


def test_another_instance_in_a_listed_file_is_said(disc: Path) -> None:
    first, second, *_ = files_of(disc)
    ds = pydicom.dcmread(first)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.99")
    ds.save_as(first)
    second.write_bytes(b"no image at all")
    with pytest.warns(ImagedataWarning) as caught:
        assert len(instances(tree(disc / "DICOMDIR"))) == 11
    told = " ".join(str(w.message) for w in caught)
    assert "1 of its files hold another instance than it says" in told
    assert f"{second.name}: it is named like the DICOM files beside it, but it is none: it is text" in told


def test_files_that_are_not_listed(disc: Path) -> None:
    beside = files_of(disc)[0].with_name("EXTRA")
    save(image(0, 3, person(1, 1) | {"SOPInstanceUID": "1.2.3.1.1.4"}), beside)
    (beside.with_name("README")).write_text("no image")
    assert len(instances(tree(disc))) == 13  # a folder is all that is in it
    with pytest.warns(ImagedataWarning, match=r"does not list 1 DICOM files beside .*EXTRA"):
        assert len(instances(tree(disc / "DICOMDIR"))) == 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(instances(tree([disc / "DICOMDIR", beside]))) == 13


@pytest.mark.parametrize("name", [_NEXT, _LOWER])
def test_a_broken_offset_is_named_and_loses_nothing(disc: Path, name: str) -> None:
    want = instances(tree(disc))

    def break_one(ds: pydicom.Dataset) -> None:
        record = next(r for r in ds.DirectoryRecordSequence if r.DirectoryRecordType == "SERIES" and r[name].value)
        record[name].value += 1

    edit(disc / "DICOMDIR", break_one)
    with pytest.warns(ImagedataWarning, match=r"the SERIES record at byte \d+ .* points to byte \d+, where no record"):
        assert instances(tree(disc / "DICOMDIR")) == want
    with pytest.warns(ImagedataWarning, match="no offset leads to"):
        found = tree(disc / "DICOMDIR", format_options={"where": {"PatientID": "P2"}})
    assert len(instances(found)) == 6  # what no record says the files do
    with pytest.raises(SourceError, match="where no record begins"):
        tree(disc / "DICOMDIR", errors="raise")


def test_offsets_in_a_circle_end(disc: Path) -> None:
    def turn(ds: pydicom.Dataset) -> None:
        last = ds.DirectoryRecordSequence[-1]
        last.OffsetOfTheNextDirectoryRecord = ds.DirectoryRecordSequence[0].seq_item_tell

    edit(disc / "DICOMDIR", turn)
    with pytest.warns(ImagedataWarning, match="to which another leads already"):
        assert len(instances(tree(disc / "DICOMDIR"))) == 12


def test_a_truncated_directory_gives_what_it_still_lists(disc: Path) -> None:
    data = (disc / "DICOMDIR").read_bytes()
    (disc / "DICOMDIR").write_bytes(data[: len(data) * 2 // 3])
    with pytest.warns(ImagedataWarning, match="it is damaged or truncated in the .* record at byte"):
        assert 0 < len(instances(tree(disc / "DICOMDIR"))) < 12
    with pytest.warns(ImagedataWarning):
        assert len(instances(tree(disc))) == 12
    with pytest.raises(SourceError):
        tree(disc / "DICOMDIR", errors="raise")


def test_records_that_are_not_in_use(disc: Path) -> None:
    def retire(ds: pydicom.Dataset) -> None:
        next(r for r in ds.DirectoryRecordSequence if r.DirectoryRecordType == "PATIENT").RecordInUseFlag = 0

    edit(disc / "DICOMDIR", retire)
    assert len(instances(tree(disc / "DICOMDIR"))) == 6


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the files that were scanned."""
    from imagedata_xr.dicom.scanning.collect import Collector

    paths: list[str] = []
    local = Collector.local

    def counted(self: Collector, file: Any) -> None:
        paths.append(file.path)
        local(self, file)

    monkeypatch.setattr(Collector, "local", counted)
    return paths


@pytest.mark.parametrize(
    ("where", "count", "read"),
    [
        ({"PatientID": "P2"}, 6, 6),  # of an ancestor
        ({"PatientName": "müller^1"}, 6, 6),  # in its character set, whatever the letter case
        ({"SeriesNumber": 2}, 6, 6),
        ({"SeriesNumber": [1, 2.0]}, 12, 12),
        ({"(0020,0011)": "2", "PatientID": ["P1", "P3"]}, 3, 3),
        ({"InstanceNumber": 1}, 4, 4),  # of the record itself
        ({"SeriesDescription": "SCAN ?"}, 12, 12),  # in no record of pydicom's: the files say
        ({"(0008,103E)": "scan 2", "PatientID": "P*"}, 6, 12),
        ({0x00280010: 4, "Modality": "MR"}, 12, 12),
    ],
)  # fmt: skip
def test_where(disc: Path, opened: list[str], where: dict[Any, Any], count: int, read: int) -> None:
    found = tree(disc / "DICOMDIR", format_options={"where": where})
    assert len(instances(found)) == count
    assert len({p for p in opened if not p.endswith("DICOMDIR")}) == read  # others were not even opened
    assert instances(tree(disc, format_options={"where": where})) == instances(found)
    assert instances(tree(disc.parent / "made", format_options={"where": where})) == instances(found)


def test_where_selects_one_image(disc: Path) -> None:
    where = {"PatientID": "P2", "SeriesNumber": 1}
    da = xr.open_dataarray(disc, engine="imagedata", format_options={"where": where})
    assert da.attrs["PatientID"] == "P2"
    assert da.attrs["SeriesNumber"] == 1
    np.testing.assert_array_equal(da, tree(disc)["P2/20240102-101500/1-scan 1"]["image"])


def test_the_file_decides_where_it_differs_from_its_record(disc: Path) -> None:
    path = files_of(disc)[0]
    ds = pydicom.dcmread(path)
    other = "P2" if ds.PatientID == "P1" else "P1"
    before, ds.PatientID = ds.PatientID, other
    ds.save_as(path)
    assert len(instances(tree(disc / "DICOMDIR", format_options={"where": {"PatientID": before}}))) == 5


@pytest.mark.parametrize(
    ("where", "error", "text"),
    [
        ({"PatientID": "nobody"}, NotFoundError, "where of PatientID is met by none of the"),
        ({"Patient": "P1"}, FormatError, "is no DICOM keyword"),
        ({"(0019,100C)": 1}, FormatError, r"\(0019,100C\) is private or unknown"),
        ({"DirectoryRecordSequence": 1}, FormatError, "has VR SQ"),
        ({"PatientID": None}, LabelError, "needs a value"),
        ("PatientID=P1", FormatError, "a mapping of elements to values, not a str"),
    ],
)
def test_where_that_can_not_be(disc: Path, where: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        tree(disc, format_options={"where": where})
    assert "nobody" not in str(caught.value)

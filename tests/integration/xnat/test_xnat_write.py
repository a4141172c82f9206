"""Writing into XNAT, against the stand-in, with the real client library as a second opinion."""

from __future__ import annotations

import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from phantoms import opened
from xnat_server import Standin
from xnat_site import KEY, ME, SCAN, read, url

import imagedata_xr
from imagedata_xr.errors import IdentityError, ImagedataWarning, NotFoundError, SourceError

pytestmark = pytest.mark.usefixtures("nothing_secret")


# --- writing -------------------------------------------------------------------------------------------------------


def test_written_is_what_the_client_library_reads(server: Standin, folder: Path, tmp_path: Path) -> None:
    import xnat

    image = opened(folder)
    before = server.experiments[KEY]["3"].resources["DICOM"].copy()
    written = (image + 7).imd.write(
        url(server, "/P/Mueller/E1"), series_number=3, series_description="plus 7", storage_options=ME
    )
    assert written.paths[0].startswith(url(server, "/P/Mueller/E1/6/DICOM/"))  # 3, 4 and 5 are there
    assert len(written.report.stored) == 20
    assert server.experiments[KEY]["3"].resources["DICOM"] == before
    assert not server.sessions
    with xnat.connect(
        f"http://127.0.0.1:{server.port}", user="anna", password="sesame", no_parse_model=True
    ) as session:
        place = "/data/projects/P/subjects/Mueller/experiments/E1/scans"
        rows = session.get_json(place)["ResultSet"]["Result"]
        row = next(r for r in rows if r["ID"] == "6")
        assert (row["type"], row["series_description"], row["quality"]) == ("plus 7", "plus 7", "usable")
        assert (row["xsiType"], row["UID"]) == ("xnat:mrScanData", written.series)
        with open(tmp_path / "pack.zip", "wb") as out:
            session.download_stream(f"{place}/6/resources/DICOM/files", out, format="zip")
    with zipfile.ZipFile(tmp_path / "pack.zip") as pack:
        pack.extractall(tmp_path / "unpacked")
    np.testing.assert_array_equal(opened(tmp_path / "unpacked"), image + 7)
    np.testing.assert_array_equal(read(url(server, "/P/Mueller/E1/6")), image + 7)


def test_a_free_number_is_taken_and_an_existing_scan_refused(server: Standin, folder: Path) -> None:
    image = opened(folder) + 1
    assert "/77/" in image.imd.write(url(server, "/P//E1"), series_number=77, storage_options=ME).paths[0]
    assert "/88/" in image.imd.write(url(server, "/P//E1/88"), storage_options=ME).paths[0]
    for overwrite in (False, True):
        with pytest.raises(SourceError, match="scan 3 is there already"):
            image.imd.write(url(server, SCAN), storage_options=ME, overwrite=overwrite)


def test_what_a_server_does_not_unpack_or_loses_is_sent_again(server: Standin, folder: Path) -> None:
    image = opened(folder) + 1
    server.unpacks = False
    image.imd.write(url(server, "/P//E1/7"), storage_options=ME)
    server.unpacks = True
    server.fail(".tar?", "lose")
    image.imd.write(url(server, "/P//E1/8"), storage_options=ME)
    for number in ("7", "8"):
        stored = server.experiments[KEY][number].resources["DICOM"]
        assert len(stored) == 20
        np.testing.assert_array_equal(read(url(server, f"/P//E1/{number}")), image)


@pytest.mark.parametrize(
    ("where", "how", "said"),
    [
        ("PUT", "lose", "not be allowed to write"),
        ("files/IM", "corrupt", "20 of 20"),
        ("resources/DICOM?", "503", "503"),
        ("files?", "403", "403"), (".tar", "503", "503"), ("/scans/7?", "drop", "cut"),
    ],
)  # fmt: skip
def test_a_failed_write_leaves_nothing(server: Standin, folder: Path, where: str, how: str, said: str) -> None:
    server.unpacks = how != "corrupt"
    server.fail(where, how, 99)
    with pytest.raises(SourceError, match=said):
        (opened(folder) + 1).imd.write(url(server, "/P//E1/7"), storage_options={**ME, "retries": 0})
    assert list(server.experiments[KEY]) == ["3", "4", "5"]


def test_who_may_only_read_is_told(server: Standin, folder: Path) -> None:
    with pytest.raises(SourceError, match="403"):
        (opened(folder) + 1).imd.write(url(server, "/P//E1"), storage_options={"username": "carl", "password": "pass"})


def test_another_writer_of_the_same_number_is_left_alone(server: Standin, folder: Path) -> None:
    server.fail("resources/DICOM?", "409")
    scans = server.experiments[KEY]
    written = (opened(folder) + 1).imd.write(url(server, "/P//E1"), series_number=30, storage_options=ME)
    assert "/31/" in written.paths[0]
    assert {"30", "31"} <= set(scans)
    assert set(scans["30"].fields) == {"xsiType"}  # what the other one may have said of it is not written over


def test_files_of_one_name_are_all_sent(server: Standin, folder: Path) -> None:
    from imagedata_xr.stores.network.xnat.store import Xnat

    sink = Xnat().sink(url(server, "/P//E1/7"), False, ME)
    for number, path in enumerate(sorted(folder.iterdir())[:3]):
        sink.add(f"{number}/image.dcm", path)
    assert len(set(sink.finish())) == 3
    stored = server.experiments[KEY]["7"].resources["DICOM"]
    assert sorted(stored.values()) == sorted(p.read_bytes() for p in sorted(folder.iterdir())[:3])


def test_images_of_nobody_and_of_another_study(server: Standin, folder: Path) -> None:
    with pytest.raises(IdentityError, match="patient"):
        imagedata_xr.from_array(np.zeros((2, 4, 4)), spacing=(1, 1, 1)).imd.write(
            url(server, "/P//E1"), storage_options=ME
        )
    server.study = "1.2.3"
    with pytest.warns(ImagedataWarning, match="another study"):
        (opened(folder) + 1).imd.write(url(server, "/P//E1"), storage_options=ME)


# --- files of other formats ------------------------------------------------------------------------------------------


def test_nifti_goes_into_a_new_resource(server: Standin, folder: Path, tmp_path: Path) -> None:
    image = opened(folder)
    before = {name: dict(files) for name, files in server.experiments[KEY]["3"].resources.items()}
    place = url(server, f"{SCAN}/NIFTI/sub/t1%20x.nii.gz")
    image.imd.write(place, storage_options=ME)
    stored = server.experiments[KEY]["3"].resources.pop("NIFTI")
    assert server.experiments[KEY]["3"].resources == before
    assert set(stored) >= {"sub/t1 x.nii.gz"}
    (tmp_path / "a.nii.gz").write_bytes(stored["sub/t1 x.nii.gz"])
    values = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj)  # type: ignore[attr-defined]
    assert values.sum() == float(image.sum())
    server.experiments[KEY]["3"].resources["NIFTI"] = stored
    back = read(place)
    np.testing.assert_array_equal(back.imd.affine, opened(tmp_path / "a.nii.gz").imd.affine)
    assert float(back.sum()) == float(image.sum())
    assert not server.sessions


@pytest.mark.parametrize("name", ["x.mha", "x.nrrd", "x.mat"])
def test_files_of_other_formats_too(server: Standin, folder: Path, name: str) -> None:
    image = opened(folder).isel({opened(folder).dims[0]: 0})
    image.imd.write(url(server, f"/P//E1/4/NEW/{name}"), storage_options=ME)
    assert name in server.experiments[KEY]["4"].resources["NEW"]
    assert float(read(url(server, f"/P//E1/4/NEW/{name}")).sum()) == float(image.sum())


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_resource_that_is_there_is_never_touched(server: Standin, folder: Path, overwrite: bool) -> None:
    before = {name: dict(files) for name, files in server.experiments[KEY]["3"].resources.items()}
    for label in ("DICOM", "snapshots"):
        with pytest.raises(FileExistsError, match=f"resource {label} already") as found:
            opened(folder).imd.write(url(server, f"{SCAN}/{label}/x.nii"), storage_options=ME, overwrite=overwrite)
        assert "Mueller" not in str(found.value)
    server.fail("resources/NEW?", "409")  # somebody else was quicker
    with pytest.raises(FileExistsError, match="resource NEW already"):
        opened(folder).imd.write(url(server, f"{SCAN}/NEW/x.nii"), storage_options=ME, overwrite=overwrite)
    assert server.experiments[KEY]["3"].resources == before


@pytest.mark.parametrize(
    ("where", "how", "said"),
    [("x.nii", "lose", "not stored"), ("x.nii", "corrupt", "not stored"), ("x.nii", "503", "503"),
     ("files?", "403", "403")],
)  # fmt: skip
def test_a_failed_file_leaves_no_resource(server: Standin, folder: Path, where: str, how: str, said: str) -> None:
    server.fail(where, how, 99)
    with pytest.raises(SourceError, match=said) as found:
        opened(folder).imd.write(url(server, f"{SCAN}/NEW/x.nii"), storage_options={**ME, "retries": 0})
    assert "Mueller" not in str(found.value)
    assert list(server.experiments[KEY]["3"].resources) == ["SNAPSHOTS", "DICOM"]
    server.faults.clear()
    server.fail(where, how)  # once is no harm
    if how == "503":
        opened(folder).imd.write(url(server, f"{SCAN}/NEW/x.nii"), storage_options=ME)
        assert "x.nii" in server.experiments[KEY]["3"].resources["NEW"]


def test_where_no_file_can_go_is_said_before_anything_is_sent(server: Standin, folder: Path) -> None:
    image = opened(folder)
    for rest, error, said in (
        ("/P//E1/9/NEW/x.nii", NotFoundError, "there are 3, 4, 5"),
        ("/P//E1/3/x.nii", SourceError, "new resource: xnat://host/project/.*name of the file"),
        ("/P//E1/3/NEW/x.zarr", imagedata_xr.errors.FormatError, "no folders of files"),
    ):
        with pytest.raises(error, match=said):
            image.imd.write(url(server, rest), storage_options=ME)
    assert not server.count("PUT /data/projects")

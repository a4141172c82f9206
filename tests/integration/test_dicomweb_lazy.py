"""Series of DICOMweb whose frames are read when they are asked for: as the whole images, or refused."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import multiframe
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from dicom_servers import orthanc
from dicomweb_server import Json, Service, service
from phantoms import ANNA, make, opened

from imagedata_xr.errors import ImagedataWarning, SourceError
from imagedata_xr.stores.url import find

pytestmark = pytest.mark.usefixtures("nothing_secret")
UID = "1.2.826.0.1.3680043.8.498.70"
PRIVATE = ("SIEMENS CSA HEADER", 0x0029, 0x10)
OBLIQUE = {"shape": (2, 4, 7, 9), "uid": UID, "orientation": phantoms.OBLIQUE, "slope": 0.37, "intercept": -3.25}


def lazily(url: str, **options: Any) -> xr.DataArray:
    return xr.open_dataarray(url, engine="imagedata", storage_options={"lazy": True, "timeout": 10, **options})


def same(found: xr.DataArray, whole: xr.DataArray) -> None:
    """They agree in all but their source."""
    xr.testing.assert_identical(found.drop_vars("source").load(), whole.drop_vars("source").load())
    np.testing.assert_array_equal(found.imd.affine, whole.imd.affine)


def with_private(folder: Path, length: int = 300) -> None:
    """Give images binary private elements, one that reading needs, and one of which it knows nothing."""
    for k, path in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(path)
        block = ds.private_block(0x0029, PRIVATE[0], create=True)
        block.add_new(PRIVATE[2], "OB", bytes([k]) * length)
        ds.private_block(0x0031, "SOMEBODY", create=True).add_new(0x01, "OB", b"\1\2\3\4")
        ds.save_as(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    make(place, phantoms.mr(**OBLIQUE))
    return place


@pytest.fixture
def web(folder: Path, require_module: Any) -> Iterator[Service]:
    require_module("requests")
    with service() as found:
        found.add(folder)
        yield found


def series(web: Service) -> str:
    return f"{web.url}/studies/{ANNA.study}/series/{UID}"


# --- what is right ---------------------------------------------------------------------------------------------------


def test_orthanc_gives_the_same_by_frames(tmp_path: Path, require_program: Any, require_module: Any) -> None:
    require_program("Orthanc")
    require_module("imagecodecs")
    make(tmp_path / "native", phantoms.mr(**OBLIQUE))
    with_private(tmp_path / "native")
    image = opened(tmp_path / "native")
    (tmp_path / "enhanced").mkdir()
    frames = [multiframe.Frame(k, v, groups=multiframe.when(2.0 * v)) for v in range(2) for k in range(3)]
    multiframe.save(multiframe.instance(frames), tmp_path / "enhanced" / "a.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)  # of what metadata leave out
        for syntax in ("jpeg2000", "rle"):
            image.imd.write(tmp_path / syntax, format_options={"transfer_syntax": syntax})
        enhanced = opened(tmp_path / "enhanced")
        enhanced.imd.write(
            tmp_path / "multi-jpeg2000", format_options={"transfer_syntax": "jpeg2000", "multiframe": True}
        )
        with orthanc(tmp_path / "server") as server:
            url = f"dicomweb+http://127.0.0.1:{server.web}/dicom-web"
            for name in ("native", "enhanced", "jpeg2000", "rle", "multi-jpeg2000"):
                one = opened(tmp_path / name)
                header = one.imd.header[0, 0]
                one.imd.write(url, keep_uid=True, storage_options={"resend": True})
                found = lazily(f"{url}/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}")
                same(found, one)
                again = found.imd.header[0, 0]
                assert again.file_meta.TransferSyntaxUID == header.file_meta.TransferSyntaxUID
                assert again == header  # with what the metadata leave out


@pytest.mark.parametrize("syntax", ["", "jpeg2000", "jpeg-ls", "rle"])
def test_only_the_frames_that_are_asked_for_are_fetched(
    web: Service, folder: Path, tmp_path: Path, syntax: str, require_module: Any
) -> None:
    if syntax:
        require_module("imagecodecs")
        opened(folder).imd.write(tmp_path / "out", keep_uid=True, format_options={"transfer_syntax": syntax})
        web.files.clear()
        web.add(tmp_path / "out")
        folder = tmp_path / "out"
    whole = opened(folder)
    image = lazily(series(web))
    assert web.frames_asked() == ["1"]  # how they come
    assert sum(path.endswith("/metadata") for path in web.asked) == 1
    web.asked.clear()
    np.testing.assert_array_equal(image[1, 2], whole[1, 2])
    assert web.frames_asked() == ["1"]
    uid = whole.imd.header[1, 2].SOPInstanceUID
    assert [path.split("/")[-3] for path in web.asked] == [uid]
    same(image, whole)


def test_frames_of_one_image_come_by_their_number(web: Service, tmp_path: Path) -> None:
    """Of odd length: the last byte of the file is none of theirs."""
    frames = [multiframe.Frame(k, v, groups=multiframe.when(2.0 * v)) for v in range(3) for k in range(5)]
    ds = multiframe.instance(frames)
    size = ds.Rows * ds.Columns
    values = np.arange(15 * size, dtype=np.uint8)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.Columns = 8, 8, 7, ds.Columns
    ds.PixelData = values.tobytes() + b"\0" * (values.size % 2)
    (tmp_path / "enhanced").mkdir()
    multiframe.save(ds, tmp_path / "enhanced" / "a.dcm")
    web.add(tmp_path / "enhanced")
    image = lazily(f"{web.url}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}")
    web.asked.clear()
    whole = opened(tmp_path / "enhanced")
    np.testing.assert_array_equal(image[2, 3, 1:3], whole[2, 3, 1:3])
    assert web.frames_asked() == ["14"]
    assert not any(path.endswith(str(ds.SOPInstanceUID)) for path in web.asked)
    same(image, whole)


def test_what_is_written_unchanged_is_as_it_is_stored(web: Service, tmp_path: Path, require_module: Any) -> None:
    require_module("imagecodecs")
    make(tmp_path / "plain", phantoms.mr(**OBLIQUE))
    with_private(tmp_path / "plain")
    opened(tmp_path / "plain").imd.write(
        tmp_path / "j2k", keep_uid=True, format_options={"transfer_syntax": "jpeg2000"}
    )
    web.files.clear()
    web.add(tmp_path / "j2k")
    with pytest.warns(ImagedataWarning, match=r"leave out \(0031,1001\)"):
        image = lazily(series(web))
    written = image.imd.write(tmp_path / "out", keep_uid=True)
    for path in written.paths:
        ds = pydicom.dcmread(path)
        assert ds.PixelData == web.dataset(str(ds.SOPInstanceUID)).PixelData
        assert ds[0x0031, 0x1001].value == b"\1\2\3\4"


def test_numbers_as_float32_holds_them_are_right(web: Service, folder: Path) -> None:
    web.change = lambda row: each_number(row, lambda v: float(np.float32(v)))
    image = lazily(series(web))
    np.testing.assert_allclose(image.imd.affine, opened(folder).imd.affine, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(image, opened(folder), rtol=1e-6)


def test_a_series_that_is_here_is_read_from_here(web: Service) -> None:
    whole = xr.open_dataarray(series(web), engine="imagedata").load()
    web.asked.clear()
    same(lazily(series(web)), whole)
    assert not [path for path in web.asked if "frames" in path or "metadata" in path]


def test_another_process_opens_it_again_without_secrets(web: Service, folder: Path, monkeypatch: Any) -> None:
    image = lazily(series(web), token="sesame").chunk(slice=1)
    (fs,) = {id(file.fs): file.fs for file in find(series(web), {"lazy": True, "token": "sesame"})}.values()
    for secret in ("sesame", "Müller", "M\xfcller"):
        assert secret.encode() not in pickle.dumps(fs)
        assert secret not in repr(fs)
    assert "sesame" not in repr(image.data.dask) + repr(image)
    state = pickle.dumps(image)
    assert b"sesame" not in state
    web.who.clear()
    monkeypatch.setenv("IMAGEDATA_XR_TOKEN", "sesame")
    again = pickle.loads(state)
    np.testing.assert_array_equal(again, opened(folder))
    assert set(web.who) == {"Bearer sesame"}


# --- what is refused -------------------------------------------------------------------------------------------------


def each_number(row: Json, how: Callable[[float], float]) -> Json:
    for element in row.values():
        if element["vr"] in ("DS", "FD"):
            element["Value"] = [how(v) for v in element.get("Value", [])]
        for item in element.get("Value", []) if element["vr"] == "SQ" else []:
            each_number(item, how)
    return row


def without(*tags: str) -> Callable[[Json], Json]:
    return lambda row: {tag: element for tag, element in row.items() if tag not in tags}


@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: each_number(row, lambda v: round(v, 2)), "ImageOrientationPatient.*missing or rounded"),
        (without("00181314"), "FlipAngle is missing or rounded"),
        (without("00290010", "00291010"), r"\(0029,1010\)"),
        (without("00100010"), "PatientName is missing"),
        (lambda row: None if row["00200013"]["Value"] == [5] else row, "metadata of 1 of the 8 images .* are missing"),
        (lambda row: row | {"00200032": {"vr": "DS", "Value": [{"x": 1}]}}, "rounded|no DICOM JSON"),
        (lambda row: row | {"00189087": {"vr": "FD", "Value": ["much"]}}, "no DICOM JSON"),
        (lambda row: row | {"00280106": {"vr": "OW", "Value": [1]}}, "no DICOM JSON"),
    ],
)
def test_metadata_that_are_not_what_is_stored_are_refused(web: Service, folder: Path, change: Any, said: str) -> None:
    with_private(folder)
    web.add(folder)
    web.change = change
    with pytest.raises(SourceError, match=said) as error:
        lazily(series(web))
    assert "lazy=True" in str(error.value) or "are missing" in str(error.value)
    web.change = lambda row: row
    same(lazily(series(web)), opened(folder))  # it was that


@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_binary_values_that_are_needed_are_fetched_or_it_is_refused(web: Service, folder: Path) -> None:
    with_private(folder)
    web.add(folder)
    lazily(series(web))
    assert len({path for path in web.asked if path.endswith("/bulk/00291010")}) == 8
    assert not [path for path in web.asked if path.endswith("/bulk/00311001")]
    web.fail["/bulk/"] = [404]
    with pytest.raises(SourceError, match=r"does not give a binary value that reading needs.*lazy=True"):
        lazily(series(web))


@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_no_other_server_is_told_who_asks(web: Service, folder: Path) -> None:
    with_private(folder)
    web.add(folder)
    with service() as other:
        web.bulk = other.root  # as of a proxy that does not change addresses: the service itself has them
        lazily(series(web), token="sesame")
        web.bulk = other.root.replace("/web", "/elsewhere?file=")
        web.change = lambda row: {
            tag: element | ({"BulkDataURI": f"{other.root}/file"} if "BulkDataURI" in element else {})
            for tag, element in row.items()
        }
        with pytest.raises(SourceError, match="at another place"):
            lazily(series(web), token="sesame")
        assert not other.asked


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (lambda kind, data: (kind, data[:-2]), "gives 124 bytes as a frame of 126"),
        (lambda kind, data: (kind, data + data), "gives 252 bytes as a frame of 126"),
        (lambda kind, data: ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", data), "JPEG Baseline"),
        (lambda kind, data: (kind, b""), "0 frames came of the 1"),
        (lambda kind, data: ("image/png", data), "an unknown form"),
    ],
)
def test_frames_that_are_not_as_they_should_be_are_refused(web: Service, frame: Any, said: str) -> None:
    web.frame = frame
    with pytest.raises(SourceError, match=said):
        lazily(series(web), retries=0).load()


def test_frames_that_change_their_form_are_refused(web: Service) -> None:
    image = lazily(series(web))
    web.frame = lambda kind, data: ("image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90", data)
    with pytest.raises(SourceError, match="those before it came in"):
        image.load()


def test_lossy_images_that_come_decoded_are_refused(web: Service, folder: Path) -> None:
    """Two decoders of JPEG need not give the same values."""
    for uid in web.files:
        ds = web.dataset(uid)
        ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
        ds.PixelData = pydicom.encaps.encapsulate([ds.PixelData])
        ds["PixelData"].VR = "OB"
        ds.save_as(folder / "x")
        web.files[uid] = (folder / "x").read_bytes()
    web.frame = lambda kind, data: ("application/octet-stream", b"\0" * 126)
    with pytest.raises(SourceError, match=r"JPEG Baseline.*as Explicit VR.*need not have the same values"):
        lazily(series(web))


def test_a_connection_that_is_cut_is_tried_again_and_then_said(web: Service, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("imagedata_xr.stores.patience.PAUSE", 0.001)
    image = lazily(series(web))
    web.fail["/frames/"] = ["cut", "cut", 503]
    np.testing.assert_array_equal(image, opened(folder))
    web.fail["/frames/"] = ["cut"] * 99
    with pytest.raises(SourceError, match="cut within the frames"):
        lazily(series(web)).load()


def test_archives_without_frames_say_so() -> None:
    with pytest.raises(SourceError, match="lazy=True is for dicomweb"):
        lazily("dicom://127.0.0.1:104/ARCHIVE//1.2.3")

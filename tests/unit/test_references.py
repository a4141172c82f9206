"""References of kerchunk to the pixels in DICOM files: opened without our engine, over files, http and memory."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.uid import ExplicitVRBigEndian, RLELossless
from series import image, open_image, save, series

import imagedata_xr
from imagedata_xr.errors import FormatError


@pytest.fixture(autouse=True)
def packages(require_module: Callable[[str], Any]) -> None:
    require_module("kerchunk")
    require_module("fastparquet")


def timed(v: int, k: int) -> dict[Any, Any]:
    return {"AcquisitionTime": f"1011{2 * v:02d}", "RescaleSlope": 1, "RescaleIntercept": 0}


def reopened(path: Any, **options: Any) -> xr.DataArray:
    ds = xr.open_dataset(path, engine="kerchunk", storage_options=options or None)
    found: xr.DataArray = imagedata_xr.repair(ds["image"])
    return found


@pytest.mark.parametrize("name", ["refs.json", "refs.parquet"])
def test_values_labels_and_place(name: str, tmp_path: Path) -> None:
    array = open_image(series(tmp_path / "data", 2, 3, timed))
    written = array.imd.to_references(tmp_path / name)
    assert written.paths == (str(tmp_path / name),)
    back = reopened(str(tmp_path / name))
    assert back.dtype == array.dtype == np.float32
    assert back.dims == array.dims
    assert np.array_equal(back.values, array.values)
    assert np.allclose(back.imd.affine, array.imd.affine, rtol=0, atol=0)
    assert back.imd.order == "time"
    assert np.array_equal(back.imd.timeline, array.imd.timeline)
    for label in ("tag", "slice", "row", "col"):
        assert np.array_equal(back[label], array[label])
    difference = back - array  # on one grid
    assert not difference.values.any()


def test_nobody_is_named_unless_asked(tmp_path: Path) -> None:
    array = open_image(series(tmp_path / "data", 2, 3, lambda v, k: timed(v, k) | {"SeriesDescription": "t1 Doe"}))
    array.imd.to_references(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    secrets = ("Jane", "Doe", "id-1", "19800101", "20240102", "2024", "1.2.3.", str(array.patient.item()),
               str(array.instance.values[0, 0]))  # fmt: skip
    assert not [s for s in secrets if s in text]
    back = reopened(str(tmp_path / "a.json"))
    assert not {"patient", "study", "instance", "source"} & set(back.coords)
    assert back.attrs["Modality"] == "MR"
    array.imd.to_references(tmp_path / "b.json", identifiers=True)
    whole = reopened(str(tmp_path / "b.json"))
    assert whole.attrs["PatientID"] == "id-1"
    assert whole.patient.item() == array.patient.item()
    assert np.array_equal(whole.instance, array.instance)
    assert array.attrs["PatientID"] == "id-1"  # it is left alone
    assert array.tag.attrs["epoch"]


@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, -1024), (2, 0), (0.1, 0), (1 / 3, 7.25), (0.0123456789, -3.3), (1, 0)]
)
def test_one_slope_and_intercept(slope: float, intercept: float, tmp_path: Path) -> None:
    def vary(v: int, k: int) -> dict[Any, Any]:
        return {"RescaleSlope": f"{slope:.10g}", "RescaleIntercept": intercept}

    array = open_image(series(tmp_path / "data", 1, 3, vary))
    array.imd.to_references(tmp_path / "a.json")
    assert np.array_equal(reopened(str(tmp_path / "a.json")).astype(array.dtype).values, array.values)


def test_stored_values_of_images_with_slopes_of_their_own(tmp_path: Path) -> None:
    folder = series(tmp_path / "data", 1, 3, lambda v, k: {"RescaleSlope": k + 1, "RescaleIntercept": 0})
    with pytest.raises(FormatError, match=r"slope differs from image to image \(1 to 3\)"):
        open_image(folder).imd.to_references(tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()
    array = open_image(folder, mask_and_scale=False)
    array.imd.to_references(tmp_path / "a.json")
    back = reopened(str(tmp_path / "a.json"))
    assert back.dtype == np.uint16
    assert np.array_equal(back, array)


def test_missing_images_are_nan(tmp_path: Path) -> None:
    folder = series(tmp_path / "data", 2, 3, timed)
    (folder / "0004.dcm").unlink()
    array = open_image(folder, order="time", missing="fill")
    array.imd.to_references(tmp_path / "a.json")
    assert np.array_equal(reopened(str(tmp_path / "a.json")), array, equal_nan=True)
    assert np.isnan(array).any()


def test_big_endian(tmp_path: Path) -> None:
    for k in range(3):
        ds = image(0, k)
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
        save(ds, tmp_path / "data" / f"{k}.dcm", ExplicitVRBigEndian)
    array = open_image(tmp_path / "data")
    array.imd.to_references(tmp_path / "a.json")
    assert np.array_equal(reopened(str(tmp_path / "a.json")), array)


def test_colour_by_pixel(tmp_path: Path) -> None:
    values = np.arange(60, dtype="u1").reshape(4, 5, 3)
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 8, "BitsStored": 8,
              "HighBit": 7, "PlanarConfiguration": 0, "PixelData": values.tobytes()}  # fmt: skip
    save(image(0, 0, colour), tmp_path / "data" / "a.dcm")
    array = open_image(tmp_path / "data")
    array.imd.to_references(tmp_path / "a.json")
    assert np.array_equal(reopened(str(tmp_path / "a.json"))[0, 0], values)
    save(image(0, 0, colour | {"PlanarConfiguration": 1}), tmp_path / "planar" / "a.dcm")
    with pytest.raises(FormatError, match="plane by plane"):
        open_image(tmp_path / "planar").imd.to_references(tmp_path / "b.json")


def test_bits_beyond_those_stored(tmp_path: Path) -> None:
    narrow = {"BitsStored": 12, "HighBit": 11}
    clean = open_image(series(tmp_path / "clean", 1, 2, lambda v, k: narrow))
    clean.imd.to_references(tmp_path / "a.json")
    assert np.array_equal(reopened(str(tmp_path / "a.json")), clean)
    ds = image(0, 1, narrow)
    pixels = np.frombuffer(ds.PixelData, "<u2").copy()
    pixels[3] |= 0x8000  # an overlay bit
    save(image(0, 0, narrow), tmp_path / "dirty" / "0.dcm")
    save(_with(ds, pixels), tmp_path / "dirty" / "1.dcm")
    with pytest.raises(FormatError, match="bits outside of Bits Stored are in use"):
        open_image(tmp_path / "dirty").imd.to_references(tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


def _with(ds: pydicom.Dataset, pixels: Any) -> pydicom.Dataset:
    ds.PixelData = pixels.tobytes()
    return ds


def test_what_references_can_not_express(tmp_path: Path) -> None:
    folder = series(tmp_path / "data", 1, 2)
    array = open_image(folder)
    others = (array.isel(slice=slice(1)), open_image(folder, chunks={}), array + 1, open_image(folder).load())
    for other in others:
        with pytest.raises(FormatError, match="as it was opened"):
            other.imd.to_references(tmp_path / "a.json")
    with pytest.raises(FormatError, match="called"):
        open_image(folder).imd.to_references(tmp_path / "a.txt")
    array = open_image(folder)
    array.imd.to_references(tmp_path / "a.json")
    with pytest.raises(FileExistsError):
        array.imd.to_references(tmp_path / "a.json")
    array.imd.write(tmp_path / "c.nii.gz")
    with pytest.raises(FormatError, match="made of DICOM"):
        open_image(tmp_path / "c.nii.gz").imd.to_references(tmp_path / "b.json")
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.compress(RLELossless)
        ds.save_as(path)
    with pytest.raises(FormatError, match=r"compressed \(transfer syntax 1.2.840.10008.1.2.5\)"):
        open_image(folder).imd.to_references(tmp_path / "b.json")


def test_files_that_move_are_found_under_their_new_base(tmp_path: Path) -> None:
    array = open_image(series(tmp_path / "data" / "deep", 1, 3))
    expected = array.values
    array = open_image(tmp_path / "data")
    array.imd.to_references(tmp_path / "a.json", base=str(tmp_path / "moved"))
    shutil.move(tmp_path / "data" / "deep", tmp_path / "moved")
    assert np.array_equal(reopened(str(tmp_path / "a.json")), expected)
    assert json.loads((tmp_path / "a.json").read_text())["templates"]["u"] == str(tmp_path / "moved")


def test_over_http(tmp_path: Path) -> None:
    """A folder is published with its references; who opens them reads ranges, and scans nothing."""
    array = open_image(series(tmp_path / "data", 2, 3, timed))
    handler = partial(_Ranges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        array.imd.to_references(tmp_path / "refs.json", base=f"{address}/data")
        _Ranges.asked.clear()
        back = reopened(f"{address}/refs.json", remote_protocol="http")
        assert np.array_equal(back.isel(tag=1, slice=2).values, array.isel(tag=1, slice=2).values)
        assert {path for path in _Ranges.asked if path.endswith(".dcm")} == {"/data/0005.dcm"}
        assert np.array_equal(back.values, array.values)
        server.shutdown()


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """A web server that gives ranges, and remembers what it was asked for."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = self.headers.get("Range")
        if found is None:
            super().do_GET()
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        first, last = found.removeprefix("bytes=").split("-")
        part = data[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_in_memory(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    for path in series(tmp_path, 1, 3).iterdir():
        fs.pipe_file(f"/refs-test/{path.name}", path.read_bytes())
    try:
        array = open_image("memory://refs-test")
        array.imd.to_references("memory://refs-test-out/a.json")
        refs = json.loads(fs.cat_file("/refs-test-out/a.json"))
        store = fsspec.filesystem("reference", fo=refs, remote_protocol="memory")
        planes = [store.cat_file(f"image/0.{k}.0.0") for k in range(3)]
        got = np.stack([np.frombuffer(p, "<u2").reshape(4, 5) for p in planes])
        assert np.array_equal(got, array[0])
        back = reopened("memory://refs-test-out/a.json", remote_protocol="memory")
        assert np.array_equal(back, array)
    finally:
        fs.rm("/refs-test", recursive=True)
        fs.rm("/refs-test-out", recursive=True)

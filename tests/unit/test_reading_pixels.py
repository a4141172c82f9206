"""How pixels are read: by place, in runs and batches, straight into the result, in threads; values stay the same."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pydicom
import pytest
import xarray as xr
from encoded import noise, stored_as
from multiframe import Frame, instance, save
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut
from series import open_image, series

from imagedata_xr.dicom.pixels import native_planes, threads
from imagedata_xr.errors import SourceError
from imagedata_xr.stores import files
from imagedata_xr.stores.url import File, local, read_into

Asked = list[tuple[str, int, int]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Ranges of pixel data that the operating system is asked for: (name, first byte, length)."""
    seen: Asked = []
    plain = files._fill

    def fill(path: str, fd: int, offset: int, buffer: memoryview) -> int:
        seen.append((Path(path).name, offset, len(buffer)))
        return plain(path, fd, offset, buffer)

    monkeypatch.setattr(files, "_fill", fill)
    return seen


def rescaled(v: int, k: int) -> dict[str, Any]:
    """Another rescale for each image, volumes 12 bits in 16 with noise in the others."""
    pixels = np.random.default_rng(10 * v + k).integers(0, 2**16, (20, 28), dtype="<u2")
    return {
        **stored_as(pixels, 12),
        "HighBit": 11,
        "AcquisitionTime": f"1000{2 * v:02d}.{k}",
        "RescaleSlope": 1 + v + k / 8,
        "RescaleIntercept": -3.5 * k,
    }


def by_pydicom(folder: Path, shape: tuple[int, int]) -> NDArray[Any]:
    """Values of all images as pydicom has them, in float64, bits that are not stored taken off before."""
    images = [pydicom.dcmread(p) for p in sorted(folder.iterdir())]
    planes = [apply_modality_lut(np.asarray(ds.pixel_array & 0xFFF), ds) for ds in images]
    return np.stack(planes).reshape(*shape, *planes[0].shape).astype("f4")


KEYS: list[dict[str, Any]] = [
    {},
    {"tag": 1},
    {"slice": slice(1, None, 2)},
    {"row": slice(3, 9)},
    {"row": slice(None, None, 3), "col": slice(4, 20, 5)},
    {"row": [7, 2, 2], "col": [0, 27, 5]},
    {"slice": [3, 0], "col": 6},
    {"row": slice(None, None, -1)},
    {"tag": slice(0, 0)},
]


@pytest.mark.parametrize("batch", [1, 3000, 2**18])
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_any_part_in_batches_of_any_size(
    tmp_path: Path, key: dict[str, Any], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_planes, "_LOCAL_BYTES", batch)
    folder = series(tmp_path, 3, 4, rescaled)
    got = open_image(folder, order="time").isel(key)
    want = xr.DataArray(by_pydicom(folder, (3, 4)), dims=("tag", "slice", "row", "col")).isel(key)
    np.testing.assert_array_equal(got.values, want.values)


def test_stored_numbers_straight_into_the_result(tmp_path: Path) -> None:
    folder = series(tmp_path, 3, 4, rescaled)
    got = open_image(folder, order="time", mask_and_scale=False)
    want = np.stack([rescaled(v, k)["PixelData"] for v in range(3) for k in range(4)])
    pixels = np.frombuffer(want.tobytes(), "<u2").reshape(3, 4, 20, 28) & 0xFFF
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got.values, pixels)


def test_whole_numbers_are_exact_in_either_precision(tmp_path: Path) -> None:
    """CT: slope 1, intercept -1024, and one that float32 would round on the way."""
    for name, slope, intercept in (("ct", 1, -1024), ("large", 300, 7)):
        pixels = noise(0, 65535, "<u2")
        elements = {**stored_as(pixels, 16), "RescaleSlope": slope, "RescaleIntercept": intercept}
        folder = series(tmp_path / name, 1, 1, lambda v, k, elements=elements: elements)  # type: ignore[misc]
        want = pixels.astype(np.int64) * slope + intercept
        np.testing.assert_array_equal(open_image(folder).values[0, 0], want.astype(open_image(folder).dtype))


def test_frames_of_a_file_are_read_at_once(tmp_path: Path, asked: Asked) -> None:
    save(instance([Frame(k) for k in range(5)]), tmp_path / "a.dcm")
    a = open_image(tmp_path)
    asked.clear()
    a.load()
    assert [n for _, _, n in asked] == [5 * 4 * 5 * 2]


def test_one_slice_of_many_files_reads_one_file(tmp_path: Path, asked: Asked) -> None:
    a = open_image(series(tmp_path, 4, 6, lambda v, k: {"AcquisitionTime": f"1000{2 * v:02d}.{k}"}), order="time")
    asked.clear()
    assert a.isel(tag=2, slice=3).values[0, 0] == 2300
    assert [(name, n) for name, _, n in asked] == [("0015.dcm", 4 * 5 * 2)]


def test_a_crop_reads_the_bytes_of_its_rows(tmp_path: Path, asked: Asked) -> None:
    a = open_image(series(tmp_path, 2, 3, lambda v, k: {"AcquisitionTime": f"1000{2 * v:02d}.{k}"}), order="time")
    asked.clear()
    a.isel(row=slice(1, 3), col=slice(2, 4)).load()
    assert sum(n for _, _, n in asked) == 2 * 3 * (2 * 5 * 2)


# --- the operating system -------------------------------------------------------------------------------------------


def test_without_preadv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv", raising=False)
    folder = series(tmp_path, 3, 4, rescaled)
    np.testing.assert_array_equal(open_image(folder, order="time").values, by_pydicom(folder, (3, 4)))


def test_reads_that_come_in_pieces_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = files._read_at
    monkeypatch.setattr(files, "_read_at", lambda fd, buffer, offset: plain(fd, buffer[:7], offset))
    (tmp_path / "a").write_bytes(bytes(range(100)))
    out = bytearray(90)
    read_into([File(local(), str(tmp_path / "a"))], [5], [memoryview(out)])
    assert out == bytes(range(5, 95))


def test_files_that_end_or_went_away_are_named(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    (tmp_path / "a").write_bytes(bytes(10))
    there, gone = (File(local(), str(tmp_path / name)) for name in "ab")
    with pytest.raises(SourceError, match="a is too short: 4 of 8 bytes are there from byte 6 on"):
        read_into([there, there], [0, 6], [memoryview(bytearray(8))] * 2)
    with pytest.raises(SourceError, match="b can't be read: No such file"):
        read_into([there, gone], [0, 0], [memoryview(bytearray(8))] * 2)
    assert before is None or len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    fs.put(str(series(tmp_path / "remote", 3, 4, rescaled)), "/pixels", recursive=True)
    yield "memory://pixels"
    fs.rm("/pixels", recursive=True)


def test_remote_files(remote: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(open_image(remote, order="time").values, by_pydicom(tmp_path / "remote", (3, 4)))


def test_remote_ranges_are_joined_up_to_a_size(remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(instance([Frame(k) for k in range(5)]), tmp_path / "many.dcm")
    fs = fsspec.filesystem("memory")
    fs.put(str(tmp_path / "many.dcm"), "/many.dcm")
    a, want = open_image("memory://many.dcm"), open_image(tmp_path / "many.dcm").values
    monkeypatch.setattr(native_planes, "_REQUEST_BYTES", 2 * 4 * 5 * 2)
    sizes: list[int] = []

    def counted(files: list[File], starts: list[int], buffers: list[memoryview]) -> None:
        sizes.extend(len(b) for b in buffers)
        read_into(files, starts, buffers)

    monkeypatch.setattr(native_planes, "read_into", counted)
    np.testing.assert_array_equal(a.values, want)
    assert sizes == [80, 80, 40]
    fs.rm("/many.dcm")


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cores", [1, 4])
def test_compressed_frames_in_threads(tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()
    plain = threads.spread

    def spread(work: Any, items: Any) -> None:
        def noted(item: Any) -> None:
            used.add(threading.current_thread().name)
            work(item)

        plain(noted, items)

    monkeypatch.setattr("imagedata_xr.dicom.pixels.pixels.spread", spread)
    monkeypatch.setattr(threads, "cores", lambda: cores)
    save(instance([Frame(k, slope=1 + k) for k in range(12)]), tmp_path / "native.dcm")
    (tmp_path / "packed").mkdir()
    save(instance([Frame(k, slope=1 + k) for k in range(12)]), tmp_path / "packed" / "a.dcm", rle=True)
    got = open_image(tmp_path / "packed").values
    np.testing.assert_array_equal(got, open_image(tmp_path / "native.dcm").values)
    assert all(name.startswith("imagedata") == (cores > 1) for name in used)


def test_threads_stop_at_the_first_error() -> None:
    with pytest.raises(SourceError, match="third"):
        threads.spread(_third_fails, range(1000))


def _third_fails(k: int) -> None:
    if k == 3:
        raise SourceError("the third")


def test_no_threads_inside_of_other_threads() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(threads.cores).result() == 1
    assert threads.cores() >= 1


def test_what_is_sent_to_workers_is_small(tmp_path: Path) -> None:
    few, many = (
        open_image(series(tmp_path / str(n), n, 5, lambda v, k: {"AcquisitionTime": f"10{v:02d}00.{k}"}), order="time")
        for n in (2, 22)
    )
    sizes = [len(pickle.dumps(a.chunk())) for a in (few, many)]
    assert (sizes[1] - sizes[0]) / 100 < 400, "bytes for each further file"

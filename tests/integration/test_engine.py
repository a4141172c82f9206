"""The engine on DICOM files: sources, laziness, schedulers, trees and headers."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
from pydicom.dataset import Dataset
from pydicom.uid import UID
from series import Elements, image, open_image, pixels, places, save, series, straight

from imagedata_xr.backend import ImagedataEntrypoint
from imagedata_xr.errors import ImagedataWarning, NotFoundError, SourceError
from imagedata_xr.stores import files


def timed(v: int, k: int) -> Elements:
    return {"AcquisitionTime": f"1000{2 * v:02d}.{k}"}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Ranges of local files that are read after the scan: (name, first byte, length)."""
    seen: list[tuple[str, int, int]] = []
    plain = files._fill

    def fill(path: str, fd: int, offset: int, buffer: memoryview) -> int:
        seen.append((Path(path).name, offset, len(buffer)))
        return plain(path, fd, offset, buffer)

    monkeypatch.setattr(files, "_fill", fill)
    return seen


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[str]:
    """A series in fsspec's memory store."""
    fs = fsspec.filesystem("memory")
    fs.put(str(series(tmp_path / "remote", 4, 3, timed)), "/made", recursive=True)
    yield "memory://made"
    fs.rm("/made", recursive=True)


# --- lazy -----------------------------------------------------------------------------------------------------------


def test_opening_reads_headers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = np.zeros((512, 512), "<u2").tobytes()
    series(tmp_path, 2, 3, lambda v, k: {"Rows": 512, "Columns": 512, "PixelData": big})
    count: list[int] = []
    plain = os.read

    def read(fd: int, n: int) -> bytes:
        got = plain(fd, n)
        count.append(len(got))
        return got

    monkeypatch.setattr(os, "read", read)
    a = open_image(tmp_path)
    assert a.shape == (2, 3, 512, 512)
    assert 0 < sum(count) <= 6 * 16 * 1024
    assert not a.variable._in_memory


def test_a_crop_of_one_slice_reads_that_slice_only(tmp_path: Path, reads: list[tuple[str, int, int]]) -> None:
    a = open_image(series(tmp_path, 3, 4))
    assert reads == []
    got = a[1, 2, 1:3, ::2].values
    np.testing.assert_array_equal(got, pixels(1, 2)[1:3, ::2])
    assert [(name, length) for name, _, length in reads] == [("0006.dcm", 2 * 5 * 2)]


@pytest.mark.parametrize(
    "key",
    [
        (slice(None), 0, 2, slice(None)),
        ([2, 0], slice(None), [3, 1], slice(None, None, 2)),
        (slice(None, None, -1), [1], slice(3, 0, -1), [4, 4, 0]),
        (0, 1, 2, 3),
        (slice(0, 0), 0, 0, 0),
    ],
)
def test_any_selection_is_that_of_the_whole(tmp_path: Path, key: tuple[Any, ...]) -> None:
    folder = series(tmp_path, 3, 4)
    whole = open_image(folder).load()
    parts = dict(zip(whole.dims, key, strict=True))
    xr.testing.assert_identical(open_image(folder).isel(parts), whole.isel(parts))


def test_chunks_are_whole_volumes(tmp_path: Path) -> None:
    big = np.zeros((512, 512), "<u2").tobytes()
    series(tmp_path, 5, 4, lambda v, k: {"Rows": 512, "Columns": 512, "PixelData": big})
    a = open_image(tmp_path, chunks={})
    assert a.chunks == ((2, 2, 1), (4,), (512,), (512,))
    auto = open_image(tmp_path, chunks="auto")
    assert auto.chunks is not None
    assert auto.chunks[2:] == ((512,), (512,))


def test_small_volumes_are_merged_into_a_chunk(tmp_path: Path) -> None:
    assert open_image(series(tmp_path, 6, 2), chunks={}).chunks == ((6,), (2,), (4,), (5,))


def test_a_lazy_and_a_chunked_image_can_be_pickled(tmp_path: Path) -> None:
    folder = series(tmp_path, 3, 2, timed)
    whole = open_image(folder).load()
    for lazy in (open_image(folder), open_image(folder, chunks={"tag": 1})):
        again = pickle.loads(pickle.dumps(lazy))
        xr.testing.assert_identical(again.load(), whole)
        xr.testing.assert_identical(again + whole, whole + whole)


def test_coords_that_are_dask_arrays_are_written_and_computed_once(tmp_path: Path) -> None:
    a, calls = open_image(series(tmp_path / "in", 3, 2, timed), chunks={"tag": 1}), []

    def add(block: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
        calls.append(block.shape)
        return block + other

    template = a.chunk(tag=1)
    out = xr.map_blocks(add, template, [template], template=template)
    assert out.patient.chunks is not None
    out.imd.write(tmp_path / "out")
    assert len(calls) <= 3 * 3  # labels once, values for their range and for their files
    np.testing.assert_allclose(open_image(tmp_path / "out").values, 2 * a.values)
    assert len(out.imd.header_table().instance) == 6


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_dask_schedulers(tmp_path: Path, scheduler: str) -> None:
    import dask

    folder = series(tmp_path, 4, 3)
    chunked = open_image(folder, chunks={"tag": 1})
    with dask.config.set(scheduler=scheduler, num_workers=2):
        xr.testing.assert_identical(chunked.compute(), open_image(folder).load())


@pytest.mark.slow
def test_distributed(tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    folder = series(tmp_path, 4, 3)
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster):
        got = open_image(folder, chunks={"tag": 1}).mean("tag").compute()
    np.testing.assert_array_equal(got, open_image(folder).load().mean("tag"))


def test_a_file_that_is_gone_when_its_pixels_are_read(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 1, 3))
    (tmp_path / "0001.dcm").unlink()
    with pytest.raises(SourceError, match=r"0001\.dcm can't be read: No such file"):
        a.load()
    assert a[0, 0].values[0, 0] == 0


# --- sources --------------------------------------------------------------------------------------------------------


def test_kinds_of_source(tmp_path: Path) -> None:
    folder = series(tmp_path, 2, 3)
    whole = straight(2, 3)
    assert places(open_image(folder)) == whole
    assert places(open_image(str(folder))) == whole
    assert places(open_image(f"{folder}/*.dcm")) == whole
    assert places(open_image(sorted(folder.iterdir(), reverse=True))) == whole
    assert places(open_image([f"{folder}/000[0-2].dcm", f"{folder}/000[3-5].dcm"])) == whole
    assert places(open_image(folder / "0004.dcm")) == [[(1, 1)]]
    assert places(open_image(fsspec.open(str(folder / "0004.dcm")))) == [[(1, 1)]]


def test_a_store_that_is_not_local(memory: str) -> None:
    a = open_image(memory, order="time")
    assert places(a) == straight(4, 3)
    assert a.source.item().startswith("memory://")
    np.testing.assert_array_equal(open_image(memory, chunks={"tag": 1}).sum("tag"), a.sum("tag"))
    assert a.imd.header[1, 2].SOPInstanceUID == "1.2.3.4.2.3"


def test_pixels_on_a_store_are_read_in_one_batch(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    a = open_image(memory)
    asked: list[int] = []
    plain = MemoryFileSystem.cat_ranges

    def cat_ranges(self: Any, paths: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(len(paths))
        return plain(self, paths, *args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", cat_ranges)
    a.load()
    assert asked == [12]


def test_strangers_are_passed_over_without_noise(tmp_path: Path) -> None:
    series(tmp_path, 1, 3)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300))
    (tmp_path / "zeros").write_bytes(bytes(5000))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImagedataWarning)
        assert places(open_image(tmp_path)) == straight(1, 3)


def test_truncated_files_are_named_in_one_warning(tmp_path: Path) -> None:
    series(tmp_path, 1, 5)
    for name in ("0003.dcm", "0004.dcm"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.warns(ImagedataWarning) as caught:
        assert places(open_image(tmp_path)) == straight(1, 3)
    said = [str(w.message) for w in caught if "can't be read" in str(w.message)]
    assert len(said) == 1
    assert "0003.dcm" in said[0]
    assert "0004.dcm" in said[0]
    with pytest.raises(SourceError, match="2 of 5 files can't be read"):
        open_image(tmp_path, errors="raise")


def test_warnings_are_on_behalf_of_the_line_that_opened_or_wrote(tmp_path: Path) -> None:
    folder = series(tmp_path / "in", 2, 3, timed)
    (folder / "cut.dcm").write_bytes((folder / "0001.dcm").read_bytes()[:600])
    (folder / "copy.dcm").write_bytes((folder / "0001.dcm").read_bytes())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ImagedataWarning)
        (open_image(folder) * 2).imd.write(tmp_path / "out")
    own = [w for w in said if w.category is ImagedataWarning]
    assert len(own) > 2
    assert {Path(w.filename).parent.name for w in own} <= {"integration", "tests"}


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(NotFoundError, match="no image"):
        open_image(tmp_path)
    with pytest.raises(NotFoundError):
        open_image(tmp_path / "none")


def test_variables_are_dropped(tmp_path: Path) -> None:
    assert "patient" not in open_image(series(tmp_path), drop_variables="patient").coords


# --- which files are ours -------------------------------------------------------------------------------------------


def test_guessing_is_narrow(tmp_path: Path) -> None:
    guess = ImagedataEntrypoint().guess_can_open
    named = save(image(0, 0), tmp_path / "a.dcm")
    bare = save(image(0, 0), tmp_path / "IM0001")
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "folder.dcm").mkdir()
    (tmp_path / "text.txt").write_text("x" * 200)
    (tmp_path / "data.nc").write_bytes(b"CDF\1" + bytes(200))
    ours = [named, str(named), bare, tmp_path / "b.nii.gz", "s3://bucket/a.dcm"]
    others = [tmp_path, tmp_path / "store.zarr", tmp_path / "folder.dcm", tmp_path / "text.txt", tmp_path / "data.nc",
              tmp_path / "gone", "s3://bucket/a.zarr", 3, [named], b"CDF"]  # fmt: skip
    assert [guess(x) for x in ours] == [True] * len(ours)
    assert [guess(x) for x in others] == [False] * len(others)


def test_xarray_finds_the_engine_of_a_file(tmp_path: Path) -> None:
    save(image(0, 0), tmp_path / "IM0001")
    assert xr.open_dataset(tmp_path / "IM0001")["image"].shape == (1, 1, 4, 5)


# --- trees ----------------------------------------------------------------------------------------------------------


def tree_of(folder: Path) -> xr.DataTree:
    return xr.open_datatree(folder, engine="imagedata")


def images(tree: xr.DataTree) -> dict[str, float]:
    """First pixel of each image by its path."""
    return {n.path: float(np.asarray(n["image"]).flat[0]) for n in tree.subtree if "image" in n.data_vars}


def test_names_of_nodes(tmp_path: Path) -> None:
    def other(n: int, **elements: Any) -> None:
        base = {"SeriesInstanceUID": f"1.2.9.{n}", "SOPInstanceUID": UID(f"1.2.9.{n}.1")}
        save(image(n, 0, {**base, **elements}), tmp_path / str(n))

    series(tmp_path / "plain", 1, 2)
    other(1)  # the same names, another series
    other(2, SeriesDescription="t1/ax 50%")
    other(3, SeriesNumber=None, SeriesDescription=None)
    other(4, PatientID="", PatientName="", StudyInstanceUID="1.2.8.1")
    other(5, PatientName="Roe^Rick")  # another patient under the same ID
    other(6, StudyInstanceUID="1.2.8.2")  # another study of the same moment
    at = "20240102-101500"
    first, second = ("id-1", "id-1~2")  # in the order of their digests
    assert images(tree_of(tmp_path)) == {
        f"/{first}/{at}/7-made": 5000, f"/{second}/{at}/7-made": 0, f"/{second}/{at}/7-made~2": 1000,
        f"/{second}/{at}/7-t1%2Fax 50%25": 2000, f"/{second}/{at}/_": 3000, f"/{second}/{at}~2/7-made": 6000,
        f"/_/{at}/7-made": 4000,
    }  # fmt: skip


def test_attrs_of_patients_and_studies(tmp_path: Path) -> None:
    series(tmp_path, 1, 2)
    save(image(5, 0, {"PatientName": "Roe^Rick", "SOPInstanceUID": UID("1.2.9")}), tmp_path / "other")
    tree = tree_of(tmp_path)
    names = {path: tree[path].attrs["PatientName"] for path in ("id-1", "id-1~2")}
    assert sorted(names.values()) == ["Doe^Jane", "Roe^Rick"]
    for path, name in names.items():
        (node,) = (n for n in tree[path].subtree if "image" in n.data_vars)
        assert node["image"].attrs["PatientName"] == name
        assert node.parent is not None
        assert node.parent.attrs["StudyInstanceUID"] == "1.2.3.1"


def test_stacks_are_nodes_below_their_series(tmp_path: Path) -> None:
    series(tmp_path, 2, 2, lambda v, k: {"ImageType": ["DERIVED", "PRIMARY", "MP"[v]]})
    base = "/id-1/20240102-101500/7-made"
    assert images(tree_of(tmp_path)) == {f"{base}/stack-0": 0, f"{base}/stack-1": 1000}


def test_series_without_pixels_are_nodes_with_attrs(tmp_path: Path) -> None:
    series(tmp_path, 1, 2)
    gone = dict.fromkeys(("PixelData", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient"))
    report = {"Modality": "SR", "SeriesNumber": 99, "SeriesInstanceUID": "1.2.9", "SeriesDescription": "report"}
    save(image(8, 0, {**gone, **report}), tmp_path / "report")
    tree = tree_of(tmp_path)
    node = tree["id-1/20240102-101500/99-report"]
    assert list(node.data_vars) == []
    assert node.attrs["Modality"] == "SR"
    assert places(open_image(tmp_path)) == straight(1, 2)


def test_a_series_that_can_not_be_built_is_said(tmp_path: Path) -> None:
    series(tmp_path, 1, 2)
    save(image(4, 0, {"SeriesInstanceUID": "1.2.9", "RescaleSlope": 0, "RescaleIntercept": 0}), tmp_path / "bad")
    with pytest.warns(ImagedataWarning, match="left out: .*RescaleSlope is 0"):
        assert len(images(tree_of(tmp_path))) == 1
    with pytest.raises(ValueError, match="RescaleSlope is 0"):
        xr.open_datatree(tmp_path, engine="imagedata", errors="raise")


# --- headers --------------------------------------------------------------------------------------------------------


def test_headers_by_volume_and_slice(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 3, 2, lambda v, k: {"ImageComments": f"{v}{k}"}))
    assert a.imd.header[2, 1].ImageComments == "21"
    assert a[1:, ::-1].imd.header[0, 0].ImageComments == "11"
    assert a.imd.header.first.ImageComments == "00"
    assert [h.ImageComments for h in a.imd.header] == ["00", "01", "10", "11", "20", "21"]
    assert "PixelData" not in a.imd.header.first
    with pytest.raises(IndexError, match="names 2 planes"):
        a.imd.header[0]
    with pytest.raises(SourceError, match="no longer one of its source"):
        _ = a.mean("tag").imd.header.first


def test_headers_of_every_series_of_a_tree(tmp_path: Path) -> None:
    for n in range(8):
        elements: Elements = {"SeriesInstanceUID": f"1.2.9.{n}", "SeriesNumber": n, "ImageComments": str(n)}
        save(image(n, 0, elements), tmp_path / str(n))
    found = [n["image"].imd.header.first.ImageComments for n in tree_of(tmp_path).subtree if "image" in n.data_vars]
    assert sorted(found) == [str(n) for n in range(8)]


def test_a_header_that_was_replaced_is_not_given(tmp_path: Path) -> None:
    a = open_image(series(tmp_path, 1, 2))
    save(image(7, 1), tmp_path / "0001.dcm")
    with pytest.raises(SourceError, match="since it was opened"):
        a.imd.header[0, 1]


def test_a_dataset_in_a_sequence_does_not_shake_the_scan(tmp_path: Path) -> None:
    inner = Dataset()
    inner.EchoTime = 99
    a = open_image(series(tmp_path, 2, 2, lambda v, k: {"EchoTime": v + 1, "RequestAttributesSequence": [inner]}))
    assert a.tag.values.tolist() == [1, 2]

"""Files appear when the series is whole, or not at all."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import dask.array
import fsspec
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from phantoms import make, opened

from imagedata_xr.dicom.headers.lookup import headers_of
from imagedata_xr.dicom.writing.write import write
from imagedata_xr.errors import FormatError, SourceError
from imagedata_xr.formats.seam import WriteOptions


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    return opened(tmp_path / "in")


class Failing:
    """A progress callback that fails, as a full disk would, after some images."""

    def __call__(self, done: int, total: int) -> None:
        if done == 3:
            raise OSError("no space left")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_files_are_named_by_their_number_and_what_was_written_is_told(image: xr.DataArray, tmp_path: Path) -> None:
    done = write(image * 0.3, str(tmp_path / "a" / "b"), WriteOptions())
    assert names(tmp_path / "a" / "b") == [f"IM_{k:05d}.dcm" for k in range(1, 7)]
    assert done.paths == tuple(str(tmp_path / "a" / "b" / n) for n in names(tmp_path / "a" / "b"))
    assert done.bytes == sum(Path(p).stat().st_size for p in done.paths)
    assert done.uids == tuple(pydicom.dcmread(p).SOPInstanceUID for p in done.paths)
    assert (done.format, done.count) == ("dicom", 6)


def test_a_failure_leaves_nothing(image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space"):
        write(image, str(tmp_path / "new" / "out"), WriteOptions(progress=Failing()))
    assert names(tmp_path) == ["in"]


def test_a_failure_leaves_an_empty_folder_empty(image: xr.DataArray, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="no space"):
        write(image, str(tmp_path / "out"), WriteOptions(progress=Failing()))
    assert names(tmp_path / "out") == []


def test_an_empty_folder_is_filled_in_place(image: xr.DataArray, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    inode = (tmp_path / "out").stat().st_ino  # it may be a mount point, which can't be replaced
    write(image, str(tmp_path / "out"), WriteOptions())
    assert len(names(tmp_path / "out")) == 6
    assert (tmp_path / "out").stat().st_ino == inode


def test_a_folder_with_files_is_refused_and_untouched(image: xr.DataArray, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write(image, str(tmp_path / "out"), WriteOptions())
    assert names(tmp_path / "out") == ["note.txt"]


def test_overwrite_replaces_a_folder_of_files(image: xr.DataArray, tmp_path: Path) -> None:
    write(image, str(tmp_path / "out"), WriteOptions())
    write(image.isel(tag=0), str(tmp_path / "out"), WriteOptions(overwrite=True))
    assert len(names(tmp_path / "out")) == 3
    assert names(tmp_path) == ["in", "out"]


def test_a_failed_overwrite_keeps_the_old_files(image: xr.DataArray, tmp_path: Path) -> None:
    old = write(image, str(tmp_path / "out"), WriteOptions())
    with pytest.raises(OSError, match="no space"):
        write(image, str(tmp_path / "out"), WriteOptions(overwrite=True, progress=Failing()))
    assert tuple(pydicom.dcmread(p).SOPInstanceUID for p in old.paths) == old.uids
    assert names(tmp_path) == ["in", "out"]


def test_overwrite_takes_no_folder_with_folders(image: xr.DataArray, tmp_path: Path) -> None:
    (tmp_path / "home" / "work").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="folders"):
        write(image, str(tmp_path / "home"), WriteOptions(overwrite=True))


def test_a_file_in_the_way_is_refused(image: xr.DataArray, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        write(image, str(tmp_path / "out"), WriteOptions(overwrite=True))


def test_a_source_can_be_overwritten_by_its_own_images(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.ct())
    image = opened(tmp_path / "in")
    values = image.values
    write(image + 10, str(tmp_path / "in"), WriteOptions(overwrite=True))
    assert np.array_equal(opened(tmp_path / "in").values, values + 10)


def test_a_remote_folder_gets_the_same_files(image: xr.DataArray) -> None:
    done = write(image, "memory://bucket/out", WriteOptions())
    fs = fsspec.filesystem("memory")
    try:
        assert len(fs.ls("/bucket/out")) == 6
        with fs.open(done.paths[0].removeprefix("memory://")) as stream:
            assert pydicom.dcmread(stream).SOPInstanceUID == done.uids[0]
        with pytest.raises(FileExistsError, match="overwrite"):
            write(image, "memory://bucket/out", WriteOptions())
        with pytest.raises(OSError, match="no space"):
            write(image, "memory://bucket/out", WriteOptions(overwrite=True, progress=Failing()))
        assert len(fs.ls("/bucket/out")) == 6
        write(image.isel(tag=0), "memory://bucket/out", WriteOptions(overwrite=True))
        assert len(fs.ls("/bucket/out")) == 3
    finally:
        fs.rm("/bucket", recursive=True)


def test_progress_counts_images(image: xr.DataArray, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write(image, str(tmp_path / "out"), WriteOptions(progress=lambda done, total: seen.append((done, total))))
    assert seen == [(k, 6) for k in range(1, 7)]


def test_without_compute_nothing_is_written_until_dask_does_it(image: xr.DataArray, tmp_path: Path) -> None:
    later = write(image.chunk() * 0.5, str(tmp_path / "out"), WriteOptions(compute=False))
    assert names(tmp_path) == ["in"]
    done = later.compute()
    assert done.count == len(names(tmp_path / "out")) == 6


def test_delayed_writing_in_another_process_reads_the_headers_again(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    image = xr.open_dataarray(tmp_path / "in", engine="imagedata", chunks={})
    later = cloudpickle.dumps(write(image, str(tmp_path / "out"), WriteOptions(compute=False)))
    assert len(later) < 60_000  # scanned headers are not sent, but the names of files
    assert len(cloudpickle.dumps(headers_of(image))) < 6 * 250
    (tmp_path / "later").write_bytes(later)
    program = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).compute().count)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "later")], check=True, capture_output=True
    )
    assert int(done.stdout) == 6
    write(image, str(tmp_path / "now"), WriteOptions())
    for name in names(tmp_path / "now"):
        one, other = (pydicom.dcmread(tmp_path / folder / name) for folder in ("out", "now"))
        for ds in (one, other):
            del ds.SOPInstanceUID, ds.SeriesInstanceUID
        assert one == other


def test_headers_of_files_that_changed_are_not_read_again(tmp_path: Path) -> None:
    paths = make(tmp_path / "in", phantoms.mr(shape=(2, 3, 6, 8)))
    image = opened(tmp_path / "in")
    again = pickle.loads(pickle.dumps(headers_of(image)))
    first = int(image.coords["instance"].values.flat[0])
    assert again.dataset(first) == image.imd.header.first
    other = pickle.loads(pickle.dumps(again))
    ds = pydicom.dcmread(paths[0])
    ds.ImageComments = "changed"
    ds.save_as(paths[0])
    with pytest.raises(SourceError, match="has changed since it was opened"):
        other.dataset(first)


def test_each_chunk_is_computed_once(tmp_path: Path) -> None:
    make(tmp_path / "in", phantoms.mr(shape=(3, 4, 6, 8)))
    image = opened(tmp_path / "in")
    seen: list[tuple[int, ...]] = []

    def note(block: Any, block_info: Any = None) -> Any:
        if block_info:
            seen.append(tuple(block_info[0]["chunk-location"]))
        return block * 0.37

    data = dask.array.from_array(  # type: ignore[no-untyped-call]
        image.values, chunks=(2, 3, 6, 4)
    ).map_blocks(note, dtype=np.float32)
    write(image.copy(data=data).drop_vars("instance"), str(tmp_path / "out"), WriteOptions())
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) == 2 * 2 * 1 * 2
    got = opened(tmp_path / "out")
    assert np.allclose(got, image * 0.37, atol=1e-2)


def test_blocks_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    from imagedata_xr.dicom.writing import blocks as module

    monkeypatch.setattr(module, "BLOCK_BYTES", 4000)
    variable = xr.Variable(("tag", "slice", "row", "col"), np.zeros((3, 7, 10, 10), dtype=np.float32))
    parts = list(module.blocks(variable, 2))
    seen = np.zeros((3, 7), dtype=int)
    for part in parts:
        seen[part] += 1
        assert variable[part].nbytes <= 4000
    assert (seen == 1).all()
    assert len(parts) < 21


def test_unknown_options_are_named(image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="sop_class"):
        write(image, str(tmp_path / "out"), WriteOptions(format_options={"sop": "MR"}))

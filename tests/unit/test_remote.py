"""Sources and targets that are not of this machine: real servers on the loopback."""

from __future__ import annotations

import errno
import pickle
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem
from series import open_image, series
from web import Web

from imagedata_xr import set_options
from imagedata_xr.errors import NotFoundError, SourceError
from imagedata_xr.stores import patience
from imagedata_xr.stores.uploads import upload
from imagedata_xr.stores.url import find, read_range


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE", 0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six slices, of which the pixels are longer than the header."""
    rng = np.random.default_rng(1)

    def big(v: int, k: int) -> dict[str, Any]:
        return {"Rows": 128, "Columns": 128, "PixelData": rng.integers(0, 999, 128 * 128, "<u2").tobytes()}

    return series(tmp_path / "in", 1, 6, big)


# --- reading from the web ---------------------------------------------------------------------------------------------


def test_headers_and_chunks_are_read_by_range_at_once(folder: Path, web: Web) -> None:
    web.wait = 0.05
    addresses: Any = [f"{web.url}{p.name}" for p in sorted(folder.iterdir())]
    image = open_image(addresses, chunks={"slice": 1})
    assert web.sent <= 6 * 17_000, "headers only"
    assert web.at_once == 6
    assert len(web.asked) <= 13, "a look and a range for each, and not more"
    web.reset()
    plane = image.isel(slice=2).values
    assert web.sent == 128 * 128 * 2
    np.testing.assert_array_equal(plane, open_image(str(folder)).isel(slice=2).values)
    web.reset()
    _ = image.compute(scheduler="single-threaded").values
    assert web.sent == 6 * 128 * 128 * 2


def test_a_server_without_ranges_gives_the_right_bytes(folder: Path, web: Web) -> None:
    web.ranges = False
    addresses: Any = [f"{web.url}{p.name}" for p in sorted(folder.iterdir())]
    np.testing.assert_array_equal(open_image(addresses).values, open_image(str(folder)).values)
    (file,) = find(addresses[0])
    data = (folder / "0000.dcm").read_bytes()
    assert read_range(file, 1000, 70_000 - 1000 - 40_000) == data[1000:30_000]
    with pytest.raises(SourceError, match="too short"):
        read_range(file, len(data) - 10, 1000)


@pytest.mark.parametrize("what", [503, 500, 429, "reset"])
def test_errors_that_may_pass_are_waited_for(folder: Path, web: Web, what: int | str) -> None:
    addresses: Any = [f"{web.url}{p.name}" for p in sorted(folder.iterdir())]
    web.fail = {"0003.dcm": [what, what], "0004.dcm": [what]}
    image = open_image(addresses)
    web.fail = {"0001.dcm": [what, what, what]}
    np.testing.assert_array_equal(image.values, open_image(str(folder)).values)


def test_errors_that_stay_are_told_once_without_credentials(folder: Path, web: Web) -> None:
    host = web.url.removeprefix("http://")
    address = f"http://me:secret@{host}0001.dcm?token=secret"
    image = open_image(address)
    assert "secret" not in str(image.source.values)
    assert "secret" not in repr(image.encoding)
    web.fail = {"0001.dcm": [503] * 50}
    web.reset()
    with set_options(retries=2), pytest.raises(SourceError) as caught:
        _ = image.values
    assert "0001.dcm can't be read: the server answers 503" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(web.asked) == 3
    with set_options(retries=0), pytest.raises(SourceError) as caught:
        open_image(address)
    assert "503" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_not_there_is_not_asked_for_again(web: Web) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.dcm does not exist"):
        open_image([f"{web.url}0001.dcm", f"{web.url}nothing.dcm"])
    assert sum("nothing" in path for _, path, _ in web.asked) <= 2


def test_an_archive_on_the_web_is_read_by_range(folder: Path, tmp_path: Path, web: Web) -> None:
    archive = shutil.make_archive(str(tmp_path / "made"), "tar", folder)
    shutil.move(archive, folder / "a.tar")
    import zipfile

    with zipfile.ZipFile(folder / "a.zip", "w") as made:
        for path in sorted(folder.glob("*.dcm")):
            made.write(path, path.name)
    expected = open_image([str(p) for p in sorted(folder.glob("*.dcm"))])
    web.reset()
    image = open_image(f"{web.url}a.zip", chunks={"slice": 1})
    web.reset()
    plane = image.isel(slice=3).values
    assert web.sent == 128 * 128 * 2
    np.testing.assert_array_equal(plane, expected.isel(slice=3).values)
    np.testing.assert_array_equal(open_image(f"{web.url}a.tar?*3.dcm").values, expected.isel(slice=[3]).values)
    np.testing.assert_array_equal(open_image(f"zip://000*::{web.url}a.zip?key=x").values, expected.values)


# --- s3 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3_server(require_module: Any) -> Iterator[str]:
    require_module("s3fs")
    server_module = require_module("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, require_module: Any, request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """A bucket, and the options that open it."""
    require_module("moto")
    options = {"key": "AKIDEXAMPLE", "secret": "very-secret", "endpoint_url": s3_server}
    bucket = f"b{abs(hash(request.node.name)) % 10**8}"
    fs = fsspec.filesystem("s3", **options)
    fs.mkdir(bucket)
    yield f"s3://{bucket}", options
    fs.rm(bucket, recursive=True)


def test_a_zarr_store_on_s3_is_replaced_as_a_whole(
    folder: Path, s3: tuple[str, dict[str, Any]], require_module: Any
) -> None:
    require_module("zarr")
    bucket, options = s3
    image = open_image(str(folder))
    image.imd.write(f"{bucket}/a.zarr", storage_options=options, format_options={"chunks": {"slice": 1}})
    (image + 1).imd.write(f"{bucket}/a.zarr", storage_options=options, overwrite=True)
    np.testing.assert_array_equal(open_image(f"{bucket}/a.zarr", storage_options=options), image + 1)
    fs = fsspec.filesystem("s3", **options)
    fs.invalidate_cache()
    assert fs.ls(bucket, detail=False) == [f"{bucket.removeprefix('s3://')}/a.zarr"]


def test_a_series_goes_to_s3_and_comes_back(folder: Path, s3: tuple[str, dict[str, Any]]) -> None:
    bucket, options = s3
    image = open_image(str(folder))
    written = image.imd.write(f"{bucket}/a/b", storage_options=options)
    assert written.paths[0] == f"{bucket}/a/b/IM_00001.dcm"
    again = open_image(f"{bucket}/a/b", storage_options=options, chunks={})
    assert str(again.source.values) == f"{bucket}/a/b"
    np.testing.assert_array_equal(again.values, image.values)
    np.testing.assert_array_equal(open_image(f"{bucket}/a/b/*1.dcm", storage_options=options).values[0, 0], image[0, 0])
    assert "very-secret" not in repr(again) + repr(again.encoding) + repr(again.imd.header)
    with pytest.raises(FileExistsError):
        image.imd.write(f"{bucket}/a/b", storage_options=options)
    (image + 1).imd.write(f"{bucket}/a/b", storage_options=options, overwrite=True)
    replaced = open_image(f"{bucket}/a/b", storage_options=options)
    np.testing.assert_array_equal(replaced.values, image.values + 1)


def test_other_formats_and_archives_go_to_s3(folder: Path, s3: tuple[str, dict[str, Any]]) -> None:
    bucket, options = s3
    image = open_image(str(folder))
    for name in ("x.nii.gz", "x.mha", "x.zarr", "x.zip", "x.zip?more"):
        image.imd.write(f"{bucket}/{name}", storage_options=options)
        read = open_image(f"{bucket}/{name}", storage_options=options) if name != "x.zip?more" else image
        assert read.values.sum() == image.values.sum()
    assert open_image(f"{bucket}/x.zip?more", storage_options=options).sizes["slice"] == 6
    image.imd.write(f"{bucket}/x.nii.gz", storage_options=options, overwrite=True)
    fs = fsspec.filesystem("s3", **options)
    fs.invalidate_cache()
    names = sorted(p.partition("/")[2] for p in fs.ls(bucket, detail=False))
    assert names == ["x.json", "x.mha", "x.nii.gz", "x.zarr", "x.zip"]


def test_credentials_stay_out_of_errors_and_open_on_workers(folder: Path, s3: tuple[str, dict[str, Any]]) -> None:
    bucket, options = s3
    open_image(str(folder)).imd.write(f"{bucket}/a", storage_options=options)
    image = open_image(f"{bucket}/a", storage_options=options, chunks={"slice": 1})
    assert pickle.loads(pickle.dumps(image)).sum() == image.sum()
    values = image.data.compute(scheduler="processes", num_workers=2)
    np.testing.assert_array_equal(values, open_image(str(folder)).values)
    with pytest.raises(SourceError) as caught:
        open_image(f"{bucket}-none/a", storage_options=options)
    assert "secret" not in str(caught.value)
    assert f"{bucket}-none/a" in str(caught.value)


# --- writing that fails -----------------------------------------------------------------------------------------------


class Torn(MemoryFileSystem):  # type: ignore[misc]
    """A store that fails when it is told to, and, as those of ftp do, shows half a file under its name."""

    protocol = ("torn",)
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    fail_at: str = ""
    error: Exception = OSError(errno.ENOSPC, "No space left on device")
    keeps: bool = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        if self.fail_at and self.fail_at in path:
            super().pipe_file(path, value[: len(value) // 2])
            raise self.error
        super().pipe_file(path, value)

    def put_file(self, lpath: str, rpath: str, *args: Any, **kwargs: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def rm_file(self, path: str) -> None:
        if self.keeps:
            raise PermissionError(13, "Permission denied")
        super().rm_file(path)


@pytest.fixture
def torn(monkeypatch: pytest.MonkeyPatch) -> type[Torn]:
    fsspec.register_implementation("torn", Torn, clobber=True)
    Torn.clear_instance_cache()
    monkeypatch.setattr(Torn, "store", {})
    return Torn


def test_half_an_upload_is_never_seen(folder: Path, torn: type[Torn], monkeypatch: pytest.MonkeyPatch) -> None:
    image = open_image(str(folder))
    monkeypatch.setattr(torn, "fail_at", "IM_00004")
    with pytest.raises(SourceError, match=r"No space left on device.*nothing of it is left there"):
        image.imd.write("torn://out")
    assert not torn.store
    monkeypatch.setattr(torn, "fail_at", "x.nii")
    with pytest.raises(SourceError, match="No space left on device"):
        image.imd.write("torn://x.nii")
    assert not torn.store
    monkeypatch.setattr(torn, "fail_at", "zarr.json")
    with pytest.raises(SourceError, match="No space left on device"):
        image.imd.write("torn://x.zarr")
    assert not torn.store


def test_what_can_not_be_taken_back_is_named(folder: Path, torn: type[Torn], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torn, "fail_at", "IM_00004")
    monkeypatch.setattr(torn, "keeps", True)
    with pytest.raises(SourceError, match=r"of what was new there is now: .*part"):
        open_image(str(folder)).imd.write("torn://out")


def test_old_files_stay_until_the_new_ones_are_there(
    folder: Path, torn: type[Torn], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = open_image(str(folder))
    image.imd.write("torn://x.nii")
    before = {path: bytes(file.getvalue()) for path, file in torn.store.items()}
    monkeypatch.setattr(torn, "fail_at", "x.nii")
    with pytest.raises(SourceError, match="No space left"):
        (image + 1).imd.write("torn://x.nii", overwrite=True)
    assert {path: bytes(file.getvalue()) for path, file in torn.store.items()} == before
    monkeypatch.setattr(torn, "fail_at", "")
    (image + 1).imd.write("torn://x.nii", overwrite=True)
    assert sorted(path.rpartition("/")[2] for path in torn.store) == ["x.json", "x.nii"]
    assert open_image("torn://x.nii").values.sum() == (image + 1).values.sum()


def test_an_upload_is_tried_again(torn: type[Torn], monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    plain = torn.pipe_file

    def busy(self: Torn, path: str, value: bytes, **kwargs: Any) -> None:
        tries.append(path)
        if len(tries) < 3:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        plain(self, path, value)

    monkeypatch.setattr(torn, "pipe_file", busy)
    upload(fsspec.filesystem("torn"), {"/a": b"abc"})
    assert bytes(torn.store["/a"].getvalue()) == b"abc"
    assert len(tries) == 3


def test_uploads_go_side_by_side(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from fsspec.asyn import AsyncFileSystem

    running, most, lock = [0], [0], threading.Lock()

    class Slow(AsyncFileSystem):  # type: ignore[misc]
        protocol = "s3"
        content: dict[str, bytes] = {}  # noqa: RUF012

        async def _pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            await asyncio.sleep(0.05)
            self.content[path] = value
            running[0] -= 1

    fs = Slow()
    upload(fs, {f"/{k}": b"x" for k in range(20)})
    assert len(fs.content) == 20
    assert most[0] == 16


def test_a_whole_tree_of_addresses_in_one_list(folder: Path, web: Web) -> None:
    addresses: Any = [f"{web.url}{p.name}" for p in sorted(folder.iterdir())]
    tree = xr.open_datatree(addresses, engine="imagedata")
    assert len(tree.leaves) == 1

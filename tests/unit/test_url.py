"""What a user may type as a source."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from imagedata_xr.errors import LabelError, NotFoundError, SourceError
from imagedata_xr.stores.files import local, read_available
from imagedata_xr.stores.url import File, file_name, find, is_local, read_range, read_ranges, source_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files, some of them below, some hidden."""
    top = tmp_path / "data"
    for name in ("b.dcm", "a.dcm", "sub/c.dcm", "sub/.DS_Store", ".hidden/d.dcm", ".e", "sub/deep/f 1.dcm"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return top


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """An empty memory filesystem with three files."""
    fs = MemoryFileSystem()
    fs.store.clear()
    for name in ("/set/b", "/set/a", "/set/.hidden", "/set/sub/c"):
        fs.pipe_file(name, name.encode() * 10)
    yield fs
    fs.store.clear()


def names(files: list[File], top: Path | str) -> list[str]:
    return [os.path.relpath(file.path, top) for file in files]


def test_find_lists_a_folder_recursively_sorted_without_hidden_files(folder: Path) -> None:
    assert names(find(folder), folder) == ["a.dcm", "b.dcm", "sub/c.dcm", "sub/deep/f 1.dcm"]


def test_find_takes_str_path_and_file_url_alike(folder: Path) -> None:
    path = folder / "sub" / "deep" / "f 1.dcm"
    expected = [str(path)]
    for source in (path, str(path), f"file://{path}", path.as_uri()):
        assert [file.path for file in find(source)] == expected


def test_find_expands_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert [f.path for f in find("~/a.dcm")] == [str(folder / "a.dcm")]


def test_find_makes_relative_paths_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert [f.path for f in find("sub")] == [str(folder / "sub/c.dcm"), str(folder / "sub/deep/f 1.dcm")]


def test_find_takes_a_hidden_folder_that_is_named(folder: Path) -> None:
    assert names(find(folder / ".hidden"), folder) == [".hidden/d.dcm"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.dcm", ["a.dcm", "b.dcm"]),
        ("[b-z].dcm", ["b.dcm"]),
        ("**/*.dcm", ["a.dcm", "b.dcm", "sub/c.dcm", "sub/deep/f 1.dcm"]),
        ("s*", ["sub/c.dcm", "sub/deep/f 1.dcm"]),
    ],
)
def test_find_takes_globs(folder: Path, pattern: str, expected: list[str]) -> None:
    assert names(find(str(folder / pattern)), folder) == expected


def test_find_takes_a_name_with_brackets_literally_when_it_exists(tmp_path: Path) -> None:
    for name in ("scan[1].dcm", "scan1.dcm"):
        (tmp_path / name).touch()
    assert names(find(tmp_path / "scan[1].dcm"), tmp_path) == ["scan[1].dcm"]


def test_find_keeps_the_order_of_a_list_and_drops_duplicates(folder: Path) -> None:
    files = find([folder / "b.dcm", [folder], folder / "a.dcm"])
    assert names(files, folder) == ["b.dcm", "a.dcm", "sub/c.dcm", "sub/deep/f 1.dcm"]


def test_find_passes_files_through(folder: Path) -> None:
    files = find(folder)
    assert find(files) == files
    assert find(files[0]) == files[:1]


def test_find_takes_an_open_file(folder: Path) -> None:
    assert [f.path for f in find(fsspec.open(folder / "a.dcm"))] == [str(folder / "a.dcm")]


def test_find_refuses_an_open_file_with_compression(folder: Path) -> None:
    with pytest.raises(SourceError, match="compression 'gzip'"):
        find(fsspec.open(folder / "a.dcm", compression="gzip"))


def test_find_ends_on_linked_folders_that_form_a_loop(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "again").symlink_to(folder / "sub")
    found = [Path(f.path).resolve() for f in find(folder)]
    assert len(found) == len(set(found)) == 4


def test_find_keeps_a_link_that_leads_nowhere_so_that_its_reader_names_it(folder: Path) -> None:
    (folder / "lost.dcm").symlink_to(folder / "nothing")
    assert "lost.dcm" in names(find(folder), folder)


def test_find_skips_pipes(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "pipe" not in names(find(folder), folder)


@pytest.mark.parametrize("missing", ["nothing", "nothing/*.dcm", "*.nii"])
def test_find_names_what_is_missing(folder: Path, missing: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        find(folder / missing)
    assert str(folder / missing) in str(caught.value)


def test_find_says_that_a_folder_is_empty(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    with pytest.raises(NotFoundError, match="is empty"):
        find(tmp_path)


def test_find_refuses_an_empty_list_and_other_types() -> None:
    with pytest.raises(NotFoundError, match="list of sources is empty"):
        find([])
    with pytest.raises(LabelError, match="not int"):
        find(3)


def test_find_names_a_folder_that_refuses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"sub can't be listed: Permission denied"):
        find(folder)


def test_find_lists_a_remote_folder(memory: MemoryFileSystem) -> None:
    assert [f.path for f in find("memory://set")] == ["/set/a", "/set/b", "/set/sub/c"]


def test_find_takes_remote_files_and_globs(memory: MemoryFileSystem) -> None:
    assert [f.path for f in find("memory://set/b")] == ["/set/b"]
    assert [f.path for f in find("memory://set/*")] == ["/set/a", "/set/b", "/set/sub/c"]


def test_find_takes_a_chain(folder: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(folder / "a.dcm", "in/a.dcm")
    (file,) = find(f"zip://in/*.dcm::file://{tmp_path / 'a.zip'}")
    assert not is_local(file)
    assert read_range(file, 0, 5) == b"a.dcm"


@pytest.mark.parametrize("url", ["memory://nothing", "memory://set/*.dcm"])
def test_find_names_a_missing_url(memory: MemoryFileSystem, url: str) -> None:
    with pytest.raises(NotFoundError, match=url.replace("*", r"\*")):
        find(url)


def test_find_hides_the_credentials_of_an_unknown_url() -> None:
    with pytest.raises(SourceError) as caught:
        find("nosuch://me:secret@host/path?token=secret")
    assert "nosuch://host/path" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_local_files_share_one_filesystem(folder: Path) -> None:
    files = find([folder, folder / ".hidden"])
    assert len({id(f.fs) for f in files}) == 1
    assert isinstance(files[0].fs, LocalFileSystem)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s3://bucket/a/b.dcm", "s3://bucket/a/b.dcm"),
        ("https://me:pass@host:80/a?token=abc&x=1#part", "https://host:80/a"),
        ("zip://a*::https://me@host/b.zip?sig=1", "zip://a*::https://host/b.zip"),
        ("ftp://me:p@ss@host/a", "ftp://host/a"),
        (["s3://bucket/a/b.dcm", "s3://bucket/a/c.dcm"], "s3://bucket/a"),
        (["s3://bucket/ab/c", "s3://bucket/ac/c"], "s3://bucket"),
        (["s3://bucket/a", "gs://bucket/a"], ""),
        (["s3://one/a", "s3://two/a"], ""),
        (["/data/x/a", "/data/x/b"], "/data/x"),
        (["/data/xa", "/data/xb"], "/data"),
        ("/data/a/../b", "/data/b"),
        ("file:///data/b", "/data/b"),
    ],
)
def test_source_name(source: str | list[str], expected: str) -> None:
    assert source_name(source) == expected


def test_source_name_is_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert source_name("sub") == str(folder / "sub")
    assert source_name(fsspec.open(folder / "a.dcm")) == str(folder / "a.dcm")


def test_file_name_of_a_remote_file(memory: MemoryFileSystem) -> None:
    assert file_name(File(memory, "/set/a")) == "memory:///set/a"


def test_read_ranges_of_local_and_remote_files_in_order(folder: Path, memory: MemoryFileSystem) -> None:
    files = [*find("memory://set/a"), *find(folder / "a.dcm"), *find("memory://set/sub/c"), *find(folder / "b.dcm")]
    assert read_ranges(files, [0, 2, 5, 0], [4, 3, 2, 0]) == [b"/set", b"dcm", b"su", b""]


def test_read_ranges_asks_a_remote_store_in_batches(memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    plain = MemoryFileSystem.cat_ranges

    def count(self: MemoryFileSystem, paths: list[str], *args: object, **kwargs: object) -> object:
        batches.append(len(paths))
        return plain(self, paths, *args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", count)
    assert read_ranges([File(memory, "/set/a")] * 150, [0] * 150, [2] * 150) == [b"/s"] * 150
    assert batches == [64, 64, 22]


def test_read_range_refuses_to_give_fewer_bytes(folder: Path, memory: MemoryFileSystem) -> None:
    for file in (*find(folder / "a.dcm"), *find("memory://set/a")):
        with pytest.raises(SourceError, match=r"of 100 bytes are there from byte 2 on"):
            read_range(file, 2, 100)


def test_read_range_names_a_file_that_is_gone(folder: Path, memory: MemoryFileSystem) -> None:
    for file in (File(find(folder)[0].fs, str(folder / "gone")), File(memory, "/gone")):
        with pytest.raises(SourceError, match="gone can't be read"):
            read_range(file, 0, 1)


def test_addresses_of_a_slow_store_are_looked_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All must have asked before any is answered."""
    count, asked = 20, []

    class Slow(AsyncFileSystem):  # type: ignore[misc]
        protocol = "slow"

        async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]:
            asked.append(path)
            for _ in range(500):
                if len(asked) >= count:
                    return {"name": path, "type": "file", "size": 1}
                await asyncio.sleep(0.01)
            raise TimeoutError("the others were not asked for meanwhile")

        async def _exists(self, path: str, **kwargs: Any) -> bool:
            return True

    fsspec.register_implementation("slow", Slow, clobber=True)
    names = [f"slow://made/{k:02d}.dcm" for k in range(count)]
    found = find(names)
    assert [f.path for f in found] == [n.removeprefix("slow://") for n in names]
    assert len({id(f.fs) for f in found}) == 1


def test_no_more_is_asked_of_the_system_than_a_file_has(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcdef")
    assert read_available([File(local(), str(tmp_path / "a"))], [2], [1 << 60]) == [b"cdef"]
    assert read_available([File(local(), str(tmp_path / "a"))], [9], [1 << 60]) == [b""]

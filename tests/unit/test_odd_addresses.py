"""Addresses that are hard to tell apart: what exists is meant, and bad ones are answered with the forms there are."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from imagedata_xr.errors import NotFoundError, SourceError
from imagedata_xr.stores.url import find, source_name

FORMS = r"; an address is path/of/file, path/of/folder, .*zip://member::https://host"
NAMES = [
    "a b", "100%", "a%20b", "x#y", "who?", "ünï", "[x]", "*star", "a&b", "~tilde", "x.zip", "x.tar.gz", "a.zip?b",
    "x::y", "a=b?c=d", "new\nline", "trail ", "s3:",
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
@pytest.mark.parametrize("name", NAMES)
def test_what_exists_is_meant_however_it_is_called(name: str, here: Path) -> None:
    folder = here / name
    folder.mkdir()
    file = folder / "a.dcm"
    file.write_bytes(b"1")
    for source in (str(folder), f"{folder}/", folder, str(file), name, f"./{name}"):
        assert [f.path for f in find(source)] == [str(file)], source
    assert source_name(str(folder)) == source_name(f"{name}/") == str(folder)
    if "::" not in name:
        for address in (f"file://{folder}", f"file://{quote(str(folder))}", f"file://localhost{folder}"):
            assert [f.path for f in find(address)] == [str(file)], address
            assert source_name(address) == str(folder)
        assert [f.path for f in find(f"file:{folder}")] == [str(file)]


@pytest.mark.parametrize(
    "address",
    ["", "nosuch://x", "s3:/bucket/x", "http:/host/x", "dicom:/x", "zip://", "zip://x", "tar://x", "s3://"],
)
def test_bad_addresses_are_answered_with_the_forms_there_are(address: str, here: Path) -> None:
    (here / "other.dcm").write_bytes(b"1")
    with pytest.raises(SourceError, match=FORMS):
        find(address)


def test_options_that_a_store_does_not_know(here: Path, require_module: Any) -> None:
    require_module("s3fs")
    options = {"endpoint_url": "http://127.0.0.1:1", "profile": "none-of-this-name", "secret": "very-secret"}
    with pytest.raises(SourceError, match="the profile is not known") as found:
        find("s3://bucket/a", options)
    assert "very-secret" not in str(found.value)


@pytest.mark.parametrize("address", ["~nosuchuser/x", "C:\\data\\x", "\\\\server\\share\\x", "null\0byte", "\ud800"])
def test_paths_that_are_not_there(address: str, here: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        find(address)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_read(here: Path) -> None:
    (here / "shut").mkdir(mode=0)
    with pytest.raises(SourceError, match="Permission denied"):
        find(here)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(here: Path) -> None:
    os.mkfifo(here / "pipe.dcm")
    with pytest.raises(SourceError, match="no file, but a pipe"):
        find(here / "pipe.dcm")


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_links_in_circles(here: Path) -> None:
    (here / "in").mkdir()
    (here / "in" / "up").symlink_to(here)
    (here / "self").symlink_to(here / "self")
    (here / "a.dcm").write_bytes(b"1")
    assert [f.path for f in find(here)] == [str(here / "a.dcm"), str(here / "self")]

"""Many series at once: what they share is decoded once, and nothing grows with the square of their number."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
from series import open_image, series

from imagedata_xr.dicom.headers import lookup
from imagedata_xr.dicom.headers.header import Place
from imagedata_xr.dicom.headers.joined import JoinedHeaders
from imagedata_xr.dicom.headers.lookup import remember, remembered
from imagedata_xr.dicom.headers.of_files import FileHeaders
from imagedata_xr.dicom.scanning import elements
from imagedata_xr.dicom.sorting import attrs
from imagedata_xr.stores.url import File, local


def headers(*instances: int) -> FileHeaders:
    nowhere = Place(np.zeros(3), np.zeros(6), np.zeros(2), (1, 1), float("nan"))
    rows = {instance: row for row, instance in enumerate(instances)}
    files = [File(local(), f"{row}") for row in rows.values()]
    return FileHeaders(
        rows, lambda row: (files[row], 1), lambda _: np.zeros((1, 1)), lambda _: (1, 2), lambda _: nowhere, files
    )


def test_attrs_of_two_images_are_their_own(tmp_path: Path) -> None:
    folder = series(tmp_path)
    a, b = open_image(folder), open_image(folder)
    a.attrs["ImageType"].append("CHANGED")
    assert b.attrs["ImageType"] == open_image(folder).attrs["ImageType"] == ["ORIGINAL", "PRIMARY", "M"]


def test_equal_elements_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count: list[int] = []
    plain = elements.to_dataset

    def counted(*args: object) -> object:
        count.append(1)
        return plain(*args)  # type: ignore[arg-type]

    folder = series(tmp_path)
    first = open_image(folder)
    monkeypatch.setattr(attrs, "to_dataset", counted)
    assert open_image(folder).attrs == first.attrs
    assert not count


def test_text_depends_on_the_character_set(tmp_path: Path) -> None:
    for name, charset in (("a", "ISO_IR 100"), ("b", "ISO_IR 101")):
        series(tmp_path / name, vary=lambda v, k, c=charset: {"SpecificCharacterSet": c, "SeriesDescription": "\xc4"})  # type: ignore[misc]
    raw = (tmp_path / "a" / "0000.dcm").read_bytes()
    assert b"\xc4" in raw
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(raw.replace(b"ISO_IR 100", b"ISO_IR 144"))
        break
    said = {open_image(tmp_path / n / "0000.dcm").attrs["SeriesDescription"] for n in "ab"}
    assert said == {"\xc4", b"\xc4".decode("iso8859-5")}


def test_the_last_one_opened_answers_and_what_it_replaces_is_let_go() -> None:
    source = "made up"
    first, other, again = headers(1, 2), headers(3), headers(1, 2)
    for one in (first, other, again):
        remember(source, one)
    joined = remembered(source)
    assert isinstance(joined, JoinedHeaders)
    assert joined._of(1) is again
    assert joined._of(3) is other
    assert sorted(joined.instances()) == [1, 2, 3]
    gone = weakref.ref(first)
    del first, one
    gc.collect()
    assert gone() is None
    lookup._sources.pop(source)


def test_remembering_asks_each_series_for_its_images_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    plain = FileHeaders.instances

    def counted(self: FileHeaders) -> list[int]:
        asked.append(1)
        return plain(self)

    monkeypatch.setattr(FileHeaders, "instances", counted)
    for k in range(50):
        remember("many", headers(k))
    assert len(asked) <= 51
    lookup._sources.pop("many")

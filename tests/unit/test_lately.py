"""What a process holds of the scans that it made lately: the same images, found without reading a header again."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import xarray as xr
from phantoms import AXIAL, OBLIQUE, Series, make

from imagedata_xr.dicom.scanning import cache, cache_folder, lately
from imagedata_xr.dicom.scanning.scan import collect
from imagedata_xr.errors import ImagedataError, ImagedataWarning
from imagedata_xr.options import set_options


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("imagedata_xr.stores.states.RECENT", -10.0)  # what was made just now counts as made long ago
    lately.clear()
    with set_options(cache="on", cache_folder=tmp_path_factory.mktemp("kept"), cache_size=1 << 26):
        yield
    lately.clear()


@pytest.fixture
def headers_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many headers each scan from now on has read, and each entry on disk that was loaded as -1."""
    counts: list[int] = []
    load = cache_folder.load

    def count_files(files: Any) -> Any:
        counts.append(len(files))
        return collect(files)

    def count_entry(name: str) -> bytes | None:
        counts.append(-1)
        return load(name)

    monkeypatch.setattr(cache, "collect", count_files)
    monkeypatch.setattr(cache_folder, "load", count_entry)
    return counts


def echoes(folder: Path) -> Path:
    """Two series: one with two echoes in two orientations, one with a volume that lacks a slice."""
    volumes = [{"EchoTime": te, "EchoNumbers": n, "AcquisitionNumber": 1} for n, te in enumerate((4.0, 9.0), 1)]
    make(folder / "a", Series(shape=(2, 3, 4, 4), volumes=volumes, orientation=AXIAL))
    make(folder / "b", Series(shape=(2, 3, 4, 4), volumes=volumes, orientation=OBLIQUE))
    for k, file in enumerate(sorted((folder / "b").iterdir())):  # the same series, other images
        data = file.read_bytes().replace(b"1.2.826.0.1.3680043.8.498.50.", b"1.2.826.0.1.3680043.8.499.50.")
        (folder / "a" / f"b{k}.dcm").write_bytes(data)
    shutil.rmtree(folder / "b")
    make(folder / "c", Series(shape=(3, 4, 4, 4), number=6, uid="1.2.826.0.1.3680043.8.498.60"))
    (folder / "c" / "01_02.dcm").unlink()
    return folder


def told(source: Path, **options: Any) -> tuple[Any, list[str]]:
    """What opening gives, image or error, and its warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found: Any = xr.open_datatree(source, engine="imagedata", **options)
            found = {node.path: node.to_dataset().load() for node in found.leaves}
        except ImagedataError as error:
            found = f"{type(error).__name__}: {error}"
    return found, [str(one.message) for one in said if issubclass(one.category, ImagedataWarning)]


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, str):
        assert one == other
        return
    assert list(one) == list(other)
    for path, ds in one.items():
        xr.testing.assert_identical(ds, other[path])


CHOICES: dict[str, list[Any]] = {
    "order": ["auto", "none", "te", "time", {"size": "EchoTime"}, {"own": lambda ds: float(ds.EchoTime)}],
    "missing": ["raise", "drop", "fill"],
    "series": [None, 5, 6],
    "echo": [None, 1],
    "split": [None, "EchoTime", ["EchoTime", "AcquisitionNumber"]],
    "auto_order": [None, ["te"]],
    "mask_and_scale": [True, False],
    "errors": ["warn", "raise"],
    "format_options": [{}, {"where": {"SeriesNumber": 5}}],
}


def test_any_sequence_of_options_gives_what_a_fresh_scan_gives(tmp_path: Path) -> None:
    source = echoes(tmp_path)
    every = [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]
    for options in random.Random(7).sample(every, 60):
        held = told(source, **options)
        with set_options(cache="off"):
            fresh = told(source, **options)
        assert held[1] == fresh[1], options
        assert_equal(held[0], fresh[0])


def test_opening_again_reads_no_header_and_warns_again(tmp_path: Path, headers_read: list[int]) -> None:
    source = echoes(tmp_path)
    first = told(source, missing="fill")
    assert headers_read == [-1, 23]
    second = told(source, missing="fill")
    assert headers_read == [-1, 23]
    assert first[1] == second[1]
    assert len(first[1]) > 0
    assert_equal(first[0], second[0])
    told(source, series=5, order="te")
    assert headers_read == [-1, 23]


def test_labels_that_a_user_changes_in_place_are_his_own(tmp_path: Path) -> None:
    make(tmp_path, Series(shape=(3, 4, 4, 4)))
    first = phantoms.opened(tmp_path)
    with set_options(cache="off"):  # a deep copy would not do: xarray shares what it caches between copies
        fresh = phantoms.opened(tmp_path)
    for name, coord in first.coords.items():
        if name in first.indexes:
            coord.attrs["spoilt"] = True
        elif coord.dtype.kind in "fi" and coord.ndim:
            coord.values[...] = 0
            coord.attrs["spoilt"] = True
    first.attrs.clear()
    first.encoding.clear()
    xr.testing.assert_identical(phantoms.opened(tmp_path), fresh)


@pytest.mark.parametrize("change", ["rewritten", "touched", "added", "removed", "replaced"])
def test_what_has_changed_is_read_anew(change: str, tmp_path: Path, headers_read: list[int]) -> None:
    files = make(tmp_path, Series(shape=(1, 4, 4, 4)))
    before = phantoms.opened(tmp_path).load()
    other = Series(shape=(1, 4, 4, 4), elements={"EchoTime": 77.0})
    if change == "touched":
        os.utime(files[0], (1, 1))
    elif change == "removed":
        files[3].unlink()
    else:
        new = phantoms.instance(other, 0, 0)
        new.SOPInstanceUID += "9"
        place = {"rewritten": files[0], "added": tmp_path / "x.dcm", "replaced": files[0]}[change]
        if change == "replaced":
            new.save_as(tmp_path.parent / "aside.dcm", enforce_file_format=True)
            os.replace(tmp_path.parent / "aside.dcm", place)
        else:
            new.save_as(place, enforce_file_format=True)
    headers_read.clear()
    if change == "added":
        with pytest.raises(ImagedataError):
            phantoms.opened(tmp_path)
    else:
        after = phantoms.opened(tmp_path)
        assert after.sizes["slice"] == (3 if change == "removed" else 4)
        assert after.identical(before) == (change == "touched")
    assert headers_read[-1] > 1


def test_the_cache_is_switched_off_and_cleared(tmp_path: Path, headers_read: list[int]) -> None:
    make(tmp_path, Series(shape=(1, 4, 4, 4)))
    phantoms.opened(tmp_path)
    with set_options(cache="off"):
        phantoms.opened(tmp_path)
    assert headers_read == [-1, 4]
    assert lately._held
    cache_folder.clear()
    assert not lately._held
    phantoms.opened(tmp_path)
    assert headers_read == [-1, 4, -1, 4]


def test_what_was_used_longest_ago_goes_first(
    tmp_path: Path, headers_read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lately, "MOST_FILES", 10)
    for name in "abc":
        make(tmp_path / name, Series(shape=(1, 4, 4, 4)))
    make(tmp_path / "many", Series(shape=(1, 11, 4, 4)))
    for name in ("a", "b", "a", "c", "many"):  # c pushes b out
        phantoms.opened(tmp_path / name)
    headers_read.clear()
    phantoms.opened(tmp_path / "a")
    phantoms.opened(tmp_path / "c")
    assert headers_read == []
    phantoms.opened(tmp_path / "b")
    assert headers_read == [-1, 1]  # from disk, with the one header that stands for the patient
    phantoms.opened(tmp_path / "many")
    assert headers_read == [-1, 1, -1, 1]


def test_threads_that_open_together_get_the_same(tmp_path: Path) -> None:
    make(tmp_path, Series(shape=(3, 4, 4, 4)))
    found: list[xr.DataArray] = []
    threads = [threading.Thread(target=lambda: found.append(phantoms.opened(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for one in found[1:]:
        xr.testing.assert_identical(one, found[0])
        np.testing.assert_array_equal(one.values, found[0].values)


@pytest.mark.parametrize("name", ["phi_cl_fmri", "ge_dwi_r2", "sie_fmap_magph3", "can_enh_4000", "mix_xa30_gre"])
def test_real_series_open_again_as_they_are(name: str, case: Any) -> None:
    source = case(name)
    first, second = told(source), told(source)
    with set_options(cache="off"):
        fresh = told(source)
    for one in (first, second):
        assert one[1] == fresh[1]
        assert_equal(one[0], fresh[0])

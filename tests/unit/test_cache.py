"""The cache of scans: what is believed, what is noticed, and what is never on disk."""

from __future__ import annotations

import gzip
import os
import random
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fuzzing import spoilt
from made_dicom import element, encoded, instance, with_meta, write
from pydicom import uid
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset

import imagedata_xr
from imagedata_xr.cli import main
from imagedata_xr.dicom.scanning import cache, cache_folder, listed
from imagedata_xr.dicom.scanning.cache import kept_scan
from imagedata_xr.dicom.scanning.elements import LongValue
from imagedata_xr.dicom.scanning.scan import Scan, collect
from imagedata_xr.dicom.scanning.where import Where
from imagedata_xr.errors import LabelError, SourceError
from imagedata_xr.options import cache_folder as folder_of_cache
from imagedata_xr.options import options, set_options
from imagedata_xr.stores.states import state_of, store_name
from imagedata_xr.stores.url import File, find

OLD = time.time() - 1000


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("kept")
    with set_options(cache="on", cache_folder=folder, cache_size=1 << 26):
        yield folder / "scans"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of change of the inode can't be set back: what was made just now counts as made long ago."""
    monkeypatch.setattr("imagedata_xr.stores.states.RECENT", -10.0)


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk is looked at as by a process that has scanned nothing yet."""
    monkeypatch.setattr("imagedata_xr.dicom.scanning.lately.MOST_FILES", -1)


def assert_same(one: Scan, other: Scan) -> None:
    assert one.files == other.files
    assert one.syntax == other.syntax
    assert one.damaged == other.damaged
    for name in ("implicit", "pixel_tag", "pixel_offset", "pixel_length"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert list(one.columns) == list(other.columns)
    for key, cells in one.columns.items():
        assert cells == other.columns[key]
        places = [[c.offset for c in column if isinstance(c, LongValue)] for column in (cells, other.columns[key])]
        assert places[0] == places[1]


def quietly(files: list[File]) -> Scan:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kept_scan(files)


def collected(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the files of each scan that the cache asks for from now on."""
    counts: list[int] = []

    def count(files: Any) -> Any:
        counts.append(len(files))
        return collect(files)

    monkeypatch.setattr(cache, "collect", count)
    return counts


def series(folder: Path, count: int = 12, **changes: Any) -> list[File]:
    contents = []
    for k in range(count):
        ds = instance(k)
        for keyword, value in changes.items():
            setattr(ds, keyword, value(k) if callable(value) else value)
        contents.append(encoded(ds))
    write(folder, *contents)
    return find(folder)


def again(files: list[File], monkeypatch: pytest.MonkeyPatch) -> tuple[Scan, list[int]]:
    """Scan twice; the second scan and how many files it read."""
    first = quietly(files)
    assert_same(first, collect(files)[0])
    counts = collected(monkeypatch)
    second = quietly(files)
    assert_same(second, collect(files)[0])
    return second, counts


# --- the same as a fresh scan -----------------------------------------------------------------------------------------


def test_a_folder_of_one_patient_costs_one_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = series(tmp_path)
    found, counts = again(files, monkeypatch)
    assert counts == [1]
    assert found.strings("PatientName") == [("Åse^Ødegård",)] * 12


def test_each_patient_costs_one_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = series(tmp_path, 40, PatientID=lambda k: f"person {k % 3}", PatientName=lambda k: f"Name{k % 3}^First")
    found, counts = again(files, monkeypatch)
    assert counts == [3]
    told = zip(found.numbers("InstanceNumber").tolist(), found.strings("PatientID"), strict=True)
    assert all(who == (f"person {int(k) % 3}",) for k, who in told)


def test_every_kind_of_cell_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syntaxes = (
        uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian, uid.RLELossless,
    )  # fmt: skip
    contents = [encoded(instance(k), syntaxes[k % 4], preamble=k % 3 > 0) for k in range(20)]
    for k in range(20):  # long values that differ, one that lacks them, an unknown element
        private = element(0x00091001, b"OB", bytes([k]) * 9000) if k != 5 else b""
        contents.append(with_meta(private + element(0x00200013, b"IS", f"{k} ".encode().ljust(4)) + b""))
    contents += [gzip.compress(contents[0]), b"no DICOM", contents[1][:300], b""]
    write(tmp_path, *contents)
    (tmp_path / "text").write_text("a stranger")
    files = find(tmp_path)
    found, counts = again(files, monkeypatch)
    assert counts
    assert max(counts) < len(files) // 4
    assert found.damaged
    monkeypatch.setattr(cache, "scan", lambda *a: pytest.fail("scanned anew"))
    with pytest.raises(SourceError, match="can't be read"):
        kept_scan(files, errors="raise")


def test_shipped_files_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(get_testdata_files("MR_small.dcm")[0]).parent
    files = [f for f in find(folder) if f.path.endswith(".dcm")]
    for start in range(0, len(files), 6):  # few at a time: they are of many patients
        part = files[start : start + 4]
        again(part, monkeypatch)


@pytest.mark.parametrize("seed", range(6))
def test_spoilt_files_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rng = random.Random(seed)
    good = encoded(instance(), rng.choice([uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]))
    write(tmp_path, *[good if k % 2 else spoilt(good, 700, rng) for k in range(30)])
    again(find(tmp_path), monkeypatch)


# --- nothing stale ----------------------------------------------------------------------------------------------------


def test_changes_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = series(tmp_path)
    _, counts = again(files, monkeypatch)
    path = Path(files[7].path)
    content = path.read_bytes()
    changed = content.replace(b"1.2.3.7", b"1.2.9.7")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns

    def noticed(files: list[File]) -> None:
        counts.clear()
        assert_same(quietly(files), collect(files)[0])
        assert max(counts) == len(files)

    path.write_bytes(changed)  # the same size
    os.utime(path, ns=(times[0], times[1] + 10**9))
    noticed(files)
    other = tmp_path.parent / "other"
    other.write_bytes(content)
    os.utime(other, ns=(times[0], times[1] + 10**9))
    os.replace(other, path)  # the same size and time of change, another inode
    noticed(files)
    path.write_bytes(changed)
    os.utime(path, ns=(times[0], times[1] + 10**9))  # only the inode's own time of change tells
    noticed(files)
    path.unlink()
    noticed(find(tmp_path))
    path.write_bytes(content)
    (tmp_path / "new.dcm").write_bytes(encoded(instance(77)))
    noticed(find(tmp_path))
    (tmp_path / "new.dcm").unlink()
    noticed(find(tmp_path))


def test_a_file_that_is_gone_is_named_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = series(tmp_path)
    again(files, monkeypatch)
    Path(files[3].path).unlink()
    with pytest.warns(imagedata_xr.errors.ImagedataWarning, match="No such file"):
        assert len(kept_scan(files)) == 11


def test_a_file_changed_just_now_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = series(tmp_path)
    monkeypatch.setattr("imagedata_xr.stores.states.RECENT", 2.0)
    assert state_of(files) is None
    quietly(files)
    assert cache_folder.usage()[1] == 0
    monkeypatch.setattr("imagedata_xr.stores.states.time.time", lambda: time.time_ns() * 1e-9 + 3)
    assert state_of(files) is not None
    os.utime(files[2].path, (OLD, time.time() + 100))  # nor one of the future
    assert state_of(files) is None


def test_a_refused_file_is_no_lasting_truth(tmp_path: Path) -> None:
    files = series(tmp_path)
    gone = File(files[0].fs, str(tmp_path / "gone.dcm"))
    quietly([*files, gone])
    assert cache_folder.usage()[1] == 0


def test_another_version_of_the_scanner_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = series(tmp_path)
    _, counts = again(files, monkeypatch)
    counts.clear()
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    cache._version.cache_clear()
    quietly(files)
    assert counts == [12]
    cache._version.cache_clear()


# --- the folder -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["cut", "flipped", "foreign", "empty"])
def test_damaged_and_foreign_entries_are_replaced(
    tmp_path: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    files = series(tmp_path)
    _, counts = again(files, monkeypatch)
    (path,) = own_folder.iterdir()
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    path.write_bytes({"cut": good[:-7], "flipped": bytes(flipped), "foreign": b"PK\3\4" * 99, "empty": b""}[harm])
    counts.clear()
    assert_same(quietly(files), collect(files)[0])
    assert counts == [12]
    counts.clear()
    quietly(files)
    assert counts == [1]


def test_the_cache_is_bounded_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    folders = [series(tmp_path / str(k)) for k in range(4)]
    for k, files in enumerate(folders[:3]):
        quietly(files)
        for path in cache_folder._folder().iterdir():
            if path.stat().st_mtime > OLD + 500:
                os.utime(path, (OLD + k, OLD + k))
    quietly(folders[0])  # used again
    size = cache_folder.usage()[2] // 3
    with set_options(cache_size=3 * size + size // 2):
        quietly(folders[3])
    assert cache_folder.usage()[1] == 3
    names = [cache._entry_name(files) for files in folders]
    assert [cache_folder.load(name) is not None for name in names if name] == [True, False, True, True]


def test_only_the_owner_may_read_it(tmp_path: Path, own_folder: Path) -> None:
    quietly(series(tmp_path))
    assert stat.S_IMODE(own_folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(p.stat().st_mode) for p in own_folder.iterdir()] == [0o600]


def test_a_folder_that_others_write_to_is_not_used(tmp_path: Path, own_folder: Path) -> None:
    own_folder.mkdir(parents=True)
    own_folder.chmod(0o777)
    files = series(tmp_path)
    assert_same(quietly(files), quietly(files))
    assert list(own_folder.iterdir()) == []


def test_a_folder_that_can_not_be_written_is_no_trouble(tmp_path: Path) -> None:
    files = series(tmp_path / "in")
    (tmp_path / "file").write_text("")
    with set_options(cache_folder=tmp_path / "file"):
        assert_same(quietly(files), collect(files)[0])


def test_processes_share_it(tmp_path: Path, own_folder: Path) -> None:
    series(tmp_path, 40)
    code = (
        "import sys, imagedata_xr.stores.states as s; s.RECENT = -10\n"
        "from imagedata_xr.options import set_options\n"
        "from imagedata_xr.dicom.scanning.cache import kept_scan; from imagedata_xr.stores.url import find\n"
        f"set_options(cache='on', cache_folder={str(own_folder.parent)!r})\n"
        f"for _ in range(30): assert len(kept_scan(find({str(tmp_path)!r}))) == 40"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [one.wait() for one in running] == [0, 0]
    assert [p.suffix for p in own_folder.iterdir()] == [".scan"]


# --- what is on disk --------------------------------------------------------------------------------------------------


def test_nothing_of_the_patient_is_on_disk(tmp_path: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, reader = Dataset(), Dataset()
    other.PatientID = "QX-4711"
    reader.PersonName, reader.InstitutionName = "Zebra^Reader", "Hidden clinic"
    files = series(
        tmp_path / "Zebra^Anna",
        PatientName="Zebra^Anna",
        PatientID="ID-QZ-815",
        PatientBirthDate="19610703",
        PatientAddress="Elm Street 7",
        PatientComments="likes jazz",
        OtherPatientIDsSequence=[other],
        OperatorsName="Tango^Olga",
        StudyDescription="knee of zebra",
        ProtocolName=lambda k: "left" if k % 2 else "qx-4711 again",
        ImageComments="born 19610703",
        PersonIdentificationCodeSequence=[reader],
        SeriesDescription="T1 left",
    )
    found, counts = again(files, monkeypatch)
    assert counts == [2]
    assert found.strings("StudyDescription") == [("knee of zebra",)] * 12
    (path,) = own_folder.iterdir()
    content = path.read_bytes().lower() + path.name.encode()
    words = ("zebra", "anna", "qz-815", "1961", "elm", "jazz", "4711", "tango", "olga", "clinic", str(tmp_path))
    assert [word for word in words if word.lower().encode() in content] == []
    assert b"t1 left" in content


# --- other stores -----------------------------------------------------------------------------------------------------


class Remote(LocalFileSystem):  # type: ignore[misc]
    """A store that tells size and a tag of the content, counts its listings, and has a password."""

    protocol = "counted"
    listings = 0
    fetched = 0

    def find(self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **kw: Any) -> Any:
        Remote.listings += 1
        found = super().find(path, detail=True)
        kept = {p: {"name": p, "size": i["size"], "ETag": self.tag(p), "type": "file"} for p, i in found.items()}
        return kept if detail else list(kept)

    @staticmethod
    def tag(path: str) -> str:
        return f"{hash(Path(path).read_bytes())}"

    def cat_ranges(self, paths: list[str], *args: Any, **kw: Any) -> Any:
        Remote.fetched += len(paths)
        return AbstractFileSystem.cat_ranges(self, paths, *args, **kw)


def test_other_stores_cost_one_listing_and_one_header(
    tmp_path: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagedata_xr.dicom.scanning.collect.is_local", lambda file: False, raising=False)
    for module in ("dicom.scanning.scan", "dicom.scanning.cache", "stores.states", "stores.files"):
        monkeypatch.setattr(f"imagedata_xr.{module}.is_local", lambda file: False)
    monkeypatch.setattr("imagedata_xr.stores.states.LocalFileSystem", type("None", (), {}))
    fs = Remote(host="server", username="me", password="open sesame", skip_instance_cache=True)
    paths = [f.path for f in series(tmp_path)]
    files = [File(fs, p) for p in paths]
    with set_options(cache="auto"):
        first = quietly(files)
        Remote.listings = Remote.fetched = 0
        second = quietly(files)
        assert (Remote.listings, Remote.fetched) == (1, 1)
        assert_same(first, second)
        assert_same(second, collect(files)[0])
        Path(paths[2]).write_bytes(encoded(instance(55)))
        assert quietly(files).strings("SOPInstanceUID")[2] == ("1.2.3.55",)
    content = b"".join(p.read_bytes() for p in own_folder.iterdir())
    assert b"sesame" not in content
    other = Remote(host="server", username="you", password="open sesame", skip_instance_cache=True)
    assert store_name(fs) != store_name(other)
    assert store_name(fs) == store_name(Remote(host="server", username="me", password="x", skip_instance_cache=True))
    assert "sesame" not in str(store_name(fs))
    assert store_name(Remote(host="server", unheard_of=1, skip_instance_cache=True)) is None


# --- options and command ----------------------------------------------------------------------------------------------


def test_options(tmp_path: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = series(tmp_path)
    for mode in ("off", "auto"):  # few local files are scanned as fast as an entry is found
        with set_options(cache=mode):
            quietly(files)
            assert not own_folder.exists()
    with set_options(cache_size=0):
        quietly(files)
    assert not own_folder.exists()
    with set_options(cache_folder=None):
        monkeypatch.setenv("IMAGEDATA_XR_CACHE", str(tmp_path / "named"))
        assert folder_of_cache() == tmp_path / "named"
        monkeypatch.delenv("IMAGEDATA_XR_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        if sys.platform == "linux":
            assert folder_of_cache() == tmp_path / "xdg" / "imagedata_xr"
    before = options()
    for wrong in ({"cache": True}, {"cache_size": -1}, {"cache_folder": 3}, {"cash": "on"}):
        with pytest.raises(LabelError):
            set_options(**wrong)
    assert options() == before


def test_the_engine_and_the_command_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = series(tmp_path)
    quietly(files)
    counts = collected(monkeypatch)
    assert len(listed.scan_listed(files, Where(), "raise")) == 12
    assert counts == [1]
    told = CliRunner().invoke(main, ["cache", "info"]).output
    assert "entries  1, " in told
    assert "1 entries removed" in CliRunner().invoke(main, ["cache", "clear"]).output
    assert '"entries": 0' in CliRunner().invoke(main, ["cache", "info", "--json"]).output

"""A scan of many files, which recognises what earlier ones had, gives each file what it gives when scanned alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from made_dicom import encoded, instance, undefined_lengths, write
from pydicom import uid
from pydicom.dataset import Dataset

from imagedata_xr.dicom.scanning.scan import LongValue, Scan, scan
from imagedata_xr.dicom.scanning.vr import Key, Raw
from imagedata_xr.stores.url import find


def value(got: Scan, k: int, key: Key) -> Raw | None:
    cell = got.column(key)[k]
    return got.value(k, key) if isinstance(cell, LongValue) else cell


def assert_as_alone(paths: list[Path]) -> Scan:
    files = find([str(path) for path in paths])
    together = scan(files, errors="raise")
    assert len(together) == len(paths)
    for k, file in enumerate(files):
        alone = scan([file], errors="raise")
        for key in {*together.columns, *alone.columns}:
            assert value(together, k, key) == value(alone, 0, key), (k, key)
        for name in ("pixel_tag", "pixel_offset", "pixel_length", "implicit"):
            assert getattr(together, name)[k] == getattr(alone, name)[0], (k, name)
        assert together.syntax[k] == alone.syntax[0]
    return together


def rename(ds: Dataset, rng: random.Random) -> None:
    ds.PatientComments = "x" * rng.randrange(40)


def move(ds: Dataset, rng: random.Random) -> None:
    ds.ImagePositionPatient = [rng.randrange(-100, 100) for _ in range(3)]


def leave_out(ds: Dataset, rng: random.Random) -> None:
    tags = [tag for tag in ds.keys() if tag.group not in (0x28, 0x7FE0) and not tag.is_private_creator]  # noqa: SIM118
    del ds[rng.choice(tags)]


def make_mosaic(ds: Dataset, rng: random.Random) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", rng.choice(["M", "MOSAIC"])]


def change_sign(ds: Dataset, rng: random.Random) -> None:
    ds.PixelRepresentation = rng.randrange(2)
    ds.add_new("SmallestImagePixelValue", ("US", "SS")[ds.PixelRepresentation], 7)


def other_creator(ds: Dataset, rng: random.Random) -> None:
    """The same private tags mean something else under another creator."""
    for block, creator in enumerate(rng.sample(["SIEMENS MR HEADER", "GEMS_ACQU_01", "SOMEBODY"], 2), 0x20):
        ds.add_new(0x00190000 | block, "LO", creator)
        ds.add_new(0x00190000 | block << 8 | 0x0C, "IS", str(rng.randrange(3)))
        ds.add_new(0x00190000 | block << 8 | 0xBB, "DS", str(rng.randrange(3)))


def long_value(ds: Dataset, rng: random.Random) -> None:
    ds.add_new(0x00282000, "OB", bytes([rng.randrange(2)]) * rng.choice([10, 5000]))  # ICC profile


def nested(ds: Dataset, rng: random.Random) -> None:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = str(rng.randrange(1000)).zfill(4), "m" * rng.choice([4, 4, 4, 6])
    ds.ProcedureCodeSequence = [item] * rng.choice([1, 2, 2])


CHANGES: list[Callable[[Dataset, random.Random], None]] = [
    rename, move, leave_out, make_mosaic, change_sign, other_creator, long_value, nested,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("syntaxes", [(uid.ExplicitVRLittleEndian,), (uid.ImplicitVRLittleEndian,), None])
def test_files_that_differ_here_and_there(tmp_path: Path, seed: int, syntaxes: tuple[str, ...] | None) -> None:
    rng = random.Random(seed)
    some = syntaxes or (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian)
    contents = []
    for k in range(14):
        ds = copy.deepcopy(instance())
        ds.SOPInstanceUID = f"1.2.3.{k}"
        for change in rng.sample(CHANGES, rng.randrange(4)):
            change(ds, rng)
        contents.append(encoded(undefined_lengths(ds) if rng.random() < 0.5 else ds, rng.choice(some)))
    assert_as_alone(write(tmp_path, *contents))


def test_a_second_series_after_a_long_one(tmp_path: Path) -> None:
    contents = []
    for k in range(30):
        ds = instance()
        ds.InstanceNumber, ds.SOPInstanceUID = k, f"1.2.3.{k}"
        if k >= 15:  # nearly every element differs from the first series'
            for keyword in ("StationName", "ProtocolName", "BodyPartExamined", "StudyDescription", "PatientID"):
                setattr(ds, keyword, "OTHER")
            other_creator(ds, random.Random(1))
        contents.append(encoded(ds, uid.ExplicitVRLittleEndian))
    assert_as_alone(write(tmp_path, *contents))


def test_one_creator_with_two_blocks_is_left_to_pydicom(tmp_path: Path) -> None:
    contents = []
    for k in range(4):
        ds = instance()
        for block in (0x30, 0x31):
            ds.add_new(0x00190000 | block, "LO", "SIEMENS MR HEADER")
            ds.add_new(0x00190000 | block << 8 | 0x0C, "IS", str(block + k % 2))
        contents.append(encoded(ds, uid.ExplicitVRLittleEndian))
    got = assert_as_alone(write(tmp_path, *contents))
    last = [pydicom.dcmread(file.path)[0x0019310C].value for file in got.files]
    assert got.numbers(("SIEMENS MR HEADER", 0x19, 0x0C)).tolist() == last


def test_a_buffer_that_ends_inside_a_run(tmp_path: Path) -> None:
    contents = []
    for size in (10, 30_000, 10, 60_000, 60_000, 90_000):  # more than the first read
        ds = instance()
        ds.add_new(0x00282000, "OB", b"\1" * size)
        ds.PatientComments = "c" * 100
        contents.append(encoded(ds, uid.ExplicitVRLittleEndian))
    assert_as_alone(write(tmp_path, *contents))


def test_values_of_a_layout_that_was_met_before_are_read(tmp_path: Path) -> None:
    contents = []
    for k in range(5):
        ds = instance()
        nested(ds, random.Random(k))
        contents.append(encoded(undefined_lengths(ds), uid.ExplicitVRLittleEndian))
    paths = write(tmp_path, *contents)
    got = assert_as_alone(paths)
    theirs = [pydicom.dcmread(path).ProcedureCodeSequence[0].CodeValue for path in paths]
    assert [got.dataset(k).ProcedureCodeSequence[0].CodeValue for k in range(5)] == theirs

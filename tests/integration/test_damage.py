"""Files of a series that are damaged or replaced are always said: no slice or volume goes missing in silence."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mosaics
import multiframe
import phantoms
import pytest
import xarray as xr
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, RLELossless

from imagedata_xr.errors import ImagedataError

VOLUMES, SLICES = 3, 4
CINE = UID("1.2.840.10008.5.1.4.1.1.3.1")


# --- series -----------------------------------------------------------------------------------------------------------


def volume(folder: Path) -> list[Path]:
    return phantoms.make(folder, phantoms.mr(shape=(1, SLICES, 6, 8)))


def dynamic(folder: Path) -> list[Path]:
    return phantoms.make(folder, phantoms.mr(shape=(VOLUMES, SLICES, 6, 8)))


def weighted(folder: Path) -> list[Path]:
    volumes = phantoms.diffusion([0, 1000, 1000], [(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    return phantoms.make(folder, phantoms.mr(shape=(VOLUMES, SLICES, 6, 8), volumes=volumes))


def compressed(folder: Path) -> list[Path]:
    paths = dynamic(folder)
    for path in paths:
        ds = dcmread(path)
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.save_as(path)
    return paths


def mosaic(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = []
    for v in range(VOLUMES):
        ds = mosaics.mosaic(mosaics.Volume(), n=7)
        ds.SOPInstanceUID = UID(f"1.2.826.0.1.3680043.8.498.77.{v}")
        ds.InstanceNumber, ds.AcquisitionNumber = v + 1, v + 1
        ds.AcquisitionDate, ds.AcquisitionTime = "20240305", f"1000{10 + v}"
        paths.append(folder / f"{v}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def multi_frame(folder: Path, rle: bool = False) -> list[Path]:
    def one(v: int) -> Dataset:
        frames = [multiframe.Frame(k, v, groups=multiframe.when(2.0 * v)) for k in range(SLICES)]
        return multiframe.instance(frames, v + 1)

    return [multiframe.save(one(v), folder / f"{v}.dcm", rle) for v in range(VOLUMES)]


def encapsulated(folder: Path) -> list[Path]:
    return multi_frame(folder, rle=True)


def cine(folder: Path) -> list[Path]:
    paths = multi_frame(folder)
    for path in paths:
        ds = dcmread(path)
        for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            delattr(ds, keyword)
        ds.SOPClassUID, ds.FrameTime = CINE, "40"
        ds.save_as(path)
    return paths


SERIES = (volume, dynamic, weighted, compressed, mosaic, multi_frame, encapsulated, cine)


# --- damage -----------------------------------------------------------------------------------------------------------


def _content(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def _elements(change: Callable[[Dataset], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        ds = dcmread(path)
        change(ds)
        ds.save_as(path)

    return damage


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _to_broken_link(path: Path) -> None:
    path.unlink()
    os.symlink(path.parent / "nowhere", path)


def _before_pixels(content: bytes) -> bytes:
    """Up to the end of the last element before the pixel data: it looks like a whole file."""
    return content[: content.rindex(b"\xe0\x7f\x10\x00")]


DAMAGE: dict[str, Callable[[Path], None]] = {
    "preamble": _content(lambda b: b[:100]),
    "file meta": _content(lambda b: b[:140]),
    "header": _content(lambda b: b[:401]),
    "between elements": _content(_before_pixels),
    "pixels": _content(lambda b: b[:-20]),
    "empty": _content(lambda b: b""),
    "zeros": _content(lambda b: bytes(len(b))),
    "text": _content(lambda b: b"an image was here\n" * 20),
    "web page": _content(lambda b: b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"),
    "folder": _to_folder,
    "broken link": _to_broken_link,
    "no pixel data": _elements(lambda ds: ds.__delattr__("PixelData")),
    "no rows": _elements(lambda ds: ds.__delattr__("Rows")),
}
NAMELESS = ("preamble", "file meta", "empty", "zeros", "text", "web page")
"""Damage after which nothing but its name, and that of its neighbours, tells that a file was DICOM."""
CASES = [(damage, "x.dcm") for damage in DAMAGE] + [(damage, "IM1") for damage in NAMELESS]


def places(paths: Sequence[Path]) -> dict[str, Sequence[Path]]:
    """Which files are damaged."""
    several = len(paths) == VOLUMES * SLICES
    found = {"first": paths[:1], "middle": paths[len(paths) // 2 :][:1], "last": paths[-1:]}
    return found | ({"first volume": paths[:SLICES], "last volume": paths[-SLICES:]} if several else {})


def opened(folder: Path, **options: Any) -> tuple[xr.DataArray | None, str]:
    """The image, if there is one, and all that was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image, error = xr.open_dataarray(folder, engine="imagedata", **options), ""
        except ImagedataError as refusal:
            image, error = None, str(refusal)
    return image, "\n".join([*(str(w.message) for w in caught), error])


@pytest.mark.parametrize(("damage", "names"), CASES)
@pytest.mark.parametrize("make", SERIES, ids=lambda make: make.__name__)
def test_damaged_files_are_named(make: Callable[[Path], list[Path]], damage: str, names: str, tmp_path: Path) -> None:
    """By the warning, and by the error with ``errors="raise"``; wherever in the series they are."""
    whole = make(tmp_path / "whole")
    if names == "IM1":
        whole = [path.rename(path.with_name(f"IM{k:03d}")) for k, path in enumerate(whole)]
    for place, hit in places(whole).items():
        folder = tmp_path / place
        shutil.copytree(tmp_path / "whole", folder)
        for path in hit:
            DAMAGE[damage](folder / path.name)
        holes: list[dict[str, str]] = [{"missing": "drop"}, {"missing": "fill"}]
        for options in [{}, *(holes if len(whole) > VOLUMES and place == "last" else [])]:
            _, said = opened(folder, **options)
            assert all(path.name in said for path in hit[:1]), (place, options, said)
        image, said = opened(folder, errors="raise")
        assert image is None, (place, said)
        assert hit[0].name in said, (place, said)


@pytest.mark.parametrize("make", SERIES, ids=lambda make: make.__name__)
def test_a_copy_is_said_and_changes_nothing(make: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    paths = make(tmp_path / "whole")
    want, before = opened(tmp_path / "whole")
    shutil.copy(paths[-1], tmp_path / "whole" / "zz.dcm")
    got, said = opened(tmp_path / "whole")
    assert "1 files are copies of others" in said
    if want is None:
        assert before.splitlines()[-1] == said.splitlines()[-1]
    else:
        xr.testing.assert_identical(got, want)


def test_notes_beside_images_are_no_damage(tmp_path: Path) -> None:
    paths = volume(tmp_path / "s")
    for k, path in enumerate(paths):
        path.rename(path.with_name(f"IM{k:03d}"))
    for name in ("README", "notes1.txt", "LICENSE", "a.json"):
        (tmp_path / "s" / name).write_text("about the images")
    image, said = opened(tmp_path / "s", errors="raise")
    assert image is not None
    assert said == ""

"""Packing by gzip: by zlib, or by ISA-L where its package is there; zlib reads both."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from series import open_image, series

from imagedata_xr.errors import FormatError


@pytest.fixture
def image(tmp_path: Path) -> xr.DataArray:
    return open_image(str(series(tmp_path / "in", 3, 4)))


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz"])
def test_zlib_reads_what_is_packed(
    name: str, quick: bool, image: xr.DataArray, tmp_path: Path, require_module: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    used: list[int] = []
    if quick:
        real = require_module("isal.igzip").IGzipFile

        def counted(name: str, mode: str, level: int, *more: Any, **others: Any) -> Any:
            used.append(level)
            return real(name, mode, level, *more, **others)

        monkeypatch.setattr("isal.igzip.IGzipFile", counted)
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    for folder in ("one", "two"):
        image.imd.write(tmp_path / folder / name)
    packed = (tmp_path / "one" / name).read_bytes()
    assert packed == (tmp_path / "two" / name).read_bytes()
    assert used == [2, 2] * quick
    image.imd.write(tmp_path / "a.nii")
    plain = nib.Nifti1Image.from_filename(tmp_path / "a.nii").get_fdata()
    kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Image
    assert np.array_equal(np.ptp(kind.from_filename(tmp_path / "one" / name).get_fdata()), np.ptp(plain))
    if kind is nib.Nifti1Image:
        assert gzip.decompress(packed) == (tmp_path / "a.nii").read_bytes()


@pytest.mark.parametrize("level", [0, 10, True, "9", 1.5])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz"])
def test_there_is_no_such_level(name: str, level: Any, image: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="from 1 to 9"):
        image.imd.write(tmp_path / name, format_options={"compresslevel": level})
    assert not (tmp_path / name).exists()


def test_other_levels_are_those_of_zlib(image: xr.DataArray, tmp_path: Path) -> None:
    image.imd.write(tmp_path / "a.nii.gz", format_options={"compresslevel": 9})
    image.imd.write(tmp_path / "a2.nii")
    packed = gzip.compress((tmp_path / "a2.nii").read_bytes(), 9, mtime=0)
    assert len((tmp_path / "a.nii.gz").read_bytes()) == len(packed)

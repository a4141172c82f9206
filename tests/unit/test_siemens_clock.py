"""Siemens enhanced instances (XA) whose dates and times were scrambled by anonymization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from multiframe import Frame, instance, save, when
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from imagedata_xr.errors import ImagedataWarning

SDI = "SIEMENS MR SDI 02"
SLICE, VOLUME = 0.25, 2.5


@pytest.mark.parametrize("stamp", ["20240101000000.000000", ""])
def test_the_time_after_start_tells_volumes_apart(tmp_path: Path, stamp: str) -> None:
    for v in (2, 0, 1):
        ds = instance([Frame(k, v) for k in (0, 1, 2)], number=3 - v, Manufacturer="Siemens Healthineers")
        for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
            if stamp:
                content = Dataset()
                content.FrameAcquisitionDateTime = stamp
                group.FrameContentSequence = Items([content])
            inner = Dataset()
            inner.private_block(0x21, SDI, create=True).add_new(0x04, "DS", f"{VOLUME * v + SLICE * k:g}")
            group.private_block(0x21, SDI, create=True).add_new(0xFE, "SQ", Items([inner]))
        save(ds, tmp_path / f"{v}.dcm")
    a = xr.open_dataarray(tmp_path, engine="imagedata")
    assert a.tag.attrs["order"] == "time"
    np.testing.assert_allclose(a.tag, [0, VOLUME, 2 * VOLUME])
    assert (np.diff(a.values[:, 0, 0, 0]) == 200).all()  # in the sequence in which they were measured
    np.testing.assert_allclose(a.slice_time, [[0, SLICE, 2 * SLICE]] * 3)


def multiband(folder: Path, tables: list[list[float]], tr: float = 500.0, stamp: str = "") -> Path:
    """A time course without per-frame dates; `tables` are (0021,1104) of each volume's slices, s."""
    for v, seconds in enumerate(tables):
        ds = instance([Frame(k, v) for k in range(len(seconds))], number=v + 1, Manufacturer="SIEMENS")
        ds.EchoPlanarPulseSequence, ds.RepetitionTime = "YES", tr
        if stamp:
            ds.AcquisitionDateTime = f"2018102208363{4 + v * tr * 1e-3:.6f}"
        for group, t in zip(ds.PerFrameFunctionalGroupsSequence, seconds, strict=True):
            inner = Dataset()
            inner.private_block(0x21, SDI, create=True).add_new(0x04, "DS", f"{t:g}")
            group.private_block(0x21, SDI, create=True).add_new(0xFE, "SQ", Items([inner]))
        save(ds, folder / f"{v}.dcm")
    return folder


SINGLE_BAND = [0.195, 0.0, 0.2625, 0.065]
"""As a real XA10 series says of its first volume, while the dates of its slices say what follows."""
DELAY = [0.16, 0.0, 0.16, 0.0]


@pytest.mark.parametrize("stamp", ["", "AcquisitionDateTime"])
def test_a_first_volume_with_times_of_single_band_follows_from_the_others(tmp_path: Path, stamp: str) -> None:
    later = [[4.42 + 0.5 * v + d for d in DELAY] for v in range(3)]
    a = xr.open_dataarray(multiband(tmp_path, [SINGLE_BAND, *later], stamp=stamp), engine="imagedata")
    assert a.tag.attrs["order"] == "time"
    np.testing.assert_allclose(a.tag, [0, 0.5, 1, 1.5], atol=1e-6)
    np.testing.assert_allclose(a.slice_time, [DELAY] * 4, atol=1e-6)


@pytest.mark.parametrize(
    "tables",
    [
        [SINGLE_BAND, [4.42 + d for d in DELAY]],  # which of two is right?
        [SINGLE_BAND, [4.42 + d for d in DELAY], [5.52 + d for d in DELAY]],  # no repetition time apart
        [[0.6 * v + d for d in (0.0, 0.3, 0.6, 0.9)] for v in range(3)],  # volumes that overlap
    ],
)
def test_times_that_contradict_each_other_are_no_clock(tmp_path: Path, tables: list[list[float]]) -> None:
    with pytest.warns(ImagedataWarning, match="lie at the same places"):
        a = xr.open_dataarray(multiband(tmp_path, tables), engine="imagedata")
    assert a.tag.attrs["order"] == "none"
    assert not {"time", "slice_time"} & set(a.coords)


def test_instances_that_lost_the_times_of_their_slices_keep_the_delays_of_the_timer(tmp_path: Path) -> None:
    folder = multiband(tmp_path, [[2.0 * v + 0.25 * k for k in range(4)] for v in range(3)], tr=2000.0, stamp="yes")
    whole = xr.open_dataarray(folder, engine="imagedata").slice_time.values
    np.testing.assert_allclose(whole, [[0, 0.25, 0.5, 0.75]] * 3)
    ds = dcmread(folder / "1.dcm")
    for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):  # one instance alone says all of its slices' times
        content = Dataset()
        content.FrameAcquisitionDateTime = f"2018102208363{6 + 0.25 * k:.6f}"
        group.FrameContentSequence = Items([content])
    ds.save_as(folder / "1.dcm")
    np.testing.assert_allclose(xr.open_dataarray(folder, engine="imagedata").slice_time, whole)


def test_frames_that_lost_their_time_beside_others_are_not_timed_by_their_instance(tmp_path: Path) -> None:
    frames = [Frame(k, v, groups=when(10 + 2.0 * v + 0.25 * k)) for v in range(3) for k in range(4)]
    ds = instance(frames, AcquisitionDateTime="20240102101500.000000")
    whole = xr.open_dataarray(save(ds, tmp_path / "whole.dcm"), engine="imagedata")
    np.testing.assert_allclose(whole.slice_time, [[0, 0.25, 0.5, 0.75]] * 3)
    for group in ds.PerFrameFunctionalGroupsSequence[1::2]:
        del group.FrameContentSequence
    with pytest.warns(ImagedataWarning, match="no label that is known here"):
        part = xr.open_dataarray(save(ds, tmp_path / "part.dcm"), engine="imagedata")
    assert not {"time", "slice_time"} & set(part.coords)

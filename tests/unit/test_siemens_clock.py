"""Siemens enhanced instances (XA) whose dates and times were scrambled by anonymization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from multiframe import Frame, instance, save
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

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

"""Frames of an enhanced instance may be stored in any order; their dimensions tell the sequence of volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import multiframe as mf
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from series import open_image

from imagedata_xr.errors import ImagedataWarning

SLICES, B = 3, (0.0, 0.0, 1000.0, 1000.0)
"""Volumes: two without weighting, which nothing but their dimension tells apart, and two of one direction."""


def dimension(pointer: int) -> Dataset:
    out = Dataset()
    out.DimensionIndexPointer, out.FunctionalGroupPointer = pointer, 0x00209111
    return out


def frame(v: int, k: int, dimensions: bool) -> mf.Frame:
    content: dict[str, Any] = {"TemporalPositionIndex": v + 1, "StackID": "1", "InStackPositionNumber": k + 1}
    content |= {"DimensionIndexValues": [v + 1, k + 1]} if dimensions else {}
    return mf.Frame(
        k, v, groups={**mf.diffusion(B[v], [1.0, 0.0, 0.0] if B[v] else None), "FrameContentSequence": content}
    )


@pytest.mark.parametrize("number", [1, None])
@pytest.mark.parametrize("dimensions", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
def test_the_order_in_which_frames_are_stored_means_nothing(
    tmp_path: Path, shuffled: bool, dimensions: bool, number: int | None
) -> None:
    frames = [frame(v, k, dimensions) for v in range(len(B)) for k in range(SLICES)]
    if shuffled:
        frames = [frames[n] for n in np.random.default_rng(1).permutation(len(frames))]
    ds = mf.instance(frames)
    ds.InstanceNumber = number
    if dimensions:
        ds.DimensionIndexSequence = Items([dimension(0x00209128), dimension(0x00209057)])
    a = open_image(mf.save(ds, tmp_path / "a.dcm"))
    assert a.b_value.values.tolist() == list(B)
    for v in range(len(B)):
        for k in range(SLICES):
            np.testing.assert_array_equal(a.values[v, k], mf.values(mf.Frame(k, v)))


def test_whole_numbers_of_functional_groups_are_whole_numbers(tmp_path: Path) -> None:
    timing = {
        "MRTimingAndRelatedParametersSequence": {"EchoTrainLength": 12, "RepetitionTime": 2500.0, "FlipAngle": 15}
    }
    path = mf.save(mf.instance([mf.Frame(k, groups=timing) for k in range(3)]), tmp_path / "a.dcm")
    attrs = open_image(str(path)).attrs
    assert (attrs["EchoTrainLength"], type(attrs["EchoTrainLength"])) == (12, int)


def test_frames_of_a_whole_volume_stay_together_whatever_their_times_say(tmp_path: Path) -> None:
    usual, single_band = [0.0, 0.5, 1.0], [0.0, 5.6, 2.8]
    for v in range(4):
        times = single_band if v == 0 else usual
        frames = [mf.Frame(k, v, groups=mf.when(2.0 * v + times[k])) for k in range(SLICES)]
        timing = {"RepetitionTime": 2000.0}
        for f in frames:
            f.groups["MRTimingAndRelatedParametersSequence"] = timing
        mf.save(mf.instance(frames, v + 1), tmp_path / f"{v}.dcm")
    with pytest.warns(ImagedataWarning, match="said to be measured over 5.6 s, longer than the repetition time of 2 s"):
        da = open_image(tmp_path)
    for v in range(4):
        np.testing.assert_array_equal(da.values[v], [mf.stored(mf.Frame(k, v)) for k in range(SLICES)])
    assert da.tag.values.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(da.slice_time.values, [usual] * 4, atol=1e-6)

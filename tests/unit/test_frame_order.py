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

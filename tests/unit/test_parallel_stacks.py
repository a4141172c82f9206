"""Parallel stacks of planes in one instance are images of their own; volumes at the same places are not parted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from multiframe import Frame, instance, place, save, values

from imagedata_xr.errors import SeriesError


def frames(stacks: dict[str, list[int]], volumes: int = 1) -> list[Frame]:
    def groups(stack: str) -> dict[str, dict[str, Any]]:
        return {"FrameContentSequence": {"StackID": stack}}

    return [Frame(k, v, groups=groups(s)) for v in range(volumes) for s, slices in stacks.items() for k in slices]


def test_stacks_with_a_gap_between_them(tmp_path: Path) -> None:
    some = frames({"1": [0, 1, 2], "2": [7, 8, 9]})
    path = str(save(instance(some), tmp_path / "a.dcm"))
    with pytest.raises(SeriesError, match="stack 2"):
        xr.open_dataarray(path, engine="imagedata")
    for stack, part in enumerate((some[:3], some[3:])):
        a = xr.open_dataarray(path, engine="imagedata", stack=stack)
        assert np.array_equal(a.values[0], [values(f) for f in part])
        first = a.imd.affine @ [0, 0, 0, 1]
        np.testing.assert_allclose(first[:3], place(part[0].k)[0, 0], atol=1e-6)


def test_stacks_that_continue_each_other_are_one_image(tmp_path: Path) -> None:
    some = frames({"1": [0, 1, 2], "2": [3, 4, 5]})
    a = xr.open_dataarray(str(save(instance(some), tmp_path / "a.dcm")), engine="imagedata")
    assert a.sizes["slice"] == 6


def test_stacks_at_the_same_places_are_volumes(tmp_path: Path) -> None:
    again = [Frame(k, 1, groups={"FrameContentSequence": {"StackID": "2"}}) for k in (0, 1, 3)]
    some = [*frames({"1": [0, 1, 3]}), *again]
    a = xr.open_dataarray(str(save(instance(some), tmp_path / "a.dcm")), engine="imagedata")
    assert dict(a.sizes) == {"tag": 2, "slice": 3, "row": 4, "col": 5}

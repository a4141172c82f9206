"""What is known of segments: a table, and labels that are texts, through the operations of xarray."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from phantoms import make, opened
from segmented import MASKS, describe, save, segmentation, series

from imagedata_xr.errors import (
    GridError,
    LabelError,
)


@pytest.fixture(autouse=True)
def _highdicom(require_module: Callable[[str], Any]) -> None:
    require_module("highdicom")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The series that is segmented."""
    return make(tmp_path / "ct", series())


# --- the table -------------------------------------------------------------------------------------------------------


def test_what_is_known_of_segments_is_a_table(files: list[Path], tmp_path: Path) -> None:
    import highdicom as hd

    described = [
        describe(
            n, f"organ {n}", tracking_id=f"T{n}", tracking_uid=f"1.2.3.{n}", display_color=hd.color.CIELabColor(*lab)
        )
        for n, lab in ((1, (50.0, 20.0, -30.0)), (2, (100.0, 0.0, 0.0)), (3, (0.0, 127.0, -128.0)))
    ]
    a = opened(save(segmentation(files, MASKS, descriptions=described), tmp_path / "seg.dcm"))
    table = a.sel(segment=[3, 1]).imd.segments
    assert table.segment.values.tolist() == [3, 1]
    assert table.label.values.tolist() == ["organ 3", "organ 1"]
    assert table.type.values.tolist() == ["Liver", "Liver"]
    assert table.type_code.values.tolist() == ["SCT:10200004", "SCT:10200004"]
    assert table.category.values.tolist() == ["Organ", "Organ"]
    assert table.algorithm_type.values.tolist() == ["AUTOMATIC"] * 2
    assert table.algorithm_name.values.tolist() == ["thresholds"] * 2
    assert table.tracking_uid.values.tolist() == ["1.2.3.3", "1.2.3.1"]
    np.testing.assert_allclose(table.color, [[0, 127, -128], [50, 20, -30]], atol=0.01)
    assert a.sel(segment=2).imd.segments.tracking_id.values.tolist() == ["T2"]


def test_many_segments_are_described_whole(files: list[Path], tmp_path: Path) -> None:
    numbers = range(1, 41)  # their description is longer than what the scan keeps
    pixels = np.repeat(MASKS[:1], len(numbers), axis=0)
    a = opened(save(segmentation(files, pixels, numbers=numbers), tmp_path / "seg.dcm"))
    assert a.label.values.tolist() == [f"segment {n}" for n in numbers]
    assert a.imd.segments.label.values.tolist() == [f"segment {n}" for n in numbers]


def test_other_images_have_no_segments(files: list[Path]) -> None:
    with pytest.raises(LabelError, match="no segments that are described"):
        _ = opened(files[0]).imd.segments


OPERATIONS: dict[str, Callable[[xr.DataArray], Any]] = {
    "coarsen row": lambda a: a.coarsen(row=2, boundary="trim").mean(),
    "coarsen slice": lambda a: a.coarsen(slice=2).max(),
    "interp row": lambda a: a.astype(float).interp(row=a.row[:2] + 0.1),
    "interp all": lambda a: a.astype(float).interp(slice=a.slice[:2] + 0.1, row=a.row[:2] + 0.1, col=a.col[:1]),
    "rolling": lambda a: a.rolling(row=3).mean(),
    "pad": lambda a: a.pad(row=2),
    "where": lambda a: a.where(a > 0),
    "xr.where": lambda a: xr.where(a > 0, 1, 0),
    "concat": lambda a: xr.concat([a.isel(segment=[0]), a.isel(segment=[2, 1])], "segment"),
    "stack": lambda a: a.stack(voxel=("slice", "row", "col")),
    "groupby": lambda a: a.groupby("segment").sum(),
    "arithmetic": lambda a: a + a,
    "pickle": lambda a: pickle.loads(pickle.dumps(a)),
}


# --- labels that are texts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_text_label_survives(name: str, lazy: bool, files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"), chunks={} if lazy else None)
    out = OPERATIONS[name](a).compute()
    assert sorted(out.label.values.tolist()) == ["segment 1", "segment 2", "segment 3"]
    assert out.label.dims == ("segment",)


def test_only_what_joins_segments_trips_over_the_text(files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    with pytest.raises(TypeError):
        a.coarsen(segment=3).mean()
    assert a.drop_vars("label").coarsen(segment=3).max().sizes["segment"] == 1
    assert "label" not in a.astype(float).interp(segment=[1.5]).coords
    assert "label" not in a.max("segment").coords


def test_segments_are_selected_by_label(files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    by_label = a.swap_dims(segment="label").sel(label="segment 2")
    np.testing.assert_array_equal(by_label, a.sel(segment=2))


@pytest.mark.parametrize("form", ["zarr", "nc"])
def test_saved_and_opened_again(
    form: str, files: list[Path], tmp_path: Path, require_module: Callable[[str], Any]
) -> None:
    require_module("zarr" if form == "zarr" else "h5netcdf")
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    a.imd.write(tmp_path / f"a.{form}")
    b = opened(tmp_path / f"a.{form}")
    xr.testing.assert_identical(a.drop_vars("source"), b.drop_vars("source"))
    assert (a & b).dims == a.dims
    assert b.imd.segments.equals(a.imd.segments)


def test_other_segments_are_not_aligned(files: list[Path], tmp_path: Path) -> None:
    a = opened(save(segmentation(files, MASKS), tmp_path / "seg.dcm"))
    with pytest.raises(GridError, match="segment"):
        a.sel(segment=[1, 2]) + a.sel(segment=[2, 3])

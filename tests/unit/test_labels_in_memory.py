"""Labels are values on opening, with chunks and without: they are shown, selected by and grouped by."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from phantoms import diffusion, make, mr, opened

from imagedata_xr.model.lazy import kept_in_memory

B = [0.0, 1000.0, 1000.0, 2000.0]
ALONG = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path / "dti", mr(shape=(4, 2, 6, 8), volumes=diffusion(B, ALONG)))
    return tmp_path / "dti"


@pytest.mark.parametrize("chunks", [None, {}, {"tag": 1}])
def test_volumes_are_selected_and_grouped_by_labels_and_stay_lazy(folder: Path, chunks: Any) -> None:
    a = opened(folder, chunks=chunks)
    weighted = a[a.b_value > 500]
    assert weighted.b_value.values.tolist() == B[1:]
    assert (weighted.chunks is None) == (chunks is None)
    assert a.where(a.b_value > 1500, drop=True).sizes["tag"] == 1
    means = a.groupby("b_value").mean()
    np.testing.assert_allclose(means.sel(b_value=1000).values, a.isel(tag=[1, 2]).mean("tag").values, rtol=1e-6)


@pytest.mark.parametrize("chunks", [None, {}])
def test_labels_are_shown(folder: Path, chunks: Any) -> None:
    a = opened(folder, chunks=chunks)
    with xr.set_options(display_max_rows=100):
        lines = {line.split()[0]: line for line in repr(a).splitlines() if line.strip()}
    assert "0.0 1e+03 1e+03 2e+03" in lines["b_value"]
    assert "..." not in lines["patient"]
    assert "dask" not in lines["acquisition_time"]
    tree = xr.open_datatree(folder, engine="imagedata", chunks=chunks)
    (node,) = tree.leaves
    assert all(isinstance(v.variable._data, np.ndarray) for n, v in node.coords.items() if n not in node.xindexes)
    assert (node.image.chunks is None) == (chunks is None)


def test_what_is_changed_in_place_is_changed_in_that_image_alone(folder: Path) -> None:
    a, b = opened(folder), opened(folder)
    a.b_value[1] = 5.0
    a.coords["echo_time"].data = np.array(1.5)
    assert (float(a.b_value[1]), float(a.echo_time)) == (5.0, 1.5)
    assert float(b.b_value[1]) == 1000.0
    again = pickle.loads(pickle.dumps(a))
    assert again.b_value.values.tolist() == [0.0, 5.0, 1000.0, 2000.0]


def test_what_an_engine_gives_is_not_shared_with_what_is_opened() -> None:
    given = np.arange(3.0)
    ds = xr.Dataset({"image": ("tag", np.zeros(3))}, coords={"time": ("tag", given)})
    kept_in_memory(ds).time.values[:] = 7
    assert given.tolist() == [0, 1, 2]


def test_what_was_written_is_said_in_one_line(folder: Path, tmp_path: Path) -> None:
    written = opened(folder).imd.write(tmp_path / "out")
    assert len(written.paths) == len(written.uids) == 8
    assert repr(written) == (
        f"<Written dicom: count 8, {written.bytes} bytes, the first is {tmp_path / 'out' / 'IM_00001.dcm'}>"
    )

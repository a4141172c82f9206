"""What xarray does around an engine: lazy keys, chunks, indexes, trees."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from lazy_backend import READ, SHAPE, Engine
from recording import note_of
from xarray.backends import BackendEntrypoint
from xarray.core import indexing


@pytest.fixture
def ds() -> xr.Dataset:
    READ.clear()
    return xr.open_dataset("anything", engine=Engine)


def truth() -> Any:
    return np.arange(float(np.prod(SHAPE))).reshape(SHAPE)


def test_opening_and_looking_reads_nothing(ds: xr.Dataset) -> None:
    repr(ds)
    ds.isel(tag=0).transpose()
    ds.chunk(tag=1)
    pickle.dumps(ds)
    assert READ == []


@pytest.mark.parametrize(
    "key",
    [
        {"tag": 0},
        {"tag": slice(1, None), "row": slice(None, None, 2)},
        {"row": slice(None, None, -1)},
        {"row": [3, 0, 0], "slice": [2, 1]},
        {"tag": -1, "slice": np.array([True, False, True])},
        {"slice": xr.DataArray([0, 2], dims="p"), "row": xr.DataArray([1, 3], dims="p")},
    ],
)
def test_keys_arrive_as_an_outer_product_of_ints_forward_slices_and_arrays(ds: xr.Dataset, key: dict[str, Any]) -> None:
    expected = xr.DataArray(truth(), dims=("tag", "slice", "row")).isel(key)
    np.testing.assert_array_equal(ds.image.isel(key).values, expected.values)
    (asked,) = READ
    for part in asked:
        assert isinstance(part, (int, np.integer, slice, np.ndarray))
        assert not isinstance(part, slice) or (part.step or 1) > 0
        assert not isinstance(part, np.ndarray) or part.ndim == 1


def test_a_crop_reads_no_more_than_the_crop(ds: xr.Dataset) -> None:
    ds.image.isel(slice=1, row=slice(1, 3)).load()
    ((tag, slice_, row),) = READ
    assert range(2)[tag] == range(2)
    assert slice_ == 1
    assert range(4)[row] == range(1, 3)


def test_explicit_keywords_are_demanded_or_named() -> None:
    assert "order" in Engine.open_dataset_parameters
    with pytest.raises(TypeError, match="colour"):
        xr.open_dataset("anything", engine=Engine, colour=True)
    assert xr.open_dataset("anything", engine=Engine, order="time").image.attrs["order"] == "time"


@pytest.mark.parametrize("source", [["a", "b"], Path("folder"), "memory://x", b"bytes"])
def test_any_kind_of_source_is_passed_to_a_named_engine(source: Any) -> None:
    assert xr.open_dataset(source, engine=Engine).image.shape == SHAPE


@pytest.mark.parametrize("chunks", [None, {}, "auto", {"tag": 1}])
def test_indexes_and_encoding_survive_opening(chunks: Any) -> None:
    opened = xr.open_dataset("anything", engine=Engine, chunks=chunks)
    assert note_of(opened) == "kept"
    assert opened.image.encoding["stored_dtype"] == "int16"
    assert "tag" in opened.xindexes


def test_chunks_of_an_empty_dict_are_the_preferred_ones() -> None:
    opened = xr.open_dataset("anything", engine=Engine, chunks={})
    assert opened.image.chunks == ((1, 1), (1, 1, 1), (4,))
    READ.clear()
    opened.image.isel(tag=1, slice=2).load()
    assert len(READ) == 1


@pytest.mark.parametrize("source", ["folder/*.dcm", "file.zip?member*", "xnat://server/project"])
def test_sources_that_are_no_paths_can_be_chunked(source: str) -> None:
    # older ones ask the file system for their time of change
    assert xr.open_dataset(source, engine=Engine, chunks={}).image.chunks is not None


def test_two_openings_of_one_file_have_the_same_dask_names(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    one, two = (xr.open_dataset(tmp_path / "x", engine=Engine, chunks={}) for _ in range(2))
    assert one.image.data.name == two.image.data.name


def test_open_dataarray_wants_exactly_one_variable() -> None:
    assert xr.open_dataarray("anything", engine=Engine).name == "image"


def test_trees_keep_indexes_chunks_and_attrs() -> None:
    tree = xr.open_datatree("anything", engine=Engine, chunks={})
    assert tree["p"].attrs == {"PatientID": "x"}
    node = tree["p/s2"].to_dataset()
    assert node.image.shape == (1, 3, 4)
    assert node.image.chunks is not None
    assert note_of(node) == "kept"


def test_a_tree_refuses_a_slash_and_siblings_may_differ_in_size() -> None:
    with pytest.raises(ValueError, match="slash"):
        xr.DataTree(name="a/b")
    xr.DataTree.from_dict({"/a": xr.Dataset({"x": ("row", [1])}), "/b": xr.Dataset({"x": ("row", [1, 2])})})


def test_a_tree_refuses_dims_that_differ_between_parent_and_child() -> None:
    with pytest.raises(ValueError, match="not aligned"):
        xr.DataTree.from_dict({"/": xr.Dataset({"x": ("row", [1])}), "/b": xr.Dataset({"x": ("row", [1, 2])})})


def test_scalar_coords_of_a_parent_are_not_inherited() -> None:
    tree = xr.DataTree.from_dict({"/": xr.Dataset(coords={"patient": 1}), "/s": xr.Dataset({"x": ("row", [1])})})
    node = tree["s"]
    assert isinstance(node, xr.DataTree)
    assert "patient" not in node.to_dataset(inherit=True).coords


def test_the_private_parts_that_we_import_are_there() -> None:
    assert list(inspect.signature(indexing.explicit_indexing_adapter).parameters) == [
        "key", "shape", "indexing_support", "raw_indexing_method",
    ]  # fmt: skip
    assert indexing.IndexingSupport.OUTER.name == "OUTER"
    assert {"open_dataset", "guess_can_open", "open_datatree", "open_groups_as_dict"} <= set(dir(BackendEntrypoint))


def test_a_failing_guess_is_no_error_but_a_warning(tmp_path: Path) -> None:
    (tmp_path / "strange.zzz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"engine|backend"):
        xr.open_dataset(tmp_path / "strange.zzz")

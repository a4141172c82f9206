"""Our own indexes within xarray: what the docs promise of them while they are there, and when they are lost."""

from __future__ import annotations

import inspect

import pytest
import xarray as xr
from linear import FIRST, has_indexes, image
from xarray.indexes import PandasIndex

from imagedata_xr.errors import GridError
from imagedata_xr.model.indexes import AxisIndex
from imagedata_xr.model.tag_index import TagIndex

MOVED = (FIRST[0], FIRST[1] + 4.0, FIRST[2])


@pytest.mark.parametrize("kind", [AxisIndex, TagIndex])
@pytest.mark.parametrize("name", ["_replace", "equals", "join", "reindex_like", "sel", "isel", "roll", "concat"])
def test_our_methods_take_what_xarray_passes(kind: type[PandasIndex], name: str) -> None:
    theirs, ours = (inspect.signature(getattr(c, name)).parameters for c in (PandasIndex, kind))
    assert [p for p in theirs if p in ours] == list(theirs)


def test_without_indexes_xarray_joins_silently_and_an_exact_join_or_repair_refuses() -> None:
    a, b = (x.coarsen(col=2).mean() for x in (image(), image(first=MOVED)))
    assert (a + b).sizes["row"] == 4  # of 6: this is the danger
    with xr.set_options(arithmetic_join="exact"), pytest.raises(xr.AlignmentError):
        a + b
    with pytest.raises(GridError, match="'row' differ by up to 4"):
        a.imd.repair() + b.imd.repair()


def test_trees_and_datasets_of_images_are_guarded() -> None:
    one, other = (xr.DataTree.from_dict({"/s": x.to_dataset(name="image")}) for x in (image(), image(first=MOVED)))
    assert has_indexes((one + one)["s"].to_dataset()["image"])
    with pytest.raises(GridError):
        one + other


def test_chunked_images_keep_their_indexes_through_map_blocks_with_a_template() -> None:
    a = image().chunk(tag=1)
    assert has_indexes(a.map_blocks(lambda x: x * 2, template=a))

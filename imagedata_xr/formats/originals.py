"""Which originals an image has: files that its values are read from, and those of its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import xarray as xr

from ..model.lazy import lazy_arrays
from ..stores.originals import Originals, Place, SourceOriginals, opened, originals_of, places_of_files
from ..stores.url import source_name
from .seam import Facts, Node


def originals(image: Any) -> list[Originals | SourceOriginals]:
    """Originals of an image.

    Those of a computed image are known by its coord ``source``, and by the files that its lazy values come from. Of
    values in memory that come from several sources, which have no such coord any more, nothing is known.

    Parameters
    ----------
    image : xarray.DataArray or xarray.Dataset or str or path or None
        An address stands for the image that was opened from it.
    """
    if image is None:
        return []
    if not isinstance(image, xr.DataArray | xr.Dataset):
        return [*originals_of(source_name(image))]
    sources = image.coords["source"].values.ravel().tolist() if "source" in image.coords else []
    found: list[Originals | SourceOriginals] = [one for word in sources for one in originals_of(str(word))]
    for values in [image] if isinstance(image, xr.DataArray) else image.data_vars.values():
        for array in lazy_arrays(values.variable):
            found.append(Originals(partial(_places_of, array)))
    return found


def _places_of(array: Any) -> list[Place]:
    """Places of the files of a lazy array, or of the one that it changes as it is read."""
    while array is not None and not hasattr(array, "files"):
        array = getattr(array, "array", None)
    return places_of_files(getattr(array, "files", ()))


def noted(node: Node, source: str) -> Node:
    """Node that tells, once it is opened, what the originals of its image are."""
    if not callable(node.dataset) or node.facts is None or not source:
        return node
    return replace(node, dataset=partial(_open, node.dataset, node.facts, source, node.select))


def _open(build: Callable[[], xr.Dataset], facts: Callable[[], Facts], source: str, key: str) -> xr.Dataset:
    ds = build()
    opened(source, key, facts().files)
    return ds

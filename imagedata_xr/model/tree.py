"""Every image of a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import xarray as xr

from .image import NAME, repair


def images_of(tree: xr.DataTree) -> Iterator[tuple[str, xr.DataArray]]:
    """Path and image of each node that has one."""
    for node in tree.subtree:
        if NAME in node.data_vars:
            yield node.path, repair(node.to_dataset()[NAME])


def map_images(tree: xr.DataTree, func: Callable[..., Any], *args: Any, **kwargs: Any) -> xr.DataTree:
    """Tree with ``func(image, ...)`` in place of each image; nodes without an image stay as they are."""
    out = {node.path: node.to_dataset() for node in tree.subtree}
    for path, image in images_of(tree):
        result = func(image, *args, **kwargs)
        out[path] = result.to_dataset(name=NAME) if isinstance(result, xr.DataArray) else result
    return xr.DataTree.from_dict(out)

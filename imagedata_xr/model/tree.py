"""Every image of a tree."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from .image import NAME, repair


def images_of(tree: xr.DataTree) -> Iterator[tuple[str, xr.DataArray]]:
    """Path and image of each node that has one."""
    for node in tree.subtree:
        if NAME in node.data_vars:
            yield node.path, repair(node.to_dataset()[NAME])

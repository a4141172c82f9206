"""A tree of de-identified images: new names of its nodes, one key for all, nothing without pixels."""

from __future__ import annotations

import re
from typing import Any

import xarray as xr

from ..dicom.deidentifying.deidentify import deidentify
from ..dicom.deidentifying.policy import Policy
from ..errors import NotFoundError, warn
from ..model.image import NAME
from ..model.tree import images_of
from .reading import tree_paths, with_parents
from .reopening import parts_of
from .seam import Node

_STACK = re.compile(r"stack-\d+")


def deidentified_tree(tree: xr.DataTree, policy: Policy) -> xr.DataTree:
    """De-identify every image of a tree.

    Parameters
    ----------
    tree : DataTree
        Of `open_datatree`.
    policy : Policy
        One key for all: references between series stay what they are.

    Returns
    -------
    DataTree
        Its nodes are named after the new patients, dates and descriptions.

    Raises
    ------
    NotFoundError
        Where the tree holds no image.
    IdentityError
        Where pixels may show identifiers; see `deidentify`.
    """
    nodes = []
    for path, image in images_of(tree):
        ds = deidentify(image, policy).to_dataset(name=NAME)
        nodes.append(_node(path, ds))
    if not nodes:
        raise NotFoundError("the tree holds no image")
    bare = sum("instance" in n.coords and NAME not in n.data_vars for n in tree.subtree)
    if bare:
        warn(
            f"{bare} series without pixels (reports, documents, raw data) are left out: what they say of the patient "
            "stands in texts and bytes that can't be cleaned for certain"
        )
    return xr.DataTree.from_dict(with_parents({p: n.open() for p, n in tree_paths(nodes)}))


def _node(path: str, ds: xr.Dataset) -> Node:
    attrs: dict[Any, Any] = ds[NAME].attrs
    last = path.rstrip("/").rpartition("/")[2]
    parts = (*parts_of(attrs), *([last] if _STACK.fullmatch(last) else []))
    identity = (
        str(int(ds.coords["patient"])) if "patient" in ds.coords else "",
        str(attrs.get("StudyInstanceUID", "")),
        f"{attrs.get('SeriesInstanceUID', '')} {attrs.get('SeriesNumber', '')}",
    )
    return Node(parts, ds, identity=identity)

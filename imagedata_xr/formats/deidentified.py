"""A tree of de-identified images: new names of its nodes, one key for all, and no object that can't be cleaned."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import xarray as xr

from ..dicom.deidentifying.deidentify import deidentify
from ..dicom.deidentifying.kinds import left_out
from ..dicom.deidentifying.objects import deidentified_objects
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
    nodes: list[Node] = []
    gone: Counter[str] = Counter()
    for path, image in images_of(tree):
        nodes.append(_node(path, deidentify(image, policy).to_dataset(name=NAME), NAME))
    if not nodes:
        raise NotFoundError("the tree holds no image")
    for node in tree.subtree:
        if NAME not in node.data_vars and "instance" in node.coords:
            ds, dropped = deidentified_objects(node.to_dataset(), policy)
            gone += dropped
            if ds is not None:
                nodes.append(_node(node.path, ds))
    if gone:
        warn(left_out(gone, policy))
    return xr.DataTree.from_dict(with_parents({p: n.open() for p, n in tree_paths(nodes)}))


def _node(path: str, ds: xr.Dataset, name: str = "") -> Node:
    attrs: dict[Any, Any] = (ds[name] if name else ds).attrs
    last = path.rstrip("/").rpartition("/")[2]
    parts = (*parts_of(attrs), *([last] if _STACK.fullmatch(last) else []))
    identity = (
        str(int(ds.coords["patient"])) if "patient" in ds.coords else "",
        str(attrs.get("StudyInstanceUID", "")),
        f"{attrs.get('SeriesInstanceUID', '')} {attrs.get('SeriesNumber', '')}{'' if name else ' objects'}",
    )
    return Node(parts, ds, identity=identity)

"""Writing every image of a tree."""

from __future__ import annotations

import os
from typing import Any

import xarray as xr

from ..errors import FormatError, NotFoundError
from ..model.tree import images_of
from .seam import WriteOptions, format_named
from .writing import write

_OPTIONS = set(WriteOptions.__dataclass_fields__)


def write_tree(tree: xr.DataTree, url: str | os.PathLike[str], format: str | None, **options: Any) -> dict[str, Any]:
    """Write each image of a tree below `url`; returns what was written by path in the tree.

    DICOM goes into one folder per image, other formats into one file each, numbered ``0001``, ``0002``, ... in the
    order of the tree, so that no identifier gets into a file name.

    Raises
    ------
    NotFoundError
        Where the tree holds no image.
    """
    form = format_named(format or "dicom")
    template, geometry = options.pop("template", None), options.pop("geometry", None)
    if strange := set(options) - _OPTIONS:
        raise FormatError(f"unknown options of write: {', '.join(sorted(strange))}")
    extension = "" if form.name == "dicom" else (form.extensions or ("",))[0]
    images = list(images_of(tree))
    if not images:
        raise NotFoundError("the tree holds no image")
    base, out = os.fspath(url).rstrip("/"), {}
    for k, (path, image) in enumerate(images, 1):
        out[path] = write(image, f"{base}/{k:04d}{extension}", form.name, template, geometry, WriteOptions(**options))
    return out

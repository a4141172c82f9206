"""What of a tree is no image: series without pixels, which are copied, and a DICOMDIR of all that was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import fsspec.core
import numpy as np
import pydicom
import xarray as xr

from ..dicom.headers.lookup import headers_of
from ..dicom.writing.dicomdir_out import NAME as DICOMDIR
from ..dicom.writing.dicomdir_out import directory, entry_of
from ..dicom.writing.files_out import OneFile, encode, open_target
from ..dicom.writing.names import MEDIA, Names
from ..errors import FormatError, SourceError
from ..formats.originals import originals
from ..formats.seam import WriteOptions, Written
from ..model.image import NAME
from ..stores.originals import sparing
from ..stores.sinks import special_sink


def is_bare(value: Any) -> bool:
    """Whether a node is a series without pixels: a report, a document, a plan, raw data."""
    return isinstance(value, xr.Dataset) and NAME not in value.data_vars and "instance" in value.coords


def bare_of(tree: xr.DataTree) -> Iterator[tuple[str, xr.Dataset]]:
    """Path and node of each series without pixels."""
    for node in tree.subtree:
        if is_bare(ds := node.to_dataset()):
            yield node.path, ds


def copy_bare(node: xr.Dataset, target: str, options: WriteOptions) -> Written:
    """Copy the instances of a series without pixels, element by element, under the UIDs that others refer to them by.

    Raises
    ------
    SourceError
        They can't be reached any more.
    OriginalError
        They would be replaced.
    """
    headers, names = headers_of(node), []
    digests = [int(d) for d in np.atleast_1d(node.coords["instance"].values)]
    for digest in digests:
        if headers is None or not headers.has(digest) or (ds := headers.original(digest)) is None:
            raise SourceError(
                f"a series without pixels ({node.attrs.get('Modality', 'of no modality')}) can't be copied: its source "
                "is gone. Open it again, or drop its node"
            )
        names.append(ds)
    pattern = str((options.format_options or {}).get("names") or "")
    places = (Names(pattern) if pattern else Names()).all_of(1, len(names))[0]
    with sparing(originals(node) if options.overwrite else ()):
        folder = open_target(target, options.overwrite, options.storage_options)
    size = 0
    try:
        for place, ds in zip(places, names, strict=True):
            data = encode(ds, keep_meta="MediaStorageSOPInstanceUID" in getattr(ds, "file_meta", {}))
            folder.add(place, data)
            size += len(data)
        paths = folder.finish()
    except BaseException:
        folder.abandon()
        raise
    uids = tuple(str(ds.SOPInstanceUID) for ds in names)
    return Written("dicom", paths, len(names), size, uids, str(names[0].get("SeriesInstanceUID") or ""), None)


def media_options(wanted: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Options of images that a DICOMDIR above their folders lists: names that it may refer to (PS3.10 section 8.5).

    Raises
    ------
    FormatError
        The base is no folder of files, or the names that are asked for can't be referred to.
    """
    if special_sink(base) is not None:
        raise FormatError("dicomdir=True lists files, and this target is an archive of images")
    layout = wanted.get("layout") or "single"
    names = Names.asked(None if wanted.get("names") else layout, wanted.get("names"), True)
    rest = {k: v for k, v in wanted.items() if k not in ("dicomdir", "layout", "names")}
    return {**rest, "names": names.pattern if wanted.get("names") else MEDIA[layout]}


class RootDirectory:
    """A DICOMDIR beside the folders of a tree; it appears when it is whole.

    Parameters
    ----------
    base : str
        Folder or URL.
    options : WriteOptions

    Raises
    ------
    FileExistsError
        Where there is one and ``options.overwrite`` is false.
    """

    def __init__(self, base: str, options: WriteOptions) -> None:
        self._base, self._storage = base, dict(options.storage_options or {})
        self._file = OneFile(f"{base}/{DICOMDIR}", options.overwrite, options.storage_options)

    def write(self, paths: Iterable[str]) -> None:
        """List files that lie below the base."""
        self._file.add(DICOMDIR, directory(self._entry(path) for path in paths))
        self._file.finish()

    def _entry(self, path: str) -> Any:
        fs, place = fsspec.core.url_to_fs(path, **(self._storage if "://" in path else {}))
        root = fs._strip_protocol(self._base).rstrip("/") + "/"
        if not place.startswith(root):
            raise FormatError(f"{path} does not lie below {self._base}: a DICOMDIR can't refer to it")
        with fs.open(place, "rb") as file:
            return entry_of(pydicom.dcmread(file, stop_before_pixels=True, force=True), place.removeprefix(root))

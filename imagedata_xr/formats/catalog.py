"""What a source holds, as a table: one row per series, or per stack where a series has several."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..errors import ImagedataError, ImagedataWarning
from ..model.identity import patient_digest, study_digest
from ..model.image import NAME, volume_dims
from ..model.masking import mask_identity
from ..stores.url import File, is_local, source_name
from .reading import find_nodes, tree_paths
from .seam import Facts, Node, Outline, ReadOptions

_COLUMNS: dict[str, Any] = {
    "patient": "Int64", "study": "Int64", "series_number": "Int64", "description": "str", "modality": "str",
    "stack": "Int64", "kind": "str", "shape": "object", "order": "str", "dtype": "str", "bytes": "Int64",
    "files": "int64", "file_bytes": "Int64", "opens": "bool", "reason": "str", "series": "object", "path": "str",
}  # fmt: skip
_IDENTIFIERS = ("PatientID", "StudyInstanceUID", "StudyDate", "StudyTime", "SeriesInstanceUID")


def catalog(source: Any, *, identifiers: bool = False, format: str | None = None, **options: Any) -> pd.DataFrame:
    """Table of what a source holds; headers are read once, pixels never, and no image is built.

    Parameters
    ----------
    source
        What the engine opens: a path, folder, glob, URL, or a list of these.
    identifiers : bool
        Whether patient ID, dates, UIDs and the path in the tree are told, and texts are left as they are.
    format : str, optional
        Name of the format; skips detection.
    **options
        Those of the engine that say how images are made, such as ``order``, ``series``, ``split``, ``missing``,
        ``duplicates``, ``errors`` and ``storage_options``: whether a series opens is judged with them.

    Returns
    -------
    pandas.DataFrame
        One row per series, or per stack; also for series without pixels. In the order of `xarray.open_datatree`.

        - ``patient``, ``study``: digests, equal to the coords of these names of the images.
        - ``series_number``, ``description``, ``modality``, ``stack``, ``kind`` (what tells a stack from the others).
        - ``shape``: dict of dim and length; ``order``, ``dtype``, ``bytes``: of the image in memory.
        - ``files``, ``file_bytes``: number of files and their length; the length is missing on remote stores.
        - ``opens``, ``reason``: whether the engine makes an image of it, and if not, why; else what it warns of.
        - ``series``: the value for ``series=``, which together with ``stack=`` selects it from the same source: its
          number, or a digest where several series have that number (the UID with `identifiers`).
        - ``path``: the folder that its files have in common, or the file; names and IDs of the patient are masked in it
          too, so that only `identifiers` gives one that can surely be opened.

        With `identifiers` also ``node`` (the path in the tree) and ``PatientID``, ``StudyInstanceUID``, ``StudyDate``,
        ``StudyTime``, ``SeriesInstanceUID``.

    Raises
    ------
    NotFoundError
        Nothing is there.
    LabelError
        For a word that is no option's.

    Examples
    --------
    >>> table = catalog("cohort")  # doctest: +SKIP
    >>> dynamic = table[table.opens & (table.order == "time")]  # doctest: +SKIP
    """
    asked = ReadOptions(**options)
    rows = [_row(path, node, identifiers) for path, node in tree_paths(find_nodes(source, format, asked))]
    types = _COLUMNS | (dict.fromkeys(("node", *_IDENTIFIERS), "str") if identifiers else {})
    # column by column: a table of rows would make floats of integers where some are missing
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in types.items()})


def _row(path: str, node: Node, identifiers: bool) -> dict[str, Any]:
    outline, attrs, reason = _outlined(node)
    facts = node.facts() if node.facts is not None else Facts()
    told = {**attrs, **facts.elements}
    number = str(told.get("SeriesNumber", "")).strip()

    def shown(text: str) -> str:
        return text if identifiers else mask_identity(text, told)

    row: dict[str, Any] = {
        "patient": patient_digest(told) if "PatientID" in told else pd.NA,
        "study": study_digest(told) if "StudyInstanceUID" in told else pd.NA,
        "series_number": int(number) if re.fullmatch(r"[+-]?\d{1,18}", number) else pd.NA,
        "description": shown(str(told.get("SeriesDescription") or ("" if number else node.parts[-1]))),
        "modality": str(told.get("Modality", "")),
        "stack": pd.NA if facts.stack is None else facts.stack,
        "kind": shown(node.kind),
        "shape": outline.shape if outline is not None else {},
        "order": outline.order if outline is not None else "",
        "dtype": str(outline.dtype) if outline is not None else "",
        "bytes": int(np.prod(list(outline.shape.values()))) * outline.dtype.itemsize if outline is not None else pd.NA,
        "files": len(facts.files),
        "file_bytes": _length(facts.files),
        "opens": outline is not None,
        "reason": shown(reason),
        "series": _selecting(facts, identifiers),
        "path": shown(source_name(facts.files) if facts.files else ""),
    }
    return row | ({"node": path, **{k: str(told.get(k, "")) for k in _IDENTIFIERS}} if identifiers else {})


def _outlined(node: Node) -> tuple[Outline | None, Mapping[str, Any], str]:
    """Outline of a node's image where it opens, the attrs of what had to be built, and why not, or what is warned."""
    if not callable(node.dataset) and NAME not in node.dataset.data_vars:
        return None, node.dataset.attrs, "without pixels"
    attrs: Mapping[str, Any] = {}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ImagedataWarning)
        try:
            if node.plan is not None:
                outline = node.plan()
            else:
                image = node.open()[NAME]
                outline, attrs = _outline_of(image), image.attrs
        except ImagedataError as error:
            return None, attrs, str(error)
    notes = dict.fromkeys(str(w.message) for w in said if issubclass(w.category, ImagedataWarning))
    return outline, attrs, "; ".join(notes)


def _outline_of(image: xr.DataArray) -> Outline:
    orders = [str(image[d].attrs.get("order", "none")) if d in image.coords else "none" for d in volume_dims(image)]
    return Outline({str(d): int(n) for d, n in image.sizes.items()}, ",".join(orders), image.dtype)


def _selecting(facts: Facts, identifiers: bool) -> str | int | None:
    named = facts.series == facts.elements.get("SeriesInstanceUID")
    return facts.digest if facts.digest and named and not identifiers else facts.series


def _length(files: Iterable[File]) -> Any:
    """Bytes of local files; missing for those of a store, which would have to be asked for each."""
    total = 0
    for file in files:
        if not is_local(file):
            return pd.NA
        try:
            total += os.stat(file.path).st_size
        except OSError:
            return pd.NA
    return total

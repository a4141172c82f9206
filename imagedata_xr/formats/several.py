"""Files of one format, of which each is an image: selecting among them, and those that are damaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import SeriesError, SourceError, warn
from ..stores.files import stamped
from ..stores.url import File
from .seam import Node, ReadOptions


def extension_of(path: str, extensions: Sequence[str]) -> str:
    """Longest of the extensions that a path ends with, whatever its case; empty where it is none."""
    if not path.lower().endswith(tuple(extensions)):
        return ""
    return max((e for e in extensions if path.lower().endswith(e)), key=len, default="")


def with_extension(files: Sequence[File], extensions: Sequence[str]) -> list[File]:
    """Files whose names end with one of the extensions, whatever its case."""
    ends = tuple(extensions)
    return [f for f in files if f.path.lower().endswith(ends)]


def may_be_of(extensions: Sequence[str], endings: set[str]) -> bool:
    """Whether one of the extensions may be that of a file among those with these `endings_of`."""
    return any("." not in e or e.lower().rpartition(".")[2] in endings for e in extensions)


def endings_of(files: Sequence[File]) -> set[str]:
    """What stands behind the last point in the names of files, in lower case."""
    return {f.path.rpartition(".")[2].lower() for f in files}


def stem_of(file: File, extensions: Sequence[str]) -> str:
    """Name of a file without folder and extension."""
    name = os.path.basename(file.path)
    return name[: len(name) - len(extension_of(name, extensions))]


def is_dicom(head: bytes) -> bool:
    """Whether the first bytes of a file are those of DICOM, whatever it is called."""
    return head[128:132] == b"DICM"


def read_each(
    files: Sequence[File],
    extensions: Sequence[str],
    options: ReadOptions,
    node_of: Callable[[File, str | int], Node],
) -> list[Node]:
    """Read one node per file.

    Parameters
    ----------
    files : sequence of File
        Each the main file of an image.
    extensions : sequence of str
        Of the format; names without them select images.
    options : ReadOptions
        ``series`` selects by number or name; ``errors``.
    node_of : callable
        Reads a header; takes the file and the ``series=`` that selects it.

    Raises
    ------
    SourceError
        If a file is damaged (with ``errors="warn"``: if all are; else they are named in one warning).
    SeriesError
        If ``series`` selects none of the images.
    """
    stems = [stem_of(f, extensions) for f in files]
    nodes: list[Node] = []
    failed: list[SourceError] = []
    for k in _selected(stems, options.series):
        # where names repeat (in several folders) only the number tells them apart
        key = stems[k] if stems.count(stems[k]) == 1 else k
        try:
            nodes.append(node_of(stamped(files[k]), key))
        except SourceError as error:
            if options.errors == "raise":
                raise
            failed.append(error)
    if failed and not nodes:
        raise failed[0]
    if failed:
        text = "; ".join(str(e) for e in failed)
        warn(f"{len(failed)} files are left out: {text}")
    return nodes


def _selected(stems: Sequence[str], series: Any) -> list[int]:
    if series is None:
        return list(range(len(stems)))
    chosen = [k for k, stem in enumerate(stems) if series == k or str(series) == stem]
    if not chosen:
        raise SeriesError(f"series={series!r} is none of the images: {', '.join(repr(s) for s in stems)}")
    return chosen

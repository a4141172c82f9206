"""From an address to images: which files are there, which format reads them, which of the images is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import xarray as xr

from ..errors import FormatError, ImagedataError, LabelError, NotFoundError, SeriesError, overheard, warn
from ..stores.url import File, file_name, find, is_archive, is_packed, source_name
from .originals import noted
from .seam import Format, Node, ReadOptions, format_named, formats, unknown_to
from .several import endings_of, may_be_of


def find_nodes(source: Any, format: str | None, options: ReadOptions) -> list[Node]:
    """Every image that a source holds, not yet built.

    Parameters
    ----------
    source
        A path, folder, glob, URL, fsspec `OpenFile`, or a list of these.
    format : str, optional
        Name of the format; otherwise it is recognised.
    options : ReadOptions

    Raises
    ------
    NotFoundError
        Nothing is there, or no image is.
    """
    options = replace(options, source=options.source or source_name(source), dtype=_checked(options))
    direct = _whole(source, format, options)
    if direct is not None:
        return direct
    files = find(source, options.storage_options)
    with overheard() as said:
        if format is not None:
            nodes = _read(format_named(format), files, options)
        else:
            nodes = _read_recognised(files, options)
    if not nodes:
        raise NotFoundError(_nothing(files, options.source, format, said))
    if archives := [f for f in files if is_archive(f.path)]:
        warn(
            f"{len(archives)} archives among the files are passed over, the first is {file_name(archives[0])}: what is "
            "in one is read where it is named itself, alone, in a list or by a pattern such as 'folder/*.zip'"
        )
    if packed := [f for f in files if is_packed(f.path)]:
        warn(f"{len(packed)} files are passed over, so that images may be missing: {_packed(packed)}")
    return [noted(node, options.source) for node in nodes]


def _checked(options: ReadOptions) -> np.dtype[Any] | None:
    """Return the dtype asked for; raise `LabelError` for words that no format knows."""
    if options.errors not in ("warn", "raise"):
        raise LabelError(f"errors={options.errors!r}: it is 'warn' or 'raise'")
    try:
        return None if options.dtype is None else np.dtype(options.dtype)
    except TypeError as error:
        raise LabelError(f"dtype={options.dtype!r} is none of numpy, such as 'float64' or 'int16'") from error


def _whole(source: Any, format: str | None, options: ReadOptions) -> list[Node] | None:
    """Nodes of a source that a format takes as a whole, such as a zarr folder; None where none does."""
    for form in [format_named(format)] if format is not None else formats().values():
        opener = getattr(form, "open_whole", None)
        nodes = opener(source, options) if opener is not None else None
        if nodes is not None:
            return list(nodes)
    return None


def _read_recognised(files: Sequence[File], options: ReadOptions) -> list[Node]:
    """Files by format: those of a known extension to their format, all others to DICOM, which is asked first."""
    rest, endings = list(files), endings_of(files)
    claimed: list[tuple[Format, list[File]]] = []
    for form in formats().values():
        if form.name == "dicom" or (getattr(form, "by_extension", False) and not may_be_of(form.extensions, endings)):
            continue
        if mine := form.recognise(rest):
            claimed.append((form, mine))
            taken = {id(f) for f in mine}
            rest = [f for f in rest if id(f) not in taken]
    nodes = format_named("dicom").read(rest, options) if rest else []
    if not nodes:  # else pictures or NIfTI files that lie among DICOM files are strangers there
        # likewise those whose files lie beside images of others: a page that shows how they look, a report
        main = [(f, m) for f, m in claimed if not getattr(f, "aside", False)]
        for form, mine in main or claimed:
            nodes += _read(form, mine, options)
    return nodes


def _read(form: Format, files: Sequence[File], options: ReadOptions) -> list[Node]:
    """Nodes of a format; raise `FormatError` for options that it does not have, which it would pass over."""
    if unknown := unknown_to([form], options):
        asked = ", ".join(f"{name}={getattr(options, name)!r}" for name in unknown)
        raise FormatError(f"{asked}: it is for DICOM, and these are images of the format {form.name}: leave it out")
    return form.read(files, options)


def _nothing(files: Sequence[File], source: str, format: str | None, said: Sequence[str]) -> str:
    """What is said of a source without images: the reasons that warnings gave while it was read, if there are any."""
    count = len(files)
    what = f"of format {format!r}" if format else f"of a format known here ({', '.join(formats())})"
    where = f" in {source}" if source else ""
    which = f"{source or 'the file'} is no image" if count == 1 else f"none of the {count} files{where} is an image"
    if any(is_archive(f.path) for f in files):
        return f"{which} {what}: archives in a folder are passed over, and read where they are named themselves"
    if packed := [f for f in files if is_packed(f.path)]:
        return f"{which} {what}: {_packed(packed)}"
    if said:
        reasons = "; ".join(dict.fromkeys(said[:3]))
        return f"{which} that can be read: {reasons}" + (f"; and {len(said) - 3} more warnings" if said[3:] else "")
    return f"{which} {what}: check the address"


def _packed(files: Sequence[File]) -> str:
    return (
        f"{file_name(files[0])} is packed in a way that is not read; unpack it, or pack files as .gz, .zip or .tar.gz"
    )


def open_one(source: Any, format: str | None, options: ReadOptions) -> xr.Dataset:
    """Return the one image of a source.

    Raises
    ------
    SeriesError
        Where it holds several, listed with the ``series=`` and ``stack=`` that select each.
    """
    nodes = find_nodes(source, format, options)
    images = [n for n in nodes if callable(n.dataset) or n.dataset.data_vars]
    if not images:
        listed = "\n".join(f"  {n.title}" for n in nodes[:20])
        raise NotFoundError(f"the source holds no image, only objects without pixels:\n{listed}")
    if len(images) > 1:
        listed = "\n".join(f"  {n.select}: {n.title}" for n in images[:30])
        more = f"\n  ... and {len(images) - 30} more" if len(images) > 30 else ""
        raise SeriesError(
            f"the source holds {len(images)} images where one was asked for; select one, or open all with "
            f"xr.open_datatree:\n{listed}{more}"
        )
    return images[0].open()


def open_all(source: Any, format: str | None, options: ReadOptions) -> dict[str, xr.Dataset]:
    """Return every image of a source by its path in a tree: /patient/study/series[/stack-k]."""
    groups: dict[str, xr.Dataset] = {"/": xr.Dataset()}
    first: ImagedataError | None = None
    for path, node in tree_paths(find_nodes(source, format, options)):
        try:
            ds = node.open()
        except ImagedataError as error:
            if options.errors == "raise":
                raise
            warn(f"left out: {node.title}: {error}")
            first = first or error
            continue
        groups[path] = ds
    if len(groups) == 1:
        raise NotFoundError(f"no image of the source could be opened: {first}") from first
    return with_parents(groups)


def tree_paths(nodes: Sequence[Node]) -> list[tuple[str, Node]]:
    """Path of each node: parts percent-encoded, empty ones as ``_``, repeated ones with ``~2``, ``~3``...

    Two patients (studies, series) of equal name stay apart, where nodes tell who they are (`Node.identity`).
    """
    known: dict[tuple[str, str, object], str] = {}
    taken: set[str] = set()
    leaves: set[str] = set()
    out: list[tuple[str, Node]] = []
    for number, node in enumerate(nodes):
        path = ""
        for depth, part in enumerate(node.parts):
            who: object = node.identity[depth] if depth < len(node.identity) else ""
            if depth == len(node.parts) - 1 and depth >= len(node.identity):
                who = number
            key = (path, part, who)
            if key not in known:
                known[key] = _free(f"{path}/{_encode(part)}", taken)
            path = known[key]
        if path in leaves:  # nodes that nothing tells apart: neither is lost
            path = _free(path, taken)
        leaves.add(path)
        out.append((path, node))
    return out


def _free(path: str, taken: set[str]) -> str:
    """The path, or the first of ``path~2``, ``path~3``, ... that is not taken yet; takes it."""
    name, n = path, 1
    while name in taken:
        n += 1
        name = f"{path}~{n}"
    taken.add(name)
    return name


def _encode(part: str) -> str:
    text = quote(part.strip(), safe=" ^()[]{}+,;=@!$&'*-_.")
    return {"": "_", ".": "%2E", "..": "%2E%2E"}.get(text, text)


_LEVELS = (
    ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "IssuerOfPatientID"),
    ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyDescription", "StudyID", "AccessionNumber"),
)


def with_parents(groups: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Add the nodes of patients and studies, with their attrs."""
    out = dict(groups)
    for path, ds in groups.items():
        attrs = next((v.attrs for v in ds.data_vars.values()), ds.attrs)
        parts = path.strip("/").split("/")
        for depth, keywords in enumerate(_LEVELS, 1):
            parent = "/" + "/".join(parts[:depth])
            if len(parts) > depth and parent not in out:
                out[parent] = xr.Dataset(attrs={k: attrs[k] for k in keywords if k in attrs})
    return out

"""The seam between an image and a format: what a format offers, and what it is told.

A format is a class with the members of `Format`, named by an entry point of the group ``imagedata_xr.formats``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from ..errors import FormatError, warn

if TYPE_CHECKING:
    from ..stores.url import File


@dataclass(frozen=True)
class ReadOptions:
    """What a user asks for when opening; see `xarray.open_dataset` with this engine in the docs."""

    order: str | Mapping[str, Any] = "auto"
    auto_order: Sequence[str] | None = None
    series: Any = None
    stack: Any = None
    acquisition: Any = None
    echo: Any = None
    split: Any = None
    missing: str = "raise"
    duplicates: str | None = None
    dtype: Any = None
    mask_and_scale: bool = True
    mask_padding: bool = False
    errors: str = "warn"
    source: str = ""
    storage_options: Mapping[str, Any] | None = None
    format_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WriteOptions:
    """What a user asks for when writing; see `imd.write` in the docs."""

    kind: str | None = None
    keep_uid: bool = False
    series_number: int | None = None
    series_description: str | None = None
    image_type: str | Sequence[str] | None = None
    units: str | None = None
    identifiers: bool = False
    compute: bool = True
    overwrite: bool = False
    progress: Callable[[int, int], None] | None = None
    storage_options: Mapping[str, Any] | None = None
    format_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outline:
    """What an image will be, told without building it.

    Attributes
    ----------
    shape : dict
        Length of each dim.
    order : str
        What the volumes are ordered by; several joined by commas.
    dtype : numpy.dtype
    """

    shape: dict[str, int]
    order: str
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Facts:
    """What a format knows of the series that a node belongs to, before anything is built.

    Attributes
    ----------
    elements : mapping
        Elements by DICOM keyword, among them those that name the patient.
    series, stack : optional
        The ``series=`` and ``stack=`` that select it; None where there is nothing to choose.
    digest : int
        A number that selects the series as well, and identifies nobody; 0 for none.
    files : tuple of File
        The files of the series.
    """

    elements: Mapping[str, Any] = field(default_factory=dict)
    series: str | int | None = None
    stack: int | None = None
    digest: int = 0
    files: tuple[File, ...] = ()


@dataclass(frozen=True)
class Node:
    """One image (or header without pixels) that a source holds.

    Attributes
    ----------
    parts : tuple of str
        Its place in a tree, not yet encoded: patient, study, series, and the stack where a series has several.
    dataset : xarray.Dataset or callable
        With the variable ``image``; or with attrs only. A callable builds it when it is asked for.
    title : str
        A line for lists of what is there, without patient names and IDs.
    select : str
        The ``series=`` and ``stack=`` values that select it, for error messages.
    kind : str
        What tells it from the other stacks of its series; empty where it is the only one.
    identity : tuple of str
        What tells apart nodes whose `parts` are equal, level by level: digest of the patient, study, series.
    facts : callable, optional
        Gives the `Facts`.
    plan : callable, optional
        Gives the `Outline`, or raises what `open` would raise, for less than building the image.
    """

    parts: tuple[str, ...]
    dataset: xr.Dataset | Callable[[], xr.Dataset]
    title: str = ""
    select: str = ""
    kind: str = ""
    identity: tuple[str, ...] = ()
    facts: Callable[[], Facts] | None = None
    plan: Callable[[], Outline] | None = None

    def open(self) -> xr.Dataset:
        """Return the Dataset, built if need be."""
        return self.dataset() if callable(self.dataset) else self.dataset


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    format : str
    paths : tuple of str
    count : int
        Images (DICOM instances), or files of other formats.
    bytes : int
    uids : tuple of str
        SOP Instance UIDs, for DICOM.
    series : str
        Series Instance UID, for DICOM.
    report : optional
        What an archive said of each image: stored, warned, ...
    """

    format: str
    paths: tuple[str, ...]
    count: int
    bytes: int
    uids: tuple[str, ...] = ()
    series: str = ""
    report: Any = None

    def __repr__(self) -> str:
        """Say what was written in one line: a series may have thousands of paths and UIDs."""
        first = f", the first is {self.paths[0]}" if len(self.paths) > 1 else f": {self.paths[0]}" if self.paths else ""
        return f"<Written {self.format}: count {self.count}, {self.bytes} bytes{first}>"


ALIASES = {"itk": "metaio"}
"""Further names of formats."""


@runtime_checkable
class Format(Protocol):
    """What a format offers.

    ``read`` gives one `Node` per image, lazily where the format allows. ``write`` gets a repaired image and a target
    (path or URL, not yet checked), raises `FormatError` for what it can't hold before anything is written, refuses an
    existing target with `FileExistsError` unless ``options.overwrite``, and lets files appear only when whole. With
    ``options.compute`` false it returns a dask ``Delayed`` that yields the `Written`.

    It may say more by the attributes ``writes`` (false for a format that is only read), ``needs`` (`Needs`),
    ``aside`` (true where files of others are to be preferred) and ``knows`` (which of the options `SOME` it has).
    """

    name: str
    extensions: tuple[str, ...]
    description: str

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return those of the files that this format reads, judged by name and first bytes.

        A format whose ``by_extension`` is true is not asked where no file has one of its `extensions`.
        """
        ...

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """Read what is there, headers only."""
        ...

    def write(self, image: xr.DataArray, target: str, options: WriteOptions) -> Any:
        """Write one image."""
        ...


class Needs(NamedTuple):
    """What a format needs beside the dependencies of this library.

    Attributes
    ----------
    module : str
        Package that is imported; empty for none.
    extra : str
        Extra of imagedata-xr that installs it.
    program : str
        Program that is run; empty for none.
    """

    module: str = ""
    extra: str = ""
    program: str = ""


def missing(form: Format) -> str:
    """How to get what a format needs (its attribute ``needs``) and is not there; empty where nothing is missing."""
    needs: Needs = getattr(form, "needs", Needs())
    if needs.module and find_spec(needs.module) is None:
        return f"pip install 'imagedata-xr[{needs.extra}]'"
    if needs.program and shutil.which(needs.program) is None:
        return f"the program {needs.program}"
    return ""


SOME = ("stack", "acquisition", "echo", "split", "mask_padding", "keep_uid", "series_number", "image_type")
"""Options of reading and writing that not every format has."""


def unknown_to(forms: Sequence[Format], options: ReadOptions | WriteOptions) -> list[str]:
    """Name the options that were asked for and that none of the formats has."""
    known = {name for form in forms for name in getattr(form, "knows", ())}
    asked = {name: getattr(options, name, None) for name in SOME}  # 0 is a number that is asked for
    return [name for name in SOME if name not in known and asked[name] is not None and asked[name] is not False]


def writes(form: Format) -> bool:
    """Whether a format is written, and not only read: its attribute ``writes``, by default true."""
    return bool(getattr(form, "writes", True))


@cache
def formats() -> dict[str, Format]:
    """Return every format that is installed, by name; a broken one is named in a warning and left out."""
    found: dict[str, Format] = {}
    for point in sorted(entry_points(group="imagedata_xr.formats"), key=lambda p: p.name):
        try:
            found[point.name] = point.load()()
        except Exception as error:  # noqa: BLE001  # whatever the code of another package raises must not stop the others
            warn(f"the format {point.name!r} ({point.value}) can't be used: {type(error).__name__}: {error}")
    return found


def format_named(name: str) -> Format:
    """Format of a name, or of an extension such as ``".nii.gz"``; `FormatError` with the names there are for others."""
    have = formats()
    name = ALIASES.get(name, name)
    if name.startswith("."):
        name = next((form.name for form in have.values() if name.lower() in form.extensions), name)
    if name not in have:
        raise FormatError(f"unknown format {name!r}; there are {', '.join(have)}")
    return have[name]


def extension_for(word: str) -> str:
    """Extension of files of a format, which its name stands for or the extension itself; none for DICOM, a folder."""
    form = format_named(word)
    if word.startswith("."):
        return word
    return "" if form.name == "dicom" else (form.extensions or ("",))[0]


def format_of_target(target: str) -> Format | None:
    """Format that a target's extension names; the longest extension wins; None for a name without one."""
    lower = str(target).lower().rstrip("/")
    hits = [(len(e), f) for f in formats().values() for e in f.extensions if lower.endswith(e)]
    return max(hits, key=lambda h: h[0])[1] if hits else None


def check_format_options(given: Mapping[str, Any], known: Sequence[str], name: str) -> None:
    """Raise `FormatError` for an option of ``format_options`` that a format does not know."""
    if unknown := sorted(set(given) - set(known)):
        raise FormatError(f"unknown format_options {unknown}: {name} knows {', '.join(known) or 'none'}")

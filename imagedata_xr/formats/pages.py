"""Pages: pictures without a place in the patient, as the slices of an image.

A format says what pages its files have (`PageFormat.pages`), from their headers, and decodes some of them when they
are asked for (`PageFormat.decode`). Pages of one size and kind become one image.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SeriesError, SourceError, warn
from ..model.lazy import LazyArray, axis_indices
from ..stores.ranges import Plain
from ..stores.url import File, file_name
from .carried import Known
from .incoming import Incoming, check_place, dataset
from .raw_array import exact_cast, scaled
from .seam import Facts, Node, ReadOptions, check_format_options
from .several import is_dicom, stem_of, with_extension

_AT_ONCE = 4  # files that are decoded at the same time
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, eq=False)
class Stack:
    """What a file says of its pages together, which come volume after volume, slice after slice.

    Attributes
    ----------
    slices : int
    volumes : tuple of int
        Lengths of the axes of volumes, the fastest first.
    step : float, optional
        Distance of the slices, mm.
    known : Known
        What the file says of the volumes.
    affine : ndarray, shape (4, 4), optional
        From index (slice, row, col) to LPS mm.
    content : mapping, optional
        What travelled in the file, see `carried`.
    attrs : mapping
    """

    slices: int
    volumes: tuple[int, ...] = ()
    step: float | None = None
    known: Known = field(default_factory=Known)
    affine: NDArray[np.float64] | None = None
    content: Mapping[str, Any] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """One page as the headers of its file say it.

    Attributes
    ----------
    file : File
    number : int
        Of the page in its file, from 0.
    size : tuple of int
        Rows and columns, as it is shown.
    stored : numpy.dtype
    colour : bool
        Whether each pixel is three values.
    spacing : tuple of float, optional
        Distance of rows and of columns, mm, where the file says one that can be believed.
    stack : Stack, optional
        What the file says of all pages that have the same one.
    """

    file: File
    number: int
    size: tuple[int, int]
    stored: np.dtype[Any]
    colour: bool = False
    spacing: tuple[float, float] | None = None
    stack: Stack | None = None

    @property
    def kind(self) -> tuple[Any, ...]:
        """What pages of one image have in common."""
        return self.size, self.stored, self.colour


def natural(path: str) -> tuple[Any, ...]:
    """Key by which names sort as people number them: ``a2`` before ``a10``."""
    return tuple((int(w), w) if w.isdigit() else (-1, w.lower()) for w in _DIGITS.split(path) if w)


class PageFormat:
    """A format of pages.

    Attributes
    ----------
    name, extensions, description : as in `seam.Format`
    aside : bool
        Its files often lie beside images of other formats, and are only read where there are none of those.
    by_extension : bool
        Whether only files with one of the extensions lead to images of the format.
    reading : tuple of str
        Names of ``format_options``.
    """

    name: ClassVar[str]
    extensions: tuple[str, ...]
    description: str
    aside: ClassVar[bool] = True
    by_extension: ClassVar[bool] = True
    reading: ClassVar[tuple[str, ...]] = ("volumes",)

    # --- what a format says of itself ---

    def pages(self, file: File, options: ReadOptions) -> list[Page]:
        """Pages of a file, by its headers.

        Raises
        ------
        SourceError
            If the file is damaged.
        FormatError
            If it has what can't be held.
        """
        raise NotImplementedError

    def decode(self, file: File, numbers: Sequence[int], options: Mapping[str, Any]) -> Iterator[NDArray[Any]]:
        """Pixels of pages, (rows, columns[, 3]) each, in the order of the numbers, in the type that `pages` said."""
        raise NotImplementedError

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise `FormatError` for values of ``format_options`` that can't be."""

    # --- what follows from it ---

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return files with an extension of the format, unless they begin as DICOM does.

        A damaged one is of the format: reading it says what is wrong.
        """
        return [f for f in with_extension(files, self.extensions) if not is_dicom(Plain(f).head(132))]

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """Read headers. Pages of one folder, size and kind are one image, in the order of the numbers in their names.

        A file of several pages is an image by itself, unless ``volumes`` says that all files together are one.

        Raises
        ------
        SourceError
            If a file is damaged (with ``errors="warn"``: if all are; else they are named in one warning).
        SeriesError
            If ``series`` selects none of the images.
        """
        asked = options.format_options
        check_format_options(asked, self.reading, f"reading {self.name}")
        volumes = asked.get("volumes")
        if volumes is not None and (not isinstance(volumes, int) or volumes < 1):
            raise FormatError(f"format_options volumes={volumes!r}: the number of volumes, 1 or more")
        self.check_options(asked)
        groups = list(_groups(self._all_pages(files, options), volumes is not None).items())
        names = [_called(self, group) for _, group in groups]
        nodes = []
        for k, (_, group) in enumerate(groups):
            key: str | int = names[k] if names.count(names[k]) == 1 else k
            if options.series is None or options.series == k or str(options.series) == names[k]:
                nodes.append(self._node(group, names[k], key, options))
        if groups and not nodes:
            raise SeriesError(f"series={options.series!r} is none of the images: {', '.join(map(repr, names))}")
        return nodes

    def _all_pages(self, files: Sequence[File], options: ReadOptions) -> list[Page]:
        found: list[Page] = []
        failed: list[SourceError | FormatError] = []
        for file in sorted(files, key=lambda f: natural(f.path)):
            try:
                found += self.pages(file, options)
            except (SourceError, FormatError) as error:
                if options.errors == "raise":
                    raise
                failed.append(error)
        if failed and not found:
            raise failed[0]
        if failed:
            more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
            warn(f"{len(failed)} files are left out: {'; '.join(map(str, failed[:5]))}{more}")
        return found

    def _node(self, pages: list[Page], name: str, key: str | int, options: ReadOptions) -> Node:
        (rows, cols), colour = pages[0].size, pages[0].colour
        return Node(
            parts=("", "", name),
            dataset=partial(self._dataset, pages, name, options),
            title=f"{name}: {cols} x {rows} x {len(pages)} (columns, rows, pages){' in colour' if colour else ''}",
            select=f"series={key!r}",
            facts=partial(Facts, series=key, files=tuple(dict.fromkeys(p.file for p in pages))),
        )

    def _dataset(self, pages: list[Page], name: str, options: ReadOptions) -> Any:
        first, count = pages[0], len(pages)
        asked = options.format_options.get("volumes")
        said = first.stack if asked is None and len({p.stack for p in pages}) == 1 else None
        stack = said or Stack(count // (asked or 1), (asked or 1,))
        if count != stack.slices * int(np.prod(stack.volumes, dtype=int)):
            raise FormatError(f"{name} has {count} pages, which are not {asked or 1} volumes of equal size")
        found = Incoming(
            name=name,
            shape=(first.size[1], first.size[0], stack.slices, *stack.volumes),
            stored=first.stored,
            affine=stack.affine,
            content=stack.content,
            known=stack.known,
            channels=3 if first.colour else 1,
            attrs={**stack.attrs, **_spacing_attrs(pages, stack, name)},
        )

        def make(found: Incoming, numbers: NDArray[np.intp], flip: bool, options: ReadOptions) -> LazyArray:
            wanted = None if options.dtype is None else np.dtype(options.dtype)
            return PageArray(
                self, pages, numbers, found.grid, found.value_type(options), wanted, flip, options.format_options
            )

        return dataset(check_place(found), make, options)


def _spacing_attrs(pages: Sequence[Page], stack: Stack, name: str) -> dict[str, Any]:
    """Spacing of pages that have no place in the patient, which would say it."""
    if stack.affine is not None:
        return {}
    spacings = {p.spacing for p in pages}
    if len(spacings) > 1:
        warn(f"the pages of {name} have {len(spacings)} different resolutions: their spacing is left out")
        return {}
    (spacing,) = spacings
    out: dict[str, Any] = {} if spacing is None else {"NominalScannedPixelSpacing": list(spacing)}
    return out if stack.step is None else {**out, "SpacingBetweenSlices": stack.step}


class _Group(NamedTuple):
    """What tells the images of a source apart."""

    place: tuple[Any, ...]
    kind: tuple[Any, ...]


def _groups(pages: Sequence[Page], joined: bool) -> dict[_Group, list[Page]]:
    found: dict[_Group, list[Page]] = {}
    counts = Counter(page.file for page in pages)
    for page in pages:
        place: tuple[Any, ...] = (id(page.file.fs), os.path.dirname(page.file.path))
        if not joined and counts[page.file] > 1:
            place = (id(page.file.fs), page.file.path, id(page.stack))
        found.setdefault(_Group(place, page.kind), []).append(page)
    return found


def _called(form: PageFormat, pages: Sequence[Page]) -> str:
    """Name of an image: that of its file, of its folder where it is of several files."""
    first = pages[0].file
    if any(p.file != first for p in pages):
        return os.path.basename(os.path.dirname(first.path)) or file_name(first)
    return stem_of(first, form.extensions) or file_name(first)


@dataclass
class PageArray:
    """A `LazyArray` over pages, of which each is decoded as a whole, and once per part that is read.

    Attributes
    ----------
    form : PageFormat
    pages : list of Page
        Slice after slice, volume after volume.
    volumes : ndarray of int
        Number of each volume; its shape is that of the leading dims.
    grid : tuple of int
        Slices, rows, columns, and 3 for colour.
    values : numpy.dtype
        Type of the values.
    wanted : numpy.dtype, optional
        What the user asks for; values must fit exactly.
    flip : bool
        Whether the rows are read backwards.
    options : mapping
        The ``format_options``.
    """

    form: PageFormat
    pages: list[Page]
    volumes: NDArray[np.intp]
    grid: tuple[int, ...]
    values: np.dtype[Any]
    wanted: np.dtype[Any] | None
    flip: bool
    options: Mapping[str, Any]
    shape: tuple[int, ...] = field(init=False)
    dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = (*self.volumes.shape, *self.grid)
        self.dtype = self.wanted or self.values

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Decode the pages that the key names, file by file, some at a time."""
        at = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        lead = self.volumes.ndim
        wanted = (self.volumes[np.ix_(*at[:lead])].reshape(-1, 1) * self.grid[0] + at[lead]).ravel()
        out = np.empty([len(a) for a in at], dtype=self.dtype)
        if out.size:
            flat = out.reshape(len(wanted), *out.shape[lead + 1 :])
            by_file: dict[File, list[int]] = {}
            for k in dict.fromkeys(wanted.tolist()):
                by_file.setdefault(self.pages[k].file, []).append(k)
            rows, *rest = at[lead + 1 :]
            rows = self.grid[1] - 1 - rows if self.flip else rows
            fill = partial(self._fill, flat, wanted, np.ix_(rows, *rest))
            if len(by_file) == 1:
                fill(*next(iter(by_file.items())))
            else:
                with ThreadPoolExecutor(min(_AT_ONCE, len(by_file))) as pool:
                    for _ in pool.map(fill, by_file, by_file.values()):
                        pass
        return out[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]

    def _fill(
        self, out: NDArray[Any], wanted: NDArray[np.intp], inner: tuple[Any, ...], file: File, pages: Sequence[int]
    ) -> None:
        numbers = [self.pages[k].number for k in pages]
        for k, pixels in zip(pages, self.form.decode(file, numbers, self.options), strict=True):
            page = self.pages[k]
            shape = (*page.size, 3) if page.colour else page.size
            if pixels.shape != shape or pixels.dtype.newbyteorder("=") != page.stored:
                raise SourceError(
                    f"page {page.number + 1} of {file_name(file)} has {pixels.shape} pixels of {pixels.dtype}, where "
                    f"its header said {shape} of {page.stored}: the file is damaged, or was changed since"
                )
            part = exact_cast(scaled(pixels[inner], 1.0, 0.0, self.values), self.dtype)
            out[wanted == k] = part


def believable(rows: float, cols: float) -> tuple[float, float] | None:
    """Spacing of rows and columns, mm, unless it can't be one, or is only what programs write who know none.

    72 and 96 pixels per inch are such, and what is below 0.1 micrometre or above 100 mm.
    """
    if not (1e-4 < rows < 100 and 1e-4 < cols < 100):
        return None  # NaN too
    if any(abs(25.4 / rows - dpi) < 0.02 and abs(25.4 / cols - dpi) < 0.02 for dpi in (72, 96)):
        return None
    return float(f"{rows:.9g}"), float(f"{cols:.9g}")


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Picture as it is to be shown: what the tag Orientation of TIFF 6.0 and Exif 2.3 (1 to 8) says is undone."""
    if orientation in (5, 6, 7, 8):  # the stored rows are columns
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels

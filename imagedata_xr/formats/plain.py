"""What formats with one header per image share: which files are theirs, reading one by one, writing whole files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ..errors import FormatError, ImagedataError
from ..stores.ranges import Plain
from ..stores.url import File
from .fit import Holds
from .incoming import Incoming, Maker, dataset
from .outgoing import Outgoing, outgoing
from .seam import Facts, Node, ReadOptions, WriteOptions, Written, check_format_options
from .several import extension_of, is_dicom, read_each, stem_of, with_extension
from .whole import Whole


class Opened(NamedTuple):
    """What a header says, how its voxels are read, and the files that they are in beside the header's own."""

    found: Incoming
    make: Maker
    beside: tuple[File, ...] = ()


class WholeFormat:
    """A format that writes an image into one file, or a few that belong together, in a type that holds all values.

    Attributes
    ----------
    name, extensions, description : as in `seam.Format`
        The first extension is that of files that are written.
    holds : Holds, optional
        What the files can hold; None for a format that is only read.
    writing : tuple of str
        Names of ``format_options``.
    """

    name: ClassVar[str]
    extensions: tuple[str, ...]
    description: str
    holds: ClassVar[Holds | None] = None
    writing: ClassVar[tuple[str, ...]] = ()

    # --- what a format says of itself ---

    def files(self, stem: str, extension: str, options: WriteOptions) -> tuple[list[str], list[str]]:
        """Names of the files to write, the main one last; and of those that would be taken as belonging to it."""
        return [stem + extension], []

    def save(self, out: Outgoing, places: Sequence[Path], names: Sequence[str], options: WriteOptions) -> None:
        """Write an image to the places of the files of `files`."""
        raise NotImplementedError

    def check(self, out: Outgoing, extension: str, options: WriteOptions) -> None:
        """Raise `FormatError` for what can't be written, before anything is."""

    # --- what follows from it ---

    @property
    def writes(self) -> bool:
        """Whether it is written, and not only read."""
        return self.holds is not None

    def write(self, image: Any, target: str, options: WriteOptions) -> Any:
        """Write one image.

        Several volume dims are flattened into the fourth axis in C order. Integers that the image was stored as are
        stored again while all values fit.

        Raises
        ------
        FormatError
            If the format can't hold the image.
        FileExistsError
            If a file exists and ``options.overwrite`` is false.
        """
        if self.holds is None:
            raise FormatError(f"{self.name} files are read, and not written: write NIfTI (.nii.gz) or NRRD (.nrrd)")
        called = os.path.basename(str(target))
        extension = extension_of(called, self.extensions)
        if not extension:
            raise FormatError(f"a file of {self.holds.name} is called {' or '.join(self.extensions)}, not {called!r}")
        check_format_options(options.format_options, self.writing, f"writing {self.holds.name}")
        out = outgoing(image, self.holds)
        self.check(out, extension, options)
        names, stale = self.files(called[: -len(extension)], called[-len(extension) :], options)
        whole = Whole(str(target), names, stale, options.overwrite, options.storage_options)
        job = partial(_save, self, out, whole, options)
        if options.compute:
            return job()
        from dask.delayed import delayed

        return delayed(job, pure=False)()


class PlainFormat(WholeFormat):
    """A format whose header says all of an image; a subclass says how it is read (`open`) and written (`save`).

    Attributes
    ----------
    by_extension : bool
        Whether only files with one of the extensions lead to images of the format; those that they name may have any.
    reading : tuple of str
        Names of ``format_options``.
    """

    by_extension: ClassVar[bool] = True
    reading: ClassVar[tuple[str, ...]] = ()

    # --- what a format says of itself ---

    def open(self, file: File, options: ReadOptions) -> Opened:
        """Read a header.

        Raises
        ------
        SourceError
            If the file is damaged.
        FormatError
            If it says what can't be held.
        """
        raise NotImplementedError

    def named(self, file: File) -> Sequence[str]:
        """Names of other files that a header says to belong to it."""
        return []

    # --- what follows from it ---

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return files with an extension of the format that `is_ours`, and those that they name."""
        mine = [f for f in with_extension(files, self.extensions) if self.is_ours(f)]
        if not mine:
            return []
        chosen = {(id(f.fs), f.path) for f in mine}
        for f in mine:
            try:
                names = self.named(f)
            except ImagedataError:
                continue  # reading it says what is wrong
            folder = os.path.dirname(f.path)
            chosen |= {(id(f.fs), os.path.normpath(os.path.join(folder, n))) for n in names}
        return [f for f in files if (id(f.fs), f.path) in chosen]

    def is_ours(self, file: File) -> bool:
        """Whether a file with an extension of the format is of it, judged by its first bytes.

        A damaged one is: reading it says what is wrong.
        """
        return not is_dicom(Plain(file).head(132))

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """Read headers; one node per image.

        Raises
        ------
        SourceError
            If a file is damaged (with ``errors="warn"``: if all are; else they are named in one warning).
        """
        check_format_options(options.format_options, self.reading, f"reading {self.name}")
        heads = [f for f in files if extension_of(f.path, self.extensions)] or list(files)
        return read_each(heads, self.extensions, options, lambda file, key: self._node(file, options, key))

    def _node(self, file: File, options: ReadOptions, key: str | int) -> Node:
        found, make, beside = self.open(file, options)
        stem = stem_of(file, self.extensions)
        return Node(
            parts=("", "", stem),
            dataset=partial(dataset, found, make, options),
            title=f"{stem}: {' x '.join(map(str, found.shape))} (columns, rows, slices, volumes)",
            select=f"series={key!r}",
            facts=partial(Facts, series=key, files=(file, *beside)),
        )


def _save(form: WholeFormat, out: Outgoing, whole: Whole, options: WriteOptions) -> Written:
    with whole.files() as places:
        paths = [places[n] for n in whole.names]
        form.save(out, paths, whole.names, options)
        size = sum(p.stat().st_size for p in paths)
    return Written(form.name, tuple(whole.shown(n) for n in reversed(whole.names)), len(paths), size)


def level_of(options: Mapping[str, Any], default: int = 0) -> int:
    """Level of ``format_options={"compress": ...}``: True, False, or a level from 1 to 9; 0 for none.

    Raises
    ------
    FormatError
        For anything else.
    """
    level = options.get("compress", default)
    if level is not True and level not in range(10):
        raise FormatError(f"format_options compress={level!r}: True, False, or a level from 1 to 9")
    return 6 if level is True else int(level)

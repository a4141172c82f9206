"""Where each image of a tree is written: under its number, so that no identifier gets into a file name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from ..errors import FormatError
from ..formats.seam import WriteOptions, Written, format_named
from ..formats.writing import write
from ..model.image import NAME
from .media import RootDirectory, copy_bare, is_bare, media_options

_OPTIONS = set(WriteOptions.__dataclass_fields__) - {"progress"} | {"template", "geometry"}


@dataclass(frozen=True)
class Targets:
    """Names of what is written below a folder or URL: ``0001``, ``0002``, ... with the extension of the format.

    Attributes
    ----------
    base : str
        ``%p`` in it becomes the name of the format.
    formats : tuple of str
    options : mapping
        Those of ``imd.write``, among them ``template`` and ``geometry``.
    dicomdir : bool
        List all DICOM files in a DICOMDIR of the base.
    """

    base: str
    formats: tuple[str, ...] = ("dicom",)
    options: Mapping[str, Any] = field(default_factory=dict)
    dicomdir: bool = False

    @classmethod
    def of(cls, url: str | os.PathLike[str], format: str | Sequence[str] | None, options: Mapping[str, Any]) -> Targets:
        """Check formats and options.

        Raises
        ------
        FormatError
            For what there is not, several formats without ``%p``, and a DICOMDIR of other formats or of an archive.
        """
        names = [format or "dicom"] if isinstance(format, str) or format is None else list(format)
        forms = tuple(format_named(name).name for name in names)
        if strange := sorted(set(options) - _OPTIONS - {"dicomdir"}):
            raise FormatError(f"unknown options of write: {', '.join(strange)}")
        base = os.fspath(url).rstrip("/")
        if len(forms) > 1 and "%p" not in base:
            raise FormatError(f"several formats ({', '.join(forms)}) need '%p' in the path, which becomes their names")
        # a worker of this machine may have another working folder
        base = base if "://" in base else os.path.abspath(os.path.expanduser(base))
        rest = {name: value for name, value in options.items() if name != "dicomdir"}
        wanted = dict(rest.get("format_options") or {})
        if not (options.get("dicomdir") or wanted.get("dicomdir")):
            return cls(base, forms, rest)
        if forms != ("dicom",):
            raise FormatError("dicomdir=True lists DICOM files: write the other formats without it")
        rest["format_options"] = media_options(wanted, base)
        return cls(base, forms, rest, dicomdir=True)

    @contextlib.contextmanager
    def folder(self) -> Iterator[None]:
        """Make the folder, so that no worker makes or removes it; if nothing is in it at the end, it goes again."""
        folders = [self.folder_of(name).removeprefix("file://") for name in self.formats]
        made = [folder for folder in folders if "://" not in folder and not os.path.isdir(folder)]
        for folder in made:
            os.makedirs(folder, exist_ok=True)
        try:
            yield
        finally:
            for folder in made:
                if not os.listdir(folder):
                    os.rmdir(folder)

    def folder_of(self, format: str) -> str:
        """Folder or URL below which images of a format go."""
        return self.base.replace("%p", format)

    def name(self, number: int, format: str) -> str:
        """Where the image of a number goes: DICOM into a folder, other formats into a file."""
        extension = "" if format == "dicom" else (format_named(format).extensions or ("",))[0]
        return f"{self.folder_of(format)}/{number:04d}{extension}"

    def write(self, result: Any, number: int) -> Any:
        """Write the result of a function, or copy a series without pixels.

        Returns
        -------
        Written
            A list of them for several formats; nothing of a format that has no word for a series without pixels.

        Raises
        ------
        FormatError
            It is no image.
        """
        if is_bare(result):
            return copy_bare(result, self.name(number, "dicom"), self._options())
        if not isinstance(result, xr.DataArray) and not (isinstance(result, xr.Dataset) and NAME in result.data_vars):
            raise FormatError(
                f"to= writes images, and the function returned {type(result).__name__}: leave to= out, or write there"
            )
        options = dict(self.options)
        template, geometry = options.pop("template", None), options.pop("geometry", None)
        written: list[Written] = [
            write(result, self.name(number, name), name, template, geometry, WriteOptions(**options))
            for name in self.formats
        ]
        return written[0] if len(written) == 1 else written

    def _options(self) -> WriteOptions:
        return WriteOptions(**{k: v for k, v in self.options.items() if k not in ("template", "geometry")})

    def check(self) -> None:
        """Raise `FileExistsError` where a DICOMDIR would have to be replaced."""
        if self.dicomdir:
            RootDirectory(self.folder_of("dicom"), self._options())

    def finish(self, written: Iterable[Written]) -> None:
        """List in a DICOMDIR what was written, where that is asked for."""
        if self.dicomdir:
            RootDirectory(self.folder_of("dicom"), self._options()).write(p for one in written for p in one.paths)

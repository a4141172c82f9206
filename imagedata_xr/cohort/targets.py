"""Where each image of a tree is written: under its number, so that no identifier gets into a file name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import xarray as xr

from ..errors import FormatError
from ..formats.seam import WriteOptions, Written, extension_for, format_named
from ..formats.writing import write
from ..model.image import NAME
from ..stores.address import archive_address
from ..stores.registry import store_of
from .media import RootDirectory, copy_bare, is_bare, media_options
from .packing import Packing

_OPTIONS = set(WriteOptions.__dataclass_fields__) - {"progress"} | {"template", "geometry"}


@dataclass(frozen=True)
class Targets:
    """Names of what is written below a folder, an archive or a URL: ``0001``, ``0002``, ... with an extension.

    Attributes
    ----------
    folders : tuple of str
        One for each format.
    formats : tuple of str
    extensions : tuple of str
        One for each format; empty for DICOM, of which each image is a folder.
    options : mapping
        Those of ``imd.write``, among them ``template`` and ``geometry``.
    dicomdir : bool
        List all DICOM files in a DICOMDIR of the folder.
    """

    folders: tuple[str, ...]
    formats: tuple[str, ...] = ("dicom",)
    extensions: tuple[str, ...] = ("",)
    options: Mapping[str, Any] = field(default_factory=dict)
    dicomdir: bool = False

    @classmethod
    def of(cls, url: str | os.PathLike[str], format: str | Sequence[str] | None, options: Mapping[str, Any]) -> Targets:
        """Check formats and options.

        Parameters
        ----------
        url : str or path
            ``%p`` in it becomes the name of the format.
        format : str or sequence of str, optional
            Names of formats, or extensions such as ``".nii.gz"``; DICOM by default.
        options : mapping

        Raises
        ------
        FormatError
            For what there is not, several formats without ``%p``, and a DICOMDIR of other formats or of an archive.
        """
        words = [format or "dicom"] if isinstance(format, str) or format is None else list(format)
        forms = tuple(format_named(word).name for word in words)
        if strange := sorted(set(options) - _OPTIONS - {"dicomdir"}):
            raise FormatError(f"unknown options of write: {', '.join(strange)}")
        base = os.fspath(url).rstrip("/")
        if len(forms) > 1 and "%p" not in base:
            raise FormatError(f"several formats ({', '.join(words)}) need '%p' in the path, which becomes their names")
        # a worker of this machine may have another working folder
        base = base if "://" in base else os.path.abspath(os.path.expanduser(base))
        rest = {name: value for name, value in options.items() if name != "dicomdir"}
        wanted = dict(rest.get("format_options") or {})
        folders = tuple(base.replace("%p", form) for form in forms)
        if len(set(zip(folders, map(extension_for, words), strict=True))) < len(words):
            raise FormatError(f"{', '.join(words)}: the same files would be written twice")
        targets = cls(folders, forms, tuple(map(extension_for, words)), rest)
        if not (options.get("dicomdir") or wanted.get("dicomdir")):
            return targets
        if forms != ("dicom",):
            raise FormatError("dicomdir=True lists DICOM files: write the other formats without it")
        if archive_address(base) is not None:
            raise FormatError("dicomdir=True lists the files of a folder: write into one, and pack it afterwards")
        rest["format_options"] = media_options(wanted, base)
        return replace(targets, options=rest, dicomdir=True)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Opened]:
        """Make the folders, so that no worker makes or removes them; those with nothing in them at the end go again.

        In place of an archive it is a folder beside it, which is packed at the end. A DICOMDIR, where one is asked for,
        is written last; `FileExistsError` tells at the beginning where one would have to be replaced.
        """
        directory = RootDirectory(self.folders[0], self._options()) if self.dicomdir else None
        with contextlib.ExitStack() as at_end:
            packings = []
            folders = list(self.folders)
            for k, address in enumerate(self.folders):
                if archive_address(address) is not None:
                    packings.append(packing := Packing(address, self._options()))
                    at_end.callback(packing.close)
                    folders[k] = packing.folder
                elif "://" not in (place := address.removeprefix("file://")) and not os.path.isdir(place):
                    os.makedirs(place, exist_ok=True)
                    at_end.callback(_remove_empty, place)
            opened = Opened(replace(self, folders=tuple(folders)), packings)
            yield opened
            opened.pack()
            if directory is not None:
                directory.write(opened.paths)

    def name(self, number: int, k: int = 0) -> str:
        """Where the image of a number goes in the k-th format: DICOM into a folder, other formats into a file.

        Archives of images file by what headers say: their address has no place for a number.
        """
        folder = self.folders[k]
        if self.formats[k] == "dicom" and store_of(folder) is not None:
            return folder
        return f"{folder}/{number:04d}{self.extensions[k]}"

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
            return copy_bare(result, self.name(number, self.formats.index("dicom")), self._options())
        if not isinstance(result, xr.DataArray) and not (isinstance(result, xr.Dataset) and NAME in result.data_vars):
            raise FormatError(
                f"to= writes images, and the function returned {type(result).__name__}: leave to= out, or write there"
            )
        options = dict(self.options)
        template, geometry = options.pop("template", None), options.pop("geometry", None)
        written: list[Written] = [
            write(result, self.name(number, k), form, template, geometry, WriteOptions(**options))
            for k, form in enumerate(self.formats)
        ]
        return written[0] if len(written) == 1 else written

    def _options(self) -> WriteOptions:
        return WriteOptions(**{k: v for k, v in self.options.items() if k not in ("template", "geometry")})


class Opened:
    """Targets that are being written.

    Attributes
    ----------
    targets : Targets
        Where workers write.
    paths : list of str
        What they have written.
    """

    def __init__(self, targets: Targets, packings: list[Packing]) -> None:
        self.targets, self._packings = targets, packings
        self.paths: list[str] = []

    def told(self, value: Any) -> Any:
        """Take note of what a worker has written, and name the places where it will be in the end."""
        if isinstance(value, list):
            return [self.told(one) for one in value]
        return replace(value, paths=tuple(map(self._told, value.paths))) if isinstance(value, Written) else value

    def _told(self, path: str) -> str:
        self.paths.append(path)
        return next((packing.address_of(path) for packing in self._packings if packing.holds(path)), path)

    def pack(self) -> None:
        """Fill the archives."""
        for packing in self._packings:
            packing.pack(sorted(path for path in self.paths if packing.holds(path)))


def _remove_empty(folder: str) -> None:
    if not os.listdir(folder):
        os.rmdir(folder)

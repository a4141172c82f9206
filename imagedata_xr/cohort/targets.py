"""Where each image of a tree is written: under its number, so that no identifier gets into a file name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from ..errors import FormatError
from ..formats.seam import WriteOptions, Written, format_named
from ..formats.writing import write
from ..model.image import NAME

_OPTIONS = set(WriteOptions.__dataclass_fields__) - {"progress"} | {"template", "geometry"}


@dataclass(frozen=True)
class Targets:
    """Names of what is written below a folder or URL: ``0001``, ``0002``, ... with the extension of the format.

    Attributes
    ----------
    base : str
    format : str
    options : mapping
        Those of ``imd.write``, among them ``template`` and ``geometry``.
    """

    base: str
    format: str = "dicom"
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str | os.PathLike[str], format: str | None, options: Mapping[str, Any]) -> Targets:
        """Check format and options.

        Raises
        ------
        FormatError
            For what there is not.
        """
        form = format_named(format or "dicom")
        if strange := sorted(set(options) - _OPTIONS):
            raise FormatError(f"unknown options of write: {', '.join(strange)}")
        base = os.fspath(url).rstrip("/")
        # a worker of this machine may have another working folder
        base = base if "://" in base else os.path.abspath(os.path.expanduser(base))
        return cls(base, form.name, dict(options))

    @contextlib.contextmanager
    def folder(self) -> Iterator[None]:
        """Make the folder, so that no worker makes or removes it; if nothing is in it at the end, it goes again."""
        target = self.base.removeprefix("file://")
        made = "://" not in target and not os.path.isdir(target)
        if made:
            os.makedirs(target, exist_ok=True)
        try:
            yield
        finally:
            if made and not os.listdir(target):
                os.rmdir(target)

    def name(self, number: int) -> str:
        """Where the image of a number goes: DICOM into a folder, other formats into a file."""
        extension = "" if self.format == "dicom" else (format_named(self.format).extensions or ("",))[0]
        return f"{self.base}/{number:04d}{extension}"

    def write(self, result: Any, number: int) -> Written:
        """Write the result of a function.

        Raises
        ------
        FormatError
            It is no image.
        """
        if not isinstance(result, xr.DataArray) and not (isinstance(result, xr.Dataset) and NAME in result.data_vars):
            raise FormatError(
                f"to= writes images, and the function returned {type(result).__name__}: leave to= out, or write there"
            )
        options = dict(self.options)
        template, geometry = options.pop("template", None), options.pop("geometry", None)
        written: Written = write(result, self.name(number), self.format, template, geometry, WriteOptions(**options))
        return written

"""Medical images as labelled arrays: an xarray engine (``engine="imagedata"``), the accessor ``.imd``, a command.

>>> import xarray as xr, imagedata_xr
>>> a = xr.open_dataarray("folder", engine="imagedata", chunks={})  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import accessor as accessor
from .errors import (
    FormatError,
    GeometryError,
    GridError,
    IdentityError,
    ImagedataError,
    ImagedataWarning,
    LabelError,
    NotFoundError,
    OriginalError,
    SeriesError,
    SortError,
    SourceError,
)
from .formats.seam import Written
from .formats.seam import formats as formats
from .making import from_array
from .model.image import repair
from .options import set_options

if TYPE_CHECKING:
    from .formats.catalog import catalog
    from .formats.nifti import from_nibabel

__version__ = "0.1.0"

__all__ = [
    "FormatError",
    "GeometryError",
    "GridError",
    "IdentityError",
    "ImagedataError",
    "ImagedataWarning",
    "LabelError",
    "NotFoundError",
    "OriginalError",
    "SeriesError",
    "SortError",
    "SourceError",
    "Written",
    "catalog",
    "formats",
    "from_array",
    "from_nibabel",
    "repair",
    "set_options",
]

_LATER = {"catalog": "formats.catalog", "from_nibabel": "formats.nifti"}
"""What is imported when it is asked for, with what it needs: fsspec takes a tenth of the time of xarray."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})

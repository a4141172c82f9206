"""Medical images as labelled arrays: an xarray engine (``engine="imagedata"``), the accessor ``.imd``, a command.

>>> import xarray as xr, imagedata_xr
>>> a = xr.open_dataarray("folder", engine="imagedata", chunks={})  # doctest: +SKIP
"""

from __future__ import annotations

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
    SeriesError,
    SortError,
    SourceError,
)
from .formats.catalog import catalog
from .formats.nifti import from_nibabel
from .formats.seam import Written
from .formats.seam import formats as formats
from .making import from_array
from .model.image import repair
from .options import set_options

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

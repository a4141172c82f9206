"""The errors and warnings of this library: one small family, with built-in errors as parents."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import xarray
from xarray import AlignmentError

_listeners: ContextVar[tuple[list[str], ...]] = ContextVar("listeners", default=())
_OURS = tuple(f"{Path(module).parent}{os.sep}" for module in (__file__, xarray.__file__))


class ImagedataError(Exception):
    """Base of every error that this library raises on purpose."""


class SourceError(ImagedataError, OSError):
    """A source can't be read: damaged, not an image, or refused."""


class NotFoundError(SourceError, FileNotFoundError):
    """Nothing is there at the address, or nothing that is an image."""


class FormatError(ImagedataError, ValueError):
    """A format is unknown, or can't hold the data it is asked to hold."""


class OriginalError(ImagedataError, FileExistsError):
    """Writing would replace what the image was read from."""


class SeriesError(ImagedataError, ValueError):
    """The source holds several series or stacks where one was asked for, or none that matches."""


class SortError(ImagedataError, ValueError):
    """The images of a series can't be arranged as slices and volumes: duplicates, holes, an order without values."""


class LabelError(ImagedataError, ValueError):
    """A label, dim or option has a value that the data model does not allow."""


class GeometryError(ImagedataError, ValueError):
    """The position of the voxels is absent, lost or uneven, where it is needed."""


class GridError(ImagedataError, AlignmentError):
    """Two images do not lie on the same grid, or their volumes differ in time, b-value or direction."""


class IdentityError(ImagedataError, ValueError):
    """Two patients or studies would be mixed up."""


class ImagedataWarning(UserWarning):
    """Category of every warning of this library."""


def warn(message: str) -> None:
    """Warn with `ImagedataWarning` on behalf of the line outside of this library, and of xarray, that led here."""
    for heard in _listeners.get():
        heard.append(message)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, ImagedataWarning, stacklevel=level)


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Note the messages of all warnings of this library that the block gives in this thread, beside giving them."""
    heard: list[str] = []
    token = _listeners.set((*_listeners.get(), heard))
    try:
        yield heard
    finally:
        _listeners.reset(token)

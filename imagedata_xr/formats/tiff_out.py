"""From an image to a TIFF file that Fiji and others read right, with all that this library reads again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .carried import carry, compact
from .fit import Holds
from .outgoing import Outgoing, write_fitting
from .pictures_out import spacing_of
from .plain import level_of
from .seam import WriteOptions
from .tiff_stack import TAG

IMAGEJ = ("u1", "u2", "i2", "f4")
TYPES = (*IMAGEJ, "f8", "i1", "i4", "u4")
_LARGEST = (1 << 32) - (1 << 25)  # bytes of a TIFF that is no BigTIFF


def save(out: Outgoing, place: Path, options: WriteOptions) -> None:
    """Write a hyperstack of ImageJ where its types hold all values and it is below 4 GB, else OME-TIFF.

    Fiji opens the first by itself and the second by Bio-Formats; other programs see pages in both.

    Raises
    ------
    FormatError
        If no type holds all values exactly.
    """
    content = compact(_content(out, options))
    # tifffile takes a single column of ImageJ's for samples of a row
    if out.spatial[0] > 1 and (out.image.size * 4 < _LARGEST or out.image.nbytes < _LARGEST):
        try:
            _write(replace(out, holds=Holds("TIFF", IMAGEJ)), place, content, False, options)
            return
        except _LargeError:
            pass
        except FormatError:  # not exact in these types
            pass
    _write(out, place, content, True, options)


class _LargeError(Exception):
    """The pages take more than a TIFF of ImageJ can hold."""


def _write(out: Outgoing, place: Path, content: str, ome: bool, options: WriteOptions) -> None:
    from tifffile import TiffWriter

    cols, rows, slices = out.spatial
    shape = (out.count, slices, 1, rows, cols) + ((3,) if out.rgb else ())
    level = level_of(options.format_options)
    resolution, about = _about(out, ome)

    def use(dtype: np.dtype[Any], volumes: Iterator[NDArray[Any]]) -> None:
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if not ome and size >= _LARGEST:
            raise _LargeError
        kind: dict[str, Any] = {"ome": True, "bigtiff": size >= _LARGEST} if ome else {"imagej": True}
        with TiffWriter(place, byteorder="<", **kind) as tif:
            tif.write(
                (page.copy() for volume in volumes for page in volume),  # packed later, in threads
                shape=shape,
                dtype=dtype,
                photometric="rgb" if out.rgb else "minisblack",
                compression="zlib" if level else None,
                compressionargs={"level": level} if level else None,
                resolution=resolution,
                resolutionunit=None if resolution is None else "CENTIMETER",
                metadata=about | {"axes": "TZCYXS" if out.rgb else "TZCYX"},
                software="imagedata_xr",
                extratags=[(TAG, "s", 0, content, True)],
            )

    write_fitting(out, use, options)


def _content(out: Outgoing, options: WriteOptions) -> dict[str, Any]:
    """Labels and place of the image, and of which size it was."""
    cols, rows, slices = out.spatial
    place = {} if out.affine is None else {"affine": out.affine[:, [2, 1, 0, 3]].ravel().tolist()}
    return carry(out.image, options, size=[slices, rows, cols], volumes=out.count, **place)


def _about(out: Outgoing, ome: bool) -> tuple[tuple[float, float] | None, dict[str, Any]]:
    """Pixels per centimetre across and down, and what ImageJ or OME say of slices and times.

    Centimetres, which are a unit of ImageJ, of OME and of TIFF itself: all programs read the same.
    """
    spacing = spacing_of(out.image)
    step = out.spacing[2] if out.affine is not None else _number(out.image.attrs.get("SpacingBetweenSlices"))
    about: dict[str, Any] = {}
    if ome:
        sizes = {"X": spacing and spacing[1], "Y": spacing and spacing[0], "Z": step}
        for axis, mm in sizes.items():
            if mm:
                about |= {f"PhysicalSize{axis}": mm, f"PhysicalSize{axis}Unit": "mm"}
    else:
        about |= {"unit": "cm"} if spacing is not None else {}
        about |= {"spacing": step / 10} if step and spacing is not None else {}
    interval = out.timing[0] if out.count > 1 else 0.0
    if interval > 0:
        about |= {"TimeIncrement": interval, "TimeIncrementUnit": "s"} if ome else {"finterval": interval}
    return None if spacing is None else (10 / spacing[1], 10 / spacing[0]), about


def _number(value: Any) -> float | None:
    try:
        number = float(np.ravel(value)[0])
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) and number > 0 else None

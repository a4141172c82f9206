"""TIFF: pages as slices and volumes, by tifffile."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, ImagedataError, SourceError, warn
from ..stores.url import File, file_name, reason
from . import tiff_out
from .fit import Holds
from .outgoing import Outgoing
from .pages import Page, PageFormat, turned
from .plain import WholeFormat, level_of
from .seam import Needs, ReadOptions, WriteOptions
from .tiff_stack import SAMPLES, Calibration, calibration_of, planes_of

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _MASK, _YCBCR = 0, 1, 2, 3, 4, 6
_JPEG = (6, 7)  # its decoder makes RGB of YCbCr
_ORIENTATION, _REDUCED = 274, 1
_LARGE, _RATIO = 1 << 28, 20000  # bytes of a page that are believed; more where it is not packed more than this
_BYTES = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8, 0])  # of a value, by the type of a tag
_OBJECT = re.compile(r"<tifffile\.[^>]*> ")  # which its messages begin with


class Tiff(PageFormat, WholeFormat):
    """TIFF, BigTIFF, and those of ImageJ and OME.

    Axes, spacing and interval are those that ImageJ or OME say. Written are ImageJ's hyperstacks, which most programs
    read as pages, or OME-TIFF where ImageJ does not hold the values. The place in the patient and all labels travel in
    a tag of ours.

    Format options for reading: ``volumes``, the number of volumes that all pages are. For writing: ``compress``, True
    or a level from 1 to 9 (zlib).
    """

    name = "tiff"
    extensions: tuple[str, ...] = (".tif", ".tiff")
    description = "TIFF of many pages, of ImageJ and OME; spacing for Fiji, place and labels in a tag of ours"
    holds = Holds("TIFF", tiff_out.TYPES)
    reading = ("volumes",)
    writing = ("compress",)
    needs = Needs("tifffile", "tiff")

    def pages(self, file: File, options: ReadOptions) -> list[Page]:
        """Read the headers of all pages. Reduced copies of a page are left out."""
        name = file_name(file)
        out: list[Page] = []
        with opened(file) as tif:
            imagej = bool(tif.is_imagej)
            calibration = calibration_of(tif)
            _check_chain(tif, name)
            for series in tif.series:
                page = series.keyframe.aspage()
                if page.subfiletype & _REDUCED and len(tif.series) > 1:
                    continue
                kind = _kind(page, imagej, name)
                if calibration is not None and not kind.colour:
                    kind = _calibrated(kind, calibration, name)
                _check_whole(page, 0, tif.filehandle.size, name)
                numbers, stack, spacing = planes_of(tif, series, kind.samples, kind.attrs, name)
                rows, cols = page.imagelength, page.imagewidth
                if _orientation(page) in (5, 6, 7, 8):
                    rows, cols, spacing = cols, rows, None if spacing is None else spacing[::-1]
                out += [Page(file, n, (rows, cols), kind.stored, kind.colour, spacing, stack) for n in numbers.tolist()]
        return out

    def decode(self, file: File, numbers: Sequence[int], options: Mapping[str, Any]) -> Iterator[NDArray[Any]]:
        """Pixels of planes: page after page, and where samples are no colour, sample after sample of each."""
        name = file_name(file)
        with opened(file) as tif:
            last, whole = -1, True
            pixels: NDArray[Any] = np.empty(0)
            for number in numbers:
                at, sample = divmod(number, SAMPLES)
                if at != last:
                    last, (pixels, whole) = at, _pixels(tif, at, name)
                yield pixels if whole else pixels[..., sample]

    # --- out ---

    def check(self, out: Outgoing, extension: str, options: WriteOptions) -> None:
        """Raise `FormatError` for a wrong option, or where tifffile is missing."""
        level_of(options.format_options)
        require("TIFF is written by")

    def save(self, out: Outgoing, places: Sequence[Path], names: Sequence[str], options: WriteOptions) -> None:
        """Write one file."""
        tiff_out.save(out, places[0], options)


def require(what: str) -> None:
    """Raise `FormatError` where tifffile is not installed."""
    if find_spec("tifffile") is None:
        raise FormatError(f"{what} the package tifffile: pip install 'imagedata-xr[tiff]'")


@contextmanager
def opened(file: File) -> Iterator[TiffFile]:
    """Open a file by tifffile; its errors become ours.

    Raises
    ------
    SourceError
        If the file is damaged, or no TIFF.
    FormatError
        If tifffile, or what its packing needs, is not installed.
    """
    name = file_name(file)
    require(f"{name} is read by")
    from tifffile import TiffFile

    try:
        with (
            _Said() as said,
            file.fs.open(file.path, "rb") as stream,
            TiffFile(stream, name=name, _multifile=False) as tif,
        ):
            yield tif
        if said.errors:
            raise SourceError(f"{name} is damaged: {'; '.join(said.errors[:3])}")
    except ImagedataError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"{name} can't be read: {reason(error)}") from error
    except Exception as error:  # tifffile raises whatever damaged bytes lead to
        if "imagecodecs" in str(error) and find_spec("imagecodecs") is None:
            raise FormatError(
                f"{name} is packed in a way that needs the package imagecodecs: pip install 'imagedata-xr[tiff]'"
            ) from error
        raise SourceError(f"{name} is damaged, or no TIFF: {type(error).__name__} {error}") from error


class _Said(logging.Handler):
    """What tifffile logs as an error in this thread: it goes on without what it could not read."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []
        self.thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        if record.thread == self.thread:
            self.errors.append(_OBJECT.sub("", record.getMessage()))

    def __enter__(self) -> _Said:
        logging.getLogger("tifffile").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("tifffile").removeHandler(self)


class _Kind(NamedTuple):
    """What the pixels of a page are: their type, whether they are colours, else how many samples, and attrs."""

    stored: np.dtype[Any]
    colour: bool
    samples: int = 1
    attrs: Mapping[str, Any] = {}  # never changed


def _kind(page: TiffPage, imagej: bool, name: str) -> _Kind:
    """Kind of a page.

    Raises
    ------
    FormatError
        For colours and types that are not read.
    """
    photometric, samples, stored = int(page.photometric), page.samplesperpixel, page.dtype
    if stored is None or page.imagedepth > 1:
        what = "voxels in three dimensions" if page.imagedepth > 1 else f"values of {page.bitspersample} bits"
        raise FormatError(f"{name} has pages of {what}, which are not read: save it as pages of usual types")
    stored = stored.newbyteorder("=")
    if photometric in (_RGB, _YCBCR):
        if stored == np.uint8 and samples >= 3 and (photometric == _RGB or int(page.compression) in _JPEG):
            return _Kind(stored, True)
        if photometric == _RGB:
            return _Kind(stored, False, samples)  # more than eight bits: each colour is a volume
    elif photometric == _PALETTE and not imagej:
        table = page.colormap
        if table is None or stored.kind != "u" or samples != 1:
            raise SourceError(f"{name} is damaged: its palette is missing")
        return _Kind(np.dtype(np.uint8), bool((table != table[:1]).any()))
    elif photometric in (_MINISBLACK, _MASK) or (photometric == _PALETTE and imagej) or stored.kind == "b":
        return _Kind(stored, False, samples)
    elif photometric == _MINISWHITE:
        return _Kind(stored, False, samples, {"PhotometricInterpretation": "MONOCHROME1"})
    raise FormatError(
        f"{name} has colours of the kind {getattr(page.photometric, 'name', photometric)}, which is not read: save it "
        "as RGB of 8 bits, or grey"
    )


def _calibrated(kind: _Kind, calibration: Calibration, name: str) -> _Kind:
    """Kind of pages of which ImageJ says how numbers become values; what is not applied is said."""
    if calibration.signs(kind.stored):
        return kind._replace(stored=np.dtype(np.int16))
    warn(
        f"{name} holds numbers that ImageJ shows as other values ({calibration.said}): they are read as they are stored"
    )
    return kind


def _pixels(tif: TiffFile, at: int, name: str) -> tuple[NDArray[Any], bool]:
    """Pixels of a page, (rows, columns[, samples]), as they are to be shown; whether they are one plane."""
    imagej = bool(tif.is_imagej)
    beyond = at >= len(tif.pages)  # ImageJ's large files have one header for all pages, which lie together
    page: Any = tif.pages[0 if beyond else at]
    kind = _kind(page, imagej, name)
    _check_whole(page, at if beyond else 0, tif.filehandle.size, name)
    if beyond:
        tif.filehandle.seek(page.dataoffsets[0] + at * page.nbytes)
        pixels = tif.filehandle.read_array(tif.byteorder + page.dtype.char, page.size).reshape(page.shape)
    else:
        pixels = page.asarray()
    if page.axes.startswith("S"):
        pixels = np.moveaxis(pixels, 0, -1)
    photometric = int(page.photometric)
    if photometric == _PALETTE and not imagej:
        table = np.asarray(page.colormap)
        pixels = (table >> 8 if table.max() > 255 else table).astype(np.uint8).T[pixels]
        pixels = pixels if kind.colour else pixels[..., 0]
    elif (calibration := calibration_of(tif)) is not None and calibration.signs(pixels.dtype):
        pixels = (pixels ^ 0x8000).view(np.int16)
    elif photometric == _MINISWHITE and kind.stored.kind == "b":
        pixels = ~pixels
    elif kind.colour and pixels.shape[-1] > 3:
        if (pixels[..., 3:] != 255).any():
            warn(f"{name} is transparent in part, or has more than three colours: the first three are read")
        pixels = pixels[..., :3]
    return turned(pixels, _orientation(page)), kind.colour or pixels.ndim == 2


def _check_chain(tif: TiffFile, name: str) -> None:
    """Raise `SourceError` where headers of pages are cut off: tifffile only logs it, and leaves pages or tags out."""
    stream, size, order = tif.filehandle, tif.filehandle.size, tif.byteorder
    word, head = (f"{order}u8", 8) if tif.is_bigtiff else (f"{order}u4", 2)
    entry = np.dtype([("tag", f"{order}u2"), ("type", f"{order}u2"), ("count", word), ("value", word)])
    seen: set[int] = set()

    def number(at: int, kind: str) -> int:
        stream.seek(at)
        data = stream.read(np.dtype(kind).itemsize)
        if at < 0 or len(data) < np.dtype(kind).itemsize:
            raise SourceError(f"{name} is damaged: it ends before its page {len(seen) + 1}")
        return int(np.frombuffer(data, kind)[0])

    at = number(8 if tif.is_bigtiff else 4, word)
    while at and at not in seen:
        count = number(at, f"{order}u{head}")
        data = stream.read(count * entry.itemsize)
        after = number(at + head + count * entry.itemsize, word)
        seen.add(at)
        tags = np.frombuffer(data, entry)
        need = tags["count"].astype(np.float64) * _BYTES[np.minimum(tags["type"], len(_BYTES) - 1)]
        beyond = need > np.dtype(word).itemsize
        if (tags["value"].astype(np.float64) + need > size)[beyond].any():
            raise SourceError(f"{name} is damaged: it ends within the tags of its page {len(seen)}")
        at = after
    if tif.is_imagej and {series.kind for series in tif.series} & {"uniform", "generic"}:
        raise SourceError(f"{name} is damaged: it has fewer pages than ImageJ wrote")


def _check_whole(page: TiffPage, beyond: int, size: int, name: str) -> None:
    """Raise `SourceError` where strips or tiles are missing, which tifffile fills with zeros."""
    ends = [a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
    line = (page.size // page.imagelength * page.bitspersample + 7) // 8  # of all samples, packed where below a byte
    stored = sum(page.databytecounts)
    short = int(page.compression) == 1 and not page.is_tiled and stored < line * page.imagelength
    if not ends or max(ends) + beyond * page.nbytes > size or 0 in page.databytecounts or short:
        raise SourceError(f"{name} is damaged: pixels of some pages are missing")
    # what a damaged header announces is not asked for from the system
    tile = int(np.prod(page.tile or 0, dtype=object)) * (page.nbytes // page.size)
    if page.nbytes > max(_LARGE, _RATIO * stored) or tile > max(_LARGE, 16 * page.nbytes):
        raise SourceError(
            f"{name} is damaged: a page of {page.imagewidth} x {page.imagelength} pixels can't be in {stored} bytes"
        )


def _orientation(page: TiffPage) -> int:
    value = page.tags.valueof(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1

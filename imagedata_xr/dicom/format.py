"""DICOM as a format of the seam: series and stacks as nodes, each built into an image when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pydicom.datadict
import xarray as xr
from numpy.typing import NDArray

from ..errors import FormatError, ImagedataError, LabelError, NotFoundError
from ..formats.seam import Node, ReadOptions, WriteOptions
from ..model.identity import patient_digest, study_digest
from ..model.image import build
from ..model.masking import NAMING, mask
from ..stores.url import File
from .frames import Frames, frames_of
from .header import FileHeaders, remember
from .keys import known_orders
from .labels import attrs_of, coords_of, geometry_of, volumes_of
from .pixels import FrameArray, PixelFormat
from .scan import Scan, scan
from .sort import Grid, sort
from .stacks import Series, Stack, choose_series, restrict, series_of, stacks_of

CHUNK_BYTES = 8 * 2**20  # chunks of several volumes, where volumes are smaller than this
_DIRECTORY = "1.2.840.10008.1.3.10"


class Dicom:
    """DICOM files, in folders or alone."""

    name = "dicom"
    extensions: tuple[str, ...] = (".dcm", ".ima")
    description = "DICOM, one file per image"

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return all files: only the scan can tell, since many have no extension."""
        return list(files)

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """One node per stack of each series, and one per series without pixels."""
        parse = known_orders(options.order, _is_keyword)  # a wrong word is said before anything is read
        scanned = scan(files, errors="raise" if options.errors == "raise" else "warn")
        frames = frames_of(scanned)
        nodes: list[Node] = []
        found = series_of(frames) if len(frames) else []
        if not found and options.series is not None:
            raise NotFoundError("there is no DICOM image in the source")
        for series in choose_series(found, options.series) if found else []:
            nodes += _nodes(restrict(series, options.acquisition, options.echo), parse, options)
        if options.series is None:
            nodes += _without_pixels(scanned, {s.uid for s in found})
        return nodes

    def headers(self, source: str) -> FileHeaders | None:
        """Headers of the images at an address; None where there are none."""
        from ..stores.url import find

        try:
            frames = frames_of(scan(find(source)))
        except ImagedataError:
            return None
        return _headers(frames) if len(frames) else None

    def write(self, image: xr.DataArray, target: str, options: WriteOptions) -> Any:
        """One file per image; see `imagedata_xr.dicom.write`."""
        from .write import write

        return write(image, target, options)


def _is_keyword(word: str) -> bool:
    return pydicom.datadict.tag_for_keyword(word) is not None


# --- nodes ------------------------------------------------------------------------------------------------------------


def _nodes(series: Series, orders: Any, options: ReadOptions) -> list[Node]:
    stacks = stacks_of(series, options.split)
    if options.stack is not None:
        chosen = np.atleast_1d(options.stack).tolist()
        if bad := [k for k in chosen if not 0 <= k < len(stacks)]:
            raise LabelError(f"stack={bad[0]}: {series} has the stacks 0 to {len(stacks) - 1}")
    else:
        chosen = list(range(len(stacks)))
    out = []
    for k in chosen:
        stack = stacks[k]
        parts = _parts(series.frames) + ((f"stack-{k}",) if len(stacks) > 1 else ())
        make: Callable[[], xr.Dataset] = partial(image_of, stack, orders, options)
        title = f"{series.number or '?'} {series.modality} {_masked(series, series.description)}".rstrip()
        title += f", {len(stack.frames)} images of {stack.features['matrix']}"
        select, kind = series.select, ""
        if len(stacks) > 1:
            kind = _masked(series, stack.kind)
            title, select = f"{title} ({kind})", f"{select}, stack={k}"
        out.append(Node(parts, make, title, select, kind))
    return out


def _masked(series: Series, text: str) -> str:
    """Text of a series without the patient's names and IDs: it stands in errors and warnings."""
    return mask(text, {k: series.frames.text(k)[0] for k in NAMING})


def _parts(frames: Frames | Scan, k: int = 0) -> tuple[str, str, str]:
    """Place in a tree: patient, study, series."""

    def one(keyword: str) -> str:
        column = frames.strings(keyword)
        return "\\".join(column[k] or ())  # type: ignore[arg-type]

    study = "-".join(filter(None, (one("StudyDate"), one("StudyTime"))))
    series = "-".join(filter(None, (one("SeriesNumber").strip(), one("SeriesDescription"))))
    return one("PatientID"), study, series


def _without_pixels(scanned: Scan, with_images: set[str]) -> list[Node]:
    """Nodes of series that have no image: structured reports, raw data, documents; attrs only."""
    media = scanned.strings(0x00020002)
    uids = scanned.strings("SeriesInstanceUID")
    rows: dict[str, list[int]] = {}
    for k in np.flatnonzero(scanned.pixel_tag == 0):
        directory = bool(media[k]) and media[k][0] == _DIRECTORY  # type: ignore[index]
        uid = (uids[k] or ("",))[0] if uids[k] else ""
        if uid and uid not in with_images and not directory:
            rows.setdefault(uid, []).append(int(k))
    out = []
    for which in rows.values():
        part = scanned.take(np.array(which))
        frames = Frames(part, np.arange(len(part), dtype=np.intp), np.ones(len(part), dtype=np.intp))
        attrs = attrs_of(frames, set())
        number, modality = attrs.get("SeriesNumber", "?"), attrs.get("Modality", "?")
        out.append(
            Node(_parts(part), xr.Dataset(attrs=attrs), f"{number} {modality}, {len(part)} objects without pixels")
        )
    return out


# --- an image -----------------------------------------------------------------------------------------------------------


def image_of(stack: Stack, orders: Any, options: ReadOptions) -> xr.Dataset:
    """Dataset of a stack: sorted, labelled, pixels not yet read.

    Raises
    ------
    SortError, GeometryError, FormatError
        Where it can't be one image, with what to do.
    """
    grid = sort(stack, orders, options.auto_order, options.missing, options.duplicates)
    if not (grid.index >= 0).all() or len(grid.index.ravel()) < len(stack.frames):
        used = np.unique(grid.index[grid.index >= 0])
        renumber = np.full(len(stack.frames), -1, dtype=np.intp)
        renumber[used] = np.arange(len(used))
        index = np.where(grid.index >= 0, renumber[grid.index], -1)
        clock = (
            None
            if grid.clock is None
            else type(grid.clock)(grid.clock.seconds[used], grid.clock.source, grid.clock.absolute)
        )
        stack = Stack(stack.frames.take(used.astype(np.intp)), stack.series, stack.place, stack.kind, stack.features)
        grid = Grid(index, grid.orders, grid.values, clock)
    frames = stack.frames
    volumes = volumes_of(frames, grid)
    axes, space = geometry_of(stack, grid)
    coords: dict[str, Any] = coords_of(frames, grid, volumes)
    attrs = attrs_of(frames, set(coords) | {v.dim for v in volumes})
    coords["patient"] = ((), np.int64(patient_digest(attrs)))
    coords["study"] = ((), np.int64(study_digest(attrs)))
    if options.source:
        coords["source"] = ((), np.array(options.source, dtype=np.dtypes.StringDType()))
    array = array_of(frames, grid.index, options)
    encoding = {
        "preferred_chunks": _chunks(array, [v.dim for v in volumes]),
        "stored_dtype": str(array.formats[0].stored_dtype.newbyteorder("=")),
        "bits_stored": max(f.bits_stored for f in array.formats),
    }
    if array.slope is not None and not ((array.slope == 1).all() and (array.intercept == 0).all()):
        encoding["stored_dtype"] = "float32"
    ds = build(array, volumes=volumes, axes=axes, space=space, coords=coords, attrs=attrs, encoding=encoding)
    if options.source:
        remember(options.source, _headers(frames))
    return ds


def _chunks(array: FrameArray, dims: list[str]) -> dict[str, int]:
    """Chunks of whole volumes, several along the last volume dim where they are small."""
    volume = int(np.prod(array.shape[len(dims) :])) * array.dtype.itemsize
    several = max(1, min(array.shape[len(dims) - 1], CHUNK_BYTES // max(volume, 1)))
    names = ("slice", "row", "col", "rgb")
    out = dict.fromkeys(dims, 1) | dict(zip(names, array.shape[len(dims) :], strict=False))
    return out | {dims[-1]: several}


def _headers(frames: Frames) -> FileHeaders:
    places, rows = {}, {}
    for k, digest in enumerate(frames.instance.tolist()):
        places[digest] = (frames.scan.files[frames.file[k]], int(frames.number[k]))
        rows[digest] = k

    def stored(instance: int) -> NDArray[Any]:
        k = rows[instance]
        one = frames.take(np.array([k], dtype=np.intp))
        return array_of(one, np.zeros((1, 1), dtype=np.intp), ReadOptions(mask_and_scale=False)).stored((0, 0))

    return FileHeaders(places, stored)


# --- pixels ---------------------------------------------------------------------------------------------------------------


def array_of(frames: Frames, index: NDArray[np.intp], options: ReadOptions) -> FrameArray:
    """Lazy array of the frames of a grid."""
    scanned = frames.scan
    formats, kind = _pixel_formats(scanned)
    file = np.where(index >= 0, frames.file[index], -1)
    number = np.where(index >= 0, frames.number[index], 1)
    array = FrameArray(
        scanned.files,
        scanned.syntax,
        scanned.pixel_offset,
        scanned.pixel_length,
        formats,
        kind,
        file,
        number,
        np.dtype("f4"),
    )
    slope, intercept = frames.numbers("RescaleSlope"), frames.numbers("RescaleIntercept")
    slope = np.where(np.isnan(slope), 1.0, slope)
    intercept = np.where(np.isnan(intercept), 0.0, intercept)
    colour = formats[0].samples > 1
    if options.mask_and_scale and not colour:
        if (slope == 0).any():
            raise FormatError(
                "RescaleSlope is 0 in some images, so that their values are lost; mask_and_scale=False gives the stored ones"
            )
        array.slope, array.intercept = (np.where(index >= 0, v[index], d) for v, d in ((slope, 1.0), (intercept, 0.0)))
    array.padding = _padding(frames, index, options)
    array.dtype = _dtype(array, slope, intercept, options)
    if (index < 0).any() and array.dtype.kind not in "fc":
        raise FormatError(
            "missing images can't be filled with NaN where the values are integers: leave mask_and_scale and dtype out"
        )
    return array


def _pixel_formats(scanned: Scan) -> tuple[list[PixelFormat], NDArray[np.intp]]:
    """Pixel formats of the files, and which each file has."""
    names = (
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PlanarConfiguration",
    )
    table = np.stack([scanned.numbers(n) for n in names] + [scanned.pixel_tag != 0x7FE00010], axis=1)
    table[:, 2] = np.where(np.isnan(table[:, 2]), 1, table[:, 2])
    table[:, 4] = np.where(np.isnan(table[:, 4]), table[:, 3], table[:, 4])
    table[:, 5] = np.where(np.isnan(table[:, 5]), table[:, 4] - 1, table[:, 5])
    if np.isnan(table[:, [0, 1, 3]]).any() or (table[:, [0, 1]] <= 0).any():
        raise FormatError("Rows, Columns or Bits Allocated is missing or zero: the pixels have no shape")
    rows, kind = np.unique(np.nan_to_num(table), axis=0, return_inverse=True)
    out = []
    for r, c, samples, allocated, stored, high, signed, planar, floating in rows.astype(int).tolist():
        if allocated not in (1, 8, 16, 32, 64) or not 0 < stored <= allocated or not stored - 1 <= high < allocated:
            raise FormatError(f"pixels of {allocated} bits, {stored} stored, high bit {high} are none that DICOM knows")
        out.append(
            PixelFormat(
                r, c, samples, allocated, stored, high, bool(signed), bool(planar) and samples > 1, bool(floating)
            )
        )
    return out, kind.ravel().astype(np.intp)


def _padding(frames: Frames, index: NDArray[np.intp], options: ReadOptions) -> NDArray[np.float64] | None:
    """Stored value that becomes NaN: the padding if asked for."""
    if not (options.mask_padding and options.mask_and_scale):
        return None
    padding = frames.numbers("PixelPaddingValue")
    return np.where(index >= 0, padding[index], np.nan)


def _dtype(
    array: FrameArray, slope: NDArray[np.float64], intercept: NDArray[np.float64], options: ReadOptions
) -> np.dtype[Any]:
    """float32 where it holds every stored step exactly enough to be inverted, else float64; stored type for colour."""
    wide = max(array.formats, key=lambda f: f.bits_allocated).stored_dtype.newbyteorder("=")
    if array.formats[0].samples > 1:
        return np.dtype(np.uint8) if wide.itemsize == 1 else wide
    if not options.mask_and_scale:
        if len({f.stored_dtype for f in array.formats}) > 1:
            raise FormatError("the images are stored in several types; leave mask_and_scale out to have them as floats")
        return wide
    out = np.dtype(np.float32)
    for f in array.formats:
        if f.floating:
            out = np.dtype(np.float64) if f.bits_allocated == 64 else out
            continue
        # the largest value in units of the step must keep a bit to spare in the 24 of float32
        largest = 2.0**f.bits_stored + np.abs(intercept / slope).max(initial=0)
        if largest > 2**24 or (f.bits_stored > 23):
            out = np.dtype(np.float64)
    if options.dtype is None:
        return out
    return _asked_dtype(np.dtype(options.dtype), out, array, slope, intercept)


def _asked_dtype(
    asked: np.dtype[Any],
    natural: np.dtype[Any],
    array: FrameArray,
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
) -> np.dtype[Any]:
    if asked.kind == "f" and asked.itemsize >= natural.itemsize:
        return asked
    whole = bool((slope == np.round(slope)).all() and (intercept == np.round(intercept)).all())
    bounds = []
    for f in array.formats:
        low, high = (
            (-(2 ** (f.bits_stored - 1)), 2 ** (f.bits_stored - 1) - 1) if f.signed else (0, 2**f.bits_stored - 1)
        )
        bounds += [v for s, i in zip(slope, intercept, strict=True) for v in (low * s + i, high * s + i)]
    if asked.kind in "iu" and whole and array.padding is None and not array.formats[0].floating:
        info = np.iinfo(asked)
        if min(bounds) >= info.min and max(bounds) <= info.max:
            return asked
    warn = "the values have fractions" if not whole else f"the values may reach from {min(bounds):g} to {max(bounds):g}"
    raise FormatError(
        f"dtype={asked} does not hold every value exactly: {warn}; {natural} does, and astype({asked!s}) converts what fits"
    )

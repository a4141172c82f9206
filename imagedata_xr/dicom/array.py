"""The lazy array of a grid of frames: how its pixels are stored, rescaled and padded, and which type holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ..errors import FormatError, LabelError
from ..formats.seam import ReadOptions
from .decode import PALETTE
from .frames import Frames
from .header import read_header
from .marks import padding_is_nan
from .pixels import FrameArray, ModalityLut, PixelFormat
from .scan import Scan
from .segments import is_segmentation
from .value_type import ValueRange, value_type

_MODALITY_LUT = 0x00283000


def array_of(frames: Frames, index: NDArray[np.intp], options: ReadOptions) -> FrameArray:
    """Lazy array of the frames of a grid.

    Parameters
    ----------
    frames : Frames
    index : ndarray, shape (volumes..., slice)
        Frame in each place; -1 for none.
    options : ReadOptions
        `mask_and_scale`, `mask_padding` and `dtype`.

    Raises
    ------
    FormatError
        The pixels are of a kind that DICOM does not know, or the type asked for does not hold their values.
    LabelError
        Options that contradict each other.
    """
    if options.mask_padding and not options.mask_and_scale:
        raise LabelError("mask_padding=True makes NaN, which stored integers can't hold: leave mask_and_scale out")
    scanned = frames.scan
    formats, kind = _pixel_formats(scanned)
    array = FrameArray(
        scanned.files,
        scanned.syntax,
        scanned.pixel_offset,
        scanned.pixel_length,
        formats,
        kind,
        np.where(index >= 0, frames.file[index], -1),
        np.where(index >= 0, frames.number[index], 1),
        np.dtype("f4"),
    )
    if frames.own.corner is not None:
        rows, cols = (int(n) for n in frames.matrix[0])
        array.size, array.corner = (rows, cols), frames.own.corner[np.maximum(index, 0)]
    slope, intercept = np.ones(len(frames)), np.zeros(len(frames))
    scaled = options.mask_and_scale and formats[0].samples == 1 and not is_segmentation(frames)
    if scaled:
        slope, intercept = _rescale(frames)
        array.slope, array.intercept = (np.where(index >= 0, v[index], d) for v, d in ((slope, 1.0), (intercept, 0.0)))
        array.luts, array.lut = _modality_luts(scanned)
        nan = np.array([padding_is_nan(t) for t in frames.text("DerivationDescription")], dtype=bool)
        if options.mask_padding or nan.any():
            array.padding = _padding(frames, array, index, nan | options.mask_padding)
    array.dtype = _dtype(frames, array, slope, intercept, options.dtype, scaled)
    if (index < 0).any() and array.dtype.kind not in "fc":
        raise FormatError(
            "missing images can't be filled with NaN where the values are integers: leave mask_and_scale and dtype out"
        )
    return array


# --- how pixels are stored ------------------------------------------------------------------------------------------


def _pixel_formats(scanned: Scan) -> tuple[list[PixelFormat], NDArray[np.intp]]:
    """Pixel formats of the files, and which each file has."""
    names = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
             "PlanarConfiguration")  # fmt: skip
    space = ["".join(words or ()) for words in scanned.strings("PhotometricInterpretation")]
    colour = [word not in ("", "RGB") for word in space]
    floating = scanned.pixel_tag != 0x7FE00010
    table = np.stack([*(scanned.numbers(n) for n in names), floating, np.array(colour, dtype=float)], axis=1)
    table[:, 2] = np.where(np.isnan(table[:, 2]), 1, table[:, 2])
    table[:, 3] = np.where(floating, np.where(scanned.pixel_tag == 0x7FE00008, 32, 64), table[:, 3])  # PS3.3 C.7.6.24
    table[:, 4] = np.where(np.isnan(table[:, 4]) | floating, table[:, 3], table[:, 4])
    table[:, 5] = np.where(np.isnan(table[:, 5]) | floating, table[:, 4] - 1, table[:, 5])
    # indices into a palette become what it says: eight bits a colour
    table[[word == PALETTE for word in space], 2:8] = (3, 8, 8, 7, 0, 0)
    if np.isnan(table[:, [0, 1, 3]]).any() or (table[:, [0, 1]] <= 0).any():
        raise FormatError("Rows, Columns or Bits Allocated is missing or zero: the pixels have no shape")
    rows, kind = np.unique(np.nan_to_num(table), axis=0, return_inverse=True)
    return [_pixel_format(*r) for r in rows.astype(int).tolist()], kind.ravel().astype(np.intp)


def _pixel_format(
    rows: int, cols: int, samples: int, allocated: int, stored: int, high: int, signed: int, planar: int,
    floating: int, converted: int,
) -> PixelFormat:  # fmt: skip
    if samples not in (1, 3):
        raise FormatError(f"images of {samples} samples per pixel are not read: grey ones have 1 and colour 3")
    if allocated not in ((32, 64) if floating else (1, 8, 16, 32)) or not 0 < stored <= high + 1 <= allocated:
        raise FormatError(f"pixels of {allocated} bits, {stored} stored, high bit {high} are none that DICOM knows")
    several = samples > 1
    return PixelFormat(
        rows, cols, samples, allocated, stored, high, bool(signed), bool(planar) and several, bool(floating),
        bool(converted) and several,
    )  # fmt: skip


# --- from stored integers to values ---------------------------------------------------------------------------------


def _rescale(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rescale slope and intercept of each frame (PS3.3 C.11.1.1.2), dose grid scaling; 1 and 0 without."""
    slope, intercept = frames.numbers("RescaleSlope"), frames.numbers("RescaleIntercept")
    dose = frames.numbers("DoseGridScaling")  # PS3.3 C.8.8.3.4.3: what RT Dose has in place of a rescale
    slope = np.where(np.isnan(slope), dose, slope)
    for keyword, values in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        written = [bool(text) and any(text) for text in frames.strings(keyword)]  # type: ignore[arg-type]
        if (~np.isfinite(values) & np.array(written, dtype=bool)).any():
            raise FormatError(f"{keyword} is no number in some images; mask_and_scale=False gives the stored values")
    if (slope == 0).any():
        raise FormatError(
            "RescaleSlope is 0 in some images, so that their values are lost; mask_and_scale=False gives the stored "
            "ones"
        )
    return np.where(np.isnan(slope), 1.0, slope), np.where(np.isnan(intercept), 0.0, intercept)


def _modality_luts(scanned: Scan) -> tuple[list[ModalityLut], NDArray[np.intp] | None]:
    """Modality LUTs of the files, and which each file has (-1 for none)."""
    cells = scanned.column(_MODALITY_LUT)
    which = np.full(len(scanned), -1, dtype=np.intp)
    luts: list[ModalityLut] = []
    known: dict[object, int] = {}
    for k, cell in enumerate(cells):
        if cell is None:
            continue
        if cell not in known:
            luts.append(modality_lut(read_header(scanned.files[k])))
            known[cell] = len(luts) - 1
        which[k] = known[cell]
    return luts, which if luts else None


def modality_lut(ds: pydicom.Dataset) -> ModalityLut:
    """Modality LUT of a header (PS3.3 C.11.1); raises `FormatError` where it is damaged."""
    try:
        item = ds.ModalityLUTSequence[0]
        count, first, bits = (int(v) for v in item.LUTDescriptor)
        data = item.LUTData
    except (AttributeError, IndexError, TypeError, ValueError):
        raise FormatError(
            "the Modality LUT of some images has no descriptor or no data; mask_and_scale=False gives the stored values"
        ) from None
    if isinstance(data, bytes):
        wide = len(data) >= 2 * (count or 65536)
        data = np.frombuffer(data, dtype="<u2" if wide else "u1")
    count = count or 65536  # 0 stands for 2^16 (PS3.3 C.11.1.1.1)
    values = np.atleast_1d(np.asarray(data, dtype=np.float64))[:count]
    if len(values) < count or bits not in (8, 16):
        raise FormatError(f"a Modality LUT announces {count} values of {bits} bits and has {len(values)}")
    signed = ds.get("PixelRepresentation", 0) == 1
    return ModalityLut(first - 65536 if signed and first > 32767 else first, values)


def _padding(
    frames: Frames, array: FrameArray, index: NDArray[np.intp], masked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Lowest and highest stored value of each place that is padding (PS3.3 C.7.5.1.1.2), where it is masked."""
    value = np.where(masked, frames.numbers("PixelPaddingValue"), np.nan)
    limit = np.where(masked, frames.numbers("PixelPaddingRangeLimit"), np.nan)
    ends = np.stack([value, np.where(np.isnan(limit), value, limit)])
    for k, f in enumerate(array.formats):
        mine = array.kind[frames.file] == k
        part = ends[:, mine]
        if f.signed:  # the value of an image with signed pixels may stand as an unsigned one
            part = np.where(part > f.limits[1], part - 2.0**f.bits_allocated, part)
        low, high = f.limits
        if not f.floating and ((part < low) | (part > high)).any():
            raise FormatError(
                f"the padding value of some images does not lie within the {f.bits_stored} bits of their pixels: "
                "leave mask_padding out"
            )
        ends[:, mine] = part
    ends = np.sort(ends, axis=0)
    return np.where(index >= 0, ends[:, index], np.nan)


# --- type of the values ---------------------------------------------------------------------------------------------


def _dtype(
    frames: Frames,
    array: FrameArray,
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    asked: np.dtype[Any] | None,
    scaled: bool,
) -> np.dtype[Any]:
    """Type of the values: asked for, or the natural one."""
    stored = {f.stored_dtype.newbyteorder("=") for f in array.formats}
    if not scaled and len(stored) > 1 and asked is None:
        raise FormatError("the images are stored in several types; leave mask_and_scale out to have them as floats")
    limits = np.array([f.limits for f in array.formats], dtype=np.float64)[array.kind[frames.file]]
    ends = np.sort(limits * slope[:, None] + intercept[:, None], axis=1)
    steps = np.abs(slope)
    if array.lut is not None:
        for k, lut in enumerate(array.luts):
            mine = array.lut[frames.file] == k
            ends[mine], steps[mine] = (lut.values.min(), lut.values.max()), 1.0
    floating = [f.bits_allocated for f in array.formats if f.floating]
    whole = not floating and bool((steps == np.round(steps)).all() and (ends == np.round(ends)).all())
    nan = array.padding is not None
    values = ValueRange(
        float(ends[:, 0].min()), float(ends[:, 1].max()), float(steps.min()), whole, nan, max(floating, default=0)
    )
    return value_type(values, None if scaled else max(stored, key=lambda t: t.itemsize), asked)

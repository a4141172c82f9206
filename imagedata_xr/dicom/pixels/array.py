"""The lazy array of a grid of frames: how its pixels are stored, rescaled and padded, and which type holds them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import RTDoseStorage

from ...errors import FormatError, LabelError, warn
from ...formats.seam import ReadOptions
from ...stores.files import stamped
from ...stores.url import file_name
from ..framing.frames import Frames
from ..framing.segments import fractions, is_segmentation
from ..headers.header import read_header
from ..scanning.coded import Coded, groups_of
from ..scanning.scan import Scan
from ..writing.marks import padding_is_nan
from .colour import ONLY_IN, SPACES
from .luts import ModalityLut, Palette, modality_lut, palette
from .pixel_format import PALETTE, PixelFormat
from .pixels import FrameArray
from .syntaxes import CODECS, refusal
from .value_type import ValueRange, value_type

_MODALITY_LUT = 0x00283000
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
_PALETTE_TAGS = (0x00280103, *range(0x00281101, 0x00281104), *range(0x00281201, 0x00281204),
                 *range(0x00281221, 0x00281224))  # fmt: skip


def array_of(
    frames: Frames, index: NDArray[np.intp], options: ReadOptions, label: NDArray[np.int64] | None = None
) -> FrameArray:
    """Lazy array of the frames of a grid.

    Parameters
    ----------
    frames : Frames
    index : ndarray, shape (volumes..., slice)
        Frame in each place; -1 for none.
    options : ReadOptions
        `mask_and_scale`, `mask_padding` and `dtype`.
    label : ndarray, shape (segments, slice), optional
        Numbers of the segments of a label map, of which the array holds one mask each.

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
    refuse_syntaxes(scanned)
    segments = is_segmentation(frames)
    formats, kind = _pixel_formats(scanned, segments)
    array = FrameArray(
        [file if file.state is not None else stamped(file) for file in scanned.files],
        scanned.syntaxes.map(sys.intern).rows(),  # one object: cheap to send to workers
        scanned.pixel_offset,
        scanned.pixel_length,
        formats,
        kind,
        np.where(index >= 0, frames.file[index], -1),
        np.where(index >= 0, frames.number[index], 1),
        np.dtype("f4"),
        count=np.fmax(scanned.numbers("NumberOfFrames"), 1).astype(np.intp),
        palettes=_palettes(scanned, np.array([form.space == PALETTE for form in formats], dtype=np.bool_)[kind]),
        extended=_extended_offsets(scanned),
    )
    if frames.own.corner is not None:
        rows, cols = (int(n) for n in frames.matrix[0])
        array.size, array.corner = (rows, cols), _corners(frames, array.count)[np.maximum(index, 0)]
    slope, intercept = np.ones(len(frames)), np.zeros(len(frames))
    scaled = options.mask_and_scale and not formats[0].colour and not segments
    if segments:
        array.missing = 0
        if label is not None:
            array.label, array.known = label, _known_labels(frames, label, formats)
        elif options.mask_and_scale and (fraction := fractions(frames)) is not None:
            slope, scaled = fraction, True
            array.slope, array.intercept = np.where(index >= 0, slope[index], 1.0), np.zeros(index.shape)
    elif scaled:
        slope, intercept = _rescale(frames)
        array.slope, array.intercept = (np.where(index >= 0, v[index], d) for v, d in ((slope, 1.0), (intercept, 0.0)))
        array.luts, array.lut = _modality_luts(scanned)
        nan = frames.coded_text("DerivationDescription").map(padding_is_nan).array(bool)
        if options.mask_padding or nan.any():
            array.padding = _padding(frames, array, index, nan | options.mask_padding)
    array.dtype = _dtype(frames, array, slope, intercept, options.dtype, scaled)
    if (index < 0).any() and array.dtype.kind not in "fc" and not segments:
        raise FormatError(
            "missing images can't be filled with NaN where the values are integers: leave mask_and_scale and dtype out"
        )
    return array


def _corners(frames: Frames, count: NDArray[np.intp] | None) -> NDArray[np.intp]:
    """Where each plane begins in its stored matrix; what numbers tiles of one file numbers frames of another."""
    corner = frames.own.corner
    assert corner is not None
    whole = frames.file[corner[:, 0] < 0]
    if count is not None and (count[whole] > 1).any():
        raise FormatError(
            "mosaics and multi-frame instances are mixed in one stack, which is no kind of image known here: "
            "open the files of each kind by themselves"
        )
    return np.maximum(corner, 0)


def _known_labels(frames: Frames, label: NDArray[np.int64], formats: list[PixelFormat]) -> NDArray[np.bool_]:
    """Whether each stored value of a label map is that of a segment, or of none at all."""
    bits = max(f.bits_stored for f in formats)
    if bits > 16 or any(f.signed or f.floating for f in formats):
        raise FormatError(f"label maps have 8 or 16 bits, unsigned, and not {bits}; mask_and_scale=False gives them")
    background = frames.numbers("PixelPaddingValue")
    values = np.concatenate([label.ravel(), [0], background[~np.isnan(background)].astype(np.int64)])
    out = np.zeros(2**16, dtype=np.bool_)
    out[values[(values >= 0) & (values < len(out))]] = True
    return out


# --- how pixels are stored ------------------------------------------------------------------------------------------


def refuse_syntaxes(scanned: Scan) -> None:
    """Refuse images whose transfer syntax no decoder is known for, or is not that of their pixels.

    Raises
    ------
    FormatError
        It names the transfer syntax, and what to do.
    """
    for syntax in sorted(set(scanned.syntax)):
        if why := refusal(syntax):
            name = file_name(scanned.files[scanned.syntax.index(syntax)])
            raise FormatError(f"{scanned.syntax.count(syntax)} images can't be read, the first is {name}: {why}")
    compressed = scanned.syntaxes.map(lambda syntax: syntax in CODECS).array(bool)
    for k in np.flatnonzero(compressed != (scanned.pixel_length < 0)).tolist():
        found = "are in one piece, as native ones" if compressed[k] else "are in fragments, as compressed ones"
        raise FormatError(
            f"{file_name(scanned.files[k])}: its pixels {found}, but its transfer syntax is {scanned.syntax[k]}: the "
            "file meta information is wrong or missing"
        )


def _pixel_formats(scanned: Scan, segments: bool) -> tuple[list[PixelFormat], NDArray[np.intp]]:
    """Pixel formats of the files, and which each file has."""
    names = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
             "PlanarConfiguration")  # fmt: skip
    floating = scanned.pixel_tag != 0x7FE00010
    table = np.stack([*(scanned.numbers(n) for n in names), floating], axis=1)
    table[:, 2] = np.where(np.isnan(table[:, 2]), 1, table[:, 2])
    table[:, 3] = np.where(floating, np.where(scanned.pixel_tag == 0x7FE00008, 32, 64), table[:, 3])  # PS3.3 C.7.6.24
    table[:, 4] = np.where(np.isnan(table[:, 4]) | floating, table[:, 3], table[:, 4])
    table[:, 5] = np.where(np.isnan(table[:, 5]) | floating, table[:, 4] - 1, table[:, 5])
    if np.isnan(table[:, [0, 1, 3]]).any() or (table[:, [0, 1]] <= 0).any():
        raise FormatError("Rows, Columns or Bits Allocated is missing or zero: the pixels have no shape")
    spaces = scanned.words("PhotometricInterpretation").map(lambda words: "".join(words or ()).strip().upper())
    rows = Coded.of_numbers(np.nan_to_num(table).astype(int))
    known: dict[PixelFormat, int] = {}
    formats: list[PixelFormat] = []
    groups, which = groups_of(rows, spaces, scanned.syntaxes)
    kind: list[int] = []
    for row, word, syntax in groups:
        family = CODECS[syntax].family if syntax in CODECS else ""
        if ONLY_IN.get(word, family) != family:
            raise FormatError(f"colours of {word} are known only in {ONLY_IN[word]} frames, which these are not")
        # the numbers of segments stay numbers, whatever colours are proposed for them
        form = _pixel_format(row, "" if segments and word == PALETTE else word)
        kind.append(known.setdefault(form, len(formats)))
        if kind[-1] == len(formats):
            formats.append(form)
    return formats, np.array(kind, dtype=np.intp)[which]


def _pixel_format(numbers: tuple[int, ...], space: str) -> PixelFormat:
    rows, cols, samples, allocated, stored, high, signed, planar, floating = numbers
    if samples not in (1, 3):
        raise FormatError(
            f"images of {samples} samples per pixel ({space}) are not read: grey ones have 1 and colour 3"
        )
    if samples == 1 and space not in ("", "MONOCHROME1", "MONOCHROME2", PALETTE):
        raise FormatError(f"images of {space} have 3 samples per pixel, where the header says 1")
    if samples == 3 and space not in ("", *SPACES):
        raise FormatError(f"images of 3 samples per pixel and {space} are not read: RGB and YBR are")
    if allocated not in ((32, 64) if floating else (1, 8, 16, 32)) or not 0 < stored <= high + 1 <= allocated:
        raise FormatError(f"pixels of {allocated} bits, {stored} stored, high bit {high} are none that DICOM knows")
    if space.endswith("_422") and cols % 2:
        raise FormatError(f"images of {space} have an even number of columns, where the header says {cols}")
    colour = space if space == PALETTE else (space or "RGB") if samples > 1 else ""
    return PixelFormat(
        rows, cols, samples, allocated, stored, high, bool(signed), bool(planar) and samples > 1, bool(floating), colour
    )


def _palettes(scanned: Scan, indexed: NDArray[np.bool_]) -> dict[int, Palette]:
    """Palettes of the files whose values are indices; equal ones are made once."""
    known: dict[tuple[object, ...], Palette] = {}
    out: dict[int, Palette] = {}
    if not indexed.any():
        return out
    columns = [scanned.column(tag) for tag in _PALETTE_TAGS]
    for k in np.flatnonzero(indexed).tolist():
        key = tuple(column[k] for column in columns)
        if key not in known:
            known[key] = palette(read_header(scanned.files[k]))
        out[k] = known[key]
    return out


def _extended_offsets(scanned: Scan) -> dict[int, tuple[bytes, bytes]]:
    """Extended Offset Table and its lengths (PS3.3 C.7.6.3.1.8) of the files that have one."""
    out: dict[int, tuple[bytes, bytes]] = {}
    for k in np.flatnonzero(scanned.column(_EXTENDED_OFFSETS).present & (scanned.pixel_length < 0)).tolist():
        places, lengths = (scanned.value(k, tag) for tag in (_EXTENDED_OFFSETS, _EXTENDED_LENGTHS))
        out[k] = (places[1] if places else b"", lengths[1] if lengths else b"")
    return out


# --- from stored integers to values ---------------------------------------------------------------------------------


def _rescale(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rescale slope and intercept of each frame (PS3.3 C.11.1.1.2), dose grid scaling; 1 and 0 without."""
    slope, intercept = frames.numbers("RescaleSlope"), frames.numbers("RescaleIntercept")
    dose = frames.numbers("DoseGridScaling")  # PS3.3 C.8.8.3.4.3: what RT Dose has in place of a rescale
    slope = np.where(np.isnan(slope), dose, slope)
    unscaled = frames.coded_text("SOPClassUID").map(lambda uid: uid == RTDoseStorage).array(bool) & np.isnan(slope)
    if unscaled.any():
        raise FormatError(
            "the doses of some images have no DoseGridScaling, without which their values are not known; "
            "mask_and_scale=False gives the stored ones"
        )
    for keyword, values in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        written = frames.words(keyword).map(lambda text: bool(text) and any(text or ())).array(bool)
        if (~np.isfinite(values) & written).any():
            raise FormatError(f"{keyword} is no number in some images; mask_and_scale=False gives the stored values")
    if (slope == 0).any():
        raise FormatError(
            "RescaleSlope is 0 in some images, so that their values are lost; mask_and_scale=False gives the stored "
            "ones"
        )
    _warn_of_unscaled(frames, slope, intercept)
    return np.where(np.isnan(slope), 1.0, slope), np.where(np.isnan(intercept), 0.0, intercept)


def _warn_of_unscaled(frames: Frames, slope: NDArray[np.float64], intercept: NDArray[np.float64]) -> None:
    """Say that images have half a rescale, or some of a stack none where that of the others changes values."""
    for one, other, plain, values in (
        ("RescaleSlope", "RescaleIntercept", 1, np.isnan(slope) & ~np.isnan(intercept)),
        ("RescaleIntercept", "RescaleSlope", 0, np.isnan(intercept) & ~np.isnan(frames.numbers("RescaleSlope"))),
    ):
        if values.any():
            warn(
                f"{int(values.sum())} of {len(frames)} images have {other} but no {one}, which belongs to it: {plain} "
                "is taken for it, and values may be others where it was lost"
            )
    unsaid = np.isnan(slope) & np.isnan(intercept)
    if not unsaid.any() or unsaid.all():
        return
    if (np.nan_to_num(slope, nan=1.0) != 1).any() or (np.nan_to_num(intercept) != 0).any():
        name = file_name(frames.scan.files[int(frames.file[unsaid.argmax()])])
        warn(
            f"{int(unsaid.sum())} of {len(frames)} images have no RescaleSlope and RescaleIntercept, the others do: "
            f"they have their stored values, which may be others. The first is {name}"
        )


def _modality_luts(scanned: Scan) -> tuple[list[ModalityLut], NDArray[np.intp] | None]:
    """Modality LUTs of the files, and which each file has (-1 for none)."""
    cells = scanned.column(_MODALITY_LUT)
    which = np.full(len(scanned), -1, dtype=np.intp)
    luts: list[ModalityLut] = []
    known: dict[object, int] = {}
    for k in np.flatnonzero(cells.present).tolist():
        cell = cells[k]
        if cell not in known:
            luts.append(modality_lut(read_header(scanned.files[k])))
            known[cell] = len(luts) - 1
        which[k] = known[cell]
    return luts, which if luts else None


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
    if array.label is not None:
        return value_type(ValueRange(0, 1, 1, True), np.dtype(np.uint8), asked)
    stored = {f.dtype.newbyteorder("=") for f in array.formats}
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

"""A stack as a labelled image: sorted, labelled, its pixels not yet read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ...formats.seam import Outline, ReadOptions
from ...model.geometry import AXES
from ...model.identity import PATIENT_KEYS, patient_digest, study_digest
from ...model.image import Axis, Volumes, build
from ...model.indexes import Space
from ...model.repair import TRAILING
from ...stores.url import File
from ..framing.frames import SLICE_TIME, Frames
from ..framing.quantities import is_parametric_map, quantity_attrs
from ..framing.references import place_among, refers
from ..framing.segmentation import fill_labels, labels_of_segments, segment_grid, spread, with_gaps
from ..framing.segments import described, is_label_map, is_segmentation
from ..headers.header import Place, Telling
from ..headers.lookup import remember
from ..headers.of_files import FileHeaders
from ..pixels.array import array_of
from ..pixels.pixels import FrameArray
from ..scanning.coded import groups_of
from ..scanning.lately import once
from .announced import warn_of_holes
from .attrs import attrs_of, units_of
from .clock import Clock
from .labels import coords_of, geometry_of, volumes_of
from .phase_encoding import phase_encoding_attrs
from .sort import Grid, slice_numbers, sort
from .stacks import Series, Stack, position_tolerance

CHUNK_BYTES = 8 * 2**20  # chunks of several volumes, where volumes are smaller than this


@dataclass
class Layout:
    """Which frame lies where, and the labels of the dims.

    Attributes
    ----------
    frames : Frames
    index : ndarray, shape (volumes or segments, ..., slice)
        Row of the frame; -1 for none.
    volumes : list of Volumes
    axes : dict
    space : Space or None
    coords : dict
        Name -> (dims, values).
    label : ndarray, optional
        In label maps, the number that stands for the segment in each place.
    """

    frames: Frames
    index: NDArray[np.intp]
    volumes: list[Volumes]
    axes: dict[str, Axis]
    space: Space | None
    coords: dict[str, Any]
    label: NDArray[np.int64] | None = None

    def handed_out(self) -> Layout:
        """The same with labels of its own: those of an image may be written to."""
        volumes = [Volumes(np.array(v.values), dict(v.attrs), v.dim) for v in self.volumes]
        axes = {name: Axis(np.array(axis.labels), axis.spacing) for name, axis in self.axes.items()}
        coords = {name: (dims, copy(values)) for name, (dims, values) in self.coords.items()}
        return replace(self, volumes=volumes, axes=axes, coords=coords)


def image_of(stack: Stack, orders: Any, options: ReadOptions, found: Sequence[Series] = ()) -> xr.Dataset:
    """Dataset of a stack: sorted, labelled, pixels not yet read.

    Parameters
    ----------
    stack : Stack
    orders : list of Order or None
        None finds out. Segmentations have one dim for their segments, whatever is asked for.
    options : ReadOptions
    found : sequence of Series
        All of the source: segmentations and parametric maps lie on the grid of the image that they were made from.

    Raises
    ------
    SortError, GeometryError, FormatError
        Where it can't be one image, with what to do.
    """
    plan = _laid_out(stack, orders, options, found)
    frames, coords = plan.frames, plan.coords
    array = array_of(frames, plan.index, options, plan.label)
    attrs = attrs_of(frames, set(coords) | {v.dim for v in plan.volumes}, stack.place)
    if stack.place:
        attrs |= phase_encoding_attrs(frames)
    if array.slope is not None and (units := units_of(frames)):
        attrs["units"] = units
    if is_parametric_map(frames):
        said = quantity_attrs(frames)
        attrs |= said if array.slope is not None else {k: v for k, v in said.items() if k != "units"}
    if any(f.colour and f.space != "RGB" for f in array.formats):
        attrs = {k: v for k, v in attrs.items() if "PaletteColorLookupTable" not in k}
        attrs["PhotometricInterpretation"] = "RGB"
    if is_segmentation(frames):
        attrs["SegmentSequence"] = json.dumps([item.to_json_dict() for item in described(frames)])
    coords["patient"] = ((), np.int64(patient_digest(attrs)))
    coords["study"] = ((), np.int64(study_digest(attrs)))
    if options.source:
        array.source = options.source
        coords["source"] = ((), np.array(options.source, dtype=np.dtypes.StringDType()))
    encoding = _encoding(array, [v.dim for v in plan.volumes])
    ds = build(
        array, volumes=plan.volumes, axes=plan.axes, space=plan.space, coords=coords, attrs=attrs, encoding=encoding
    )
    if options.source:
        remember(options.source, headers_of_frames(frames))
    return ds


def outline_of(stack: Stack, orders: Any, options: ReadOptions, found: Sequence[Series] = ()) -> Outline:
    """Shape, order and type of what `image_of` makes of the same, or its errors; nothing of xarray is built."""
    plan = _laid_out(stack, orders, options, found)
    array = array_of(plan.frames, plan.index, options, plan.label)
    dims = (*(v.dim for v in plan.volumes), *AXES, *TRAILING)
    order = ",".join(str(v.attrs["order"]) for v in plan.volumes)
    return Outline(dict(zip(dims, array.shape, strict=False)), order, array.dtype)


def _laid_out(stack: Stack, orders: Any, options: ReadOptions, found: Sequence[Series]) -> Layout:
    if is_segmentation(stack.frames) or refers(stack.frames) or any(order.read for order in orders or ()):
        return _anew(stack, orders, options, found)  # it hangs on other series, or on a function of the user
    asked = None if orders is None else tuple(orders)
    auto = None if options.auto_order is None else tuple(options.auto_order)
    key = (asked, auto, options.missing, options.duplicates)
    return once(stack.known, key, partial(_anew, stack, orders, options, found)).handed_out()


def _anew(stack: Stack, orders: Any, options: ReadOptions, found: Sequence[Series]) -> Layout:
    segmented = is_segmentation(stack.frames) and (options.mask_and_scale or not is_label_map(stack.frames))
    return _segments(stack, found) if segmented else _volumes(stack, orders, options, found)


def _volumes(stack: Stack, orders: Any, options: ReadOptions, found: Sequence[Series]) -> Layout:
    """Images of any kind, as volumes; parametric maps and label maps on the slices of what they were made from."""
    warn_of_holes(stack, slice_numbers(stack))
    grid = sort(stack, orders, options.auto_order, options.missing, options.duplicates)
    stack, grid = _used(stack, grid)
    volumes = volumes_of(stack.frames, grid)
    axes, space = geometry_of(stack, grid)
    coords: dict[str, Any] = coords_of(stack.frames, grid, volumes, stack.place)
    if refers(stack.frames) and stack.place:
        first = grid.index.reshape(-1, grid.index.shape[-1]).max(axis=0)
        among = place_among(stack, first, found)
        if among is not None and (np.diff(among.which) > 0).all():
            axes, space = among.own_axes(axes), among.space
    return Layout(stack.frames, grid.index, volumes, axes, space, coords)


def _segments(stack: Stack, found: Sequence[Series]) -> Layout:
    """A segmentation, one plane of each segment in every slice."""
    frames, grid = stack.frames, segment_grid(stack)
    index, (axes, space) = grid.index, geometry_of(stack, Grid(grid.first[None], [], []))
    among = place_among(stack, grid.first, found) if stack.place else None
    if among is not None:
        axes, space = among.axes, among.space
        index = spread(index, among.which, len(among.slices))
    elif stack.place:
        places = with_gaps(grid, frames, position_tolerance(frames))
        index = spread(index, places, int(places[-1]) + 1)
        axes = axes | {"slice": fill_labels(axes["slice"], places)}
    coords: dict[str, Any] = {
        "instance": (("segment", "slice"), np.where(index >= 0, frames.instance[index], 0)),
        "label": (("segment",), labels_of_segments(frames, grid.numbers)),
    }
    numbers = Volumes(grid.numbers, {"order": "segment", "units": "1"}, "segment")
    label = np.broadcast_to(grid.numbers[:, None], index.shape) if is_label_map(frames) else None
    return Layout(frames, index, [numbers], axes, space, coords, label)


def _used(stack: Stack, grid: Grid) -> tuple[Stack, Grid]:
    """Stack without the frames that are not in the grid."""
    used = np.unique(grid.index[grid.index >= 0]).astype(np.intp)
    if len(used) == len(stack.frames):
        return stack, grid
    renumber = np.full(len(stack.frames), -1, dtype=np.intp)
    renumber[used] = np.arange(len(used))
    index = np.where(grid.index >= 0, renumber[grid.index], -1)
    clock = grid.clock
    if clock is not None:
        clock = Clock(clock.seconds[used], clock.source, clock.absolute)
    part = Stack(stack.frames.take(used), stack.series, stack.place, stack.kind, stack.features)
    return part, Grid(index, grid.orders, grid.values, clock)


def _encoding(array: FrameArray, dims: list[str]) -> dict[str, Any]:
    """How the pixels are stored; floats once they are rescaled."""
    same = array.lut is None and (
        array.slope is None
        or array.intercept is None
        or bool((array.slope == 1).all() and (array.intercept == 0).all())
    )
    stored = str(array.formats[0].dtype.newbyteorder("="))
    return {
        "preferred_chunks": _chunks(array, dims),
        "stored_dtype": stored if same else "float32",
        "bits_stored": max(f.bits for f in array.formats),
    }


def _chunks(array: FrameArray, dims: list[str]) -> dict[str, int]:
    """Chunks of whole volumes, several along the last volume dim where they are small."""
    volume = int(np.prod(array.shape[len(dims) :])) * array.dtype.itemsize
    if array.label is not None:  # a frame holds all its segments: it is read once for all of them
        slices = max(1, CHUNK_BYTES // max(volume // array.shape[1] * array.shape[0], 1))
        whole = dict(zip((*dims, "slice", "row", "col"), array.shape, strict=True))
        return whole | {"slice": min(slices, array.shape[1])}
    several = max(1, min(array.shape[len(dims) - 1], CHUNK_BYTES // max(volume, 1)))
    names = ("slice", "row", "col", "rgb")
    out = dict.fromkeys(dims, 1) | dict(zip(names, array.shape[len(dims) :], strict=False))
    return out | {dims[-1]: several}


def headers_of_frames(frames: Frames) -> FileHeaders:
    """Headers of the images by digest, read when they are asked for."""
    names = (*PATIENT_KEYS, "StudyInstanceUID")
    groups, who = groups_of(*(frames.coded_text(name) for name in names))
    people = [(patient_digest(one), study_digest(one)) for one in (dict(zip(names, g, strict=True)) for g in groups)]
    rows = dict(zip(frames.instance.tolist(), range(len(frames)), strict=True))
    rows.pop(0, None)  # images that can't be told

    def file(row: int) -> tuple[File, int]:
        return frames.scan.files[frames.file[row]], int(frames.number[row])

    def stored(row: int) -> NDArray[Any]:
        one = frames.take(np.array([row], dtype=np.intp))
        return array_of(one, np.zeros((1, 1), dtype=np.intp), ReadOptions(mask_and_scale=False)).stored((0, 0))

    def identity(row: int) -> tuple[int, int]:
        return people[int(who[row])]

    def where(row: int) -> Place:
        rows, cols = (int(n) for n in frames.matrix[row])
        delay = frames.own.numbers.get(SLICE_TIME)
        late = float("nan") if delay is None else float(delay[row])
        return Place(frames.position[row], frames.orientation[row], frames.spacing[row], (rows, cols), late)

    def differ(chosen: NDArray[np.intp], telling: Telling) -> list[int]:
        files = frames.file[chosen]
        keys = [key for key in frames.scan.columns if isinstance(key, int) and telling(key)]
        table = np.zeros((len(files), len(keys) + 1), dtype=np.intp)
        for k, key in enumerate(keys):
            table[:, k] = frames.scan.column(key).codes[files]
        first: list[int] = np.unique(table, axis=0, return_index=True)[1].tolist()
        return first

    uids = frames.coded_text("SOPInstanceUID")
    return FileHeaders(
        rows, file, stored, identity, where, frames.scan.files, lambda row: uids.values[int(uids.codes[row])], differ
    )

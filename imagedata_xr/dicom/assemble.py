"""A stack as a labelled image: sorted, labelled, its pixels not yet read."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..formats.seam import ReadOptions
from ..model.identity import PATIENT_KEYS, patient_digest, study_digest
from ..model.image import build
from .array import array_of
from .attrs import attrs_of, units_of
from .clock import Clock
from .frames import Frames
from .header import FileHeaders, Place, remember
from .labels import coords_of, geometry_of, volumes_of
from .pixels import FrameArray
from .segments import refuse_several_segments
from .sort import Grid, sort
from .stacks import Stack

CHUNK_BYTES = 8 * 2**20  # chunks of several volumes, where volumes are smaller than this


def image_of(stack: Stack, orders: Any, options: ReadOptions) -> xr.Dataset:
    """Dataset of a stack: sorted, labelled, pixels not yet read.

    Raises
    ------
    SortError, GeometryError, FormatError
        Where it can't be one image, with what to do.
    """
    refuse_several_segments(stack.frames)
    grid = sort(stack, orders, options.auto_order, options.missing, options.duplicates)
    stack, grid = _used(stack, grid)
    frames = stack.frames
    array = array_of(frames, grid.index, options)
    volumes = volumes_of(frames, grid)
    axes, space = geometry_of(stack, grid)
    coords: dict[str, Any] = coords_of(frames, grid, volumes, stack.place)
    attrs = attrs_of(frames, set(coords) | {v.dim for v in volumes}, stack.place)
    if array.slope is not None and (units := units_of(frames)):
        attrs["units"] = units
    if any(f.colour and f.space != "RGB" for f in array.formats):
        attrs = {k: v for k, v in attrs.items() if "PaletteColorLookupTable" not in k}
        attrs["PhotometricInterpretation"] = "RGB"
    coords["patient"] = ((), np.int64(patient_digest(attrs)))
    coords["study"] = ((), np.int64(study_digest(attrs)))
    if options.source:
        coords["source"] = ((), np.array(options.source, dtype=np.dtypes.StringDType()))
    encoding = _encoding(array, [v.dim for v in volumes])
    ds = build(array, volumes=volumes, axes=axes, space=space, coords=coords, attrs=attrs, encoding=encoding)
    if options.source:
        remember(options.source, headers_of_frames(frames))
    return ds


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
    several = max(1, min(array.shape[len(dims) - 1], CHUNK_BYTES // max(volume, 1)))
    names = ("slice", "row", "col", "rgb")
    out = dict.fromkeys(dims, 1) | dict(zip(names, array.shape[len(dims) :], strict=False))
    return out | {dims[-1]: several}


def headers_of_frames(frames: Frames) -> FileHeaders:
    """Headers of the images by digest, read when they are asked for."""
    places, rows, people = {}, {}, {}
    known: dict[tuple[str, ...], tuple[int, int]] = {}
    names = (*PATIENT_KEYS, "StudyInstanceUID")
    who = list(zip(*(frames.text(n) for n in names), strict=True))
    for k, digest in enumerate(frames.instance.tolist()):
        if digest:
            places[digest] = (frames.scan.files[frames.file[k]], int(frames.number[k]))
            rows[digest] = k
            if who[k] not in known:
                elements = dict(zip(names, who[k], strict=True))
                known[who[k]] = patient_digest(elements), study_digest(elements)
            people[digest] = known[who[k]]

    def stored(instance: int) -> NDArray[Any]:
        one = frames.take(np.array([rows[instance]], dtype=np.intp))
        return array_of(one, np.zeros((1, 1), dtype=np.intp), ReadOptions(mask_and_scale=False)).stored((0, 0))

    def where(instance: int) -> Place:
        k = rows[instance]
        return Place(frames.position[k], frames.orientation[k], frames.spacing[k])

    return FileHeaders(places, stored, people, where)

"""Instances of every kind as planes: classic ones, frames of multi-frame instances, tiles of mosaics and grids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, GeometryError, SourceError, warn
from ...model.orders import DIRECTIONALITY
from ...stores.url import file_name
from ..scanning.scan import Scan
from ..scanning.vr import CSA_HEADER, SIEMENS_B_VALUE
from ..vendors.uih import grid_columns, is_grid
from .csa import csa_diffusion
from .enhanced import frame_columns
from .frames import FRAME_TIME, SLICE_TIME, Frames, Name, Own
from .groups import PER_FRAME, SHARED, has_groups
from .mosaic import TileColumns, is_mosaic, tile_columns

_B_VALUE = SIEMENS_B_VALUE
_DIRECTION = ("SIEMENS MR HEADER", 0x19, 0x0E)


def planes_of(scan: Scan, errors: str = "warn") -> Frames:
    """Frames of instances that hold images.

    Parameters
    ----------
    scan : Scan
    errors : {"warn", "raise"}
        What is done with an instance whose planes can't be told.

    Returns
    -------
    Frames
        In the order of the instances, and within an instance as its planes are stored.
    """
    kinds = _kinds(scan)
    if not any(kinds):
        return Frames.of(scan)
    file: list[int] = []
    number: list[int] = []
    parts: list[tuple[int, Own]] = []
    for k, read in enumerate(kinds):
        try:
            own, n = read(scan, k) if read else (Own(), 1)
        except (SourceError, FormatError, GeometryError) as error:
            if errors == "raise":
                raise
            warn(f"{file_name(scan.files[k])} is left out: {error}")
            continue
        file += [k] * n
        number += range(1, n + 1)
        parts.append((n, own))
    whole = np.stack([scan.numbers("Rows"), scan.numbers("Columns")], axis=1)
    own = _joined(parts, np.nan_to_num(whole[file]).astype(np.int64) if file else np.zeros((0, 2), dtype=np.int64))
    return Frames(scan, np.array(file, dtype=np.intp), np.array(number, dtype=np.intp), own)


Reader = Callable[[Scan, int], tuple[Own, int]]


def _kinds(scan: Scan) -> list[Reader | None]:
    """How the planes of each instance are read; None for a classic one with a single plane."""
    several = scan.numbers("NumberOfFrames") > 1
    mosaic, grid = is_mosaic(scan), is_grid(scan)
    header = scan.column(CSA_HEADER).present
    out: list[Reader | None] = []
    grouped = SHARED in scan.columns or PER_FRAME in scan.columns
    if not (grouped or several.any() or mosaic.any() or grid.any() or header.any()):
        return [None] * len(scan)
    for k in range(len(scan)):
        if grouped and has_groups(scan, k):
            out.append(_frames)
        elif several[k]:
            out.append(_refused if mosaic[k] or grid[k] else _frames)
        else:
            out.append(_mosaic if mosaic[k] else _grid if grid[k] else _weighted if header[k] else None)
    return out


def _refused(scan: Scan, k: int) -> tuple[Own, int]:
    """Several frames that are mosaics each: which frame the position is of is nowhere said."""
    raise FormatError("it holds several frames, each a mosaic of slices, which is no kind of image known here")


def _frames(scan: Scan, k: int) -> tuple[Own, int]:
    columns = frame_columns(scan, k)
    own = Own(dict(columns.numbers), dict(columns.texts))
    if "FrameTime" in own.numbers:  # when it was; the element of that name is an interval
        own.numbers[FRAME_TIME] = own.numbers.pop("FrameTime")
    return own, columns.count


def _mosaic(scan: Scan, k: int) -> tuple[Own, int]:
    own, n = _tiles(tile_columns(scan, k))
    _weigh(own, n, scan.take([k]))
    return own, n


def _weighted(scan: Scan, k: int) -> tuple[Own, int]:
    """A single plane that may be weighted by diffusion, of which nothing but its CSA header tells."""
    own = Own()
    try:
        _weigh(own, 1, scan.take([k]))
    except SourceError as error:
        warn(f"{error}: whether it is weighted by diffusion is not known")
    return own, 1


def _weigh(own: Own, n: int, one: Scan) -> None:
    """Take from a CSA header what the elements of an instance do not say of diffusion (before VB13: all of it)."""
    b, vector = one.numbers(_B_VALUE)[0], one.numbers(_DIRECTION, 3)[0]
    weighted = np.isnan(b) and np.isnan(one.numbers("DiffusionBValue")[0])
    if not weighted and not (b > 0 and np.isnan(vector).any()):
        return
    said = csa_diffusion(one)
    if np.isnan(said.b_value[0]) or (not weighted and said.b_value[0] != b):
        return
    own.numbers["DiffusionGradientOrientation"] = np.repeat(said.vector, n, axis=0)
    if not np.isnan(said.directionality[0]):
        own.texts["DiffusionDirectionality"] = [DIRECTIONALITY[int(said.directionality[0])]] * n
    if weighted:
        own.numbers["DiffusionBValue"] = np.repeat(said.b_value, n)


def _grid(scan: Scan, k: int) -> tuple[Own, int]:
    return _tiles(grid_columns(scan, k))


def _tiles(columns: TileColumns) -> tuple[Own, int]:
    n = len(columns)
    time = columns.slice_time * 1e-3
    numbers: dict[Name, NDArray[np.float64]] = {
        "ImagePositionPatient": columns.position,
        "ImageOrientationPatient": np.broadcast_to(columns.orientation, (n, 6)).copy(),
        SLICE_TIME: time - np.nanmin(time) if not np.isnan(time).all() else time,
    }
    texts: dict[Name, list[str]] = {"ImageType": ["\\".join(columns.image_type)] * n}
    matrix = np.broadcast_to(np.array(columns.shape, dtype=np.int64), (n, 2)).copy()
    return Own(numbers, texts, columns.offset.astype(np.intp), matrix), n


def _joined(parts: list[tuple[int, Own]], matrix: NDArray[np.int64]) -> Own:
    """What single planes say, one instance after the other."""
    total = sum(n for n, _ in parts)
    names = {name for _, own in parts for name in own.numbers}
    words = {name for _, own in parts for name in own.texts}
    out = Own()
    for name in names:
        width = max(v.reshape(len(v), -1).shape[1] for _, own in parts if (v := own.numbers.get(name)) is not None)
        table, at = np.full((total, width), np.nan), 0
        for n, own in parts:
            if (values := own.numbers.get(name)) is not None:
                flat = values.reshape(n, -1)
                table[at : at + n, : flat.shape[1]] = flat
            at += n
        out.numbers[name] = table[:, 0] if width == 1 else table
    for name in words:
        out.texts[name] = [text for n, own in parts for text in own.texts.get(name, [""] * n)]
    if any(own.corner is not None for _, own in parts):
        out.corner, out.matrix, at = np.full((total, 2), -1, dtype=np.intp), matrix, 0
        for n, own in parts:
            if own.corner is not None and own.matrix is not None:
                out.corner[at : at + n], out.matrix[at : at + n] = own.corner, own.matrix
            at += n
    return out

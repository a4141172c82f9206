"""Labels of an image from its elements: what varies by volume becomes a coord, and where the axes lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR

from ...errors import warn
from ...model.geometry import direction_of, evenness, labels_of, normal
from ...model.image import Axis, Volumes
from ...model.indexes import Space
from ...model.orders import DIRECTIONALITY, ORDERS, VECTOR, Order, label_for
from ..framing.frames import SLICE_TIME, Frames
from ..framing.vendor_words import slice_times
from .attrs import NUMERIC, said_elsewhere
from .clock import datetime64, iso, starts
from .keys import VALUE_ORDERS
from .sort import Grid
from .stacks import Stack, position_tolerance
from .unsaid import warn_of_gaps, warn_of_unnamed

MOST_UPRIGHT = 0.5
"""Degrees by which the gantry of a transverse scan may be said to be tilted."""

# --- volumes --------------------------------------------------------------------------------------------------------


def volumes_of(frames: Frames, grid: Grid) -> list[Volumes]:
    """Labels of the volume dims."""
    single = len(grid.orders) == 1
    return [
        _volumes(frames, grid, o, v, "tag" if single else o.dim) for o, v in zip(grid.orders, grid.values, strict=True)
    ]


def _volumes(frames: Frames, grid: Grid, order: Order, values: NDArray[np.float64], dim: str) -> Volumes:
    attrs: dict[str, Any] = {"order": order.name, "units": order.label.units or "1"}
    values = np.asarray(values, dtype=np.float64)
    if not order.scalar:
        return Volumes(values, attrs, dim)
    attrs["source"] = order.label.keyword or order.name
    if order.by == "rank" and order.label.coord == "time":
        attrs |= {"source": _time_source(frames, grid), "epoch": _epoch(frames, grid, values)}
        values = np.round(values - values[0], 6)
    if order.by == "rank":
        attrs["interval"] = float(np.median(np.diff(values))) if len(values) > 1 else 0.0
    return Volumes(values, attrs, dim)


def _time_source(frames: Frames, grid: Grid) -> str:
    if grid.clock is not None:
        return grid.clock.source
    have = frames.clocks
    return have[0].source if have else ""


def _epoch(frames: Frames, grid: Grid, values: NDArray[np.float64]) -> str:
    """ISO time of the first volume; from the acquisition time where the clock itself counts from another moment."""
    if grid.clock is not None and grid.clock.absolute:
        return iso(float(values[0]))
    moments = [c for c in frames.clocks if c.absolute]
    if not moments:
        return ""
    # a timer such as TriggerTime runs since the start of the series, which is what all its images say
    late = float(values[0]) if grid.clock is not None else 0.0
    return iso(float(moments[0].seconds.min()) + late)


# --- coords -----------------------------------------------------------------------------------------------------------


def coords_of(
    frames: Frames, grid: Grid, volumes: list[Volumes], place: bool
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Per-volume, per-image and scalar coords: name -> (dims, values)."""
    dims = tuple(v.dim for v in volumes)
    out: dict[str, tuple[tuple[str, ...], Any]] = {}
    out.update(_elements(frames, grid, dims, said_elsewhere(frames, place)))
    out.update(_diffusion(frames, grid, dims))
    out.update(_labelling(frames, grid, dims))
    out.update(_times(frames, grid, dims))
    for v in volumes:
        out.pop(v.dim, None)
    if place or grid.index.shape[-1] > 1:
        warn_of_unnamed(frames, volumes, out)
    warn_of_gaps(frames, [ORDERS[name].label.keyword for name in VALUE_ORDERS])
    out["instance"] = ((*dims, "slice"), np.where(grid.index >= 0, frames.instance[grid.index], 0))
    return out


def _by_volume(values: NDArray[np.float64], grid: Grid) -> NDArray[np.float64] | None:
    """Value of each volume; None where it varies within one or is missing."""
    filled = grid.index >= 0
    if np.isnan(values[grid.index[filled]]).any():
        return None
    low = np.where(filled, values[grid.index], np.inf).min(axis=-1)
    high = np.where(filled, values[grid.index], -np.inf).max(axis=-1)
    empty = ~filled.any(axis=-1)  # a place of a grid of orders without any image
    return np.where(empty, np.nan, low) if bool((empty | (low == high)).all()) else None


def _squeeze(values: NDArray[Any], dims: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
    """Values on those dims only along which they vary."""
    kept = list(dims)
    for axis in reversed(range(values.ndim)):
        first = values.take([0], axis=axis)
        if bool((values == first).all()):
            values = values.take(0, axis=axis)
            kept.pop(axis)
    return tuple(kept), values if kept else values[()]


def _elements(
    frames: Frames, grid: Grid, dims: tuple[str, ...], elsewhere: frozenset[str]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Numbers that vary by volume, and those equal everywhere that have a name in the table of labels."""
    out = {}
    keywords = frames.keywords()
    for keyword in keywords:
        if keyword in elsewhere or _vr(frames, keyword) not in NUMERIC:
            continue
        if f"{keyword}Increment" in keywords and _moves(frames, f"{keyword}Increment"):
            continue
        label = label_for(keyword)
        named = bool(label.units) or label.coord in ("cardiac_phase", "number_of_averages")
        if not named and not frames.varies(keyword):
            continue
        several = frames.numbers(keyword, 2)
        if not np.isnan(several[:, 1]).all():
            continue
        values = _by_volume(several[:, 0] * label.factor, grid)
        if values is None:
            continue
        on, value = _squeeze(values, dims)
        if on or named:
            out[label.coord] = (on, value)
    return out


def _moves(frames: Frames, increment: str) -> bool:
    """Whether an angle changes from frame to frame, so that the instance's is that of one frame only.

    Whether increments are from the first frame or from the one before is not clear (PS3.3 C.8.7.5), and scanners do
    both: so the angles of the others are not computed.
    """
    said = {value for words in frames.words(increment).values for value in words or ("0",)}
    return any(not _is_zero(value) for value in said)


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _vr(frames: Frames, keyword: str) -> str:
    cell = frames.scan.column(keyword).first
    if isinstance(cell, tuple):
        return cell[0]
    return dictionary_VR(keyword) if keyword in frames.own.numbers else ""


def _diffusion(frames: Frames, grid: Grid, dims: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], Any]]:
    """b-value, direction and directionality, on every volume dim along which they vary (at least the last)."""
    d = frames.diffusion
    unsaid = np.isnan(d.b_value)
    if unsaid.any() and not unsaid.all():
        warn(
            f"{int(unsaid.sum())} of {unsaid.size} images of a series have no b-value that can be told, the others do: "
            "all are read without. Anonymization often loses it; read the originals"
        )
    if unsaid.any() or not (d.b_value > 0).any():
        return {}
    columns = {
        "b_value": d.b_value,
        **dict(zip(VECTOR, d.vector.T, strict=True)),
        "diffusion_directionality": d.directionality,
    }
    tables = {name: _by_volume(values, grid) for name, values in columns.items()}
    if any(t is None for t in tables.values()):
        # directions that vary a little from slice to slice: the first slice speaks for its volume
        filled = grid.index >= 0
        high = np.where(filled, d.b_value[grid.index], -np.inf).max(axis=-1)
        if (high - np.where(filled, d.b_value[grid.index], np.inf).min(axis=-1) > 1).any():
            return {}
        first = np.take_along_axis(grid.index, filled.argmax(axis=-1)[..., None], axis=-1)[..., 0]
        tables = {name: np.where(first >= 0, values[first], np.nan) for name, values in columns.items()}
    _warn_of_lost_directions({name: np.asarray(t) for name, t in tables.items()})
    _warn_of_doubt(frames)
    stacked = np.stack([np.asarray(t) for t in tables.values()])
    keep = [ax for ax in range(len(dims)) if not (stacked == stacked.take([0], axis=ax + 1)).all()] or [len(dims) - 1]
    pick = tuple(slice(None) if ax in keep else 0 for ax in range(len(dims)))
    on = tuple(dims[ax] for ax in keep)
    return {name: (on, np.asarray(t)[pick]) for name, t in tables.items()}


def _warn_of_lost_directions(tables: dict[str, NDArray[np.float64]]) -> None:
    """Say that volumes are weighted in a direction that their files do not tell."""
    still = np.all([tables[name] == 0 for name in VECTOR], axis=0)
    lost = (tables["b_value"] > 0) & (tables["diffusion_directionality"] == DIRECTIONALITY.index("DIRECTIONAL")) & still
    if lost.any():
        warn(
            f"{int(lost.sum())} of {lost.size} volumes are weighted by diffusion in a direction that their files do "
            "not give, or only in a comment in axes that are not documented: they are read with their b-value and "
            "without direction. Anonymization often loses it; read the originals, or export them as enhanced images"
        )


def _warn_of_doubt(frames: Frames) -> None:
    """Say that directions may not be those of the patient, where what is known of them is thin or contradictory."""
    makers = {maker.upper() for maker in frames.coded_text("Manufacturer").values}
    told = np.nan_to_num(frames.diffusion.vector).any(axis=1)
    if any(maker.startswith("BRUKER") for maker in makers) and told.any():
        warn(
            "the diffusion directions of Bruker's images (0018,9089) may be along the axes of the gradients instead of "
            "the patient's, and are read as the patient's: compare them with the protocol before they are used"
        )
    commented = told & np.isnan(frames.numbers("DiffusionGradientOrientation", 3)).any(axis=1)
    if any(maker.startswith("CANON") for maker in makers) and commented.any():
        warn(
            "the diffusion directions of Canon's images stand in Image Comments (0020,4000) only, in axes of the image "
            "that are not documented, and are read as other converters do: compare them with the protocol before they "
            "are used, or export enhanced images"
        )


def _labelling(frames: Frames, grid: Grid, dims: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Code of spin labelling where it varies by volume; in equal images it stays an attr."""
    values = _by_volume(frames.asl_context, grid)
    on, codes = _squeeze(values, dims) if values is not None else ((), None)
    return {"asl_context": (on, codes)} if on else {}


def _times(frames: Frames, grid: Grid, dims: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], Any]]:
    """When each volume and each slice was measured."""
    clocks = frames.clocks
    clock = grid.clock if grid.clock is not None else (clocks[0] if clocks else None)
    if clock is None:
        late = np.where(grid.index >= 0, frames.numbers(SLICE_TIME)[grid.index], np.nan)
        return {"slice_time": ((*dims, "slice"), late)} if (late > 0).any() and not np.isnan(late).any() else {}
    table = np.where(grid.index >= 0, clock.seconds[grid.index], np.nan)
    start = starts(clock.seconds, grid.index)
    out: dict[str, tuple[tuple[str, ...], Any]] = {}
    if clock is grid.clock and start.size > 1:
        out["time"] = _squeeze(np.round(start - np.nanmin(start), 6), dims)
    late = _slice_times(frames, grid, np.round(table - start[..., None], 6))
    if (late > 0).any():
        out["slice_time"] = ((*dims, "slice"), late)
    absolute = clock if clock.absolute else next((c for c in clocks if c.absolute), None)
    if absolute is not None:
        out["acquisition_time"] = _squeeze(datetime64(starts(absolute.seconds, grid.index)), dims)
    return out


def _slice_times(frames: Frames, grid: Grid, measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Start of each slice: what the protocol of a complete volume says, else what was measured by the clock."""
    rows = grid.index.reshape(-1, grid.index.shape[-1])
    complete = np.flatnonzero((rows >= 0).all(axis=1))
    said = slice_times(frames.take(rows[complete[0]].astype(np.intp))) if len(complete) else None
    if said is None:
        return _with_first_mended(frames, grid, measured)
    return np.where(grid.index >= 0, np.round(said, 6), np.nan)


_AGREE = 5e-3
"""s: slice times that differ by less agree; they are multiples of 2.5 ms."""


def _with_first_mended(frames: Frames, grid: Grid, late: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slice times, shape (volumes, slices), those of the first volume as of the others where they are impossible.

    That is where each volume is an instance of its own: in multiband series of many releases of Siemens the first one
    has the times of a measurement slice by slice, which is longer than the interval (dcm2niix, issues 303 and 870).
    """
    if late.ndim != 2 or min(late.shape) < 2 or np.isnan(late).any():
        return late
    file = frames.file[grid.index]
    if (file != file[:, :1]).any() or len(np.unique(file[:, 0])) < len(file):
        return late
    interval = float(np.nanmin(frames.numbers("RepetitionTime"), initial=np.inf)) * 1e-3
    steady = np.abs(late[2:] - late[1]).max(initial=0.0) <= _AGREE and late[1].max() < interval
    if not steady or late[0].max() <= interval or not np.isfinite(interval):
        return late
    warn(
        f"the slices of the first volume are said to be measured over {late[0].max():.4g} s, longer than the "
        f"repetition time of {interval:.4g} s: their times are taken from the others, which agree with each other"
    )
    return np.concatenate([late[1:2], late[1:]])


# --- geometry ---------------------------------------------------------------------------------------------------------


def geometry_of(stack: Stack, grid: Grid) -> tuple[dict[str, Axis], Space | None]:
    """Labels of the axes in mm and the space; indices and None for images without a place in the patient."""
    frames = stack.frames
    rows, cols = (int(n) for n in frames.matrix[0])
    if not stack.place:
        slices = grid.index.shape[-1]
        return {n: Axis(np.arange(size), 1.0) for n, size in (("slice", slices), ("row", rows), ("col", cols))}, None
    flat = grid.index.reshape(-1, grid.index.shape[-1])
    first = flat[(flat >= 0).argmax(axis=0), np.arange(flat.shape[1])]
    position, iop = frames.position[first], frames.orientation[first[0]]
    direction = direction_of(iop, position[-1] - position[0] if len(position) > 1 else None)
    labels = labels_of(direction, position)
    _warn_of_rounding(frames, labels)
    _warn_of_tilt(frames, first)
    step_row, step_col = frames.spacing[first[0]]
    axes = {
        "slice": Axis(labels[:, 0], _slice_step(frames)),
        "row": Axis(labels[0, 1] + step_row * np.arange(rows), float(step_row)),
        "col": Axis(labels[0, 2] + step_col * np.arange(cols), float(step_col)),
    }
    return axes, Space(direction, frames.text("FrameOfReferenceUID")[0])


def _warn_of_rounding(frames: Frames, labels: NDArray[np.float64]) -> None:
    """Say how far planes, shape (n, 3) of labels, lie from a regular grid, if no more than rounded positions do."""
    beside = float(np.abs(labels[:, 1:] - labels[0, 1:]).max())
    even = np.linspace(labels[0, 0], labels[-1, 0], len(labels))
    along = float(np.abs(labels[:, 0] - even).max())
    step = float(labels[-1, 0] - labels[0, 0]) / max(len(labels) - 1, 1)
    uneven = 0.01 < along <= evenness(step)
    if beside > position_tolerance(frames) or uneven:
        warn(
            f"slices lie up to {beside:.2g} mm beside their line and {along:.2g} mm from even steps, as positions do "
            "that were rounded: the labels of 'slice' are those of the positions, but rows and columns are placed as "
            "on a straight line" + (", and the affine as by even steps" if uneven else "")
        )


def _warn_of_tilt(frames: Frames, first: NDArray[np.intp]) -> None:
    """Say where planes of a tilted gantry are transverse, as if the tilt were lost: only the original can tell."""
    tilt = frames.numbers("GantryDetectorTilt")[first]
    upright = np.abs(normal(frames.orientation[first[0]])[2]) > 1 - 1e-6
    kinds = frames.strings("ImageType")
    original = all(kind and kind[0] == "ORIGINAL" for kind in (kinds[k] for k in first.tolist()))
    if upright and original and (np.abs(np.nan_to_num(tilt)) > MOST_UPRIGHT).any():
        warn(
            f"series {frames.text('SeriesNumber')[0] or '?'}: GantryDetectorTilt is {np.nanmax(np.abs(tilt)):g} "
            "degrees, but by their ImageOrientationPatient the slices are transverse. They are placed so: were they "
            "tilted, rows lie elsewhere, which the original images tell"
        )


def _slice_step(frames: Frames) -> float | None:
    """Step of a single slice: Spacing Between Slices, else Slice Thickness (with several, positions tell)."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = frames.numbers(keyword)[0]
        if value > 0:
            return float(value)
    return None

"""What a NRRD header says of the image: which axes are spatial, where they lie, when and how volumes were measured."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SourceError, warn
from ..model.orders import VECTOR
from .carried import Known
from .incoming import Incoming, check_place
from .nrrd_header import Header

SPACES = {
    "left-posterior-superior": (1, 1, 1), "LPS": (1, 1, 1), "right-anterior-superior": (-1, -1, 1), "RAS": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "LAS": (1, -1, 1),
}  # fmt: skip
"""Spaces of a patient -> signs of their axes in LPS. With ``-time`` or ``T`` they have a fourth component, the time."""

_MM = {"mm": 1.0, "cm": 10.0, "m": 1e3, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "microns": 1e-3}
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3}
_SPATIAL = ("domain", "space", "???", "none", "")


@dataclass(frozen=True)
class Meaning:
    """The image, and which axes of the file (fastest first) are its columns, rows, slices and volumes.

    Attributes
    ----------
    found : Incoming
    order : tuple of int
        Axes of the file, those of size 1 that were added excepted.
    straight : bool
        Whether the voxels lie as `incoming.raw` reads them: components first, then columns, rows, slices, volumes.
    others : tuple of int
        Axes of the file that are not spatial, parts of complex numbers excepted.
    """

    found: Incoming
    order: tuple[int, ...]
    straight: bool
    others: tuple[int, ...]


def meaning(header: Header, space: str | None) -> Meaning:
    """Interpret a header.

    Parameters
    ----------
    header : Header
    space : str, optional
        The space that is taken where the file names none of a patient.

    Raises
    ------
    SourceError
        If it is damaged.
    FormatError
        If it says what can't be held.
    """
    sizes, stored, content = header.sizes, header.stored, header.labels
    dims = len(sizes)
    kinds = header.words("kinds", dims) or [""] * dims
    named, timed = _space(header, space)
    directions = header.vectors("space directions", dims, _space_dimension(header, timed))
    spatial = _spatial(header, kinds, directions, timed)
    others = [k for k in range(dims) if k not in spatial and sizes[k] > 1]
    leading = [k for k in others if k < spatial[0]]
    parts = 0  # axes that are no axis of numpy's
    colour = [k for k in leading if kinds[k].lower() == "rgb-color"]
    if [kinds[k] for k in leading] == ["complex"] and sizes[leading[0]] == 2 and stored.kind == "f":
        stored = np.dtype(f"{stored.str[0]}c{2 * stored.itemsize}")
        others.remove(leading.pop())
        parts = 1
    channels = int(np.prod([sizes[k] for k in leading], dtype=object))
    straight = len(leading) <= 1 and all(k > spatial[-1] for k in others if k not in leading)
    straight = straight and not (channels == 3 and stored == np.uint8 and kinds[leading[0]].lower() in ("list", "time"))
    if colour and not straight:
        raise FormatError(f"{header.name}: its colours lie between other axes; SimpleITK or teem can reorder them")
    shape = tuple(sizes[k] for k in spatial) + (1,) * (3 - len(spatial))
    volumes = tuple(sizes[k] for k in others if not (straight and k in leading))
    found = Incoming(
        name=header.name,
        shape=shape + volumes,
        stored=stored,
        affine=_affine(header, directions, spatial, named, timed),
        content=content,
        channels=channels if straight else 1,
    )
    return Meaning(check_place(found), tuple(k - parts for k in (*spatial, *others)), straight, tuple(others))


def _space(header: Header, asked: str | None) -> tuple[tuple[int, int, int] | None, bool]:
    """Signs of the axes of the space, None where it is none of a patient; and whether time is its fourth component."""
    said = header.fields.get("space")
    timed = said is not None and (said.endswith("-time") or (len(said) == 4 and said.isupper()))
    base = said.removesuffix("-time") if said is not None else ""
    base = base[:3] if timed and base.isupper() else base
    known = {k.lower(): v for k, v in SPACES.items()}
    if base.lower() not in known and asked is not None:
        if asked.lower() not in known:
            raise FormatError(f"format_options space={asked!r} is none of {', '.join(SPACES)}")
        base = asked
    return known.get(base.lower()), timed


def _space_dimension(header: Header, timed: bool) -> int:
    if "space" in header.fields:
        return 4 if timed else 3
    return header.integer("space dimension", 3)


def _spatial(
    header: Header, kinds: list[str], directions: list[NDArray[np.float64] | None] | None, timed: bool
) -> list[int]:
    """Axes that are columns, rows and slices, the fastest first."""
    if directions is not None:
        found = [k for k, v in enumerate(directions) if v is not None and not (timed and not np.any(v[:3]))]
    elif any(k.lower() in ("domain", "space") for k in kinds):
        found = [k for k, kind in enumerate(kinds) if kind.lower() in ("domain", "space")]
    else:
        found = [k for k, kind in enumerate(kinds) if kind.lower() in _SPATIAL][:3]
    if not 2 <= len(found) <= 3:
        raise FormatError(f"{header.name} has {len(found)} spatial axes (kinds {kinds}): an image has two or three")
    return found


def _scale(header: Header, count: int) -> float:
    units = header.words("space units", count)
    if not units or all(u.lower() in ("", "?", "???") for u in units[:3]):
        return 1.0
    if len(set(units[:3])) > 1 or units[0] not in _MM:
        raise FormatError(f"{header.name} has the space units {units}, which are not read: one of {', '.join(_MM)}")
    return _MM[units[0]]


def _affine(
    header: Header,
    directions: list[NDArray[np.float64] | None] | None,
    spatial: list[int],
    signs: tuple[int, int, int] | None,
    timed: bool,
) -> NDArray[np.float64] | None:
    if directions is None or signs is None:
        if directions is not None or "spacings" in header.fields:
            named = header.fields.get("space")
            said = f"the space {named!r}, which is none of a patient" if named else "no space of a patient"
            warn(
                f"{header.name} names {said}: its labels are indices. format_options={{'space': 'LPS'}} (or 'RAS', "
                "'LAS') says what its space directions mean"
            )
        return None
    count = 4 if timed else 3
    scale = _scale(header, count)
    origin = (header.vectors("space origin", 1, count) or [np.zeros(count)])[0]
    first = np.zeros(count) if origin is None else origin
    columns = []
    for k in spatial:
        vector = directions[k]
        if vector is None or np.any(vector[3:]):
            raise FormatError(
                f"{header.name} has the space direction {vector} of axis {k + 1}: it mixes space and time"
            )
        columns.append(vector[:3] * scale * signs)
    if len(columns) == 2:  # a single slice: its normal
        normal = np.cross(columns[0], columns[1])
        if not (length := float(np.linalg.norm(normal))):
            raise SourceError(f"{header.name} is damaged: its space directions are parallel")
        columns.append(normal / length)
    affine = np.eye(4)
    affine[:3, :3] = np.stack(columns[::-1], axis=1)
    affine[:3, 3] = first[:3] * scale * signs
    return affine


# --- volumes ------------------------------------------------------------------------------------------------------


def volumes(header: Header, what: Meaning, space: str | None) -> Known:
    """When and how the volumes were measured, as far as the header says; for sizes that are known to be right."""
    if len(what.others) != 1:
        return Known()
    (k,) = what.others
    signs, timed = _space(header, space)
    directions = header.vectors("space directions", len(header.sizes), _space_dimension(header, timed))
    count = header.sizes[k]
    if "DWMRI_b-value" in header.keys:
        return _diffusion(header, count, signs)
    dims = len(header.sizes)
    spacings, units = header.numbers("spacings", dims), header.words("units", dims)
    starts = header.numbers("axis mins", dims)
    vector = directions[k] if directions is not None else None
    unit = units[k] if units else ""
    step = float(spacings[k]) if spacings is not None else np.nan
    start = float(starts[k]) if starts is not None and np.isfinite(starts[k]) else 0.0
    if timed and vector is not None:
        step = float(vector[3])
        origin = (header.vectors("space origin", 1, 4) or [None])[0]
        start = float(origin[3]) if origin is not None else 0.0
        unit = (header.words("space units", 4) or [""] * 4)[3]
    if not np.isfinite(step) or step <= 0 or (unit and unit not in _SECONDS):
        return Known()
    by = _SECONDS.get(unit, 1.0)
    values = np.round((start + step * np.arange(count)) * by, 9)
    sure = unit in _SECONDS
    source = "spacings" if unit else "spacings (no unit is said)"
    return Known({"time": values}, {"time": source}, "time" if sure else "none")


def _diffusion(header: Header, count: int, signs: tuple[int, int, int] | None) -> Known:
    """b-values and directions of a DWI: https://www.na-mic.org/wiki/NAMIC_Wiki:DTI:Nrrd_format.

    The nominal b-value is that of the longest gradient; the others go with the square of their length. Gradients are
    in the measurement frame, whose columns are in the space of the image.
    """
    try:
        nominal = float(header.keys["DWMRI_b-value"])
        gradients = _gradients(header, count)
    except ValueError as error:
        raise SourceError(f"{header.name} has damaged DWMRI keys: {error}") from error
    lengths = np.linalg.norm(gradients, axis=1)
    longest = lengths.max()
    if not np.isfinite(nominal) or not np.isfinite(lengths).all():
        raise SourceError(f"{header.name} has damaged DWMRI keys: a b-value or gradient is no number")
    share = (lengths / longest) ** 2 if longest > 0 else np.zeros(count)
    b = np.array([float(f"{x:.9g}") for x in nominal * share])
    labels, sources = {"b_value": b}, {"b_value": "DWMRI_b-value"}
    if signs is None:
        warn(f"{header.name} has no place in the patient, so that its diffusion directions are left out")
        return Known(labels, sources, "dti")
    frame = header.vectors("measurement frame", 3, 3)
    turn = (
        np.eye(3)
        if frame is None or any(v is None for v in frame)
        else np.stack([v for v in frame if v is not None], 1)
    )
    unit = gradients / np.where(lengths > 0, lengths, 1)[:, None] @ turn.T * np.array(signs)
    for axis, values in zip(VECTOR, unit.T, strict=True):
        labels[axis], sources[axis] = values + 0.0, "DWMRI_gradient"
    return Known(labels, sources, "dti")


def _gradients(header: Header, count: int) -> NDArray[np.float64]:
    """One gradient per volume, shape (n, 3), not normalised; zeros for none."""
    out = np.full((count, 3), np.nan)
    for key, value in header.keys.items():
        hit = re.fullmatch(r"DWMRI_(gradient|B-matrix|NEX)_(\d+)", key)
        if hit is None or int(hit[2]) >= count:
            continue
        k = int(hit[2])
        if hit[1] == "gradient":
            out[k] = _floats(value, 3)
        elif hit[1] == "B-matrix":  # of rank one where only one gradient acts: its length is the root of the trace
            xx, xy, xz, yy, yz, zz = _floats(value, 6)
            sizes, axes = np.linalg.eigh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
            out[k] = axes[:, -1] * np.sqrt(max(sizes.sum(), 0.0))
    for key, value in header.keys.items():  # the same gradient several times
        if (hit := re.fullmatch(r"DWMRI_NEX_(\d+)", key)) is not None and int(hit[1]) < count:
            out[int(hit[1]) : int(hit[1]) + int(value)] = out[int(hit[1])]
    if np.isnan(out).any():
        missing = int(np.isnan(out).any(axis=1).argmax())
        raise ValueError(f"volume {missing} of {count} has neither DWMRI_gradient_{missing:04d} nor a B-matrix")
    return out


def _floats(text: str, count: int) -> list[float]:
    values = [0.0 if w.lower() == "n/a" else float(w) for w in text.split()]
    if len(values) != count:
        raise ValueError(f"{text!r} is no {count} numbers")
    return values

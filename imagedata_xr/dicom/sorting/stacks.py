"""From frames to series, and from series to stacks: sets of planes that can be one image."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import LabelError, SeriesError, warn
from ...model.geometry import normal
from ...model.identity import PATIENT_KEYS, clean, patient_digest, series_digest
from ..framing.frames import Frames
from ..framing.places import placed
from ..framing.projections import runs, views
from ..framing.quantities import quantities
from ..framing.segments import segmentations
from ..scanning.coded import Coded, groups_of
from ..scanning.lately import Known
from .slabs import cluster, position_tolerance, rounding, slabs_of

__all__ = [
    "Series",
    "Stack",
    "choose_series",
    "cluster",
    "name_selectors",
    "position_tolerance",
    "restrict",
    "series_of",
    "stacks_of",
]

ORIENTATION_TOLERANCE = 1e-4  # components of direction cosines
NEAR_ORIENTATION = 5e-3  # of different stacks, that is worth a word
SPACING_TOLERANCE = 1e-4  # mm
NEAR_SPACING = 1e-2  # mm, likewise


@dataclass
class Series:
    """The frames of one DICOM series.

    Attributes
    ----------
    frames : Frames
    uid, number, description, modality : str
    patient : int
        Digest.
    key : int or str, optional
        What selects it: its number where no other series of the source has it, else its UID; None for nothing.
    select : str
        The same, as ``series=...``.
    pixels : bool
        False for a series of structured reports, documents, raw data or the like.
    digest : int
        A number that selects it too, and is no identifier.
    known : dict, optional
        What was found out from it, where its scan is held (`scanning.lately`). A part of a series has its own.
    """

    frames: Frames
    uid: str
    number: str
    description: str
    modality: str
    patient: int
    key: int | str | None = None
    select: str = ""
    pixels: bool = True
    digest: int = 0
    known: Known | None = field(default=None, init=False, repr=False, compare=False)

    def __str__(self) -> str:
        select = self.select or f"series={self.uid!r}"
        what = "images" if self.pixels else "objects without pixels"
        return f"series {self.number or '?'} {self.modality} ({len(self.frames)} {what}), {select}"

    def matches(self, wanted: Any) -> bool:
        """Whether a user's ``series=`` means this series: its UID, number, digest, or description with wildcards."""
        if isinstance(wanted, (int, np.integer)):
            return self.number.strip() == str(int(wanted)) or (self.digest != 0 and self.digest == wanted)
        text = str(wanted)
        if text in (self.uid, self.number, self.description):
            return True
        return bool(self.description) and fnmatch.fnmatchcase(self.description.lower(), text.lower())


@dataclass
class Stack:
    """Frames that lie on one line with one orientation, matrix, spacing and kind of image.

    Attributes
    ----------
    frames : Frames
    series : Series
    place : bool
        Whether they have a position and orientation in the patient.
    kind : str
        What tells this stack from the others of its series; empty where it is the only one.
    known : dict, optional
        What was found out from it, where its scan is held.
    """

    frames: Frames
    series: Series
    place: bool
    kind: str = ""
    features: dict[str, str] = field(default_factory=dict)
    known: Known | None = field(default=None, init=False, repr=False, compare=False)


def series_of(frames: Frames) -> list[Series]:
    """Split frames by patient, study, Series Instance UID and Series Number, in order of number and UID.

    The number counts too, since exports exist that give one UID to several series.
    """
    names = (*PATIENT_KEYS, "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber")
    groups, which = groups_of(*(frames.coded_text(name).map(clean) for name in names))
    _warn_of_several_patients(groups)
    out = []
    for number, key in enumerate(groups):
        part = frames.take(np.flatnonzero(which == number).astype(np.intp))
        elements = dict(zip((*PATIENT_KEYS, "StudyInstanceUID"), key, strict=False))
        description, modality = part.text("SeriesDescription")[0], part.text("Modality")[0]
        who = patient_digest(elements)
        own = series_digest(who, *key[-3:])
        out.append(Series(part, key[-2], key[-1].strip(), description, modality, who, digest=own))
    name_selectors(out)
    return sorted(out, key=lambda s: (s.patient, _as_number(s.number), s.uid))


def _warn_of_several_patients(groups: Sequence[tuple[str, ...]]) -> None:
    """Say that images of one series and study name several patients, by elements and not by what they say."""
    people: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for key in groups:
        if key[-2]:
            people.setdefault(key[-3:], []).append(key[: len(PATIENT_KEYS)])
    for (_, _, number), found in people.items():
        if len(found) > 1:
            differ = [
                name for name, said in zip(PATIENT_KEYS, zip(*found, strict=True), strict=True) if len(set(said)) > 1
            ]
            warn(
                f"images of one SeriesInstanceUID (series {number or '?'}) name {len(found)} patients, by their "
                f"{', '.join(differ)}: they are images of their own"
            )


def name_selectors(found: Sequence[Series]) -> None:
    """Find out what selects each of the series of a source: its number where that is unique, else its UID."""
    # images and other objects of one series are found apart
    count = Counter(number for number, *_ in {(s.number, s.uid, s.patient) for s in found})
    for s in found:
        plain = s.number.isdecimal() and str(int(s.number)) == s.number
        s.key = int(s.number) if plain and count[s.number] == 1 else s.uid
        s.select = f"series={s.key!r}"


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.inf


def choose_series(found: Sequence[Series], wanted: Any) -> list[Series]:
    """Series that a user's ``series=`` selects (all of them for None), or `SeriesError` listing what there is."""
    if wanted is None:
        return list(found)
    many = list(wanted) if isinstance(wanted, (list, tuple, set, np.ndarray)) else [wanted]
    for one in many:
        if not any(s.matches(one) for s in found):
            raise SeriesError(f"no series matches {one!r}; there are:\n" + "\n".join(f"  {s}" for s in found))
    return [s for s in found if any(s.matches(one) for one in many)]


def restrict(found: Sequence[Series], acquisition: Any = None, echo: Any = None) -> list[Series]:
    """Series with those frames only whose Acquisition Number and Echo Number(s) were asked for.

    Series that have none of them are left out, unless they hold no images.

    Raises
    ------
    SeriesError
        No series has an image with one of the numbers.
    LabelError
        What was asked for is no number.
    """
    out = list(found)
    for option, keyword, wanted in (("acquisition", "AcquisitionNumber", acquisition), ("echo", "EchoNumbers", echo)):
        if wanted is not None:
            out = _with_numbers(out, keyword, _numbers(option, wanted), wanted)
    return out


def _numbers(option: str, wanted: Any) -> NDArray[np.float64]:
    try:
        return np.atleast_1d(np.asarray(wanted, dtype=np.float64))
    except (TypeError, ValueError):
        raise LabelError(f"{option}={wanted!r}: it is a number, or a list of numbers") from None


def _with_numbers(found: list[Series], keyword: str, many: NDArray[np.float64], wanted: Any) -> list[Series]:
    pictured = [s for s in found if s.pixels]
    values = {id(s): s.frames.numbers(keyword) for s in pictured}
    there = sorted({v for numbers in values.values() for v in numbers.tolist() if v == v})
    if absent := [v for v in many.tolist() if pictured and v not in there]:
        shown = f"[{', '.join(f'{v:g}' for v in there)}]" if there else "none with that element"
        asked = repr(wanted) if len(many) == 1 else f"{absent[0]:g}"
        raise SeriesError(f"no image has {keyword} {asked}; there are {shown}")
    out = []
    for s in found:
        rows = np.flatnonzero(np.isin(values[id(s)], many)).astype(np.intp) if s.pixels else np.zeros(0, dtype=np.intp)
        if len(rows) or not s.pixels:
            out.append(replace(s, frames=s.frames.take(rows)) if s.pixels else s)
    return out


def stacks_of(series: Series, split: str | Sequence[str] | None = None) -> list[Stack]:
    """Stacks of a series, in the order of their first images.

    Parameters
    ----------
    series : Series
    split : str or sequence of str, optional
        DICOM keywords whose values make stacks of their own.

    Returns
    -------
    list of Stack
    """
    frames = series.frames
    features = _features(frames, split)
    groups, which = groups_of(*features.values())
    out: list[Stack] = []
    for number, key in enumerate(groups):
        part = frames.take(np.flatnonzero(which == number).astype(np.intp))
        named = dict(zip(features, key, strict=True))
        place = named["place"] == "yes"
        lines = _lines(part) if place else [np.arange(len(part), dtype=np.intp)]
        _warn_of_turns(part, lines)
        for j, line in enumerate(lines):
            line_name = {"line": str(j)} if len(lines) > 1 else {}
            for slab, slab_name in slabs_of(part.take(line)) if place else [(part.take(line), {})]:
                out.append(Stack(slab, series, place, features=named | line_name | slab_name))
    _name(out)
    return out


def _features(frames: Frames, split: str | Sequence[str] | None) -> dict[str, Coded[str]]:
    """What tells stacks apart, one text per frame and feature."""
    words = [split] if isinstance(split, str) else list(split or ())
    iop, spacing = frames.orientation, frames.spacing
    known = placed(frames)
    _warn_of_near(frames, "ImageOrientationPatient", iop[known], ORIENTATION_TOLERANCE, NEAR_ORIENTATION)
    _warn_of_near(frames, "PixelSpacing", spacing[known], SPACING_TOLERANCE, NEAR_SPACING)
    out = {
        "place": Coded.of_numbers(known).map(lambda k: "yes" if k else "no"),
        "matrix": Coded.of_numbers(frames.matrix).map(lambda size: f"{size[0]} x {size[1]}"),
        "orientation": _cluster_names(np.where(known[:, None], iop, 0), ORIENTATION_TOLERANCE),
        "spacing": _cluster_names(np.where(known[:, None], spacing, 0), SPACING_TOLERANCE),
        "frame of reference": _numbered(frames.coded_text("FrameOfReferenceUID")),
        "image type": frames.coded_text("ImageType"),
        "component": Coded.of(frames.component),
        "samples": frames.coded_text("SamplesPerPixel"),
        "segmentation": segmentations(frames),
        "quantity": quantities(frames),
        # of PET: images with and without attenuation correction, or in other units, are no volumes of one image
        "CorrectedImage": frames.words("CorrectedImage").map(lambda w: "\\".join(sorted(w or ()))),
        "Units": frames.coded_text("Units"),
        "DataType": frames.coded_text("DataType"),  # of volumes of ultrasound: echoes, velocities of flow, elasticity
        "view": views(frames, known),
        "run": runs(frames, known),
    }
    for word in words:
        texts = frames.coded_text(word)
        if not any(texts.values):
            raise LabelError(f"split={word!r}: no image of the series has this element")
        out[word] = texts
    return out


def _warn_of_near(frames: Frames, keyword: str, values: NDArray[np.float64], tolerance: float, near: float) -> None:
    """Say that planes are parted by values that hardly differ: by rounding, or by correction of motion."""
    exact = values[np.unique(_cluster_rows(values, tolerance), return_index=True)[1]]
    if len(exact) < 2:
        return
    apart = [np.abs(exact[k + 1 :] - one).max(axis=1).min() for k, one in enumerate(exact[:-1])]
    if min(apart) < near:
        what = "orientations" if keyword == "ImageOrientationPatient" else "pixel spacings"
        warn(
            f"series {frames.text('SeriesNumber')[0] or '?'} has {len(exact)} {what}, of which some differ by no "
            f"more than {min(apart):.2g} (components of {keyword}): their images are stacks of their own"
        )


def _numbered(uids: Coded[str]) -> Coded[str]:
    """Name of each UID for people: its number, since a UID is an identifier and tells nobody anything."""
    numbers = {uid: str(n) for n, uid in enumerate(sorted({u for u in uids.values if u}), 1)}
    return uids.map(lambda uid: numbers.get(uid, "unknown"))


def _cluster_rows(values: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """Number of the cluster of each row; a row belongs to the first cluster whose first member is near."""
    if len(values) and bool((values == values[0]).all()):
        return np.zeros(len(values), dtype=np.intp)
    exact, inverse = np.unique(values, axis=0, return_inverse=True)
    centres: list[NDArray[np.float64]] = []
    number = np.zeros(len(exact), dtype=np.intp)
    for k, row in enumerate(exact):
        near = [j for j, c in enumerate(centres) if np.abs(c - row).max() <= tolerance]
        if not near:
            centres.append(row)
        number[k] = near[0] if near else len(centres) - 1
    return number[inverse.ravel()]


def _cluster_names(values: NDArray[np.float64], tolerance: float) -> Coded[str]:
    """The first member of each row's cluster, as text."""
    number = _cluster_rows(values, tolerance)
    first = np.unique(number, return_index=True)[1]
    names = ["\\".join(f"{v + 0.0:g}" for v in values[k].round(4)) for k in first]
    doubled = len(set(names)) < len(names)
    return Coded([name + (f" ({k})" if doubled else "") for k, name in enumerate(names)], number.astype(np.int32))


def _lines(frames: Frames) -> list[NDArray[np.intp]]:
    """Rows of the frames by the line that they lie on: along the normal, or sheared as with a tilted gantry.

    Positions that were rounded to a tenth of a millimetre are of one line (`rounding`): labels say so where it shows.
    """
    p, n, near = frames.position, normal(frames.orientation[0]), position_tolerance(frames)
    along = p @ n
    first, last = int(np.argmin(along)), int(np.argmax(along))
    travel = p[last] - p[first]
    if along[last] - along[first] > near:
        share = (along - along[first]) / (along[last] - along[first])
        off = float(np.linalg.norm(p - (p[first] + share[:, None] * travel), axis=1).max())
        if off <= max(near, rounding(frames)):
            return [np.arange(len(p), dtype=np.intp)]
    beside = p - along[:, None] * n
    number = _cluster_rows(beside, near)
    return [np.flatnonzero(number == k).astype(np.intp) for k in range(int(number.max()) + 1)]


def _warn_of_turns(frames: Frames, lines: list[NDArray[np.intp]]) -> None:
    """Say that slices lie on several lines in turns, as those of one volume do whose positions are odd."""
    if len(lines) < 2 or len(frames) < 4:
        return
    line = np.empty(len(frames), dtype=np.intp)
    for k, rows in enumerate(lines):
        line[rows] = k
    n, near = normal(frames.orientation[0]), position_tolerance(frames)
    along = frames.position @ n
    order = np.argsort(along, kind="stable")
    new = np.concatenate([[True], np.diff(along[order]) > near])
    if len({(int(a), int(b)) for a, b in zip(np.cumsum(new), line[order], strict=True)}) > int(new.sum()):
        return  # several lines have a slice at one height: stacks side by side
    turns = int((np.diff(line[order][new]) != 0).sum())
    if turns < max(2 * (len(lines) - 1), len(lines), int(new.sum()) // 2):
        return
    beside = frames.position - along[:, None] * n
    far = float(np.linalg.norm(beside - beside[0], axis=1).max())
    warn(
        f"{int(new.sum())} slices lie on {len(lines)} parallel lines in turns, up to {far:.3g} mm apart in their "
        f"plane: they are read as {len(lines)} images, each with its own gaps. If they are of one volume, their "
        "positions are wrong, or the patient was moved between them"
    )


def _name(stacks: list[Stack]) -> None:
    """Say of each stack what tells it from its neighbours."""
    if len(stacks) < 2:
        return
    for feature in dict.fromkeys(name for s in stacks for name in s.features):
        if len({s.features.get(feature) for s in stacks}) > 1:
            for s in stacks:
                if feature in s.features:  # lines and acquisitions are features of some stacks only
                    s.kind += f"{', ' if s.kind else ''}{feature} {s.features[feature] or 'none'}"

"""DICOM as a format of the seam: series and stacks as nodes, each built into an image when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pydicom.datadict
import xarray as xr

from ..errors import ImagedataError, LabelError, NotFoundError, warn
from ..formats.seam import SOME, Facts, Node, ReadOptions, WriteOptions, check_format_options
from ..model.masking import NAMING, mask
from ..stores.url import File
from .framing.frames import Frames
from .framing.instances import frames_of
from .framing.references import with_source_places
from .headers.header import Headers
from .scanning.charsets import warn_of_odd_text
from .scanning.lately import once
from .scanning.listed import scan_listed
from .scanning.scan import Scan
from .scanning.unannounced import warn_of_no_syntax
from .scanning.where import Where
from .sorting.announced import warn_of_fewer_images
from .sorting.assemble import image_of, outline_of
from .sorting.joining import joined
from .sorting.keys import known_orders
from .sorting.objects import all_headers, dataset_of, series_without_pixels
from .sorting.stacks import Series, Stack, choose_series, name_selectors, restrict, series_of, stacks_of

SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"
"""MR Spectroscopy Storage."""


class Dicom:
    """DICOM files, in folders or alone."""

    name = "dicom"
    knows = SOME
    extensions: tuple[str, ...] = (".dcm", ".ima")
    description = "DICOM, one file per image"

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return all files: only the scan can tell, since many have no extension."""
        return list(files)

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """One node per stack of each series, and one per series without pixels."""
        check_format_options(options.format_options, ("where", "join"), "reading DICOM")
        where = Where.of(options.format_options.get("where"))
        parse = known_orders(options.order, _is_keyword)  # a wrong word is said before anything is read
        scanned = scan_listed(files, where, options.errors)
        frames, images, others = once(scanned.known, options.errors, partial(_series_in, scanned, options.errors))
        if options.series is None:
            _warn_of_spectra(scanned)
        if not images and not others and options.series is not None:
            raise NotFoundError("there is no DICOM image in the source")
        nodes: list[Node] = []
        chosen = choose_series([*images, *others], options.series) if images or others else []
        if options.format_options.get("join"):
            one = joined([s for s in chosen if s.pixels or options.series is not None], frames)
            chosen = [replace(one, key=None, digest=0)]  # no single series= selects it
        if not where:
            for series in chosen:
                if series.pixels:
                    warn_of_fewer_images(series)
        chosen = restrict(chosen, options.acquisition, options.echo)
        stacked = _stacked([s for s in chosen if s.pixels], options)
        for series in chosen:
            if series.pixels:
                nodes += _nodes(series, stacked[id(series)], parse, options, images)
            else:
                nodes.append(_node_without_pixels(series, options))
        return nodes

    def headers(self, source: str) -> Headers | None:
        """Headers of the images and other objects at an address; None where there are none."""
        from ..stores.url import find

        try:
            return self.headers_in(find(source))
        except ImagedataError:
            return None

    def headers_in(self, files: Sequence[File]) -> Headers | None:
        """Headers of the images and other objects in files; None where there are none."""
        try:
            scanned = scan_listed(files, Where(), "warn")
            return all_headers(frames_of(scanned), scanned)
        except ImagedataError:
            return None

    def write(self, image: xr.DataArray, target: str, options: WriteOptions) -> Any:
        """One file per image; see `imagedata_xr.dicom.writing.write`."""
        from .writing.write import write

        return write(image, target, options)


def _is_keyword(word: str) -> bool:
    return pydicom.datadict.tag_for_keyword(word) is not None


def _series_in(scanned: Scan, errors: str) -> tuple[Frames, list[Series], list[Series]]:
    """Frames of the images of a scan, the series of these, and those of the objects without pixels."""
    warn_of_no_syntax(scanned)
    warn_of_odd_text(scanned)
    frames = with_source_places(frames_of(scanned, errors))
    images = series_of(frames) if len(frames) else []
    others = series_without_pixels(scanned)
    name_selectors([*images, *others])
    for series in images if scanned.known is not None else ():
        series.known = {}
    return frames, images, others


# --- nodes ------------------------------------------------------------------------------------------------------------


def _stacked(found: Sequence[Series], options: ReadOptions) -> dict[int, list[Stack]]:
    """Stacks of each series, by its `id`; each stack that was asked for must be in one of them."""
    split = (options.split,) if isinstance(options.split, str) else tuple(options.split or ())
    out = {id(s): once(s.known, split, partial(_stacks_in, s, split)) for s in found}
    for k in np.atleast_1d(options.stack).tolist() if options.stack is not None and found else ():
        if not any(k in range(len(stacks)) for stacks in out.values()):
            there = "; ".join(f"{s} has {_numbers(len(out[id(s)]))}" for s in found)
            raise LabelError(f"stack={k!r}: {there}")
    return out


def _stacks_in(series: Series, split: tuple[str, ...]) -> list[Stack]:
    stacks = stacks_of(series, split)
    for stack in stacks if series.known is not None else ():
        stack.known = {}
    return stacks


def _numbers(count: int) -> str:
    return "one stack, 0" if count == 1 else f"the stacks 0 to {count - 1}"


def _nodes(
    series: Series, stacks: list[Stack], orders: Any, options: ReadOptions, found: Sequence[Series]
) -> list[Node]:
    identity = (str(series.patient), series.frames.text("StudyInstanceUID")[0], f"{series.uid} {series.number}")
    chosen = list(range(len(stacks)))
    if options.stack is not None:
        chosen = [k for k in np.atleast_1d(options.stack).tolist() if k in chosen]
    out = []
    for k in chosen:
        stack = stacks[k]
        parts = _parts(series.frames) + ((f"stack-{k}",) if len(stacks) > 1 else ())
        make: Callable[[], xr.Dataset] = partial(image_of, stack, orders, options, found)
        title = f"{series.number or '?'} {series.modality} {_masked(series, series.description)}".rstrip()
        title += f", {len(stack.frames)} images of {stack.features['matrix']}"
        select, kind = series.select, ""
        if len(stacks) > 1:
            kind = _masked(series, stack.kind)
            title, select = f"{title} ({kind})", f"{select}, stack={k}"
        facts = partial(_facts, series, stack.frames, k if len(stacks) > 1 else None)
        plan = partial(outline_of, stack, orders, options, found)
        out.append(Node(parts, make, title, select, kind, identity, facts, plan))
    return out


_TOLD = (
    *NAMING, "IssuerOfPatientID", "StudyInstanceUID", "StudyDate", "StudyTime", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "Modality",
)  # fmt: skip


def _facts(series: Series, frames: Frames, stack: int | None = None) -> Facts:
    """What a catalog tells of a series, from its first image."""
    elements = {k: "\\".join(frames.strings(k)[0] or ()) for k in _TOLD}
    return Facts(elements, series.key, stack, series.digest, tuple(frames.scan.files))


def _masked(series: Series, text: str) -> str:
    """Text of a series without the patient's names and IDs: it stands in errors and warnings."""
    return mask(text, {k: series.frames.text(k)[0] for k in NAMING})


def _parts(frames: Frames, k: int = 0) -> tuple[str, str, str]:
    """Place in a tree: patient, study, series."""

    def one(keyword: str) -> str:
        column = frames.strings(keyword)
        return "\\".join(column[k] or ())

    study = "-".join(filter(None, (one("StudyDate"), one("StudyTime"))))
    series = "-".join(filter(None, (one("SeriesNumber").strip(), one("SeriesDescription"))))
    return one("PatientID"), study, series


def _node_without_pixels(series: Series, options: ReadOptions) -> Node:
    """Node of a series that has no image: attrs and headers only."""
    ds = dataset_of(series, options)
    title = f"{series.number or '?'} {series.modality or '?'}, {len(series.frames)} objects without pixels"
    # images may be of the same series: both have a node then
    identity = (str(series.patient), str(ds.attrs.get("StudyInstanceUID", "")), f"{series.uid} {series.number} objects")
    return Node(
        _parts(series.frames), ds, title, series.select, identity=identity, facts=partial(_facts, series, series.frames)
    )


def _warn_of_spectra(scanned: Scan) -> None:
    spectra = int(scanned.words("SOPClassUID").map(lambda uid: SPECTROSCOPY in (uid or ())).array(bool).sum())
    if spectra:
        warn(f"{spectra} instances of MR spectroscopy are not read: they hold spectra, which are no image")

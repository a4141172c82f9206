"""DICOM as a format of the seam: series and stacks as nodes, each built into an image when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pydicom.datadict
import xarray as xr

from ..errors import ImagedataError, LabelError, NotFoundError, warn
from ..formats.seam import Node, ReadOptions, WriteOptions, check_format_options
from ..model.identity import patient_digest
from ..model.masking import NAMING, mask
from ..stores.url import File
from .assemble import headers_of_frames, image_of
from .attrs import attrs_of
from .dicomdir import DIRECTORY
from .frames import Frames
from .header import FileHeaders
from .instances import frames_of
from .keys import known_orders
from .listed import scan_listed
from .scan import Scan
from .stacks import Series, choose_series, restrict, series_of, stacks_of
from .where import Where

SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"
"""MR Spectroscopy Storage."""


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
        check_format_options(options.format_options, ("where",), "reading DICOM")
        where = Where.of(options.format_options.get("where"))
        parse = known_orders(options.order, _is_keyword)  # a wrong word is said before anything is read
        scanned = scan_listed(files, where, options.errors)
        frames = frames_of(scanned, options.errors)
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
            frames = frames_of(scan_listed(find(source), Where(), "warn"))
        except ImagedataError:
            return None
        return headers_of_frames(frames) if len(frames) else None

    def write(self, image: xr.DataArray, target: str, options: WriteOptions) -> Any:
        """One file per image; see `imagedata_xr.dicom.write`."""
        from .write import write

        return write(image, target, options)


def _is_keyword(word: str) -> bool:
    return pydicom.datadict.tag_for_keyword(word) is not None


# --- nodes ------------------------------------------------------------------------------------------------------------


def _nodes(series: Series, orders: Any, options: ReadOptions) -> list[Node]:
    stacks = stacks_of(series, options.split)
    identity = (str(series.patient), series.frames.text("StudyInstanceUID")[0], f"{series.uid} {series.number}")
    chosen = list(range(len(stacks)))
    if options.stack is not None:
        wanted = np.atleast_1d(options.stack).tolist()
        if bad := [k for k in wanted if k not in chosen]:
            raise LabelError(f"stack={bad[0]!r}: {series} has the stacks 0 to {len(stacks) - 1}")
        chosen = wanted
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
        out.append(Node(parts, make, title, select, kind, identity))
    return out


def _masked(series: Series, text: str) -> str:
    """Text of a series without the patient's names and IDs: it stands in errors and warnings."""
    return mask(text, {k: series.frames.text(k)[0] for k in NAMING})


def _parts(frames: Frames | Scan, k: int = 0) -> tuple[str, str, str]:
    """Place in a tree: patient, study, series."""

    def one(keyword: str) -> str:
        column = frames.strings(keyword)
        return "\\".join(column[k] or ())

    study = "-".join(filter(None, (one("StudyDate"), one("StudyTime"))))
    series = "-".join(filter(None, (one("SeriesNumber").strip(), one("SeriesDescription"))))
    return one("PatientID"), study, series


def _without_pixels(scanned: Scan, with_images: set[str]) -> list[Node]:
    """Nodes of series that have no image: structured reports, raw data, documents; attrs only."""
    media = scanned.strings(0x00020002)
    uids = scanned.strings("SeriesInstanceUID")
    rows: dict[str, list[int]] = {}
    for k in np.flatnonzero(scanned.pixel_tag == 0):
        directory = bool(media[k]) and media[k][0] == DIRECTORY  # type: ignore[index]
        uid = (uids[k] or ("",))[0] if uids[k] else ""
        if uid and uid not in with_images and not directory:
            rows.setdefault(uid, []).append(int(k))
    _warn_of_spectra(scanned)
    out = []
    for uid, which in rows.items():
        part = scanned.take(np.array(which))
        frames = Frames.of(part)
        attrs = attrs_of(frames, set(), place=False)
        number, modality = attrs.get("SeriesNumber", "?"), attrs.get("Modality", "?")
        title = f"{number} {modality}, {len(part)} objects without pixels"
        identity = (str(patient_digest(attrs)), str(attrs.get("StudyInstanceUID", "")), uid)
        out.append(Node(_parts(part), xr.Dataset(attrs=attrs), title, identity=identity))
    return out


def _warn_of_spectra(scanned: Scan) -> None:
    spectra = sum(SPECTROSCOPY in (uid or ()) for uid in scanned.strings("SOPClassUID"))
    if spectra:
        warn(f"{spectra} instances of MR spectroscopy are not read: they hold spectra, which are no image")

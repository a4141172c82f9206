"""MGH and MGZ of FreeSurfer: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SourceError, warn
from ..model.geometry import LPS_TO_RAS
from ..model.image import volume_dims
from ..model.orders import ORDERS
from ..stores.ranges import Gzip, Plain, open_ranges
from ..stores.url import File, file_name
from .carried import NEVER, Known, tells
from .fit import Holds
from .incoming import Incoming, check_place, raw
from .outgoing import Outgoing, gzip_level, raw_sink, write_voxels
from .parts import plain_offset
from .plain import Opened, PlainFormat
from .seam import ReadOptions, WriteOptions
from .timing import order_names, volume_values

_HEAD = np.dtype(
    [("version", ">i4"), ("dims", ">i4", 4), ("type", ">i4"), ("dof", ">i4"), ("good", ">i2"), ("delta", ">f4", 3),
     ("turn", ">f4", (3, 3)), ("centre", ">f4", 3)]
)  # fmt: skip
_BEGIN = 284
_TYPES = {0: "u1", 1: "i4", 3: "f4", 4: "i2", 10: "u2"}
_CODES = {"u1": 0, "i4": 1, "f4": 3, "i2": 4}
_FOOT = np.dtype([(name, ">f4") for name in ("tr", "flip_angle", "te", "ti")])
_LABELS = {"repetition_time": ("tr", 1.0), "echo_time": ("te", 1.0), "inversion_time": ("ti", 1.0)}


class Mgh(PlainFormat):
    """MGH and MGZ images: an affine of 32 bits, tilted gantries, several frames; no labels but those of the footer.

    The footer has one repetition time (for a time course the interval of the volumes), echo time, inversion time and
    flip angle for all volumes. Format options for writing: ``compresslevel`` of ``.mgz`` (1, the quickest, to 9).
    """

    name = "mgh"
    extensions: tuple[str, ...] = (".mgz", ".mgh", ".mgh.gz")
    description = "MGH and MGZ of FreeSurfer; one time of repetition, echo and inversion for all volumes"
    holds = Holds("MGH", ("u1", "i2", "i4", "f4"), colour=False)
    writing = ("compresslevel",)

    def open(self, file: File, options: ReadOptions) -> Opened:
        """Read header and footer; the footer of a packed file is behind all of its voxels."""
        source = open_ranges(file)
        name = file_name(file)
        head = source.head(_BEGIN)
        if len(head) < _BEGIN or head[:4] != b"\0\0\0\1":
            raise SourceError(f"{name} has no MGH header; damaged, or another format")
        found = np.frombuffer(head, dtype=_HEAD, count=1)[0]
        shape = tuple(int(n) for n in found["dims"])
        if min(shape) < 1:
            raise SourceError(f"{name} is damaged: its header gives the dimensions {list(shape)}")
        if int(found["type"]) not in _TYPES:
            raise FormatError(
                f"{name} has the MGH data type {found['type']}, which is not read: mri_convert changes it"
            )
        stored = np.dtype(_TYPES[int(found["type"])]).newbyteorder(">")
        incoming = Incoming(
            name=name, shape=shape[:3] + (shape[3:] if shape[3] > 1 else ()), stored=stored, affine=_affine(found, name)
        )
        if not source.compressed:
            plain_offset(file, _BEGIN, incoming.bytes)
        known = _known(_footer(source, _BEGIN + incoming.bytes, name), shape[3])
        incoming = Incoming(name, incoming.shape, stored, incoming.affine, known=known)
        return Opened(check_place(incoming), raw(source, _BEGIN))

    def check(self, out: Outgoing, extension: str, options: WriteOptions) -> None:
        """Warn of labels that MGH has no word for."""
        gzip_level(options)
        if max(out.shape) >= 1 << 31:
            raise FormatError(f"an axis of MGH has less than 2**31 voxels; the image is {out.shape}")
        names = order_names(out.image)
        interval, start = out.timing
        if "time" in names and out.count > 1 and (not interval or start):
            what = "uneven" if not interval else f"not from 0 on, but from {start:g} s"
            warn(f"the times of the volumes are {what}, which MGH can't say: only their interval is written, if even")
        foot = _footer_values(out)
        lost = [n for n in _labels(out) if n not in foot]
        dims = zip(volume_dims(out.image), names, strict=True)
        said = {"none", "time", "dti"} | {o for o in names if o in ORDERS and ORDERS[o].label.coord in foot}
        lost += [f"{dim} ({order})" for dim, order in dims if dim == "tag" and order not in said]
        if lost:
            warn(f"the labels {', '.join(lost)} are not written: MGH has no word for them")

    def save(self, out: Outgoing, places: Sequence[Path], names: Sequence[str], options: WriteOptions) -> None:
        """Write header, voxels, footer."""
        packed = names[0].lower().endswith("z")
        level = gzip_level(options) if packed else 0
        foot = np.zeros(1, dtype=_FOOT)
        for field, value in _footer_values(out).values():
            foot[field] = value
        sink = raw_sink(places[0], partial(_header, out), packed=level, order=">", end=lambda dtype: foot.tobytes())
        write_voxels(out, sink, options)


def _affine(head: Any, name: str) -> NDArray[np.float64] | None:
    """Affine from index (slice, row, col) to LPS mm: the centre is the voxel at half the lengths."""
    if not int(head["good"]):
        warn(f"{name} says no orientation (goodRASFlag is 0): its labels are indices")
        return None
    matrix = np.eye(4)
    matrix[:3, :3] = (head["turn"].astype(np.float64) * head["delta"].astype(np.float64)[:, None]).T
    half = head["dims"][:3].astype(np.float64) / 2
    matrix[:3, 3] = head["centre"].astype(np.float64) - matrix[:3, :3] @ half
    return np.asarray(LPS_TO_RAS @ matrix[:, [2, 1, 0, 3]])


def _footer(source: Plain | Gzip, at: int, name: str) -> NDArray[Any] | None:
    if isinstance(source, Gzip):
        data = source.available([at], [_FOOT.itemsize])[0]
        if not data and source.length() < at:
            raise SourceError(f"{name} is truncated: it ends before {at} unpacked bytes")
    else:
        from ..stores.files import read_available

        got = read_available([source.file], [at], [_FOOT.itemsize])[0]
        data = b"" if isinstance(got, OSError) else got
    values = np.frombuffer(data[: len(data) // 4 * 4], dtype=">f4").astype(np.float64)
    return np.pad(values, (0, 4 - len(values))) if len(values) else None  # older files have fewer, or none


def _known(foot: NDArray[Any] | None, count: int) -> Known:
    labels: dict[str, NDArray[np.float64]] = {}
    if foot is None:
        return Known()
    said = dict(zip(("tr", "flip_angle", "te", "ti"), (_shortest(v) for v in foot), strict=True))
    for label, (field, _) in _LABELS.items():
        if said[field] > 0:
            labels[label] = np.full(count, said[field])
    if said["flip_angle"] > 0:
        labels["flip_angle"] = np.full(count, float(f"{np.degrees(said['flip_angle']):.6g}"))
    if count > 1 and said["tr"] > 0:
        labels["time"] = np.round(said["tr"] * 1e-3 * np.arange(count), 9)
    return Known(labels, dict.fromkeys(labels, "footer"))


def _shortest(value: float) -> float:
    """Shortest decimal that is the float32 in the file; 0 for what is no number."""
    return float(str(np.float32(value))) if np.isfinite(value) else 0.0


# --- writing ------------------------------------------------------------------------------------------------------


def _labels(out: Outgoing) -> list[str]:
    """Labels that tell the volumes apart or describe them."""
    timed = {d for d, order in zip(volume_dims(out.image), order_names(out.image), strict=True) if order == "time"}
    return [str(n) for n in out.image.coords if str(n) not in NEVER | timed and not tells(str(n))]


def _footer_values(out: Outgoing) -> dict[str, tuple[str, float]]:
    """Label -> field and value of the footer, of labels with one value for all volumes."""
    found = {}
    for label, field in (*((k, v[0]) for k, v in _LABELS.items()), ("flip_angle", "flip_angle")):
        values = volume_values(out.image, label)
        if values is not None and (values == values[0]).all():
            found[label] = (field, float(np.radians(values[0]) if field == "flip_angle" else values[0]))
    if "time" in order_names(out.image) and out.count > 1:
        found["repetition_time"] = ("tr", out.timing[0] * 1e3)
    return found


def _header(out: Outgoing, dtype: np.dtype[Any]) -> bytes:
    head = np.zeros(1, dtype=_HEAD)
    head["version"], head["dims"], head["type"] = 1, [*out.spatial, out.count], _CODES[dtype.str[1:]]
    if out.affine is not None:
        ras = LPS_TO_RAS @ out.affine
        head["good"], head["delta"] = 1, out.spacing
        head["turn"] = (ras[:3, :3] / np.array(out.spacing)).T
        # from the numbers as they are rounded, so that the first voxel is as near as it can be
        rounded = (head["turn"][0].astype(np.float64) * head["delta"][0].astype(np.float64)[:, None]).T
        head["centre"] = ras[:3, 3] + rounded @ (np.array(out.spatial) / 2)
    return head.tobytes().ljust(_BEGIN, b"\0")

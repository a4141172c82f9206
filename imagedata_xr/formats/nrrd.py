"""NRRD, the format of Teem and 3D Slicer: ``.nrrd``, and ``.nhdr`` with its voxels beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..model.orders import VECTOR
from ..stores.ranges import Gzip, Plain
from ..stores.url import File
from .carried import carry, compact
from .fit import Holds
from .incoming import permuted, raw
from .nrrd_header import KEY, TYPES, Header, escaped, read_header, vector
from .nrrd_meaning import meaning, volumes
from .outgoing import Outgoing, raw_sink, write_voxels
from .parts import neighbour, source_of
from .plain import Opened, PlainFormat, level_of
from .seam import ReadOptions, WriteOptions
from .timing import order_names, volume_values

_MAGIC = "NRRD0005\n# Complete NRRD file format specification at:\n# http://teem.sourceforge.net/nrrd/format.html\n"


class Nrrd(PlainFormat):
    """NRRD images: exact geometry, tilted gantries, diffusion as 3D Slicer knows it, all volumes in one file.

    What NRRD has no word for (echo times, the order of the volumes) travels in a key of ours, which other programs
    ignore. Format options for writing: ``compress=True``, or a level from 1 to 9 (gzip). For reading: ``space``, one
    of ``"LPS"``, ``"RAS"`` and ``"LAS"``, for files that name no space of a patient.
    """

    name = "nrrd"
    extensions: tuple[str, ...] = (".nrrd", ".nhdr")
    description = "NRRD of 3D Slicer and Teem; exact geometry, tilted gantries, diffusion"
    holds = Holds("NRRD", ("u1", "i2", "u2", "i4", "f4", "f8", "i1", "u4", "i8", "u8", "c8", "c16"))
    reading = ("space",)
    writing = ("compress",)

    def named(self, file: File) -> Sequence[str]:
        """Files with voxels that a header names."""
        return read_header(file).data or []

    def open(self, file: File, options: ReadOptions) -> Opened:
        """Read a header."""
        header = read_header(file)
        space = options.format_options.get("space")
        what = meaning(header, space)
        found, names = what.found, header.data
        begin, inside = _skipped(file, header)
        dtype = found.stored if found.stored.kind != "c" else np.dtype(f"f{found.stored.itemsize // 2}")
        source, offset = source_of(file, names, begin, header.encoding, found.bytes + max(inside, 0), dtype)
        if inside < 0 and isinstance(source, Gzip):  # the last ones of what is packed
            inside = source.length() - found.bytes
        if inside < 0:
            raise header.damaged("byte skip", f"leaves fewer than the {found.bytes} bytes of the samples")
        offset += inside
        found = replace(found, known=volumes(header, what, space))
        make = raw(source, offset) if what.straight else permuted(source, offset, _complete(header, found), what.order)
        return Opened(found, make, tuple(neighbour(file, n) for n in names or []))

    def files(self, stem: str, extension: str, options: WriteOptions) -> tuple[list[str], list[str]]:
        """One file, or a ``.nhdr`` with its voxels in ``.raw`` (``.raw.gz`` where packed)."""
        if extension.lower() != ".nhdr":
            return [stem + extension], []
        packed = level_of(options.format_options) > 0
        sides = [f"{stem}.raw.gz", f"{stem}.raw"]
        return [sides[0 if packed else 1], stem + extension], [sides[1 if packed else 0]]

    def save(self, out: Outgoing, places: Sequence[Path], names: Sequence[str], options: WriteOptions) -> None:
        """Write header and voxels."""
        level, local = level_of(options.format_options), len(places) == 1
        header = partial(_header, out, _fields(out), _keys(out, options), level > 0, None if local else names[0])
        sink = raw_sink(places[0], outside=header, packed=level) if local else raw_sink(places[0], packed=level)
        dtype = write_voxels(out, sink, options)
        if not local:
            places[1].write_bytes(header(dtype))


def _skipped(file: File, header: Header) -> tuple[list[int], int]:
    """Bytes before the voxels in each of their files, and inside of what is packed there.

    Lines are skipped as they are in the file; bytes too, but for those of gzip and bzip2, where they are unpacked ones
    (https://teem.sourceforge.net/nrrd/format.html#byteskip). -1 means all bytes but the last ones.
    """
    lines, count, names = header.integer("line skip", 0), header.integer("byte skip", 0), header.data
    files = [file] if names is None else [neighbour(file, n) for n in names]
    begins = [_after_lines(f, header.end if names is None else 0, lines, header) for f in files]
    if count < -1 or (count < 0 and header.encoding not in ("raw", "zlib")):
        raise header.damaged("byte skip", "is -1 at least, and that for the encodings raw and gzip only")
    if header.encoding in ("zlib", "bzip2"):
        if count and len(files) != 1:
            raise SourceError(f"{header.name}: byte skip with several packed files of voxels is not read")
        return begins, count
    return [-1 if count < 0 else begin + count for begin in begins], 0


def _after_lines(file: File, begin: int, lines: int, header: Header) -> int:
    """Where a file goes on after some lines."""
    if lines <= 0:
        return begin
    head = Plain(file).head(begin + (1 << 20))
    for _ in range(lines):
        begin = head.find(b"\n", begin) + 1
        if not begin:
            raise SourceError(f"{header.name} skips {lines} lines, and its voxels have fewer in their first MiB")
    return begin


def _complete(header: Header, found: Any) -> tuple[int, ...]:
    """Sizes of the axes, without that of complex numbers' two parts."""
    return header.sizes[1:] if found.stored.kind == "c" else header.sizes


# --- writing ------------------------------------------------------------------------------------------------------


def _fields(out: Outgoing) -> list[str]:
    """Fields of the axes, but for a first axis of components."""
    order = order_names(out.image)
    timed = out.count > 1 and order == ["time"] and out.timing[0] > 0
    # not of the kind time, which ITK takes as a fourth axis of space and refuses
    extra = ["list"] if out.count > 1 else []
    first = ["RGB-color"] if out.rgb else ["complex"] if out.image.dtype.kind == "c" else []
    lengths = [3] if out.rgb else [2] if first else []
    lines = [f"dimension: {len(lengths) + len(out.shape)}"]
    if out.affine is not None:
        lines.append("space: left-posterior-superior")
    lines.append(f"sizes: {' '.join(map(str, [*lengths, *out.shape]))}")
    if out.affine is not None:
        axes = [vector(column) for column in out.affine[:3, :3].T]
        lines.append(f"space directions: {' '.join(['none'] * len(first) + axes + ['none'] * len(extra))}")
    lines.append(f"kinds: {' '.join([*first, 'domain', 'domain', 'domain', *extra])}")
    if timed:
        blank = ["nan"] * (len(first) + 3)
        lines.append(f"spacings: {' '.join([*blank, repr(float(out.timing[0]))])}")
        lines.append(f"axis mins: {' '.join([*blank, repr(float(out.timing[1]))])}")
        units = ['""'] * (len(first) + 3)
        lines.append(f"units: {' '.join([*units, chr(34) + 's' + chr(34)])}")
    if out.affine is not None:
        lines += ['space units: "mm" "mm" "mm"', f"space origin: {vector(out.affine[:3, 3])}"]
    return lines


def _keys(out: Outgoing, options: WriteOptions) -> list[str]:
    """Fields and keys of diffusion, and the labels."""
    lines = []
    b, axes = volume_values(out.image, "b_value"), [volume_values(out.image, n) for n in VECTOR]
    if b is not None and out.count > 1 and out.affine is not None and all(v is not None for v in axes):
        lines += _diffusion(b, np.stack([v for v in axes if v is not None], axis=1))
    return [*lines, f"{KEY}:={escaped(compact(carry(out.image, options)))}"]


def _diffusion(b: NDArray[np.float64], directions: NDArray[np.float64]) -> list[str]:
    """Keys of a DWI; none where a weighted volume has no direction, which they can't say."""
    lengths = np.linalg.norm(directions, axis=1)
    if b.max() <= 0 or ((b > 0) & (lengths < 0.5)).any():
        return []
    # the longest gradient has the nominal b-value, the square of the length gives the others
    unit = directions / np.where(lengths > 0, lengths, 1)[:, None] * np.sqrt(b / b.max())[:, None]
    lines = ["measurement frame: (1,0,0) (0,1,0) (0,0,1)", "modality:=DWMRI", f"DWMRI_b-value:={float(b.max())!r}"]
    words = (" ".join(repr(float(x) + 0.0) for x in g) for g in unit)
    return lines + [f"DWMRI_gradient_{k:04d}:={text}" for k, text in enumerate(words)]


def _header(
    out: Outgoing, fields: Sequence[str], keys: Sequence[str], packed: bool, data: str | None, dtype: np.dtype[Any]
) -> bytes:
    plain = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    lines = [f"type: {TYPES[plain.str[1:]].split('/')[0]}", *fields, "endian: little"]
    lines.append(f"encoding: {'gzip' if packed else 'raw'}")
    own = [k for k in keys if not k.startswith("measurement frame")]
    lines += [k for k in keys if k not in own]
    if data is not None:
        lines.append(f"data file: {data}")
    return (_MAGIC + "\n".join([*lines, *own]) + ("\n\n" if data is None else "\n")).encode("utf-8")

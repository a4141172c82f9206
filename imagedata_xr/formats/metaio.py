"""MetaIO, the format of ITK, SimpleITK, 3D Slicer and elastix: ``.mha``, and ``.mhd`` with its voxels beside it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..stores.url import File
from .carried import carry, compact
from .fit import Holds
from .incoming import raw
from .metaio_header import KEY, MODALITIES, TYPES, incoming, read_header, times
from .outgoing import Outgoing, Put, write_voxels
from .parts import neighbour, source_of
from .plain import Opened, PlainFormat, level_of
from .seam import ReadOptions, WriteOptions

_WORDS = {v: k for k, v in TYPES.items() if "LONG" not in k or "LONG_LONG" in k}
_LINE = 8000  # letters of a line


class MetaIO(PlainFormat):
    """MetaIO images: one file for all volumes, voxels in place of the affine exact to the last digit, shear kept.

    What MetaIO has no word for (b-values, echo times, the order of the volumes) travels in a field of ours, which
    other programs ignore. Format options for writing: ``compress=True``, or a level from 1 to 9 (zlib).
    """

    name = "metaio"
    extensions: tuple[str, ...] = (".mha", ".mhd")
    description = "MetaIO of ITK, 3D Slicer, elastix; exact geometry, tilted gantries, up to several volumes"
    holds = Holds("MetaIO", ("u1", "i2", "u2", "i4", "f4", "f8", "i1", "u4", "i8", "u8", "c8", "c16"))
    writing = ("compress",)

    def named(self, file: File) -> Sequence[str]:
        """Files with voxels that a header names."""
        return read_header(file).data[0] or []

    def open(self, file: File, options: ReadOptions) -> Opened:
        """Read a header; `FormatError` for another object than an image."""
        header = read_header(file)
        found = incoming(header)
        names, kind = header.data
        skip = header.integer("HeaderSize", 0)
        begin = skip if skip else header.end if names is None else 0
        source, offset = source_of(file, names, begin, kind, found.bytes, found.stored)
        found = replace(found, known=times(header, found.shape))
        return Opened(found, raw(source, offset), tuple(neighbour(file, n) for n in names or []))

    def files(self, stem: str, extension: str, options: WriteOptions) -> tuple[list[str], list[str]]:
        """One file, or a ``.mhd`` with its voxels in ``.raw`` (``.zraw`` where packed)."""
        packed = level_of(options.format_options) > 0
        if extension.lower() != ".mhd":
            return [stem + extension], []
        sides = [f"{stem}.zraw", f"{stem}.raw"]
        return [sides[0 if packed else 1], stem + extension], [sides[1 if packed else 0]]

    def save(self, out: Outgoing, places: Sequence[Path], names: Sequence[str], options: WriteOptions) -> None:
        """Write header and voxels."""
        lines, level, local = _lines(out, options), level_of(options.format_options), len(places) == 1
        size = 0

        def header(dtype: np.dtype[Any]) -> bytes:
            return _header(lines, out, dtype, size if level else None, "LOCAL" if local else names[0])

        @contextmanager
        def sink(dtype: np.dtype[Any]) -> Iterator[Put]:
            nonlocal size
            size, pack = 0, zlib.compressobj(level) if level else None
            with places[0].open("wb") as f:
                if local:
                    f.write(header(dtype))

                def write(data: Any) -> None:
                    nonlocal size
                    size += memoryview(data).nbytes
                    f.write(data)

                def put(volume: Any) -> None:
                    data = np.ascontiguousarray(volume.astype(dtype.newbyteorder("<"), copy=False)).data
                    write(data if pack is None else pack.compress(data))

                yield put
                if pack is not None:
                    write(pack.flush())
                    if local:
                        f.seek(0)
                        f.write(header(dtype))  # of the same length, with the size that is now known

        dtype = write_voxels(out, sink, options)
        if not local:
            places[1].write_bytes(header(dtype))


def _lines(out: Outgoing, options: WriteOptions) -> list[str]:
    """Fields that do not depend on the type of the voxels."""
    dims = len(out.shape)
    lines = [f"NDims = {dims}"]
    if out.affine is not None:
        interval, start = out.timing
        turn, first, spacing = np.eye(dims), np.zeros(dims), np.ones(dims)
        turn[:3, :3], first[:3], spacing[:3] = out.unit, out.affine[:3, 3], out.spacing
        if dims == 4:
            first[3], spacing[3] = start, interval or 1.0
        lines += [
            f"TransformMatrix = {_numbers(turn.T.ravel())}",
            f"Offset = {_numbers(first)}",
            f"CenterOfRotation = {_numbers(np.zeros(dims))}",
            f"ElementSpacing = {_numbers(spacing)}",
        ]
    lines.append(f"DimSize = {' '.join(map(str, out.shape))}")
    modality = {v: k for k, v in MODALITIES.items()}.get(str(out.image.attrs.get("Modality")))
    if modality:
        lines.append(f"Modality = {modality}")
    text = compact(carry(out.image, options, **({"type": "complex"} if out.image.dtype.kind == "c" else {})))
    for k, at in enumerate(range(0, len(text), _LINE)):
        piece = text[at : at + _LINE]
        lines.append(f"{KEY}{f'_{k}' if k else ''} = {piece}")
    return lines


def _numbers(values: Any) -> str:
    return " ".join(repr(float(v) + 0.0) for v in values)


def _header(lines: Sequence[str], out: Outgoing, dtype: np.dtype[Any], packed: int | None, data: str) -> bytes:
    """Text of the header; `packed` is the length of the packed voxels."""
    channels = 3 if out.rgb else 2 if dtype.kind == "c" else 1
    plain = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else np.dtype("u1") if out.rgb else dtype
    first = ["ObjectType = Image", lines[0], "BinaryData = True", "BinaryDataByteOrderMSB = False"]
    first.append(f"CompressedData = {packed is not None}")
    if packed is not None:
        first.append(f"CompressedDataSize = {packed:<20d}")
    last = [f"ElementNumberOfChannels = {channels}"] if channels > 1 else []
    last += [f"ElementType = {_WORDS[plain.str[1:]]}", f"ElementDataFile = {data}"]
    return ("\n".join([*first, *lines[1:], *last]) + "\n").encode("ascii")

"""MetaIO, the format of ITK, SimpleITK, 3D Slicer and elastix: ``.mha``, and ``.mhd`` with its voxels beside it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr

from ..errors import FormatError, SourceError
from ..stores.ranges import Plain
from ..stores.url import File
from . import nifti_json
from .carried import carry, compact
from .incoming import dataset, raw
from .metaio_header import KEY, MODALITIES, TYPES, incoming, read_header
from .outgoing import Outgoing, outgoing, write_voxels
from .parts import neighbour, source_of
from .seam import Facts, Node, ReadOptions, WriteOptions, Written, check_format_options
from .several import extension_of, is_dicom, read_each, stem_of
from .whole import Whole

_WORDS = {v: k for k, v in TYPES.items() if "LONG" not in k or "LONG_LONG" in k}
_LINE = 8000  # letters of a line


class MetaIO:
    """MetaIO images: one file for all volumes, voxels in place of the affine exact to the last digit, shear kept.

    What MetaIO has no word for (b-values, echo times, the order of the volumes) travels in a field of ours, which
    other programs ignore. Format options for writing: ``compress=True``, or a level from 1 to 9 (zlib).
    """

    name = "metaio"
    extensions: tuple[str, ...] = (".mha", ".mhd")
    description = "MetaIO of ITK, 3D Slicer, elastix; exact geometry, tilted gantries, up to several volumes"

    def recognise(self, files: Sequence[File]) -> list[File]:
        """Return headers, and the files with voxels that they name."""
        mine = [f for f in files if extension_of(f.path, self.extensions) and not is_dicom(Plain(f).head(132))]
        named: set[tuple[int, str]] = set()
        for f in mine:
            try:
                names = read_header(f).data[0]
            except SourceError:
                continue  # reading it says what is wrong
            folder = os.path.dirname(f.path)
            named |= {(id(f.fs), os.path.normpath(os.path.join(folder, n))) for n in names or []}
        chosen = {(id(f.fs), f.path) for f in mine} | named
        return [f for f in files if (id(f.fs), f.path) in chosen]

    def read(self, files: Sequence[File], options: ReadOptions) -> list[Node]:
        """Read headers; one node per image.

        Raises
        ------
        SourceError
            If a file is damaged (with ``errors="warn"``: if all are; else they are named in one warning).
        FormatError
            If a file is another object than an image.
        """
        check_format_options(options.format_options, (), "reading MetaIO")
        heads = [f for f in files if extension_of(f.path, self.extensions)] or list(files)
        return read_each(heads, self.extensions, options, lambda file, key: _node(file, options, key))

    def write(self, image: xr.DataArray, target: str, options: WriteOptions) -> Any:
        """Write one image as ``.mha``, or as ``.mhd`` with its voxels in ``.raw`` (``.zraw`` where packed).

        Several volume dims are flattened into the fourth axis in C order. Integers that the image was stored as are
        stored again while all values fit; integers of 64 bits and complex numbers are kept.

        Raises
        ------
        FormatError
            If MetaIO can't hold the image.
        FileExistsError
            If a file exists and ``options.overwrite`` is false.
        """
        extension = extension_of(str(target), self.extensions)
        if not extension:
            raise FormatError(f"a MetaIO file is called .mha or .mhd, not {os.path.basename(str(target))!r}")
        check_format_options(options.format_options, ("compress",), "writing MetaIO")
        level = options.format_options.get("compress", False)
        if level is not True and level not in range(10):
            raise FormatError(f"format_options compress={level!r}: True, False, or a level from 1 to 9")
        out = outgoing(image, "MetaIO")
        name = os.path.basename(str(target))
        stem = name[: -len(extension)]
        names, stale = [name], []
        if extension == ".mhd":
            sides = [f"{stem}.zraw", f"{stem}.raw"]
            names = [sides[0 if level else 1], name]
            stale = [sides[1 if level else 0]]
        whole = Whole(str(target), names, stale, options.overwrite, options.storage_options)
        job = partial(_write, out, _lines(out, options), whole, 6 if level is True else int(level), options)
        if options.compute:
            return job()
        from dask.delayed import delayed

        return delayed(job, pure=False)()


def _node(file: File, options: ReadOptions, key: str | int) -> Node:
    header = read_header(file)
    found = incoming(header)
    names, kind = header.data
    skip = header.integer("HeaderSize", 0)
    begin = skip if skip else header.end if names is None else 0
    source, offset = source_of(file, names, begin, kind, found.bytes, found.stored)
    stem = stem_of(file, MetaIO.extensions)
    return Node(
        parts=("", "", stem),
        dataset=partial(dataset, found, raw(source, offset), options),
        title=f"{stem}: {' x '.join(map(str, found.shape))} (columns, rows, slices, volumes)",
        select=f"series={key!r}",
        facts=partial(Facts, series=key, files=(file, *(neighbour(file, n) for n in names or []))),
    )


# --- writing ------------------------------------------------------------------------------------------------------


def _lines(out: Outgoing, options: WriteOptions) -> list[str]:
    """Fields that do not depend on the type of the voxels."""
    dims = 4 if out.count > 1 else 3
    lines = [f"NDims = {dims}"]
    if out.affine is not None:
        interval, start = nifti_json.interval(out.image)
        step = np.linalg.norm(out.affine[:3, :3], axis=0)
        turn, first, spacing = np.eye(dims), np.zeros(dims), np.ones(dims)
        turn[:3, :3], first[:3], spacing[:3] = out.affine[:3, :3] / step, out.affine[:3, 3], step
        if dims == 4:
            first[3], spacing[3] = start, interval or 1.0
        lines += [
            f"TransformMatrix = {_numbers(turn.T.ravel())}",
            f"Offset = {_numbers(first)}",
            f"CenterOfRotation = {_numbers(np.zeros(dims))}",
            f"ElementSpacing = {_numbers(spacing)}",
        ]
    lines.append(f"DimSize = {' '.join(map(str, [*out.spatial, out.count][:dims]))}")
    modality = {v: k for k, v in MODALITIES.items()}.get(str(out.image.attrs.get("Modality")))
    if modality:
        lines.append(f"Modality = {modality}")
    marks = {"c": {"type": "complex"}, "b": {"type": "bool"}}.get(out.image.dtype.kind, {})
    text = compact(carry(out.image, options, **marks))
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


class _Sink:
    """Where the voxels go: after a header where there is one, packed where a level is given."""

    def __init__(self, f: IO[bytes], level: int, header: Any) -> None:
        self.f, self.header, self.size = f, header, 0
        self.pack = zlib.compressobj(level) if level else None
        if header is not None:
            f.write(header(0))

    def write(self, data: Any) -> None:
        self._put(data if self.pack is None else self.pack.compress(data))

    def _put(self, data: Any) -> None:
        self.size += memoryview(data).nbytes
        self.f.write(data)

    def close(self) -> None:
        if self.pack is not None:
            self._put(self.pack.flush())
            if self.header is not None:
                self.f.seek(0)
                self.f.write(self.header(self.size))  # of the same length, with the size that is now known


def _write(out: Outgoing, lines: Sequence[str], whole: Whole, level: int, options: WriteOptions) -> Written:
    with whole.files() as places:
        data, main = places[whole.names[0]], places[whole.names[-1]]
        local = data == main
        sizes: list[int] = []

        def header(dtype: np.dtype[Any], size: int) -> bytes:
            return _header(lines, out, dtype, size if level else None, "LOCAL" if local else whole.names[0])

        def begin(f: IO[bytes], dtype: np.dtype[Any]) -> _Sink:
            return _Sink(f, level, partial(header, dtype) if local else None)

        def end(sink: _Sink) -> None:
            sink.close()
            sizes.append(sink.size)

        dtype = write_voxels(out, data, begin, options, end)
        if not local:
            Path(main).write_bytes(header(dtype, sizes[0]))
        size = sum(p.stat().st_size for p in places.values())
    paths = tuple(whole.shown(n) for n in reversed(whole.names))
    return Written("metaio", paths, len(paths), size)

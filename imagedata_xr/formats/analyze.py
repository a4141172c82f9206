"""Analyze 7.5, the format before NIfTI: ``.hdr`` and ``.img``, read only.

It says no orientation. SPM's ``.mat`` beside it does.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SourceError, warn
from ..model import geometry
from ..stores.ranges import open_ranges
from ..stores.url import File, file_name
from .incoming import Incoming, check_place, raw
from .mat import matrices
from .nifti_header import is_nifti
from .parts import plain_offset
from .plain import Opened, PlainFormat
from .seam import ReadOptions

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 32: "c8", 64: "f8", 130: "i1", 132: "u2", 136: "u4"}
"""Code -> numpy: those of Analyze 7.5, and SPM's."""


class Analyze(PlainFormat):
    """Analyze 7.5 images; their place in the patient comes from SPM's ``.mat`` where it is beside them, else from none.

    Format options for reading: ``flip`` says that the columns run from the patient's left to the right, or the other
    way, by ``"left"`` or ``"right"``; needed where the ``.mat`` has SPM99's matrix ``M`` only, which does not say it.
    """

    name = "analyze"
    extensions: tuple[str, ...] = (".hdr",)
    description = "Analyze 7.5 with SPM's .mat; read only, no orientation without it"
    reading = ("flip",)

    def is_ours(self, file: File) -> bool:
        """Whether it is a header of Analyze, which has no magic: its length, which it begins with, and not NIfTI's."""
        try:
            head = open_ranges(file).head(352)
        except SourceError:
            return False
        return len(head) >= 348 and not is_nifti(head) and _order(head) is not None

    def named(self, file: File) -> list[str]:
        """Return the names of the voxels, and SPM's matrices."""
        stem = os.path.basename(file.path)[:-4]
        return [stem + ".img", stem + ".mat"]

    def open(self, file: File, options: ReadOptions) -> Opened:
        """Read a header."""
        name, head = file_name(file), open_ranges(file).head(348)
        order = _order(head)
        if len(head) < 348 or order is None:
            raise SourceError(f"{name} has no Analyze header: it does not begin with its length, 348; damaged")
        shape, stored = _shape(head, order, name), _stored(head, order, name)
        slope, inter = (float(v) for v in np.frombuffer(head, f"{order}f4", 2, 112))
        if not np.isfinite(slope) or slope == 0:
            slope, inter = 1.0, 0.0
        elif not np.isfinite(inter):
            inter = 0.0
        if (slope, inter) != (1.0, 0.0):
            warn(f"{name}: its values are multiplied by {slope:g}, as SPM does; Analyze itself has no such factor")
        voxels = _beside(file, ".img")
        if voxels is None:
            raise SourceError(f"{name} is the header of a pair, and the file with its voxels (.img) is missing")
        mat = _beside(file, ".mat")
        offset = max(int(np.frombuffer(head, f"{order}f4", 1, 108)[0]), 0)
        found = Incoming(
            name=name,
            shape=shape,
            stored=stored,
            affine=None if mat is None else _affine(mat, options.format_options.get("flip")),
            slope=slope,
            inter=inter,
        )
        if mat is None:
            spacing = np.abs(np.frombuffer(head, f"{order}f4", 3, 80))
            warn(
                f"{name} is Analyze 7.5, which says no orientation, not even which side is left: its labels are "
                f"indices (its voxels are {spacing[0]:g} x {spacing[1]:g} x {spacing[2]:g} mm). imd.assign_grid(other) "
                "gives it the place of another image"
            )
        source = open_ranges(voxels, offset + found.bytes)
        if not source.compressed:
            plain_offset(voxels, offset, found.bytes)
        return Opened(check_place(found), raw(source, offset), (voxels, *([mat] if mat is not None else [])))


def _order(head: bytes) -> Any:
    """Byte order, by the length of the header with which it begins."""
    for order in "<>":
        if np.frombuffer(head[:4].ljust(4, b"\0"), f"{order}i4")[0] == 348:
            return order
    return None


def _shape(head: bytes, order: str, name: str) -> tuple[int, ...]:
    dim = [int(d) for d in np.frombuffer(head, f"{order}i2", 8, 40)]
    if not 1 <= dim[0] <= 7 or any(d < 1 for d in dim[1 : dim[0] + 1]):
        raise SourceError(f"{name} is damaged: its header gives the dimensions {dim}")
    shape = dim[1 : dim[0] + 1] + [1] * max(0, 3 - dim[0])
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _stored(head: bytes, order: str, name: str) -> np.dtype[Any]:
    code = int(np.frombuffer(head, f"{order}i2", 1, 70)[0])
    if code not in _TYPES:
        raise FormatError(f"{name} has the Analyze data type {code}, which is not read")
    return np.dtype(_TYPES[code]).newbyteorder("<" if order == "<" else ">")


def _beside(file: File, extension: str) -> File | None:
    stem = file.path[: -len(".hdr")]
    for path in (stem + extension, stem + extension.upper()):
        if file.fs.exists(path):
            return File(file.fs, path)
    return None


def _affine(mat: File, flip: str | None) -> NDArray[np.float64]:
    """Affine of SPM's matrix, from index (slice, row, col) to LPS mm.

    ``mat`` maps voxels, counted from 1, to RAS mm. ``M`` of SPM99 does so as well, but for images that are shown with
    the left side flipped or not, which is a setting of the program (spm_defaults: defaults.analyze.flip).
    """
    name = file_name(mat)
    content = matrices(mat, ("mat", "M"))
    if "mat" not in content and "M" not in content:
        raise SourceError(f"{name} has neither of SPM's matrices, mat and M: move it away to read the image without it")
    matrix = content["mat" if "mat" in content else "M"].astype(np.float64)
    matrix = matrix[:, :, 0] if matrix.ndim == 3 else matrix
    if matrix.shape != (4, 4):
        raise SourceError(f"{name} has a matrix of shape {matrix.shape}, not 4 x 4")
    if "mat" not in content:
        if flip not in ("left", "right"):
            raise FormatError(
                f"{name} has SPM99's matrix M, which does not say which side is left: format_options={{'flip': "
                "'left'}} where SPM shows it flipped (its default), 'right' where not"
            )
        matrix = (np.diag([-1.0, 1, 1, 1]) if flip == "left" else np.eye(4)) @ matrix
    elif flip is not None:
        raise FormatError(f"{name} says which side is left: format_options flip={flip!r} contradicts it")
    from_one = np.eye(4)
    from_one[:3, 3] = 1
    return geometry.from_ras(matrix @ from_one)

"""The header of a NIfTI file: its kind, shape, units, scaling and geometry, in this library's terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, GeometryError, SourceError, warn
from ..model import geometry
from ..model.image import Axis
from ..model.indexes import Space
from .place import axes_of, check_affine

MAGIC = {b"n+1\0": (348, False), b"ni1\0": (348, True), b"n+2\0": (540, False), b"ni2\0": (540, True)}
"""Magic -> size of the header, and whether the voxels are in a file of their own."""

_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
FORMS = ("best", "sform", "qform", "none")


def is_nifti(head: bytes) -> bool:
    """Whether the first 352 bytes are a NIfTI header (Analyze 7.5 has no magic and is none)."""
    return _kind(head) is not None


def _kind(head: bytes) -> tuple[int, bool, bytes] | None:
    for magic, at in ((head[344:348], 344), (head[4:8], 4)):
        if magic in MAGIC and (MAGIC[magic][0] == 540) == (at == 4):
            for order in ("little", "big"):
                if int.from_bytes(head[:4], order) == MAGIC[magic][0]:
                    return (*MAGIC[magic], b"<" if order == "little" else b">")
    return None


@dataclass
class Header:
    """What a NIfTI header says.

    Attributes
    ----------
    shape : tuple of int
        Columns, rows, slices and further axes, as in the file; three at least.
    stored : numpy.dtype
    rgb : bool
    pair : bool
        Whether the voxels are in a file of their own (``.img``).
    offset : int
        Where they begin, bytes.
    slope, inter : float
    affine : ndarray, shape (4, 4), or None
        From index (slice, row, col) of the file to LPS mm; None where the file has no geometry.
    interval : float
        pixdim[4]; s, or in no known unit.
    start : float
        toffset, in the same units.
    timed : bool
        Whether the units of the 4th axis are those of time.
    vector : bool
        Whether the 5th axis holds the components of a vector.
    """

    shape: tuple[int, ...]
    stored: np.dtype[Any]
    rgb: bool
    pair: bool
    offset: int
    slope: float
    inter: float
    affine: NDArray[np.float64] | None
    interval: float
    start: float
    timed: bool
    vector: bool

    @property
    def size(self) -> int:
        """Bytes up to the end of the voxels."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.stored.itemsize * (3 if self.rgb else 1)

    @property
    def axes(self) -> tuple[dict[str, Axis], Space | None, bool]:
        """Labels of slice, row and col; the space; and whether the rows are to be read backwards."""
        return axes_of(self.affine, self.shape)


def parse(head: bytes, name: str, form: str = "best") -> Header:
    """Parse a header.

    Parameters
    ----------
    head : bytes
        First 540 bytes of the file, or all of a shorter one.
    name : str
        Of the file, for messages.
    form : {"best", "sform", "qform", "none"}
        Which affine to take. The best is the sform where it has a code, else the qform where it has one.

    Raises
    ------
    SourceError
        If it is no NIfTI header, or damaged.
    FormatError
        If it says what this library can't hold.
    """
    import nibabel as nib

    kind = _kind(head)
    if kind is None or len(head) < kind[0]:
        raise SourceError(f"{name} has no NIfTI header: damaged, or another format (Analyze 7.5 is not read)")
    size, pair, order = kind
    classes: dict[tuple[int, bool], Any] = {
        (348, False): nib.Nifti1Header,
        (348, True): nib.nifti1.Nifti1PairHeader,
        (540, False): nib.Nifti2Header,
        (540, True): nib.nifti2.Nifti2PairHeader,
    }
    header = classes[size, pair](head[:size], endianness=order.decode(), check=False)
    return from_header(header, name, form, pair)


def from_header(header: Any, name: str, form: str = "best", pair: bool = False) -> Header:
    """`Header` of a nibabel header; see `parse`."""
    if form not in FORMS:
        raise FormatError(f"format_options form={form!r} is none of {', '.join(FORMS)}")
    shape = _shape(header, name)
    stored, rgb = _stored(header, name)
    slope, inter = _scaling(header, name)
    space_unit, time_unit = _units(header)
    affine = _affine(header, shape, name, form)
    if affine is not None:
        affine[:3] *= _MM[space_unit]
    seconds = _SECONDS.get(time_unit, 1.0)
    return Header(
        shape=shape,
        stored=stored,
        rgb=rgb,
        pair=pair,
        offset=_offset(header, name, pair),
        slope=slope,
        inter=inter,
        affine=affine,
        interval=_shortest(header["pixdim"][4]) * seconds,
        start=_shortest(header["toffset"]) * seconds,
        timed=time_unit in _SECONDS,
        vector=int(header["intent_code"]) == 1007,
    )


def _offset(header: Any, name: str, pair: bool) -> int:
    """Where the voxels begin, bytes; not before the end of the header."""
    offset = header["vox_offset"]
    if not np.isfinite(offset):
        raise SourceError(f"{name} is damaged: its voxels begin at byte {offset}")
    return max(int(offset), 0 if pair else 352)


def _shortest(number: Any) -> float:
    """Shortest decimal that is the float32 in the file: 0.1 for 0.1, not 0.10000000149."""
    return float(str(number)) if np.isfinite(number) else 0.0


def _shape(header: Any, name: str) -> tuple[int, ...]:
    dim = [int(d) for d in header["dim"]]
    if not 1 <= dim[0] <= 7 or any(d < 1 for d in dim[1 : dim[0] + 1]):
        raise SourceError(f"{name} is damaged: its header gives the dimensions {dim}")
    shape = dim[1 : dim[0] + 1] + [1] * max(0, 3 - dim[0])
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _stored(header: Any, name: str) -> tuple[np.dtype[Any], bool]:
    code = int(header["datatype"])
    if code == 128:
        return np.dtype(np.uint8), True
    try:
        stored = header.get_data_dtype()
    except KeyError:
        raise SourceError(f"{name} has the unknown data type {code}") from None
    if stored.fields or stored.kind not in "iufc" or stored.itemsize > (16 if stored.kind == "c" else 8):
        raise FormatError(
            f"{name} has the data type {code} ({stored}), which is not read: convert it to integers, float32, float64, "
            "complex64, or RGB24"
        )
    return stored, False


def _scaling(header: Any, name: str) -> tuple[float, float]:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(inter):
        raise SourceError(f"{name} is damaged: its values have the slope {slope} and the intercept {inter}")
    return slope, inter


def _units(header: Any) -> tuple[str, str]:
    code = int(header["xyzt_units"])
    space = {1: "meter", 2: "mm", 3: "micron"}.get(code & 7, "unknown")
    return space, {8: "sec", 16: "msec", 24: "usec"}.get(code & 56, "unknown")


def _affine(header: Any, shape: tuple[int, ...], name: str, form: str) -> NDArray[np.float64] | None:
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    if form in ("sform", "qform") and codes[form] <= 0:
        raise FormatError(f"{name} has no {form} (its code is {codes[form]}); the codes are {codes}")
    if form == "none":
        return None
    found: dict[str, NDArray[np.float64]] = {}
    if codes["sform"] > 0:
        found["sform"] = np.asarray(header.get_sform(), dtype=np.float64)
    if codes["qform"] > 0:
        found["qform"] = _qform(header, name, needed=not found or form == "qform")
    if not found:
        warn(
            f"{name} has no geometry (sform and qform codes are 0): its labels are indices. imd.assign_grid(other) "
            "gives it the place of another image"
        )
        return None
    if len(found) == 2 and form == "best" and np.abs(found["sform"] - found["qform"]).max() > 1e-2:
        off = float(np.abs(found["sform"] - found["qform"]).max())
        warn(
            f"{name} has two geometries that differ by up to {off:.3g} mm: the sform (code {codes['sform']}) is taken, "
            f"other programs may take the qform (code {codes['qform']}). format_options={{'form': 'qform'}} takes that"
        )
    matrix = found["qform" if form == "qform" or "sform" not in found else "sform"]
    return _usable(geometry.from_ras(matrix), shape, name)


def _qform(header: Any, name: str, needed: bool) -> NDArray[np.float64]:
    from nibabel.spatialimages import HeaderDataError

    copy = header.copy()
    if float(copy["pixdim"][0]) not in (-1.0, 1.0):
        copy["pixdim"][0] = 1  # 0 means 1 (nifti1.h, "METHOD 2")
    try:
        return np.asarray(copy.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        if needed:
            raise SourceError(f"{name} is damaged: its qform can't be read: {error}") from error
        return np.full((4, 4), np.inf)  # differs from any sform, which is warned of


def _usable(affine: NDArray[np.float64], shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    """Return the affine, with the normal for the slice axis of a single slice that has none; raise if singular."""
    if shape[2] == 1 and not np.linalg.norm(affine[:3, 0]) > 1e-9:
        n = np.cross(affine[:3, 2], affine[:3, 1])
        if (length := float(np.linalg.norm(n))) > 1e-12:
            affine[:3, 0] = n / length
    try:
        check_affine(affine, shape)
    except GeometryError as error:
        raise SourceError(
            f"{name} has no usable geometry: {error}. format_options={{'form': 'none'}} reads it without, 'qform' or "
            "'sform' with the other one"
        ) from error
    return affine

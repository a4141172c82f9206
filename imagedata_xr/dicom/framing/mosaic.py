"""Siemens mosaics: the slices of one volume as tiles of one picture, as columns with one row per tile.

What is where, as measured on real mosaics of VB12 to VE11 against dcm2niix:

- The N tiles fill a square grid of g = ceil(sqrt(N)) tiles a side, row by row; what is left is blank.
- Image Position (Patient) is that of the first pixel of a picture as large as the mosaic with the slice in its middle.
  With r, c the directions along a row and down a column (Image Orientation), (dr, dc) the Pixel Spacing, and H x W the
  mosaic and h x w a tile, the first pixel of the first tile lies at ``p = IPP + r (W-w)/2 dc + c (H-h)/2 dr``.
- Tile t lies at ``p + t s n``: s is Spacing Between Slices, n SliceNormalVector of the CSA header. This normal is
  ``cross(r, c)`` in many mosaics and its opposite in others (all sagittal ones), so it is never computed: a stack with
  the wrong one is a mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, GeometryError, warn
from ...model.geometry import normal
from ...stores.url import file_name
from ..scanning.coded import groups_of
from ..scanning.scan import Scan
from ..scanning.vr import CSA_HEADER, SIEMENS_TILES, Key
from .csa import floats, image_csa
from .slice_times import protocol_times

HEADER = "SIEMENS MR HEADER"
NUMBER: Key = SIEMENS_TILES
TIMES: Key = (HEADER, 0x19, 0x29)
WORD = "MOSAIC"

_PARALLEL = 1e-3
"""The two normals, each given to about 8 digits, may differ by this much (sine of the angle)."""


@dataclass(frozen=True)
class TileColumns:
    """The slices of one mosaic as columns; row t is tile t, in the order of the tiles in the picture.

    Attributes
    ----------
    grid : tuple of int
        Rows and columns of tiles in the picture.
    shape : tuple of int
        Rows and columns of a tile, pixels.
    offset : ndarray, shape (n, 2), int
        Row and column in the stored matrix where a tile begins.
    position : ndarray, shape (n, 3)
        Image Position (Patient) of each tile: the centre of its first pixel, LPS, mm.
    orientation : ndarray, shape (6,)
        Image Orientation (Patient), common to all.
    slice_time : ndarray, shape (n,)
        Start of each slice, ms, as the scanner gives it, or by its protocol; all NaN where unknown.
    image_type : tuple of str
        Image Type (0008,0008) of a slice: without the word for the mosaic.
    """

    grid: tuple[int, int]
    shape: tuple[int, int]
    offset: NDArray[np.intp]
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    slice_time: NDArray[np.float64]
    image_type: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.offset)


def is_mosaic(scan: Scan) -> NDArray[np.bool_]:
    """Tell which files are Siemens mosaics: those whose Image Type (0008,0008) has the value MOSAIC; shape (n,).

    Programs that take mosaics apart leave the word in their slices at times. They are no mosaics if nothing counts
    tiles, and those of a series lie one slice apart from each other, as whole mosaics never do. Others replace the
    Image Type: what counts its tiles is a mosaic, unless it lies as slices do or can't be divided into them.
    """
    named = has_word(scan, WORD)
    silent = named & ~scan.column(CSA_HEADER).present & ~(scan.numbers(NUMBER) > 0)
    for some in _slices(scan, silent):
        named[some] = False
        warn(
            f"{len(some)} images are called mosaics, the first is {file_name(scan.files[int(some[0])])}, but "
            "nothing counts tiles in them, and they lie one slice apart: they are read as slices"
        )
    counted = ~named & (scan.numbers(NUMBER) > 1) & _can_be_divided(scan)
    for some in _slices(scan, counted):
        counted[some] = False
    if counted.any():
        first = file_name(scan.files[int(np.flatnonzero(counted)[0])])
        warn(
            f"{int(counted.sum())} images are not called mosaics, the first is {first}, but (0019,xx0A) counts several "
            "slices in them: they are read as mosaics"
        )
    return np.asarray(named | counted)


def _slices(scan: Scan, candidates: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Rows of those candidates, by their series, that lie one slice apart from each other."""
    rows = np.flatnonzero(candidates).astype(np.intp)
    if not len(rows):
        return []
    series, which = groups_of(scan.words("SeriesInstanceUID").take(rows))
    parts = [rows[which == k] for k in range(len(series))]
    return [some for some in parts if _lie_as_slices(scan, some)]


def _can_be_divided(scan: Scan) -> NDArray[np.bool_]:
    """Tell which pictures are a whole number of the tiles high and wide that (0019,xx0A) counts."""
    side = np.ceil(np.sqrt(np.nan_to_num(scan.numbers(NUMBER), nan=1.0)))
    whole = [np.nan_to_num(scan.numbers(word)) % np.maximum(side, 1) == 0 for word in ("Rows", "Columns")]
    return np.asarray(whole[0] & whole[1])


def _lie_as_slices(scan: Scan, rows: NDArray[np.intp]) -> bool:
    """Whether images lie on a line along their normal, in even steps that are those of slices; three at least."""
    position, orientation = (
        scan.numbers("ImagePositionPatient", 3)[rows],
        scan.numbers("ImageOrientationPatient", 6)[rows],
    )
    if not (np.isfinite(position).all() and np.isfinite(orientation).all()) or np.ptp(orientation, axis=0).max() > 1e-4:
        return False
    try:
        n = normal(orientation[0])
    except GeometryError:
        return False
    along = np.unique(np.round(position @ n, 2))
    beside = position - (position @ n)[:, None] * n
    said = [float(scan.numbers(word)[rows[0]]) for word in ("SpacingBetweenSlices", "SliceThickness")]
    spacing = next((s for s in said if s > 0), None)
    if len(along) < 3 or spacing is None or np.ptp(beside, axis=0).max() > 0.05:
        return False
    steps = np.diff(along)
    low = 0.95 * spacing
    high = 1.05 * spacing if said[0] > 0 else np.inf  # gaps are not told by the thickness
    return bool(np.ptp(steps) <= 0.05 * spacing and steps.min() >= low and steps.max() <= high)


def has_word(scan: Scan, word: str) -> NDArray[np.bool_]:
    """Tell which files have a value in their Image Type (0008,0008); shape (n,)."""
    return scan.words("ImageType").map(lambda values: word in (values or ())).array(bool)


def tile_columns(scan: Scan, k: int) -> TileColumns:
    """Give the tiles of a Siemens mosaic.

    Parameters
    ----------
    scan
        The instances.
    k
        Number of the mosaic among them.

    Returns
    -------
    TileColumns
        One row per tile.

    Raises
    ------
    FormatError
        The number of tiles, the slice normal, the spacing, or the place of the picture is unknown, or they contradict
        each other. None of them is guessed: the error says which, and in which file.
    SourceError
        The CSA header is damaged.
    """
    one = scan.take([k])
    where = file_name(scan.files[k])
    csa = image_csa(one, 0)
    n = _count(one, csa, where)
    grid, shape, offset = tile_grid(one, n, where)
    orientation = plane(one, where)
    first = _first(one, orientation, shape, where)
    position = np.repeat(first[None], n, axis=0)
    if n > 1:  # a single slice needs neither
        step = _spacing(one, csa, where) * _normal(csa, orientation, where)
        position = first + np.arange(n)[:, None] * step
    return TileColumns(grid, shape, offset, position, orientation, _times(one, csa, n), slice_type(one, WORD))


def _count(one: Scan, csa: dict[str, list[str]], where: str) -> int:
    """Give the number of tiles by (0019,xx0A) and NumberOfImagesInMosaic of the CSA header."""
    said = {int(n) for n in one.numbers(NUMBER).tolist() if n > 0}
    said |= {int(n) for n in floats(csa, "NumberOfImagesInMosaic", 1) or [] if n > 0}
    if not said:
        raise FormatError(
            f"{where} is a mosaic of an unknown number of slices: neither (0019,xx0A) nor the CSA header (0029,xx10) "
            "gives it. They are lost in anonymization often; read the original, or one that keeps these elements"
        )
    if len(said) > 1:
        raise FormatError(f"{where} is a mosaic of {min(said)} slices by one element and of {max(said)} by another")
    return said.pop()


def tile_grid(
    one: Scan, n: int, where: str, blank: bool = True
) -> tuple[tuple[int, int], tuple[int, int], NDArray[np.intp]]:
    """Give grid, tile size and the offset of each of `n` tiles in the one picture of a scan.

    Parameters
    ----------
    one
        The picture.
    n
        Number of tiles.
    where
        Its name in errors.
    blank
        Whether the grid is square, also where rows of it stay blank: 20 tiles lie in 5 x 5, else in 4 rows of 5.

    Raises
    ------
    FormatError
        The picture is not a whole number of tiles high and wide.
    """
    across = isqrt(n - 1) + 1
    down = across if blank else -(-n // across)
    height, width = (int(np.nan_to_num(one.numbers(word)[0])) for word in ("Rows", "Columns"))
    if not height or not width or height % down or width % across:
        raise FormatError(
            f"{where} is a mosaic of {n} slices, which need a grid of {down} x {across} tiles, but {height} x {width} "
            "pixels can't be divided into it"
        )
    rows, cols = height // down, width // across
    t = np.arange(n, dtype=np.intp)
    return (down, across), (rows, cols), np.stack([t // across * rows, t % across * cols], axis=1)


def plane(one: Scan, where: str) -> NDArray[np.float64]:
    """Give the Image Orientation (Patient) of the one picture of a scan, shape (6,).

    Raises
    ------
    FormatError
        It is missing or singular.
    """
    orientation: NDArray[np.float64] = one.numbers("ImageOrientationPatient", 6)[0]
    if not np.isfinite(orientation).all():
        raise FormatError(f"{where} is a mosaic without ImageOrientationPatient: its slices have no place")
    try:
        normal(orientation)
    except GeometryError as error:
        raise FormatError(f"{where} is a mosaic whose slices have no place: {error}") from None
    return orientation


def _first(one: Scan, orientation: NDArray[np.float64], shape: tuple[int, int], where: str) -> NDArray[np.float64]:
    """Give the position of the first pixel of the first tile, shape (3,), mm."""
    corner = one.numbers("ImagePositionPatient", 3)[0]
    spacing = one.numbers("PixelSpacing", 2)[0]
    if not np.isfinite(corner).all() or not (spacing > 0).all():
        raise FormatError(
            f"{where} is a mosaic whose slices have no place: ImagePositionPatient {corner.tolist()}, "
            f"PixelSpacing {spacing.tolist()}"
        )
    more_rows = one.numbers("Rows")[0] - shape[0]
    more_cols = one.numbers("Columns")[0] - shape[1]
    along_row, down_column = orientation[:3], orientation[3:]
    first = corner + along_row * more_cols / 2 * spacing[1] + down_column * more_rows / 2 * spacing[0]
    return np.asarray(first, dtype=np.float64)


def _spacing(one: Scan, csa: dict[str, list[str]], where: str) -> float:
    """Give Spacing Between Slices (0018,0088), else that of the CSA header, mm."""
    spacing = float(one.numbers("SpacingBetweenSlices")[0])
    if not spacing > 0:
        spacing = (floats(csa, "SpacingBetweenSlices", 1) or [0.0])[0]
    if not (spacing > 0 and np.isfinite(spacing)):
        raise FormatError(
            f"{where} is a mosaic without SpacingBetweenSlices (0018,0088). SliceThickness does not stand in for it, "
            "since there may be gaps"
        )
    return spacing


def _normal(csa: dict[str, list[str]], orientation: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """Give the unit vector from tile to tile, SliceNormalVector of the CSA header, shape (3,)."""
    found = floats(csa, "SliceNormalVector", 3)
    if found is None:
        raise FormatError(
            f"{where} is a mosaic without SliceNormalVector: the CSA header (0029,xx10) lacks it or is missing, often "
            "by anonymization. Without it the slices may run either way, and the image might be mirrored; read the "
            "original, or one that keeps this element"
        )
    plain = normal(orientation)
    vector = np.array(found)
    length = float(np.linalg.norm(vector))
    if abs(length - 1) > _PARALLEL or np.linalg.norm(np.cross(vector, plain)) > _PARALLEL:
        raise FormatError(
            f"{where} contradicts itself: SliceNormalVector {found} of the CSA header is not perpendicular to the "
            f"image plane, whose normal is {plain.tolist()} up to its sign"
        )
    return np.asarray(vector / length)


def _times(one: Scan, csa: dict[str, list[str]], n: int) -> NDArray[np.float64]:
    """Give the times by (0019,xx29), MosaicRefAcqTimes of the CSA header, or the protocol, ms; all or none."""
    times: NDArray[np.float64] = one.numbers(TIMES, n + 1)[0]
    if np.isfinite(times[:n]).all() and np.isnan(times[n]):
        return times[:n]
    if "MosaicRefAcqTimes" in csa:  # since then, slices may be measured together, which the protocol does not tell
        return np.array(floats(csa, "MosaicRefAcqTimes", n) or [np.nan] * n)
    return protocol_times(one, csa, n)


def slice_type(one: Scan, word: str) -> tuple[str, ...]:
    """Give the Image Type of the one picture of a scan without the word that says that it holds many slices."""
    return tuple(value for value in one.strings("ImageType")[0] or () if value != word)

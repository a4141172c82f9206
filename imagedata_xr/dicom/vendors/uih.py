"""United Imaging: diffusion in axes of the image, and volumes as a grid of tiles that each have their own position."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, GeometryError
from ...model.geometry import normal
from ...stores.url import file_name
from ..framing.mosaic import TileColumns, has_word, plane, slice_type, tile_grid
from ..scanning.elements import to_dataset
from ..scanning.scan import Scan
from . import Columns, Diffusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

HEADER = "Image Private Header"
B_VALUE = (HEADER, 0x65, 0x09)
DIRECTION = (HEADER, 0x65, 0x37)
NUMBER = (HEADER, 0x65, 0x50)
TILES = (HEADER, 0x65, 0x51)
WORD = "VFRAME"

_APART = 1e-2  # mm: slices of one grid are at least so far from each other


def claims(manufacturer: str) -> bool:
    """Whether a Manufacturer is United Imaging (Healthcare)."""
    return manufacturer.startswith(("UIH", "UNITED IMAGING"))


def diffusion(images: Columns) -> Diffusion:
    """b-value (0065,1009), the effective one, and direction (0065,1037).

    The direction has its components along a row r, down a column c, and along the normal of the image: in patient
    axes it is ``x r + y c + z cross(r, c)``.
    """
    out = Diffusion.empty(len(images))
    out.b_value = images.numbers(B_VALUE)
    if not (out.b_value > 0).any():  # b = 0 alone makes no diffusion series
        return Diffusion.empty(len(images))
    xyz = images.numbers(DIRECTION, 3)
    orientation = images.numbers("ImageOrientationPatient", 6)
    known = np.isfinite(xyz).all(axis=1) & np.isfinite(orientation).all(axis=1)
    for k in np.flatnonzero(known).tolist():
        r, c = orientation[k, :3], orientation[k, 3:]
        try:
            axes = np.stack([r, c, normal(orientation[k])])
        except GeometryError:  # an image without a place has no direction in the patient
            continue
        out.vector[k] = xyz[k] @ axes
    return out


def component(images: Columns) -> list[str]:
    """Nothing beyond the standard's Image Type."""
    return [""] * len(images)


def clock(images: Columns) -> NDArray[np.float64]:
    """None: AcquisitionTime is exact."""
    return np.full(len(images), np.nan)


def is_grid(scan: Scan) -> NDArray[np.bool_]:
    """Tell which files are grids of tiles: tiles are listed or counted, or a VFRAME image has no position of its own.

    Any of these is enough, since a grid that is taken for one slice would be silently wrong.
    """
    listed = scan.column(TILES).present
    placed = ~np.isnan(scan.numbers("ImagePositionPatient", 3)).any(axis=1)
    return np.asarray(listed | (scan.numbers(NUMBER) > 1) | (has_word(scan, WORD) & ~placed))


def grid_columns(scan: Scan, k: int) -> TileColumns:
    """Give the tiles of a United Imaging grid.

    The N tiles fill a grid of ceil(sqrt(N)) columns, row by row, in no more rows than they need (the manufacturer's
    description of (0065,xx50)): 20 tiles lie in 4 rows of 5. Each has its Image Position (Patient) and its acquisition
    time in its item of (0065,xx51).

    Parameters
    ----------
    scan
        The instances.
    k
        Number of the grid among them.

    Returns
    -------
    TileColumns
        One row per tile, in the order of the items. Slice times are ms since the first slice.

    Raises
    ------
    FormatError
        Number, place or orientation of the tiles is unknown, or they contradict each other.
    SourceError
        The file can't be read any more, or it has changed.
    """
    one = scan.take([k])
    where = file_name(scan.files[k])
    items = _items(scan, k)
    said = one.numbers(NUMBER)[0]
    if not items or said != len(items):
        raise FormatError(
            f"{where} is a grid of {said:g} slices by (0065,xx50), but (0065,xx51) lists {len(items)} of them: their "
            "number and places are unknown. They are lost in anonymization often; read the original"
        )
    n = len(items)
    grid, shape, offset = tile_grid(one, n, where, blank=False)
    position = np.array([_numbers(item, "ImagePositionPatient", 3) for item in items])
    if not np.isfinite(position).all():
        raise FormatError(f"{where} is a grid of {n} slices, of which some have no ImagePositionPatient (0065,xx51)")
    orientation = _orientation(one, items, where)
    _check_stack(position, orientation, where)
    return TileColumns(grid, shape, offset, position, orientation, _times(items), slice_type(one, WORD))


def _items(scan: Scan, k: int) -> Sequence[Dataset]:
    """Give the items of (0065,xx51) of file `k`."""
    raw = scan.value(k, TILES)
    if raw is None:
        return []
    implicit = bool(scan.implicit[k]) or raw[0] == "UN"  # PS3.5 section 6.2.2: unknown sequences are implicit
    block = to_dataset({TILES: ("SQ", raw[1])}, scan.syntax[k], implicit).private_block(0x65, HEADER)
    return list(block[0x51].value)


def _numbers(item: Dataset, keyword: str, count: int) -> list[float]:
    """Give `count` numbers of an element, NaN if it has others."""
    value = item.get(keyword)
    try:
        found = [float(v) for v in value] if value is not None else []
    except (TypeError, ValueError):
        found = []
    return found if len(found) == count else [np.nan] * count


def _orientation(one: Scan, items: Sequence[Dataset], where: str) -> NDArray[np.float64]:
    """Give the orientation of the picture, else that which its tiles share, shape (6,)."""
    if np.isfinite(one.numbers("ImageOrientationPatient", 6)).all():
        return plane(one, where)
    found = np.array([_numbers(item, "ImageOrientationPatient", 6) for item in items])
    if not np.isfinite(found).all() or np.ptp(found, axis=0).max() > 1e-4:
        raise FormatError(f"{where} is a grid whose slices have no ImageOrientationPatient in common")
    return np.asarray(found[0])


def _check_stack(position: NDArray[np.float64], orientation: NDArray[np.float64], where: str) -> None:
    """Refuse two slices in one place."""
    try:
        along = np.sort(position @ normal(orientation))
    except GeometryError as error:
        raise FormatError(f"{where} is a grid whose slices have no place: {error}") from None
    if len(along) > 1 and np.diff(along).min() < _APART:
        raise FormatError(f"{where} is a grid with two slices in one place: their positions contradict each other")


def _times(items: Sequence[Dataset]) -> NDArray[np.float64]:
    """Give the start of each slice, ms since the first; NaN unless all have an acquisition date and time, or a time."""
    for keyword in ("AcquisitionDateTime", "AcquisitionTime"):
        moments = np.array([_moment(str(item.get(keyword) or ""), keyword) for item in items])
        if np.isfinite(moments).all():
            return np.asarray((moments - moments.min()) * 1e3)
    return np.full(len(items), np.nan)


def _moment(text: str, keyword: str) -> float:
    """Give the seconds of a DT or TM value (PS3.5 section 6.2), since any moment; NaN if it is none."""
    pattern = "%Y%m%d%H%M%S" if keyword == "AcquisitionDateTime" else "%H%M%S"
    whole, _, fraction = text.strip().partition(".")
    try:
        start = datetime.strptime(whole, pattern)
        return (start - datetime(1900, 1, 1)).total_seconds() + float(f"0.{fraction or 0}")
    except ValueError:
        return float("nan")

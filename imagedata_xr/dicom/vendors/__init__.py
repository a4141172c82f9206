"""What each manufacturer's private elements mean: one file each, all to one convention.

A vendor is a module with the members of `Vendor`; a new manufacturer is one file and one line in `VENDORS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

VENDORS = ("siemens", "ge", "philips", "canon", "uih")


@dataclass
class Diffusion:
    """Diffusion weighting of n images.

    Attributes
    ----------
    b_value : ndarray, shape (n,)
        s/mm2; NaN where an image says nothing of diffusion.
    vector : ndarray, shape (n, 3)
        Unit vectors in LPS patient axes; zero without a direction (b = 0, traces), NaN where nothing is said.
    directionality : ndarray, shape (n,)
        Code as in `imagedata_xr.model.orders.DIRECTIONALITY`; NaN where nothing is said.
    """

    b_value: NDArray[np.float64]
    vector: NDArray[np.float64]
    directionality: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def empty(cls, n: int) -> Diffusion:
        """Nothing said of n images."""
        return cls(np.full(n, np.nan), np.full((n, 3), np.nan), np.full(n, np.nan))

    def fill(self, other: Diffusion) -> None:
        """Take from another source what this one does not say."""
        todo = np.isnan(self.b_value)
        self.b_value[todo] = other.b_value[todo]
        for mine, theirs in ((self.vector, other.vector), (self.directionality, other.directionality)):
            gap = np.isnan(mine)
            mine[gap] = theirs[gap]

    def finish(self) -> Diffusion:
        """Return it normalized: unit vectors, zero vectors at b = 0 and for traces, codes filled in.

        Directionality is NONE at b = 0 (PS3.3 section C.8.13.5.9), whatever the manufacturer's elements say of such an
        image: its direction is not given, and one that is "directional" without a direction is taken for a lost one.
        """
        said = ~np.isnan(self.b_value)
        vector = np.where(np.isnan(self.vector), 0.0, self.vector)
        vector[self.b_value == 0] = 0
        vector[self.directionality == 3] = 0
        length = np.linalg.norm(vector, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            vector = np.where(length[:, None] > 1e-3, vector / length[:, None], 0.0)
        code = np.where(self.b_value == 0, 0.0, np.where(length > 1e-3, 1.0, 3.0))
        code = np.where(np.isnan(self.directionality) | (self.b_value == 0), code, self.directionality)
        vector[~said], code[~said] = np.nan, np.nan
        return Diffusion(self.b_value, vector + 0.0, code)


class PhaseEncoding(NamedTuple):
    """How phase is encoded in n images; NaN where it is not known.

    Attributes
    ----------
    polarity : ndarray, shape (n,)
        1 where it is encoded along rising indices of columns (``ROW``) or rows (``COL``), -1 along falling ones.
    bandwidth : ndarray, shape (n,)
        Hz per pixel of the image along it.
    """

    polarity: NDArray[np.float64]
    bandwidth: NDArray[np.float64]


class Columns(Protocol):
    """What a vendor sees of n images: their elements by keyword, or by (creator, group, element byte)."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def numbers(self, key: str | tuple[str, int, int], width: int = 1) -> NDArray[np.float64]:
        """Return an element as floats, shape (n,) or (n, width); NaN where absent."""
        ...

    def strings(self, keyword: str | tuple[str, int, int]) -> list[tuple[str, ...] | None]:
        """Return an element as texts; None where absent."""
        ...

    def data(self, k: int, key: str | tuple[str, int, int]) -> bytes:
        """Return the bytes of an element of image k; empty where absent."""
        ...


class Vendor(Protocol):
    """What a manufacturer's module offers; each function takes its images and returns columns."""

    def claims(self, manufacturer: str) -> bool:
        """Whether an (upper case) Manufacturer is this one."""
        ...

    def diffusion(self, images: Columns) -> Diffusion:
        """b-values and directions from private elements."""
        ...

    def component(self, images: Columns) -> list[str]:
        """``M``, ``P``, ``R``, ``I``, another word for a kind of image of its own, or empty where nothing is said."""
        ...

    def clock(self, images: Columns) -> NDArray[np.float64]:
        """The vendor's own timer in s, since any fixed moment of the series; NaN without one."""
        ...


@runtime_checkable
class Timed(Protocol):
    """What a module offers besides, where images say less of their times than the manufacturer's elements do."""

    def interval(self, images: Columns) -> NDArray[np.float64]:
        """Time from one volume to the next of a 2-D time course, ms; NaN where it is not known."""
        ...

    def slice_times(self, volume: Columns) -> NDArray[np.float64] | None:
        """When each image of one volume began, s since the first of them; None where that is not told."""
        ...


@runtime_checkable
class Encoded(Protocol):
    """What a module offers besides, where private elements tell how phase is encoded."""

    def phase_encoding(self, images: Columns) -> PhaseEncoding:
        """Polarity and bandwidth."""
        ...


@runtime_checkable
class Misplaced(Protocol):
    """What a module offers besides, where headers place images wrongly."""

    def places(self, images: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Position and orientation of images, shape (n, 3) and (n, 6); NaN where headers are right, None for none."""
        ...


@runtime_checkable
class Numbered(Protocol):
    """What a module offers besides, where instance numbers may be scrambled."""

    def volume_numbers(self, images: Columns) -> list[NDArray[np.float64]]:
        """Numbers that sort the images of one position as their volumes are, the most significant first."""
        ...


@cache
def vendors() -> tuple[Vendor, ...]:
    """Every vendor's module."""
    return tuple(import_module(f"{__name__}.{name}") for name in VENDORS)


CREATORS = {
    "SIEMENS MR HEADER": "siemens",
    "SIEMENS CSA HEADER": "siemens",
    "SIEMENS MR SDI 02": "siemens",
    "GEMS_ACQU_01": "ge",
    "GEMS_RELA_01": "ge",
    "GEMS_PARM_01": "ge",
    "Philips Imaging DD 001": "philips",
    "Philips MR Imaging DD 001": "philips",
    "Image Private Header": "uih",
}
"""Whose private elements a creator's are (PS3.5 section 7.8.1): they tell where Manufacturer was taken away."""


def vendor_of(manufacturer: str, creators: Iterable[str] = ()) -> Vendor | None:
    """Vendor that claims a Manufacturer (0008,0070); None for one without private knowledge here.

    Parameters
    ----------
    manufacturer : str
    creators : iterable of str
        Private creators of the image: where Manufacturer is empty, they tell, if they are of one manufacturer.
    """
    if not manufacturer.strip():
        names = {CREATORS[c] for c in creators if c in CREATORS}
        return vendors()[VENDORS.index(names.pop())] if len(names) == 1 else None
    name = manufacturer.upper()
    return next((v for v in vendors() if v.claims(name)), None)

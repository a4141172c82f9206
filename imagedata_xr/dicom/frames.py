"""Instances as frames: one row per image plane, so that sorting never knows where a plane came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..model.identity import instance_digest
from .scan import Scan
from .vendors import Diffusion, Vendor, vendor_of

if TYPE_CHECKING:
    from .clock import Clock

_COMPONENTS = {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
"""Complex Image Component (0008,9208), PS3.3 C.8.13.3.1; other words stand for themselves."""


@dataclass
class Frames:
    """Planes of a scan as columns; row k is one plane.

    Attributes
    ----------
    scan : Scan
        The instances.
    file : ndarray, shape (n,), int
        Row of the scan that a plane lies in.
    number : ndarray, shape (n,), int
        Frame number within its instance, from 1.
    """

    scan: Scan
    file: NDArray[np.intp]
    number: NDArray[np.intp]
    _numbers: dict[tuple[object, int], NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False)
    _strings: dict[str, list[tuple[str, ...] | None]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, scan: Scan) -> Frames:
        """One plane per instance."""
        return cls(scan, np.arange(len(scan), dtype=np.intp), np.ones(len(scan), dtype=np.intp))

    def __len__(self) -> int:
        return len(self.file)

    def take(self, rows: NDArray[np.intp]) -> Frames:
        """Return some of the frames; this object for all of them in their order, with what it knows already."""
        if len(rows) == len(self) and bool((rows == np.arange(len(self))).all()):
            return self
        files, inverse = np.unique(self.file[rows], return_inverse=True)
        return Frames(self.scan.take(files), inverse.astype(np.intp), self.number[rows])

    def numbers(self, key: str | tuple[str, int, int], width: int = 1) -> NDArray[np.float64]:
        """Return an element as floats, shape (n,) or (n, width); NaN where absent. The array is the caller's own."""
        if (key, width) not in self._numbers:
            self._numbers[key, width] = self.scan.numbers(key, width)[self.file]
        return self._numbers[key, width].copy()

    def strings(self, keyword: str) -> list[tuple[str, ...] | None]:
        """Return an element as decoded texts; None where absent."""
        if keyword not in self._strings:
            column = self.scan.strings(keyword)
            self._strings[keyword] = [column[i] for i in self.file.tolist()]
        return list(self._strings[keyword])

    def text(self, keyword: str) -> list[str]:
        r"""Return an element as one text, its values joined by ``\``; empty where absent."""
        return ["\\".join(v) if v else "" for v in self.strings(keyword)]

    # --- geometry ------------------------------------------------------------------------------------------------
    @cached_property
    def position(self) -> NDArray[np.float64]:
        """Image Position (Patient), shape (n, 3), mm."""
        return self.numbers("ImagePositionPatient", 3)

    @cached_property
    def orientation(self) -> NDArray[np.float64]:
        """Image Orientation (Patient), shape (n, 6)."""
        return self.numbers("ImageOrientationPatient", 6)

    @cached_property
    def spacing(self) -> NDArray[np.float64]:
        """Pixel Spacing, shape (n, 2): between rows, between columns; mm."""
        return self.numbers("PixelSpacing", 2)

    @cached_property
    def matrix(self) -> NDArray[np.int64]:
        """Rows and columns, shape (n, 2)."""
        out = np.stack([self.numbers("Rows"), self.numbers("Columns")], axis=1)
        return np.nan_to_num(out).astype(np.int64)

    # --- what they are -------------------------------------------------------------------------------------------
    @cached_property
    def instance(self) -> NDArray[np.int64]:
        """Digest of each plane, shape (n,); 0 where the SOP Instance UID is missing or not the image's own."""
        planes = list(zip(self.text("SOPInstanceUID"), self.number.tolist(), strict=True))
        count: dict[tuple[str, int], int] = {}
        for plane in planes:
            count[plane] = count.get(plane, 0) + 1
        own = [instance_digest(*p) if p[0] and count[p] == 1 else 0 for p in planes]
        return np.array(own, dtype=np.int64)

    @cached_property
    def _by_vendor(self) -> list[tuple[NDArray[np.intp], Scan, Vendor]]:
        """Rows, their scan and vendor, for each manufacturer that is known."""
        makers = np.array([m[0] if m else "" for m in self.scan.strings("Manufacturer")])
        out: list[tuple[NDArray[np.intp], Scan, Vendor]] = []
        for maker in sorted(set(makers.tolist())):
            vendor = vendor_of(maker)
            if vendor is not None:
                rows = np.flatnonzero(makers == maker).astype(np.intp)
                out.append((rows, self.scan if len(rows) == len(makers) else self.scan.take(rows), vendor))
        return out

    @cached_property
    def diffusion(self) -> Diffusion:
        """b-values and directions: the manufacturer's elements, then the standard's (PS3.3 C.8.13.5.9)."""
        out = Diffusion.empty(len(self.scan))
        for rows, part, vendor in self._by_vendor:
            own = vendor.diffusion(part)
            out.b_value[rows], out.vector[rows], out.directionality[rows] = own.b_value, own.vector, own.directionality
        out.fill(_standard_diffusion(self.scan))
        done = out.finish()
        return Diffusion(done.b_value[self.file], done.vector[self.file], done.directionality[self.file])

    @cached_property
    def component(self) -> list[str]:
        """Magnitude, phase, real or imaginary (M, P, R, I), or the vendor's word for another kind of image."""
        words = [""] * len(self.scan)
        for rows, part, vendor in self._by_vendor:
            for k, word in zip(rows.tolist(), vendor.component(part), strict=True):
                words[k] = word
        for k, standard in enumerate(self.scan.strings("ComplexImageComponent")):
            if standard:
                words[k] = _COMPONENTS.get(standard[0], standard[0])
        return [words[i] for i in self.file.tolist()]

    @cached_property
    def clocks(self) -> list[Clock]:
        """Clocks that the frames have, each complete, the most trustworthy first."""
        from .clock import find_clocks

        return find_clocks(self)

    @cached_property
    def vendor_clock(self) -> NDArray[np.float64]:
        """The vendor's own timer, s; NaN without one."""
        out = np.full(len(self.scan), np.nan)
        for rows, part, vendor in self._by_vendor:
            out[rows] = vendor.clock(part)
        return out[self.file]


def _standard_diffusion(scan: Scan) -> Diffusion:
    out = Diffusion(
        scan.numbers("DiffusionBValue"),
        scan.numbers("DiffusionGradientOrientation", 3),
        np.full(len(scan), np.nan),
    )
    codes = {"NONE": 0.0, "DIRECTIONAL": 1.0, "BMATRIX": 2.0, "ISOTROPIC": 3.0}
    for k, word in enumerate(scan.strings("DiffusionDirectionality")):
        if word:
            out.directionality[k] = codes.get(word[0], np.nan)
    return out

"""Instances as frames: one row per image plane, so that sorting never knows where a plane came from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import ImagedataWarning
from ..model.identity import instance_digest
from .scan import Scan
from .vendors import Diffusion, vendor_of

_UNSUITABLE = "Whole-slide microscopy"
_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"


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

    def __len__(self) -> int:
        return len(self.file)

    def take(self, rows: NDArray[np.intp]) -> Frames:
        """Return some of the frames."""
        files, inverse = np.unique(self.file[rows], return_inverse=True)
        return Frames(self.scan.take(files), inverse.astype(np.intp), self.number[rows])

    def numbers(self, key: str | tuple[str, int, int], width: int = 1) -> NDArray[np.float64]:
        """Return an element as floats, shape (n,) or (n, width); NaN where absent."""
        return self.scan.numbers(key, width)[self.file]

    def strings(self, keyword: str) -> list[tuple[str, ...] | None]:
        """Return an element as decoded texts; None where absent."""
        column = self.scan.strings(keyword)
        return [column[i] for i in self.file]

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
        """Digest of each plane, shape (n,)."""
        uids = self.text("SOPInstanceUID")
        return np.array([instance_digest(u, int(f)) for u, f in zip(uids, self.number, strict=True)], dtype=np.int64)

    @cached_property
    def _by_vendor(self) -> list[tuple[NDArray[np.intp], Scan, object]]:
        """Rows, their scan and vendor, per manufacturer."""
        makers = np.array([m[0] if m else "" for m in self.scan.strings("Manufacturer")])
        out: list[tuple[NDArray[np.intp], Scan, object]] = []
        for maker in sorted(set(makers.tolist())):
            rows = np.flatnonzero(makers == maker)
            out.append((rows, self.scan if len(rows) == len(makers) else self.scan.take(rows), vendor_of(maker)))
        return out

    @cached_property
    def diffusion(self) -> Diffusion:
        """b-values and directions: the manufacturer's elements, then the standard's (PS3.3 C.8.13.5.9)."""
        n = len(self.scan)
        out = Diffusion.empty(n)
        for rows, part, vendor in self._by_vendor:
            if vendor is not None:
                own = vendor.diffusion(part)  # type: ignore[attr-defined]
                out.b_value[rows], out.vector[rows], out.directionality[rows] = (
                    own.b_value,
                    own.vector,
                    own.directionality,
                )
        out.fill(_standard_diffusion(self.scan))
        done = out.finish()
        return Diffusion(done.b_value[self.file], done.vector[self.file], done.directionality[self.file])

    @cached_property
    def component(self) -> list[str]:
        """Magnitude, phase, real or imaginary (M, P, R, I), or the vendor's word for another kind of image."""
        words = [""] * len(self.scan)
        for rows, part, vendor in self._by_vendor:
            if vendor is not None:
                for k, w in zip(rows, vendor.component(part), strict=True):  # type: ignore[attr-defined]
                    words[k] = w
        standard = self.scan.strings("ComplexImageComponent")
        return [(standard[i][0][:1] if standard[i] else "") or words[i] for i in self.file]  # type: ignore[index]

    @cached_property
    def vendor_clock(self) -> NDArray[np.float64]:
        """The vendor's own timer, s; NaN without one."""
        out = np.full(len(self.scan), np.nan)
        for rows, part, vendor in self._by_vendor:
            if vendor is not None:
                out[rows] = vendor.clock(part)  # type: ignore[attr-defined]
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


def frames_of(scan: Scan) -> Frames:
    """Frames of the images of a scan; what can't be read as images yet is named in a warning and left out.

    Parameters
    ----------
    scan : Scan
        Instances of any kind. Those without pixel data are passed over.
    """
    pixels = scan.pixel_tag > 0
    several = scan.numbers("NumberOfFrames") > 1
    mosaic = np.array([bool(t) and "MOSAIC" in t for t in scan.strings("ImageType")], dtype=bool)
    classes = [c[0] if c else "" for c in scan.strings("SOPClassUID")]
    slides = np.array([c == _WSI for c in classes], dtype=bool)
    left_out = {
        "multi-frame images": pixels & several & ~slides,
        "Siemens mosaic images": pixels & mosaic & ~several,
        "whole-slide microscopy images": pixels & slides,
    }
    for what, which in left_out.items():
        if which.any():
            name = scan.files[int(np.flatnonzero(which)[0])].path
            warnings.warn(
                f"{int(which.sum())} {what} are not read by this version and left out, the first is {name}",
                ImagedataWarning,
                stacklevel=2,
            )
        pixels = pixels & ~which
    rows = np.flatnonzero(pixels).astype(np.intp)
    return Frames(scan.take(rows), np.arange(len(rows), dtype=np.intp), np.ones(len(rows), dtype=np.intp))

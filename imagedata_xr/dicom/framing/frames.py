"""Instances as frames: one row per image plane, so that sorting never knows where a plane came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword

from ...model.identity import instance_digest
from ...model.orders import ASL_CONTEXT
from ..scanning.scan import Scan
from ..vendors import Diffusion, Vendor, vendor_of, vendors
from ..vendors.philips import LABEL_TYPE

if TYPE_CHECKING:
    from ..sorting.clock import Clock

_COMPONENTS = {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
"""Complex Image Component (0008,9208), PS3.3 C.8.13.3.1; other words stand for themselves."""


SLICE_TIME, FRAME_TIME = "slice time", "frame time"
"""Columns of the start of a plane, s: within its instance's volume; since the first frame of its instance."""

Name = str | tuple[str, int, int]
"""Keyword of an element, or (creator, group, element byte) of a private one."""


@dataclass
class Own:
    """Elements of single planes, by keyword or private key; row k is one plane.

    Attributes
    ----------
    numbers : dict
        Shape (n,) or (n, width), NaN where a plane says nothing.
    texts : dict
        n texts, several values joined by a backslash, empty where a plane says nothing.
    corner : ndarray, shape (n, 2), optional
        Row and column of the stored matrix where a tile begins; None without tiles.
    matrix : ndarray, shape (n, 2), optional
        Rows and columns of each plane; None where it is the whole stored matrix.
    """

    numbers: dict[Name, NDArray[np.float64]] = field(default_factory=dict)
    texts: dict[Name, list[str]] = field(default_factory=dict)
    corner: NDArray[np.intp] | None = None
    matrix: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.intp]) -> Own:
        """Return that of some of the planes."""
        return Own(
            {k: v[rows] for k, v in self.numbers.items()},
            {k: [v[r] for r in rows.tolist()] for k, v in self.texts.items()},
            None if self.corner is None else self.corner[rows],
            None if self.matrix is None else self.matrix[rows],
        )


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
        Number within its instance, from 1: of the frame, or of the tile of a mosaic.
    own : Own
        What single planes say, where their instance holds several: it comes before the instance's elements.
    """

    scan: Scan
    file: NDArray[np.intp]
    number: NDArray[np.intp]
    own: Own = field(default_factory=lambda: Own())
    _numbers: dict[tuple[object, int], NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False)
    _strings: dict[Name, list[tuple[str, ...] | None]] = field(default_factory=dict, init=False, repr=False)

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
        return Frames(self.scan.take(files), inverse.astype(np.intp), self.number[rows], self.own.take(rows))

    @cached_property
    def _one_each(self) -> bool:
        """Whether each plane is a whole instance, in the order of the scan."""
        return len(self) == len(self.scan) and bool((self.file == np.arange(len(self))).all())

    def numbers(self, key: Name, width: int = 1) -> NDArray[np.float64]:
        """Return an element as floats, shape (n,) or (n, width); NaN where absent. The array is the caller's own."""
        if (key, width) not in self._numbers:
            out = self.scan.numbers(key, width)[self.file] if is_element(key) else _nothing(len(self), width)
            own = self.own.numbers.get(key)
            if own is not None:
                fitted = _fit(own, width)
                says = ~np.isnan(own.reshape(len(own), -1)).all(axis=1)
                out[says] = fitted[says]
            self._numbers[key, width] = out
        return self._numbers[key, width].copy()

    def strings(self, keyword: Name) -> list[tuple[str, ...] | None]:
        """Return an element as decoded texts; None where absent."""
        if keyword not in self._strings:
            column = self.scan.strings(keyword)
            out = list(column) if self._one_each else [column[i] for i in self.file.tolist()]
            for k, text in enumerate(self.own.texts.get(keyword, ())):
                if text:
                    out[k] = tuple(text.split("\\"))
            self._strings[keyword] = out
        return list(self._strings[keyword])

    def keywords(self) -> list[str]:
        """Return the keywords of the public elements that instances or planes have."""
        names = (k for k in (*self.own.numbers, *self.own.texts) if isinstance(k, str))
        own = {k for k in names if is_element(k)}
        known = self.scan.keywords()
        return known + sorted(own.difference(known))

    def varies(self, keyword: str) -> bool:
        """Tell whether any two planes differ in an element."""
        own = self.own.numbers.get(keyword)
        if own is not None:
            values = self.numbers(keyword, _width(own)).reshape(len(self), -1)
            return bool((~((values == values[0]) | (np.isnan(values) & np.isnan(values[0])))).any())
        if keyword in self.own.texts:
            return len(set(self.text(keyword))) > 1
        return self.scan.varies(keyword)

    def data(self, k: int, key: Name) -> bytes:
        """Return the bytes of an element of the instance that plane k lies in; empty where absent."""
        return self.scan.data(int(self.file[k]), key)

    def text(self, keyword: Name) -> list[str]:
        r"""Return an element as one text, its values joined by ``\``; empty where absent."""
        words = self.strings(keyword)
        if words and words.count(words[0]) == len(words):
            return ["\\".join(words[0] or ())] * len(words)
        return ["\\".join(v) if v else "" for v in words]

    def forget(self) -> None:
        """Forget what was decoded, after `own` was changed."""
        self._numbers.clear()
        self._strings.clear()
        for name in ("position", "orientation", "spacing"):
            self.__dict__.pop(name, None)

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
        """Rows and columns of each plane, shape (n, 2)."""
        if self.own.matrix is not None:
            return self.own.matrix
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
    def by_vendor(self) -> list[tuple[NDArray[np.intp], Frames, Vendor]]:
        """Rows, their frames and vendor, for each vendor that is known, by Manufacturer or else by private creators."""
        makers = [m[0].strip() if m else "" for m in self.strings("Manufacturer")]
        names = list(zip(self.file.tolist(), makers, strict=True))
        creators = self.scan.creators({k for k, maker in names if not maker})
        known = {name: vendor_of(name[1], creators.get(name[0], ())) for name in set(names)}
        out: list[tuple[NDArray[np.intp], Frames, Vendor]] = []
        for vendor in vendors():
            rows = np.array([k for k, name in enumerate(names) if known[name] is vendor], dtype=np.intp)
            if len(rows):
                out.append((rows, self.take(rows), vendor))
        return out

    @cached_property
    def diffusion(self) -> Diffusion:
        """b-values and directions: the manufacturer's elements, then the standard's (PS3.3 C.8.13.5.9)."""
        out = Diffusion.empty(len(self))
        for rows, part, vendor in self.by_vendor:
            own = vendor.diffusion(part)
            out.b_value[rows], out.vector[rows], out.directionality[rows] = own.b_value, own.vector, own.directionality
        out.fill(_standard_diffusion(self))
        return out.finish()

    @cached_property
    def component(self) -> list[str]:
        """Magnitude, phase, real or imaginary (M, P, R, I), or the vendor's word for another kind of image."""
        words = [""] * len(self)
        for rows, part, vendor in self.by_vendor:
            for k, word in zip(rows.tolist(), vendor.component(part), strict=True):
                words[k] = word
        for k, standard in enumerate(self.strings("ComplexImageComponent")):
            # an instance of MIXED components says of no plane which one it is
            if standard and (standard[0] != "MIXED" or not words[k]):
                words[k] = _COMPONENTS.get(standard[0], standard[0])
        return words

    @cached_property
    def asl_context(self) -> NDArray[np.float64]:
        """Code of spin labelling, as in `imagedata_xr.model.orders.ASL_CONTEXT`; NaN where nothing is said."""
        out = np.full(len(self), np.nan)
        for key in (LABEL_TYPE, "ASLContext"):
            for k, word in enumerate(self.strings(key)):
                if word and word[0].strip() in ASL_CONTEXT:
                    out[k] = ASL_CONTEXT.index(word[0].strip())
        return out

    @cached_property
    def clocks(self) -> list[Clock]:
        """Clocks that the frames have, each complete, the most trustworthy first."""
        from ..sorting.clock import find_clocks

        return find_clocks(self)

    @cached_property
    def vendor_clock(self) -> NDArray[np.float64]:
        """The vendor's own timer, s; NaN without one."""
        out = np.full(len(self), np.nan)
        for rows, part, vendor in self.by_vendor:
            out[rows] = vendor.clock(part)
        return out


def is_element(key: Name) -> bool:
    """Whether a name is that of an element; planes may have columns of other names."""
    return not isinstance(key, str) or tag_for_keyword(key) is not None


def _width(values: NDArray[np.float64]) -> int:
    return 1 if values.ndim == 1 else values.shape[1]


def _nothing(n: int, width: int) -> NDArray[np.float64]:
    return np.full(n if width == 1 else (n, width), np.nan)


def _fit(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Columns of another width: the first ones, NaN for what is missing."""
    table = values.reshape(len(values), -1)
    out = np.full((len(values), width), np.nan)
    some = min(width, table.shape[1])
    out[:, :some] = table[:, :some]
    return out[:, 0] if width == 1 else out


def _standard_diffusion(frames: Frames) -> Diffusion:
    out = Diffusion(
        frames.numbers("DiffusionBValue"),
        frames.numbers("DiffusionGradientOrientation", 3),
        np.full(len(frames), np.nan),
    )
    codes = {"NONE": 0.0, "DIRECTIONAL": 1.0, "BMATRIX": 2.0, "ISOTROPIC": 3.0}
    for k, word in enumerate(frames.strings("DiffusionDirectionality")):
        if word:
            out.directionality[k] = codes.get(word[0], np.nan)
    return out

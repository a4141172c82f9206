"""Instances as frames: one row per image plane, so that sorting never knows where a plane came from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword

from ...model.identity import instance_digests
from ...model.orders import ASL_CONTEXT
from ..scanning.coded import Coded
from ..scanning.scan import Scan
from ..vendors import Diffusion, Vendor, vendor_of, vendors
from ..vendors.philips import LABEL_TYPE

if TYPE_CHECKING:
    from ..sorting.clock import Clock

_COMPONENTS = {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}
"""Complex Image Component (0008,9208), PS3.3 C.8.13.3.1; other words stand for themselves."""
_LETTERS = frozenset(_COMPONENTS.values())


SLICE_TIME, FRAME_TIME = "slice time", "frame time"
"""Columns of the start of a plane, s: within its instance's volume; since the first frame of its instance."""
NOWHERE = "nowhere"
"""Column of planes, 1 for each, that have no place in the patient although their instance has a position."""

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
        Row and column of the stored matrix where a tile begins, -1 for a plane that is no tile; None without tiles.
    matrix : ndarray, shape (n, 2), optional
        Rows and columns of each plane; None where it is the whole stored matrix.
    """

    numbers: dict[Name, NDArray[np.float64]] = field(default_factory=dict)
    texts: dict[Name, list[str]] = field(default_factory=dict)
    corner: NDArray[np.intp] | None = None
    matrix: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.intp]) -> Own:
        """Return that of some of the planes: without the columns in which only others say something."""
        numbers = {k: v[rows] for k, v in self.numbers.items()}
        chosen = rows.tolist()
        texts = {k: [v[r] for r in chosen] for k, v in self.texts.items()}
        tiled = self.corner is not None and self.matrix is not None and bool((self.corner[rows] >= 0).any())
        return Own(
            {k: v for k, v in numbers.items() if not np.isnan(v).all()},
            {k: v for k, v in texts.items() if any(v)},
            self.corner[rows] if tiled and self.corner is not None else None,
            self.matrix[rows] if tiled and self.matrix is not None else None,
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
    _words: dict[Name, Coded[tuple[str, ...] | None]] = field(default_factory=dict, init=False, repr=False)
    _texts: dict[Name, Coded[str]] = field(default_factory=dict, init=False, repr=False)

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

    def words(self, keyword: Name) -> Coded[tuple[str, ...] | None]:
        """Return the distinct texts of an element, decoded (None for absent), and which of them each plane has."""
        if keyword not in self._words:
            column = self.scan.words(keyword)
            out = column if self._one_each else column.take(self.file)
            if own := self.own.texts.get(keyword):
                words = {text: tuple(text.split("\\")) for text in set(own)}
                out = Coded.of(words[t] if t else row for t, row in zip(own, out.rows(), strict=True))
            self._words[keyword] = out
        return self._words[keyword]

    def strings(self, keyword: Name) -> list[tuple[str, ...] | None]:
        """Return an element as decoded texts; None where absent."""
        return self.words(keyword).rows()

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
        return self.coded_text(keyword).rows()

    def coded_text(self, keyword: Name) -> Coded[str]:
        """Return the distinct values of `text`, and which of them each plane has."""
        if keyword not in self._texts:
            self._texts[keyword] = self.words(keyword).map(lambda v: "\\".join(v) if v else "")
        return self._texts[keyword]

    def forget(self) -> None:
        """Forget what was decoded, after `own` was changed."""
        self._numbers.clear()
        self._words.clear()
        self._texts.clear()
        for name in ("position", "orientation", "spacing"):
            self.__dict__.pop(name, None)

    # --- geometry ------------------------------------------------------------------------------------------------
    @cached_property
    def position(self) -> NDArray[np.float64]:
        """Image Position (Patient), shape (n, 3), mm."""
        return self._somewhere(self.numbers("ImagePositionPatient", 3))

    @cached_property
    def orientation(self) -> NDArray[np.float64]:
        """Image Orientation (Patient), shape (n, 6)."""
        return self._somewhere(self.numbers("ImageOrientationPatient", 6))

    def _somewhere(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        nowhere = self.own.numbers.get(NOWHERE)
        if nowhere is not None:
            values[nowhere == 1] = np.nan
        return values

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
        uids, numbers = self.text("SOPInstanceUID"), self.number.tolist()
        out = instance_digests(uids, numbers)
        out[self.coded_text("SOPInstanceUID").map(lambda uid: not uid).array(bool)] = 0
        if len(set(zip(uids, numbers, strict=True))) < len(uids):
            count = Counter(zip(uids, numbers, strict=True))
            out[[count[plane] > 1 for plane in zip(uids, numbers, strict=True)]] = 0
        return out

    @cached_property
    def by_vendor(self) -> list[tuple[NDArray[np.intp], Frames, Vendor]]:
        """Rows, their frames and vendor, for each vendor that is known, by Manufacturer or else by private creators."""
        number: dict[Vendor | None, int] = {vendor: k for k, vendor in enumerate(vendors())}
        makers = self.words("Manufacturer").map(lambda m: m[0].strip() if m else "")
        which = makers.map(lambda maker: number.get(vendor_of(maker) if maker else None, -1)).array(np.intp)
        unnamed = np.flatnonzero(makers.map(lambda maker: not maker).array(bool))
        creators = self.scan.creators(set(self.file[unnamed].tolist()))
        for k in unnamed.tolist():
            which[k] = number.get(vendor_of("", creators[int(self.file[k])]), -1)
        found = np.unique(which[which >= 0]).tolist()
        parts = [(np.flatnonzero(which == k).astype(np.intp), vendors()[k]) for k in found]
        return [(rows, self.take(rows), vendor) for rows, vendor in parts]

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
        said = self.words("ComplexImageComponent")
        for k, standard in enumerate(said.rows() if any(said.values) else ()):
            # an instance of MIXED components says of no plane which one it is
            if standard and (standard[0] != "MIXED" or not words[k]):
                kind = [word for word in words[k].split() if word not in _LETTERS]  # besides, as the echo of a run
                words[k] = " ".join([_COMPONENTS.get(standard[0], standard[0]), *kind])
        return words

    @cached_property
    def asl_context(self) -> NDArray[np.float64]:
        """Code of spin labelling, as in `imagedata_xr.model.orders.ASL_CONTEXT`; NaN where nothing is said."""
        out = np.full(len(self), np.nan)
        codes = {context: float(code) for code, context in enumerate(ASL_CONTEXT)}
        for key in (LABEL_TYPE, "ASLContext"):
            said = self.words(key).map(lambda w: codes.get(w[0].strip(), np.nan) if w else np.nan).array(np.float64)
            out = np.where(np.isnan(said), out, said)
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
    codes = {"NONE": 0.0, "DIRECTIONAL": 1.0, "BMATRIX": 2.0, "ISOTROPIC": 3.0}
    said = frames.words("DiffusionDirectionality").map(lambda word: codes.get(word[0], np.nan) if word else np.nan)
    return Diffusion(
        frames.numbers("DiffusionBValue"),
        frames.numbers("DiffusionGradientOrientation", 3),
        said.array(np.float64),
    )

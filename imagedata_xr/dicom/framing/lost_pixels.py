"""Instances of images that have no pixel data, or pixel data without a shape: something of them was lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError, warn
from ...stores.url import file_name
from ..pixels.syntaxes import REFERENCED
from ..scanning.dicomdir import DIRECTORY
from ..scanning.scan import Scan

_OTHERS = frozenset(("Segmentation Storage", "Parametric Map Storage", "Enhanced US Volume Storage"))
"""Classes that hold pixels and are not called images."""
_NO_IMAGES = ("1.3.12.2.1107.5.9.1", "1.3.46.670589.")
"""Private classes: Siemens' CSA Non-Image, and raw data, spectra and states of Philips, which may have rows as well."""


def tell_of_lost_pixels(scan: Scan, errors: str) -> None:
    """Say which instances are images by their class or their rows and columns, and yet have no pixel data.

    A file that was cut between two elements looks whole, and pixel data are taken out by some exports. Either way an
    image is missing that once was there. Those without any class are among them where others of the source are images:
    of them even the beginning of the header may be lost.

    Raises
    ------
    SourceError
        With ``errors="raise"``.

    Warns
    -----
    ImagedataWarning
        How many, and the first of them.
    """
    without = [k for k in np.flatnonzero(scan.pixel_tag == 0).tolist() if scan.syntax[k] not in REFERENCED]
    if not without:
        return
    media, own = scan.strings(0x00020002), scan.strings("SOPClassUID")
    without = [k for k in without if DIRECTORY not in (media[k] or ()) + (own[k] or ())]
    sized = (scan.numbers("Rows") > 0) & (scan.numbers("Columns") > 0)
    some = len(without) < len(scan)
    names = {k: _class_name("".join(own[k] or media[k] or ())) for k in without}
    lost = [k for k in without if _is_image(names[k], bool(sized[k])) or (some and not names[k])]
    if not lost:
        return
    what = " and ".join(sorted({names[k].removesuffix(" Storage") or "images of no class" for k in lost}))
    text = (
        f"{len(lost)} files are images ({what}) without pixel data: they were cut off between two elements, or their "
        f"pixels were taken out. The first is {file_name(scan.files[lost[0]])}"
    )
    if errors == "raise":
        raise SourceError(text + '. errors="warn" leaves them out')
    warn(text + ". They are left out of all images")


def without_shape(scan: Scan) -> dict[int, str]:
    """Rows of the instances whose pixel data have no shape, with the elements that are missing or zero in each."""
    pixels = scan.pixel_tag > 0
    needed: dict[str, NDArray[np.bool_]] = {name: ~(scan.numbers(name) > 0) & pixels for name in ("Rows", "Columns")}
    needed["BitsAllocated"] = ~(scan.numbers("BitsAllocated") > 0) & (scan.pixel_tag == 0x7FE00010)
    bad = np.flatnonzero(np.any(list(needed.values()), axis=0))
    return {k: ", ".join(name for name, lacks in needed.items() if lacks[k]) for k in bad.tolist()}


def _class_name(uid: str) -> str:
    from pydicom.uid import UID

    return str(UID(uid).name) if uid else ""


def _is_image(name: str, sized: bool) -> bool:
    """Whether a class is one of images, by its name, or by rows and columns where it has no name that is known."""
    unknown = name[:1].isdecimal() or not name
    return _holds_pixels(name) or (sized and unknown and not name.startswith(_NO_IMAGES))


def _holds_pixels(name: str) -> bool:
    return " Image Storage" in name or name in _OTHERS

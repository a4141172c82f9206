"""What pixels may show: texts burned into them, and faces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import xarray as xr
from pydicom.datadict import tag_for_keyword

from ...errors import GeometryError, IdentityError, warn
from ...model.image import affine
from ..headers.header import one_of_each
from ..writing.fields import from_attrs
from .policy import Policy

_ON_SCREEN = frozenset(("US", "IVUS", "SC", "XA", "RF", "OT", "ES", "GM", "XC", "OP", "DOC", "SR", "PR"))
"""Modalities whose images often show names: without a word that they do not, they may."""
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_SAVED = frozenset(("SCREEN SAVE", "SCREENSAVE", "SCREEN", "DOSE_INFO", "DOSE INFO", "DOSE REPORT", "PATIENT PROTOCOL"))
_HEAD = ("HEAD", "BRAIN", "SKULL", "FACE", "NEURO", "CRANI", "ORBIT", "SINUS", "MAXILLA")
_SHARP, _WIDE = 2.5, 130.0  # mm: a face can be told from voxels so small in a volume so large
_WAYS = (
    "pixels='keep' (they were looked at), or pixels='blank' with regions=[(first row, end row, first column, end "
    "column)]"
)


def check_pixels(image: xr.DataArray, headers: Any, policy: Policy) -> None:
    """Refuse images whose pixels may show identifiers, and warn of faces.

    Parameters
    ----------
    image : xarray.DataArray
    headers : Headers or None
        Of the source: one header is read of each kind of those that differ in what tells of their pixels.
    policy : Policy

    Raises
    ------
    IdentityError
        Where nothing was said of the pixels (``pixels=None``) of such an image.
    """
    ds = from_attrs(image.attrs)
    if policy.pixels is None and (why := next(filter(None, map(why_shown, [ds, *_unlike(image, headers)])), None)):
        raise IdentityError(f"the pixels may show who the patient is: {why}. Say what to do with {_WAYS}")
    if policy.pixels == "blank":
        _check_regions(image, policy)
    if shows_face(image, ds):
        warn(
            "the images are of a head, finely enough that the face can be made out and recognised: headers are "
            "de-identified, the pixels are not. Remove the face with a program for it (such as mri_deface or "
            "pydeface), where that is needed"
        )


def _unlike(image: xr.DataArray, headers: Any) -> Iterator[pydicom.Dataset]:
    """Headers of the source, one of each kind of those that differ in what tells of their pixels."""
    coord = image.coords.get("instance")
    if headers is None or coord is None or coord.dtype.kind != "i":
        return
    known = [d for d in dict.fromkeys(np.ravel(coord.values).tolist()) if d and headers.has(d)]
    for digest in one_of_each(headers, known, _tells_of_pixels) if known else ():
        yield headers.dataset(digest)


_TELLING = frozenset(filter(None, map(tag_for_keyword, ("BurnedInAnnotation", "ImageType", "SOPClassUID", "Modality"))))


def _tells_of_pixels(tag: int) -> bool:
    return tag in _TELLING or (0x6000 <= tag >> 16 <= 0x60FF and tag & 0xFFFF in (0x0010, 0x0100, 0x0102, 0x3000))


def why_shown(ds: pydicom.Dataset) -> str | None:
    """Say why the pixels of an instance may show identifiers; None where nothing speaks for it."""
    burned = str(ds.get("BurnedInAnnotation") or "").strip().upper()
    if burned == "YES":
        return "Burned In Annotation (0028,0301) is YES"
    kinds = {str(v).strip().upper() for v in _several(ds.get("ImageType"))}
    if saved := sorted(kinds & _SAVED):
        return f"Image Type has {saved[0]}, a picture of a screen"
    if any(0x6000 <= t.group <= 0x60FF and t.element == 0x0010 for t in ds.keys()):  # noqa: SIM118 - iterating decodes
        groups = sorted({t.group for t in ds.keys() if 0x6000 <= t.group <= 0x60FF})  # noqa: SIM118
        if any((g << 16 | 0x3000) not in ds for g in groups):
            return "an overlay (60xx) lies within the pixels"
    if burned == "NO":
        return None
    uid, modality = str(ds.get("SOPClassUID") or ""), str(ds.get("Modality") or "").strip().upper()
    if uid == _SECONDARY or uid.startswith(f"{_SECONDARY}."):
        return "it is a Secondary Capture without Burned In Annotation (0028,0301)"
    if modality in _ON_SCREEN:
        return f"Modality is {modality}, and Burned In Annotation (0028,0301) is absent"
    return None


def _several(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _check_regions(image: xr.DataArray, policy: Policy) -> None:
    rows, columns = image.sizes.get("row", 1), image.sizes.get("col", 1)
    for down, across in policy.regions:
        if down.stop > rows or across.stop > columns:
            raise IdentityError(
                f"the region rows {down.start} to {down.stop}, columns {across.start} to {across.stop} is not within "
                f"the image of {rows} x {columns} pixels"
            )


def shows_face(image: xr.DataArray, ds: pydicom.Dataset) -> bool:
    """Whether an image may show a face: MR, CT or PET of a head, of small voxels over a large volume."""
    if str(ds.get("Modality") or "") not in ("MR", "CT", "PT"):
        return False
    words = " ".join(
        str(ds.get(k) or "")
        for k in ("BodyPartExamined", "ProtocolName", "SeriesDescription", "StudyDescription", "TransmitCoilName")
    ).upper()
    if not any(w in words for w in _HEAD):
        return False
    try:
        step = np.linalg.norm(affine(image)[:3, :3], axis=0)
    except GeometryError:
        return False
    size = step * [image.sizes.get(n, 1) for n in ("slice", "row", "col")]
    return bool((step <= _SHARP).all() and (size >= _WIDE).all())

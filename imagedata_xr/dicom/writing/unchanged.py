"""Whether an image still is what its source instance says, and that instance under new identifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from ..headers.header import Headers
from ..headers.rescale import Rescale
from .charset_out import UTF8, holds
from .fields import put
from .identity_out import Identity
from .labels_out import Labels
from .pixels_out import coding_of, has_floats, invert
from .place_out import Place


def header_differs(
    header: pydicom.Dataset, place: Place, labels: Labels, identity: Identity, v: int, k: int, delay: float = 0.0
) -> str | None:
    """Say how an image differs from its own header, pixels aside; None if it does not.

    Parameters
    ----------
    header : pydicom.Dataset
        Of the source instance, as a classic single-frame one.
    place, labels, identity
        Of the image.
    v, k : int
        Number of the volume and the slice.
    delay : float
        Seconds from the time that the header says to that of the image, which is a tile of a mosaic.
    """
    if not identity.holds(header):
        return "its patient or study is another than that of its source, or not known for certain"
    return place.differs(header, k) or labels.differs(header, v, k, delay)


def stored_of(values: NDArray[Any], header: pydicom.Dataset, stored_values: bool) -> NDArray[Any] | None:
    """Stored integers of values by a source's own rescale; None where there are none.

    Parameters
    ----------
    values : ndarray, shape (rows, cols[, 3])
    header : pydicom.Dataset
    stored_values : bool
        Whether the values are stored integers already.
    """
    if values.ndim == 3 or (stored_values and values.dtype.kind in "iu"):
        return values
    if has_floats(header):
        return values if values.dtype.kind == "f" else None
    if header.get("BitsAllocated") in (32, 64) and not ("RescaleSlope" in header or "DoseGridScaling" in header):
        # integers that floats hold as they are
        return values if values.dtype.kind == "f" and not np.isnan(values).any() else None
    coding = coding_of(header)
    return None if coding is None else invert(values, coding)


def same_pixels(
    values: NDArray[Any], header: pydicom.Dataset, headers: Headers, instance: int, stored_values: bool
) -> bool:
    """Whether values are those of the source instance."""
    stored = stored_of(values, header, stored_values)
    if stored is not None:
        return headers.same_pixels(instance, stored)
    return _same_values(values, header, headers.stored(instance))


def _same_values(values: NDArray[Any], header: pydicom.Dataset, stored: NDArray[Any] | None) -> bool:
    """Whether values are those of stored ones that can't be told from them: by a LUT, of one bit, of 32 bits."""
    if stored is None or stored.shape != values.shape or values.dtype.kind not in "biuf":
        return False
    wanted = Rescale.of(header).values(stored)
    # values were rounded to their type when they were read
    slack = np.finfo(values.dtype).eps * np.abs(wanted) if values.dtype.kind == "f" else 0.0
    return bool((np.abs(values - wanted) <= slack).all())


def renamed(
    ds: pydicom.Dataset,
    sop_uid: str,
    series_uid: str,
    number: int | None,
    description: str | None,
) -> pydicom.Dataset:
    """Give an instance new identifiers, and nothing else that is not asked for.

    Its character set becomes UTF-8 where a description has characters that it does not know: all its texts have to be
    there.
    """
    put(ds, "SOPInstanceUID", sop_uid)
    put(ds, "SeriesInstanceUID", series_uid)
    if number is not None:
        put(ds, "SeriesNumber", number)
    if description is not None:
        if not holds(ds, description):
            ds.decode()
            ds.SpecificCharacterSet = UTF8
        put(ds, "SeriesDescription", description)
    return ds


def with_pixels(header: pydicom.Dataset, stored: NDArray[Any]) -> pydicom.Dataset:
    """Header with its stored integers as native pixel data, for an instance whose file is gone (Explicit VR LE)."""
    bits = int(header.BitsAllocated)
    kind = "i" if header.get("PixelRepresentation") and stored.ndim == 2 else "u"
    if stored.dtype.kind == "f":
        tag = "FloatPixelData" if bits == 32 else "DoubleFloatPixelData"
        header.add_new(tag, "OF" if bits == 32 else "OD", np.ascontiguousarray(stored, f"<f{bits // 8}").tobytes())
        return _native(header)
    data = np.ascontiguousarray(stored.astype(np.dtype(f"<{kind}{bits // 8}"))).tobytes()
    if stored.ndim == 3:
        header.PlanarConfiguration = 0
        header.PhotometricInterpretation = "RGB"
    header.add_new("PixelData", "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))
    return _native(header)


def _native(header: pydicom.Dataset) -> pydicom.Dataset:
    if not hasattr(header, "file_meta"):
        header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return header

"""Pixels that have to be decoded: compressed, big endian, deflated, of single bits, or of another colour space."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from ..stores.url import File, file_name

_PACKAGES = {
    "1.2.840.10008.1.2.4.80": "pyjpegls or python-gdcm",
    "1.2.840.10008.1.2.4.81": "pyjpegls or python-gdcm",
    "1.2.840.10008.1.2.4.90": "pylibjpeg-openjpeg or python-gdcm",
    "1.2.840.10008.1.2.4.91": "pylibjpeg-openjpeg or python-gdcm",
    "1.2.840.10008.1.2.4.201": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg-openjpeg",
}
"""Packages with which pydicom decodes a transfer syntax; python-gdcm for the others."""


def decode_frame(file: File, number: int, grey: bool) -> NDArray[Any]:
    """Stored values of one frame, through pydicom.

    Parameters
    ----------
    file : File
    number : int
        Of the frame, from 1.
    grey : bool
        Whether there is one sample per pixel; colour is converted to RGB.

    Returns
    -------
    ndarray, shape (rows, cols[, 3])

    Raises
    ------
    SourceError
        Where it can't be decoded, with the reason; packages that could are named.
    """
    import pydicom
    from pydicom.pixels.utils import pixel_array

    try:
        with file.fs.open(file.path, "rb") as stream:
            ds = pydicom.dcmread(stream, force=True)
        _require_decoder(file, ds)
        return np.asarray(pixel_array(ds, index=number - 1, raw=grey))
    except SourceError:
        raise
    except (
        ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError, RuntimeError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        raise SourceError(f"{file_name(file)}: frame {number} can't be decoded: {error}") from error


def _require_decoder(file: File, ds: Any) -> None:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    syntax = UID(ds.file_meta.TransferSyntaxUID)
    if not syntax.is_encapsulated:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        raise SourceError(
            f"{file_name(file)}: its pixels are compressed as {syntax.name} ({syntax}), which pydicom does not decode"
        ) from None
    if not available:
        raise SourceError(
            f"{file_name(file)}: its pixels are compressed as {syntax.name}, and no decoder for it is installed; "
            f"install {_PACKAGES.get(syntax, 'python-gdcm')}"
        )

"""Reading by pydicom of the headers that the walk calls odd: big endian, deflated, unusual or partly broken files."""

from __future__ import annotations

import functools
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from ...stores.url import File, read_available
from .trouble import DamagedError
from .vr import (
    ANY_VR,
    CSA_HEADER,
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    LONG,
    LONG_VR,
    PIXEL_TAGS,
    SIEMENS_B_VALUE,
    SIEMENS_TILES,
    TEXT_VR,
    TRANSFER_SYNTAX,
    UNDEFINED,
    WANTED_PRIVATE,
    Key,
    Raw,
    needs_csa,
    private_vr,
    public_vr,
    swap,
)
from .walk import Walked

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

_CSA_REASONS: tuple[Key, Key, Key, Key] = (0x00080008, 0x00180024, SIEMENS_TILES, SIEMENS_B_VALUE)


@functools.cache
def _garbage() -> tuple[type[Exception], ...]:
    """List what pydicom has been seen to raise on damaged bytes."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        BytesLengthException, InvalidDicomError, ArithmeticError, AttributeError, EOFError, LookupError,
        NotImplementedError, OSError, RecursionError, TypeError, UserWarning, ValueError, struct.error, zlib.error,
    )  # fmt: skip


class Header:
    """A file as pydicom wants it, that reads only what is asked for and never asks for more than there is."""

    name = "header"

    def __init__(self, file: File, buf: bytes, size: int) -> None:
        self.file, self.buf, self.size, self.pos = file, buf, size, 0
        self.failure: OSError | None = None
        """Why the store gave no more bytes, which pydicom would report as something else."""

    def read(self, n: int = -1) -> bytes:
        """Read up to `n` bytes, or all that is left."""
        stop = self.size if n < 0 else min(self.size, self.pos + n)
        if stop > len(self.buf):
            self.extend(stop)
            stop = min(stop, len(self.buf))
        data = self.buf[self.pos : stop]
        self.pos = max(self.pos, stop)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position."""
        self.pos = max(0, offset + (0, self.pos, self.size)[whence])
        return self.pos

    def tell(self) -> int:
        """Give the position."""
        return self.pos

    def extend(self, upto: int) -> None:
        """Read on from the file, at least as much as there is already."""
        stop = min(self.size, max(upto, 2 * len(self.buf)))
        more = read_available([self.file], [len(self.buf)], [stop - len(self.buf)])[0]
        if isinstance(more, OSError):
            self.failure = more
            raise more
        self.buf += more


def reread(file: File, buf: bytes, size: int) -> Walked:
    """Read a header with pydicom and give it the form of a walk.

    Parameters
    ----------
    file, buf, size
        The file, its first bytes and its length in bytes.

    Returns
    -------
    Walked
        Values are little endian. `pixel_offset` is -1 for a deflated data set, whose bytes have no place in the file.

    Raises
    ------
    DamagedError
        pydicom refuses the file too, or values in it are cut short.
    OSError
        The store does not give the bytes.
    """
    from pydicom.filereader import read_partial

    header = Header(file, buf, size)
    stopped: list[tuple[int, str | None, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXEL_TAGS:
            stopped.append((int(tag), vr, length))
        return tag in PIXEL_TAGS

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # pydicom only warns when a sequence ends with the file
            warnings.filterwarnings("error", message=r".* in file header", category=UserWarning)
            ds = read_partial(cast(BinaryIO, header), stop_when=at_pixels, force=True)
    except _garbage() as error:
        if header.failure:
            raise header.failure from None
        raise DamagedError(_why(error)) from error
    result = _converted(ds)
    result.empty = not len(ds)
    result.end = header.tell()
    if stopped:
        _place_pixels(result, *stopped[-1], deflated=result.syntax == DEFLATED_LE)
    elif result.syntax != DEFLATED_LE and header.pos < size:
        raise DamagedError(f"reading stopped at byte {header.pos} of {size}")
    return result


def _why(error: Exception) -> str:
    """Tell what went wrong without pydicom's text, which may quote values of the patient."""
    if isinstance(error, zlib.error):
        return "its deflated data set can't be inflated"
    if isinstance(error, EOFError | UserWarning):
        return "it is truncated: the file ends inside a sequence"
    return f"its elements can't be parsed ({type(error).__name__})"


def _place_pixels(result: Walked, tag: int, vr: str | None, length: int, deflated: bool) -> None:
    """Note the pixel data before whose header pydicom stopped."""
    result.pixel_tag = tag
    result.pixel_length = -1 if length == UNDEFINED else length
    if not deflated:
        result.pixel_offset = result.end + (12 if vr is not None and vr.encode() in LONG_VR else 8)
        result.end = result.pixel_offset


def _converted(ds: Dataset) -> Walked:
    """Give a data set's undecoded elements the form of a walk."""
    implicit, little = (bool(one) for one in ds.original_encoding)
    result = Walked(implicit=implicit)
    found: dict[Key, Raw] = {}
    meta: Dataset | None = getattr(ds, "file_meta", None)
    for tag, elem in _elements(meta) if meta else ():
        found[tag] = _raw(elem, public_vr(tag), cast("Dataset", meta), implicit=False, little=True)
    stated = found.get(TRANSFER_SYNTAX, ("UI", b""))[1].rstrip(b"\0 ").decode("latin-1")
    result.syntax = stated or (IMPLICIT_LE if implicit else EXPLICIT_LE if little else EXPLICIT_BE)
    creators: dict[tuple[int, int], str] = {}
    for tag, elem in _elements(ds):
        if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            value = _raw(elem, "LO", ds, implicit, little)[1]
            creators[tag >> 16, tag & 0xFFFF] = value.strip(b"\0 ").decode("latin-1")
            continue
        key, vr = _wanted(tag, creators, found)
        if key is not None:
            found[key] = raw = _raw(elem, vr, ds, implicit, little)
            if len(raw[1]) > LONG and key != CSA_HEADER and raw[0] not in TEXT_VR:
                result.offsets[swap(key) if isinstance(key, int) else key] = -1
    result.found = {swap(key) if isinstance(key, int) else key: raw for key, raw in found.items()}
    return result


def _elements(ds: Dataset) -> list[tuple[int, RawDataElement | DataElement]]:
    """List the elements by ascending tag, undecoded where pydicom has left them so."""
    return sorted((int(tag), elem) for tag, elem in ds.items())


def _wanted(tag: int, creators: dict[tuple[int, int], str], found: dict[Key, Raw]) -> tuple[Key | None, str]:
    """Tell under which key a tag is kept, None if it is not, and the VR that the dictionary knows for it."""
    group, element = tag >> 16, tag & 0xFFFF
    if not group & 1:
        vr = public_vr(tag)
        if vr.startswith("US or SS"):
            vr = "SS" if found.get(0x00280103, ("US", b""))[1] == b"\1\0" else "US"
        return tag, vr
    creator = creators.get((group, element >> 8), "")
    key = (creator, group, element & 0xFF)
    if key[2] not in WANTED_PRIVATE.get((creator, group), ()):
        return None, "UN"
    if creator == CSA_HEADER[0] and not needs_csa(*(found.get(key) for key in _CSA_REASONS)):
        return None, "UN"
    return key, private_vr(key)


def _raw(elem: RawDataElement | DataElement, vr: str, ds: Dataset, implicit: bool, little: bool) -> Raw:
    """Give one element's VR and its bytes in little endian."""
    if not elem.is_raw:
        return str(elem.VR), _encoded(elem.tag, ds, implicit, little)
    value = cast("bytes | None", elem.value) or b""
    if _is_short(elem):
        raise DamagedError("it is truncated: a value is cut short")
    if elem.VR and elem.VR.encode() not in ANY_VR:
        if not little:
            raise DamagedError(f"the byte order of an element of unknown VR {elem.VR!r} can't be told")
        return "UN", value
    vr = elem.VR or vr
    if little or not value:
        return vr, value
    return vr, _encoded(elem.tag, ds, implicit, little) if vr == "SQ" else _swapped(vr, value)


def _is_short(elem: RawDataElement | DataElement) -> bool:
    length = cast("RawDataElement", elem).length
    return length != UNDEFINED and len(cast("bytes | None", elem.value) or b"") != length


def _encoded(tag: int, ds: Dataset, implicit: bool, little: bool) -> bytes:
    """Encode in little endian the value of an element that pydicom has to decode or has decoded already."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_data_element

    fp = DicomBytesIO()
    fp.is_little_endian, fp.is_implicit_VR = True, implicit
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            elem = ds[tag]
            if elem.VR == "SQ":
                elem.is_undefined_length = False
                for item in elem.value:
                    if not _copyable(item, implicit, little):
                        for _ in item.iterall():  # decodes what can't be copied as it is
                            pass
            write_data_element(fp, elem, ds.get("SpecificCharacterSet") or "iso8859")
    except _garbage() as error:
        raise DamagedError(_why(error)) from error
    return bytes(fp.getvalue())[8 if implicit or elem.VR not in LONG_VR.values() else 12 :]


def _copyable(item: Dataset, implicit: bool, little: bool) -> bool:
    """Tell whether an item's values may be copied undecoded; refuse values that are cut short."""
    fit = little
    for _, elem in _elements(item):
        if elem.is_raw:
            if _is_short(elem):
                raise EOFError("a value in a sequence is cut short")
            fit = fit and (implicit or elem.VR is not None)
        elif elem.VR == "SQ":
            for inner in cast("DataElement", elem).value:
                fit = _copyable(inner, implicit, little) and fit
    return fit


_WIDTH = dict.fromkeys(("US", "SS", "OW", "AT"), 2) | dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), 4)
_WIDTH |= dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8)


def _swapped(vr: str, value: bytes) -> bytes:
    """Turn a big endian value to little endian (PS3.5 section 7.3); text and OB have no byte order."""
    width = _WIDTH.get(vr, 1)
    if len(value) % width:
        raise DamagedError(f"an element of VR {vr} has {len(value)} bytes")
    return b"".join(value[i : i + width][::-1] for i in range(0, len(value), width)) if width > 1 else value

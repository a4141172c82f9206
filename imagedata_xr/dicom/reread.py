"""Reading by pydicom of the headers that the walk calls odd: big endian, deflated, unusual or partly broken files."""

from __future__ import annotations

import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..stores.url import File, read_available
from .vr import (
    CSA_HEADER,
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    LONG,
    LONG_VR,
    PIXEL_TAGS,
    TEXT_VR,
    TRANSFER_SYNTAX,
    UNDEFINED,
    WANTED_PRIVATE,
    Key,
    Raw,
    private_vr,
    public_vr,
    swap,
)
from .walk import Walked

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

GARBAGE: tuple[type[Exception], ...] = (
    # what pydicom has been seen to raise on damaged bytes; InvalidDicomError and BytesLengthException are among their
    # children
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    UserWarning,
    ValueError,
    struct.error,
    zlib.error,
)


class DamagedError(Exception):
    """A file is DICOM, but its header can't be read without guessing."""


class Header:
    """A file as pydicom wants it, that reads only what is asked for and never asks for more than there is."""

    name = "header"

    def __init__(self, file: File, buf: bytes, size: int) -> None:
        self.file, self.buf, self.size, self.pos = file, buf, size, 0

    def read(self, n: int = -1) -> bytes:
        """Read up to `n` bytes, or all that is left."""
        stop = self.size if n < 0 else min(self.size, self.pos + n)
        if stop > len(self.buf):
            self.buf = fetch(self.file, self.buf, stop, self.size)
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


def fetch(file: File, buf: bytes, upto: int, size: int) -> bytes:
    """Extend the first bytes of a file so that they reach `upto`, or the file's end, at least doubling them."""
    stop = min(size, max(upto, 2 * len(buf)))
    more = read_available([file], [len(buf)], [stop - len(buf)])[0]
    if isinstance(more, OSError):
        raise more
    return buf + more


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
    except GARBAGE as error:
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
    implicit, little = ds.original_encoding
    meta: Dataset | None = getattr(ds, "file_meta", None)
    result = Walked(implicit=bool(implicit))
    if meta:
        result.found |= {tag: _raw(meta, tag, public_vr(tag), implicit=False, little=True) for tag in _tags(meta)}
    stated = result.found.get(TRANSFER_SYNTAX, ("UI", b""))[1].rstrip(b"\0 ").decode("ascii", "replace")
    result.syntax = stated or (IMPLICIT_LE if implicit else EXPLICIT_LE if little else EXPLICIT_BE)
    creators: dict[tuple[int, int], str] = {}
    for tag in _tags(ds):
        key, vr = _wanted(ds, tag, creators, result.found)
        if key is not None:
            result.found[key] = _raw(ds, tag, vr, implicit=bool(implicit), little=bool(little))
            if len(result.found[key][1]) > LONG and key != CSA_HEADER and result.found[key][0] not in TEXT_VR:
                result.offsets[key] = -1
    result.found = {swap(key) if isinstance(key, int) else key: raw for key, raw in result.found.items()}
    result.offsets = {swap(key) if isinstance(key, int) else key: at for key, at in result.offsets.items()}
    return result


def _tags(ds: Dataset) -> list[int]:
    """List the tags, ascending; iterating over a data set would decode it."""
    return sorted(int(tag) for tag in ds.keys())  # noqa: SIM118


def _wanted(
    ds: Dataset, tag: int, creators: dict[tuple[int, int], str], found: dict[Key, Raw]
) -> tuple[Key | None, str]:
    """Tell under which key a tag is kept, None if it is not, and the VR that the dictionary knows for it."""
    group, element = tag >> 16, tag & 0xFFFF
    if not group & 1:
        vr = public_vr(tag)
        if vr.startswith("US or SS"):
            vr = "SS" if found.get(0x00280103, ("US", b""))[1] == b"\1\0" else "US"
        return tag, vr
    if 0x10 <= element <= 0xFF:
        value = _raw(ds, tag, "LO", implicit=False, little=True)[1]
        creators[group, element] = value.strip(b"\0 ").decode("latin-1")
        return None, "LO"
    creator = creators.get((group, element >> 8), "")
    key = (creator, group, element & 0xFF)
    if key[2] not in WANTED_PRIVATE.get((creator, group), ()):
        return None, "UN"
    if key == CSA_HEADER and b"MOSAIC" not in found.get(0x00080008, ("CS", b""))[1]:
        return None, "UN"
    return key, private_vr(key)


def _raw(ds: Dataset, tag: int, vr: str, implicit: bool, little: bool) -> Raw:
    """Give one element's VR and its bytes in little endian."""
    elem = cast("RawDataElement | DataElement", ds.get_item(tag))
    if not elem.is_raw:
        return str(elem.VR), _encoded(ds, tag, implicit, little)
    value = cast("bytes | None", elem.value) or b""
    vr = elem.VR or vr
    if _is_short(elem):
        raise DamagedError("it is truncated: a value is cut short")
    if little or not value:
        return vr, value
    return vr, _encoded(ds, tag, implicit, little) if vr == "SQ" else _swapped(vr, value)


def _is_short(elem: RawDataElement | DataElement) -> bool:
    length = cast("RawDataElement", elem).length
    return length != UNDEFINED and len(cast("bytes | None", elem.value) or b"") != length


def _encoded(ds: Dataset, tag: int, implicit: bool, little: bool) -> bytes:
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
    except GARBAGE as error:
        raise DamagedError(_why(error)) from error
    return bytes(fp.getvalue())[8 if implicit or elem.VR not in LONG_VR.values() else 12 :]


def _copyable(item: Dataset, implicit: bool, little: bool) -> bool:
    """Tell whether an item's values may be copied undecoded; refuse values that are cut short."""
    fit = little
    for tag in _tags(item):
        elem = cast("RawDataElement | DataElement", item.get_item(tag))
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
        raise ValueError(f"{len(value)} bytes are no {vr}")
    return b"".join(value[i : i + width][::-1] for i in range(0, len(value), width)) if width > 1 else value

"""Headers from ``/metadata`` (PS3.18 section 10.4.1.1.2): made into DICOM, and compared with headers as stored."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, NamedTuple

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from ...errors import SourceError
from .multipart import boundary_of, parts
from .query import Series
from .retrieve import file_head
from .web_client import Client
from .web_frames import parts_of

DEFAULT = "open it without lazy=True: whole images are always right"
AT_ONCE = 8
"""Requests that go side by side."""
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BULK = 'multipart/related; type="application/octet-stream"'
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LARGEST = 1 << 28
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_AWAY = (*_PIXELS, 0x00020000, 0x7FE00001, 0x7FE00002)
_BESIDE = (0x0400, 0x50, 0x60, 0x7FE0, 0xFFFA, 0xFFFC)
"""Groups (of repeating ones the first byte) that say nothing of where or what an image is."""
_ICON = 0x00880200
_SINGLE, _DOUBLE = 2.0**-23, 1e-12
"""How much a number may differ from its text, relatively: by what float32 holds, and float64."""

Elements = dict[str, dict[str, Any]]


class Stored(NamedTuple):
    """Header of an image as it is stored: all bytes before its pixel data."""

    head: bytes
    pixel_tag: int
    dataset: pydicom.Dataset

    @property
    def syntax(self) -> str:
        """Transfer Syntax UID."""
        return str(self.dataset.file_meta.TransferSyntaxUID)


# --- as stored --------------------------------------------------------------------------------------------------------


def stored_header(client: Client, place: str) -> Stored:
    """Fetch an image until its pixel data begin; then the connection is closed.

    Raises
    ------
    SourceError
        The service does not give it, or it is no DICOM file that has a header by itself.
    """
    import requests

    with client.request("GET", place, headers={"Accept": _ACCEPT}) as answer:
        boundary = boundary_of(answer.headers.get("Content-Type", ""))
        data, enough = bytearray(), 1 << 16
        try:
            for part in parts(answer.iter_content(1 << 16), boundary):
                for piece in part:
                    data += piece
                    if len(data) >= enough:
                        if (found := _header_in(bytes(data), False)) is not None:
                            return found
                        enough = 2 * len(data)
                    if len(data) > _LARGEST:
                        raise SourceError(f"{client.address.server}: the header of an image has no end")
                break
        except requests.exceptions.RequestException:
            raise SourceError(f"{client.address.server}: the connection was cut within an image") from None
    found = _header_in(bytes(data), True)
    if found is None:
        raise SourceError(f"{client.address.server}: what the service sends is no DICOM file")
    return found


def _header_in(data: bytes, whole: bool) -> Stored | None:
    """Header that the first bytes of a file hold; None where they end before it does."""
    from ...dicom.headers.whole_file import trouble

    stopped: list[int] = []

    def stop(tag: Any, vr: str | None, length: int) -> bool:
        if tag in _PIXELS:
            stopped.append(int(tag))
        return bool(stopped)

    stream = BytesIO(data)
    try:
        ds = pydicom.filereader.read_partial(stream, stop_when=stop)
        if str(ds.file_meta.TransferSyntaxUID) == _DEFLATED:
            raise SourceError(
                f"images of a service are deflated as a whole, and have no frames by themselves: {DEFAULT}"
            )
    except SourceError:
        raise
    except trouble():  # it is cut
        return None
    if not stopped and not whole:
        return None
    return Stored(data[: stream.tell()] if stopped else data, stopped[0] if stopped else 0, ds)


# --- from metadata ----------------------------------------------------------------------------------------------------


def metadata_of(client: Client, series: Series) -> dict[str, Elements]:
    """Elements of each image of a series, by SOP Instance UID; decimal numbers keep their text.

    Raises
    ------
    SourceError
        The service has none.
    """
    path = f"/studies/{series.study}/series/{series.uid}/metadata"
    with client.request("GET", path, headers={"Accept": "application/dicom+json"}) as answer:
        try:
            rows = json.loads(answer.content, parse_float=str)
        except ValueError:
            rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SourceError(f"{client.address.server} gives no metadata as DICOM JSON; {DEFAULT}")
    return {str(((row.get("00080018") or {}).get("Value") or [""])[0]): row for row in rows}


def fill_bulk(client: Client, rows: Iterable[Elements]) -> set[str]:
    """Fetch binary values that reading needs, and leave out those that it does not; returns the tags of these.

    Raises
    ------
    SourceError
        A value that is needed is not given, or is said to be at another server.
    """
    wanted: list[dict[str, Any]] = []
    left: set[str] = set()
    for row in rows:
        _sort_out(row, wanted, left)
    if not wanted:
        return left
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for element, data in zip(wanted, pool.map(lambda e: _bulk(client, e["BulkDataURI"]), wanted), strict=True):
            del element["BulkDataURI"]
            element["InlineBinary"] = b64encode(data).decode("ascii")
    finally:
        pool.shutdown(cancel_futures=True)
    return left


def _sort_out(row: Elements, wanted: list[dict[str, Any]], left: set[str]) -> None:
    for name in list(row):
        element, tag = row[name], int(name, 16)
        if tag in _AWAY or tag < 0x00080000 or not tag & 0xFFFF:
            del row[name]
        elif element.get("vr") == "SQ":
            for item in element.get("Value") or []:
                _sort_out(item, wanted, left)
        elif "BulkDataURI" in element:
            if _needed(row, tag):
                wanted.append(element)
            else:
                left.add(name)
                del row[name]


def _needed(row: Elements, tag: int) -> bool:
    """Whether reading looks at a value: of private ones those that the scan keeps, of public ones all of the image."""
    if not tag >> 16 & 1:
        return not _beside(tag)
    creator = (row.get(f"{tag >> 16:04X}00{tag >> 8 & 0xFF:02X}") or {}).get("Value") or [""]
    return _kept(str(creator[0]), tag)


def _kept(creator: str, tag: int) -> bool:
    from ...dicom.scanning.vr import WANTED_PRIVATE

    return (tag & 0xFF) in WANTED_PRIVATE.get((creator.strip(), tag >> 16), ())


def _beside(tag: int) -> bool:
    group = tag >> 16
    return tag == _ICON or group in _BESIDE or (group >> 8) in _BESIDE


def _bulk(client: Client, uri: Any) -> bytes:
    """Fetch a value from where the service says it is, on the service itself: no other server is told who asks."""
    base = client.address.base
    text = str(uri)
    tail = text[len(base) :] if text.startswith(f"{base}/") else text[text.rfind("/studies/") :]
    if not tail.startswith("/"):
        raise SourceError(f"{client.address.server} keeps binary values at another place than its images; {DEFAULT}")
    try:
        found = parts_of(client, tail, _BULK)
    except SourceError as error:
        why = str(error).removeprefix(f"{client.address.server}: ")
        raise SourceError(
            f"{client.address.server} does not give a binary value that reading needs ({why}); {DEFAULT}"
        ) from None
    return b"".join(data for _, data in found)


def made(row: Elements, syntax: str) -> tuple[bytes, pydicom.Dataset]:
    """Make a file's head, and a data set, of the elements of an image.

    Raises
    ------
    SourceError
        An element is not as DICOM JSON has it.
    """
    from ...dicom.headers.json_header import header_from

    try:
        ds = header_from({"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}, **_numbers(row)})
        out = pydicom.filebase.DicomBytesIO()
        out.is_little_endian, out.is_implicit_VR = True, False
        pydicom.filewriter.write_dataset(out, ds)
        head = file_head(str(ds.SOPClassUID), str(ds.SOPInstanceUID), syntax)
        return head + out.getvalue(), pydicom.dcmread(BytesIO(head + out.getvalue()))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, LookupError) as error:
        raise SourceError(f"the metadata of an image are no DICOM JSON ({type(error).__name__}); {DEFAULT}") from None


def _numbers(row: Elements) -> Elements:
    """Elements with numbers as their VR has them; JSON has UTF-8, whatever the image had."""
    out: Elements = {}
    for name, element in row.items():
        if name == "00080005":
            continue
        one = dict(element)
        vr, values = one.get("vr"), one.get("Value")
        if vr == "SQ":
            one["Value"] = [_numbers(item) for item in values or []]
        elif values is not None and vr in ("FL", "FD"):
            one["Value"] = [math.nan if v is None else float(v) for v in values]
        elif values is not None and vr in ("US", "SS", "UL", "SL", "UV", "SV"):
            one["Value"] = [int(v) for v in values]
        out[name] = one
    return out


# --- compared ---------------------------------------------------------------------------------------------------------


class Differences(NamedTuple):
    """Elements, by keyword or tag, that metadata lack or have another value of."""

    needed: set[str]
    beside: set[str]
    """Those that reading does not look at."""


def compared(stored: pydicom.Dataset, said: pydicom.Dataset) -> Differences:
    """Compare a header as stored with what the metadata say of it.

    Numbers may differ by what float32 holds, since JSON need not have the text of a number; FD by what float64 does.
    """
    out = Differences(set(), set())
    for tag in stored.keys():  # noqa: SIM118  # iterating decodes, which fails for damaged values
        if tag in _AWAY or tag < 0x00080000 or tag == 0x00080005 or not tag.element:
            continue
        try:
            elem = stored[tag]
            other: Any = said.get(tag)
            nested = elem.VR == "SQ" and other is not None and other.VR == "SQ"
            alike = elem.is_empty or nested or (other is not None and _alike(elem, other))
        except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError):
            alike = nested = False
        needed = _kept(elem.private_creator or "", tag) or tag.element < 0x100 if tag.is_private else not _beside(tag)
        if nested and other is not None:
            alike = len(elem.value) == len(other.value)
            for mine, its in zip(elem.value, other.value, strict=False):
                inner = compared(mine, its)
                out.needed.update(inner.needed if needed else ())
                out.beside.update(inner.beside if needed else inner.needed | inner.beside)
        if not alike:
            (out.needed if needed else out.beside).add(name_of(tag))
    return out


def name_of(tag: int) -> str:
    """Keyword of an element, or its tag."""
    return keyword_for_tag(tag) or str(Tag(tag))


def _alike(mine: Any, its: Any) -> bool:
    if isinstance(mine.value, bytes) or isinstance(its.value, bytes):
        return _bytes(mine) == _bytes(its)
    one, two = _listed(mine.value), _listed(its.value)
    if len(one) != len(two):
        return False
    tolerance = _DOUBLE if mine.VR == "FD" else _SINGLE
    return all(_same(a, b, tolerance) for a, b in zip(one, two, strict=True))


def _same(a: Any, b: Any, tolerance: float) -> bool:
    try:
        x, y = float(a), float(b)
    except (TypeError, ValueError):
        return str(a).strip(" \0^=") == str(b).strip(" \0^=")
    return x == y or (math.isnan(x) and math.isnan(y)) or abs(x - y) <= tolerance * abs(x)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _bytes(elem: Any) -> bytes:
    if isinstance(elem.value, bytes):
        return elem.value.rstrip(b"\0 ")
    out = pydicom.filebase.DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, True
    pydicom.filewriter.write_data_element(out, elem)
    return bytes(out.getvalue()[8:]).rstrip(b"\0 ")

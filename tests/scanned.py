"""Scanning headers beside pydicom, for tests."""

from __future__ import annotations

import warnings
from pathlib import Path

from dicom_reference import disagreement, read
from made_dicom import element, encoded, instance, with_meta
from pydicom import uid
from pydicom.data import get_testdata_files

from imagedata_xr.dicom.scanning.scan import Scan, scan
from imagedata_xr.stores.url import find

SHIPPED = sorted(
    path
    for path in map(Path, get_testdata_files())
    if path.is_file() and path.stat().st_size < 3_000_000 and path.suffix not in (".py", ".pyc")
)
"""Files that pydicom brings."""


def scan_quietly(*paths: Path) -> Scan:
    """Scan files, without the warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scan(find(list(paths)))


def assert_as_pydicom(path: Path) -> Scan:
    """Scan the one header of a file, which has to be what pydicom makes of it."""
    got = scan(find(path), errors="raise")
    assert len(got) == 1, "skipped as if it were not DICOM"
    assert disagreement(got, 0, read(path)) == ""
    return got


SYNTAXES = {
    "explicit": uid.ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "big": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg2000": uid.JPEG2000Lossless,
}


# content of damaged files, and what is said of each
DAMAGE: dict[str, tuple[bytes, str]] = {
    "cut pixel data": (encoded(instance())[:-3], "29 of 32 bytes of pixel data"),
    "cut header": (encoded(instance())[:700], "inside the header"),
    "cut element header": (with_meta(element(0x00080060, b"CS", b"MR") + b"\x10\0\x10\0P"), "inside the header"),
    "cut fragment": (encoded(instance(), uid.RLELossless)[:-20], "compressed pixel data has no end"),
    "no delimiter": (encoded(instance(), uid.RLELossless)[:-8], "compressed pixel data has no end"),
    "cut deflated": (encoded(instance(), uid.DeflatedExplicitVRLittleEndian)[:-60], "inflated"),
    "cut big endian": (encoded(instance(), uid.ExplicitVRBigEndian)[:600], "truncated"),
    "nothing after meta": (with_meta(b""), "holds no data set"),
    "no transfer syntax": (with_meta(b"rubbish" * 20, ""), "transfer syntax"),
    "not DICOM by that name": (b"hello", "named as DICOM"),
    "empty by that name": (b"", "named as DICOM"),
}

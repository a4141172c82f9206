"""Which instances of a scan are images that can be read: each once, in an order that does not depend on file names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import SourceError, warn
from ...stores.url import File, file_name, read_range
from ..pixels.syntaxes import REFERENCED
from ..scanning.coded import Coded
from ..scanning.scan import Scan
from .frames import Frames
from .lost_pixels import tell_of_lost_pixels, without_shape
from .planes import planes_of
from .vendor_words import put_in_place

_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"


def frames_of(scan: Scan, errors: str = "warn") -> Frames:
    """Frames of the images of a scan; what can't be read as images is named in a warning and left out.

    Parameters
    ----------
    scan : Scan
        Instances of any kind. Those without pixel data are passed over.
    errors : {"warn", "raise"}
        What is done with an instance whose frames can't be told.

    Returns
    -------
    Frames
        By instance number and UID, so that nothing depends on the names of files; the frames of an instance, and the
        tiles of a mosaic, as they are stored.

    Raises
    ------
    SourceError, FormatError, GeometryError
        With ``errors="raise"``: the frames of an instance can't be told.

    Warns
    -----
    ImagedataWarning
        Of images whose pixel data are missing or have no shape, of images of a kind that is not read, of files that are
        copies of others, and of UIDs that are not unique.
    """
    tell_of_lost_pixels(scan, errors)
    rows = _readable(scan)
    number = np.nan_to_num(scan.numbers("InstanceNumber")[rows], nan=np.inf)
    rows = rows[_in_order(number, scan.words("SOPInstanceUID").take(rows))]
    shaped = _with_shape(_without_copies(scan.take(rows)), errors)
    return put_in_place(_with_their_pixels(planes_of(shaped, errors), errors))


def _in_order(number: NDArray[np.float64], uids: Coded[tuple[str, ...] | None]) -> NDArray[np.intp]:
    """Order by number, and by UID where numbers are equal."""
    order = np.argsort(number, kind="stable")
    if not (number[order][1:] > number[order][:-1]).all():  # no difference: those without a number are infinite
        plain = uids.map(lambda uid: uid[0] if uid else "")
        place = {uid: k for k, uid in enumerate(sorted(set(plain.values)))}
        order = np.lexsort((plain.map(place.__getitem__).array(np.intp), number))
    return order


def _readable(scan: Scan) -> NDArray[np.intp]:
    """Rows of the instances that hold images."""
    # images whose pixels are elsewhere are no objects without pixels: they are refused by name
    pixels = (scan.pixel_tag > 0) | scan.syntaxes.map(lambda syntax: syntax in REFERENCED).array(bool)
    organized = scan.words("DimensionOrganizationType")
    tiled = organized.map(lambda words: "".join(words or ()).startswith("TILED")).array(bool)
    slides = scan.words("SOPClassUID").map(lambda uid: _WSI in (uid or ())).array(bool)
    # PS3.3 C.7.6.17.3: the frames of an instance with a total pixel matrix are its tiles
    matrix = (scan.numbers("TotalPixelMatrixRows") > 0) & (scan.numbers("NumberOfFrames") > 1)
    slides = (slides | tiled | matrix) & pixels & ~_of_one_tile(scan)
    if slides.any():
        name = file_name(scan.files[int(np.flatnonzero(slides)[0])])
        warn(
            f"{int(slides.sum())} whole-slide microscopy or tiled images are left out, the first is {name}: their "
            "frames are tiles of larger pictures, which are not put together here. Libraries for slides do so, such as "
            "wsidicom, highdicom or openslide"
        )
    return np.flatnonzero(pixels & ~slides).astype(np.intp)


def _of_one_tile(scan: Scan) -> NDArray[np.bool_]:
    """Which instances have a total pixel matrix that is their only frame, as labels and overviews of slides do."""
    one = np.fmax(scan.numbers("NumberOfFrames"), 1) == 1
    for whole, frame in (("TotalPixelMatrixRows", "Rows"), ("TotalPixelMatrixColumns", "Columns")):
        one = one & (scan.numbers(whole) == scan.numbers(frame))
    return np.asarray(one, dtype=np.bool_)


def _with_shape(scan: Scan, errors: str) -> Scan:
    """Leave out instances whose pixel data have no shape."""
    bad = without_shape(scan)
    if not bad:
        return scan
    k, missing = next(iter(bad.items()))
    text = f"their pixels have no shape: {file_name(scan.files[k])} has pixel data, but no {missing}"
    if errors == "raise":
        raise SourceError(f"{len(bad)} images can't be read, {text}")
    warn(f"{len(bad)} images are damaged and left out, {text}")
    return scan.take(np.setdiff1d(np.arange(len(scan)), list(bad)))


def _with_their_pixels(frames: Frames, errors: str) -> Frames:
    """Leave out instances whose native pixel data are not their frames: too short, or of another kind of colour.

    Pixel data that are longer by a frame or more are named, since frames may be missing from what is read.
    """
    scan = frames.scan
    names = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    rows, cols, samples, bits = (scan.numbers(name) for name in names)
    space = scan.words("PhotometricInterpretation")
    halved = space.map(lambda words: "".join(words or ()).endswith("_422")).array(bool)
    samples = np.where(np.isnan(samples), 1, samples)
    bits = np.where(np.isnan(bits), np.where(scan.pixel_tag == 0x7FE00009, 64, 32), bits)
    tile = (frames.matrix != np.stack([rows, cols], axis=1)[frames.file]).any(axis=1)
    count = np.fmax(scan.numbers("NumberOfFrames"), 1)
    np.maximum.at(count, frames.file, np.where(tile, 1, frames.number))
    whole = rows * cols * samples * bits * count / 8
    need = np.ceil(np.where(halved, whole * 2 / 3, whole))  # PS3.3 C.7.6.3.1.2: two pixels share their chrominance
    native = (scan.pixel_length >= 0) & (scan.pixel_tag > 0)
    full = native & halved & (scan.pixel_length // 2 == np.ceil(np.nan_to_num(whole)) // 2)

    stated = scan.numbers("NumberOfFrames")

    def text(k: int) -> str:
        if np.isnan(stated[k]) and count[k] > 1 and not tile[frames.file == k].any():
            return (
                f"the functional groups of {file_name(scan.files[k])} describe {int(count[k])} frames of "
                f"{int(rows[k])} x {int(cols[k])}, which need {int(need[k])} bytes, but its pixel data have "
                f"{int(scan.pixel_length[k])}; NumberOfFrames, which would say which is right, is missing"
            )
        return (
            f"{file_name(scan.files[k])} has {int(scan.pixel_length[k])} bytes of pixel data, but its {int(count[k])} "
            f"frames of {int(rows[k])} x {int(cols[k])} need {int(need[k])}"
            + (", as if each of its frames begins on a byte, which those of single bits do not" if anew[k] else "")
        )

    # single bits follow each other from frame to frame (PS3.5 8.1.1); which frame other bytes are of is a guess
    anew = native & (bits == 1) & (scan.pixel_length > need + 1)
    anew &= np.abs(scan.pixel_length - np.ceil(rows * cols / 8) * count) <= 1
    longer = np.flatnonzero(native & ~anew & ~full & (scan.pixel_length >= need + np.fmax(need / count, 2)))
    if longer.size:
        if errors == "raise":
            raise SourceError(text(int(longer[0])))
        warn(f"{longer.size} images announce fewer frames than they hold, which are not read: {text(int(longer[0]))}")
    which = np.flatnonzero(native & (need > scan.pixel_length) | full | anew)
    if not which.size:
        return frames
    if errors == "raise":
        raise SourceError(text(int(which[0])))
    warn(f"{which.size} images are damaged and left out: {text(int(which[0]))}")
    return frames.take(np.flatnonzero(~np.isin(frames.file, which)).astype(np.intp))


def _without_copies(scan: Scan) -> Scan:
    """Drop files that are copies of another; say where one UID stands for several images."""
    found = scan.words("SOPInstanceUID")
    if len({uid[0] for uid in found.values if uid}) == sum(bool(uid) for uid in found.rows()):
        return scan
    first: dict[str, int] = {}
    copies: list[int] = []
    others: list[int] = []
    for k, uid in enumerate(found.rows()):
        if not uid:
            continue
        twin = first.setdefault(uid[0], k)
        if twin != k:
            (copies if _same(scan, twin, k) else others).append(k)
    if copies:
        warn(f"{len(copies)} files are copies of others and left out, the first is {file_name(scan.files[copies[0]])}")
    if others:
        warn(
            f"{len(others)} images have the SOPInstanceUID of another image, the first is in "
            f"{file_name(scan.files[others[0]])}: such images are kept, but their headers can't be found again"
        )
    return scan if not copies else scan.take(np.setdiff1d(np.arange(len(scan)), copies))


def _same(scan: Scan, a: int, b: int) -> bool:
    """Whether two files hold the same header and pixels, whatever their file meta information says."""
    places = [(scan.pixel_tag[k], scan.pixel_length[k], scan.syntax[k]) for k in (a, b)]
    if places[0] != places[1]:
        return False
    for key, cells in scan.columns.items():
        if not (isinstance(key, int) and key >> 16 == 2) and cells[a] != cells[b]:
            return False
    return _pixel_bytes(scan, a) == _pixel_bytes(scan, b)


def _pixel_bytes(scan: Scan, k: int) -> bytes:
    file: File = scan.files[k]
    offset, length = int(scan.pixel_offset[k]), int(scan.pixel_length[k])
    if offset >= 0 and length >= 0:
        return read_range(file, offset, length)
    return bytes(file.fs.cat_file(file.path)[max(offset, 0) :])

"""Series of DICOMweb of which headers are fetched first, and frames when they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import pydicom

from ...errors import SourceError, warn
from .query import Series
from .retrieve import file_head
from .web_client import Client
from .web_frames import EXPLICIT_LE, NATIVE, fetch_frames
from .web_metadata import DEFAULT, Elements, Stored, compared, fill_bulk, made, metadata_of, stored_header

_log = logging.getLogger(__name__)
_FEW = 4
"""Images of one kind of which all headers are fetched as they are stored."""
_PIXEL_DATA = 0x7FE00010
_ENCAPSULATED = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
"""Pixel data without fragments: each frame is asked for by its number."""


class Instance(NamedTuple):
    """An image as a file of which the frames are elsewhere.

    Attributes
    ----------
    place : str
        Its path below the service.
    head : bytes
        All of the file before its frames; of another process empty, until it is asked for.
    size, digest : int, str
        Length and digest of the head.
    syntax : str
        Transfer syntax in which its frames come.
    frame_bytes, frames : int
        Length of a native frame, 0 where compressed; Number of Frames, 0 without pixels.
    """

    place: str
    head: bytes
    size: int
    digest: str
    syntax: str
    frame_bytes: int
    frames: int

    @property
    def length(self) -> int:
        """Length of the file; a compressed one has no fragments."""
        pixels = self.frame_bytes * self.frames
        return self.size + pixels + pixels % 2


def instances_of(client: Client, series: Series, images: set[str]) -> list[Instance]:
    """Headers of the images of a series, as files without frames.

    Some images are fetched up to their pixel data. What the metadata say of these has to be what is stored; then the
    metadata are believed of the others too.

    Parameters
    ----------
    client : Client
    series : Series
    images : set of str
        SOP Instance UIDs that it has, as the service says.

    Raises
    ------
    SourceError
        The metadata are not complete or not exact, or the frames don't come by themselves.

    Warns
    -----
    ImagedataWarning
        Which elements the metadata leave out.
    """
    server = client.address.server
    rows = metadata_of(client, series)
    if lost := images - set(rows):
        raise SourceError(f"{server}: the metadata of {len(lost)} of the {len(images)} images of a series are missing")
    rows = {uid: row for uid, row in rows.items() if uid in images}
    base = f"/studies/{series.study}/series/{series.uid}/instances"
    exact: dict[str, Stored] = {}
    probed: dict[str, str] = {}
    heads: dict[str, Instance] = {}
    left: set[str] = set()
    for kind in _kinds(rows):
        samples = kind if len(kind) <= _FEW else [kind[0], kind[len(kind) // 2], kind[-1]]
        exact |= {uid: stored_header(client, f"{base}/{uid}") for uid in samples}
        rest = [uid for uid in kind if uid not in samples]
        if rest:
            left |= _believed(client, rows, samples, exact)
            fill_bulk(client, [rows[uid] for uid in rest])
        (syntax,) = _one_syntax(server, [exact[uid].syntax for uid in samples])
        for uid in kind:
            stored = None if rest else exact[uid]  # not both: texts of numbers would differ from image to image
            head, ds = (stored.head, stored.dataset) if stored else made(rows[uid], syntax)
            if syntax not in probed and "Rows" in ds:
                probed[syntax] = _probe(client, f"{base}/{uid}", syntax, ds)
            tag = exact[samples[0]].pixel_tag if "Rows" in ds else 0
            heads[uid] = _instance(server, f"{base}/{uid}", head, ds, tag, probed.get(syntax, syntax))
    if left:
        warn(
            f"{server}: the metadata leave out {', '.join(sorted(left)[:10])}{', ...' if len(left) > 10 else ''}. "
            "Headers that are asked for have them, since they are fetched from the images"
        )
    return [heads[uid] for uid in rows]


def _kinds(rows: dict[str, Elements]) -> list[list[str]]:
    """Images by class, and whether they have several frames: metadata may be exact for some kinds only."""
    found: dict[tuple[str, bool], list[str]] = {}
    for uid, row in rows.items():
        sop_class, frames = (str(((row.get(tag) or {}).get("Value") or [""])[0]) for tag in ("00080016", "00280008"))
        found.setdefault((sop_class, frames not in ("", "1")), []).append(uid)
    return list(found.values())


def _believed(client: Client, rows: dict[str, Elements], samples: Sequence[str], exact: dict[str, Stored]) -> set[str]:
    """Compare metadata with images as they are stored; returns what they leave out, and is not needed."""
    left: set[str] = set()
    wrong: set[str] = set()
    fill_bulk(client, [rows[uid] for uid in samples])
    for uid in samples:
        differences = compared(exact[uid].dataset, made(rows[uid], exact[uid].syntax)[1])
        wrong, left = wrong | differences.needed, left | differences.beside
    if wrong:
        raise SourceError(
            f"{client.address.server}: the metadata of a series are not what its images hold: "
            f"{', '.join(sorted(wrong)[:10])} {'is' if len(wrong) == 1 else 'are'} missing or rounded; {DEFAULT}"
        )
    return left


def _one_syntax(server: str, found: Sequence[str]) -> set[str]:
    if len(kinds := set(found)) > 1:
        raise SourceError(f"{server}: the images of a series are stored in several transfer syntaxes; {DEFAULT}")
    return kinds


def _probe(client: Client, place: str, stored: str, ds: pydicom.Dataset) -> str:
    """Transfer syntax in which frames come.

    Raises
    ------
    SourceError
        It is another than that of the image, and values or colours may not be the same.
    """
    from ...dicom.pixels.syntaxes import CODECS, refusal

    came = fetch_frames(client, place, [1])[0].syntax
    codec = CODECS.get(stored)
    if came == stored and (why := refusal(stored)) is None:
        return stored
    same = stored in NATIVE or (codec is not None and not codec.lossy and int(ds.get("SamplesPerPixel", 1) or 1) == 1)
    if came in NATIVE and same:
        return EXPLICIT_LE
    what = pydicom.uid.UID(came).name if came else "an unknown form"
    raise SourceError(
        f"{client.address.server} gives frames that are stored in {pydicom.uid.UID(stored).name} as {what}, which need "
        f"not have the same values{f' ({why})' if came == stored else ''}; {DEFAULT}"
    )


def _instance(server: str, place: str, head: bytes, ds: pydicom.Dataset, tag: int, syntax: str) -> Instance:
    if not tag:
        return Instance(place, head, len(head), digest_of(head), syntax, 0, 0)
    bits, samples = int(ds.get("BitsAllocated", 0)), int(ds.get("SamplesPerPixel", 1) or 1)
    space = str(ds.get("PhotometricInterpretation", ""))
    if tag != _PIXEL_DATA or bits not in (8, 16, 32) or (space.endswith(("_422", "_420")) and syntax in NATIVE):
        raise SourceError(f"{server}: pixel data of a series are of a kind that has no frames by themselves; {DEFAULT}")
    frames = int(ds.get("NumberOfFrames", 1) or 1)
    if str(ds.file_meta.TransferSyntaxUID) != syntax and syntax == EXPLICIT_LE:
        head = _as_native(server, head, ds)
    if syntax not in NATIVE:
        head += _ENCAPSULATED
        return Instance(place, head, len(head), digest_of(head), syntax, 0, frames)
    size = int(ds.Rows) * int(ds.Columns) * samples * bits // 8
    length = size * frames + size * frames % 2
    if not 0 < length < 2**32 - 1:
        raise SourceError(f"{server}: {length} bytes are no length of native pixel data (PS3.5 section A.4)")
    explicit = ds.original_encoding[0] is False
    head += b"\xe0\x7f\x10\0" + (b"OW\0\0" if explicit else b"") + length.to_bytes(4, "little")
    return Instance(place, head, len(head), digest_of(head), syntax, size, frames)


def _as_native(server: str, head: bytes, ds: pydicom.Dataset) -> bytes:
    """Head of a compressed image, or of one with implicit VR, as of one whose frames come native."""
    if head[128:136] != b"DICM\x02\0\0\0" or ds.original_encoding[1] is False:
        raise SourceError(f"{server}: the file meta information of an image is damaged; {DEFAULT}")
    if ds.original_encoding[0] is not False:  # implicit VR: its frames are the same, and it stays as it is
        return head
    body = head[144 + int.from_bytes(head[140:144], "little") :]
    return file_head(str(ds.SOPClassUID), str(ds.SOPInstanceUID), EXPLICIT_LE) + body


def digest_of(head: bytes) -> str:
    """Digest of a head, by which another process sees that it is the same."""
    return blake2b(head, digest_size=16).hexdigest()

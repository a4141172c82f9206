"""Fetch series of an archive: C-GET, or C-MOVE to ourselves where the archive knows only that (PS3.4 annex C)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ...errors import NotFoundError, SourceError
from ..implementation import CLASS_UID, VERSION_NAME
from ..progress import Meter
from .address import Address
from .association import MOST_CONTEXTS, NothingAcceptedError, associated, comment, context, listening, status_of
from .query import Series, finding, images_of, series_of, warn_if_short
from .settings import Settings
from .transfers import Held, Incoming, held, is_whole, key_of

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_STORED = (
    JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless, JPEGBaseline8Bit, JPEGExtended12Bit, JPEG2000,
    JPEGLossless, JPEGLSNearLossless, HTJ2KLossless, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian,
)  # fmt: skip
"""Transfer syntaxes in which images may be stored: each is offered for itself, so that nothing is transcoded."""
_BY_MODALITY = {
    "MR": ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"),
    "CT": ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"),
    "PT": ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1"),
    "US": ("1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"),
    "NM": ("1.2.840.10008.5.1.4.1.1.20",),
    "XA": ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.1.1"),
    "SEG": ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"),
}
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_MOST_NATIVE = 80
"""Classes that are offered where the archive does not tell which a series has."""


def fetch(address: Address, settings: Settings) -> list[Held]:
    """Fetch every series that an address means, as far as it is not here already and unchanged.

    Returns
    -------
    list of Held
        For each series its files by SOP Instance UID.

    Raises
    ------
    NotFoundError
        There is no such series.
    SourceError
        An archive that can't be reached or refuses, or a series that did not arrive whole: nothing of it is kept.
    """
    with finding(address, settings) as assoc:
        wanted = [(series, images_of(assoc, series)) for series in series_of(assoc, address)]
    out = []
    with Meter("fetched", sum(len(images) for _, images in wanted)) as meter:
        for series, images in wanted:
            if not images:
                continue
            out.append(_one(address, settings, series, images, meter))
    if not out:
        raise SourceError(f"{address.server}: the series holds no images, as the archive says")
    return out


def _one(address: Address, settings: Settings, series: Series, images: dict[str, str], meter: Meter) -> Held:
    key = key_of(address.server, f"{settings.aet}\0{settings.username}", series.uid)
    here = held(key, settings.keep)
    if is_whole(here, images, series.count):
        meter.add(len(images))
        return here
    known = {uid: path for uid, path in here.items() if uid in images}
    with Incoming(key, settings.keep) as incoming:
        incoming.share(known)
        meter.add(len(known))
        why = ""
        for native in (True, False):
            missing = [uid for uid in images if uid not in incoming.names]
            if missing:
                some = missing if len(missing) < len(images) else []
                why = _transfer(address, settings, series, some, _contexts(series, images, native), incoming, meter)
        lost = set(images) - set(incoming.names)
        if lost:
            raise SourceError(
                f"{address.server}: {len(lost)} of the {len(images)} images of a series did not arrive"
                f"{f': {why}' if why else ''}. Nothing of it is kept"
            )
        incoming.keep_of(series.uid, images)
        warn_if_short(address.server, series, len(incoming.names))
        return incoming.finish()


def _transfer(
    address: Address, settings: Settings, series: Series, images: list[str], stored: list[Any], incoming: Incoming,
    meter: Meter,
) -> str:  # fmt: skip
    """Fetch a series, or some of its images; returns what the archive had to say where not all went well."""
    query = pydicom.Dataset()
    query.QueryRetrieveLevel = "IMAGE" if images else "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = series.study, series.uid
    if images:
        query.SOPInstanceUID = images
    from pynetdicom import build_role, evt

    receive = _Receiver(incoming, series.uid, meter)
    classes = list(dict.fromkeys(str(c.abstract_syntax) for c in stored))
    contexts = [context(STUDY_ROOT_GET), *stored]
    roles = [build_role(uid, scp_role=True) for uid in classes]
    with (
        suppress(NothingAcceptedError),
        associated(address, settings, contexts, roles, [(evt.EVT_C_STORE, receive)]) as assoc,
    ):
        if any(c.abstract_syntax == STUDY_ROOT_GET for c in assoc.accepted_contexts):
            if len(assoc.accepted_contexts) < 2:
                return "the archive does not send this class of images by C-GET"
            return _run(assoc.send_c_get(query, STUDY_ROOT_GET), receive)
    return _move(address, settings, query, classes, receive)


def _run(answers: Iterator[Any], receive: _Receiver) -> str:
    last: Any = None
    for answer in answers:
        last = answer[0]
        if receive.error is not None:
            raise receive.error
    if receive.error is not None:
        raise receive.error
    if receive.why:
        return receive.why
    code = status_of(last)
    if code == 0x0000:
        return ""
    failed = last.get("NumberOfFailedSuboperations") if last is not None else None
    return comment(last) + (f", {failed} failed" if failed else "")


def _likely(modality: str) -> list[str]:
    """Classes that a series may have, the likeliest first."""
    from pynetdicom import AllStoragePresentationContexts

    usual = [*_BY_MODALITY.get(modality, ()), _SECONDARY, *(uid for uids in _BY_MODALITY.values() for uid in uids)]
    every = [str(c.abstract_syntax) for c in AllStoragePresentationContexts]
    return list(dict.fromkeys([*usual, *every]))[:_MOST_NATIVE]


def _contexts(series: Series, images: dict[str, str], native: bool) -> list[Any]:
    """Presentation contexts for receiving a series.

    The native syntaxes share one for each class, each compressed one has its own, so that images come as they are
    stored. Some archives look at the first one of a class only: for these, there are none for native ones the second
    time.
    """
    classes = sorted(set(images.values()) - {""}) or _likely(series.modality)
    out = [context(uid, *_NATIVE) for uid in classes][: MOST_CONTEXTS - 1] if native else []
    for uid in classes:
        for syntax in _STORED:
            if len(out) < MOST_CONTEXTS - 1:
                out.append(context(uid, syntax))
    return out


class _Receiver:
    """Takes images as the bytes that they are, and writes each as a file."""

    def __init__(self, incoming: Incoming, series: str, meter: Meter) -> None:
        self.incoming, self.series, self.meter = incoming, series, meter
        self.why = ""
        self.error: Exception | None = None

    def __call__(self, event: Any) -> int:
        """Take one image; the status for the archive."""
        try:
            return self._take(event)
        except Exception as error:  # noqa: BLE001  # of whoever is told of progress; pynetdicom would log it and go on
            self.error = error
            return 0xA700

    def _take(self, event: Any) -> int:
        request = event.request
        uid = str(request.AffectedSOPInstanceUID)
        try:
            # nothing is decoded: a file is its file meta information, and the bytes that were sent
            path = self.incoming.path(uid)
            with open(path, "xb") as file:
                file.write(file_head(str(request.AffectedSOPClassUID), uid, str(event.context.transfer_syntax)))
                file.write(request.DataSet.getbuffer())
        except OSError as error:
            self.why = f"an image can't be written here: {error.strerror}"
            return 0xA700
        if uid not in self.incoming.names:
            self.incoming.took(uid, path)
            self.meter.add(1, path.stat().st_size)
        return 0x0000


def file_head(sop_class: str, uid: str, syntax: str) -> bytes:
    """Preamble and file meta information (PS3.10 section 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.UID(sop_class)
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(uid)
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.ImplementationClassUID = pydicom.uid.UID(CLASS_UID)
    meta.ImplementationVersionName = VERSION_NAME
    out: Any = BytesIO()
    out.write(b"\0" * 128 + b"DICM")
    pydicom.filewriter.write_file_meta_info(out, meta, enforce_standard=True)
    return bytes(out.getvalue())


def _move(address: Address, settings: Settings, query: pydicom.Dataset, classes: list[str], receive: _Receiver) -> str:
    """Let the archive send to a server of ours (C-MOVE), which has to run on a port that the archive knows."""
    if not settings.port:
        return (
            "the archive accepts no C-GET; C-MOVE needs port=, our port, which the archive has to know together with "
            f"our title {settings.aet!r}"
        )
    from pynetdicom import evt

    stored = [context(uid, *_NATIVE, *_STORED) for uid in classes]
    with (
        listening(settings, stored, [(evt.EVT_C_STORE, receive)]),
        associated(address, settings, [context(STUDY_ROOT_MOVE)]) as assoc,
    ):
        return _run(assoc.send_c_move(query, settings.aet, STUDY_ROOT_MOVE), receive)


def paths_of(found: Iterable[Held], image: str) -> list[str]:
    """Files of fetched series, each series in the order of the archive; of one image, where it is named.

    Raises
    ------
    NotFoundError
        None of them is that image.
    """
    paths = [str(path) for series in found for uid, path in series.items() if image in ("", uid)]
    if not paths:
        raise NotFoundError("the series has no such image")
    return paths

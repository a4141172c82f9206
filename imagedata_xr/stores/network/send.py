"""Send images to an archive by C-STORE (PS3.4 annex B): one association, and a report of what became of each image."""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ...errors import SourceError
from ..progress import Meter
from .address import Address
from .association import MOST_CONTEXTS, NothingAcceptedError, associated, comment, context, status_of
from .commitment import commit
from .listed import check_listed
from .query import finding, held_already, listed_now
from .report import Report, SendError, forget, told_if_interrupted
from .settings import Settings

if TYPE_CHECKING:
    from pynetdicom.association import Association

_log = logging.getLogger(__name__)
_VERIFICATION = "1.2.840.10008.1.1"
_WARNINGS = {0xB000: "coerced", 0xB006: "discarded", 0xB007: "does not match its class"}
_TRANSIENT = range(0xA700, 0xA800)
_chunked = threading.Lock()


@dataclass(frozen=True)
class Image:
    """A file that is to be sent."""

    path: Path
    uid: str
    sop_class: str
    syntax: str
    study: str
    series: str


class Target(Protocol):
    """Address of an archive, of whichever kind."""

    @property
    def server(self) -> str:
        """Address of the archive itself."""
        ...

    @property
    def study(self) -> str:
        """Study that the address names; empty for none."""
        ...

    @property
    def series(self) -> str:
        """Series that the address names; empty for none."""
        ...

    def below(self, patient: str = "", study: str = "", series: str = "", image: str = "") -> str:
        """Address of something in the archive."""
        ...


Send = Callable[[Any, Settings, Sequence[Image], Report], None]


class ArchiveSink:
    """Where images for an archive go: kept aside until all are there, then sent.

    Attributes
    ----------
    report : Report
        What became of them, after `finish`.
    """

    def __init__(self, address: Target, settings: Settings, send: Send) -> None:
        self.address, self.settings, self.send = address, settings, send
        self.folder = Path(tempfile.mkdtemp(prefix="imagedata_xr-"))
        self.images: list[Image] = []
        self.report = Report()
        self.resumable = False

    def add(self, name: str, data: bytes | Path) -> None:
        """Keep an image aside."""
        path = self.folder / f"{len(self.images):06d}.dcm"
        if isinstance(data, Path):
            shutil.copyfile(data, path)
        else:
            path.write_bytes(data)
        self.images.append(image_of(path))

    def finish(self) -> tuple[str, ...]:
        """Send all images.

        Raises
        ------
        SendError
            Not all were stored; its ``report`` tells what became of each.
        """
        check(self.images, self.address)
        try:
            self.send(self.address, self.settings, self.images, self.report)
        except SendError as error:
            error.resume = self.resume
            self.resumable = True
            raise
        done = {*self.report.stored, *self.report.warned}
        shutil.rmtree(self.folder, ignore_errors=True)
        return tuple(
            self.address.below("", image.study, image.series, image.uid) for image in self.images if image.uid in done
        )

    def abandon(self) -> None:
        """Forget the images, unless the rest can still be sent; those in the archive stay, as the report says."""
        if self.resumable:
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def resume(self) -> Report:
        """Send the images that are not known to be stored, under the same UIDs; returns the report of all.

        Raises
        ------
        SendError
            As before.
        """
        try:
            self.send(self.address, replace(self.settings, resend=True), self.images, self.report)
        except SendError as error:
            error.resume = self.resume
            raise
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.report


def image_of(path: Path) -> Image:
    """Read what sending needs of a file."""
    ds = pydicom.dcmread(
        path, stop_before_pixels=True, specific_tags=["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
    )
    meta = ds.file_meta
    return Image(
        path, str(meta.MediaStorageSOPInstanceUID), str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID),
        str(ds.get("StudyInstanceUID", "") or ""), str(ds.get("SeriesInstanceUID", "") or ""),
    )  # fmt: skip


def check(images: Sequence[Image], address: Target) -> None:
    """Refuse images that an archive could not file, or of another study or series than the address names."""
    for image in images:
        if not image.study or not image.series:
            raise SourceError(f"{address.server}: images without the UID of their study or series are not sent")
        for asked, own in ((address.study, image.study), (address.series, image.series)):
            if asked and asked != own:
                raise SourceError(
                    f"{address.server}: the address names a study or series that is not the one that the images have; "
                    f"they are filed by their headers: write to {address.server}"
                )


def send(address: Address, settings: Settings, images: Sequence[Image], report: Report) -> None:
    """Send images; what became of them is added to a report.

    Raises
    ------
    SourceError
        Nothing was sent: the archive can't be reached, or holds images of these UIDs.
    SendError
        Not all were stored.
    """
    pending = [image for image in images if image.uid not in {*report.stored, *report.warned}]
    if pending:
        _greet(address, settings)
    if pending and not settings.resend:
        _refuse_known(address, settings, images)
    for image in pending:
        forget(report, image.uid)
    report.not_sent += [image.uid for image in pending]
    with Meter("sent", len(pending)) as meter, told_if_interrupted(address, report):
        for _ in range(settings.retries + 1 if pending else 0):
            pending = _attempt(address, settings, pending, report, meter)
            if not pending:
                break
    if settings.verify:
        check_listed(address.server, images, report, lambda some: _listed(address, settings, some), settings.retries)
    if not report.complete:
        raise SendError(
            f"{address.server}: {report.summary()}. The report of this error tells what became of each image; its "
            "resume() sends the rest",
            report,
        )
    if settings.commit:
        open_ = [image for image in images if image.uid not in report.committed]
        commit(address, settings, [(image.sop_class, image.uid) for image in open_], report)


def _greet(address: Address, settings: Settings) -> None:
    """Ask whether the archive is there (C-ECHO) before anything is sent."""
    try:
        with associated(address, settings, [context(_VERIFICATION)]) as assoc:
            code = status_of(assoc.send_c_echo())
    except NothingAcceptedError:
        return  # it need not know the service; that it associates says enough
    if code != 0x0000:
        raise SourceError(f"{address.server} does not answer C-ECHO as it should: nothing is sent")


def _refuse_known(address: Address, settings: Settings, images: Sequence[Image]) -> None:
    try:
        with finding(address, settings) as assoc:
            known = held_already(assoc, [(i.study, i.series, i.uid) for i in images])
    except NothingAcceptedError:
        return  # a storage that answers no questions
    if known:
        raise SourceError(
            f"{address.server} holds {len(known)} of the {len(images)} images under the same UIDs already. What "
            "differs from them needs new UIDs; storage_options={'resend': True} sends them all the same"
        )


def _listed(address: Address, settings: Settings, images: Sequence[Any]) -> set[str]:
    with finding(address, settings) as assoc:
        return listed_now(assoc, images)


def _attempt(
    address: Address, settings: Settings, images: Sequence[Image], report: Report, meter: Meter
) -> list[Image]:
    """Send images in one association; returns those that are worth another try."""
    again: set[str] = set()
    for group in _groups(images):
        contexts = [context(sop_class, *syntaxes) for sop_class, syntaxes in _wanted(group)]
        try:
            with associated(address, settings, contexts) as assoc:
                again |= _send_all(assoc, group, report, meter)
        except NothingAcceptedError:
            for image in group:
                forget(report, image.uid)
                report.failed[image.uid] = _not_accepted(image)
        except SourceError as error:
            if len(report.not_sent) == len(images):
                raise  # nothing was sent at all
            _log.warning("%s: an association could not be made again: %s", address.server, error)
    left = {*again, *report.unknown, *report.not_sent}
    return [image for image in images if image.uid in left]


def _groups(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Images that fit one association: mostly all."""
    kinds = list(dict.fromkeys((i.sop_class, i.syntax) for i in images))
    for start in range(0, len(kinds), MOST_CONTEXTS):
        some = set(kinds[start : start + MOST_CONTEXTS])
        yield [i for i in images if (i.sop_class, i.syntax) in some]


def _wanted(images: Sequence[Image]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A presentation context for each class and syntax, so that every image goes as it is."""
    for sop_class, syntax in dict.fromkeys((i.sop_class, i.syntax) for i in images):
        yield sop_class, (syntax,)


def _send_all(assoc: Association, images: Sequence[Image], report: Report, meter: Meter) -> set[str]:
    """Send images until all are sent or the connection is lost; returns those that were refused for a while."""
    again: set[str] = set()
    accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in assoc.accepted_contexts}
    with _as_they_are():
        for number, image in enumerate(images, 1):
            if not assoc.is_established:
                break  # those that are left stay "not sent"
            forget(report, image.uid)
            if (image.sop_class, image.syntax) not in accepted:
                report.failed[image.uid] = _not_accepted(image)
                continue
            report.unknown.append(image.uid)  # until there is an answer, which may never come
            try:
                answer = assoc.send_c_store(image.path, msg_id=number % 65535 or 1)
            except (RuntimeError, OSError):  # the connection is gone
                continue
            if _note(report, image, answer):
                again.add(image.uid)
            meter.add(1, image.path.stat().st_size)
    return again


def _not_accepted(image: Image) -> str:
    kind, syntax = pydicom.uid.UID(image.sop_class).name, pydicom.uid.UID(image.syntax).name
    native = image.syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    return f"the archive does not accept {kind}{'' if native else f' in {syntax}'}"


def _note(report: Report, image: Image, answer: Any) -> bool:
    """Note the status of an image; returns whether another try may help (PS3.4 B.2.3)."""
    code = status_of(answer)
    if code is None:
        return False
    forget(report, image.uid)
    if code == 0x0000:
        report.stored.append(image.uid)
    elif code in _WARNINGS or 0xB000 <= code <= 0xBFFF or code in (0x0001, 0x0107, 0x0116):
        report.warned[image.uid] = f"{_WARNINGS.get(code, 'warning')}{_elements(answer)} (status 0x{code:04X})"
    else:
        report.failed[image.uid] = comment(answer)
        return code in _TRANSIENT
    return False


def _elements(answer: Any) -> str:
    """Elements that an archive names as changed, without their values."""
    listed = answer.get("OffendingElement")
    if listed is None:
        return ""
    tags = listed if isinstance(listed, list | pydicom.multival.MultiValue) else [listed]
    names = [pydicom.datadict.keyword_for_tag(tag) or str(pydicom.tag.Tag(tag)) for tag in tags]
    return f" {', '.join(names)}" if names else ""


@contextmanager
def _as_they_are() -> Iterator[None]:
    """Let pynetdicom send files as the bytes that they are, in pieces, in place of decoding them."""
    from pynetdicom import _config

    with _chunked:
        before = _config.STORE_SEND_CHUNKED_DATASET
        _config.STORE_SEND_CHUNKED_DATASET = True
        try:
            yield
        finally:
            _config.STORE_SEND_CHUNKED_DATASET = before

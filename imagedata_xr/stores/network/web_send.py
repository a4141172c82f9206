"""Send images by STOW-RS (PS3.18 section 10.5); what the service says of each goes into the report."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...errors import NotFoundError, SourceError
from ..progress import Meter
from .listed import check_listed
from .query import Series
from .report import Report, SendError, forget, told_if_interrupted
from .settings import Settings
from .web_address import WebAddress
from .web_client import Client, value
from .web_query import images_of

if TYPE_CHECKING:
    from .send import Image

_BATCH = 50
_BYTES = 64 << 20
"""Images, and bytes, that go into one request."""
_PIECE = 1 << 20
_TRANSIENT = range(0xA700, 0xA800)


def send(address: WebAddress, settings: Settings, images: Sequence[Image], report: Report) -> None:
    """Send images; what became of them is added to a report.

    Raises
    ------
    SourceError
        Nothing was sent: the service can't be reached, or holds images of these UIDs.
    SendError
        Not all were stored.
    """
    if settings.commit:
        raise SourceError("DICOMweb has no storage commitment: commit=True is for dicom:// addresses")
    with Client(address, settings) as client, Meter("sent", len(images)) as meter:
        pending = [image for image in images if image.uid not in {*report.stored, *report.warned}]
        if not settings.resend:
            _refuse_known(client, pending)
        for image in pending:
            forget(report, image.uid)
        report.not_sent += [image.uid for image in pending]
        with told_if_interrupted(address, report):
            for tries_left in range(settings.retries, -1, -1):
                pending = _attempt(client, pending, report, meter, tries_left)
                if not pending:
                    break
        if settings.verify:
            check_listed(address.server, images, report, lambda some: _listed(client, some), settings.retries)
    if not report.complete:
        raise SendError(
            f"{address.server}: {report.summary()}. The report of this error tells what became of each image; its "
            "resume() sends the rest",
            report,
        )


def _listed(client: Client, images: Sequence[Any]) -> set[str]:
    """Which of some images the service lists; one by one where it limits the number of its answers."""
    found: set[str] = set()
    for study, series in dict.fromkeys((i.study, i.series) for i in images):
        with suppress(NotFoundError):  # nothing of it is there
            found |= set(images_of(client, Series(study, series)))
    for image in images:
        if image.uid not in found:
            with suppress(NotFoundError):
                path = f"/studies/{image.study}/series/{image.series}/instances"
                rows = client.ask(path, {"SOPInstanceUID": image.uid}, (), count=1)
                found |= {value(row, "00080018") for row in rows} & {image.uid}
    return found


def _refuse_known(client: Client, images: Sequence[Image]) -> None:
    wanted: dict[tuple[str, str], set[str]] = {}
    for image in images:
        wanted.setdefault((image.study, image.series), set()).add(image.uid)
    known = 0
    for (study, series), uids in wanted.items():
        try:
            known += len(uids & set(images_of(client, Series(study, series))))
        except NotFoundError:
            continue  # no such series yet
    if known:
        raise SourceError(
            f"{client.address.server} holds {known} of the {len(images)} images under the same UIDs already. What "
            "differs from them needs new UIDs; storage_options={'resend': True} sends them all the same"
        )


def _attempt(client: Client, images: Sequence[Image], report: Report, meter: Meter, tries_left: int) -> list[Image]:
    """Send images in batches; returns those that are worth another try."""
    again: set[str] = set()
    for batch in _batches(images):
        for image in batch:
            forget(report, image.uid)
            report.unknown.append(image.uid)
        try:
            answer = _post(client, batch, meter)
        except SourceError as error:
            if not tries_left:
                raise SendError(f"{error}; {report.summary()}", report) from None
            again |= {image.uid for image in batch}
            continue
        again |= _note(batch, answer, report)
        meter.add(len(batch))
    return [image for image in images if image.uid in again]


def _batches(images: Sequence[Image]) -> Iterator[list[Image]]:
    batch: list[Image] = []
    size = 0
    for image in images:
        batch.append(image)
        size += image.path.stat().st_size
        if len(batch) >= _BATCH or size >= _BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _post(client: Client, batch: Sequence[Image], meter: Meter) -> dict[str, Any]:
    boundary = uuid.uuid4().hex
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}

    def body() -> Iterator[bytes]:
        for image in batch:
            yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            with open(image.path, "rb") as file:
                while piece := file.read(_PIECE):
                    meter.add(0, len(piece))
                    yield piece
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    # 202 and 409: some or all images were refused, each with its reason
    with client.request("POST", "/studies", accept=(400, 409), headers=headers, body=body) as answer:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if not isinstance(found, dict):
            raise SourceError(
                f"{client.address.server} does not tell what became of images (HTTP {answer.status_code})"
            )
        return found


def _note(batch: Sequence[Image], answer: dict[str, Any], report: Report) -> set[str]:
    """Note what a service says of each image (PS3.18 section 10.5.3); returns those that were refused for a while."""
    stored = {value(item, "00081155"): item for item in _items(answer, "00081199")}
    failed = {value(item, "00081155"): item for item in _items(answer, "00081198")}
    again: set[str] = set()
    for image in batch:
        if image.uid in failed:
            reason = value(failed[image.uid], "00081197")
            code = int(reason) if reason.isdigit() else 0
            report.failed[image.uid] = f"status 0x{code:04X}" if code else "refused without a reason"
            if code in _TRANSIENT:
                again.add(image.uid)
        elif image.uid in stored:
            warning = value(stored[image.uid], "00081196")
            if warning.isdigit() and int(warning):
                report.warned[image.uid] = f"{_WARNINGS.get(int(warning), 'warning')} (status 0x{int(warning):04X})"
            else:
                report.stored.append(image.uid)
        else:
            continue  # nothing was said of it: it stays unknown
        report.unknown.remove(image.uid)
    return again


_WARNINGS = {0xB000: "coerced", 0xB006: "discarded", 0xB007: "does not match its class"}


def _items(answer: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return [item for item in (answer.get(tag) or {}).get("Value") or [] if isinstance(item, dict)]

"""Storage commitment (PS3.4 annex J): ask an archive to confirm that it keeps what it got."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pydicom

from ...errors import SourceError
from .address import Address
from .association import NothingAcceptedError, associated, context, entity, status_of
from .report import Report, SendError
from .settings import Settings

_MODEL = "1.2.840.10008.1.20.1"
_INSTANCE = "1.2.840.10008.1.20.1.1"


def commit(address: Address, settings: Settings, images: Sequence[tuple[str, str]], report: Report) -> None:
    """Ask for commitment of images, and wait for the answer.

    The answer comes in the same association, or in one that the archive opens to ``port``.

    Parameters
    ----------
    address : Address
    settings : Settings
    images : sequence of (class, UID)
    report : Report
        Gets what is committed.

    Raises
    ------
    SourceError
        The archive does not know the service, or does not answer in time.
    SendError
        It does not keep all of them.
    """
    from pynetdicom import evt

    asked = pydicom.Dataset()
    asked.TransactionUID = pydicom.uid.generate_uid(prefix=None)
    asked.ReferencedSOPSequence = []
    for sop_class, uid in images:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    answer = _Answer(str(asked.TransactionUID))
    server = None
    if settings.port:
        ae = entity(settings)
        ae.add_supported_context(_MODEL, scu_role=True, scp_role=True)
        server = ae.start_server(("", settings.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, answer)])
    try:
        _ask(address, settings, asked, answer, [(evt.EVT_N_EVENT_REPORT, answer)])
    finally:
        if server is not None:
            server.shutdown()
    report.committed = [uid for _, uid in images if uid in answer.kept]
    lost = {uid: answer.refused.get(uid, "not committed") for _, uid in images if uid not in answer.kept}
    if lost:
        report.failed |= lost
        raise SendError(f"{address.server}: {len(lost)} images were stored and are not committed to be kept", report)


def _ask(address: Address, settings: Settings, asked: pydicom.Dataset, answer: _Answer, handlers: list[Any]) -> None:
    with _committing(address, settings, handlers) as assoc:
        status, _ = assoc.send_n_action(asked, 1, _MODEL, _INSTANCE)
        if status_of(status) != 0x0000:
            raise SourceError(f"{address.server}: the images are stored; the archive refuses to commit itself to them")
        if not answer.came.wait(settings.timeout):
            raise SourceError(
                f"{address.server}: the images are stored; no commitment came within {settings.timeout:g} s. The "
                "archive may answer on a connection of its own, for which port= opens one of ours"
            )


@contextmanager
def _committing(address: Address, settings: Settings, handlers: list[Any]) -> Iterator[Any]:
    try:
        with associated(address, settings, [context(_MODEL)], handlers=handlers) as assoc:
            yield assoc
    except NothingAcceptedError:
        raise SourceError(f"{address.server}: the images are stored; the archive knows no storage commitment") from None


class _Answer:
    """Takes the archive's answer (N-EVENT-REPORT)."""

    def __init__(self, transaction: str) -> None:
        self.transaction = transaction
        self.kept: set[str] = set()
        self.refused: dict[str, str] = {}
        self.came = threading.Event()

    def __call__(self, event: Any) -> tuple[int, None]:
        """Note what is kept and what is not."""
        said = event.event_information
        if str(said.get("TransactionUID", "")) != self.transaction:
            return 0x0110, None
        self.kept = {str(item.ReferencedSOPInstanceUID) for item in said.get("ReferencedSOPSequence", [])}
        self.refused = {
            str(item.ReferencedSOPInstanceUID): f"not committed (reason 0x{int(item.get('FailureReason', 0)):04X})"
            for item in said.get("FailedSOPSequence", [])
        }
        self.came.set()
        return 0x0000, None

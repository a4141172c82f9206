"""Storage commitment (PS3.4 annex J): ask an archive to confirm that it keeps what it got."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pydicom

from ...errors import SourceError
from .address import Address
from .association import NothingAcceptedError, associated, comment, context, listening, status_of
from .report import Report, SendError
from .settings import Settings

_MODEL = "1.2.840.10008.1.20.1"
_INSTANCE = "1.2.840.10008.1.20.1.1"
_PARTING = 2.0
"""Seconds in which our receipt of the answer has to be on its way before the connection ends."""


def commit(address: Address, settings: Settings, images: Sequence[tuple[str, str]], report: Report) -> None:
    """Ask for commitment of images, and wait for the answer.

    The answer comes in the same association, or in one that the archive opens to ``port``.

    Parameters
    ----------
    address : Address
    settings : Settings
    images : sequence of (class, UID)
        That are stored, as the archive said.
    report : Report
        Gets what is committed; what is not is no longer among the stored, but has failed.

    Raises
    ------
    SendError
        The archive does not know the service, does not answer in time, or does not keep all of them.
    """
    asked = pydicom.Dataset()
    asked.TransactionUID = pydicom.uid.generate_uid(prefix=None)
    asked.ReferencedSOPSequence = []
    for sop_class, uid in images:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    answer = _Answer(str(asked.TransactionUID))
    try:
        _ask(address, settings, asked, answer)
    except NothingAcceptedError:
        raise _not_told(address, "the archive knows no storage commitment", report) from None
    except SendError:
        raise
    except SourceError as error:
        raise _not_told(address, str(error).removeprefix(f"{address.server}: "), report) from None
    report.committed += [uid for _, uid in images if uid in answer.kept]
    lost = {uid: answer.refused.get(uid, "not committed") for _, uid in images if uid not in answer.kept}
    if lost:
        for uid in lost:
            report.warned.pop(uid, None)
        report.stored[:] = [uid for uid in report.stored if uid not in lost]
        report.failed |= lost
        raise SendError(
            f"{address.server} said that {len(lost)} of {len(images)} images were stored, and does not commit itself "
            f"to keep them: {report.summary()}. The report of this error names them; its resume() sends them again",
            report,
        )


def _not_told(address: Address, why: str, report: Report) -> SendError:
    return SendError(
        f"{address.server}: the images are stored, and not confirmed to be kept: {why}. resume() of this error asks "
        "again, and sends nothing that is stored",
        report,
    )


def _ask(address: Address, settings: Settings, asked: pydicom.Dataset, answer: _Answer) -> None:
    from pynetdicom import evt

    model = context(_MODEL)
    handlers: list[tuple[Any, Any]] = [(evt.EVT_N_EVENT_REPORT, answer), (evt.EVT_DIMSE_SENT, answer.sent)]
    with (
        listening(settings, [model], handlers) if settings.port else nullcontext(),
        associated(address, settings, [model], handlers=handlers) as assoc,
    ):
        status, _ = assoc.send_n_action(asked, 1, _MODEL, _INSTANCE)
        if status_of(status) != 0x0000:
            raise SourceError(f"the archive refuses the request ({comment(status)})")
        if not answer.came.wait(settings.timeout):
            raise SourceError(
                f"no answer within {settings.timeout:g} s. "
                + (
                    f"It may come to port={settings.port} of this computer, which the archive has to know together "
                    f"with our title {settings.aet!r}"
                    if settings.port
                    else "The archive may answer on a connection of its own, for which port= opens one of ours"
                )
            )
        answer.received.wait(_PARTING)


class _Answer:
    """Takes the archive's answer (N-EVENT-REPORT)."""

    def __init__(self, transaction: str) -> None:
        self.transaction = transaction
        self.kept: set[str] = set()
        self.refused: dict[str, str] = {}
        self.came, self.received = threading.Event(), threading.Event()

    def __call__(self, event: Any) -> tuple[int, None]:
        """Note what is kept and what is not."""
        said = event.event_information
        if str(said.get("TransactionUID", "")) != self.transaction:
            return 0x0110, None
        self.kept = {str(item.ReferencedSOPInstanceUID) for item in said.get("ReferencedSOPSequence", None) or []}
        self.refused = {
            str(item.ReferencedSOPInstanceUID): f"not committed (reason 0x{int(item.get('FailureReason', 0)):04X})"
            for item in said.get("FailedSOPSequence", None) or []
        }
        self.kept -= set(self.refused)
        self.came.set()
        return 0x0000, None

    def sent(self, event: Any) -> None:
        """Note that our receipt is on its way."""
        if type(event.message).__name__ == "N_EVENT_REPORT_RSP":
            self.received.set()

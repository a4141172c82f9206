"""What became of images that were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...errors import SourceError, warn


@dataclass
class Report:
    """What became of each image that was to be sent, by SOP Instance UID.

    Attributes
    ----------
    stored : list of str
        The archive said that it has them.
    warned : dict
        Stored, with what the archive said: coerced identifiers above all.
    failed : dict
        Refused, with the reason.
    unknown : list of str
        Sent without an answer, or not listed by the archive that said it stored them: they may be stored or not.
    not_sent : list of str
    committed : list of str
        The archive confirmed that it keeps them (storage commitment).
    unlisted : list of str
        Those of the unknown that the archive said it stored, and does not list.
    """

    stored: list[str] = field(default_factory=list)
    warned: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    not_sent: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every image is stored."""
        return not (self.failed or self.unknown or self.not_sent)

    @property
    def rest(self) -> list[str]:
        """Images that are not known to be stored, in no certain order."""
        return [*self.failed, *self.unknown, *self.not_sent]

    def summary(self) -> str:
        """One line of numbers and of the reasons there are."""
        counts = {
            "stored": len(self.stored) + len(self.warned),
            "failed": len(self.failed),
            "unknown": len(self.unknown),
            "not sent": len(self.not_sent),
        }
        text = ", ".join(f"{n} {name}" for name, n in counts.items() if n or name == "stored")
        reasons = sorted({*self.failed.values()})
        if self.unlisted:
            reasons.insert(0, f"the archive said it stored {len(self.unlisted)} that it does not list")
        return text + (f" ({'; '.join(reasons[:3])})" if reasons else "")


def forget(report: Report, uid: str) -> None:
    """Take back what a report says of an image that is sent again."""
    report.failed.pop(uid, None)
    for listed in (report.not_sent, report.unknown, report.unlisted):
        if uid in listed:
            listed.remove(uid)


@contextmanager
def told_if_interrupted(address: Any, report: Report) -> Iterator[None]:
    """Warn of what is in an archive already when sending is interrupted: nothing can be taken back there."""
    try:
        yield
    except KeyboardInterrupt:
        warn(f"{address.server}: sending was interrupted: {report.summary()}")
        raise


class SendError(SourceError):
    """Not every image was stored; ``report`` tells what became of each.

    Attributes
    ----------
    report : Report
    resume : callable or None
        Sends the rest, under the same UIDs; returns the report.
    """

    def __init__(self, message: str, report: Report, resume: Callable[[], Report] | None = None) -> None:
        super().__init__(message)
        self.report = report
        self.resume = resume

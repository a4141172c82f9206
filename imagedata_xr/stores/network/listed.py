"""Whether an archive lists what it said it stored: some filter images or make room for others without a word."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ...errors import SourceError, warn
from .association import NothingAcceptedError
from .report import Report

_PAUSE = 0.5
"""Seconds until an archive is asked again, which may need a while to list what is new; each time twice as long."""


class Sent(Protocol):
    """An image that was sent."""

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        ...


def check_listed(
    server: str, images: Sequence[Sent], report: Report, ask: Callable[[Sequence[Sent]], set[str]], retries: int
) -> None:
    """Ask for the images that count as stored; those that are not listed become unknown.

    Parameters
    ----------
    server : str
        Address of the archive, for warnings.
    images : sequence of Image
        All that were to be sent.
    report : Report
    ask : callable
        Gives those of some images that the archive lists.
    retries : int
        How often what is missing is asked for again.
    """
    left = [image for image in images if image.uid in report.stored or image.uid in report.warned]
    try:
        for attempt in range(retries + 1):
            if attempt:
                time.sleep(_PAUSE * 2 ** (attempt - 1))
            known = ask(left) if left else set()
            left = [image for image in left if image.uid not in known]
            if not left:
                return
    except NothingAcceptedError:
        return  # a storage that answers no questions
    except SourceError as error:
        why = str(error).removeprefix(f"{server}: ")
        warn(f"{server} said that it stored the images; whether it lists them could not be asked: {why}")
        return
    lost = {image.uid for image in left}
    report.stored[:] = [uid for uid in report.stored if uid not in lost]
    for uid in lost:
        report.warned.pop(uid, None)
    report.unknown += [image.uid for image in left]
    report.unlisted += [image.uid for image in left]

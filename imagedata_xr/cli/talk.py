"""What the command says: lines on stdout, errors and warnings on stderr in the words of a command line."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import click

from ..errors import ImagedataError, ImagedataWarning

DEBUG = "imagedata_xr.debug"
_FLAGS = {
    "overwrite=True": "--overwrite",
    "keep_uid=True": "--keep-uid",
    "open all with xr.open_datatree": "write all with --all",
    "relabel=True (imd.assign_header) allows it": "imd.assign_header(template, relabel=True) of Python allows it",
    "assign_header(template) says whose it is": "--template says whose it is",
    "assign_dicom(...) or labels say the true ones": "--set says the true ones",
}
_KEYWORDS = r"\b(order|series|stack|split|missing|duplicates|errors|template|geometry|format)"
_ADVICE = re.compile(_KEYWORDS + r"""=('[^']*'|"[^"]*"|\d+)(?:,(?= stack=\d))?""")


def say(text: str, err: bool = False) -> None:
    """Print text; what a terminal can't show, or would obey, becomes a question mark."""
    safe = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(safe.encode(encoding, "replace").decode(encoding), err=err)


def in_options(text: str) -> str:
    """Text of an error whose advice is in Python, with the options of the command instead.

    >>> in_options("select one, series='t1 flash', stack=2, or missing='drop'; overwrite=True replaces it")
    "select one, --series 't1 flash' --stack 2, or --missing drop; --overwrite replaces it"
    """
    for python, option in _FLAGS.items():
        text = text.replace(python, option)
    return _ADVICE.sub(lambda m: f"--{m[1]} {shlex.quote(m[2].strip(_QUOTES))}", text)


_QUOTES = "'\""


def reason(error: BaseException) -> str:
    """Say what went wrong, in the words of a command line."""
    if isinstance(error, ImagedataError) or not isinstance(error, OSError) or not error.strerror:
        return in_options(str(error)) or type(error).__name__  # MemoryError has no text
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def complain(error: BaseException, about: str = "") -> None:
    """Print an error as a line on stderr."""
    say(f"imd: error: {about}{reason(error)}", err=True)


@contextlib.contextmanager
def failing(ctx: click.Context) -> Iterator[None]:
    """Turn errors of this library and of the system into a line and exit code 1, Ctrl-C into 130."""
    try:
        yield
    except KeyboardInterrupt:
        say("imd: interrupted", err=True)
        ctx.exit(130)
    except (ImagedataError, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # whoever read the output has gone: click ends quietly
        if ctx.meta.get(DEBUG):
            say(traceback.format_exc().rstrip(), err=True)
        complain(error)
        ctx.exit(1)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show our own warnings as lines on stderr, each text once; those of libraries, and their logs, are kept quiet.

    pydicom's warnings quote values, which may be a patient's.
    """
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        text = in_options(str(message))
        if text not in said:
            said.add(text)
            say(f"imd: warning: {text}", err=True)

    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ImagedataWarning)
        warnings.showwarning = show
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


class Counter:
    """Progress on stderr: a line that changes on a terminal, else a line for each tenth."""

    def __init__(self, what: str, shown: bool | None) -> None:
        self.what = what
        self.terminal = sys.stderr.isatty()
        self.shown = self.terminal if shown is None else shown
        self.last = -1

    def __call__(self, done: int, total: int) -> None:
        """Say how many are done."""
        tenth = 10 * done // max(total, 1)
        if not self.shown or (tenth == self.last and not self.terminal):
            return
        self.last = tenth
        if self.terminal:
            click.echo(f"\r{self.what} {done}/{total}", nl=done == total, err=True)
        else:
            click.echo(f"{self.what} {done}/{total}", err=True)


class Transfers:
    """Images and bytes that come from archives and stores, or go there, on stderr: as `Counter`."""

    def __init__(self, shown: bool | None) -> None:
        self.terminal = sys.stderr.isatty()
        self.shown = self.terminal if shown is None else shown
        self.last: tuple[str, int] = ("", -1)
        self.next = 0.0

    def __call__(self, what: str, done: int, total: int, count: int) -> None:
        """Say how far it has come; nothing is said of what was here already."""
        if not self.shown or not count:
            return
        text, whole = f"{what} {done}{f'/{total}' if total else ''}, {size(count)}", done == total
        if self.terminal:
            if whole or time.monotonic() >= self.next:
                self.next = time.monotonic() + 0.1
                click.echo(f"\r{text:<40}", nl=whole, err=True)
        elif (at := (what, 10 * done // total if total else done)) != self.last:
            self.last = at
            click.echo(text, err=True)


def size(count: float) -> str:
    """Bytes in the unit that suits, as 1.5 MB."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    k = 0
    while round(count) >= 1000 and k < len(units) - 1:
        count, k = count / 1000, k + 1
    return f"{count:.0f} {units[k]}" if k == 0 else f"{count:.3g} {units[k]}"

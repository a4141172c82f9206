"""Examining files, many of a remote store side by side, and gathering what they hold as columns."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeAlias

from ...stores.files import File, Framed, file_name, read_available, reason, sizes_of, state_now, with_states
from ...stores.unpacked import GZIP_MAGIC, unpacked
from ..pixels.syntaxes import CODECS
from .columns import Columns
from .reread import reread
from .sniff import looks_like_dicom
from .strangers import misplaced, named_as_dicom, what_it_is
from .trouble import DamagedError, MoreError, OddError
from .walk import Seen, Walked, walk

FIRST_READ = 16 * 1024
LARGEST_FIRST_READ = 256 * 1024

_Steps: TypeAlias = "Generator[tuple[int, int], bytes, Walked | None]"
_ITEM, _SEQUENCE_END = b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


class Collector:
    """Gathers walks as columns; equal values share memory."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.columns = Columns()
        self.rows: list[tuple[str, bool, int, int, int]] = []
        self.damaged: list[tuple[str, str]] = []
        self.strangers: list[tuple[File, str]] = []
        """Files that are no DICOM, and what they are."""
        self.seen = Seen()
        self.first_read = FIRST_READ
        self.refused = False
        """Whether a file was not given by the system or the store: what it holds is not known."""

    def refuse(self, file: File, error: OSError) -> None:
        """Note a file that can't be read."""
        self.refused = True
        self.damaged.append((file_name(file), reason(error)))

    def local(self, file: File) -> None:
        """Read one local file."""
        try:
            fd = os.open(file.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
            try:
                status = os.fstat(fd)
                size = status.st_size
                buf = os.read(fd, self.first_read)
            finally:
                os.close(fd)
        except OSError as error:
            self.refuse(file, error)
            return
        file = File(file.fs, file.path, state_now(status))
        walked = self.at_once(buf, size)
        if walked is None:
            self.drive([(file, buf, size)] if buf[:2] != GZIP_MAGIC else self.unpack(file))
        else:
            self.add(file, walked)

    def at_once(self, buf: bytes, size: int) -> Walked | None:
        """Walk a file of the plain kind, whose first bytes tell all; None for any other."""
        if buf[128:132] != b"DICM":
            return None
        try:
            walked = walk(buf, size, self.seen)
        except (MoreError, OddError, DamagedError):
            return None
        native = walked.pixel_length >= 0 and walked.syntax not in CODECS
        whole = not walked.pixel_tag or (native and walked.pixel_offset + walked.pixel_length <= size)
        return walked if whole and not walked.empty else None

    def remote(self, batch: list[File]) -> None:
        """Read files of one store, all at once in each step."""
        wanted = [f.fs.header_size(f.path) if isinstance(f.fs, Framed) else self.first_read for f in batch]
        heads = read_available([f._replace(state=None) for f in batch], [0] * len(batch), wanted)
        batch = with_states(batch)
        found = zip(batch, heads, wanted, strict=True)
        full = [f for f, head, n in found if isinstance(head, bytes) and len(head) >= n]
        sizes = _sizes(full)
        ready = []
        for file, head in zip(batch, heads, strict=True):
            size = sizes.get(file.path, len(head)) if isinstance(head, bytes) else head
            if isinstance(head, bytes) and head[:2] == GZIP_MAGIC:
                ready += self.unpack(file)
            elif isinstance(head, bytes) and isinstance(size, int):
                ready.append((file, head, size))
            elif isinstance(size, OSError):
                self.refuse(file, size)
        self.drive(ready)

    def unpack(self, file: File) -> list[tuple[File, bytes, int]]:
        """Look into a file that is gzip-compressed; empty if it holds no DICOM, such as an archive of files."""
        content = unpacked(file)
        try:
            (head,) = read_available([content], [0], [self.first_read])
            if isinstance(head, OSError):
                raise head
            if looks_like_dicom(head):
                # all of it is unpacked to find its length, which gzip does not tell
                return [(content, head, content.fs.size(content.path))]
            self.stranger(file, head)
        except DamagedError as error:
            self.damaged.append((file_name(file), str(error)))
        except OSError as error:
            self.refuse(file, error)
        return []

    def drive(self, opened: list[tuple[File, bytes, int]]) -> None:
        """Run the steps of several files side by side, so that their reads can go together."""
        done: dict[int, Walked] = {}
        running = [(k, self.steps(*one)) for k, one in enumerate(opened)]
        answers: list[bytes | OSError | None] = [None] * len(running)
        while running:
            waiting, asked = [], []
            for (k, steps), answer in zip(running, answers, strict=True):
                file = opened[k][0]
                try:
                    if isinstance(answer, OSError):
                        raise answer
                    asked.append(steps.send(answer) if answer is not None else next(steps))
                    waiting.append((k, steps))
                except StopIteration as stop:
                    if stop.value is not None:
                        done[k] = stop.value
                except DamagedError as error:
                    self.damaged.append((file_name(file), str(error)))
                except OSError as error:
                    self.refuse(file, error)
            running = waiting
            files = [opened[k][0] for k, _ in running]
            answers = list(read_available(files, [a for a, _ in asked], [n for _, n in asked])) if running else []
        for k in sorted(done):
            self.add(opened[k][0], done[k])

    def steps(self, file: File, buf: bytes, size: int) -> _Steps:
        """Examine one file; yields (offset, length) of the bytes it needs next. Gives None for what is not DICOM."""
        if not looks_like_dicom(buf):
            self.stranger(file, buf)
            return None
        while True:
            try:
                walked = walk(buf, size, self.seen)
                break
            except MoreError as more:
                if len(buf) >= size:
                    raise DamagedError(f"it is truncated: it ends at byte {size}, inside the header") from None
                stop = min(size, max(more.upto, 2 * len(buf)))
                buf += yield len(buf), stop - len(buf)
            except OddError:
                walked = reread(file, buf, size)
                break
        if walked.empty:
            raise DamagedError("it holds no data set")
        if walked.pixel_offset >= 0:
            yield from _check_pixels(walked, size)
        return walked

    def stranger(self, file: File, head: bytes) -> None:
        """Note a file that is not DICOM; refuse one that is named as if it were."""
        what = what_it_is(head)
        if named_as_dicom(file.path):
            raise DamagedError(f"it is named as DICOM, but it is not: {what}")
        self.strangers.append((file, what))

    def finish(self) -> None:
        """Refuse strangers that are named like the DICOM files beside them, once all are known."""
        self.damaged += misplaced(self.strangers, self.files)

    def add(self, file: File, walked: Walked) -> None:
        """Append one file to the columns."""
        self.columns.add(walked)
        self.files.append(file)
        self.rows.append((walked.syntax, walked.implicit, walked.pixel_tag, walked.pixel_offset, walked.pixel_length))
        need = (walked.end + 4096) // 4096 * 4096
        self.first_read = min(LARGEST_FIRST_READ, max(FIRST_READ, need, self.first_read * 15 // 16))


def _check_pixels(walked: Walked, size: int) -> Generator[tuple[int, int], bytes, None]:
    """Refuse pixel data that the file does not hold in full, by lengths and delimiters alone (PS3.5 section A.4).

    Some files give the length of all their fragments, in place of a delimiter at their end.
    """
    offset, length = walked.pixel_offset, walked.pixel_length
    if length >= 0:
        if offset + length > size:
            raise DamagedError(f"it is truncated: {max(0, size - offset)} of {length} bytes of pixel data are there")
        if walked.syntax in CODECS and length >= 8 and offset + length == size:
            yield from _check_fragments(walked)
        return
    tail = yield size - 8, 8
    if tail == _SEQUENCE_END and size - 8 >= offset:
        return
    while True:  # something follows the pixel data, or it is cut
        item = yield offset, 8
        if item == _SEQUENCE_END:
            return
        offset += 8 + int.from_bytes(item[4:8], "little")
        if item[:4] != _ITEM or offset > size:
            raise DamagedError("it is truncated: its compressed pixel data has no end")


def _check_fragments(walked: Walked) -> Generator[tuple[int, int], bytes, None]:
    """Find out whether pixel data of known length are fragments: items up to their last byte."""
    at, end = walked.pixel_offset, walked.pixel_offset + walked.pixel_length
    while at + 8 <= end:
        item = yield at, 8
        if item[:4] != _ITEM:
            return
        at += 8 + int.from_bytes(item[4:8], "little")
    if at == end:
        walked.pixel_length = -1


def _sizes(files: list[File]) -> dict[str, int | OSError]:
    """Ask a store for the length of files."""
    known: dict[str, int | OSError] = {}
    for file, size in zip(files, sizes_of(files), strict=True):
        # a server that does not tell
        known[file.path] = len(file.fs.cat_file(file.path)) if size is None else size
    return known

"""One walk over the bytes of a header: the top-level elements of one DICOM file, undecoded.

The walk covers explicit and implicit little endian and never guesses: what it does not know it calls odd, and pydicom
reads that file (`reread`). PS3.5 section 7.1 describes the element headers, A.4 encapsulated pixel data. Elements that
earlier files had too are recognised by their bytes (`runs`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError  # noqa: N812

from .nested import Layouts
from .runs import LONGEST, About, Part, Run, State, States, changes_state
from .sniff import before_data_set, plausible
from .trouble import DamagedError, MoreError, OddError
from .vr import (
    ANY_VR,
    CSA_HEADER,
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    LONG,
    LONG_VR,
    PIXEL_TAGS,
    SHORT_VR,
    STANDARD_SYNTAXES,
    TEXT_VR,
    TRANSFER_SYNTAX,
    UNDEFINED,
    Key,
    Raw,
    private_vr,
    public_vr,
    swap,
)

_EXPLICIT = Struct("<I2sH").unpack_from
_IMPLICIT = Struct("<II").unpack_from
_LENGTH = Struct("<I").unpack_from
_LONG_NAMES = frozenset(LONG_VR.values())
_PIXEL = {swap(tag): tag for tag in PIXEL_TAGS}
_SYNTAX = swap(TRANSFER_SYNTAX)


class Seen:
    """What earlier walks of a scan have met, so that equal values share memory and are not parsed again."""

    def __init__(self) -> None:
        self.states = States()
        self.raws: dict[Raw, Raw] = {}
        self.layouts = Layouts()

    def share(self, vr: str, value: bytes) -> Raw:
        """Give the one (VR, value) that equal elements share."""
        raw = (vr, value)
        return self.raws.setdefault(raw, raw)


@dataclass(slots=True)
class Walked:
    """What one file's header holds."""

    found: dict[Key, Raw] = field(default_factory=dict)
    """Elements that are in no run. Public tags are keyed as they stand in the file (see `swap`)."""
    runs: list[tuple[Run, int]] = field(default_factory=list)
    """Runs of elements that earlier files have too, and where each begins in the file."""
    offsets: dict[Key, int] = field(default_factory=dict)
    """Where the values in `found` that are longer than `LONG` begin in the file."""
    syntax: str = EXPLICIT_LE
    implicit: bool = False
    """Whether sequences hold implicit VR elements."""
    pixel_tag: int = 0
    pixel_offset: int = -1
    pixel_length: int = 0
    empty: bool = False
    """Whether nothing follows the file meta information."""
    end: int = 0
    """Where the header ends: the byte after the last element read, or the first of the pixel value."""

    def get(self, tag: int) -> bytes:
        """Give the value of an element, empty if it is missing."""
        if tag in self.found:
            return self.found[tag][1]
        return next((run.cells[tag][1] for run, _ in self.runs if tag in run.cells), b"")


def walk(buf: bytes, size: int, seen: Seen) -> Walked:
    """Walk over the beginning of a file that has a preamble or begins with an element.

    Parameters
    ----------
    buf
        The first bytes of the file.
    size
        Length of the file in bytes.
    seen
        What earlier walks have met; one per scan.

    Raises
    ------
    MoreError
        `buf` ends before the header does; if `upto` lies behind `size` the file is truncated.
    OddError
        The header is of a kind that the walk does not know.
    DamagedError
        The header can't be told from garbage.
    """
    result = Walked()
    walker = _Walker(buf, size, result, seen)
    pos = walker.meta(132 if buf[128:132] == b"DICM" else 0)
    syntax = result.get(_SYNTAX).rstrip(b"\0 ").decode("latin-1")
    if not syntax:
        syntax = _guess(buf, pos, size)
    elif syntax in (DEFLATED_LE, EXPLICIT_BE) or not (syntax + ".").startswith(STANDARD_SYNTAXES):
        raise OddError(f"transfer syntax {syntax}")
    result.syntax = syntax
    result.implicit = syntax == IMPLICIT_LE
    if result.implicit and (vr := buf[pos + 4 : pos + 6]).isalpha() and vr.isupper():
        raise OddError("explicit VR where implicit was announced")
    walker.data_set(pos)
    result.empty = result.end == pos
    seen.states.judge(walker.parsed)
    return result


def _guess(buf: bytes, pos: int, size: int) -> str:
    """Tell the encoding of a data set without transfer syntax by its first elements, if they leave no doubt."""
    if len(buf) < size and len(buf) < pos + 4096:
        raise MoreError(pos + 4096)
    pos += before_data_set(buf[pos : pos + 4096]) if pos == 0 else 0
    if pos < size and not plausible(buf, pos):
        raise DamagedError("it has no transfer syntax, and its first elements do not show one")
    if buf[pos + 1 : pos + 2] > b"\3":  # a group number in big endian
        raise OddError("perhaps big endian")
    return EXPLICIT_LE if buf[pos + 4 : pos + 6] in ANY_VR else IMPLICIT_LE


class _Walker:
    """The state of one walk; tags are kept as they stand in the file (`swap`)."""

    __slots__ = ("buf", "found", "learnt", "parsed", "result", "seen", "size", "state")

    def __init__(self, buf: bytes, size: int, result: Walked, seen: Seen) -> None:
        self.buf, self.size, self.result, self.seen = buf, size, result, seen
        self.found = result.found
        self.state = seen.states.get("meta")
        self.parsed = 0
        """How many elements were in no run."""
        self.learnt: tuple[State, int, int, list[Part]] | None = None
        """The run that is being learnt: state and tag before it, where it begins, and its elements so far."""

    def meta(self, pos: int) -> int:
        """Read the file meta information, always explicit little endian (PS3.10 section 7.1): where it ends."""
        last = 0
        try:
            while self.buf[pos : pos + 2] == b"\2\0":
                pos, last = self.known(pos, last)
                if self.buf[pos : pos + 2] == b"\2\0":
                    pos, last = self.element(pos, last, implicit=False)
        except StructError:
            raise MoreError(pos + 12) from None
        if len(self.buf) < min(self.size, pos + 2):
            raise MoreError(pos + 12)
        self.learn(pos)
        return pos

    def data_set(self, pos: int) -> None:
        """Walk over the data set, up to its pixel data or to the end of the file."""
        size, implicit = len(self.buf), self.result.implicit
        self.state = self.seen.states.get(About(implicit))
        last = 2
        try:
            while pos < size:
                pos, last = self.known(pos, last)
                if pos < size:
                    pos, last = self.element(pos, last, implicit)
                if self.result.pixel_tag:
                    self.learn(pos)
                    return
        except StructError:
            pass  # the buffer ends inside an element header
        if pos > self.size or size < self.size or self.buf[pos:].strip(b"\0"):
            raise MoreError(pos + 12)
        self.learn(pos)
        self.result.end = pos

    # --- runs -----------------------------------------------------------------------------------------------------

    def known(self, pos: int, last: int) -> tuple[int, int]:
        """Pass the runs that are known to begin here; where nothing is known of this place, begin to learn a run."""
        while (run := self.state.runs.get(last)) is not None:
            if self.learnt:
                self.learn(pos)
            if not run.data:
                return pos, last
            if not self.buf.startswith(run.data, pos):
                run = self.shorter(run, pos, last)
                if not run.data:
                    return pos, last
            self.result.runs.append((run, pos))
            pos, last, self.state = pos + len(run.data), run.last, run.after
        if not self.learnt:
            self.learnt = self.state, last, pos, []
        return pos, last

    def shorter(self, run: Run, pos: int, last: int) -> Run:
        """Cut a run to what this file has of it, unless the buffer only ends too early to tell."""
        rest = len(self.buf) - pos
        if rest < len(run.data) and len(self.buf) < self.size and run.data.startswith(self.buf[pos:]):
            raise MoreError(pos + len(run.data))
        return self.seen.states.shorten(self.state, last, self.buf, pos)

    def learn(self, pos: int) -> None:
        """Keep the run that ends here."""
        if self.learnt:
            state, last, start, parts = self.learnt
            self.learnt = None
            if parts:
                self.seen.states.remember(state, last, self.buf[start:pos], parts)

    # --- elements -------------------------------------------------------------------------------------------------

    def element(self, pos: int, last: int, implicit: bool) -> tuple[int, int]:
        """Read one element; give the position after it and its tag. Pixel data are not passed."""
        self.parsed += 1
        tag, vr, start, length = self.implicit_head(pos) if implicit else self.explicit_head(pos)
        if tag & 0xFFFF <= last & 0xFFFF and swap(tag) <= swap(last):
            raise OddError("tags that do not ascend")
        if tag in _PIXEL:
            self.pixels(tag, start, length)
            return pos, tag
        key: Key | None = self.state.private.get(tag) if tag & 1 else tag
        raw: Raw | None = None
        if length == UNDEFINED or (length > LONG and vr in _LONG_NAMES):
            end, raw = self.long(tag, key, vr, start, length)
        else:
            end = start + length
            if key is not None or changes_state(tag, key):
                if end > len(self.buf):
                    raise MoreError(end)
                value = self.buf[start:end]
                if key is not None:
                    raw = self.found[key] = self.seen.share(vr, value)
                if changes_state(tag, key):
                    self.state = self.following(tag, key, value)
        if self.learnt:
            if end - pos > LONGEST:
                self.learn(pos)
            else:
                begin = self.learnt[2]
                place = start - begin if key in self.result.offsets else -1
                self.learnt[3].append(Part(end - begin, tag, key, raw, place, self.state))
        return end, tag

    def following(self, tag: int, key: Key | None, value: bytes) -> State:
        """Give the state after an element that may change it."""
        after = self.state.following(tag, key, value)
        creators = after.about.creators
        if len({(creator, group) for creator, group, _ in creators}) < len(creators):
            raise OddError("one creator with two blocks")
        return after

    def explicit_head(self, pos: int) -> tuple[int, str, int, int]:
        """Read the header of an explicit VR element: tag, VR, where the value begins, its length."""
        tag, vr, length = _EXPLICIT(self.buf, pos)
        short = SHORT_VR.get(vr)
        if short is not None:
            if tag in _PIXEL:
                raise OddError("pixel data of a short VR")
            return tag, short, pos + 8, length
        if vr not in LONG_VR:
            raise OddError("unknown VR")
        return tag, LONG_VR[vr], pos + 12, _LENGTH(self.buf, pos + 8)[0]

    def implicit_head(self, pos: int) -> tuple[int, str, int, int]:
        """Read the header of an implicit VR element; VRs come from the dictionary (PS3.5 section 7.1.3)."""
        tag, length = _IMPLICIT(self.buf, pos)
        key: Key | None = self.state.private.get(tag) if tag & 1 else tag
        if isinstance(key, tuple):
            return tag, private_vr(key), pos + 8, length
        vr = public_vr(swap(tag))
        if vr in ("US or SS", "US or SS or OW"):
            vr = "SS" if self.state.about.signed else "US"
        return tag, vr, pos + 8, length

    def pixels(self, tag: int, start: int, length: int) -> None:
        """Note the pixel data, where the walk ends."""
        result = self.result
        result.pixel_tag, result.pixel_offset, result.end = _PIXEL[tag], start, start
        result.pixel_length = -1 if length == UNDEFINED else length

    def long(self, tag: int, key: Key | None, vr: str, start: int, length: int) -> tuple[int, Raw | None]:
        """Keep or skip a long value or one of undefined length: the position of the next element, and what was kept."""
        if length == UNDEFINED:
            if vr != "SQ" and (key is not None or vr != "UN"):
                raise OddError(f"undefined length of VR {vr}")
            after = self.seen.layouts.end(self.buf, start, tag, self.result.implicit or vr == "UN")
            end = after - 8
        else:
            after = end = start + length
        if key is None:
            return after, None
        if end > len(self.buf):
            raise MoreError(end)
        value = self.buf[start:end]
        if len(value) <= LONG:
            raw = self.found[key] = self.seen.share(vr, value)
            return after, raw
        raw = self.found[key] = (vr, value)
        if key != CSA_HEADER and vr not in TEXT_VR:
            self.result.offsets[key] = start
        return after, raw

"""Runs of elements that file after file has in common, so that a scan compares bytes instead of parsing them.

Within a series nearly all elements of a header are equal. A run is a stretch of such elements: where a file has the
very same bytes at the place where the run is expected, it holds the same elements, and nothing needs parsing. What the
bytes of an element mean depends on what stood before it, on the creators of private blocks above all; so a run is
looked up by a `State`, which is all of that, and by the tag of the element before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .vr import CSA_HEADER, SIEMENS_B_VALUE, SIEMENS_TILES, WANTED_PRIVATE, Key, Raw, needs_csa, swap

_CREATORS = {(creator.encode(), group): (creator, elements) for (creator, group), elements in WANTED_PRIVATE.items()}
_IMAGE_TYPE, _SEQUENCE_NAME, _PIXEL_REPRESENTATION = swap(0x00080008), swap(0x00180024), swap(0x00280103)
_STATEFUL = (_IMAGE_TYPE, _SEQUENCE_NAME, _PIXEL_REPRESENTATION)
LONGEST = 256 * 1024
"""Longer elements are in no run, bytes: keeping them would take memory for little."""
_BAD_FILES = 2
"""After so many files in a row that fit badly, all is learnt anew: another series has begun."""


class Part(NamedTuple):
    """One element of a run."""

    end: int
    """Where it ends, bytes from the beginning of the run."""
    tag: int
    """As it stands in the file (see `swap`)."""
    key: Key | None
    """None for an element that is not wanted."""
    raw: Raw | None
    place: int
    """Where its value begins, bytes from the beginning of the run; -1 where that does not matter."""
    after: State
    """The state once it was read."""


class Run:
    """A stretch of consecutive elements; empty where none is known to be common.

    Parameters
    ----------
    data : bytes
        The elements as they stand in the file.
    parts : sequence of Part
    """

    __slots__ = ("after", "cells", "data", "last", "long", "parts", "places", "spans")

    def __init__(self, data: bytes = b"", parts: Sequence[Part] = ()) -> None:
        self.data, self.parts = data, parts
        self.cells: dict[Key, Raw] = {p.key: p.raw for p in parts if p.key is not None and p.raw is not None}
        self.long: dict[Key, int] = {p.key: p.place for p in parts if p.key is not None and p.place >= 0}
        if parts:
            self.last, self.after = parts[-1].tag, parts[-1].after
        self.spans: list[list[int]] = []
        """The files that have it, as ranges of numbers."""
        self.places: list[int] = []
        """Where it begins in each of these files; only kept where it has long values."""

    def met(self, k: int, place: int) -> bool:
        """Note that file `k` has this run, from byte `place` on; tell whether it is the first that has it."""
        if self.long:
            self.places.append(place)
        if self.spans and self.spans[-1][1] == k:
            self.spans[-1][1] = k + 1
            return False
        self.spans.append([k, k + 1])
        return len(self.spans) == 1


class About(NamedTuple):
    """What the elements so far say of those that follow."""

    implicit: bool = False
    creators: frozenset[tuple[str, int, int]] = frozenset()
    """Creator, group, block."""
    signed: bool = False
    image_type: bytes = b""
    """The words of Image Type that matter to `needs_csa`."""
    sequence_name: bytes = b""
    b_value: bool = False
    """Whether Siemens' element of the b-value was met."""
    tiles: bool = False
    """Whether Siemens' number of slices in a mosaic was met."""

    def after(self, tag: int, key: Key | None, value: bytes) -> About:
        """Give what is known after an element."""
        if tag == _IMAGE_TYPE:
            return self._replace(image_type=b"\\".join(w for w in (b"MOSAIC", b"DIFFUSION") if w in value))
        if tag == _SEQUENCE_NAME:
            return self._replace(sequence_name=b"_b" if b"_b" in value else b"")
        if tag == _PIXEL_REPRESENTATION:
            return self._replace(signed=value == b"\1\0")
        if key == SIEMENS_B_VALUE:
            return self._replace(b_value=True)
        if key == SIEMENS_TILES:
            return self._replace(tiles=True)
        known = _CREATORS.get((value.strip(b" \0"), tag & 0xFFFF))
        if known is None or (known[0] == CSA_HEADER[0] and not self.needs_csa):
            return self
        return self._replace(creators=self.creators | {(known[0], tag & 0xFFFF, tag >> 16)})

    @property
    def needs_csa(self) -> bool:
        """Whether the CSA header is wanted."""
        tiles, b_value = (("IS", b"") if met else None for met in (self.tiles, self.b_value))
        return needs_csa(("CS", self.image_type), ("SH", self.sequence_name), tiles, b_value)

    @property
    def private(self) -> dict[int, Key]:
        """Wanted private elements of the blocks whose creators were met."""
        out: dict[int, Key] = {}
        for creator, group, block in self.creators:
            for element in _CREATORS[creator.encode(), group][1]:
                out[(block << 8 | element) << 16 | group] = (creator, group, element)
        return out


class State:
    """What the meaning of the next element depends on, and the runs that may follow; one object for each."""

    __slots__ = ("about", "private", "runs", "states")

    def __init__(self, states: States, about: About) -> None:
        self.states, self.about, self.private = states, about, about.private
        self.runs: dict[int, Run] = {}
        """By the tag of the element before."""

    def following(self, tag: int, key: Key | None, value: bytes) -> State:
        """Give the state after an element that may change it."""
        about = self.about.after(tag, key, value)
        return self if about is self.about else self.states.get(about)


def changes_state(tag: int, key: Key | None) -> bool:
    """Tell whether what follows may depend on this element: a creator (PS3.5 section 7.8.1), or one of few others."""
    if tag & 1:
        return 0x10 <= tag >> 16 <= 0xFF or key in (SIEMENS_B_VALUE, SIEMENS_TILES)
    return tag in _STATEFUL


class States:
    """All states and runs of one scan."""

    def __init__(self) -> None:
        self.known: dict[object, State] = {}
        self.best = self.bad = 0

    def get(self, about: About | str) -> State:
        """Give the one state of these properties; "meta" for the beginning of the file meta information."""
        found = self.known.get(about)
        if found is None:
            found = self.known[about] = State(self, about if isinstance(about, About) else About())
        return found

    def remember(self, state: State, last: int, data: bytes, parts: Sequence[Part]) -> None:
        """Keep a run that begins after the element `last`."""
        state.runs[last] = Run(data, parts)

    def shorten(self, state: State, last: int, buf: bytes, pos: int) -> Run:
        """Cut a run before the first element that differs in `buf`; what is behind it becomes a run of its own."""
        run = state.runs[last]
        data, k, begin = run.data, 0, 0
        for part in run.parts:
            if not buf.startswith(data[begin : part.end], pos + begin):
                break
            k, begin = k + 1, part.end
        first = state.runs[last] = Run(data[:begin], run.parts[:k])
        if k:
            first.after.runs[first.last] = Run()
        if k + 1 < len(run.parts):
            other, cut = run.parts[k], run.parts[k].end
            rest = [p._replace(end=p.end - cut, place=max(-1, p.place - cut)) for p in run.parts[k + 1 :]]
            other.after.runs.setdefault(other.tag, Run(data[cut:], rest))
        run.parts = ()  # it is kept for the files that have it, not for walking
        return first

    def judge(self, parsed: int) -> None:
        """Forget the runs where they have become too short for the files that now come.

        Parameters
        ----------
        parsed : int
            How many elements of the last file were in no run.
        """
        self.best = parsed if not self.best else min(self.best, parsed)
        self.bad = self.bad + 1 if parsed > 2 * self.best + 16 else 0
        if self.bad >= _BAD_FILES:
            self.known, self.best, self.bad = {}, 0, 0

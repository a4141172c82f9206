"""``format_options={"where": {...}}``: choosing DICOM files by the values of their elements."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, LabelError
from .scan import Scan

_TAG = re.compile(r"\(?([0-9a-fA-F]{4}),?\s*([0-9a-fA-F]{4})\)?")
_NO_VALUES = ("SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN", "OB or OW")


@dataclass(frozen=True)
class Criterion:
    """An element and the values that are asked for."""

    name: str
    tag: int
    wanted: tuple[Any, ...]

    def accepts(self, values: Sequence[str]) -> bool:
        """Whether any value of an element is any of those asked for."""
        return any(_is(value, one) for value in values for one in self.wanted)


def _is(value: str, wanted: Any) -> bool:
    if isinstance(wanted, (int, float, np.integer, np.floating)):
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    text = str(wanted)
    return value == text or fnmatch.fnmatchcase(value.casefold(), text.casefold())


@dataclass(frozen=True)
class Where:
    """Criteria that all have to be met.

    Parameters
    ----------
    criteria : tuple of Criterion
        None lets every file through.
    """

    criteria: tuple[Criterion, ...] = ()

    @classmethod
    def of(cls, given: Any) -> Where:
        """Read the option: a mapping of keywords or tags, ``"(0008,103E)"``, to a value or a list of values.

        A number matches equal numbers, a text equal texts or, with ``*``, ``?`` and ``[...]``, similar ones, whatever
        the letter case.

        Raises
        ------
        FormatError
            It is no mapping, an element is unknown, private, or one that has no values.
        """
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise FormatError(f"where is a mapping of elements to values, not a {type(given).__name__}")
        return cls(tuple(_criterion(name, wanted) for name, wanted in given.items()))

    def __bool__(self) -> bool:
        return bool(self.criteria)

    def __str__(self) -> str:
        # the values may be a patient's name
        return "where of " + ", ".join(c.name for c in self.criteria)

    def mask(self, scanned: Scan, otherwise: Callable[[int, Criterion], bool]) -> NDArray[np.bool_]:
        """Which files meet all criteria; ``otherwise(k, criterion)`` decides on a file that lacks the element."""
        out = np.ones(len(scanned), dtype=np.bool_)
        for criterion in self.criteria:
            for k, values in enumerate(scanned.strings(criterion.tag)):
                out[k] &= criterion.accepts(values) if values else otherwise(k, criterion)
        return out


def _criterion(name: Any, wanted: Any) -> Criterion:
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    found = _TAG.fullmatch(name.strip()) if isinstance(name, str) else None
    tag = int(found[1] + found[2], 16) if found else name if isinstance(name, int) else tag_for_keyword(str(name))
    if tag is None:
        raise FormatError(f"where: {name!r} is no DICOM keyword and no tag such as '(0008,103E)'")
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        raise FormatError(
            f"where: ({tag >> 16:04X},{tag & 0xFFFF:04X}) is private or unknown, and can't be asked for"
        ) from None
    if vr in _NO_VALUES:
        raise FormatError(f"where: {name!r} has VR {vr}, which has no values to compare")
    many = tuple(wanted) if isinstance(wanted, (list, tuple, set, frozenset, np.ndarray)) else (wanted,)
    if not many or any(one is None for one in many):
        raise LabelError(f"where: {name!r} needs a value or a list of values")
    return Criterion(str(name), tag, many)

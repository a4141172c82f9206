"""Names of written files: by the number of the image, the volume and the slice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError

LAYOUTS = {
    "single": "IM_%(image)05d.dcm",
    "volumes": "V_%(volume)04d/IM_%(slice)05d.dcm",
    "slices": "S_%(slice)04d/IM_%(volume)05d.dcm",
}
"""All files in one folder; a folder for each volume; a folder for each slice."""

_MEDIA = {
    "single": "IM%(image)06d",
    "volumes": "V%(volume)06d/IM%(slice)06d",
    "slices": "S%(slice)06d/IM%(volume)06d",
}
"""The same with names that a DICOMDIR may refer to: eight capitals and digits each (PS3.10 section 8.2, 8.5)."""

_FIELD = re.compile(r"%(?:\((image|volume|slice)\))?(?:0\d+)?d")
_FILE_ID = re.compile(r"[A-Z0-9_]{1,8}(/[A-Z0-9_]{1,8}){0,7}")


@dataclass(frozen=True)
class Names:
    """Pattern of file names.

    Attributes
    ----------
    pattern : str
        With the fields ``%(image)05d``, ``%(volume)d`` and ``%(slice)d``, all from 1; ``%d`` is the image. A slash
        makes folders.
    """

    pattern: str = LAYOUTS["single"]

    @staticmethod
    def is_pattern(text: str) -> bool:
        """Whether a name has a field."""
        return _FIELD.search(text) is not None

    @classmethod
    def asked(cls, layout: Any, pattern: Any, dicomdir: bool) -> Names:
        """Names of a layout or a pattern.

        Raises
        ------
        FormatError
            Both are given, the layout is not known, or the pattern can't be one.
        """
        if layout is not None and pattern:
            raise FormatError("layout and names both say how files are called: give one of them")
        if not pattern:
            layouts = _MEDIA if dicomdir else LAYOUTS
            if layout is not None and layout not in layouts:
                raise FormatError(f"format_options layout={layout!r}: one of {', '.join(LAYOUTS)}")
            return cls(layouts[layout or "single"])
        found = cls(str(pattern))
        found._check(dicomdir)
        return found

    def _check(self, dicomdir: bool) -> None:
        rest = _FIELD.sub("", self.pattern)
        if "%" in rest or not self.is_pattern(self.pattern):
            raise FormatError(
                f"names {self.pattern!r}: the fields are %(image)05d, %(volume)03d and %(slice)03d, or %05d for the "
                "number of the image"
            )
        parts = self.pattern.replace("\\", "/").split("/")
        if any(part in ("", ".", "..") or part != part.strip() for part in parts):
            raise FormatError(f"names {self.pattern!r} lead out of the folder, or have an empty part")
        if dicomdir and not _FILE_ID.fullmatch(self.of(1, 1, 1)):
            raise FormatError(
                f"names {self.pattern!r}: a DICOMDIR refers to files by parts of one to eight capitals, digits and _ "
                f"each (PS3.10 section 8.5), such as {_MEDIA['single']!r}"
            )

    def of(self, image: int, volume: int, slice: int) -> str:
        """Name of an image; all numbers count from 1."""
        numbers = {"image": image, "volume": volume, "slice": slice}
        return _FIELD.sub(lambda m: ("%" + m.group(0).rpartition(")")[2].lstrip("%")) % numbers[m.group(1) or "image"],
                          self.pattern)  # fmt: skip

    def all_of(self, volumes: int, slices: int) -> list[list[str]]:
        """Names of all images of a series, by volume and slice.

        Raises
        ------
        FormatError
            Two images would have one name.
        """
        names = [[self.of(v * slices + k + 1, v + 1, k + 1) for k in range(slices)] for v in range(volumes)]
        flat = [name.lower() for row in names for name in row]
        if len(set(flat)) < len(flat):
            raise FormatError(
                f"names {self.pattern!r} give {len(flat)} images only {len(set(flat))} names: "
                "%(image)05d differs for each"
            )
        return names


DEFAULT_NAMES = Names()

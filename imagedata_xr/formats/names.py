"""Names of files that are numbered: by the number of the image, the volume and the slice."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import FormatError

_FIELD = re.compile(r"%(?:\((image|volume|slice)\))?(?:0\d+)?d")


@dataclass(frozen=True)
class Names:
    """Pattern of file names.

    Attributes
    ----------
    pattern : str
        With the fields ``%(image)05d``, ``%(volume)d`` and ``%(slice)d``, all from 1; ``%d`` is the image. A slash
        makes folders, where a format has them.
    """

    pattern: str

    @staticmethod
    def is_pattern(text: str) -> bool:
        """Whether a name has a field."""
        return _FIELD.search(text) is not None

    def check(self) -> None:
        """Raise `FormatError` for what is no pattern of names."""
        rest = _FIELD.sub("", self.pattern)
        if "%" in rest or not self.is_pattern(self.pattern):
            raise FormatError(
                f"names {self.pattern!r}: the fields are %(image)05d, %(volume)03d and %(slice)03d, or %05d for the "
                "number of the image"
            )
        parts = self.pattern.replace("\\", "/").split("/")
        if any(part in ("", ".", "..") or part != part.strip() for part in parts):
            raise FormatError(f"names {self.pattern!r} lead out of the folder, or have an empty part")

    def of(self, image: int, volume: int, slice: int) -> str:
        """Name of an image; all numbers count from 1."""
        numbers = {"image": image, "volume": volume, "slice": slice}

        def number(field: re.Match[str]) -> str:
            width = field.group(0).rpartition(")")[2].lstrip("%")
            return f"%{width}" % numbers[field.group(1) or "image"]

        return _FIELD.sub(number, self.pattern)

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

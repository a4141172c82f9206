"""Names of DICOM files that are written, by a layout or a pattern."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError
from ...formats import names

LAYOUTS = {
    "single": "IM_%(image)05d.dcm",
    "volumes": "V_%(volume)04d/IM_%(slice)05d.dcm",
    "slices": "S_%(slice)04d/IM_%(volume)05d.dcm",
}
"""All files in one folder; a folder for each volume; a folder for each slice."""

MEDIA = {
    "single": "IM%(image)06d",
    "volumes": "V%(volume)06d/IM%(slice)06d",
    "slices": "S%(slice)06d/IM%(volume)06d",
}
"""The same with names that a DICOMDIR may refer to: eight capitals and digits each (PS3.10 section 8.2, 8.5)."""

_FILE_ID = re.compile(r"[A-Z0-9_]{1,8}(/[A-Z0-9_]{1,8}){0,7}")


@dataclass(frozen=True)
class Names(names.Names):
    """Pattern of file names, that of the layout ``"single"`` by default."""

    pattern: str = LAYOUTS["single"]

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
            layouts = MEDIA if dicomdir else LAYOUTS
            if layout is not None and layout not in layouts:
                raise FormatError(f"format_options layout={layout!r}: one of {', '.join(LAYOUTS)}")
            return cls(layouts[layout or "single"])
        found = cls(str(pattern))
        found.check()
        if dicomdir and not _FILE_ID.fullmatch(found.of(1, 1, 1)):
            raise FormatError(
                f"names {found.pattern!r}: a DICOMDIR refers to files by parts of one to eight capitals, digits and _ "
                f"each (PS3.10 section 8.5), such as {MEDIA['single']!r}"
            )
        return found


DEFAULT_NAMES = Names()

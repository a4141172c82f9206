"""Character sets (PS3.3 C.12.1.1.2, PS3.5 section 6.1) that pydicom lacks."""

from __future__ import annotations

import functools


@functools.cache
def mend_pydicom() -> None:
    """Teach pydicom what it lacks, once for the process; nothing that it reads rightly changes.

    - ISO_IR 203 (Latin alphabet 9) is unknown to it.
    - It takes Python to strip the escape sequences of ISO 2022 IR 58 (simplified Chinese), which Python does not: so
      they stayed in the text, and were missing in what it wrote.
    """
    from pydicom import charset

    for name in ("ISO_IR 203", "ISO 2022 IR 203"):
        charset.python_encoding.setdefault(name, "iso8859_15")
    charset.CODES_TO_ENCODINGS.setdefault(b"\x1b-b", "iso8859_15")
    charset.ENCODINGS_TO_CODES.setdefault("iso8859_15", b"\x1b-b")
    handled = tuple(one for one in charset.handled_encodings if one != "iso_ir_58")
    charset.handled_encodings = handled  # type: ignore[assignment]

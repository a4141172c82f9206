"""Files that do not say how they are encoded: without transfer syntax, or without file meta information at all."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ...errors import warn
from ...stores.url import file_name
from .scan import Scan
from .vr import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, TRANSFER_SYNTAX

_NAMES = {
    IMPLICIT_LE: "implicit VR little endian",
    EXPLICIT_LE: "explicit VR little endian",
    EXPLICIT_BE: "explicit VR big endian",
}


def warn_of_no_syntax(scanned: Scan) -> None:
    """Say how files were read that have no Transfer Syntax UID (0002,0010), which PS3.10 section 7.1 requires.

    Their first elements show the encoding of the header without doubt, else they are refused. What they can't show is
    whether the pixels are compressed: native ones are taken for such, fragments are refused.
    """
    lacks = scanned.words(TRANSFER_SYNTAX).map(lambda words: not "".join(words or ())).array(np.bool_)
    bare = np.flatnonzero(lacks).tolist()
    if not bare:
        return
    counts = Counter(_NAMES.get(scanned.syntax[k], scanned.syntax[k]) for k in bare)
    how = " and ".join(f"{n} as {name}" for name, n in sorted(counts.items()))
    warn(
        f"{len(bare)} of {len(scanned)} DICOM files have no transfer syntax: by their first elements they are read, "
        f"{how}. The first is {file_name(scanned.files[bare[0]])}"
    )
